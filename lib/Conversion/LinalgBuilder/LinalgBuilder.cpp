//===- LinalgBuilder.cpp - Loops over tensors, built briefly --------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Loops become one linalg.generic each, with identity or projecting maps where
/// that is possible, so that elementwise fusion applies; gathers read with
/// tensor.extract inside the body. Nothing here knows an operator.
///
//===----------------------------------------------------------------------===//

#include "miura/Conversion/LinalgBuilder/LinalgBuilder.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"

using namespace mlir;
using namespace miura;

//===----------------------------------------------------------------------===//
// Indices and sizes
//===----------------------------------------------------------------------===//

Value LinalgBuilder::index(int64_t value) {
  return arith::ConstantIndexOp::create(*this, value);
}

Value LinalgBuilder::dim(Value tensor, int64_t i) {
  RankedTensorType shape = type(tensor);
  if (i < 0)
    i += shape.getRank();
  if (!shape.isDynamicDim(i))
    return index(shape.getDimSize(i));
  // What is cast to a type that says less.
  if (auto cast = tensor.getDefiningOp<tensor::CastOp>())
    if (isa<RankedTensorType>(cast.getSource().getType()))
      return dim(cast.getSource(), i);
  return createOrFold<tensor::DimOp>(tensor, i);
}

SmallVector<Value> LinalgBuilder::dims(Value tensor) {
  SmallVector<Value> sizes;
  for (int64_t i = 0, e = rank(tensor); i < e; ++i)
    sizes.push_back(dim(tensor, i));
  return sizes;
}

Value LinalgBuilder::toIndex(Value value, bool isUnsigned) {
  if (value.getType().isIndex())
    return value;
  if (std::optional<int64_t> known = getConstantIntValue(value))
    return index(*known);
  if (isUnsigned)
    return createOrFold<arith::IndexCastUIOp>(getIndexType(), value);
  return createOrFold<arith::IndexCastOp>(getIndexType(), value);
}

Value LinalgBuilder::scalar(Value tensor) {
  if (!isa<RankedTensorType>(tensor.getType()))
    return tensor;
  SmallVector<Value> zeros(rank(tensor), Value());
  for (Value &zero : zeros)
    zero = index(0);
  return extract(tensor, zeros);
}

Value LinalgBuilder::addIndex(Value a, Value b) {
  return createOrFold<arith::AddIOp>(a, b);
}
Value LinalgBuilder::subIndex(Value a, Value b) {
  return createOrFold<arith::SubIOp>(a, b);
}
Value LinalgBuilder::mulIndex(Value a, Value b) {
  return createOrFold<arith::MulIOp>(a, b);
}
Value LinalgBuilder::selectIndex(arith::CmpIPredicate predicate, Value a,
                                 Value b, Value ifTrue, Value ifFalse) {
  if (ifTrue == ifFalse)
    return ifTrue;
  Value condition = createOrFold<arith::CmpIOp>(predicate, a, b);
  return createOrFold<arith::SelectOp>(condition, ifTrue, ifFalse);
}

//===----------------------------------------------------------------------===//
// Tensors
//===----------------------------------------------------------------------===//

RankedTensorType LinalgBuilder::typeOf(Type element, ArrayRef<Value> sizes) {
  SmallVector<int64_t> shape;
  for (Value size : sizes)
    shape.push_back(getConstantIntValue(size).value_or(ShapedType::kDynamic));
  return RankedTensorType::get(shape, element);
}

Value LinalgBuilder::empty(Type element, ArrayRef<Value> sizes) {
  return tensor::EmptyOp::create(*this, getAsOpFoldResult(ValueRange(sizes)),
                                 element);
}

Value LinalgBuilder::filled(Value value, ArrayRef<Value> sizes) {
  Value init = empty(value.getType(), sizes);
  return linalg::FillOp::create(*this, value, init).getResult(0);
}

Value LinalgBuilder::as(Value tensor, Type type) {
  if (tensor.getType() == type)
    return tensor;
  return createOrFold<tensor::CastOp>(type, tensor);
}

