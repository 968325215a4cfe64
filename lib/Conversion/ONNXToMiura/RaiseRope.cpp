//===- RaiseRope.cpp - Rotary embeddings in their spellings ---------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// A rotation is recognized by what its elements are: sums of two products of
/// one tensor's elements, half the rotated size (or one place) apart, with
/// cosines and sines. How the halves were cut out and put together does not
/// matter.
///
//===----------------------------------------------------------------------===//

#include "Raiser.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace miura;
using namespace miura::symbolic;

namespace {
/// `factor · x[at] · angle[place]`, one of the two products of an element.
struct Product {
  double factor;
  Expr x, angle;
};
} // namespace

/// The element as products with elements of one tensor, or nothing.
static std::optional<SmallVector<Product, 2>> getProducts(Expr element,
                                                          Value tensor) {
  if (element->kind != Kind::Poly || element->terms.size() != 2)
    return std::nullopt;
  SmallVector<Product, 2> products;
  for (const Term &t : element->terms) {
    if (t.atoms.size() != 2)
      return std::nullopt;
    Expr a = t.atoms[0], b = t.atoms[1];
    if (b->kind == Kind::Element && b->tensor == tensor)
      std::swap(a, b);
    if (a->kind != Kind::Element || a->tensor != tensor ||
        b->kind != Kind::Element || b->tensor == tensor)
      return std::nullopt;
    products.push_back({t.coefficient, a, b});
  }
  return products;
}

/// Boundaries of the pieces in which an element's conditions on an index
/// decide: the constants c of `c − d >= 0` and `d − c >= 0`.
static void collectBoundaries(Expr e, Expr symbol, SmallVector<int64_t> &out) {
  if (e->kind == Kind::NotNegative) {
    Expr p = e->operands[0];
    double slope = 0, constant = 0;
    bool linear = p->kind == Kind::Poly;
    for (const Term &t : p->terms) {
      if (t.atoms.empty())
        constant = t.coefficient;
      else if (t.atoms.size() == 1 && t.atoms[0] == symbol)
        slope = t.coefficient;
      else
        linear = false;
    }
    if (linear && slope == -1)
      out.push_back(int64_t(constant) + 1);
    if (linear && slope == 1)
      out.push_back(int64_t(-constant));
  }
  for (Expr o : e->operands)
    collectBoundaries(o, symbol, out);
  for (const Term &t : e->terms)
    for (Expr a : t.atoms)
      if (a->kind != Kind::Element)
        collectBoundaries(a, symbol, out);
}

Value Raiser::makeAngle(Value tensor, ArrayRef<Expr> indices, Expr batch,
                        Expr sequence, Expr place, int64_t width,
                        int64_t rotated, bool interleaved, double factor,
                        Operation *before) {
  // To batch|1 × sequence × width.
  const Shape *found = analysis.getShape(tensor);
  if (!found || indices.empty())
    return {};
  Shape shape = *found;
  // Some of more columns: the file may compute both halves alike, or keep sines
  // and cosines side by side.
  std::optional<int64_t> columns = getInteger(shape.back());
  std::optional<int64_t> start = getInteger(context.sub(indices.back(), place));
  if (!columns || !start || *start < 0 || *start + width > *columns)
    return {};
  Shape flat;
  bool hasSequence = false;
  for (size_t i = 0; i + 1 < shape.size(); ++i) {
    if (indices[i] == sequence && !hasSequence) {
      hasSequence = true;
      if (flat.empty())
        flat.push_back(context.integer(1));
      flat.push_back(shape[i]);
    } else if (indices[i] == batch && flat.empty()) {
      flat.push_back(shape[i]);
    } else if (!isConstant(shape[i], 1)) {
      return {};
    } else if (flat.empty() && i == 0) {
      flat.push_back(shape[i]);
    }
  }
  flat.push_back(shape.back());
  if (!hasSequence || flat.size() != 3)
    return {};
  Value angle = shape.size() == 3 ? tensor : makeReshape(tensor, flat, before);
  if (!angle)
    return {};
  if (*columns != width)
    angle = takeColumns(angle, *start, width, before);
  if (width != rotated)
    angle = widenAngle(angle, rotated, interleaved, before);
  return angle && factor != 1 ? scaleBy(angle, factor, before) : angle;
}

