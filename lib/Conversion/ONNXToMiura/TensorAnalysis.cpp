//===- TensorAnalysis.cpp - What is known of whole tensors ----------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Reading nodes, sizes that mean the same, and tensors whose elements are all
/// known. Shapes are in Shapes.cpp, views in TensorViews.cpp, elements in
/// TensorElements.cpp.
///
//===----------------------------------------------------------------------===//

#include "miura/Conversion/ONNXToMiura/TensorAnalysis.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Matchers.h"
#include "llvm/ADT/SmallPtrSet.h"
#include "llvm/ADT/StringSwitch.h"
#include <cmath>

using namespace mlir;
using namespace miura;
using namespace miura::symbolic;
using Indices = TensorAnalysis::Indices;
using Shape = TensorAnalysis::Shape;

//===----------------------------------------------------------------------===//
// Reading nodes
//===----------------------------------------------------------------------===//

bool miura::isNode(OnnxNodeOp op, StringRef opType) {
  return op && op.hasStandardDomain() && op.getOpType() == opType;
}

OnnxNodeOp miura::getNode(Value value, StringRef opType) {
  if (!value)
    return {};
  auto op = value.getDefiningOp<OnnxNodeOp>();
  return isNode(op, opType) ? op : OnnxNodeOp();
}

OnnxNodeOp miura::getNode(Value value, StringRef domain, StringRef opType) {
  if (!value)
    return {};
  auto op = value.getDefiningOp<OnnxNodeOp>();
  return op && op.getDomain() == domain && op.getOpType() == opType
             ? op
             : OnnxNodeOp();
}

Value miura::getInput(OnnxNodeOp op, unsigned index) {
  if (index >= op.getInputs().size())
    return {};
  Value value = op.getInputs()[index];
  return isa<AbsentType>(value.getType()) ? Value() : value;
}

int64_t miura::getInt(OnnxNodeOp op, StringRef name, int64_t otherwise) {
  auto attr = op.getOnnxAttributes().getAs<IntegerAttr>(name);
  return attr ? attr.getValue().getSExtValue() : otherwise;
}

double miura::getFloat(OnnxNodeOp op, StringRef name, double otherwise) {
  auto attr = op.getOnnxAttributes().getAs<FloatAttr>(name);
  return attr ? attr.getValueAsDouble() : otherwise;
}

StringRef miura::getString(OnnxNodeOp op, StringRef name) {
  auto attr = op.getOnnxAttributes().getAs<StringAttr>(name);
  return attr ? attr.getValue() : StringRef();
}

std::optional<SmallVector<int64_t>> miura::getInts(OnnxNodeOp op,
                                                   StringRef name) {
  Attribute attr = op.getOnnxAttributes().get(name);
  SmallVector<int64_t> values;
  if (auto array = dyn_cast_or_null<DenseI64ArrayAttr>(attr))
    return SmallVector<int64_t>(array.asArrayRef());
  if (auto dense = dyn_cast_or_null<DenseIntElementsAttr>(attr)) {
    for (const APInt &v : dense.getValues<APInt>())
      values.push_back(v.getSExtValue());
    return values;
  }
  auto array = dyn_cast_or_null<ArrayAttr>(attr);
  if (!array)
    return std::nullopt;
  for (Attribute a : array) {
    auto integer = dyn_cast<IntegerAttr>(a);
    if (!integer)
      return std::nullopt;
    values.push_back(integer.getValue().getSExtValue());
  }
  return values;
}

//===----------------------------------------------------------------------===//
// Whole tensors
//===----------------------------------------------------------------------===//