Value LinalgBuilder::loop(Type element, ArrayRef<Value> sizes,
                          ValueRange inputs, ArrayRef<AffineMap> maps,
                          Body body) {
  Value init = empty(element, sizes);
  SmallVector<AffineMap> allMaps(maps);
  allMaps.push_back(getMultiDimIdentityMap(sizes.size()));
  SmallVector<utils::IteratorType> iterators(sizes.size(),
                                             utils::IteratorType::parallel);
  auto generic = linalg::GenericOp::create(
      *this, TypeRange{init.getType()}, inputs, ValueRange{init}, allMaps,
      iterators, [&](OpBuilder &nested, Location loc, ValueRange args) {
        LinalgBuilder inner(loc, nested);
        linalg::YieldOp::create(inner, body(inner, args.drop_back()));
      });
  return generic.getResult(0);
}

Value LinalgBuilder::generate(Type element, ArrayRef<Value> sizes, Body body) {
  return loop(element, sizes, {}, {}, [&](LinalgBuilder &b, ValueRange) {
    SmallVector<Value> indices;
    for (size_t i = 0; i < sizes.size(); ++i)
      indices.push_back(linalg::IndexOp::create(b, i));
    return body(b, indices);
  });
}

Value LinalgBuilder::elementwise(Type element, ValueRange inputs, Body body) {
  SmallVector<AffineMap> maps(inputs.size(),
                              getMultiDimIdentityMap(rank(inputs[0])));
  return loop(element, dims(inputs[0]), inputs, maps, body);
}

Value LinalgBuilder::reduce(Value init, ArrayRef<Value> sizes,
                            ArrayRef<Value> reduced, ValueRange inputs,
                            ArrayRef<AffineMap> maps, Body body) {
  Value start = filled(init, sizes);
  SmallVector<AffineMap> allMaps(maps);
  // linalg finds a loop's size in the operands' shapes. A loop that no operand
  // has as a plain dimension would have none, so a shape-only operand of all
  // the loops' sizes stands for it; its elements are never read.
  SmallVector<Value> loops(sizes);
  llvm::append_range(loops, reduced);
  SmallVector<Value> allInputs(inputs);
  bool needsShape = false;
  for (size_t i = sizes.size(); i < loops.size(); ++i)
    needsShape |= llvm::none_of(maps, [&](AffineMap map) {
      return llvm::is_contained(map.getResults(), getAffineDimExpr(i));
    });
  if (needsShape) {
    allInputs.push_back(empty(getI8Type(), loops));
    allMaps.push_back(getMultiDimIdentityMap(loops.size()));
  }
  // getMajorSubMap(0) would be null.
  SmallVector<AffineExpr> kept;
  for (size_t i = 0; i < sizes.size(); ++i)
    kept.push_back(getAffineDimExpr(i));
  allMaps.push_back(AffineMap::get(loops.size(), 0, kept, getContext()));
  SmallVector<utils::IteratorType> iterators(sizes.size(),
                                             utils::IteratorType::parallel);
  iterators.resize(loops.size(), utils::IteratorType::reduction);
  auto generic = linalg::GenericOp::create(
      *this, TypeRange{start.getType()}, allInputs, ValueRange{start}, allMaps,
      iterators, [&](OpBuilder &nested, Location loc, ValueRange args) {
        LinalgBuilder inner(loc, nested);
        SmallVector<Value> visible(args.take_front(inputs.size()));
        visible.push_back(args.back());
        linalg::YieldOp::create(inner, body(inner, visible));
      });
  return generic.getResult(0);
}

Value LinalgBuilder::reduceLast(Value init, Value input, Body body) {
  SmallVector<Value> sizes = dims(input);
  Value last = sizes.pop_back_val();
  return reduce(init, sizes, {last}, {input},
                {getMultiDimIdentityMap(rank(input))}, body);
}