Value Raiser::widenAngle(Value angle, int64_t rotated, bool interleaved,
                         Operation *before) {
  Shape flat = *analysis.getShape(angle);
  Location loc = before->getLoc();
  Shape full{flat[0], flat[1], context.integer(rotated)};
  Type element = getElementTypeOrSelf(angle.getType());
  if (!interleaved) {
    builder.setInsertionPoint(before);
    angle = tensor::ConcatOp::create(builder, loc, getType(full, element), 2,
                                     ValueRange{angle, angle});
    analysis.setShape(angle, full);
    return angle;
  }
  // Each of a pair has the pair's angle.
  Shape column{flat[0], flat[1], flat[2], context.integer(1)};
  Value wide = makeReshape(angle, column, before);
  if (!wide)
    return {};
  builder.setInsertionPoint(before);
  column[3] = context.integer(2);
  Value pairs = tensor::ConcatOp::create(builder, loc, getType(column, element),
                                         3, ValueRange{wide, wide});
  analysis.setShape(pairs, column);
  return makeReshape(pairs, full, before);
}

Value Raiser::makeSplat(Value like, double number, Operation *before) {
  builder.setInsertionPoint(before);
  Location loc = before->getLoc();
  auto type = cast<RankedTensorType>(like.getType());
  Value scalar = arith::ConstantOp::create(
      builder, loc, builder.getFloatAttr(type.getElementType(), number));
  SmallVector<Value> sizes;
  for (int64_t i = 0; i < type.getRank(); ++i)
    if (type.isDynamicDim(i))
      sizes.push_back(tensor::DimOp::create(builder, loc, like, i));
  return tensor::SplatOp::create(builder, loc, type, scalar, sizes);
}

Value Raiser::scaleBy(Value value, double factor, Operation *before) {
  Value splat = makeSplat(value, factor, before);
  Shape copy = *analysis.getShape(value);
  value = arith::MulFOp::create(builder, before->getLoc(), value, splat);
  analysis.setShape(value, copy);
  return value;
}

Value Raiser::repeatHeads(Value heads, int64_t count, OnnxNodeOp before) {
  Shape shape = *analysis.getShape(heads);
  Shape split{shape[0], shape[1], context.integer(1), shape[2], shape[3]};
  Value wide = makeReshape(heads, split, before);
  if (!wide)
    return {};
  builder.setInsertionPoint(before);
  auto type = RankedTensorType::get({5}, builder.getI64Type());
  Value counts = arith::ConstantOp::create(
      builder, before.getLoc(),
      DenseElementsAttr::get(type, ArrayRef<int64_t>{1, 1, count, 1, 1}));
  wide = makeNode(before, "Expand", 13, {wide, counts}, {},
                  getElementTypeOrSelf(heads.getType()));
  shape[1] = context.scale(shape[1], double(count));
  return wide ? makeReshape(wide, shape, before) : Value();
}

