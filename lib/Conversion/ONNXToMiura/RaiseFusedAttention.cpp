//===- RaiseFusedAttention.cpp - Attention and RoPE that files name -------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Operators that are an attention or a rotation by name: Attention and
/// RotaryEmbedding of ai.onnx 23, GroupQueryAttention and RotaryEmbedding of
/// com.microsoft. Meaning by the ONNX standard's Operators.md and by ONNX
/// Runtime's ContribOperators.md.
///
//===----------------------------------------------------------------------===//

#include "Raiser.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include <cmath>

using namespace mlir;
using namespace miura;
using namespace miura::symbolic;

static bool isMicrosoft(OnnxNodeOp op, StringRef type) {
  return op.getDomain() == "com.microsoft" && op.getOpType() == type;
}

/// `size` columns of a batch × sequence × width tensor.
Value Raiser::takeColumns(Value tensor, int64_t start, int64_t size,
                          Operation *before) {
  Shape shape = *analysis.getShape(tensor);
  if (getInteger(shape[2]) == size && start == 0)
    return tensor;
  builder.setInsertionPoint(before);
  Location loc = before->getLoc();
  SmallVector<OpFoldResult> offsets(3, builder.getIndexAttr(0)),
      strides(3, builder.getIndexAttr(1)),
      sizes = tensor::getMixedSizes(builder, loc, tensor);
  offsets[2] = builder.getIndexAttr(start);
  sizes[2] = builder.getIndexAttr(size);
  shape[2] = context.integer(size);
  Value part = tensor::ExtractSliceOp::create(
      builder, loc, getType(shape, getElementTypeOrSelf(tensor.getType())),
      tensor, offsets, sizes, strides);
  analysis.setShape(part, shape);
  return part;
}

/// Rows of a table of angles, for every rotated entry.
Value Raiser::takeAngles(Value positions, Value table, int64_t rotated,
                         bool interleaved, Operation *before) {
  const Shape *places = analysis.getShape(positions);
  auto type = dyn_cast<RankedTensorType>(table.getType());
  if (!places || places->size() != 2 || !type || type.getRank() != 2)
    return {};
  Shape shape{(*places)[0], (*places)[1], context.integer(rotated / 2)};
  const Shape *tableShape = analysis.getShape(table);
  if (!tableShape || (*tableShape)[1] != shape[2])
    return {};
  // A table that has a row for every token, in order, is the angles.
  if ((*tableShape)[0] == context.mul(shape[0], shape[1])) {
    Indices at = analysis.makeIndices(positions, "t");
    if (analysis.getElement(positions, at) ==
        context.add(context.mul(at[0], shape[1]), at[1])) {
      Value rows = makeReshape(table, shape, before);
      return rows ? widenAngle(rows, rotated, interleaved, before) : Value();
    }
  }
  builder.setInsertionPoint(before);
  Value rows = TakeRowsOp::create(builder, before->getLoc(),
                                  getType(shape, type.getElementType()),
                                  positions, table);
  analysis.setShape(rows, shape);
  return widenAngle(rows, rotated, interleaved, before);
}

//===----------------------------------------------------------------------===//
// Rotations
//===----------------------------------------------------------------------===//

