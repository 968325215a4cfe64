//===- GraphImporter.h - Build the onnx level -------------------*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The importer's state: the module under construction, scopes of names, and
/// the leftovers that go to the side resource.
///
//===----------------------------------------------------------------------===//

#ifndef MIURA_LIB_IMPORT_ONNX_GRAPHIMPORTER_H
#define MIURA_LIB_IMPORT_ONNX_GRAPHIMPORTER_H

#include "miura/Dialect/Miura/IR/MiuraDialect.h"
#include "miura/Import/ONNX/ImportOnnx.h"
#include "miura/Import/ONNX/OnnxTypes.h"
#include "miura/Support/ONNX/OnnxFile.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/SymbolTable.h"
#include "llvm/ADT/StringMap.h"

namespace miura {

/// The bytes of a tensor: mapped or own, with what export needs to write the
/// tensor as it was.
struct TensorBytes {
  mlir::RankedTensorType type;
  DataField field = DataField::None;
  /// Where the bytes lie in a file, null where they are in `own`.
  BytesAttr mapped;
  std::string own; // as raw_data holds them
  std::vector<std::string> strings;
  /// External data: the location as written, empty where there is none.
  std::string location;
  int64_t externalOffset = 0;
  /// The entries of external_data where they are not the usual three.
  std::vector<mlir::StringRef> entries;
};

class OnnxImporter {
public:
  /// `file` is null when `model` is not of a file (its large tensors then
  /// refer to symbols).
  OnnxImporter(mlir::ModuleOp module, const OnnxFile *file,
               mlir::StringRef path);

  mlir::LogicalResult importModel(const onnx::ModelProto &model);

  /// What the IR does not hold.
  onnx::ModelProto &getMeta() { return meta; }

private:
  /// What a name means; the innermost scope is the last.
  struct Scope {
    llvm::StringMap<mlir::Value> values;
    /// What computes a name, for messages: the name of a node, or a phrase.
    llvm::StringMap<std::string> origins;
    /// Types that value_info gives to names that are not defined yet.
    llvm::StringMap<const onnx::ValueInfoProto *> valueInfos;
    /// Nodes of the graph that are still to come, by what they compute.
    llvm::StringMap<int> producers;
  };

  // ImportOnnx.cpp
  mlir::LogicalResult importFunction(const onnx::FunctionProto &function);
  mlir::LogicalResult readOpsets(
      const google::protobuf::RepeatedPtrField<onnx::OperatorSetIdProto> &sets,
      mlir::StringRef where);

  // GraphImporter.cpp
  mlir::LogicalResult importMainGraph(const onnx::GraphProto &graph);
  mlir::LogicalResult importSubgraph(const onnx::GraphProto &graph,
                                     mlir::Region &region,
                                     onnx::GraphProto &leftover,
                                     mlir::StringRef where);
  /// Initializers, value_info and nodes, into the builder's block.
  mlir::LogicalResult importBody(const onnx::GraphProto &graph,
                                 onnx::GraphProto &leftover,
                                 const llvm::StringMap<int> &inputs);
  mlir::LogicalResult
  importNodes(const google::protobuf::RepeatedPtrField<onnx::NodeProto> &nodes,
              google::protobuf::RepeatedPtrField<onnx::NodeProto> &leftovers);
  mlir::LogicalResult importNode(const onnx::NodeProto &node, int index,
                                 onnx::NodeProto &leftover);
  mlir::LogicalResult
  checkCycle(const google::protobuf::RepeatedPtrField<onnx::NodeProto> &nodes,
             int index, mlir::StringRef input);
  mlir::FailureOr<mlir::Type> importValueType(const onnx::ValueInfoProto &info,
                                              mlir::StringRef what);
  mlir::LogicalResult define(mlir::StringRef name, mlir::Value value,
                             const llvm::Twine &origin, mlir::Location loc);
  mlir::Value lookUp(mlir::StringRef name);
  mlir::Value getAbsent();

  // AttributeImporter.cpp
  mlir::FailureOr<mlir::Attribute>
  importAttribute(const onnx::AttributeProto &attribute, mlir::StringRef where,
                  mlir::Location loc, mlir::NamedAttrList &tensors);
  mlir::FailureOr<mlir::Attribute>
  importTensorAttribute(const onnx::TensorProto &tensor, mlir::StringRef where,
                        mlir::Location loc, mlir::DictionaryAttr &details,
                        mlir::StringRef nameHint);
  mlir::FailureOr<mlir::Attribute>
  importSparseTensor(const onnx::SparseTensorProto &sparse,
                     mlir::StringRef where, mlir::Location loc,
                     mlir::StringRef nameHint);

  // InitializerImporter.cpp
  mlir::LogicalResult importInitializer(const onnx::TensorProto &tensor,
                                        onnx::GraphProto &leftover,
                                        const llvm::StringMap<int> &inputs);
  mlir::FailureOr<TensorBytes> readTensor(const onnx::TensorProto &tensor,
                                          mlir::StringRef where,
                                          mlir::Location loc);
  mlir::LogicalResult readExternal(const onnx::TensorProto &tensor,
                                   int64_t rawBytes, mlir::StringRef where,
                                   mlir::Location loc, TensorBytes &result);
  mlir::FailureOr<mlir::TypedAttr> makeInline(const TensorBytes &bytes,
                                              mlir::StringRef where,
                                              mlir::Location loc);
  mlir::FailureOr<WeightDataOp>
  makeWeightData(TensorBytes &bytes, mlir::StringRef name, mlir::Location loc);
  void setExternalAttributes(mlir::Operation *op, const TensorBytes &bytes,
                             bool isInline);

  /// An error that names the file and `where` (a node, a tensor, …).
  mlir::InFlightDiagnostic fail(mlir::Location loc, mlir::StringRef where) {
    auto diagnostic = mlir::emitError(loc) << path << ": ";
    if (!where.empty())
      diagnostic << where << " ";
    return diagnostic;
  }

  mlir::ModuleOp module;
  mlir::MLIRContext *context;
  mlir::OpBuilder builder;
  mlir::SymbolTable symbols;
  const OnnxFile *file;
  std::string path;
  onnx::ModelProto meta;
  llvm::StringMap<int64_t> opsets;
  std::vector<Scope> scopes;
  mlir::Value absent;
  /// External files that were resolved: location → real path and size.
  llvm::StringMap<std::pair<std::string, uint64_t>> externalFiles;
};

/// The words for a node in messages: "node 'name' (Op)", or its first output
/// where it has no name.
std::string describeNode(const onnx::NodeProto &node);

/// The key under which a node's leftovers are kept: its first named output.
mlir::StringRef getNodeKey(const onnx::NodeProto &node);

} // namespace miura

#endif // MIURA_LIB_IMPORT_ONNX_GRAPHIMPORTER_H
