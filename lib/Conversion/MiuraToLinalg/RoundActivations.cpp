//===- RoundActivations.cpp - int8 activations as numbers -----------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The numbers that int8 activations stand for, in linalg, and the pass
/// miura-round-activations, which takes the rounding out of linears whose
/// kernels do not do it: those with a scale per block of a row.
///
//===----------------------------------------------------------------------===//

#include "miura/Conversion/LinalgBuilder/LinalgBuilder.h"
#include "miura/Conversion/MiuraToLinalg/Passes.h"
#include "miura/Dialect/Miura/IR/MiuraDialect.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

namespace miura {
#define GEN_PASS_DEF_ROUNDACTIVATIONSPASS
#include "miura/Conversion/MiuraToLinalg/Passes.h.inc"
} // namespace miura

using namespace mlir;
using namespace miura;

/// The values that int8 activations stand for: code · scale, one scale per row
/// or per `block` columns of a row, codes rounded half to even.
Value miura::roundActivations(LinalgBuilder &b, Value x, int64_t block) {
  Type f32 = b.getF32Type();
  int64_t rank = b.rank(x);
  SmallVector<Value> sizes = b.dims(x);
  Value columns = sizes.back();
  // Rows of scales: the leading dimensions and the number of blocks.
  SmallVector<Value> scaleSizes(sizes);
  scaleSizes.back() =
      block == 0 ? b.index(1)
                 : b.createOrFold<arith::CeilDivUIOp>(columns, b.index(block));
  Value blockSize = block == 0 ? columns : b.index(block);
  // The largest magnitude of each block: loops (leading…, block, column of the
  // block); what is beyond the last column counts as zero.
  SmallVector<Value> within(scaleSizes);
  within.push_back(blockSize);
  Value magnitudes =
      b.generate(f32, within, [&](LinalgBuilder &b, ValueRange i) -> Value {
        Value column = b.addIndex(b.mulIndex(i[rank - 1], blockSize), i[rank]);
        Value inside = arith::CmpIOp::create(b, arith::CmpIPredicate::ult,
                                             column, columns);
        Value clamped = arith::SelectOp::create(b, inside, column, b.index(0));
        SmallVector<Value> at(i.take_front(rank - 1));
        at.push_back(clamped);
        Value value = b.convert(b.extract(x, at), f32);
        Value magnitude = math::AbsFOp::create(b, value);
        return arith::SelectOp::create(b, inside, magnitude,
                                       b.constant(f32, 0));
      });
  Value largest = b.reduceLast(
      b.constant(f32, 0), magnitudes,
      [](LinalgBuilder &b, ValueRange v) { return b.max(v[0], v[1]); });
  return b.generate(f32, sizes, [&](LinalgBuilder &b, ValueRange i) -> Value {
    SmallVector<Value> at(i.begin(), i.end());
    Value value = b.convert(b.extract(x, at), f32);
    at.back() = block == 0
                    ? b.index(0)
                    : b.createOrFold<arith::DivUIOp>(at.back(), b.index(block));
    Value zero = b.constant(f32, 0);
    Value scale = b.div(b.extract(largest, at), b.constant(f32, 127));
    Value isZero =
        arith::CmpFOp::create(b, arith::CmpFPredicate::OEQ, scale, zero);
    Value code = math::RoundEvenOp::create(b, b.div(value, scale));
    code = b.min(b.max(code, b.constant(f32, -127)), b.constant(f32, 127));
    return arith::SelectOp::create(b, isZero, zero, b.mul(code, scale));
  });
}

Value miura::roundToCodes(LinalgBuilder &b, Value value,
                          RoundingAttr rounding) {
  Type f32 = b.getF32Type();
  Value scale = b.constant(f32, rounding.getScale().getValueAsDouble());
  Value zero = b.constant(f32, rounding.getZero());
  Value code = math::RoundEvenOp::create(b, b.div(value, scale));
  code = b.add(code, zero);
  code = b.min(b.max(code, b.constant(f32, rounding.getLeast())),
               b.constant(f32, rounding.getGreatest()));
  return b.mul(b.sub(code, zero), scale);
}

namespace {
struct RoundActivationsPass
    : miura::impl::RoundActivationsPassBase<RoundActivationsPass> {
  void runOnOperation() override {
    // Linears of one input share its rounding.
    DenseMap<std::pair<Value, int64_t>, Value> rounded;
    getOperation().walk([&](LinearOp op) {
      ComputeAttr compute = op.getCompute();
      int64_t block = compute.getBlock();
      if (!compute.getActivation().isInteger(8) || block == 0)
        return;
      Value &x = rounded[{op.getInput(), block}];
      OpBuilder builder(op);
      if (!x) {
        // Behind the input, so that it stands before all that use it.
        builder.setInsertionPointAfterValue(op.getInput());
        LinalgBuilder b(op.getLoc(), builder);
        x = b.as(roundActivations(b, op.getInput(), block),
                 RankedTensorType::get(op.getInput().getType().getShape(),
                                       b.getF32Type()));
      }
      op.getInputMutable().assign(x);
      op.setComputeAttr(ComputeAttr::get(op.getContext(), builder.getF32Type(),
                                         compute.getAccumulator(), 0));
    });
  }
};
} // namespace