bool Raiser::raiseFusedRope(OnnxNodeOp op) {
  bool standard = isNode(op, "RotaryEmbedding");
  if (!standard && !isMicrosoft(op, "RotaryEmbedding"))
    return false;
  Value x = getInput(op, 0), result = op.getResult(0);
  Value positions = getInput(op, standard ? 3 : 1);
  Value cos = getInput(op, standard ? 1 : 2),
        sin = getInput(op, standard ? 2 : 3);
  const Shape *found = x ? analysis.getShape(x) : nullptr;
  const Shape *angles = cos && sin ? analysis.getShape(cos) : nullptr;
  if (!found || !angles || getFloat(op, "scale", 1) != 1 ||
      getInt(op, "is_packed_batching", 0))
    return false;
  Shape shape = *found;
  bool interleaved = getInt(op, "interleaved", 0);
  std::optional<int64_t> half = getInteger(angles->back());
  if (!half)
    return false;
  int64_t rotated = getInt(op, "rotary_embedding_dim", 0);
  if (rotated == 0)
    rotated = 2 * *half;
  Value heads = x;
  if (shape.size() == 3) {
    std::optional<int64_t> width = getInteger(shape[2]);
    int64_t number = getInt(op, "num_heads", 0);
    if (!width)
      return false;
    if (number == 0)
      number = *width / rotated;
    if (number == 0 || *width % number != 0)
      return false;
    heads = makeSplitHeads(x, number, op);
  } else if (shape.size() != 4) {
    return false;
  }
  if (!heads)
    return false;
  auto angleOf = [&](Value table) -> Value {
    if (positions)
      return takeAngles(positions, table, rotated, interleaved, op);
    const Shape *own = analysis.getShape(table);
    if (!own || own->size() != 3 || getInteger(own->back()) != rotated / 2)
      return {};
    return widenAngle(table, rotated, interleaved, op);
  };
  Value wideCos = angleOf(cos), wideSin = angleOf(sin);
  if (!wideCos || !wideSin || wideCos.getType() != wideSin.getType())
    return false;
  builder.setInsertionPoint(op);
  Value rope = RopeOp::create(builder, op.getLoc(), heads.getType(), heads,
                              wideCos, wideSin, interleaved);
  analysis.setShape(rope, *analysis.getShape(heads));
  if (shape.size() == 3)
    rope = makeMergeHeads(rope, op);
  if (rope.getType() != result.getType())
    return false;
  replace(result, rope);
  return true;
}

//===----------------------------------------------------------------------===//
// Attention of ai.onnx
//===----------------------------------------------------------------------===//

