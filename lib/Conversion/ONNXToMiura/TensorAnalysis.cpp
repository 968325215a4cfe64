//===- TensorAnalysis.cpp - What the elements of a tensor are -------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Elements of ONNX nodes, by the operators' definitions in the ONNX standard
/// (Operators.md). An operator without a case here yields an element of its own
/// result, so what is not understood stays correct. Shapes are in Shapes.cpp.
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

//===----------------------------------------------------------------------===//
// Views
//===----------------------------------------------------------------------===//

/// Reads `indices` into a tensor of shape `to` as indices into the same
/// elements in shape `from`, matching runs of dimensions of equal product.
std::optional<Indices> TensorAnalysis::reshapeIndices(const Shape &from,
                                                      const Shape &to,
                                                      ArrayRef<Expr> indices) {
  Indices result;
  size_t i = 0, o = 0;
  Expr one = context.integer(1);
  while (i < from.size() || o < to.size()) {
    // Single dimensions that are equal need no arithmetic.
    if (i < from.size() && o < to.size() && from[i] == to[o]) {
      result.push_back(indices[o]);
      ++i, ++o;
      continue;
    }
    size_t iEnd = i, oEnd = o;
    Expr in = one, out = one;
    if (iEnd < from.size())
      in = from[iEnd++];
    if (oEnd < to.size())
      out = to[oEnd++];
    while (in != out) {
      // The side whose product divides the other's has to grow.
      bool growOut = oEnd < to.size() &&
                     (context.exactQuotient(in, out) || iEnd == from.size());
      if (growOut)
        out = context.mul(out, to[oEnd++]);
      else if (iEnd < from.size())
        in = context.mul(in, from[iEnd++]);
      else if (oEnd < to.size())
        out = context.mul(out, to[oEnd++]);
      else
        return std::nullopt;
    }
    Expr flat = context.integer(0);
    for (size_t k = o; k < oEnd; ++k)
      flat = context.add(context.mul(flat, to[k]), indices[k]);
    Indices run;
    for (size_t k = iEnd; k-- > i;) {
      if (k == i) {
        run.push_back(flat);
        break;
      }
      Expr quotient = context.floorDiv(flat, from[k]);
      run.push_back(context.sub(flat, context.mul(quotient, from[k])));
      flat = quotient;
    }
    llvm::append_range(result, llvm::reverse(run));
    i = iEnd, o = oEnd;
  }
  return result;
}

/// Operators whose result is their first operand, as far as inference goes.
static bool isIdentity(OnnxNodeOp op) {
  return isNode(op, "Identity") || isNode(op, "Dropout");
}

