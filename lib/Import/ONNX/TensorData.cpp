//===- TensorData.cpp - The bytes of ONNX tensors -------------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Takes a tensor's data out of whichever field of its proto holds it, and
/// puts it back. onnx.proto says per field which types it may hold, and that
/// elements narrower than 32 bits stand one per `int32_data` entry, packed
/// pairs and quadruples as one byte per entry.
///
//===----------------------------------------------------------------------===//

#include "miura/Dialect/Miura/IR/MiuraDialect.h"
#include "miura/Import/ONNX/OnnxTypes.h"
#include "miura/Support/ONNX/OnnxFile.h"
#include "llvm/Support/Endian.h"

using namespace mlir;
using namespace miura;
using onnx::TensorProto;

StringRef miura::getFieldName(DataField field) {
  switch (field) {
  case DataField::None:
    return "";
  case DataField::Raw:
    return "raw_data";
  case DataField::Float:
    return "float_data";
  case DataField::Int32:
    return "int32_data";
  case DataField::Int64:
    return "int64_data";
  case DataField::Double:
    return "double_data";
  case DataField::Uint64:
    return "uint64_data";
  case DataField::String:
    return "string_data";
  }
  return "";
}

DataField miura::getFieldByName(StringRef name) {
  for (DataField field :
       {DataField::Raw, DataField::Float, DataField::Int32, DataField::Int64,
        DataField::Double, DataField::Uint64, DataField::String})
    if (getFieldName(field) == name)
      return field;
  return DataField::None;
}

llvm::Expected<DataField> miura::getDataField(const TensorProto &tensor) {
  SmallVector<DataField> fields;
  auto add = [&](bool present, DataField field) {
    if (present)
      fields.push_back(field);
  };
  std::optional<OnnxRange> range = getOnnxRange(tensor);
  add(tensor.has_raw_data() ||
          (range && range->field == TensorProto::kRawDataFieldNumber),
      DataField::Raw);
  add(tensor.float_data_size() != 0 ||
          (range && range->field == TensorProto::kFloatDataFieldNumber),
      DataField::Float);
  add(tensor.int32_data_size() != 0, DataField::Int32);
  add(tensor.int64_data_size() != 0, DataField::Int64);
  add(tensor.double_data_size() != 0 ||
          (range && range->field == TensorProto::kDoubleDataFieldNumber),
      DataField::Double);
  add(tensor.uint64_data_size() != 0, DataField::Uint64);
  add(tensor.string_data_size() != 0, DataField::String);
  if (fields.empty())
    return DataField::None;
  if (fields.size() > 1)
    return llvm::createStringError("has data in several fields (" +
                                   getFieldName(fields[0]) + " and " +
                                   getFieldName(fields[1]) + ")");

  // Which types a field may hold is onnx.proto's.
  int32_t type = tensor.data_type();
  bool valid = false;
  switch (fields[0]) {
  case DataField::Raw:
    valid = type != TensorProto::STRING;
    break;
  case DataField::Float:
    valid = type == TensorProto::FLOAT || type == TensorProto::COMPLEX64;
    break;
  case DataField::Double:
    valid = type == TensorProto::DOUBLE || type == TensorProto::COMPLEX128;
    break;
  case DataField::Int64:
    valid = type == TensorProto::INT64;
    break;
  case DataField::Uint64:
    valid = type == TensorProto::UINT32 || type == TensorProto::UINT64;
    break;
  case DataField::String:
    valid = type == TensorProto::STRING;
    break;
  case DataField::Int32:
    valid = type != TensorProto::FLOAT && type != TensorProto::DOUBLE &&
            type != TensorProto::INT64 && type != TensorProto::UINT32 &&
            type != TensorProto::UINT64 && type != TensorProto::STRING &&
            type != TensorProto::COMPLEX64 && type != TensorProto::COMPLEX128;
    break;
  case DataField::None:
    break;
  }
  if (!valid)
    return llvm::createStringError("has the data type " + Twine(type) +
                                   ", which " + getFieldName(fields[0]) +
                                   " cannot hold");
  return fields[0];
}

template <typename T>
static std::string copyFixed(const google::protobuf::RepeatedField<T> &data) {
  return std::string((const char *)data.data(), data.size() * sizeof(T));
}

/// The low `width` bytes of each entry.
template <typename T>
static std::string copyLow(const google::protobuf::RepeatedField<T> &data,
                           int64_t width) {
  std::string result(data.size() * width, '\0');
  for (int i = 0, e = data.size(); i < e; ++i)
    memcpy(&result[i * width], &data.data()[i], width);
  return result;
}

std::string miura::getRawBytes(const TensorProto &tensor, DataField field,
                               Type elementType) {
  int64_t width = std::max<int64_t>(getOnnxElementBits(elementType) / 8, 1);
  switch (field) {
  case DataField::Raw:
    return tensor.raw_data();
  case DataField::Float:
    return copyFixed(tensor.float_data());
  case DataField::Double:
    return copyFixed(tensor.double_data());
  case DataField::Int64:
    return copyFixed(tensor.int64_data());
  case DataField::Int32:
    return copyLow(tensor.int32_data(), width);
  case DataField::Uint64:
    return copyLow(tensor.uint64_data(), width);
  case DataField::String:
  case DataField::None:
    return {};
  }
  return {};
}

template <typename T>
static void setFixed(google::protobuf::RepeatedField<T> &data,
                     ArrayRef<uint8_t> raw) {
  data.Resize(raw.size() / sizeof(T), 0);
  memcpy(data.mutable_data(), raw.data(), data.size() * sizeof(T));
}