bool Raiser::raiseStandardAttention(OnnxNodeOp op) {
  Value q = getInput(op, 0), k = getInput(op, 1), v = getInput(op, 2);
  const Shape *qShape = analysis.getShape(q), *kShape = analysis.getShape(k),
              *vShape = analysis.getShape(v);
  if (!qShape || !kShape || !vShape || getInput(op, 6))
    return false;
  for (unsigned i = 3; i < op.getNumResults(); ++i)
    if (!op.getResult(i).use_empty())
      return false;
  // Sizes of heads, from either layout.
  struct Side {
    int64_t heads, size;
    bool flat;
  };
  auto read = [&](const Shape &shape, StringRef number) -> std::optional<Side> {
    bool flat = shape.size() == 3;
    std::optional<int64_t> heads =
        flat ? getInt(op, number, 0) : getInteger(shape[1]);
    std::optional<int64_t> width = getInteger(shape.back());
    if ((shape.size() != 4 && !flat) || !heads || *heads <= 0 || !width)
      return std::nullopt;
    return Side{*heads, flat ? *width / *heads : *width, flat};
  };
  auto qSide = read(*qShape, "q_num_heads"),
       kSide = read(*kShape, "kv_num_heads"),
       vSide = read(*vShape, "kv_num_heads");
  if (!qSide || !kSide || !vSide || qSide->heads % kSide->heads != 0 ||
      kSide->heads != vSide->heads)
    return false;
  auto sequenceOf = [](const Shape &s) { return s[s.size() - 2]; };
  Expr batch = (*qShape)[0], queries = sequenceOf(*qShape);
  Value pastKey = getInput(op, 4), pastValue = getInput(op, 5);
  Expr newKeys = sequenceOf(*kShape), keys = newKeys;
  if (pastKey)
    keys = context.add((*analysis.getShape(pastKey))[2], newKeys);

  AttentionParts parts;
  parts.shape = {batch, context.integer(qSide->heads), queries, keys};
  for (auto [n, size] : llvm::enumerate(parts.shape))
    parts.at.push_back(context.index("a" + std::to_string(n), size));
  Expr b = parts.at[0], h = parts.at[1], i = parts.at[2];
  Expr j = pastKey ? context.index("n", newKeys) : parts.at[3];
  Expr d = context.index("k", context.integer(qSide->size));
  Expr dv = context.index("v", context.integer(vSide->size));
  auto elementOf = [&](Value value, const Side &side, Expr head, Expr row,
                       Expr column) {
    Indices at;
    if (side.flat)
      at = {b, row,
            context.add(context.scale(head, double(side.size)), column)};
    else
      at = {b, head, row, column};
    const Shape *shape = analysis.getShape(value);
    for (auto [index, size] : llvm::zip(at, *shape))
      if (isConstant(size, 1))
        index = context.integer(0);
    return getScaledAtom(analysis.getElement(value, at));
  };
  Expr kvHead =
      context.floorDiv(h, context.integer(qSide->heads / kSide->heads));
  auto [qFactor, qAtom] = elementOf(q, *qSide, h, i, d);
  auto [kFactor, kAtom] = elementOf(k, *kSide, kvHead, j, d);
  auto [vFactor, vAtom] = elementOf(v, *vSide, kvHead, j, dv);
  if (!qAtom || !kAtom || !vAtom || qAtom->kind != Kind::Element ||
      kAtom->kind != Kind::Element || vAtom->kind != Kind::Element ||
      vFactor != 1)
    return false;
  parts.query = getHeads(qAtom->tensor, qAtom->operands,
                         {b, h, i, d, qSide->heads, qSide->size}, op);
  parts.key =
      getGroupedHeads(kAtom, {b, h, j, d, qSide->heads, kSide->size}, op);
  parts.value =
      getGroupedHeads(vAtom, {b, h, j, dv, qSide->heads, vSide->size}, op);
  if (!parts.query || !parts.key || !parts.value)
    return false;
  if (pastKey) {
    parts.key = appendToPast(pastKey, parts.key, op);
    parts.value = appendToPast(pastValue, parts.value, op);
    if (!parts.key || !parts.value)
      return false;
  }
  double scale = getFloat(op, "scale", 0);
  parts.scale = (scale == 0 ? 1 / std::sqrt(double(qSide->size)) : scale) *
                qFactor * kFactor;
  parts.softcap = getFloat(op, "softcap", 0);
  // Of the two readings of is_causal where there are more keys than queries
  // only the one that both share is raised.
  if (getInt(op, "is_causal", 0)) {
    if (!pastKey && keys != queries)
      return false;
    parts.causal = true;
  }
  parts.zeroesBlind = true;
  if (Value mask = getInput(op, 3)) {
    MaskPart part{mask, std::nullopt, false, 1, parts.at};
    if (getElementTypeOrSelf(mask.getType()).isInteger(1))
      part.hidden = -INFINITY;
    splitMask(part, parts.masks);
  }
  Value result = op.getResult(0);
  Value attention =
      makeAttention(parts, getElementTypeOrSelf(result.getType()), op);
  if (!attention)
    return false;
  if (qSide->flat)
    attention = makeMergeHeads(attention, op);
  if (attention.getType() != result.getType())
    return false;
  replace(result, attention);
  for (unsigned i : {1, 2})
    if (i < op.getNumResults() && !op.getResult(i).use_empty())
      replace(op.getResult(i), i == 1 ? parts.key : parts.value);
  return true;
}

