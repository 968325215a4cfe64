//===- OnnxTypes.cpp - ONNX types as MLIR's -------------------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "miura/Import/ONNX/OnnxTypes.h"
#include "miura/Dialect/Miura/IR/MiuraDialect.h"
#include "miura/Support/ONNX/OnnxFile.h"
#include "mlir/IR/Builders.h"

using namespace mlir;
using namespace miura;
using onnx::TensorProto;

/// Every data type with its MLIR type: the only such list.
static ArrayRef<std::pair<int32_t, Type (*)(MLIRContext *)>> getTable() {
  using C = MLIRContext *;
  static const std::pair<int32_t, Type (*)(MLIRContext *)> table[] = {
      {TensorProto::FLOAT, [](C c) -> Type { return Float32Type::get(c); }},
      {TensorProto::DOUBLE, [](C c) -> Type { return Float64Type::get(c); }},
      {TensorProto::FLOAT16, [](C c) -> Type { return Float16Type::get(c); }},
      {TensorProto::BFLOAT16, [](C c) -> Type { return BFloat16Type::get(c); }},
      {TensorProto::FLOAT8E4M3FN,
       [](C c) -> Type { return Float8E4M3FNType::get(c); }},
      {TensorProto::FLOAT8E4M3FNUZ,
       [](C c) -> Type { return Float8E4M3FNUZType::get(c); }},
      {TensorProto::FLOAT8E5M2,
       [](C c) -> Type { return Float8E5M2Type::get(c); }},
      {TensorProto::FLOAT8E5M2FNUZ,
       [](C c) -> Type { return Float8E5M2FNUZType::get(c); }},
      {TensorProto::FLOAT8E8M0,
       [](C c) -> Type { return Float8E8M0FNUType::get(c); }},
      {TensorProto::FLOAT6E2M3,
       [](C c) -> Type { return Float6E2M3FNType::get(c); }},
      {TensorProto::FLOAT6E3M2,
       [](C c) -> Type { return Float6E3M2FNType::get(c); }},
      {TensorProto::FLOAT4E2M1,
       [](C c) -> Type { return Float4E2M1FNType::get(c); }},
      {TensorProto::INT2, [](C c) -> Type { return IntegerType::get(c, 2); }},
      {TensorProto::INT4, [](C c) -> Type { return IntegerType::get(c, 4); }},
      {TensorProto::INT8, [](C c) -> Type { return IntegerType::get(c, 8); }},
      {TensorProto::INT16, [](C c) -> Type { return IntegerType::get(c, 16); }},
      {TensorProto::INT32, [](C c) -> Type { return IntegerType::get(c, 32); }},
      {TensorProto::INT64, [](C c) -> Type { return IntegerType::get(c, 64); }},
      {TensorProto::UINT2,
       [](C c) -> Type {
         return IntegerType::get(c, 2, IntegerType::Unsigned);
       }},
      {TensorProto::UINT4,
       [](C c) -> Type {
         return IntegerType::get(c, 4, IntegerType::Unsigned);
       }},
      {TensorProto::UINT8,
       [](C c) -> Type {
         return IntegerType::get(c, 8, IntegerType::Unsigned);
       }},
      {TensorProto::UINT16,
       [](C c) -> Type {
         return IntegerType::get(c, 16, IntegerType::Unsigned);
       }},
      {TensorProto::UINT32,
       [](C c) -> Type {
         return IntegerType::get(c, 32, IntegerType::Unsigned);
       }},
      {TensorProto::UINT64,
       [](C c) -> Type {
         return IntegerType::get(c, 64, IntegerType::Unsigned);
       }},
      {TensorProto::BOOL, [](C c) -> Type { return IntegerType::get(c, 1); }},
      {TensorProto::COMPLEX64,
       [](C c) -> Type { return ComplexType::get(Float32Type::get(c)); }},
      {TensorProto::COMPLEX128,
       [](C c) -> Type { return ComplexType::get(Float64Type::get(c)); }},
      {TensorProto::STRING, [](C c) -> Type { return StringType::get(c); }},
  };
  return table;
}

Type miura::getElementType(MLIRContext *context, int32_t dataType) {
  for (auto [number, make] : getTable())
    if (number == dataType)
      return make(context);
  return {};
}

int32_t miura::getOnnxDataType(Type type) {
  for (auto [number, make] : getTable())
    if (make(type.getContext()) == type)
      return number;
  return TensorProto::UNDEFINED;
}

int64_t miura::getOnnxElementBits(Type type) {
  if (type.isInteger(1))
    return 8;
  if (auto complex = dyn_cast<ComplexType>(type))
    return 2 * getOnnxElementBits(complex.getElementType());
  return type.isIntOrFloat() ? type.getIntOrFloatBitWidth() : 0;
}

int64_t miura::getOnnxRawBytes(Type elementType, int64_t count) {
  int64_t bits = getOnnxElementBits(elementType);
  // Divided first where it can be: the count may be near 2^62.
  return bits % 8 == 0
             ? count * (bits / 8)
             : count / 8 * bits + llvm::divideCeil(count % 8 * bits, 8);
}

//===----------------------------------------------------------------------===//
// Types
//===----------------------------------------------------------------------===//

/// More elements than this cannot be addressed, whatever their type.
static constexpr int64_t kMaxElements = int64_t(1) << 56;

