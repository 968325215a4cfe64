//===- RaiseNorms.cpp - RMSNorm and LayerNorm in their spellings ----------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// A norm begins at the inverse of a root: x times 1/sqrt(mean(x^2) + e), or
/// divided by it. What x is decides between RMSNorm and LayerNorm (x minus its
/// mean). The scale and bias that follow are folded in.
///
//===----------------------------------------------------------------------===//

#include "Raiser.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace miura;
using namespace miura::symbolic;

Value Raiser::getVector(Value value, Expr size) {
  value = skipFloatCasts(value);
  const Shape *shape = value ? analysis.getShape(value) : nullptr;
  if (!shape || shape->empty() || shape->back() != size)
    return {};
  for (Expr e : llvm::drop_end(*shape))
    if (!isConstant(e, 1))
      return {};
  if (shape->size() == 1)
    return value;
  return makeReshape(value, Shape{size}, &*builder.getInsertionPoint());
}

Value Raiser::matchInverseRoot(Value value) {
  auto op = value.getDefiningOp<OnnxNodeOp>();
  if (isNode(op, "Reciprocal")) {
    OnnxNodeOp root = getNode(getInput(op, 0), "Sqrt");
    return root ? getInput(root, 0) : Value();
  }
  if (isNode(op, "Div")) {
    OnnxNodeOp root = getNode(getInput(op, 1), "Sqrt");
    return root && analysis.getSplat(getInput(op, 0)) == 1.0 ? getInput(root, 0)
                                                             : Value();
  }
  if (isNode(op, "Pow"))
    return analysis.getSplat(getInput(op, 1)) == -0.5 ? getInput(op, 0)
                                                      : Value();
  return {};
}

bool Raiser::matchMeanPlusEpsilon(Value value, Value &x, double &epsilon) {
  OnnxNodeOp add = getNode(value, "Add");
  if (!add)
    return false;
  for (Value side : add.getInputs()) {
    OnnxNodeOp mean = getNode(side, "ReduceMean");
    std::optional<double> e = analysis.getSplat(getOther(add, side));
    if (!mean || !e || !getInt(mean, "keepdims", 1))
      continue;
    Value square = getInput(mean, 0);
    const Shape *shape = analysis.getShape(square);
    std::optional<SmallVector<int64_t>> axes = getInts(mean, "axes");
    if (!axes)
      axes = analysis.getIntegers(getInput(mean, 1));
    if (!shape || !axes || axes->size() != 1 ||
        ((*axes)[0] != -1 && (*axes)[0] != int64_t(shape->size()) - 1))
      continue;
    auto op = square.getDefiningOp<OnnxNodeOp>();
    if (isNode(op, "Pow") && analysis.getSplat(getInput(op, 1)) == 2.0)
      x = getInput(op, 0);
    else if (isNode(op, "Mul") && getInput(op, 0) == getInput(op, 1))
      x = getInput(op, 0);
    else
      continue;
    epsilon = *e;
    return true;
  }
  return false;
}

bool Raiser::matchRms(Value value, Value &x, double &epsilon) {
  auto op = value.getDefiningOp<OnnxNodeOp>();
  Value y;
  if (isNode(op, "Div")) {
    OnnxNodeOp root = getNode(getInput(op, 1), "Sqrt");
    if (!root || !matchMeanPlusEpsilon(getInput(root, 0), y, epsilon))
      return false;
    x = getInput(op, 0);
    return skipFloatCasts(x) == skipFloatCasts(y);
  }
  if (!isNode(op, "Mul"))
    return false;
  for (Value side : op.getInputs()) {
    Value root = matchInverseRoot(side);
    if (!root || !matchMeanPlusEpsilon(root, y, epsilon))
      continue;
    x = getOther(op, side);
    if (skipFloatCasts(x) == skipFloatCasts(y))
      return true;
  }
  return false;
}

