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
/// So do the products of groups of rows that were sorted by expert.
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

/// Whether a vector of expert numbers ascends: a sorted one, through operators
/// that keep the order.
static bool ascends(Value value, TensorAnalysis &analysis) {
  for (int steps = 0; steps < 16; ++steps) {
    auto op = value.getDefiningOp<OnnxNodeOp>();
    const TensorAnalysis::Shape *shape = analysis.getShape(value);
    if (!op || !shape || shape->size() != 1)
      return false;
    if (isNode(op, "TopK"))
      return value == op.getResult(0) && !getInt(op, "largest", 1) &&
             getInt(op, "sorted", 1);
    if (isNode(op, "Div")) {
      std::optional<double> k = analysis.getSplat(getInput(op, 1));
      if (!k || *k <= 0)
        return false;
    } else if (!isNode(op, "Cast") && !isNode(op, "Reshape") &&
               !isNode(op, "Clip")) {
      return false;
    }
    value = getInput(op, 0);
  }
  return false;
}

/// Of `limit` = (running sum of how many rows each expert has)[expert]: what
/// counts them, a ScatterElements of ones; null if it is anything else.
static OnnxNodeOp matchGroupEnd(Value limit, int64_t expert,
                                TensorAnalysis &analysis) {
  TensorAnalysis::Indices at;
  for (int steps = 0; steps < 16; ++steps) {
    auto op = limit.getDefiningOp<OnnxNodeOp>();
    if (Value source = analysis.stepThroughView(limit, at)) {
      limit = source;
    } else if (isNode(op, "Cast")) {
      limit = getInput(op, 0);
    } else if (isNode(op, "Split") && at.size() == 1) {
      Context &context = analysis.getContext();
      for (Value part : op.getResults()) {
        if (part == limit)
          break;
        const TensorAnalysis::Shape *shape = analysis.getShape(part);
        if (!shape)
          return {};
        at[0] = context.add(at[0], (*shape)[0]);
      }
      limit = getInput(op, 0);
    } else {
      break;
    }
  }
  OnnxNodeOp sum = getNode(limit, "CumSum");
  if (!sum || at.size() != 1 || getInteger(at[0]) != expert ||
      getInt(sum, "reverse", 0) || getInt(sum, "exclusive", 0))
    return {};
  Value counts = getInput(sum, 0);
  while (OnnxNodeOp cast = getNode(counts, "Cast"))
    counts = getInput(cast, 0);
  OnnxNodeOp scatter = getNode(counts, "ScatterElements");
  if (!scatter || getString(scatter, "reduction") != "add" ||
      analysis.getSplat(getInput(scatter, 0)) != 0.0 ||
      analysis.getSplat(getInput(scatter, 2)) != 1.0)
    return {};
  return scatter;
}

bool Raiser::raiseGroupedProducts(OnnxNodeOp concat) {
  // Rows sorted by expert; the rows of each, times its matrix, put together.
  Value result = concat.getResult(0);
  const Shape *found = analysis.getShape(result);
  if (!isNode(concat, "Concat") || getInt(concat, "axis", 0) != 0 || !found ||
      found->size() != 2)
    return false;
  Value x, stored, begin;
  OnnxNodeOp counting;
  for (auto [expert, part] : llvm::enumerate(concat.getInputs())) {
    OnnxNodeOp product = getNode(part, "MatMul");
    OnnxNodeOp rows =
        product ? getNode(getInput(product, 0), "Gather") : OnnxNodeOp();
    OnnxNodeOp range = rows ? getNode(getInput(rows, 1), "Range") : rows;
    if (!range || getInt(rows, "axis", 0) != 0 ||
        analysis.getSplat(getInput(range, 2)) != 1.0)
      return false;
    // Each group begins where the one before ends.
    Value start = getInput(range, 0), limit = getInput(range, 1);
    if (begin ? start != begin : analysis.getSplat(start) != 0.0)
      return false;
    begin = limit;
    OnnxNodeOp scatter = matchGroupEnd(limit, expert, analysis);
    Value matrix = getInput(product, 1);
    const Shape *sizes = analysis.getShape(matrix);
    if (!scatter || (counting && scatter != counting) || !sizes ||
        sizes->size() != 2 || (x && x != getInput(rows, 0)))
      return false;
    counting = scatter;
    x = getInput(rows, 0);
    Indices at = analysis.makeIndices(matrix, "w");
    auto [one, atom] = getScaledAtom(analysis.getElement(matrix, at));
    if (one != 1 || !atom || atom->kind != Kind::Element ||
        atom->operands.size() != 3 ||
        getInteger(atom->operands[0]) != int64_t(expert) ||
        atom->operands[1] != at[0] || atom->operands[2] != at[1] ||
        (stored && stored != atom->tensor))
      return false;
    stored = atom->tensor;
  }
  auto type = stored ? dyn_cast<RankedTensorType>(stored.getType())
                     : RankedTensorType();
  Value experts = counting ? getInput(counting, 1) : Value();
  if (!type || !stored.getDefiningOp<WeightOp>() ||
      type.getDimSize(0) != int64_t(concat.getNumOperands()) ||
      !ascends(experts, analysis))
    return false;
  const Shape *rows = analysis.getShape(x);
  if (!rows || rows->size() != 2)
    return false;
  builder.setInsertionPoint(concat);
  ArrayRef<int64_t> sizes = type.getShape();
  auto turned = RankedTensorType::get({sizes[0], sizes[2], sizes[1]},
                                      type.getElementType());
  Value weight = TransposeOp::create(builder, concat.getLoc(), turned, stored);
  Type element = getElementTypeOrSelf(result.getType());
  Shape shape{(*rows)[0], context.integer(sizes[2])};
  Value linear = ExpertLinearOp::create(
      builder, concat.getLoc(), getType(shape, element), x, weight, experts,
      Value(), makeId(stored, concat),
      ComputeAttr::get(concat.getContext(), element, builder.getF32Type(), 0));
  analysis.setShape(linear, shape);
  if (linear.getType() != result.getType())
    return false;
  replace(result, linear);
  return true;
}

void Raiser::raiseExperts() {
  forEachNode([&](OnnxNodeOp op) {
    if (!raiseExpertProduct(op))
      raiseGroupedProducts(op);
  });
}
