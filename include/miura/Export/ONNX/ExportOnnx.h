//===- ExportOnnx.h - The onnx level to ONNX files --------------*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Writes a module of the onnx level as an ONNX model: the inverse of
/// Import/ONNX. A module that was only imported gives an equal file, node by
/// node and byte by byte of every tensor.
///
//===----------------------------------------------------------------------===//

#ifndef MIURA_EXPORT_ONNX_EXPORTONNX_H
#define MIURA_EXPORT_ONNX_EXPORTONNX_H

#include "miura/Dialect/Miura/IR/MiuraDialect.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/ADT/StringRef.h"
#include <string>

namespace onnx {
class ModelProto;
class TensorProto;
} // namespace onnx

namespace miura {

struct ExportOnnxOptions {
  /// The side resource of the import; empty where there is none.
  std::string metaPath;
};

/// Writes `module` to `path`, and external data beside it. Every op of its
/// functions must be of the onnx level. Errors are diagnostics.
mlir::LogicalResult exportOnnx(mlir::ModuleOp module, llvm::StringRef path,
                               const ExportOnnxOptions &options = {});

/// Where the bytes of a tensor come from: a `miura.weight_data`, or the small
/// tensor of an op that `miura.external` puts into external data.
struct ExportedTensor {
  mlir::Operation *op; // a WeightDataOp, or the constant
  mlir::RankedTensorType type;
  mlir::DenseElementsAttr inlined; // of the constant
};

/// Builds the model without large tensors' data: `setData` is called for each
/// of them, with dims, type and name filled, and says where the data is.
mlir::LogicalResult
exportOnnxModel(mlir::ModuleOp module, onnx::ModelProto &model,
                llvm::function_ref<mlir::LogicalResult(const ExportedTensor &,
                                                       onnx::TensorProto &)>
                    setData);

/// Adds what the side resource `meta` holds to `model`.
void mergeOnnxMeta(const onnx::ModelProto &meta, onnx::ModelProto &model);

/// Registers `--export-onnx` of miura-translate.
void registerExportOnnxTranslation();

} // namespace miura

#endif // MIURA_EXPORT_ONNX_EXPORTONNX_H