void miura::setRawBytes(TensorProto &tensor, DataField field, Type elementType,
                        ArrayRef<uint8_t> raw) {
  int64_t width = std::max<int64_t>(getOnnxElementBits(elementType) / 8, 1);
  switch (field) {
  case DataField::Raw:
    tensor.set_raw_data(raw.data(), raw.size());
    return;
  case DataField::Float:
    return setFixed(*tensor.mutable_float_data(), raw);
  case DataField::Double:
    return setFixed(*tensor.mutable_double_data(), raw);
  case DataField::Int64:
    return setFixed(*tensor.mutable_int64_data(), raw);
  case DataField::Uint64:
    for (size_t i = 0; i + width <= raw.size(); i += width) {
      uint64_t value = 0;
      memcpy(&value, &raw[i], width);
      tensor.add_uint64_data(value);
    }
    return;
  case DataField::Int32: {
    // Signed integers are written with their sign; everything else as bits.
    bool isSigned = elementType.isSignlessInteger() &&
                    elementType.getIntOrFloatBitWidth() >= 8;
    for (size_t i = 0; i + width <= raw.size(); i += width) {
      uint32_t value = 0;
      memcpy(&value, &raw[i], width);
      tensor.add_int32_data(isSigned
                                ? (int32_t)llvm::SignExtend64(value, width * 8)
                                : (int32_t)value);
    }
    return;
  }
  case DataField::String:
  case DataField::None:
    return;
  }
}

//===----------------------------------------------------------------------===//
// Elements narrower than a byte, and booleans
//===----------------------------------------------------------------------===//

/// Element `i` of a stream of `bits`-wide elements whose rows of `columns`
/// take `rowBits`.
static uint8_t getNarrow(ArrayRef<uint8_t> bytes, int64_t bit, int64_t bits) {
  unsigned word = bytes[bit / 8];
  if (bit % 8 + bits > 8)
    word |= (unsigned)bytes[bit / 8 + 1] << 8;
  return (word >> (bit % 8)) & llvm::maskTrailingOnes<unsigned>(bits);
}

static void setNarrow(MutableArrayRef<uint8_t> bytes, int64_t bit, int64_t bits,
                      unsigned value) {
  bytes[bit / 8] |= (uint8_t)(value << (bit % 8));
  if (bit % 8 + bits > 8)
    bytes[bit / 8 + 1] |= (uint8_t)(value >> (8 - bit % 8));
}

DenseElementsAttr miura::makeDense(RankedTensorType type,
                                   ArrayRef<uint8_t> raw) {
  int64_t bits = getOnnxElementBits(type.getElementType());
  int64_t count = type.getNumElements();
  if (type.getElementType().isInteger(1)) {
    SmallVector<bool> values(count);
    for (int64_t i = 0; i < count; ++i)
      values[i] = raw[i] != 0;
    return DenseElementsAttr::get(type, values);
  }
  if (bits >= 8) {
    // An attribute of one repeated value is told from others by its storage.
    return DenseElementsAttr::getFromRawBuffer(
        type, ArrayRef<char>((const char *)raw.data(), raw.size()));
  }
  std::vector<char> values(count);
  for (int64_t i = 0; i < count; ++i)
    values[i] = (char)getNarrow(raw, i * bits, bits);
  return DenseElementsAttr::getFromRawBuffer(type, values);
}

std::string miura::getDenseBytes(DenseElementsAttr dense) {
  Type element = dense.getElementType();
  int64_t bits = getOnnxElementBits(element);
  int64_t count = dense.getNumElements();
  if (element.isInteger(1)) {
    std::string result;
    for (bool value : dense.getValues<bool>())
      result.push_back(value);
    return result;
  }
  ArrayRef<char> data = dense.getRawData();
  std::string values(data.begin(), data.end());
  if (dense.isSplat()) {
    values.clear();
    for (int64_t i = 0; i < count; ++i)
      values.append(data.begin(), data.end());
  }
  if (bits >= 8)
    return values;
  std::string result(llvm::divideCeil(count * bits, 8), '\0');
  for (int64_t i = 0; i < count; ++i)
    setNarrow({(uint8_t *)result.data(), result.size()}, i * bits, bits,
              (uint8_t)values[i] & llvm::maskTrailingOnes<unsigned>(bits));
  return result;
}

static int64_t getColumns(RankedTensorType type) {
  return type.getRank() == 0 ? 1 : type.getShape().back();
}

bool miura::isSamePacking(RankedTensorType type) {
  int64_t bits = getOnnxElementBits(type.getElementType());
  return bits >= 8 || getColumns(type) * bits % 8 == 0 ||
         type.getNumElements() <= getColumns(type);
}

/// Copies elements from rows of `fromBits` to rows of `toBits`.
static std::vector<uint8_t> repack(RankedTensorType type,
                                   ArrayRef<uint8_t> from, int64_t fromBits,
                                   int64_t toBits) {
  int64_t bits = getOnnxElementBits(type.getElementType());
  int64_t columns = getColumns(type);
  int64_t rows = columns == 0 ? 0 : type.getNumElements() / columns;
  std::vector<uint8_t> result(llvm::divideCeil(rows * toBits, 8));
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t column = 0; column < columns; ++column)
      setNarrow(result, row * toBits + column * bits, bits,
                getNarrow(from, row * fromBits + column * bits, bits));
  return result;
}

std::vector<uint8_t> miura::packRows(RankedTensorType type,
                                     ArrayRef<uint8_t> raw) {
  int64_t bits = getOnnxElementBits(type.getElementType()) * getColumns(type);
  return repack(type, raw, bits, llvm::alignTo(bits, 8));
}

std::vector<uint8_t> miura::unpackRows(RankedTensorType type,
                                       ArrayRef<uint8_t> rows) {
  int64_t bits = getOnnxElementBits(type.getElementType()) * getColumns(type);
  return repack(type, rows, llvm::alignTo(bits, 8), bits);
}
