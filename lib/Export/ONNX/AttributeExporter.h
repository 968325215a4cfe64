//===- AttributeExporter.h - Attributes as protos ---------------*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// What the exporter's files share.
///
//===----------------------------------------------------------------------===//

#ifndef MIURA_LIB_EXPORT_ONNX_ATTRIBUTEEXPORTER_H
#define MIURA_LIB_EXPORT_ONNX_ATTRIBUTEEXPORTER_H

#include "miura/Export/ONNX/ExportOnnx.h"
#include "mlir/IR/BuiltinAttributes.h"
#include <onnx/onnx_pb.h>

namespace miura {

using SetOnnxData = llvm::function_ref<mlir::LogicalResult(
    const ExportedTensor &, onnx::TensorProto &)>;

/// Fills dims and data_type.
void setTensorHead(mlir::RankedTensorType type, onnx::TensorProto &tensor);

/// Fills `tensor` with `value`, in the field named `field`. `op` may have
/// `miura.external`; errors are reported at it.
mlir::LogicalResult exportTensor(mlir::Operation *op, mlir::ElementsAttr value,
                                 llvm::StringRef field, SetOnnxData setData,
                                 onnx::TensorProto &tensor);

/// Fills `proto`, whose name is set, with `value`: the inverse of the
/// importer's table. `details` is the entry of `miura.tensors`, or null.
mlir::LogicalResult exportAttribute(mlir::Operation *op, mlir::Attribute value,
                                    mlir::Attribute details,
                                    SetOnnxData setData,
                                    onnx::AttributeProto &proto);

mlir::LogicalResult exportSparseTensor(mlir::Operation *op,
                                       mlir::Attribute value,
                                       SetOnnxData setData,
                                       onnx::SparseTensorProto &proto);

} // namespace miura

#endif // MIURA_LIB_EXPORT_ONNX_ATTRIBUTEEXPORTER_H