bool Raiser::matchLayerNorm(Value value, Value &x, double &epsilon) {
  Value centered;
  if (!matchRms(value, centered, epsilon))
    return false;
  OnnxNodeOp sub = getNode(centered, "Sub");
  OnnxNodeOp mean = sub ? getNode(getInput(sub, 1), "ReduceMean") : sub;
  if (!mean || getInput(mean, 0) != getInput(sub, 0))
    return false;
  const Shape *shape = analysis.getShape(getInput(sub, 0));
  std::optional<SmallVector<int64_t>> axes = getInts(mean, "axes");
  if (!axes)
    axes = analysis.getIntegers(getInput(mean, 1));
  if (!shape || !axes || axes->size() != 1 || !getInt(mean, "keepdims", 1) ||
      ((*axes)[0] != -1 && (*axes)[0] != int64_t(shape->size()) - 1))
    return false;
  x = getInput(sub, 0);
  return true;
}

void Raiser::keepScaled(Value normalized) {
  for (Operation *user : normalized.getUsers())
    if (auto mul = dyn_cast<OnnxNodeOp>(user);
        isNode(mul, "Mul") && isStored(getOther(mul, normalized)))
      analysis.setOpaque(mul.getResult(0));
}

void Raiser::keepRounded(Value normalized) {
  auto isNarrower = [&](Value value) {
    auto from = dyn_cast<FloatType>(getElementTypeOrSelf(normalized.getType()));
    auto to = dyn_cast<FloatType>(getElementTypeOrSelf(value.getType()));
    return from && to && to.getWidth() < from.getWidth();
  };
  for (Operation *user : normalized.getUsers())
    if (auto cast = dyn_cast<OnnxNodeOp>(user);
        isNode(cast, "Cast") && isNarrower(cast.getResult(0)))
      analysis.setOpaque(cast.getResult(0));
}

/// A vector of equal elements: the scale of a norm that has none.
static Value makeSplatVector(OpBuilder &builder, Location loc, int64_t size,
                             Type element, double value) {
  auto type = RankedTensorType::get({size}, element);
  return arith::ConstantOp::create(
      builder, loc,
      DenseElementsAttr::get(type, builder.getFloatAttr(element, value)));
}

void Raiser::emitRms(Value normalized, Value x, double epsilon) {
  const Shape *shape = analysis.getShape(normalized);
  std::optional<int64_t> size = getInteger(shape->back());
  if (!size)
    return;
  // A cast between norm and scale rounds what the op keeps in f32.
  Value last = normalized, scale;
  Value inner = normalized;
  if (OnnxNodeOp cast = getOnlyUser(inner); isNode(cast, "Cast"))
    inner = cast.getResult(0);
  if (OnnxNodeOp mul = getOnlyUser(inner); isNode(mul, "Mul")) {
    builder.setInsertionPoint(mul);
    Value vector = getOther(mul, inner);
    if (vector != inner)
      scale = getVector(vector, shape->back());
    if (scale)
      last = mul.getResult(0);
  }
  // Where the file computes in f32 and rounds, so does the op.
  Value input = skipFloatCasts(x);
  if (input.getType() != last.getType())
    input = x;
  if (input.getType() != last.getType())
    return;
  builder.setInsertionPoint(last.getDefiningOp());
  if (!scale) {
    keepScaled(last);
    scale = makeSplatVector(builder, last.getLoc(), *size,
                            getElementTypeOrSelf(last.getType()), 1);
  }
  keepRounded(last);
  replace(last, RmsNormOp::create(builder, last.getLoc(), last.getType(), input,
                                  scale, builder.getF64FloatAttr(epsilon)));
}

void Raiser::emitLayerNorm(Value normalized, Value x, double epsilon) {
  const Shape *shape = analysis.getShape(normalized);
  std::optional<int64_t> size = getInteger(shape->back());
  if (!size || x.getType() != normalized.getType())
    return;
  Value last = normalized, scale, bias;
  if (OnnxNodeOp mul = getOnlyUser(last); isNode(mul, "Mul")) {
    builder.setInsertionPoint(mul);
    Value vector = getOther(mul, last);
    if (isStored(vector) && (scale = getVector(vector, shape->back())))
      last = mul.getResult(0);
  }
  if (OnnxNodeOp add = getOnlyUser(last); scale && isNode(add, "Add")) {
    builder.setInsertionPoint(add);
    Value vector = getOther(add, last);
    if (isStored(vector) && (bias = getVector(vector, shape->back())))
      last = add.getResult(0);
  }
  builder.setInsertionPoint(last.getDefiningOp());
  if (!scale) {
    keepScaled(last);
    scale = makeSplatVector(builder, last.getLoc(), *size,
                            getElementTypeOrSelf(last.getType()), 1);
  }
  keepRounded(last);
  replace(last,
          LayerNormOp::create(builder, last.getLoc(), last.getType(), x, scale,
                              bias, builder.getF64FloatAttr(epsilon)));
}