void TensorAnalysis::learnEqualSizes(Block &body) {
  // Files of some exporters name the lengths of the layers' caches, or of masks
  // over keys, differently, though scores meet them. Other sizes that meet in
  // a broadcast may differ, one of them being 1.
  for (unsigned round = 0; round <= body.getNumArguments(); ++round) {
    conflicts.clear();
    cuts.clear();
    shapes.clear();
    elements.clear();
    llvm::SmallPtrSet<Expr, 8> lengths, sequences;
    bool hasCache = false;
    for (BlockArgument argument : body.getArguments()) {
      auto type = dyn_cast<RankedTensorType>(argument.getType());
      if (!type)
        continue;
      bool isCache =
          type.getRank() == 4 && isa<FloatType>(type.getElementType());
      bool isMask =
          type.getRank() == 2 && isa<IntegerType>(type.getElementType());
      hasCache |= isCache;
      if (isCache || isMask)
        if (Expr symbol =
                getScaledAtom((*getShape(argument))[isCache ? 2 : 1]).second)
          (isCache ? lengths : sequences).insert(symbol);
    }
    lengths.insert(sequences.begin(), sequences.end());
    for (Operation &op : body) {
      for (Value result : op.getResults())
        if (isa<TensorType>(result.getType()))
          getShape(result);
      // Scores that an operator keeps to itself.
      auto node = dyn_cast<OnnxNodeOp>(op);
      if (!isNode(node, "Attention") || !getInput(node, 3))
        continue;
      const Shape *keys = getShape(getInput(node, 1)),
                  *mask = getShape(getInput(node, 3));
      const Shape *past =
          getInput(node, 4) ? getShape(getInput(node, 4)) : nullptr;
      if (!keys || !mask || keys->size() < 3 || mask->empty())
        continue;
      Expr all = (*keys)[keys->size() - 2];
      if (past && past->size() == 4)
        all = context.add(all, (*past)[2]);
      if (all != mask->back() && !getConstant(mask->back()))
        conflicts.push_back({all, mask->back()});
    }
    // Rows of a mask that are given as many as another argument has rows are
    // that many: else rows would be mixed.
    bool learned = false;
    for (OnnxNodeOp node : body.getOps<OnnxNodeOp>()) {
      auto rows = isNode(node, "Reshape")
                      ? dyn_cast<BlockArgument>(node.getInputs()[0])
                      : BlockArgument();
      const Shape *from = rows ? getShape(rows) : nullptr;
      if (!from || from->size() != 2 ||
          !isa<IntegerType>(getElementTypeOrSelf(rows.getType())))
        continue;
      std::optional<Shape> target = getElements(getInput(node, 1));
      if (!target || target->size() != 2 || !isConstant((*target)[1], -1))
        continue;
      Expr x = getScaledAtom((*from)[0]).second;
      Expr y = getScaledAtom((*target)[0]).second;
      if (!x || !y || x == y || x->kind != Kind::Symbol || x->limit ||
          y->kind != Kind::Symbol || y->limit ||
          (*target)[0] != context.size(y->name))
        continue;
      context.setSize((x->id > y->id ? x : y)->name,
                      (x->id > y->id ? (*target)[0] : (*from)[0]));
      learned = true;
      break;
    }
    if (learned)
      continue;
    // A mask over keys is cut to the keys that there are: the past and the new.
    for (auto [end, size] : cuts) {
      Expr whole = getScaledAtom(size).second;
      // What the past is cut off from is the past and the new.
      Expr past = getScaledAtom(end).second, added = nullptr;
      for (Expr s : sequences)
        if (s != whole && (!added || s->id < added->id))
          added = s;
      if (whole && past && added && sequences.contains(whole) &&
          lengths.contains(past) && !sequences.contains(past))
        conflicts.push_back(
            {size, context.add(end, context.size(added->name))});
      bool isSum = end->terms.size() == 2, hasNew = false;
      for (const Term &t : end->terms) {
        bool isLength = t.atoms.size() == 1 && lengths.contains(t.atoms[0]) &&
                        t.coefficient == 1;
        isSum &= isLength;
        hasNew |= isLength && sequences.contains(t.atoms[0]);
      }
      if (whole && sequences.contains(whole) && hasNew &&
          (isSum || (!hasCache && end->terms.size() == 1)))
        conflicts.push_back({size, end});
    }
    // A length that stands alone is another name of what it meets; of two
    // names, or of two sums with a common part, the younger goes.
    for (auto [a, b] : conflicts) {
      Expr x = getScaledAtom(a).second, y = getScaledAtom(b).second;
      bool hasX = x && lengths.contains(x), hasY = y && lengths.contains(y);
      Expr symbol = nullptr, value = nullptr;
      if (hasX && (!hasY || x->id > y->id)) {
        symbol = x, value = b;
      } else if (hasY) {
        symbol = y, value = a;
      } else {
        Expr difference = context.sub(a, b);
        auto findYoungest = [&](const llvm::SmallPtrSet<Expr, 8> &among) {
          const Term *youngest = nullptr;
          for (const Term &t : difference->terms)
            if (t.atoms.size() == 1 && among.contains(t.atoms[0]) &&
                std::abs(t.coefficient) == 1 &&
                (!youngest || t.atoms[0]->id > youngest->atoms[0]->id))
              youngest = &t;
          return youngest;
        };
        const Term *youngest = findYoungest(sequences);
        if (!youngest && difference->terms.size() == 2)
          youngest = findYoungest(lengths);
        if (difference->terms.size() > 3 || !youngest)
          continue;
        symbol = youngest->atoms[0];
        value = context.substitute(
            context.scale(difference, -youngest->coefficient), symbol,
            context.integer(0));
      }
      // A length is a sum of lengths, or nothing is learned.
      bool isSum = value->kind == Kind::Poly;
      for (const Term &t : value->terms)
        isSum &= t.atoms.size() == 1 && t.coefficient == 1 &&
                 lengths.contains(t.atoms[0]) && t.atoms[0] != symbol;
      if (!isSum || symbol->kind != Kind::Symbol || symbol->limit ||
          context.size(symbol->name) == value)
        continue;
      context.setSize(symbol->name, value);
      learned = true;
      break; // others may follow from it
    }
    if (!learned)
      return;
  }
}