Value Raiser::appendToPast(Value past, Value added, Operation *before) {
  Shape shape = *analysis.getShape(added);
  Shape before4 = *analysis.getShape(past);
  if (before4.size() != 4)
    return {};
  // The file may leave sizes of the cache open that its operators fix.
  auto argument = dyn_cast<BlockArgument>(past);
  if (argument &&
      past.getType() != getType({before4[0], shape[1], before4[2], shape[3]},
                                getElementTypeOrSelf(past.getType()))) {
    before4[1] = shape[1];
    before4[3] = shape[3];
    argument.setType(getType(before4, getElementTypeOrSelf(past.getType())));
    analysis.setShape(argument, before4);
  }
  builder.setInsertionPoint(before);
  // A past of codes is read as numbers.
  Type element = getElementTypeOrSelf(added.getType());
  if (isa<IntegerType>(getElementTypeOrSelf(past.getType())))
    past = arith::SIToFPOp::create(builder, before->getLoc(),
                                   getType(before4, element), past);
  shape[0] = before4[0];
  shape[2] = context.add(before4[2], shape[2]);
  Value all = tensor::ConcatOp::create(
      builder, before->getLoc(),
      getType(shape, getElementTypeOrSelf(past.getType())), 2,
      ValueRange{past, added});
  analysis.setShape(all, shape);
  return all;
}

//===----------------------------------------------------------------------===//
// GroupQueryAttention
//===----------------------------------------------------------------------===//

Value Raiser::encode(Value value, double scale, Operation *before) {
  Shape shape = *analysis.getShape(value);
  Location loc = before->getLoc();
  Value splat = makeSplat(value, scale, before);
  auto code = IntegerType::get(func.getContext(), 8, IntegerType::Signed);
  value = FakeQuantizeOp::create(
      builder, loc, arith::DivFOp::create(builder, loc, value, splat),
      RoundingAttr::get(func.getContext(), code, builder.getF32FloatAttr(1),
                        /*zero=*/0));
  analysis.setShape(value, shape);
  return value;
}

