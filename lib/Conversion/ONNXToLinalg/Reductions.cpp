//===- Reductions.cpp - Operators that reduce dimensions ------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Reduce*, ArgMax and ArgMin, CumSum, TopK. Sums of f16 and bf16 are in f32.
///
//===----------------------------------------------------------------------===//

#include "Node.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace miura;
using namespace miura::onnxlower;

namespace {

using B = LinalgBuilder;

enum class Kind { Sum, Mean, Max, Min, Prod, L1, L2, SumSquare, LogSumExp };

template <Kind kind> Results reduce(Node &n) {
  Value x = n[0];
  int64_t rank = n.rank(x);
  auto axes = n.axes("axes", 1, rank);
  if (failed(axes))
    return failure();
  bool keep = n.getInt("keepdims", 1);
  SmallVector<int64_t> reduced;
  if (*axes)
    reduced = **axes;
  if (reduced.empty()) {
    if (n.getInt("noop_with_empty_axes", 0))
      return {{x}};
    for (int64_t d = 0; d < rank; ++d)
      reduced.push_back(d);
  }
  llvm::sort(reduced);
  Type element = n.element(x), wide = n.sumType(element);
  // Of conditions, true is the larger one.
  bool isUnsigned = n.isUnsigned(0) || element.isInteger(1);
  double start = 0;
  if (kind == Kind::Prod)
    start = 1;
  Value init = n.constant(wide, start);
  if (kind == Kind::Max || kind == Kind::Min) {
    bool largest = kind == Kind::Max;
    if (isa<FloatType>(wide)) {
      init = n.constant(wide, largest ? -INFINITY : INFINITY);
    } else {
      unsigned width = wide.getIntOrFloatBitWidth();
      APInt limit = isUnsigned ? (largest ? APInt::getMinValue(width)
                                          : APInt::getMaxValue(width))
                               : (largest ? APInt::getSignedMinValue(width)
                                          : APInt::getSignedMaxValue(width));
      init = arith::ConstantOp::create(n, n.getIntegerAttr(wide, limit));
    }
  }
  Value shift;
  if (kind == Kind::LogSumExp)
    shift = n.reduceAxes(
        x, reduced, /*keep=*/true, n.constant(wide, -INFINITY),
        [&](B &b, ValueRange v) { return b.max(v[1], b.convert(v[0], wide)); });
  if (shift) {
    x = n.broadcastInside(wide, {x, shift}, [&](B &b, ValueRange v) -> Value {
      return math::ExpOp::create(b, b.sub(b.convert(v[0], wide), v[1]));
    });
  }
  Value result =
      n.reduceAxes(x, reduced, keep, init, [&](B &b, ValueRange v) -> Value {
        Value value = b.convert(v[0], wide, isUnsigned, isUnsigned);
        switch (kind) {
        case Kind::Max:
          return b.max(v[1], value, isUnsigned);
        case Kind::Min:
          return b.min(v[1], value, isUnsigned);
        case Kind::Prod:
          return b.mul(v[1], value);
        case Kind::L1:
          return b.add(v[1], isa<FloatType>(wide)
                                 ? Value(math::AbsFOp::create(b, value))
                                 : Value(math::AbsIOp::create(b, value)));
        case Kind::L2:
        case Kind::SumSquare:
          return b.add(v[1], b.mul(value, value));
        default:
          return b.add(v[1], value);
        }
      });
  Value count;
  if (kind == Kind::Mean) {
    count = n.index(1);
    for (int64_t d : reduced)
      count = n.mulIndex(count, n.dim(n[0], d));
    count = n.convert(count, wide);
  }
  if (shift && !keep)
    shift = n.squeeze(shift, reduced);
  bool plain = wide == element && kind != Kind::Mean && kind != Kind::L2 &&
               kind != Kind::LogSumExp;
  if (plain)
    return {{result}};
  SmallVector<Value> inputs{result};
  if (shift)
    inputs.push_back(shift);
  return {{n.elementwise(element, inputs, [&](B &b, ValueRange v) {
    Value value = v[0];
    if (count)
      value = b.div(value, count, isUnsigned);
    if (kind == Kind::L2)
      value = math::SqrtOp::create(b, value);
    if (kind == Kind::LogSumExp)
      value = b.add(math::LogOp::create(b, value), v[1]);
    return b.convert(value, element, isUnsigned, isUnsigned);
  })}};
}

/// scf.for from 0 to `count` that carries `init`.
SmallVector<Value>
sequential(B &b, Value count, ValueRange init,
           function_ref<SmallVector<Value>(B &, Value, ValueRange)> body) {
  auto loop = scf::ForOp::create(
      b, b.index(0), count, b.index(1), init,
      [&](OpBuilder &nested, Location loc, Value i, ValueRange carried) {
        B inner(loc, nested);
        scf::YieldOp::create(inner, body(inner, i, carried));
      });
  return SmallVector<Value>(loop.getResults());
}

/// Whether `a` comes before `b`: larger (or smaller), NaN first.
Value comesBefore(B &b, Value x, Value y, bool largest, bool isUnsigned) {
  if (isa<FloatType>(x.getType()))
    return arith::CmpFOp::create(
        b, largest ? arith::CmpFPredicate::OGT : arith::CmpFPredicate::OLT, x,
        y);
  auto predicate = largest ? (isUnsigned ? arith::CmpIPredicate::ugt
                                         : arith::CmpIPredicate::sgt)
                           : (isUnsigned ? arith::CmpIPredicate::ult
                                         : arith::CmpIPredicate::slt);
  return arith::CmpIOp::create(b, predicate, x, y);
}

template <bool largest> Results argExtreme(Node &n) {
  Value x = n[0];
  auto axis = n.axis("axis", 0, n.rank(x));
  if (failed(axis))
    return failure();
  bool keep = n.getInt("keepdims", 1), last = n.getInt("select_last_index", 0);
  SmallVector<Value> sizes;
  for (int64_t d = 0; d < n.rank(x); ++d)
    if (d != *axis)
      sizes.push_back(n.dim(x, d));
  Value count = n.dim(x, *axis);
  Value result = n.generate(n.resultElement(), sizes, [&](B &b, ValueRange at) {
    auto read = [&](B &b, Value i) {
      SmallVector<Value> full(at.begin(), at.end());
      full.insert(full.begin() + *axis, i);
      return b.extract(x, full);
    };
    Value first = b.index(0);
    SmallVector<Value> best = sequential(
        b, count, {first, read(b, first)},
        [&](B &b, Value i, ValueRange carried) -> SmallVector<Value> {
          Value value = read(b, i);
          Value better =
              comesBefore(b, value, carried[1], largest, n.isUnsigned(0));
          if (last) {
            Value worse =
                comesBefore(b, carried[1], value, largest, n.isUnsigned(0));
            better = b.createOrFold<arith::XOrIOp>(
                worse, b.constant(b.getI1Type(), 1));
          }
          return {arith::SelectOp::create(b, better, i, carried[0]),
                  arith::SelectOp::create(b, better, value, carried[1])};
        });
    return b.convert(best[0], n.resultElement());
  });
  return {{keep ? n.unsqueeze(result, {*axis}) : result}};
}

/// result[…, i, …] = Σ x[…, j, …] over j ≤ i (< i where exclusive; from the
/// end where reverse).
Results cumSum(Node &n) {
  Value x = n[0];
  auto constant = n.constantInts(1);
  if (!constant || constant->size() != 1)
    return n.error() << "has an axis that is not a constant";
  int64_t axis = (*constant)[0];
  axis = axis < 0 ? axis + n.rank(x) : axis;
  if (axis < 0 || axis >= n.rank(x))
    return n.error() << "has an axis outside of rank " << n.rank(x);
  bool exclusive = n.getInt("exclusive", 0), reverse = n.getInt("reverse", 0);
  Type element = n.element(x), wide = n.sumType(element);
  Value size = n.dim(x, axis);
  return {{n.generate(element, n.dims(x), [&](B &b, ValueRange at) {
    Value place = at[axis], one = b.index(1);
    if (reverse)
      place = b.subIndex(b.subIndex(size, one), place);
    Value count = exclusive ? place : b.addIndex(place, one);
    SmallVector<Value> sum = sequential(
        b, count, {b.constant(wide, 0)},
        [&](B &b, Value i, ValueRange carried) -> SmallVector<Value> {
          SmallVector<Value> full(at.begin(), at.end());
          full[axis] =
              reverse ? b.subIndex(b.subIndex(size, b.index(1)), i) : i;
          return {b.add(carried[0], b.convert(b.extract(x, full), wide))};
        });
    return b.convert(sum[0], element);
  })}};
}

/// The i-th result is the element that i others come before; equal ones are
/// ordered by index. Quadratic: lists of experts are short.
Results topK(Node &n) {
  Value x = n[0];
  int64_t rank = n.rank(x);
  auto axis = n.axis("axis", -1, rank);
  if (failed(axis))
    return failure();
  bool largest = n.getInt("largest", 1), isUnsigned = n.isUnsigned(0);
  SmallVector<Value> sizes = n.dims(x);
  Value count = sizes[*axis];
  sizes[*axis] = n.toIndex(n.scalar(n[1]));
  sizes = n.refine(sizes);
  Value places =
      n.generate(n.getI64Type(), sizes, [&](B &b, ValueRange at) -> Value {
        auto read = [&](B &b, Value i) {
          SmallVector<Value> full(at.begin(), at.end());
          full[*axis] = i;
          return b.extract(x, full);
        };
        Value zero = b.index(0), wanted = at[*axis];
        SmallVector<Value> found = sequential(
            b, count, {zero},
            [&](B &b, Value i, ValueRange carried) -> SmallVector<Value> {
              Value mine = read(b, i);
              SmallVector<Value> before = sequential(
                  b, count, {b.index(0)},
                  [&](B &b, Value j, ValueRange c) -> SmallVector<Value> {
                    Value other = read(b, j);
                    Value ahead =
                        comesBefore(b, other, mine, largest, isUnsigned);
                    Value behind =
                        comesBefore(b, mine, other, largest, isUnsigned);
                    Value earlier = arith::CmpIOp::create(
                        b, arith::CmpIPredicate::ult, j, i);
                    Value tie = arith::SelectOp::create(
                        b, behind, b.constant(b.getI1Type(), 0), earlier);
                    Value counts = b.createOrFold<arith::OrIOp>(ahead, tie);
                    return {arith::SelectOp::create(
                        b, counts, b.addIndex(c[0], b.index(1)), c[0])};
                  });
              Value hit = arith::CmpIOp::create(b, arith::CmpIPredicate::eq,
                                                before[0], wanted);
              return {arith::SelectOp::create(b, hit, i, carried[0])};
            });
        return b.convert(found[0], b.getI64Type());
      });
  Value values = n.generate(n.element(x), sizes, [&](B &b, ValueRange at) {
    SmallVector<Value> full(at.begin(), at.end());
    full[*axis] = b.toIndex(b.extract(places, at));
    return b.extract(x, full);
  });
  return {{values, places}};
}

} // namespace

void miura::onnxlower::addReductions(Table &t) {
  t["ReduceSum"] = reduce<Kind::Sum>;
  t["ReduceMean"] = reduce<Kind::Mean>;
  t["ReduceMax"] = reduce<Kind::Max>;
  t["ReduceMin"] = reduce<Kind::Min>;
  t["ReduceProd"] = reduce<Kind::Prod>;
  t["ReduceL1"] = reduce<Kind::L1>;
  t["ReduceL2"] = reduce<Kind::L2>;
  t["ReduceSumSquare"] = reduce<Kind::SumSquare>;
  t["ReduceLogSumExp"] = reduce<Kind::LogSumExp>;
  t["ArgMax"] = argExtreme<true>;
  t["ArgMin"] = argExtreme<false>;
  t["CumSum"] = cumSum;
  t["TopK"] = topK;
}