static llvm::Expected<Type> importShape(MLIRContext *context, int32_t dataType,
                                        const onnx::TensorShapeProto *shape) {
  Type element = getElementType(context, dataType);
  if (!element)
    return llvm::createStringError("has the data type " + Twine(dataType) +
                                   ", which ONNX does not define");
  if (!shape)
    return UnrankedTensorType::get(element);
  SmallVector<int64_t> dims;
  SmallVector<StringAttr> names;
  bool named = false;
  for (const auto &dim : shape->dim()) {
    names.push_back(StringAttr::get(context, dim.dim_param()));
    named |= !dim.dim_param().empty();
    if (!dim.has_dim_value()) {
      dims.push_back(ShapedType::kDynamic);
      continue;
    }
    if (dim.dim_value() < 0)
      return llvm::createStringError("has the negative dimension " +
                                     Twine(dim.dim_value()));
    if (dim.dim_value() > kMaxElements)
      return llvm::createStringError("has the dimension " +
                                     Twine(dim.dim_value()) +
                                     ", more than can be addressed");
    dims.push_back(dim.dim_value());
  }
  Attribute encoding;
  if (named)
    encoding = DimsAttr::get(context, names);
  return RankedTensorType::get(dims, element, encoding);
}

static llvm::Expected<Type>
importType(MLIRContext *context, const onnx::TypeProto &proto, int depth) {
  if (depth > kMaxOnnxNesting)
    return llvm::createStringError("has a type nested deeper than " +
                                   Twine(kMaxOnnxNesting) + " levels");
  switch (proto.value_case()) {
  case onnx::TypeProto::kTensorType: {
    const auto &tensor = proto.tensor_type();
    if (tensor.elem_type() == TensorProto::UNDEFINED && !tensor.has_shape())
      return UnknownType::get(context);
    return importShape(context, tensor.elem_type(),
                       tensor.has_shape() ? &tensor.shape() : nullptr);
  }
  case onnx::TypeProto::kSparseTensorType: {
    const auto &tensor = proto.sparse_tensor_type();
    auto dense = importShape(context, tensor.elem_type(),
                             tensor.has_shape() ? &tensor.shape() : nullptr);
    if (!dense)
      return dense;
    return SparseTensorType::get(context, *dense);
  }
  case onnx::TypeProto::kSequenceType: {
    auto element =
        importType(context, proto.sequence_type().elem_type(), depth + 1);
    if (!element)
      return element;
    return SequenceType::get(context, *element);
  }
  case onnx::TypeProto::kOptionalType: {
    auto element =
        importType(context, proto.optional_type().elem_type(), depth + 1);
    if (!element)
      return element;
    return OptionalType::get(context, *element);
  }
  case onnx::TypeProto::kMapType: {
    auto value = importType(context, proto.map_type().value_type(), depth + 1);
    if (!value)
      return value;
    Type key = getElementType(context, proto.map_type().key_type());
    if (!key)
      return llvm::createStringError("has a map with the key type " +
                                     Twine(proto.map_type().key_type()) +
                                     ", which ONNX does not define");
    return MapType::get(context, key, *value);
  }
  case onnx::TypeProto::kOpaqueType:
  case onnx::TypeProto::VALUE_NOT_SET:
    return UnknownType::get(context);
  }
  return UnknownType::get(context);
}

llvm::Expected<Type> miura::importType(MLIRContext *context,
                                       const onnx::TypeProto &proto) {
  return ::importType(context, proto, /*depth=*/0);
}

template <typename Proto> static void exportShape(Type type, Proto &proto) {
  auto shaped = cast<ShapedType>(type);
  proto.set_elem_type(getOnnxDataType(shaped.getElementType()));
  auto ranked = dyn_cast<RankedTensorType>(type);
  if (!ranked)
    return;
  auto names = dyn_cast_or_null<DimsAttr>(ranked.getEncoding());
  auto *shape = proto.mutable_shape();
  for (auto [index, size] : llvm::enumerate(ranked.getShape())) {
    auto *dim = shape->add_dim();
    if (ShapedType::isStatic(size))
      dim->set_dim_value(size);
    else if (names && !names.getNames()[index].empty())
      dim->set_dim_param(names.getNames()[index].str());
  }
}

bool miura::exportType(Type type, onnx::TypeProto &proto) {
  if (isa<TensorType>(type)) {
    exportShape(type, *proto.mutable_tensor_type());
    return true;
  }
  if (auto sparse = dyn_cast<SparseTensorType>(type)) {
    exportShape(sparse.getDense(), *proto.mutable_sparse_tensor_type());
    return true;
  }
  if (auto sequence = dyn_cast<SequenceType>(type)) {
    exportType(sequence.getElement(),
               *proto.mutable_sequence_type()->mutable_elem_type());
    return true;
  }
  if (auto optional = dyn_cast<OptionalType>(type)) {
    exportType(optional.getElement(),
               *proto.mutable_optional_type()->mutable_elem_type());
    return true;
  }
  if (auto map = dyn_cast<MapType>(type)) {
    proto.mutable_map_type()->set_key_type(getOnnxDataType(map.getKey()));
    exportType(map.getElement(),
               *proto.mutable_map_type()->mutable_value_type());
    return true;
  }
  return false;
}

llvm::Expected<RankedTensorType>
miura::importTensorType(MLIRContext *context, const TensorProto &tensor) {
  Type element = getElementType(context, tensor.data_type());
  if (!element)
    return llvm::createStringError("has the data type " +
                                   Twine(tensor.data_type()) +
                                   ", which ONNX does not define");
  int64_t count = 1;
  for (int64_t dim : tensor.dims()) {
    if (dim < 0)
      return llvm::createStringError("has the negative dimension " +
                                     Twine(dim));
    if (dim > kMaxElements || llvm::MulOverflow(count, dim, count) ||
        count > kMaxElements)
      return llvm::createStringError(
          "has more elements than can be addressed (dimension " + Twine(dim) +
          ")");
  }
  return RankedTensorType::get(
      ArrayRef<int64_t>(tensor.dims().data(), tensor.dims_size()), element);
}
