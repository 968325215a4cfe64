//===- Norm.cpp - RMSNorm and LayerNorm as IR -----------------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// A row belongs to one thread, so that its sums have one order. One row (a
/// decode step) leaves the other threads idle: it is read from the L1 cache in
/// less time than a barrier takes. LayerNorm takes the mean away before it
/// squares, in a second pass, so that nothing cancels.
///
//===----------------------------------------------------------------------===//

#include "RowBuilder.h"
#include "miura/Codegen/CPU/RowKernels.h"
#include "mlir/Dialect/Math/IR/Math.h"

using namespace mlir;
using namespace miura::codegen;

/// 1 / the columns of x, as f32.
static Value invert(RowBuilder &b, Value columns) {
  Value count = arith::IndexCastOp::create(b, b.getI64Type(), columns);
  return b.divf(b.f32(1.0f), arith::SIToFPOp::create(b, b.getF32Type(), count));
}

/// 1 / sqrt(x + epsilon)
static Value inverseRoot(RowBuilder &b, Value x, double epsilon) {
  Value sum = b.addf(x, b.f32(static_cast<float>(epsilon)));
  return b.divf(b.f32(1.0f), math::SqrtOp::create(b, sum));
}

/// The sum of `term(i, mask, sum so far)` over a row. Four partial sums, or the
/// latency of an addition shows.
static Value sumRow(RowBuilder &b, Value columns,
                    llvm::function_ref<Value(Value, Value, Value)> term) {
  constexpr int64_t sets = 4;
  int64_t lanes = b.row.lanes(), block = sets * lanes;
  Value whole = b.mul(b.div(columns, block), block);
  SmallVector<Value> sums(sets, b.zeroFloats());
  sums = b.loop(b.index(0), whole, block, sums, [&](Value i, ValueRange state) {
    SmallVector<Value> next;
    for (int64_t s = 0; s < sets; ++s)
      next.push_back(term(b.add(i, s * lanes), Value(), state[s]));
    return next;
  });
  Value sum = b.addf(b.addf(sums[0], sums[1]), b.addf(sums[2], sums[3]));
  sum = b.columns(whole, columns, sum,
                  [&](Value i, Value mask, ValueRange state) {
                    return SmallVector<Value>{term(i, mask, state[0])};
                  })[0];
  return b.sumLanes(sum);
}

void miura::codegen::emitRmsNormKernel(func::FuncOp func, const IsaRow &row,
                                       double epsilon) {
  OpBuilder inner(func.getContext());
  RowBuilder b(func, inner, row);
  Value x = b.arg(0), scale = b.arg(1), out = b.arg(2);
  Value columns = b.dim(x, 1);
  Value inverse = invert(b, columns);
  auto [begin, end] = b.part(b.dim(x, 0));
  b.loop(begin, end, 1, [&](Value r) {
    Value sum = sumRow(b, columns, [&](Value i, Value mask, Value s) {
      Value v = b.loadLanes(x, {r, i}, mask);
      return b.fma(v, v, s);
    });
    Value factor = b.splat(inverseRoot(b, b.mulf(sum, inverse), epsilon));
    b.columns(b.index(0), columns, [&](Value i, Value mask) {
      Value v = b.mulf(b.loadLanes(x, {r, i}, mask), factor);
      b.storeLanes(b.mulf(v, b.loadLanes(scale, {i}, mask)), out, {r, i}, mask);
    });
  });
}

void miura::codegen::emitLayerNormKernel(func::FuncOp func, const IsaRow &row,
                                         double epsilon, bool hasBias) {
  OpBuilder inner(func.getContext());
  RowBuilder b(func, inner, row);
  Value x = b.arg(0), scale = b.arg(1), bias = hasBias ? b.arg(2) : Value(),
        out = b.arg(hasBias ? 3 : 2);
  Value columns = b.dim(x, 1);
  Value inverse = invert(b, columns);
  auto [begin, end] = b.part(b.dim(x, 0));
  b.loop(begin, end, 1, [&](Value r) {
    Value sum = sumRow(b, columns, [&](Value i, Value mask, Value s) {
      return b.addf(s, b.loadLanes(x, {r, i}, mask));
    });
    Value mean = b.splat(b.mulf(sum, inverse));
    Value squares = sumRow(b, columns, [&](Value i, Value mask, Value s) {
      Value v = b.subf(b.loadLanes(x, {r, i}, mask), mean);
      // Lanes behind the row hold −mean.
      if (mask)
        v = arith::SelectOp::create(b, mask, v, b.zeroFloats());
      return b.fma(v, v, s);
    });
    Value factor = b.splat(inverseRoot(b, b.mulf(squares, inverse), epsilon));
    b.columns(b.index(0), columns, [&](Value i, Value mask) {
      Value v = b.mulf(b.subf(b.loadLanes(x, {r, i}, mask), mean), factor);
      v = b.mulf(v, b.loadLanes(scale, {i}, mask));
      if (bias)
        v = b.addf(v, b.loadLanes(bias, {i}, mask));
      b.storeLanes(v, out, {r, i}, mask);
    });
  });
}