Value TensorAnalysis::stepThroughView(Value value, Indices &indices) {
  Operation *def = value.getDefiningOp();
  // What raising has made of views is one as well.
  if (isa_and_nonnull<tensor::CollapseShapeOp, tensor::ExpandShapeOp>(def)) {
    Value source = def->getOperand(0);
    std::optional<Indices> result =
        reshapeIndices(*getShape(source), *getShape(value), indices);
    if (!result)
      return {};
    indices = std::move(*result);
    return source;
  }
  if (auto slice = dyn_cast_or_null<tensor::ExtractSliceOp>(def)) {
    ArrayRef<int64_t> offsets = slice.getStaticOffsets();
    if (slice.getSourceType().getRank() != slice.getType().getRank() ||
        llvm::any_of(offsets, ShapedType::isDynamic) ||
        llvm::any_of(slice.getStaticStrides(),
                     [](int64_t stride) { return stride != 1; }))
      return {};
    for (auto [index, offset] : llvm::zip(indices, offsets))
      index = context.add(index, context.integer(offset));
    return slice.getSource();
  }
  if (auto split = dyn_cast_or_null<SplitHeadsOp>(def)) {
    Expr size = (*getShape(value))[3];
    indices = {indices[0], indices[2],
               context.add(context.mul(indices[1], size), indices[3])};
    return split.getInput();
  }
  if (auto merge = dyn_cast_or_null<MergeHeadsOp>(def)) {
    Expr size = (*getShape(merge.getInput()))[3];
    Expr head = context.floorDiv(indices[2], size);
    indices = {indices[0], head, indices[1],
               context.sub(indices[2], context.mul(head, size))};
    return merge.getInput();
  }
  auto op = dyn_cast_or_null<OnnxNodeOp>(def);
  if (!op || !op.hasStandardDomain() || op.getNumOperands() == 0 ||
      value != op.getResult(0))
    return {};
  Value source = getInput(op, 0);
  if (!source)
    return {};
  if (isIdentity(op))
    return source;
  StringRef type = op.getOpType();
  bool isView = llvm::StringSwitch<bool>(type)
                    .Cases({"Reshape", "Flatten", "Squeeze", "Unsqueeze",
                            "Transpose", "Expand", "Tile"},
                           true)
                    .Default(false);
  if (!isView)
    return {};
  const Shape *fromShape = getShape(source);
  const Shape *toShape = getShape(value);
  if (!fromShape || !toShape || indices.size() != toShape->size())
    return {};
  Shape from = *fromShape, to = *toShape;
  if (type == "Transpose") {
    Indices result(indices.size());
    std::optional<SmallVector<int64_t>> perm = getInts(op, "perm");
    for (size_t i = 0; i < indices.size(); ++i) {
      int64_t p = perm ? (*perm)[i] : int64_t(indices.size() - 1 - i);
      if (p < 0 || p >= int64_t(indices.size()))
        return {};
      result[p] = indices[i];
    }
    indices = std::move(result);
    return source;
  }
  if (type == "Expand") {
    indices.erase(indices.begin(), indices.end() - from.size());
    for (auto [index, size] : llvm::zip(indices, from))
      if (isConstant(size, 1))
        index = context.integer(0);
    return source;
  }
  if (type == "Tile") {
    for (auto [index, size, whole] : llvm::zip_equal(indices, from, to))
      if (isConstant(size, 1))
        index = context.integer(0);
      else if (size != whole)
        index = context.mod(index, size);
    return source;
  }
  if (type == "Unsqueeze") {
    std::optional<SmallVector<int64_t>> axes = getAxes(op, to.size());
    if (!axes)
      return {};
    Indices result;
    for (size_t i = 0; i < indices.size(); ++i)
      if (!llvm::is_contained(*axes, int64_t(i)))
        result.push_back(indices[i]);
    indices = std::move(result);
    return source;
  }
  if (type == "Squeeze") {
    std::optional<SmallVector<int64_t>> axes = getAxes(op, from.size());
    Indices result;
    size_t next = 0;
    for (size_t i = 0; i < from.size(); ++i) {
      bool squeezed =
          axes ? llvm::is_contained(*axes, int64_t(i)) : isConstant(from[i], 1);
      if (!squeezed && next == indices.size())
        return {};
      result.push_back(squeezed ? context.integer(0) : indices[next++]);
    }
    indices = std::move(result);
    return source;
  }
  std::optional<Indices> result = reshapeIndices(from, to, indices);
  if (!result)
    return {};
  indices = std::move(*result);
  return source;
}

//===----------------------------------------------------------------------===//
// Elements
//===----------------------------------------------------------------------===//

Expr TensorAnalysis::getElement(Value value, ArrayRef<Expr> indices) {
  std::pair<void *, SmallVector<Expr, 4>> key{
      value.getAsOpaquePointer(),
      SmallVector<Expr, 4>(indices.begin(), indices.end())};
  if (auto it = elements.find(key); it != elements.end())
    return it->second;
  Expr result = nullptr;
  // A chain of thousands of sums is no mask and no rotation.
  if (depth < 400 && !opaque.contains(value) && getShape(value)) {
    ++depth;
    result = computeElement(value, indices);
    --depth;
  }
  if (!result)
    result = context.element(value, indices);
  elements.emplace(std::move(key), result);
  return result;
}

Expr TensorAnalysis::broadcastElement(Value value, ArrayRef<Expr> indices) {
  const Shape *shape = value ? getShape(value) : nullptr;
  if (!shape || shape->size() > indices.size())
    return nullptr;
  Indices own(indices.end() - shape->size(), indices.end());
  for (auto [index, size] : llvm::zip(own, *shape))
    if (isConstant(size, 1))
      index = context.integer(0);
  return getElement(value, own);
}