bool Raiser::raiseFusedNorm(OnnxNodeOp op) {
  StringRef type = op.getOpType();
  bool standard = op.hasStandardDomain();
  bool microsoft = op.getDomain() == "com.microsoft";
  bool skip = microsoft && type.starts_with("Skip");
  bool rms = (standard && (type == "RMSNormalization" ||
                           type == "SimplifiedLayerNormalization")) ||
             (microsoft && type == "SkipSimplifiedLayerNormalization");
  bool layer = (standard && type == "LayerNormalization") ||
               (microsoft && type == "SkipLayerNormalization");
  if (!rms && !layer)
    return false;
  Value x = getInput(op, 0), result = op.getResult(0);
  const Shape *shape = analysis.getShape(x);
  if (!shape || shape->empty() || !getInteger(shape->back()))
    return false;
  int64_t axis = getInt(op, "axis", -1);
  if (axis != -1 && axis != int64_t(shape->size()) - 1)
    return false;
  // Statistics as results are for training only.
  unsigned sum = skip ? 3 : op.getNumResults();
  for (unsigned i = 1; i < op.getNumResults(); ++i)
    if (i != sum && !op.getResult(i).use_empty())
      return false;
  builder.setInsertionPoint(op);
  unsigned next = skip ? 2 : 1;
  auto vector = [&](unsigned i) {
    return getInput(op, i) ? getVector(getInput(op, i), shape->back())
                           : Value();
  };
  Value scale = vector(next), bias = rms ? Value() : vector(next + 1);
  if (!scale || (!rms && getInput(op, next + 1) && !bias))
    return false;
  if (skip) {
    // A bias is added to the sum: one of the two is a linear that has none.
    Value other = getInput(op, 1), added = getInput(op, rms ? 3 : 4);
    if (other.getType() != x.getType())
      return false;
    Shape copy = *shape;
    if (added) {
      if (Value biased = addVector(x, added, op))
        x = biased;
      else if (Value biased = addVector(other, added, op))
        other = biased;
      else
        return false;
      builder.setInsertionPoint(op);
    }
    x = arith::AddFOp::create(builder, op.getLoc(), x, other);
    analysis.setShape(x, copy);
    if (sum < op.getNumResults() && !op.getResult(sum).use_empty())
      replace(op.getResult(sum), x);
  }
  FloatAttr epsilon = builder.getF64FloatAttr(
      getFloat(op, "epsilon", microsoft && !rms ? 1e-12 : 1e-5));
  Type resultType = x.getType();
  Value norm = rms ? RmsNormOp::create(builder, op.getLoc(), resultType, x,
                                       scale, epsilon)
                         .getResult()
                   : LayerNormOp::create(builder, op.getLoc(), resultType, x,
                                         scale, bias, epsilon)
                         .getResult();
  analysis.setShape(norm, *analysis.getShape(x));
  replace(result, norm);
  return true;
}

void Raiser::raiseNorms() {
  forEachNode([&](OnnxNodeOp op) {
    Value x;
    double epsilon;
    if (raiseFusedNorm(op))
      return;
    if (!isNode(op, "Mul") && !isNode(op, "Div"))
      return;
    Value result = op.getResult(0);
    if (matchLayerNorm(result, x, epsilon))
      emitLayerNorm(result, x, epsilon);
    else if (matchRms(result, x, epsilon))
      emitRms(result, x, epsilon);
  });
  // Heads that have norms of their own are put together again.
  forEachNode([&](OnnxNodeOp op) {
    if (isNode(op, "Concat") && llvm::all_of(op.getInputs(), [](Value part) {
          return isa_and_nonnull<LayerNormOp, RmsNormOp>(part.getDefiningOp());
        }))
      analysis.setOpaque(op.getResult(0));
  });
}
