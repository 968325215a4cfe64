//===- RaiseAttention.cpp - Attention around a softmax --------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// From a softmax upward through masks, scales and a soft cap to the product of
/// queries and keys, and downward to the product with the values. Where
/// queries, keys and values come from is asked of the analysis, so repeated
/// heads and any order of reshapes and transpositions fall away.
///
//===----------------------------------------------------------------------===//

#include "Raiser.h"
#include <cmath>

using namespace mlir;
using namespace miura;
using namespace miura::symbolic;

/// Whether scores can come this way: a product of two computed tensors below
/// scales, caps, masks and views.
static bool leadsToProduct(Value value, int depth = 0) {
  auto op = value.getDefiningOp<OnnxNodeOp>();
  if (!op || depth > 12)
    return false;
  if (isNode(op, "MatMul"))
    return true;
  for (StringRef pass : {"Mul", "Div", "Tanh", "Cast", "Reshape", "Transpose"})
    if (isNode(op, pass))
      return leadsToProduct(getInput(op, 0), depth + 1);
  if (isNode(op, "Add"))
    return leadsToProduct(getInput(op, 0), depth + 1) ||
           leadsToProduct(getInput(op, 1), depth + 1);
  if (isNode(op, "Where"))
    return leadsToProduct(getInput(op, 1), depth + 1) ||
           leadsToProduct(getInput(op, 2), depth + 1);
  return false;
}

namespace {
/// One mask on the way from the product to the softmax.
struct Mask {
  Value value;
  /// What a hidden score becomes, for a condition; an additive mask has none.
  std::optional<double> hidden;
  bool negated = false;
  /// Where (b, h, i, j) reads it.
  TensorAnalysis::Indices indices;
  bool isAdditive() const { return !hidden; }
};
} // namespace

/// The values that a mask's element takes.
static void collectLeaves(Expr e, SmallVector<double> &leaves) {
  if (e->kind == Kind::Select) {
    collectLeaves(e->operands[1], leaves);
    collectLeaves(e->operands[2], leaves);
  } else if (std::optional<double> k = getConstant(e)) {
    leaves.push_back(*k);
  }
}

