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
#include "mlir/Dialect/Arith/IR/Arith.h"
#include <cmath>

using namespace mlir;
using namespace miura;
using namespace miura::symbolic;

/// MatMul, or the one of com.microsoft that scales and transposes.
static bool isProduct(OnnxNodeOp op) {
  return isNode(op, "MatMul") ||
         (op && op.getDomain() == "com.microsoft" &&
          op.getOpType() == "FusedMatMul" && !getInt(op, "transA", 0) &&
          !getInt(op, "transBatchA", 0) && !getInt(op, "transBatchB", 0));
}

/// Whether scores can come this way: a product of two computed tensors below
/// scales, caps, masks and views.
static bool leadsToProduct(Value value, int depth = 0) {
  if (auto rounded = value.getDefiningOp<FakeQuantizeOp>())
    value = rounded.getInput();
  auto op = value.getDefiningOp<OnnxNodeOp>();
  if (!op || depth > 12)
    return false;
  if (isProduct(op))
    return true;
  for (StringRef pass :
       {"Mul", "Div", "Tanh", "Cast", "Reshape", "Transpose", "Unsqueeze"})
    if (isNode(op, pass))
      return leadsToProduct(getInput(op, 0), depth + 1);
  if (isNode(op, "Add") || (isNode(op, "Max") && op.getNumOperands() == 2))
    return leadsToProduct(getInput(op, 0), depth + 1) ||
           leadsToProduct(getInput(op, 1), depth + 1);
  if (isNode(op, "Where"))
    return leadsToProduct(getInput(op, 1), depth + 1) ||
           leadsToProduct(getInput(op, 2), depth + 1);
  return false;
}

/// The values that a mask's element takes.
static void collectLeaves(Expr e, SmallVector<double> &leaves) {
  if (e->kind == Kind::Select) {
    collectLeaves(e->operands[1], leaves);
    collectLeaves(e->operands[2], leaves);
  } else if (std::optional<double> k = getConstant(e)) {
    leaves.push_back(*k);
  }
}

Value Raiser::getGroupedHeads(Expr atom, HeadAxes axes, Operation *before) {
  // Query head h reads head ⌊h / group⌋.
  Expr h = axes.head;
  int64_t heads = axes.heads;
  for (int64_t group = 1; group <= heads; ++group) {
    if (heads % group != 0)
      continue;
    axes.head = context.floorDiv(h, context.integer(group));
    axes.heads = heads / group;
    if (Value v = getHeads(atom->tensor, atom->operands, axes, before))
      return v;
  }
  return {};
}