Value LinalgBuilder::withRows(Type element, Value input, ValueRange rows,
                              ValueRange columns, Body body) {
  int64_t n = rank(input);
  AffineMap all = getMultiDimIdentityMap(n);
  SmallVector<Value> inputs{input};
  SmallVector<AffineMap> maps{all};
  for (Value row : rows) {
    inputs.push_back(row);
    maps.push_back(n == 1 ? AffineMap::get(n, 0, getContext())
                          : all.getMajorSubMap(n - 1));
  }
  for (Value column : columns) {
    inputs.push_back(column);
    maps.push_back(all.getMinorSubMap(1));
  }
  return loop(element, dims(input), inputs, maps, body);
}

Value LinalgBuilder::extract(Value tensor, ValueRange indices) {
  return createOrFold<tensor::ExtractOp>(tensor, indices);
}

Value LinalgBuilder::transpose(Value tensor, ArrayRef<int64_t> permutation) {
  SmallVector<Value> sizes;
  SmallVector<unsigned> inverse(permutation.size());
  for (auto [i, from] : llvm::enumerate(permutation)) {
    sizes.push_back(dim(tensor, from));
    inverse[from] = i;
  }
  AffineMap map = permutation.empty()
                      ? getMultiDimIdentityMap(0)
                      : AffineMap::getPermutationMap(
                            ArrayRef<unsigned>(inverse), getContext());
  return loop(element(tensor), sizes, {tensor}, {map},
              [](LinalgBuilder &, ValueRange args) { return args[0]; });
}

Value LinalgBuilder::reshape(Value tensor, ArrayRef<Value> sizes) {
  RankedTensorType result = typeOf(element(tensor), sizes);
  if (result == tensor.getType())
    return tensor;
  Type indexTensor =
      RankedTensorType::get({int64_t(sizes.size())}, getIndexType());
  Value shape =
      sizes.empty()
          ? Value(tensor::EmptyOp::create(*this, ArrayRef<int64_t>{0},
                                          getIndexType()))
          : Value(tensor::FromElementsOp::create(*this, indexTensor, sizes));
  return tensor::ReshapeOp::create(*this, result, tensor, shape);
}

//===----------------------------------------------------------------------===//
// Scalars
//===----------------------------------------------------------------------===//

Value LinalgBuilder::constant(Type type, double value) {
  if (auto floatType = dyn_cast<FloatType>(type)) {
    APFloat number(value);
    bool inexact;
    number.convert(floatType.getFloatSemantics(), APFloat::rmNearestTiesToEven,
                   &inexact);
    return arith::ConstantOp::create(*this, FloatAttr::get(type, number));
  }
  return arith::ConstantOp::create(*this, getIntegerAttr(type, int64_t(value)));
}

Value LinalgBuilder::add(Value a, Value b) {
  if (isa<FloatType>(a.getType()))
    return createOrFold<arith::AddFOp>(a, b);
  return createOrFold<arith::AddIOp>(a, b);
}

Value LinalgBuilder::sub(Value a, Value b) {
  if (isa<FloatType>(a.getType()))
    return createOrFold<arith::SubFOp>(a, b);
  return createOrFold<arith::SubIOp>(a, b);
}

Value LinalgBuilder::mul(Value a, Value b) {
  if (isa<FloatType>(a.getType()))
    return createOrFold<arith::MulFOp>(a, b);
  return createOrFold<arith::MulIOp>(a, b);
}

Value LinalgBuilder::div(Value a, Value b, bool isUnsigned) {
  if (isa<FloatType>(a.getType()))
    return createOrFold<arith::DivFOp>(a, b);
  if (isUnsigned)
    return createOrFold<arith::DivUIOp>(a, b);
  return createOrFold<arith::DivSIOp>(a, b);
}

Value LinalgBuilder::max(Value a, Value b, bool isUnsigned) {
  if (isa<FloatType>(a.getType()))
    return createOrFold<arith::MaximumFOp>(a, b);
  if (isUnsigned)
    return createOrFold<arith::MaxUIOp>(a, b);
  return createOrFold<arith::MaxSIOp>(a, b);
}

