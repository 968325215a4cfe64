//===- RaiseExperts.cpp - Products with the matrices of chosen experts ----===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// A batched product of rows with matrices that were gathered, one per row,
/// from a stored experts × rows × columns tensor. It becomes
/// miura.expert_linear, which reads the chosen matrices where they are stored.
///
//===----------------------------------------------------------------------===//

#include "Raiser.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace miura;
using namespace miura::symbolic;

namespace {
/// Matrices taken from a stored tensor, one per row.
struct Gathered {
  Value stored, experts;
};
} // namespace

/// `value` as W[experts[r], …] of a stored W of rank 3.
static std::optional<Gathered> matchGather(Value value,
                                           TensorAnalysis &analysis) {
  auto node = value ? value.getDefiningOp<OnnxNodeOp>() : OnnxNodeOp();
  bool isPlain = isNode(node, "Gather") && getInt(node, "axis", 0) == 0;
  bool isTuple = isNode(node, "GatherND") && getInt(node, "batch_dims", 0) == 0;
  if (!isPlain && !isTuple)
    return std::nullopt;
  Value stored = getInput(node, 0), places = getInput(node, 1);
  auto type = dyn_cast<RankedTensorType>(stored.getType());
  const TensorAnalysis::Shape *shape = analysis.getShape(places);
  if (!type || type.getRank() != 3 || !isa<FloatType>(type.getElementType()) ||
      !stored.getDefiningOp<WeightOp>() || !shape ||
      shape->size() != (isTuple ? 2 : 1) ||
      (isTuple && !isConstant(shape->back(), 1)))
    return std::nullopt;
  return Gathered{stored, places};
}

bool Raiser::raiseExpertProduct(OnnxNodeOp product) {
  if (!isNode(product, "MatMul"))
    return false;
  Value result = product.getResult(0);
  const Shape *found = analysis.getShape(result);
  if (!found || found->size() != 3)
    return false;
  Shape shape = *found;
  // W x or xᵀ Wᵀ.
  for (bool isLeft : {true, false}) {
    std::optional<Gathered> gathered =
        matchGather(getInput(product, isLeft ? 0 : 1), analysis);
    Value x = getInput(product, isLeft ? 1 : 0);
    const Shape *xShape = analysis.getShape(x);
    if (!gathered || !xShape || xShape->size() != 3 ||
        !isConstant((*xShape)[isLeft ? 2 : 1], 1))
      continue;
    Expr rows = (*xShape)[0], in = (*xShape)[isLeft ? 1 : 2];
    Expr out = shape[isLeft ? 1 : 2];
    Value flat = makeReshape(x, {rows, in}, product);
    Value experts = gathered->experts;
    if (analysis.getShape(experts)->size() == 2)
      experts = makeReshape(experts, {rows}, product);
    if (!flat || !experts)
      return false;
    builder.setInsertionPoint(product);
    auto type = cast<RankedTensorType>(gathered->stored.getType());
    Value weight = gathered->stored;
    if (!isLeft) {
      ArrayRef<int64_t> sizes = type.getShape();
      type = RankedTensorType::get({sizes[0], sizes[2], sizes[1]},
                                   type.getElementType());
      weight = TransposeOp::create(builder, product.getLoc(), type, weight);
    }
    Type element = getElementTypeOrSelf(result.getType());
    Value linear = ExpertLinearOp::create(
        builder, product.getLoc(), getType({rows, out}, element), flat, weight,
        experts, Value(), makeId(gathered->stored, product),
        ComputeAttr::get(product.getContext(), element, builder.getF32Type(),
                         0));
    analysis.setShape(linear, {rows, out});
    linear = makeReshape(linear, shape, product);
    if (!linear || linear.getType() != result.getType())
      return false;
    replace(result, linear);
    return true;
  }
  return false;
}

void Raiser::raiseExperts() {
  forEachNode([&](OnnxNodeOp op) { raiseExpertProduct(op); });
}
