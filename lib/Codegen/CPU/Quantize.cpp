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
/// Where activations stay f32, a row becomes three rows of digits to the base
/// 256, q = x / s rounded to 24 bits with s = max|x| / (127 · 65536). Integer
/// dots of digits are exact, so what is lost is half a unit of s per element:
/// at most 2^-24 of the row's largest, which is what one rounding of a sum in
/// f32 loses. (Splitting a product into exact ones of short operands: Ozaki et
/// al., Numerical Algorithms 59, 2012.)
///
//===----------------------------------------------------------------------===//

#include "Schedules.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace miura::codegen;

int64_t miura::codegen::getSumBlock(const PanelLayout &layout,
                                    const PanelLeaf &leaf) {
  return leaf.isScaledByBlock() ? layout.blockColumns : 64;
}

Value miura::codegen::emitRowScale(KernelBuilder &b, Value x, Value m,
                                   Value columns, unsigned digits) {
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
  return arith::DivFOp::create(b, max,
                               b.f32(digits == 1 ? 127.0f : 127.0f * 65536));
}

void miura::codegen::emitQuantize(KernelBuilder &b, Value x, Value m,
                                  Value columns, Value scale, Value begin,
                                  Value end, const QuantizeTo &to) {
  int64_t lanes = b.row.lanes();
  Value isZero =
      arith::CmpFOp::create(b, arith::CmpFPredicate::OEQ, scale, b.f32(0));
  Value divisor = b.splat(b.select(isZero, b.f32(1), scale));
  Value scales = b.splat(scale);
  Value first = b.mul(begin, to.unit), last = b.mul(end, to.unit);
  auto rowStart = [&](unsigned digit) {
    Value row = b.add(b.mul(m, to.digits), digit);
    return b.add(to.offset, b.mul(row, to.stride));
  };
  auto narrow = VectorType::get({lanes}, b.getI8Type());
  b.loop(first, last, lanes, [&](Value k) {
    Value v = b.loadMasked(x, {m, k}, b.mask(b.sub(columns, k)));
    v = arith::DivFOp::create(b, v, divisor);
    Value whole =
        LLVM::CallIntrinsicOp::create(
            b, b.floats(),
            b.getStringAttr("llvm.roundeven.v" + std::to_string(lanes) + "f32"),
            ValueRange{v})
            .getResult(0);
    Value q = arith::FPToSIOp::create(b, b.ints(), whole);
    // From the lowest digit, each in −128 … 127, to the highest.
    for (unsigned digit = to.digits; digit-- > 0;) {
      Value byte = arith::TruncIOp::create(b, narrow, q);
      vector::StoreOp::create(b, byte, to.memory,
                              ValueRange{b.add(rowStart(digit), k)});
      if (digit == 0)
        break;
      Value low = arith::ExtSIOp::create(b, b.ints(), byte);
      q = arith::ShRSIOp::create(b, arith::SubIOp::create(b, q, low),
                                 b.splatInts(8));
    }
    if (to.rounded)
      vector::StoreOp::create(b, arith::MulFOp::create(b, whole, scales),
                              to.rounded, ValueRange{m, k});
  });
  for (const QuantizedRows::Sums &sums : to.sums)
    for (unsigned digit = 0; digit < to.digits; ++digit) {
      int64_t width = sums.sumBlock % lanes == 0 ? lanes : 4;
      auto bytes = VectorType::get({width}, b.getI8Type());
      auto wide = VectorType::get({width}, b.getI32Type());
      Value zero = arith::ConstantOp::create(b, b.getZeroAttr(wide));
      Value row = rowStart(digit);
      Value base = b.mul(b.add(b.mul(m, to.digits), digit), sums.perRow);
      b.loop(b.div(first, sums.sumBlock), b.div(last, sums.sumBlock), 1,
             [&](Value block) {
               Value start = b.add(row, b.mul(block, sums.sumBlock));
               Value sum = b.loop(
                   b.index(0), b.index(sums.sumBlock), width, ValueRange{zero},
                   [&](Value i, ValueRange state) -> SmallVector<Value> {
                     Value q = vector::LoadOp::create(b, bytes, to.memory,
                                                      b.add(start, i));
                     return {arith::AddIOp::create(
                         b, state[0], arith::ExtSIOp::create(b, wide, q))};
                   })[0];
               memref::StoreOp::create(b, b.sumLanes(sum), sums.values,
                                       ValueRange{b.add(base, block)});
             });
    }
}
