//===- ImportOnnx.h - ONNX files to the onnx level --------------*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Brings an ONNX model to the onnx level, one to one. What it becomes:
///
/// - the main graph is `func.func @main_graph`, its name the function's
///   attribute `miura.graph`; arguments and results carry `miura.name`;
/// - a node is a `miura.onnx_node`, located at its name;
/// - an initializer over 4 KiB is a `miura.weight_data` that names its bytes in
///   the file, and a `miura.weight` of it; a smaller one is an `arith.constant`
///   with its name as `miura.name`. `miura.field` tells the proto's field
///   where that is not raw_data, `miura.location` or `miura.external` where
///   external data lies;
/// - a tensor attribute over 4 KiB is a symbol reference to a `weight_data`;
/// - a model-local function is a private `func.func` with `miura.function`;
/// - the module's `miura.onnx` has versions and producer.
///
/// Doc strings, metadata and what else no pass reads go to a side resource,
/// itself a ModelProto that holds only those.
///
//===----------------------------------------------------------------------===//

#ifndef MIURA_IMPORT_ONNX_IMPORTONNX_H
#define MIURA_IMPORT_ONNX_IMPORTONNX_H

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"
#include "llvm/ADT/StringRef.h"
#include <string>

namespace onnx {
class ModelProto;
}

namespace miura {

/// Names of the discardable attributes of the onnx level.
inline constexpr llvm::StringLiteral kOnnxAttrName = "miura.onnx";
inline constexpr llvm::StringLiteral kGraphAttrName = "miura.graph";
inline constexpr llvm::StringLiteral kFunctionAttrName = "miura.function";
inline constexpr llvm::StringLiteral kFieldAttrName = "miura.field";
inline constexpr llvm::StringLiteral kLocationAttrName = "miura.location";
inline constexpr llvm::StringLiteral kExternalAttrName = "miura.external";
inline constexpr llvm::StringLiteral kExternalEntriesAttrName =
    "miura.external_entries";
inline constexpr llvm::StringLiteral kInputAttrName = "miura.input";
inline constexpr llvm::StringLiteral kTensorsAttrName = "miura.tensors";
inline constexpr llvm::StringLiteral kMetaAttrName = "miura.meta";
inline constexpr llvm::StringLiteral kMainGraphName = "main_graph";

/// The key of the external_data entry by which a weightless ModelProto (see
/// Export/ONNX) refers to a `miura.weight_data`.
inline constexpr llvm::StringLiteral kSymbolKey = "miura.symbol";

struct ImportOnnxOptions {
  /// Where the side resource goes (a temporary name, then a rename); the module
  /// refers to it by its file name, as it lies beside the `.mlir`. Empty: it is
  /// dropped.
  std::string metaPath;
};

/// Imports the file `path`. Errors are diagnostics in `context` that name the
/// file, the node or tensor, and a remedy; a diagnostic's location is a
/// NameLoc of the node where there is one.
mlir::OwningOpRef<mlir::ModuleOp>
importOnnx(llvm::StringRef path, mlir::MLIRContext *context,
           const ImportOnnxOptions &options = {});

/// Appends the functions of `model`, whose large tensors refer by `kSymbolKey`
/// to weight_data of `module`, to `module`, and sets its `miura.onnx`. `path`
/// is for messages.
mlir::LogicalResult importOnnxModel(const onnx::ModelProto &model,
                                    llvm::StringRef path,
                                    mlir::ModuleOp module);

/// Registers `--import-onnx` of miura-translate. It imports the file `path`,
/// or, if that is empty, the file that the driver's buffer is named for.
void registerImportOnnxTranslation(llvm::StringRef path = "");

} // namespace miura

#endif // MIURA_IMPORT_ONNX_IMPORTONNX_H