bool Raiser::resolveMasks(const AttentionParts &parts, MaskForm &form,
                          const MaskPart *&kept,
                          std::optional<double> &hiddenScore,
                          bool &hiddenOnce) {
  const Indices &own = parts.at;
  Expr keys = parts.shape[3];
  Expr keysBefore = context.sub(keys, parts.shape[2]);
  SmallVector<double> hidden;
  bool isAdded = false, seesAhead = false;
  int paddings = 0, bands = 0;
  for (const MaskPart &mask : parts.masks) {
    Expr element = analysis.getBroadcastElement(mask.value, mask.indices);
    Expr visible = nullptr;
    if (element && mask.isAdditive()) {
      visible = getVisible(element, /*strict=*/false);
      SmallVector<double> leaves;
      collectLeaves(element, leaves);
      if (visible)
        for (double k : leaves)
          if (k != 0) {
            hidden.push_back(std::max(k, parts.lowest));
            // What is cut to the lowest score takes its place.
            isAdded |= k >= parts.lowest;
          }
    } else if (element) {
      visible = mask.negated ? context.negate(element) : element;
      hidden.push_back(std::max(*mask.hidden, parts.lowest));
    }
    MaskForm extended = form, alone;
    if (visible &&
        classifyMask(visible, own[0], own[2], own[3], keysBefore, keys, alone))
      alone.padding ? ++paddings : ++bands;
    seesAhead |= !alone.causal;
    if (visible && classifyMask(visible, own[0], own[2], own[3], keysBefore,
                                keys, extended)) {
      form = extended;
      continue;
    }
    if (kept || mask.negated)
      return false;
    // What a score is cut to at the bottom would move with what is left out.
    bool isCut = parts.lowest > -1e30;
    if (auto heads = getInteger(parts.shape[1]);
        heads && element && mask.isAdditive() && !isCut && form.slopes.empty())
      if (auto slopes = getSlopes(element, own, *heads)) {
        for (float &slope : *slopes)
          slope *= mask.factor;
        form.slopes = std::move(*slopes);
        continue;
      }
    kept = &mask;
  }
  if (kept && !form.slopes.empty())
    return false;
  // A query that sees no key: there is none where all see themselves; else the
  // file gives zeros (a NaN replaced), or the softmax of all scores with the
  // finite number that hides them. One that takes their place makes them equal,
  // as the lowest does when it is added.
  bool mayBeBlind = form.padding || (kept && !hidden.empty());
  if (mayBeBlind && !parts.sinks) {
    bool infinite =
        llvm::all_of(hidden, [](double k) { return std::isinf(k); });
    bool finite = llvm::all_of(hidden, [&](double k) {
      return !std::isinf(k) && k >= -3.5e38 && k == hidden.front();
    });
    if (finite && !hidden.empty()) {
      hiddenScore = isAdded ? hidden.front()
                            : double(std::numeric_limits<float>::lowest());
      // Where the last of two masks adds its number to one that the other has
      // put, the sum is below all that only one has hidden.
      hiddenOnce = parts.masks.size() == 2 && parts.masks[0].isAdditive() &&
                   paddings == 1 && bands == 1 && !seesAhead;
    } else if (!infinite || !parts.zeroesBlind) {
      // Only the mask itself says it.
      if (parts.masks.size() != 1 || parts.masks[0].negated)
        return false;
      form = {};
      kept = &parts.masks[0];
    }
  }
  // A mask that is kept has its own numbers.
  if (kept && parts.masks.size() == 1 && kept->isAdditive())
    hiddenScore = std::nullopt;
  hiddenOnce &= hiddenScore.has_value();
  return form.window == 0 || form.causal || parts.causal;
}

Value Raiser::makeMask(const AttentionParts &parts, const MaskPart &mask,
                       Operation *before) {
  // The deepest view each of whose dimensions is one of the scores'.
  Value best;
  Shape bestShape;
  Value value = mask.value;
  Indices indices(mask.indices.end() - analysis.getShape(value)->size(),
                  mask.indices.end());
  for (auto [index, size] : llvm::zip(indices, *analysis.getShape(value)))
    if (isConstant(size, 1))
      index = context.integer(0);
  while (value) {
    Shape shape = *analysis.getShape(value);
    Shape wide(4, context.integer(1));
    size_t next = 0;
    bool good = true;
    for (auto [index, size] : llvm::zip(indices, shape)) {
      if (isConstant(size, 1))
        continue;
      while (next < 4 && parts.at[next] != index)
        ++next;
      good &= next < 4;
      if (next < 4)
        wide[next++] = size;
    }
    if (good) {
      best = value;
      bestShape = wide;
    }
    Value source = analysis.stepThroughView(value, indices);
    // Widening does not care for views.
    if (OnnxNodeOp cast = getNode(value, "Cast"); !source && cast) {
      auto from = dyn_cast<FloatType>(
          getElementTypeOrSelf(getInput(cast, 0).getType()));
      auto to = dyn_cast<FloatType>(getElementTypeOrSelf(value.getType()));
      if (from && to && from.getWidth() < to.getWidth())
        source = getInput(cast, 0);
    }
    value = source;
  }
  if (!best)
    return {};
  if (*analysis.getShape(best) != bestShape) {
    // Sizes of 1 are in the way.
    Shape narrow;
    for (Expr size : *analysis.getShape(best))
      if (!isConstant(size, 1))
        narrow.push_back(size);
    if (narrow.size() != analysis.getShape(best)->size())
      best = makeReshape(best, narrow, before);
    if (best && narrow.size() != 4)
      best = makeReshape(best, bestShape, before);
  }
  auto type =
      best ? cast<RankedTensorType>(best.getType()) : RankedTensorType();
  Type element = getElementTypeOrSelf(mask.value.getType());
  if (best && type.getElementType() != element) {
    builder.setInsertionPoint(before);
    Shape shape = *analysis.getShape(best);
    best = arith::ExtFOp::create(builder, before->getLoc(), type.clone(element),
                                 best);
    analysis.setShape(best, shape);
  }
  return best && mask.factor != 1 ? scaleBy(best, mask.factor, before) : best;
}