bool Raiser::raiseGroupQueryAttention(OnnxNodeOp op) {
  Value x = getInput(op, 0), k = getInput(op, 1), v = getInput(op, 2);
  Value pastKey = getInput(op, 3), pastValue = getInput(op, 4);
  const Shape *found = x ? analysis.getShape(x) : nullptr;
  if (!found || found->size() != 3 || op.getNumResults() < 3 ||
      (op.getNumResults() > 3 && !op.getResult(3).use_empty()) ||
      !getInt(op, "causal", 1))
    return false;
  // Norms inside and a bias no exporter writes yet.
  for (unsigned i : {10, 14, 15})
    if (getInput(op, i))
      return false;
  // A cache of codes, with one scale for all keys and one for all values.
  std::optional<double> keyScale, valueScale;
  bool coded = getInput(op, 12) || getInput(op, 13);
  if (coded) {
    keyScale = analysis.getSplat(getInput(op, 12));
    valueScale = analysis.getSplat(getInput(op, 13));
    if (!keyScale || !valueScale || *keyScale <= 0 || *valueScale <= 0 ||
        getInt(op, "kv_cache_bit_width", 8) != 8 || !pastKey ||
        !getElementTypeOrSelf(pastKey.getType()).isInteger(8))
      return false;
  }
  Shape shape = *found;
  int64_t heads = getInt(op, "num_heads", 0),
          kvHeads = getInt(op, "kv_num_heads", 0);
  std::optional<int64_t> width = getInteger(shape[2]);
  if (heads <= 0 || kvHeads <= 0 || heads % kvHeads != 0 || !width)
    return false;
  int64_t size = *width / (k ? heads : heads + 2 * kvHeads);
  Value q = x;
  if (!k) {
    q = takeColumns(x, 0, heads * size, op);
    k = takeColumns(x, heads * size, kvHeads * size, op);
    v = takeColumns(x, (heads + kvHeads) * size, kvHeads * size, op);
  }
  const Shape *vShape = analysis.getShape(v);
  if (!vShape || vShape->size() != 3 || !analysis.getShape(k) ||
      analysis.getShape(k)->size() != 3)
    return false;
  AttentionParts parts;
  parts.query = makeSplitHeads(q, heads, op);
  parts.key = makeSplitHeads(k, kvHeads, op);
  parts.value = makeSplitHeads(v, kvHeads, op);
  if (!parts.query || !parts.key || !parts.value)
    return false;

  if (getInt(op, "do_rotary", 0)) {
    Value cos = getInput(op, 7), sin = getInput(op, 8);
    const Shape *table = cos && sin ? analysis.getShape(cos) : nullptr;
    std::optional<int64_t> half =
        table ? getInteger(table->back()) : std::nullopt;
    if (!half)
      return false;
    // Tokens follow what is in the cache.
    Value positions = getInput(op, 9);
    if (!positions) {
      BlockArgument tokens;
      if (!findVocabulary(tokens))
        return false;
      positions = getPositions(tokens, pastKey);
    }
    bool interleaved = getInt(op, "rotary_interleaved", 0);
    Value wideCos = takeAngles(positions, cos, 2 * *half, interleaved, op);
    Value wideSin = takeAngles(positions, sin, 2 * *half, interleaved, op);
    if (!wideCos || !wideSin)
      return false;
    builder.setInsertionPoint(op);
    for (Value *side : {&parts.query, &parts.key}) {
      Shape own = *analysis.getShape(*side);
      *side = RopeOp::create(builder, op.getLoc(), side->getType(), *side,
                             wideCos, wideSin, interleaved);
      analysis.setShape(*side, own);
    }
  }
  if (coded) {
    parts.key = encode(parts.key, *keyScale, op);
    parts.value = encode(parts.value, *valueScale, op);
  }
  if (pastKey) {
    parts.key = appendToPast(pastKey, parts.key, op);
    parts.value = appendToPast(pastValue, parts.value, op);
    if (!parts.key || !parts.value)
      return false;
  }
  parts.shape = {shape[0], context.integer(heads), shape[1],
                 (*analysis.getShape(parts.key))[2]};
  for (auto [n, extent] : llvm::enumerate(parts.shape))
    parts.at.push_back(context.index("a" + std::to_string(n), extent));
  parts.causal = true;
  parts.window = std::max<int64_t>(0, getInt(op, "local_window_size", -1));
  double scale = getFloat(op, "scale", 0);
  // Attention reads codes as numbers: their scales go to scores and result.
  parts.scale =
      (scale == 0 ? 1 / std::sqrt(double(size)) : scale) * keyScale.value_or(1);
  parts.softcap = getFloat(op, "softcap", 0);
  Type element = getElementTypeOrSelf(x.getType());
  if (Value sinks = getInput(op, 11)) {
    builder.setInsertionPoint(op);
    parts.sinks = getVector(sinks, context.integer(heads));
    if (!parts.sinks)
      return false;
  } else if (getInt(op, "smooth_softmax", 0) > 0) {
    builder.setInsertionPoint(op);
    parts.sinks = arith::ConstantOp::create(
        builder, op.getLoc(),
        builder.getZeroAttr(RankedTensorType::get({heads}, element)));
  }
  Value attention = makeAttention(parts, element, op);
  if (!attention)
    return false;
  attention = makeMergeHeads(attention, op);
  if (attention.getType() != op.getResult(0).getType())
    return false;
  if (coded)
    attention = scaleBy(attention, *valueScale, op);
  replace(op.getResult(0), attention);
  for (auto [i, all] : {std::pair{1, parts.key}, {2, parts.value}}) {
    if (coded) {
      Shape whole = *analysis.getShape(all);
      builder.setInsertionPoint(op);
      all = arith::FPToSIOp::create(builder, op.getLoc(),
                                    getType(whole, builder.getI8Type()), all);
      analysis.setShape(all, whole);
    }
    replace(op.getResult(i), all);
  }
  return true;
}

bool Raiser::raiseFusedAttention(OnnxNodeOp op) {
  if (isNode(op, "Attention"))
    return raiseStandardAttention(op);
  if (isMicrosoft(op, "GroupQueryAttention"))
    return raiseGroupQueryAttention(op);
  return false;
}
