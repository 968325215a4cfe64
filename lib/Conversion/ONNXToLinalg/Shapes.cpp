//===- Shapes.cpp - Shapes, constants and reshapes ------------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Operators that make tensors from shapes, or change a shape and no element.
///
//===----------------------------------------------------------------------===//

#include "Node.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"

using namespace mlir;
using namespace miura;
using namespace miura::onnxlower;

namespace {

using B = LinalgBuilder;

Results shape(Node &n) {
  Value x = n[0];
  int64_t rank = n.rank(x);
  auto bound = [&](StringRef name, int64_t otherwise) {
    int64_t value = n.getInt(name, otherwise);
    value = value < 0 ? value + rank : value;
    return std::clamp<int64_t>(value, 0, rank);
  };
  int64_t start = bound("start", 0), end = bound("end", rank);
  SmallVector<Value> elements;
  for (int64_t d = start; d < end; ++d)
    elements.push_back(n.convert(n.dim(x, d), n.getI64Type()));
  auto type = RankedTensorType::get({int64_t(elements.size())}, n.getI64Type());
  if (elements.empty())
    return {
        {Value(tensor::EmptyOp::create(n, type.getShape(), n.getI64Type()))}};
  return {{Value(tensor::FromElementsOp::create(n, type, elements))}};
}

Results size(Node &n) {
  Value count = n.index(1);
  for (Value size : n.dims(n[0]))
    count = n.mulIndex(count, size);
  return {{Value(tensor::FromElementsOp::create(
      n, RankedTensorType::get({}, n.getI64Type()),
      ValueRange{n.convert(count, n.getI64Type())}))}};
}

Results constant(Node &n) {
  RankedTensorType type = n.resultType();
  Type element = type.getElementType();
  DictionaryAttr attributes = n.op.getOnnxAttributes();
  auto make = [&](Attribute value) -> Results {
    return {{Value(arith::ConstantOp::create(
        n, DenseElementsAttr::get(type, ArrayRef<Attribute>(value))))}};
  };
  if (DenseElementsAttr value = n.getTensor("value"))
    return {{Value(arith::ConstantOp::create(
        n, DenseElementsAttr::getFromRawBuffer(type, value.getRawData())))}};
  if (auto reference =
          dyn_cast_or_null<FlatSymbolRefAttr>(attributes.get("value")))
    return {{Value(WeightOp::create(n, type, reference))}};
  if (n.hasAttr("value_int"))
    return make(n.getIntegerAttr(element, n.getInt("value_int", 0)));
  if (n.hasAttr("value_float"))
    return make(n.getFloatAttr(element, n.getFloat("value_float", 0)));
  if (auto ints = n.getInts("value_ints"))
    return {{Value(arith::ConstantOp::create(
        n, DenseElementsAttr::get(type, ArrayRef<int64_t>(*ints))))}};
  if (auto floats =
          dyn_cast_or_null<DenseF32ArrayAttr>(attributes.get("value_floats")))
    return {{Value(arith::ConstantOp::create(
        n, DenseElementsAttr::get(type, floats.asArrayRef())))}};
  return n.error() << "has a kind of value that is not lowered";
}

Results constantOfShape(Node &n) {
  Type element = n.resultElement();
  SmallVector<Value> sizes = n.refine(n.indices(n[0]));
  Value value = n.constant(element, 0);
  if (DenseElementsAttr given = n.getTensor("value")) {
    auto plain = DenseElementsAttr::getFromRawBuffer(
        RankedTensorType::get(given.getType().getShape(), element),
        given.getRawData());
    value = arith::ConstantOp::create(
        n, cast<TypedAttr>(*plain.value_begin<Attribute>()));
  }
  return {{n.produce(element, sizes, [&](B &, ValueRange) { return value; })}};
}

Results range(Node &n) {
  Type element = n.resultElement();
  Value start = n.scalar(n[0]), limit = n.scalar(n[1]), step = n.scalar(n[2]);
  Value count;
  if (isa<FloatType>(element)) {
    Value steps = math::CeilOp::create(n, n.div(n.sub(limit, start), step));
    steps = n.max(steps, n.constant(element, 0));
    count = n.convert(steps, n.getIndexType());
  } else {
    Value length =
        n.createOrFold<arith::CeilDivSIOp>(n.sub(limit, start), step);
    count = n.toIndex(n.max(length, n.constant(element, 0)));
  }
  SmallVector<Value> sizes = n.refine({count});
  return {{n.produce(element, sizes, [&](B &b, ValueRange at) {
    Value i = b.convert(at[0], element);
    return b.add(start, b.mul(i, step));
  })}};
}

/// Row-major reinterpretation; small integer tensors stay scalars.
Value reshapeTo(Node &n, Value x, ArrayRef<Value> sizes) {
  Type element = n.element(x);
  if (n.isSmall(element, sizes) && n.isSmall(element, n.dims(x)))
    return n.produce(element, sizes, [&](B &b, ValueRange at) {
      Value i = at.empty() ? b.index(0) : at[0];
      return n.rank(x) == 0 ? b.scalar(x) : b.extract(x, i);
    });
  return n.reshape(x, sizes);
}

Results reshape(Node &n) {
  Value x = n[0];
  SmallVector<Value> target;
  if (auto attribute = n.getInts("shape")) { // Opset 1 to 4.
    for (int64_t size : *attribute)
      target.push_back(n.index(size));
  } else {
    if (n.type(n[1]).isDynamicDim(0))
      return n.error() << "has a shape of unknown length";
    target = n.indices(n[1]);
  }
  bool allowZero = n.getInt("allowzero", 0);
  Value zero = n.index(0), minusOne = n.index(-1);
  for (auto [d, size] : llvm::enumerate(target))
    if (!allowZero && int64_t(d) < n.rank(x))
      size = n.selectIndex(arith::CmpIPredicate::eq, size, zero, n.dim(x, d),
                           size);
  // What the declared type knows needs no arithmetic.
  target = n.refine(target);
  Value total = n.index(1), known = n.index(1);
  for (Value size : n.dims(x))
    total = n.mulIndex(total, size);
  for (Value size : target)
    known = n.mulIndex(known, n.selectIndex(arith::CmpIPredicate::eq, size,
                                            minusOne, n.index(1), size));
  // An empty tensor: the free dimension is 0 too, whatever the others are.
  Value safe =
      n.selectIndex(arith::CmpIPredicate::eq, known, zero, n.index(1), known);
  Value rest = n.createOrFold<arith::DivSIOp>(total, safe);
  for (Value &size : target)
    size = n.selectIndex(arith::CmpIPredicate::eq, size, minusOne, rest, size);
  return {{reshapeTo(n, x, target)}};
}

Results flatten(Node &n) {
  Value x = n[0];
  int64_t rank = n.rank(x), axis = n.getInt("axis", 1);
  axis = axis < 0 ? axis + rank : axis;
  Value before = n.index(1), after = n.index(1);
  for (int64_t d = 0; d < rank; ++d) {
    Value &side = d < axis ? before : after;
    side = n.mulIndex(side, n.dim(x, d));
  }
  return {{n.reshape(x, n.refine({before, after}))}};
}

Results squeeze(Node &n) {
  Value x = n[0];
  auto axes = n.axes("axes", 1, n.rank(x));
  if (failed(axes))
    return failure();
  SmallVector<int64_t> dropped;
  if (*axes)
    dropped = **axes;
  else
    for (int64_t d = 0; d < n.rank(x); ++d)
      if (n.type(x).getDimSize(d) == 1)
        dropped.push_back(d);
  return {{n.squeeze(x, dropped)}};
}

Results unsqueeze(Node &n) {
  Value x = n[0];
  int64_t count = 0;
  if (auto attribute = n.getInts("axes"))
    count = attribute->size();
  else if (auto operand = n.constantInts(1))
    count = operand->size();
  auto axes = n.axes("axes", 1, n.rank(x) + count);
  if (failed(axes))
    return failure();
  if (!*axes)
    return n.error() << "has no axes";
  return {{n.unsqueeze(x, **axes)}};
}

Results expand(Node &n) {
  Value x = n[0];
  if (n.type(n[1]).isDynamicDim(0))
    return n.error() << "has a shape of unknown length";
  SmallVector<Value> target = n.indices(n[1]);
  int64_t rank = std::max<int64_t>(n.rank(x), target.size());
  SmallVector<Value> sizes;
  for (int64_t d = 0; d < rank; ++d) {
    int64_t own = d - (rank - n.rank(x));
    int64_t wanted = d - (rank - int64_t(target.size()));
    if (wanted < 0) {
      sizes.push_back(n.dim(x, own));
    } else if (own < 0) {
      sizes.push_back(target[wanted]);
    } else {
      Value mine = n.dim(x, own);
      sizes.push_back(n.selectIndex(arith::CmpIPredicate::eq, mine, n.index(1),
                                    target[wanted], mine));
    }
  }
  return {{n.broadcastTo(x, n.refine(sizes))}};
}

} // namespace

void miura::onnxlower::addShapes(Table &t) {
  t["Shape"] = shape;
  t["Size"] = size;
  t["Constant"] = constant;
  t["ConstantOfShape"] = constantOfShape;
  t["Range"] = range;
  t["Reshape"] = reshape;
  t["Flatten"] = flatten;
  t["Squeeze"] = squeeze;
  t["Unsqueeze"] = unsqueeze;
  t["Expand"] = expand;
}