Value LinalgBuilder::min(Value a, Value b, bool isUnsigned) {
  if (isa<FloatType>(a.getType()))
    return createOrFold<arith::MinimumFOp>(a, b);
  if (isUnsigned)
    return createOrFold<arith::MinUIOp>(a, b);
  return createOrFold<arith::MinSIOp>(a, b);
}

Value LinalgBuilder::multiplyAdd(Value a, Value b, Value c) {
  if (!isa<FloatType>(a.getType()))
    return add(c, mul(a, b));
  auto flags = arith::FastMathFlags::reassoc | arith::FastMathFlags::contract;
  Value product = arith::MulFOp::create(*this, a, b, flags);
  return arith::AddFOp::create(*this, c, product, flags);
}

Value LinalgBuilder::sigmoid(Value x) {
  Value one = constant(x.getType(), 1);
  Value minus = arith::NegFOp::create(*this, x);
  return div(one, add(one, math::ExpOp::create(*this, minus)));
}

Value LinalgBuilder::branch(Value condition,
                            function_ref<Value(LinalgBuilder &)> ifTrue,
                            function_ref<Value(LinalgBuilder &)> ifFalse) {
  auto region = [](function_ref<Value(LinalgBuilder &)> body) {
    return [body](OpBuilder &nested, Location loc) {
      LinalgBuilder inner(loc, nested);
      scf::YieldOp::create(inner, body(inner));
    };
  };
  return scf::IfOp::create(*this, condition, region(ifTrue), region(ifFalse))
      .getResult(0);
}

Value LinalgBuilder::convert(Value value, Type to, bool fromUnsigned,
                             bool toUnsigned) {
  Type from = value.getType();
  if (from == to)
    return value;
  if (from.isIndex() || to.isIndex()) {
    if (isa<FloatType>(from) || isa<FloatType>(to)) {
      Value wide = convert(value, getI64Type(), fromUnsigned, toUnsigned);
      return convert(wide, to, fromUnsigned, toUnsigned);
    }
    return fromUnsigned || from.isInteger(1)
               ? createOrFold<arith::IndexCastUIOp>(to, value)
               : createOrFold<arith::IndexCastOp>(to, value);
  }
  if (to.isInteger(1)) {
    Value zero = constant(from, 0);
    if (isa<FloatType>(from))
      return createOrFold<arith::CmpFOp>(arith::CmpFPredicate::UNE, value,
                                         zero);
    return createOrFold<arith::CmpIOp>(arith::CmpIPredicate::ne, value, zero);
  }
  fromUnsigned |= from.isInteger(1);
  if (auto fromFloat = dyn_cast<FloatType>(from)) {
    if (auto toFloat = dyn_cast<FloatType>(to)) {
      if (toFloat.getWidth() > fromFloat.getWidth())
        return createOrFold<arith::ExtFOp>(to, value);
      if (toFloat.getWidth() < fromFloat.getWidth())
        return createOrFold<arith::TruncFOp>(to, value);
      // f16 and bf16 have one width and different ranges.
      Value wide = arith::ExtFOp::create(*this, getF32Type(), value);
      return arith::TruncFOp::create(*this, to, wide);
    }
    if (toUnsigned)
      return createOrFold<arith::FPToUIOp>(to, value);
    return createOrFold<arith::FPToSIOp>(to, value);
  }
  if (isa<FloatType>(to)) {
    if (fromUnsigned)
      return createOrFold<arith::UIToFPOp>(to, value);
    return createOrFold<arith::SIToFPOp>(to, value);
  }
  unsigned fromWidth = from.getIntOrFloatBitWidth();
  unsigned toWidth = to.getIntOrFloatBitWidth();
  if (fromWidth == toWidth)
    return value;
  if (fromWidth > toWidth)
    return createOrFold<arith::TruncIOp>(to, value);
  if (fromUnsigned)
    return createOrFold<arith::ExtUIOp>(to, value);
  return createOrFold<arith::ExtSIOp>(to, value);
}