std::optional<Shape> TensorAnalysis::getElements(Value value) {
  const Shape *shape = getShape(value);
  if (!shape || shape->size() > 1)
    return std::nullopt;
  if (shape->empty())
    return Shape{getElement(value, {})};
  std::optional<int64_t> count = getInteger((*shape)[0]);
  // Longer than any shape or list of axes is not for us.
  if (!count || *count > 64)
    return std::nullopt;
  Shape result;
  for (int64_t i = 0; i < *count; ++i)
    result.push_back(getElement(value, {context.integer(i)}));
  return result;
}

std::optional<SmallVector<int64_t>> TensorAnalysis::getIntegers(Value value) {
  if (!value)
    return std::nullopt;
  std::optional<Shape> exprs = getElements(value);
  if (!exprs)
    return std::nullopt;
  SmallVector<int64_t> result;
  for (Expr e : *exprs) {
    std::optional<double> k = getConstant(e);
    if (!k)
      return std::nullopt;
    // Sentinels such as INT64_MAX do not fit a double exactly: saturate.
    result.push_back(*k >= 0x1p63    ? std::numeric_limits<int64_t>::max()
                     : *k <= -0x1p63 ? std::numeric_limits<int64_t>::min()
                                     : int64_t(*k));
  }
  return result;
}

std::optional<double> TensorAnalysis::getSplat(Value value) {
  const Shape *shape = value ? getShape(value) : nullptr;
  if (!shape)
    return std::nullopt;
  Indices indices;
  for (Expr limit : *shape)
    indices.push_back(
        context.index("splat" + std::to_string(indices.size()), limit));
  return getConstant(getElement(value, indices));
}

Indices TensorAnalysis::makeIndices(Value value, StringRef prefix) {
  Indices indices;
  for (Expr limit : *getShape(value))
    indices.push_back(
        context.index((prefix + std::to_string(indices.size())).str(), limit));
  return indices;
}

std::optional<SmallVector<int64_t>> TensorAnalysis::getAxes(OnnxNodeOp op,
                                                            int64_t rank) {
  std::optional<SmallVector<int64_t>> axes = getInts(op, "axes");
  if (!axes)
    axes = getIntegers(getInput(op, 1));
  if (axes)
    for (int64_t &axis : *axes)
      if (axis < 0)
        axis += rank;
  return axes;
}