/// Parts of an additive mask that is a sum, or a selection of a score so low
/// that it hides a key.
void Raiser::splitMask(const MaskPart &mask, SmallVectorImpl<MaskPart> &parts) {
  Expr element = analysis.getBroadcastElement(mask.value, mask.indices);
  if (!mask.isAdditive() || !element || getVisible(element, false)) {
    parts.push_back(mask);
    return;
  }
  Value value = mask.value;
  Indices indices = mask.indices;
  double factor = mask.factor;
  MaskPart rest = mask;
  for (int steps = 0; steps < 16; ++steps) {
    const Shape *shape = analysis.getShape(value);
    if (!shape || shape->size() > indices.size())
      break;
    indices.erase(indices.begin(), indices.end() - shape->size());
    for (auto [index, size] : llvm::zip(indices, *shape))
      if (isConstant(size, 1))
        index = context.integer(0);
    auto op = value.getDefiningOp<OnnxNodeOp>();
    if (Value source = analysis.stepThroughView(value, indices)) {
      value = source;
      continue;
    }
    if (isNode(op, "Mul") || isNode(op, "Div")) {
      std::optional<double> k = analysis.getSplat(getInput(op, 1));
      if (k && *k != 0) {
        factor = isNode(op, "Mul") ? factor * *k : factor / *k;
        value = getInput(op, 0);
        rest = {value, std::nullopt, false, factor, indices};
        continue;
      }
    }
    if (isNode(op, "Add")) {
      for (Value side : op.getInputs())
        splitMask({side, std::nullopt, false, factor, indices}, parts);
      return;
    }
    if (isNode(op, "Where") && factor > 0)
      for (unsigned side : {1, 2}) {
        std::optional<double> k = analysis.getSplat(getInput(op, side));
        if (!k || *k > -1e4)
          continue;
        parts.push_back(
            {getInput(op, 0), *k, /*negated=*/side == 1, 1, indices});
        splitMask(
            {getInput(op, 3 - side), std::nullopt, false, factor, indices},
            parts);
        return;
      }
    break;
  }
  parts.push_back(rest);
}