/// The element of a constant: of a splat, or at known indices.
static Expr getConstantElement(Context &context, ElementsAttr attr,
                               ArrayRef<Expr> indices) {
  auto dense = dyn_cast<DenseElementsAttr>(attr);
  if (!dense)
    return nullptr;
  int64_t flat = 0;
  if (!dense.isSplat()) {
    ArrayRef<int64_t> shape = dense.getType().getShape();
    for (auto [index, size] : llvm::zip_equal(indices, shape)) {
      std::optional<int64_t> k = getInteger(index);
      if (!k || *k < 0 || *k >= size)
        return nullptr;
      flat = flat * size + *k;
    }
  }
  Type type = dense.getElementType();
  if (isa<FloatType>(type)) {
    APFloat v = *(dense.value_begin<APFloat>() + flat);
    bool loses;
    v.convert(APFloat::IEEEdouble(), APFloat::rmNearestTiesToEven, &loses);
    return context.real(v.convertToDouble());
  }
  if (!type.isIntOrIndex())
    return nullptr;
  APInt v = *(dense.value_begin<APInt>() + flat);
  if (type.isInteger(1))
    return context.boolean(v.getBoolValue());
  return context.integer(type.isUnsignedInteger() ? int64_t(v.getZExtValue())
                                                  : v.getSExtValue());
}

/// A whole-number index of a Gather, counted from the front.
static Expr wrapIndex(Context &context, Expr index, Expr size) {
  if (index->isFloat || !index->isNumber())
    return nullptr;
  if (context.provesNotNegative(index))
    return index;
  if (context.provesNotNegative(context.sub(context.integer(-1), index)))
    return context.add(index, size);
  return nullptr;
}

bool TensorAnalysis::isNonZero(Value value) {
  if (!getShape(value))
    return false;
  Expr element = getElement(value, makeIndices(value, "z"));
  if (element->isNumber()) {
    std::optional<double> k = getConstant(element);
    return k && *k != 0;
  }
  return element->kind == Kind::Bool && element->truth;
}

