//===- Recurrent.cpp - LSTM -----------------------------------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The LSTM of the ONNX operator specification with its default activations:
/// gates in the order input, output, forget, cell; one loop over time per
/// direction.
///
//===----------------------------------------------------------------------===//

#include "Node.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace miura;
using namespace miura::onnxlower;

namespace {

using B = LinalgBuilder;

/// x [rows, inner] · w[direction] ᵀ for w [directions, columns, inner].
Value multiply(B &b, Value x, Value w, Value direction) {
  Type element = b.element(x);
  SmallVector<Value> sizes{b.dim(w, 1), b.dim(w, 2)};
  Value own = b.generate(element, sizes, [&](B &b, ValueRange at) {
    return b.extract(w, {direction, at[0], at[1]});
  });
  MLIRContext *context = b.getContext();
  auto dim = [&](int64_t d) { return b.getAffineDimExpr(d); };
  return b.reduce(
      b.constant(element, 0), {b.dim(x, 0), sizes[0]}, {sizes[1]}, {x, own},
      {AffineMap::get(3, 0, {dim(0), dim(2)}, context),
       AffineMap::get(3, 0, {dim(1), dim(2)}, context)},
      [](B &b, ValueRange v) { return b.multiplyAdd(v[0], v[1], v[2]); });
}

Results lstm(Node &n) {
  enum { X, W, R, Bias, Lengths, Hidden, Cell, Peepholes };
  if (n.hasAttr("activations") || n.hasAttr("clip") ||
      n.getInt("input_forget", 0) || n.getInt("layout", 0) || n.has(Lengths) ||
      n.has(Peepholes))
    return n.error() << "has activations, a clip, coupled gates, a layout, "
                        "lengths or peepholes, which are not lowered";
  Type element = n.element(n[X]);
  if (!element.isF32() && !element.isF64())
    return n.error() << "computes with " << element << ", which is not lowered";
  StringRef way = n.getString("direction", "forward");
  int64_t directions = way == "bidirectional" ? 2 : 1;
  Value steps = n.dim(n[X], 0), batch = n.dim(n[X], 1), width = n.dim(n[X], 2),
        size = n.dim(n[R], 2), zero = n.index(0), one = n.index(1);
  auto state = [&](size_t operand, Value direction) {
    return n.generate(element, {batch, size}, [&](B &b, ValueRange at) {
      return n.has(operand) ? b.extract(n[operand], {direction, at[0], at[1]})
                            : b.constant(element, 0);
    });
  };
  Value y = n.empty(element, {steps, n.index(directions), batch, size});
  SmallVector<Value> lastHidden, lastCell;
  for (int64_t d = 0; d < directions; ++d) {
    Value direction = n.index(d);
    bool backward = way == "reverse" || d == 1;
    auto turns = scf::ForOp::create(
        n, zero, steps, one,
        ValueRange{y, state(Hidden, direction), state(Cell, direction)},
        [&](OpBuilder &nested, Location loc, Value turn, ValueRange carried) {
          B b(loc, nested);
          Value time =
              backward ? b.subIndex(b.subIndex(steps, turn), one) : turn;
          Value x =
              b.generate(element, {batch, width}, [&](B &b, ValueRange at) {
                return b.extract(n[X], {time, at[0], at[1]});
              });
          Value fromInput = multiply(b, x, n[W], direction),
                fromState = multiply(b, carried[1], n[R], direction);
          auto gate = [&](B &b, ValueRange at, int64_t which) -> Value {
            Value place = b.addIndex(b.mulIndex(size, b.index(which)), at[1]);
            Value sum = b.add(b.extract(fromInput, {at[0], place}),
                              b.extract(fromState, {at[0], place}));
            if (!n.has(Bias))
              return sum;
            Value behind = b.addIndex(place, b.mulIndex(size, b.index(4)));
            return b.add(sum, b.add(b.extract(n[Bias], {direction, place}),
                                    b.extract(n[Bias], {direction, behind})));
          };
          SmallVector<Value> sizes{batch, size};
          Value cell = b.generate(element, sizes, [&](B &b, ValueRange at) {
            Value kept =
                b.mul(b.sigmoid(gate(b, at, 2)), b.extract(carried[2], at));
            Value fresh = math::TanhOp::create(b, gate(b, at, 3));
            return b.add(kept, b.mul(b.sigmoid(gate(b, at, 0)), fresh));
          });
          Value hidden = b.generate(element, sizes, [&](B &b, ValueRange at) {
            Value open = b.sigmoid(gate(b, at, 1));
            return b.mul(open, math::TanhOp::create(b, b.extract(cell, at)));
          });
          SmallVector<OpFoldResult> offsets{
              time, b.getIndexAttr(d), b.getIndexAttr(0), b.getIndexAttr(0)};
          SmallVector<OpFoldResult> extents{b.getIndexAttr(1),
                                            b.getIndexAttr(1)};
          llvm::append_range(extents, getAsOpFoldResult(sizes));
          SmallVector<OpFoldResult> strides(4, b.getIndexAttr(1));
          Value all = tensor::InsertSliceOp::create(b, hidden, carried[0],
                                                    offsets, extents, strides);
          scf::YieldOp::create(b, ValueRange{all,
                                             b.as(hidden, carried[1].getType()),
                                             b.as(cell, carried[2].getType())});
        });
    y = turns.getResult(0);
    lastHidden.push_back(turns.getResult(1));
    lastCell.push_back(turns.getResult(2));
  }
  auto stacked = [&](ArrayRef<Value> states) {
    return n.generate(element, {n.index(directions), batch, size},
                      [&](B &b, ValueRange at) -> Value {
                        ValueRange place = at.drop_front();
                        Value first = b.extract(states.front(), place);
                        if (states.size() == 1)
                          return first;
                        Value isFirst = b.createOrFold<arith::CmpIOp>(
                            arith::CmpIPredicate::eq, at[0], b.index(0));
                        return arith::SelectOp::create(
                            b, isFirst, first, b.extract(states.back(), place));
                      });
  };
  return {{y, stacked(lastHidden), stacked(lastCell)}};
}

} // namespace

void miura::onnxlower::addRecurrent(Table &t) { t["LSTM"] = lstm; }