Value Raiser::makeAttention(const AttentionParts &parts, Type element,
                            Operation *before) {
  // A file may contradict itself in sizes that no operator of it compares.
  const Shape &query = *analysis.getShape(parts.query);
  const Shape &key = *analysis.getShape(parts.key);
  const Shape &value = *analysis.getShape(parts.value);
  std::optional<int64_t> heads = getInteger(query[1]),
                         shared = getInteger(key[1]);
  if (query[3] != key[3] || key[1] != value[1] || !heads || !shared ||
      *shared < 1 || *heads % *shared != 0)
    return {};
  MaskForm form;
  form.causal = parts.causal;
  form.window = parts.window;
  const MaskPart *kept = nullptr;
  std::optional<double> hidden;
  bool hiddenOnce = false;
  if (!resolveMasks(parts, form, kept, hidden, hiddenOnce))
    return {};
  form.causal |= parts.causal;
  Value operand = kept ? makeMask(parts, *kept, before) : Value();
  if (kept && !operand)
    return {};
  builder.setInsertionPoint(before);
  if (!form.slopes.empty()) {
    Shape bias{context.integer(1), parts.shape[1], context.integer(1),
               parts.shape[3]};
    operand = LinearBiasOp::create(builder, before->getLoc(),
                                   getType(bias, builder.getF32Type()),
                                   parts.key, form.slopes);
    analysis.setShape(operand, bias);
  }
  Shape attended{parts.shape[0], parts.shape[1], parts.shape[2],
                 analysis.getShape(parts.value)->back()};
  Value attention = AttentionOp::create(
      builder, before->getLoc(), getType(attended, element), parts.query,
      parts.key, parts.value, operand, form.padding, parts.sinks,
      builder.getF64FloatAttr(parts.scale),
      form.causal ? builder.getUnitAttr() : UnitAttr(),
      builder.getI64IntegerAttr(form.window),
      builder.getF64FloatAttr(parts.softcap),
      hidden ? builder.getF64FloatAttr(*hidden) : FloatAttr(),
      hiddenOnce ? builder.getUnitAttr() : UnitAttr(), parts.keyRounding,
      parts.valueRounding, parts.scoreRounding, parts.weightRounding);
  analysis.setShape(attention, attended);
  return attention;
}

std::optional<Raiser::Shape> Raiser::getSplitScores(Value scores) {
  Shape flat = *analysis.getShape(scores);
  auto splits = [&](const Shape *shape) {
    return shape && shape->size() == 4 && getInteger((*shape)[1]) &&
           context.mul((*shape)[0], (*shape)[1]) == flat[0] &&
           (*shape)[2] == flat[1] && (*shape)[3] == flat[2];
  };
  // Where masks are added to each head's scores they are of four dimensions, on
  // the way from the product or behind the softmax.
  Value value = scores;
  for (int steps = 0; value && steps < 16; ++steps) {
    const Shape *shape = analysis.getShape(value);
    if (splits(shape))
      return *shape;
    auto op = value.getDefiningOp<OnnxNodeOp>();
    if (!op || op.getNumOperands() == 0 || isProduct(op))
      break;
    value = op.getNumOperands() == 2 && !leadsToProduct(getInput(op, 0))
                ? getInput(op, 1)
                : getInput(op, 0);
  }
  for (Operation *user : scores.getUsers())
    if (auto view = dyn_cast<OnnxNodeOp>(user); isNode(view, "Reshape"))
      if (const Shape *shape = analysis.getShape(view.getResult(0));
          splits(shape))
        return *shape;
  return std::nullopt;
}

Raiser::Indices Raiser::getOwnIndices(Value factor, const Indices &product,
                                      Expr row, Expr column) {
  const Shape *shape = analysis.getShape(factor);
  if (!shape || shape->size() < 2 || shape->size() > product.size())
    return {};
  Indices at(product.end() - shape->size(), product.end());
  for (size_t n = 0; n + 2 < shape->size(); ++n)
    if (isConstant((*shape)[n], 1))
      at[n] = context.integer(0);
  at[shape->size() - 2] = row;
  at[shape->size() - 1] = column;
  return at;
}

Expr Raiser::getComputed(Value value, Indices at) {
  double factor = 1;
  for (int steps = 0; steps < 16; ++steps) {
    if (Value source = analysis.stepThroughView(value, at)) {
      value = source;
      continue;
    }
    auto op = value.getDefiningOp<OnnxNodeOp>();
    std::optional<double> k;
    if (isNode(op, "Mul") || isNode(op, "Div"))
      k = analysis.getSplat(getInput(op, 1));
    if (!k || *k == 0)
      break;
    const Shape *shape = analysis.getShape(getInput(op, 0));
    if (!shape || shape->size() != at.size())
      break;
    factor = isNode(op, "Mul") ? factor * *k : factor / *k;
    value = getInput(op, 0);
  }
  return context.scale(context.element(value, at), factor);
}

