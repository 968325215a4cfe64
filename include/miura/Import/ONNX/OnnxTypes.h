//===- OnnxTypes.h - ONNX types and tensors as MLIR's -----------*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The one table of ONNX element types, in both directions, and the bytes of
/// a tensor wherever its proto holds them. Import and export share it, so they
/// cannot disagree.
///
//===----------------------------------------------------------------------===//

#ifndef MIURA_IMPORT_ONNX_ONNXTYPES_H
#define MIURA_IMPORT_ONNX_ONNXTYPES_H

#include "mlir/IR/BuiltinTypes.h"
#include "mlir/Support/LLVM.h"
#include "llvm/Support/Error.h"
#include <onnx/onnx_pb.h>
#include <string>
#include <vector>

namespace miura {

/// The MLIR type of ONNX data type `dataType` (uint8 is `ui8`, int8 `i8`, bool
/// `i1`, string `!miura.string`), or null where there is no such data type.
mlir::Type getElementType(mlir::MLIRContext *context, int32_t dataType);

/// The ONNX data type of `type`, 0 (UNDEFINED) where it has none.
int32_t getOnnxDataType(mlir::Type type);

/// The bits that an element takes in raw_data; 0 for strings.
int64_t getOnnxElementBits(mlir::Type type);

/// The bytes of a tensor of `count` elements in raw_data: narrow elements are
/// packed without regard to rows.
int64_t getOnnxRawBytes(mlir::Type elementType, int64_t count);

/// `proto` as a type: a tensor type (unranked where the proto has no shape,
/// with `#miura.dims` where a dimension has a name), a `!miura.sequence`, …;
/// `!miura.unknown` where it says nothing. The error says what is wrong.
llvm::Expected<mlir::Type> importType(mlir::MLIRContext *context,
                                      const onnx::TypeProto &proto);

/// Fills `proto` with `type`. False for `!miura.unknown`, which has no proto.
bool exportType(mlir::Type type, onnx::TypeProto &proto);

/// Checks dims and the number of elements of `tensor` (none negative, the
/// product within 2^62) and returns its type.
llvm::Expected<mlir::RankedTensorType>
importTensorType(mlir::MLIRContext *context, const onnx::TensorProto &tensor);

/// The fields of TensorProto that hold data, as `miura.field` names them.
enum class DataField { None, Raw, Float, Int32, Int64, Double, Uint64, String };
llvm::StringRef getFieldName(DataField field);
DataField getFieldByName(llvm::StringRef name);

/// The field that holds the data of `tensor`; an error where several do.
llvm::Expected<DataField> getDataField(const onnx::TensorProto &tensor);

/// The data of `tensor`, which lies in `field` (not String) of the proto
/// itself, as raw_data would hold it.
std::string getRawBytes(const onnx::TensorProto &tensor, DataField field,
                        mlir::Type elementType);

/// Puts `raw`, bytes as raw_data holds them, into `field` of `tensor`.
void setRawBytes(onnx::TensorProto &tensor, DataField field,
                 mlir::Type elementType, llvm::ArrayRef<uint8_t> raw);

/// `raw` as a dense attribute, and back.
mlir::DenseElementsAttr makeDense(mlir::RankedTensorType type,
                                  llvm::ArrayRef<uint8_t> raw);
std::string getDenseBytes(mlir::DenseElementsAttr dense);

/// Repacks a stream of elements narrower than a byte from ONNX's packing (the
/// whole tensor) to ours (every row starts at a byte), and back. The same bytes
/// where `isSamePacking`.
bool isSamePacking(mlir::RankedTensorType type);
std::vector<uint8_t> packRows(mlir::RankedTensorType type,
                              llvm::ArrayRef<uint8_t> raw);
std::vector<uint8_t> unpackRows(mlir::RankedTensorType type,
                                llvm::ArrayRef<uint8_t> rows);

} // namespace miura

#endif // MIURA_IMPORT_ONNX_ONNXTYPES_H