bool Raiser::raisePartialRope(OnnxNodeOp op) {
  // The first entries of a tensor rotated, and the others behind them.
  if (!isNode(op, "Concat") || op.getNumOperands() != 2)
    return false;
  Value rest = getInput(op, 1), result = op.getResult(0);
  const Shape *found = analysis.getShape(result),
              *lowShape = analysis.getShape(getInput(op, 0)),
              *restShape = analysis.getShape(rest);
  if (!found || !lowShape || !restShape || lowShape->size() != 4 ||
      restShape->size() != 4)
    return false;
  Shape shape = *found;
  Expr rotated = lowShape->back(), unrotated = restShape->back();
  Indices own = analysis.makeIndices(result, "r");
  Expr e = context.index("e", rotated), f = context.index("f", unrotated);
  // The rotation may lie behind views.
  Indices inner = own;
  inner[3] = e;
  Value low = getInput(op, 0);
  while (!low.getDefiningOp<RopeOp>())
    if (!(low = analysis.stepThroughView(low, inner)))
      return false;
  auto rope = low.getDefiningOp<RopeOp>();
  if (inner.size() != 4 || inner[0] != own[0] || inner[3] != e)
    return false;
  unsigned sequenceDim = inner[2] == own[2] ? 2 : 1;
  if (inner[2] != own[sequenceDim] || inner[1] != own[3 - sequenceDim])
    return false;
  std::optional<int64_t> size = getInteger(shape[3]),
                         heads = getInteger(shape[3 - sequenceDim]);
  if (!size || !heads)
    return false;
  auto [lowFactor, lowAtom] =
      getScaledAtom(analysis.getElement(rope.getInput(), inner));
  Indices behind = own;
  behind[3] = f;
  auto [restFactor, restAtom] =
      getScaledAtom(analysis.getElement(rest, behind));
  if (!lowAtom || !restAtom || lowFactor != 1 || restFactor != 1 ||
      lowAtom->kind != Kind::Element || restAtom->kind != Kind::Element ||
      lowAtom->tensor != restAtom->tensor)
    return false;
  Indices at;
  for (auto [a, c] : llvm::zip(lowAtom->operands, restAtom->operands)) {
    at.push_back(context.substitute(a, e, own[3]));
    if (context.substitute(c, f, context.sub(own[3], rotated)) != at.back())
      return false;
  }
  HeadAxes axes{own[0], own[3 - sequenceDim], own[sequenceDim], own[3], *heads,
                *size};
  Value x = getHeads(lowAtom->tensor, at, axes, op);
  if (!x)
    return false;
  builder.setInsertionPoint(op);
  Value whole =
      RopeOp::create(builder, op.getLoc(), x.getType(), x, rope.getCos(),
                     rope.getSin(), rope.getInterleaved());
  analysis.setShape(whole, *analysis.getShape(x));
  if (sequenceDim == 1)
    whole = makeReshape(makeMergeHeads(whole, op), shape, op);
  if (!whole || whole.getType() != result.getType())
    return false;
  replace(result, whole);
  return true;
}