bool Raiser::raiseAttention(OnnxNodeOp softmax) {
  Value probabilities = softmax.getResult(0);
  const Shape *found = analysis.getShape(probabilities);
  if (!found || (found->size() != 3 && found->size() != 4))
    return false;
  int64_t axis = getInt(softmax, "axis", softmax.getVersion() < 13 ? 1 : -1);
  if (axis != -1 && axis != int64_t(found->size()) - 1)
    return false;
  Shape shape = *found;
  if (shape.size() == 3) {
    std::optional<Shape> split = getSplitScores(probabilities);
    if (!split)
      return false;
    shape = *split;
  }
  bool isFlat = analysis.getShape(probabilities)->size() == 3;
  std::optional<int64_t> heads = getInteger(shape[1]);
  if (!heads)
    return false;

  // Upward. A softmax does not see a shift.
  Value value = getInput(softmax, 0);
  if (OnnxNodeOp sub = getNode(value, "Sub")) {
    OnnxNodeOp largest = getNode(getInput(sub, 1), "ReduceMax");
    if (largest && getInput(largest, 0) == getInput(sub, 0))
      value = getInput(sub, 0);
  }
  // One more score per head that leads to no value is a sink.
  Value sinks;
  if (OnnxNodeOp concat = getNode(value, "Concat")) {
    int64_t along = getInt(concat, "axis", 0);
    if ((along != -1 && along != 3) || concat.getNumOperands() != 2)
      return false;
    const Shape *scores = analysis.getShape(getInput(concat, 0));
    const Shape *more = analysis.getShape(getInput(concat, 1));
    if (!scores || !more || scores->size() != 4 || more->size() != 4 ||
        !isConstant(more->back(), 1))
      return false;
    Indices at = analysis.makeIndices(getInput(concat, 1), "s");
    auto [one, atom] =
        getScaledAtom(analysis.getElement(getInput(concat, 1), at));
    if (!atom || one != 1 || atom->kind != Kind::Element)
      return false;
    for (Expr index : atom->operands)
      if (index != at[1] && !isConstant(index, 0))
        return false;
    builder.setInsertionPoint(softmax);
    const Shape *all = analysis.getShape(atom->tensor);
    sinks = all->size() == 1 ? atom->tensor
                             : makeReshape(atom->tensor, {shape[1]}, softmax);
    if (!sinks || analysis.getShape(sinks)->size() != 1 ||
        (*analysis.getShape(sinks))[0] != shape[1])
      return false;
    value = getInput(concat, 0);
    shape = *scores;
  }
  Indices own;
  for (auto [n, size] : llvm::enumerate(shape))
    own.push_back(context.index("a" + std::to_string(n), size));
  Expr b = own[0], h = own[1], i = own[2], j = own[3];
  // The indices of the softmax.
  Expr flat = context.add(context.mul(b, shape[1]), h);
  Indices start = isFlat ? Indices{flat, i, j} : own;

  Indices indices = start;
  SmallVector<MaskPart> masks;
  double factor = 1, softcap = 0;
  double lowest = -std::numeric_limits<double>::infinity();
  RoundingAttr scoreRounding, weightRounding, keyRounding, valueRounding;
  OnnxNodeOp product;
  for (int steps = 0; !product; ++steps) {
    if (auto rounded = value.getDefiningOp<FakeQuantizeOp>()) {
      // Scaled scores are rounded, once.
      if (scoreRounding || factor != 1 || softcap != 0)
        return false;
      scoreRounding = rounded.getRounding();
      value = rounded.getInput();
      continue;
    }
    auto op = value.getDefiningOp<OnnxNodeOp>();
    if (!op || steps > 32)
      return false;
    if (isProduct(op)) {
      product = op;
      factor *= getFloat(op, "alpha", 1);
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
      // Before a cap or a rounding, an addition would be no mask.
      if (softcap != 0 || scoreRounding)
        return false;
      unsigned side = leadsToProduct(getInput(op, 0)) ? 0 : 1;
      masks.push_back(
          {getInput(op, 1 - side), std::nullopt, false, factor, indices});
      value = getInput(op, side);
    } else if (isNode(op, "Max") && op.getNumOperands() == 2) {
      // Scores of a model that works are not so low: only hidden ones are.
      unsigned side = leadsToProduct(getInput(op, 0)) ? 0 : 1;
      std::optional<double> k = analysis.getSplat(getInput(op, 1 - side));
      if (!k || *k > -1e4 || factor != 1 || softcap != 0 || scoreRounding ||
          !masks.empty())
        return false;
      lowest = *k;
      value = getInput(op, side);
    } else if (isNode(op, "Where")) {
      if (factor <= 0 || softcap != 0 || scoreRounding)
        return false;
      unsigned side = leadsToProduct(getInput(op, 1)) ? 1 : 2;
      std::optional<double> k = analysis.getSplat(getInput(op, 3 - side));
      if (!k || *k > -1e4)
        return false;
      masks.push_back({getInput(op, 0), *k, side == 2, 1, indices});
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
    Indices at = getOwnIndices(v, indices, row, column);
    return at.empty() ? nullptr : analysis.getElement(v, at);
  };
  size_t rank = indices.size();
  Expr queryElement = elementOf(getInput(product, 0), indices[rank - 2], d);
  if (queryElement && !getScaledAtom(queryElement).second)
    queryElement = getComputed(
        getInput(product, 0),
        getOwnIndices(getInput(product, 0), indices, indices[rank - 2], d));
  Expr keyElement = getInt(product, "transB", 0)
                        ? elementOf(getInput(product, 1), indices[rank - 1], d)
                        : elementOf(getInput(product, 1), d, indices[rank - 1]);
  if (!queryElement || !keyElement)
    return false;
  auto [queryFactor, queryAtom] = getScaledAtom(queryElement);
  auto [keyFactor, keyAtom] = getRoundedAtom(keyElement, keyRounding);
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
      if (auto rounded = dyn_cast<FakeQuantizeOp>(user);
          rounded && !weightRounding) {
        weightRounding = rounded.getRounding();
        next = rounded.getResult();
        continue;
      }
      auto op = dyn_cast<OnnxNodeOp>(user);
      if (op && op->use_empty())
        continue;
      if (isProduct(op) && getInput(op, 0) == current &&
          getFloat(op, "alpha", 1) == 1 && !getInt(op, "transB", 0)) {
        output = op;
      } else if (isNode(op, "Slice") && sinks &&
                 *analysis.getShape(op.getResult(0)) == shape) {
        next = op.getResult(0); // all but the sink's
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
  Indices batch = resultShape->size() == 4 ? Indices{b, h} : Indices{flat};
  Indices back = batch;
  back.append({i, j});
  for (Value v = getInput(output, 0); v != probabilities;) {
    if (auto rounded = v.getDefiningOp<FakeQuantizeOp>())
      v = rounded.getInput();
    else if (Value source = analysis.stepThroughView(v, back))
      v = source;
    else if (OnnxNodeOp where = getNode(v, "Where"))
      v = getInput(where, 2);
    else
      v = getInput(v.getDefiningOp<OnnxNodeOp>(), 0);
  }
  if (back != start)
    return false;
  Expr dv = context.index("v", right->back());
  std::optional<int64_t> valueSize = getInteger(right->back());
  Indices valueAt = batch;
  valueAt.append({j, dv});
  valueAt.erase(valueAt.begin(), valueAt.end() - right->size());
  for (size_t n = 0; n + 2 < right->size(); ++n)
    if (isConstant((*right)[n], 1))
      valueAt[n] = context.integer(0);
  auto [valueFactor, valueAtom] = getRoundedAtom(
      analysis.getElement(getInput(output, 1), valueAt), valueRounding);
  if (!valueAtom || valueFactor != 1 || valueAtom->kind != Kind::Element ||
      !valueSize)
    return false;

  Operation *before = output;
  HeadAxes axes{b, h, i, d, *heads, *headSize};
  Value query = getHeads(queryAtom->tensor, queryAtom->operands, axes, before);
  if (!query)
    return false;
  HeadAxes keyAxes{b, h, j, d, *heads, *headSize};
  HeadAxes valueAxes{b, h, j, dv, *heads, *valueSize};
  Value key = getGroupedHeads(keyAtom, keyAxes, before);
  Value values = getGroupedHeads(valueAtom, valueAxes, before);
  if (!key || !values)
    return false;
  AttentionParts parts;
  parts.query = query;
  parts.key = key;
  parts.value = values;
  parts.sinks = sinks;
  parts.at = own;
  parts.shape = shape;
  for (const MaskPart &mask : masks)
    splitMask(mask, parts.masks);
  parts.lowest = lowest;
  parts.zeroesBlind = zeroesBlind;
  parts.scale = scale;
  parts.softcap = softcap;
  parts.keyRounding = keyRounding;
  parts.valueRounding = valueRounding;
  parts.scoreRounding = scoreRounding;
  parts.weightRounding = weightRounding;
  Value attention =
      makeAttention(parts, getElementTypeOrSelf(result.getType()), before);
  if (!attention)
    return false;
  if (resultShape->size() == 3)
    attention = makeReshape(attention, *resultShape, before);
  if (!attention || attention.getType() != result.getType())
    return false;
  replace(result, attention);
  return true;
}

/// Zeros where no key is seen, which a file selects by counting them.
void Raiser::foldBlindRows(AttentionOp attention) {
  OnnxNodeOp where = getOnlyUser(attention);
  if (!isNode(where, "Where") || getInput(where, 2) != attention.getResult() ||
      analysis.getSplat(getInput(where, 1)) != 0.0 ||
      where.getResult(0).getType() != attention.getType())
    return;
  OnnxNodeOp less = getNode(getInput(where, 0), "Less");
  OnnxNodeOp sum = less ? getNode(getInput(less, 0), "ReduceSum") : less;
  std::optional<double> limit =
      less ? analysis.getSplat(getInput(less, 1)) : std::nullopt;
  Value ones = sum ? getInput(sum, 0) : Value();
  const Shape *found = ones ? analysis.getShape(ones) : nullptr;
  std::optional<SmallVector<int64_t>> axes =
      sum ? analysis.getIntegers(getInput(sum, 1)) : std::nullopt;
  if (!found || found->size() != 4 || !limit || *limit <= 0 || *limit > 1 ||
      !axes || axes->size() != 1 || ((*axes)[0] != -1 && (*axes)[0] != 3) ||
      !getInt(sum, "keepdims", 1))
    return;
  Shape shape = *found;
  Indices own = analysis.makeIndices(ones, "z");
  Expr element = analysis.getElement(ones, own);
  if (element->kind != Kind::Select || !isConstant(element->operands[1], 1) ||
      !isConstant(element->operands[2], 0))
    return;
  MaskForm form;
  if (!classifyMask(element->operands[0], own[0], own[2], own[3],
                    context.sub(shape[3], shape[2]), shape[3], form) ||
      form.causal != attention.getCausal() ||
      form.window != int64_t(attention.getWindow()) ||
      form.padding != attention.getPadding())
    return;
  attention.removeHiddenAttr();
  replace(where.getResult(0), attention);
}

void Raiser::raiseAttentions() {
  forEachNode([&](OnnxNodeOp op) {
    if (raiseFusedAttention(op))
      return;
    if (isNode(op, "Softmax") && !raiseAttention(op))
      op.emitRemark("softmax '")
          << op.getNodeName() << "' is not raised to an attention: its scores, "
          << "masks or values are of no known form";
  });
  SmallVector<AttentionOp> attentions;
  func.walk([&](AttentionOp op) { attentions.push_back(op); });
  for (AttentionOp op : attentions)
    if (op.getHidden())
      foldBlindRows(op);
}
