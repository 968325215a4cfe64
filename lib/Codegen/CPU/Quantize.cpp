//===- Quantize.cpp - int8 activations ------------------------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Rounds rows of activations to int8 as `#miura.compute<i8, f32>` defines it:
/// s = max|x| / 127, q = x / s rounded half to even. The sums of q per block,
/// which zero points need, come with it.
///
//===----------------------------------------------------------------------===//

#include "Schedules.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace miura::codegen;

int64_t miura::codegen::getSumBlock(const PanelLayout &layout,
                                    const PanelLeaf &leaf) {
  return leaf.isScaledByBlock() ? layout.blockColumns : 64;
}

Value miura::codegen::emitRowScale(KernelBuilder &b, Value x, Value m,
                                   Value columns) {
  // Without their sign, floats are ordered as integers are.
  Value zero = b.splatInts(0);
  Value magnitude = b.splatInts(0x7FFFFFFF);
  Value largest =
      b.loop(b.index(0), columns, b.row.lanes(), ValueRange{zero},
             [&](Value k, ValueRange state) -> SmallVector<Value> {
               Value v = b.loadMasked(x, {m, k}, b.mask(b.sub(columns, k)));
               Value bits =
                   arith::AndIOp::create(b, b.bitcast(v, b.ints()), magnitude);
               return {arith::MaxSIOp::create(b, state[0], bits)};
             })[0];
  Value bits =
      vector::ReductionOp::create(b, vector::CombiningKind::MAXSI, largest);
  Value max = arith::BitcastOp::create(b, b.getF32Type(), bits);
  return arith::DivFOp::create(b, max, b.f32(127));
}

void miura::codegen::emitQuantize(KernelBuilder &b, Value x, Value m,
                                  Value columns, Value scale, Value begin,
                                  Value end, const QuantizeTo &to) {
  int64_t lanes = b.row.lanes();
  Value isZero =
      arith::CmpFOp::create(b, arith::CmpFPredicate::OEQ, scale, b.f32(0));
  Value divisor = b.splat(b.select(isZero, b.f32(1), scale));
  Value scales = b.splat(scale);
  // Adding 1.5 · 2^23 leaves the nearest integer, half to even, in the lowest
  // bits.
  constexpr float magic = 12582912.0f;
  Value magics = b.splat(b.f32(magic));
  Value first = b.mul(begin, to.unit), last = b.mul(end, to.unit);
  Value row = b.add(to.offset, b.mul(m, to.stride));
  b.loop(first, last, lanes, [&](Value k) {
    Value v = b.loadMasked(x, {m, k}, b.mask(b.sub(columns, k)));
    v = arith::DivFOp::create(b, v, divisor);
    v = arith::AddFOp::create(b, v, magics);
    Value q = arith::SubIOp::create(b, b.bitcast(v, b.ints()),
                                    b.bitcast(magics, b.ints()));
    Value narrow =
        arith::TruncIOp::create(b, VectorType::get({lanes}, b.getI8Type()), q);
    vector::StoreOp::create(b, narrow, to.memory, ValueRange{b.add(row, k)});
    if (to.rounded) {
      Value whole = arith::SubFOp::create(b, v, magics);
      vector::StoreOp::create(b, arith::MulFOp::create(b, whole, scales),
                              to.rounded, ValueRange{m, k});
    }
  });
  for (const QuantizedRows::Sums &sums : to.sums) {
    int64_t width = sums.sumBlock % lanes == 0 ? lanes : 4;
    auto narrow = VectorType::get({width}, b.getI8Type());
    auto wide = VectorType::get({width}, b.getI32Type());
    Value zero = arith::ConstantOp::create(b, b.getZeroAttr(wide));
    Value base = b.mul(m, sums.perRow);
    b.loop(b.div(first, sums.sumBlock), b.div(last, sums.sumBlock), 1,
           [&](Value block) {
             Value start = b.add(row, b.mul(block, sums.sumBlock));
             Value sum = b.loop(
                 b.index(0), b.index(sums.sumBlock), width, ValueRange{zero},
                 [&](Value i, ValueRange state) -> SmallVector<Value> {
                   Value q = vector::LoadOp::create(b, narrow, to.memory,
                                                    b.add(start, i));
                   return {arith::AddIOp::create(
                       b, state[0], arith::ExtSIOp::create(b, wide, q))};
                 })[0];
             memref::StoreOp::create(b, b.sumLanes(sum), sums.values,
                                     ValueRange{b.add(base, block)});
           });
  }
}