bool Raiser::raiseRope(OnnxNodeOp op) {
  Value result = op.getResult(0);
  if (!isa<FloatType>(getElementTypeOrSelf(result.getType())))
    return false;
  const Shape *found = analysis.getShape(result);
  if (!found || found->size() != 4)
    return false;
  Shape shape = *found;
  std::optional<int64_t> size = getInteger(shape[3]);
  if (!size || *size < 2 || *size > 4096)
    return false;
  // A rotation ends in a sum of two products or in halves put together.
  if (isNode(op, "Concat")) {
    int64_t axis = getInt(op, "axis", 0);
    if (axis != 3 && axis != -1)
      return false;
  } else if (isNode(op, "Add")) {
    for (Value v : op.getInputs())
      if (!getNode(v, "Mul"))
        return false;
  } else if (!isNode(op, "Reshape")) {
    return false;
  }
  if (raisePartialRope(op))
    return true;
  Indices indices = analysis.makeIndices(result, "r");
  Expr last = getScaledAtom(indices[3]).second;
  Expr element = analysis.getElement(result, indices);
  if (element->kind == Kind::Poly && getScaledAtom(element).second)
    return false; // a view

  // Pieces of the last dimension, and in each the element at its start plus e.
  SmallVector<int64_t> bounds{0, *size};
  collectBoundaries(element, last, bounds);
  llvm::sort(bounds);
  bounds.erase(llvm::unique(bounds), bounds.end());
  llvm::erase_if(bounds, [&](int64_t b) { return b < 0 || b > *size; });
  bool interleaved = bounds.size() == 2;
  int64_t rotated = interleaved ? *size : 2 * bounds[1];
  if (rotated > *size || rotated % 2 != 0 || bounds.size() > 4 ||
      (!interleaved && bounds[2] != rotated))
    return false;
  int64_t half = rotated / 2;
  // One pair has no index to tell its place by; no model has so small heads.
  if (half < 2)
    return false;
  Expr e = context.index("e", context.integer(half));
  Expr places[2];
  if (interleaved) {
    places[0] = context.scale(e, 2);
    places[1] = context.add(places[0], context.integer(1));
  } else {
    places[0] = e;
    places[1] = context.add(e, context.integer(half));
  }
  Expr parts[2];
  for (int i : {0, 1})
    parts[i] = context.substitute(element, last, places[i]);

  // The tensor that is rotated: the one in both products.
  if (parts[0]->kind != Kind::Poly || parts[0]->terms.size() != 2)
    return false;
  for (Expr candidate : parts[0]->terms[0].atoms) {
    if (candidate->kind != Kind::Element)
      continue;
    Value tensor = candidate->tensor;
    auto low = getProducts(parts[0], tensor),
         high = getProducts(parts[1], tensor);
    if (!low || !high)
      continue;
    // Where x is read for the element at a place: solved from the first piece.
    auto readAt = [&](Expr x, Expr from, Expr to) {
      SmallVector<Expr> at;
      for (Expr i : x->operands)
        at.push_back(context.substitute(i, from, to));
      return at;
    };
    Expr eSymbol = getScaledAtom(e).second;
    // A symbol of the rotated range stands for d while x is looked at.
    for (int straight : {0, 1}) {
      Product cosLow = (*low)[straight], sinLow = (*low)[1 - straight];
      SmallVector<Expr> xAt;
      if (interleaved) {
        // x[2e]: its last index is linear in e, so d takes 2e's place.
        Expr d = context.index("d", context.integer(*size));
        for (Expr i : cosLow.x->operands) {
          Expr twice = context.substitute(
              i, eSymbol, context.index("f", context.integer(half)));
          Expr moved = context.add(context.sub(i, context.scale(e, 2)), d);
          xAt.push_back(twice == i ? i : moved);
        }
        bool matches = true;
        Expr dSymbol = getScaledAtom(d).second;
        auto same = [&](Expr x, Expr place) {
          for (auto [i, o] : llvm::zip(xAt, x->operands))
            if (context.substitute(i, dSymbol, place) != o)
              return false;
          return true;
        };
        matches = same(cosLow.x, places[0]) && same(sinLow.x, places[1]);
        if (!matches)
          continue;
        for (Expr &i : xAt)
          i = context.substitute(i, dSymbol, indices[3]);
      } else {
        xAt = readAt(cosLow.x, eSymbol, indices[3]);
      }
      auto reads = [&](Expr x, Expr place) {
        for (auto [i, o] : llvm::zip(xAt, x->operands))
          if (context.substitute(i, last, place) != o)
            return false;
        return true;
      };
      Product cosHigh = (*high)[0], sinHigh = (*high)[1];
      if (!reads(cosHigh.x, places[1]))
        std::swap(cosHigh, sinHigh);
      if (!reads(cosLow.x, places[0]) || !reads(sinLow.x, places[1]) ||
          !reads(cosHigh.x, places[1]) || !reads(sinHigh.x, places[0]) ||
          cosLow.factor != cosHigh.factor || sinLow.factor != -sinHigh.factor ||
          cosLow.angle->tensor != cosHigh.angle->tensor ||
          sinLow.angle->tensor != sinHigh.angle->tensor)
        continue;
      // What passes unrotated is x at its own place.
      if (rotated < *size) {
        Expr rest = context.index("rest", context.integer(*size - rotated));
        Expr place = context.add(rest, context.integer(rotated));
        auto [factor, atom] =
            getScaledAtom(context.substitute(element, last, place));
        if (factor != 1 || !atom || atom->kind != Kind::Element ||
            atom->tensor != tensor || !reads(atom, place))
          continue;
      }

      // Which index is the sequence: the one that the angles have.
      Expr batch = indices[0], sequence = nullptr, head = nullptr;
      unsigned sequenceDim = 0;
      for (unsigned i : {1, 2})
        if (!getConstant(indices[i]) &&
            llvm::is_contained(cosLow.angle->operands, indices[i])) {
          sequence = indices[i];
          head = indices[3 - i];
          sequenceDim = i;
        }
      if (!sequence)
        continue;
      std::optional<int64_t> heads = getInteger(shape[3 - sequenceDim]);
      if (!heads)
        continue;
      HeadAxes axes{batch, head, sequence, indices[3], *heads, *size};
      Value x = getHeads(tensor, xAt, axes, op);
      // Heads may be repeated already; each is rotated once.
      int64_t repeated = 1;
      for (int64_t group = 2; !x && group <= *heads; ++group) {
        if (*heads % group != 0)
          continue;
        axes.head = context.floorDiv(head, context.integer(group));
        axes.heads = *heads / group;
        x = getHeads(tensor, xAt, axes, op);
        repeated = group;
      }
      if (!x)
        continue;
      // A file may rotate in f32 what it has rounded before.
      auto from = cast<RankedTensorType>(x.getType());
      auto to = dyn_cast<FloatType>(getElementTypeOrSelf(result.getType()));
      if (!to || !isa<FloatType>(from.getElementType()))
        continue;
      if (from.getElementTypeBitWidth() < to.getWidth()) {
        Shape xShape = *analysis.getShape(x);
        builder.setInsertionPoint(op);
        x = arith::ExtFOp::create(builder, op.getLoc(), from.clone(to), x);
        analysis.setShape(x, xShape);
      }

      // Angles for every place, or for one half of them.
      auto angleOf = [&](const Product &a, const Product &b) -> Value {
        SmallVector<Expr> one(a.angle->operands.begin(),
                              a.angle->operands.end()),
            two(b.angle->operands.begin(), b.angle->operands.end());
        Value tensor = a.angle->tensor;
        double factor = a.factor;
        if (one.empty())
          return {};
        // The file may have the places before the sequence.
        for (size_t n = 0; n + 1 < one.size(); ++n) {
          if (one.back() != sequence ||
              (!getInteger(context.sub(one[n], e)) &&
               !getInteger(context.sub(one[n], places[0]))))
            continue;
          SmallVector<int64_t> order;
          for (size_t m = 0; m < one.size(); ++m)
            if (m != n)
              order.push_back(m);
          order.push_back(n);
          builder.setInsertionPoint(op);
          tensor = makeNode(
              op, "Transpose", 13, tensor,
              builder.getNamedAttr("perm", builder.getDenseI64ArrayAttr(order)),
              getElementTypeOrSelf(tensor.getType()));
          if (!tensor)
            return {};
          std::rotate(one.begin() + n, one.begin() + n + 1, one.end());
          std::rotate(two.begin() + n, two.begin() + n + 1, two.end());
          break;
        }
        SmallVector<Expr> at = one;
        // At the element's own place, or at its pair's, behind a first column.
        auto startBehind = [&](Expr first, Expr second) -> Expr {
          Expr start = context.sub(one.back(), first);
          return getInteger(start) && context.sub(two.back(), second) == start
                     ? start
                     : nullptr;
        };
        int64_t width = rotated;
        Expr start = startBehind(places[0], places[1]);
        if (!start) {
          width = half;
          start = startBehind(e, e);
        }
        if (start) {
          at.back() = context.add(indices[3], start);
          return makeAngle(tensor, at, batch, sequence, indices[3], width,
                           rotated, interleaved, factor, op);
        }
        return {};
      };
      Product sinOfLow = sinLow;
      sinOfLow.factor = -sinLow.factor;
      Value cos = angleOf(cosLow, cosHigh), sin = angleOf(sinOfLow, sinHigh);
      if (!cos || !sin || cos.getType() != sin.getType())
        continue;
      builder.setInsertionPoint(op);
      Value rope = RopeOp::create(builder, op.getLoc(), x.getType(), x, cos,
                                  sin, interleaved);
      analysis.setShape(rope, *analysis.getShape(x));
      if (repeated > 1)
        rope = repeatHeads(rope, repeated, op);
      if (rope && sequenceDim == 1) {
        // The file rotates batch × sequence × heads × size.
        Value merged = makeMergeHeads(rope, op);
        rope = makeReshape(merged, shape, op);
      }
      if (!rope)
        return false;
      if (rope.getType() != result.getType())
        continue;
      replace(result, rope);
      return true;
    }
  }
  return false;
}

void Raiser::raiseRopes() {
  forEachNode([&](OnnxNodeOp op) {
    if (op->getNumResults() == 1 && !raiseFusedRope(op))
      raiseRope(op);
  });
}
