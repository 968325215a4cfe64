//===- TensorElements.cpp - Elements of nodes by their operators ----------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The element of a node's result at given indices, by the operator's
/// definition in the ONNX standard (Operators.md). An operator without a case
/// here yields an element of its own result, so what is not understood stays
/// correct.
///
//===----------------------------------------------------------------------===//

#include "miura/Conversion/ONNXToMiura/TensorAnalysis.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Matchers.h"
#include <cmath>

using namespace mlir;
using namespace miura;
using namespace miura::symbolic;
using Indices = TensorAnalysis::Indices;
using Shape = TensorAnalysis::Shape;

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