Expr TensorAnalysis::computeElement(Value value, ArrayRef<Expr> indices) {
  Operation *def = value.getDefiningOp();
  if (!def)
    return nullptr;
  if (auto band = bands.find(value); band != bands.end()) {
    Expr distance = context.sub(indices.back(), indices[indices.size() - 2]);
    Expr inside = context.boolean(true);
    if (std::optional<int64_t> most = band->second.highest)
      inside = context.conjunction(
          inside, context.lessEqual(distance, context.integer(*most)));
    if (std::optional<int64_t> least = band->second.lowest)
      inside = context.conjunction(
          inside, context.lessEqual(context.integer(*least), distance));
    if (getElementTypeOrSelf(value.getType()).isInteger(1))
      return band->second.inside ? inside : context.negate(inside);
    return context.select(inside, context.real(band->second.inside),
                          context.real(band->second.outside));
  }
  if (linear.contains(value) && !getInteger(indices.back())) {
    // From its first and its last column. In a dimension of size 1 there is but
    // one index, however a slice computes it.
    ArrayRef<int64_t> sizes =
        cast<RankedTensorType>(value.getType()).getShape();
    int64_t last = sizes.back() - 1;
    Indices end(indices.begin(), indices.end());
    for (auto [index, size] : llvm::zip(end, sizes))
      if (size == 1)
        index = context.integer(0);
    end.back() = context.integer(0);
    Expr first = getElement(value, end);
    end.back() = context.integer(last);
    Expr slope =
        context.scale(context.sub(getElement(value, end), first), 1.0 / last);
    return context.add(first,
                       context.mul(slope, context.toFloat(indices.back())));
  }
  DenseElementsAttr constant;
  if (matchPattern(def, m_Constant(&constant)))
    return getConstantElement(context, constant, indices);
  Indices at(indices.begin(), indices.end());
  if (Value source = stepThroughView(value, at))
    return getElement(source, at);
  auto op = dyn_cast<OnnxNodeOp>(def);
  if (!op || !op.hasStandardDomain() || op.getNumRegions() > 0)
    return nullptr;

  StringRef type = op.getOpType();
  auto operand = [&](unsigned i) {
    return broadcastElement(getInput(op, i), indices);
  };
  // A symbolic operation on elements of the operands.
  auto binary = [&](auto apply) -> Expr {
    Expr a = operand(0), b = operand(1);
    return a && b ? apply(a, b) : nullptr;
  };
  auto isCondition = [&](unsigned i) {
    return getElementTypeOrSelf(getInput(op, i)).isInteger(1);
  };
  auto numbers = [&](auto apply) -> Expr {
    return binary([&](Expr a, Expr b) -> Expr {
      return a->isNumber() && b->isNumber() ? apply(a, b) : nullptr;
    });
  };

  if (type == "Add")
    return numbers([&](Expr a, Expr b) { return context.add(a, b); });
  if (type == "Sub")
    return numbers([&](Expr a, Expr b) { return context.sub(a, b); });
  if (type == "Mul")
    return numbers([&](Expr a, Expr b) { return context.mul(a, b); });
  if (type == "Neg") {
    Expr a = operand(0);
    return a && a->isNumber() ? context.scale(a, -1) : nullptr;
  }
  if (type == "Div")
    return numbers([&](Expr a, Expr b) -> Expr {
      std::optional<double> k = getConstant(b);
      if (a->isFloat)
        return k && *k != 0 ? context.scale(a, 1 / *k) : nullptr;
      // Integer division rounds toward zero: the floor where a >= 0.
      if (context.provesNotNegative(a) &&
          context.provesNotNegative(context.sub(b, context.integer(1))))
        return context.floorDiv(a, b);
      std::optional<double> n = getConstant(a);
      return k && n && *k != 0 ? context.integer(std::trunc(*n / *k)) : nullptr;
    });
  if (type == "Mod")
    return numbers([&](Expr a, Expr b) -> Expr {
      return !a->isFloat && context.provesNotNegative(
                                context.sub(b, context.integer(1)))
                 ? context.mod(a, b)
                 : nullptr;
    });
  if (type == "Pow")
    return numbers([&](Expr a, Expr b) -> Expr {
      std::optional<int64_t> k = getInteger(b);
      if (!k || *k < 1 || *k > 3)
        return nullptr;
      Expr power = a;
      for (int64_t i = 1; i < *k; ++i)
        power = context.mul(power, a);
      return power;
    });
  if (type == "Sqrt" || type == "Reciprocal") {
    Expr a = operand(0);
    std::optional<double> k = a ? getConstant(a) : std::nullopt;
    if (!k || *k <= 0)
      return nullptr;
    return context.real(type == "Sqrt" ? std::sqrt(*k) : 1 / *k);
  }
  if (type == "Min" || type == "Max") {
    Expr result = operand(0);
    for (unsigned i = 1; result && i < op.getNumOperands(); ++i) {
      Expr next = operand(i);
      result = !next           ? nullptr
               : type == "Min" ? context.min(result, next)
                               : context.max(result, next);
    }
    return result;
  }
  if (type == "And" || type == "BitwiseAnd")
    return isCondition(0) ? binary([&](Expr a, Expr b) {
      return context.conjunction(a, b);
    })
                          : nullptr;
  if (type == "Or" || type == "BitwiseOr")
    return isCondition(0) ? binary([&](Expr a, Expr b) {
      return context.disjunction(a, b);
    })
                          : nullptr;
  if (type == "Xor")
    return binary(
        [&](Expr a, Expr b) { return context.negate(context.equal(a, b)); });
  if (type == "Not" || (type == "BitwiseNot" && isCondition(0))) {
    Expr a = operand(0);
    return a ? context.negate(a) : nullptr;
  }
  if (type == "Equal")
    return binary([&](Expr a, Expr b) { return context.equal(a, b); });
  if (type == "Less")
    return numbers([&](Expr a, Expr b) { return context.less(a, b); });
  if (type == "LessOrEqual")
    return numbers([&](Expr a, Expr b) { return context.lessEqual(a, b); });
  if (type == "Greater")
    return numbers([&](Expr a, Expr b) { return context.less(b, a); });
  if (type == "GreaterOrEqual")
    return numbers([&](Expr a, Expr b) { return context.lessEqual(b, a); });
  if (type == "Where") {
    Expr c = operand(0), a = operand(1), b = operand(2);
    return a && b && c ? context.select(c, a, b) : nullptr;
  }
  if (type == "Cast" || type == "CastLike") {
    Expr a = operand(0);
    Type to = getElementTypeOrSelf(value.getType());
    if (!a)
      return nullptr;
    if (to.isInteger(1))
      return context.toCondition(a);
    if (isa<FloatType>(to))
      return context.toFloat(a);
    return to.isInteger(64) || to.isInteger(32) ? context.toInteger(a)
                                                : nullptr;
  }

  if (type == "Shape") {
    const Shape *shape = getShape(getInput(op, 0));
    std::optional<int64_t> k = getInteger(indices[0]);
    if (!shape || !k)
      return nullptr;
    int64_t start = getInt(op, "start", 0);
    if (start < 0)
      start = std::max<int64_t>(0, start + shape->size());
    return start + *k < int64_t(shape->size()) ? (*shape)[start + *k] : nullptr;
  }
  if (type == "Size") {
    const Shape *shape = getShape(getInput(op, 0));
    if (!shape)
      return nullptr;
    Expr product = context.integer(1);
    for (Expr e : *shape)
      product = context.mul(product, e);
    return product;
  }
  if (type == "ConstantOfShape") {
    auto fill = op.getOnnxAttributes().getAs<DenseElementsAttr>("value");
    if (!fill)
      return context.real(0);
    return fill.isSplat() ? getConstantElement(context, fill, {}) : nullptr;
  }
  if (type == "Range") {
    Expr start = getElement(getInput(op, 0), {});
    Expr delta = getElement(getInput(op, 2), {});
    if (!start->isNumber() || !delta->isNumber())
      return nullptr;
    Expr k = start->isFloat ? context.toFloat(indices[0]) : indices[0];
    return context.add(start, context.mul(k, delta));
  }
  if (type == "Concat") {
    int64_t axis = getInt(op, "axis", 0);
    if (axis < 0)
      axis += at.size();
    // From the last operand to the first: is the index before its start?
    Expr result = nullptr, start = context.integer(0);
    SmallVector<std::pair<Expr, Value>> parts;
    for (Value input : op.getInputs()) {
      const Shape *shape = getShape(input);
      if (!shape || axis >= int64_t(shape->size()))
        return nullptr;
      parts.push_back({start, input});
      start = context.add(start, (*shape)[axis]);
    }
    for (auto [begin, input] : llvm::reverse(parts)) {
      at[axis] = context.sub(indices[axis], begin);
      Expr here = nullptr;
      if (result) {
        // Skip a part that cannot hold the index.
        Expr before = context.less(
            indices[axis], context.add(begin, (*getShape(input))[axis]));
        if (before->kind == Kind::Bool && !before->truth)
          continue;
        here = getElement(input, at);
        result = context.select(before, here, result);
      } else {
        Expr after = context.lessEqual(begin, indices[axis]);
        if (after->kind == Kind::Bool && !after->truth)
          continue;
        result = getElement(input, at);
      }
    }
    return result;
  }
  if (type == "OneHot") {
    std::optional<Shape> values = getElements(getInput(op, 2));
    int64_t axis = getInt(op, "axis", -1);
    if (axis < 0)
      axis += at.size();
    if (!values || values->size() != 2 || axis < 0 ||
        axis >= (int64_t)at.size())
      return nullptr;
    // An index counts from the end where it is negative; those of a TopK do
    // not, and no other is known to have a place.
    Expr place = at[axis];
    at.erase(at.begin() + axis);
    Expr hot = getElement(getInput(op, 0), at);
    if (hot->isFloat || !hot->isNumber())
      return nullptr;
    return context.select(context.equal(hot, place), (*values)[1],
                          (*values)[0]);
  }
  if (type == "Split") {
    int64_t axis = getInt(op, "axis", 0);
    if (axis < 0)
      axis += at.size();
    for (Value part : op.getResults()) {
      if (part == value)
        break;
      const Shape *shape = getShape(part);
      if (!shape)
        return nullptr;
      at[axis] = context.add(at[axis], (*shape)[axis]);
    }
    return getElement(getInput(op, 0), at);
  }
  if (type == "Slice") {
    std::optional<SliceBounds> bounds = getSliceBounds(op);
    if (!bounds)
      return nullptr;
    for (size_t i = 0; i < at.size(); ++i)
      at[i] =
          context.add(bounds->start[i], context.scale(at[i], bounds->step[i]));
    return getElement(getInput(op, 0), at);
  }
  if (type == "Gather") {
    const Shape *data = getShape(getInput(op, 0));
    const Shape *places = getShape(getInput(op, 1));
    if (!data || !places)
      return nullptr;
    int64_t axis = getInt(op, "axis", 0);
    if (axis < 0)
      axis += data->size();
    auto first = at.begin() + axis, last = first + places->size();
    Expr size = (*data)[axis];
    Expr place = wrapIndex(
        context, getElement(getInput(op, 1), Indices(first, last)), size);
    if (!place)
      return nullptr;
    Indices in(at.begin(), first);
    in.push_back(place);
    in.append(last, at.end());
    return getElement(getInput(op, 0), in);
  }
  if (type == "GatherElements") {
    const Shape *data = getShape(getInput(op, 0));
    if (!data)
      return nullptr;
    int64_t axis = getInt(op, "axis", 0);
    if (axis < 0)
      axis += data->size();
    at[axis] =
        wrapIndex(context, getElement(getInput(op, 1), indices), (*data)[axis]);
    return at[axis] ? getElement(getInput(op, 0), at) : nullptr;
  }
  if (type == "GatherND") {
    const Shape *data = getShape(getInput(op, 0));
    const Shape *places = getShape(getInput(op, 1));
    if (!data || !places || places->empty())
      return nullptr;
    std::optional<int64_t> tuple = getInteger(places->back());
    int64_t batch = getInt(op, "batch_dims", 0);
    if (!tuple)
      return nullptr;
    size_t outer = places->size() - 1;
    Indices in(at.begin(), at.begin() + batch);
    for (int64_t k = 0; k < *tuple; ++k) {
      Indices place(at.begin(), at.begin() + outer);
      place.push_back(context.integer(k));
      Expr e = wrapIndex(context, getElement(getInput(op, 1), place),
                         (*data)[batch + k]);
      if (!e)
        return nullptr;
      in.push_back(e);
    }
    in.append(at.begin() + outer, at.end());
    return getElement(getInput(op, 0), in);
  }
  if (type == "ScatterND") {
    // Only where every element is written, in its own place.
    const Shape *data = getShape(getInput(op, 0));
    const Shape *places = getShape(getInput(op, 1));
    if (!data || !places || places->size() != data->size() + 1 ||
        !getString(op, "reduction").empty())
      if (getString(op, "reduction") != "none" || !data || !places ||
          places->size() != data->size() + 1)
        return nullptr;
    for (size_t k = 0; k < data->size(); ++k) {
      Indices place(at.begin(), at.end());
      place.push_back(context.integer(k));
      if ((*places)[k] != (*data)[k] ||
          getElement(getInput(op, 1), place) != at[k])
        return nullptr;
    }
    return getElement(getInput(op, 2), at);
  }
  if (type == "Trilu") {
    Expr k = context.integer(0);
    if (Value offset = getInput(op, 1)) {
      std::optional<Shape> elements = getElements(offset);
      if (!elements || elements->size() != 1)
        return nullptr;
      k = (*elements)[0];
    }
    Expr row = at[at.size() - 2], column = at[at.size() - 1];
    Expr diagonal = context.add(row, k);
    Expr kept = getInt(op, "upper", 1) ? context.lessEqual(diagonal, column)
                                       : context.lessEqual(column, diagonal);
    Expr inside = getElement(getInput(op, 0), at);
    if (inside->isCondition())
      return context.conjunction(kept, inside);
    return context.select(
        kept, inside, inside->isFloat ? context.real(0) : context.integer(0));
  }
  if (type == "ReduceMax" || type == "ReduceMin") {
    std::optional<double> k = getSplat(getInput(op, 0));
    if (!k)
      return nullptr;
    return isa<FloatType>(getElementTypeOrSelf(value.getType()))
               ? context.real(*k)
               : context.integer(int64_t(*k));
  }
  if (type == "NonZero") {
    // Where nothing is zero, the digits of the place.
    const Shape *found = getShape(getInput(op, 0));
    std::optional<int64_t> row = getInteger(indices[0]);
    if (!found || !row || !isNonZero(getInput(op, 0)))
      return nullptr;
    Shape sizes = *found;
    Expr place = indices[1];
    for (int64_t d = sizes.size() - 1; d > *row; --d)
      place = context.floorDiv(place, sizes[d]);
    return *row == 0 ? place : context.mod(place, sizes[*row]);
  }
  if (type == "CumSum") {
    std::optional<SmallVector<int64_t>> axis = getIntegers(getInput(op, 1));
    if (!axis || axis->size() != 1 || getInt(op, "reverse", 0))
      return nullptr;
    int64_t d = (*axis)[0] < 0 ? (*axis)[0] + at.size() : (*axis)[0];
    // Only of what is the same everywhere.
    Expr inside = getElement(getInput(op, 0), at);
    std::optional<double> k = getConstant(inside);
    if (!k)
      return nullptr;
    Expr count = getInt(op, "exclusive", 0)
                     ? at[d]
                     : context.add(at[d], context.integer(1));
    return context.scale(inside->isFloat ? context.toFloat(count) : count, *k);
  }
  return nullptr;
}