bool Raiser::raiseAttention(OnnxNodeOp softmax) {
  Value probabilities = softmax.getResult(0);
  const Shape *found = analysis.getShape(probabilities);
  if (!found || found->size() != 4)
    return false;
  Shape shape = *found;
  int64_t axis = getInt(softmax, "axis", softmax.getVersion() < 13 ? 1 : -1);
  std::optional<int64_t> heads = getInteger(shape[1]);
  if ((axis != -1 && axis != 3) || !heads)
    return false;
  Indices own = analysis.makeIndices(probabilities, "a");
  Expr b = own[0], h = own[1], i = own[2], j = own[3];

  // Upward.
  Value value = getInput(softmax, 0);
  Indices indices = own;
  SmallVector<Mask> masks;
  double factor = 1, softcap = 0;
  OnnxNodeOp product;
  for (int steps = 0; !product; ++steps) {
    auto op = value.getDefiningOp<OnnxNodeOp>();
    if (!op || steps > 32)
      return false;
    if (isNode(op, "MatMul")) {
      product = op;
    } else if (Value source = analysis.stepThroughView(value, indices)) {
      value = source;
    } else if (isNode(op, "Cast")) {
      value = getInput(op, 0);
    } else if (isNode(op, "Tanh")) {
      if (softcap != 0)
        return false;
      softcap = factor;
      factor = 1;
      value = getInput(op, 0);
    } else if (isNode(op, "Mul") || isNode(op, "Div")) {
      unsigned side = leadsToProduct(getInput(op, 0)) ? 0 : 1;
      std::optional<double> k = analysis.getSplat(getInput(op, 1 - side));
      if (!k || *k == 0 || (side == 1 && isNode(op, "Div")))
        return false;
      factor = isNode(op, "Mul") ? factor * *k : factor / *k;
      value = getInput(op, side);
    } else if (isNode(op, "Add")) {
      // A mask is added to what the softmax sees, not to what is scaled.
      if (factor != 1 || softcap != 0)
        return false;
      unsigned side = leadsToProduct(getInput(op, 0)) ? 0 : 1;
      masks.push_back({getInput(op, 1 - side), std::nullopt, false, indices});
      value = getInput(op, side);
    } else if (isNode(op, "Where")) {
      if (factor != 1 || softcap != 0)
        return false;
      unsigned side = leadsToProduct(getInput(op, 1)) ? 1 : 2;
      std::optional<double> k = analysis.getSplat(getInput(op, 3 - side));
      if (!k || *k > -1e4)
        return false;
      masks.push_back({getInput(op, 0), *k, side == 2, indices});
      value = getInput(op, side);
    } else {
      return false;
    }
  }
  double scale = softcap != 0 ? factor * softcap : factor;

  // The product of queries and keys, element by element.
  const Shape *left = analysis.getShape(getInput(product, 0));
  if (!left || indices.size() < 2)
    return false;
  std::optional<int64_t> headSize = getInteger(left->back());
  if (!headSize)
    return false;
  Expr d = context.index("k", left->back());
  auto elementOf = [&](Value v, Expr row, Expr column) -> Expr {
    const Shape *s = analysis.getShape(v);
    if (!s || s->size() < 2 || s->size() > indices.size())
      return nullptr;
    Indices at(indices.end() - s->size(), indices.end());
    for (size_t n = 0; n + 2 < s->size(); ++n)
      if (isConstant((*s)[n], 1))
        at[n] = context.integer(0);
    at[s->size() - 2] = row;
    at[s->size() - 1] = column;
    return analysis.getElement(v, at);
  };
  size_t rank = indices.size();
  Expr queryElement = elementOf(getInput(product, 0), indices[rank - 2], d);
  Expr keyElement = elementOf(getInput(product, 1), d, indices[rank - 1]);
  if (!queryElement || !keyElement)
    return false;
  auto [queryFactor, queryAtom] = getScaledAtom(queryElement);
  auto [keyFactor, keyAtom] = getScaledAtom(keyElement);
  if (!queryAtom || !keyAtom || queryAtom->kind != Kind::Element ||
      keyAtom->kind != Kind::Element)
    return false;
  scale *= queryFactor * keyFactor;

  // Downward.
  Value current = probabilities;
  bool zeroesBlind = false;
  OnnxNodeOp output;
  for (int steps = 0; !output; ++steps) {
    Value next;
    for (Operation *user : current.getUsers()) {
      auto op = dyn_cast<OnnxNodeOp>(user);
      if (isNode(op, "MatMul") && getInput(op, 0) == current) {
        output = op;
      } else if (isNode(op, "Where") && getInput(op, 2) == current &&
                 analysis.getSplat(getInput(op, 1)) == 0.0) {
        OnnxNodeOp isNan = getNode(getInput(op, 0), "IsNaN");
        if (isNan && getInput(isNan, 0) == current) {
          zeroesBlind = true;
          next = op.getResult(0);
        }
      } else if (isNode(op, "Cast") || isNode(op, "Reshape") ||
                 isNode(op, "Dropout")) {
        next = op.getResult(0);
      }
    }
    if (!output && (!next || steps > 8))
      return false;
    if (!output)
      current = next;
  }
  Value result = output.getResult(0);
  const Shape *resultShape = analysis.getShape(result);
  const Shape *right = analysis.getShape(getInput(output, 1));
  if (!resultShape || !right ||
      (resultShape->size() != 4 && resultShape->size() != 3))
    return false;
  // The indices of the product, by those of the attention.
  Indices batch = resultShape->size() == 4
                      ? Indices{b, h}
                      : Indices{context.add(context.mul(b, shape[1]), h)};
  Indices back = batch;
  back.append({i, j});
  for (Value v = getInput(output, 0); v != probabilities;) {
    if (Value source = analysis.stepThroughView(v, back))
      v = source;
    else if (OnnxNodeOp where = getNode(v, "Where"))
      v = getInput(where, 2);
    else
      v = getInput(v.getDefiningOp<OnnxNodeOp>(), 0);
  }
  if (back != own)
    return false;
  Expr dv = context.index("v", right->back());
  std::optional<int64_t> valueSize = getInteger(right->back());
  Indices valueAt = batch;
  valueAt.append({j, dv});
  valueAt.erase(valueAt.begin(), valueAt.end() - right->size());
  for (size_t n = 0; n + 2 < right->size(); ++n)
    if (isConstant((*right)[n], 1))
      valueAt[n] = context.integer(0);
  auto [valueFactor, valueAtom] =
      getScaledAtom(analysis.getElement(getInput(output, 1), valueAt));
  if (!valueAtom || valueFactor != 1 || valueAtom->kind != Kind::Element ||
      !valueSize)
    return false;

  // Masks.
  MaskForm form;
  Value operand;
  bool blindMean = false;
  Expr keysBefore = context.sub(shape[3], shape[2]);
  SmallVector<double> hidden;
  for (Mask &mask : masks) {
    Expr element = analysis.getBroadcastElement(mask.value, mask.indices);
    Expr visible = nullptr;
    if (element && mask.isAdditive()) {
      visible = getVisible(element, /*strict=*/false);
      SmallVector<double> leaves;
      collectLeaves(element, leaves);
      llvm::copy_if(leaves, std::back_inserter(hidden),
                    [](double k) { return k != 0; });
    } else if (element) {
      visible = mask.negated ? context.negate(element) : element;
      hidden.push_back(*mask.hidden);
    }
    MaskForm extended = form;
    if (visible &&
        classifyMask(visible, b, i, j, keysBefore, shape[3], extended)) {
      form = extended;
      continue;
    }
    if (operand || mask.indices != own || mask.negated)
      return false;
    operand = mask.value;
  }
  // A query that sees no key: there is none where all see themselves; else the
  // file gives zeros (a NaN replaced), or, where every hidden score became one
  // finite number, the mean of all values.
  if (form.padding || (operand && !hidden.empty())) {
    bool infinite =
        llvm::all_of(hidden, [](double k) { return std::isinf(k); });
    bool finite = llvm::all_of(hidden, [&](double k) {
      return !std::isinf(k) && k >= -3.5e38 && k == hidden.front();
    });
    if (finite && masks.size() == 1)
      blindMean = true;
    else if (!infinite || !zeroesBlind) {
      // Only the mask itself says it.
      if (masks.size() != 1 || masks[0].indices != own || masks[0].negated)
        return false;
      form = {};
      operand = masks[0].value;
    }
  }
  if (form.window != 0 && !form.causal)
    return false;
  // A mask that is kept has its own numbers.
  if (operand && masks.size() == 1 && masks[0].isAdditive())
    blindMean = false;

  Operation *before = output;
  HeadAxes axes{b, h, i, d, *heads, *headSize};
  Value query = getHeads(queryAtom->tensor, queryAtom->operands, axes, before);
  if (!query)
    return false;
  auto keysOf = [&](Expr atom, Expr last, int64_t size) -> Value {
    for (int64_t group = 1; group <= *heads; ++group) {
      if (*heads % group != 0)
        continue;
      Expr head = context.floorDiv(h, context.integer(group));
      HeadAxes keyAxes{b, head, j, last, *heads / group, size};
      if (Value v = getHeads(atom->tensor, atom->operands, keyAxes, before))
        return v;
    }
    return {};
  };
  Value key = keysOf(keyAtom, d, *headSize);
  Value values = keysOf(valueAtom, dv, *valueSize);
  if (!key || !values)
    return false;
  if (operand) {
    Shape wide = *analysis.getShape(operand);
    while (wide.size() < 4)
      wide.insert(wide.begin(), context.integer(1));
    operand = makeReshape(operand, wide, before);
    if (!operand)
      return false;
  }
  builder.setInsertionPoint(before);
  Shape attended{shape[0], shape[1], shape[2], right->back()};
  Value attention = AttentionOp::create(
      builder, softmax.getLoc(),
      getType(attended, getElementTypeOrSelf(result.getType())), query, key,
      values, operand, form.padding, builder.getF64FloatAttr(scale),
      form.causal ? builder.getUnitAttr() : UnitAttr(),
      builder.getI64IntegerAttr(form.window), builder.getF64FloatAttr(softcap),
      blindMean ? builder.getUnitAttr() : UnitAttr());
  analysis.setShape(attention, attended);
  if (resultShape->size() == 3)
    attention = makeReshape(attention, *resultShape, before);
  if (!attention || attention.getType() != result.getType())
    return false;
  replace(result, attention);
  return true;
}

void Raiser::raiseAttentions() {
  forEachNode([&](OnnxNodeOp op) {
    if (isNode(op, "Softmax") && !raiseAttention(op))
      op.emitRemark("softmax '")
          << op.getNodeName() << "' is not raised to an attention: its scores, "
          << "masks or values are of no known form";
  });
}
