//===- ExpandUnknownSizes.cpp - Views of several unknown sizes ------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The pass miura-expand-unknown-sizes, which the oracle and compiled steps
/// share: the op says all its sizes, from which the strides follow.
///
//===----------------------------------------------------------------------===//

#include "miura/Conversion/MiuraToLinalg/Passes.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"

namespace miura {
#define GEN_PASS_DEF_EXPANDUNKNOWNSIZESPASS
#include "miura/Conversion/MiuraToLinalg/Passes.h.inc"
} // namespace miura

using namespace mlir;

static void expandUnknownSizes(ModuleOp module) {
  SmallVector<memref::ExpandShapeOp> ops;
  module.walk([&](memref::ExpandShapeOp op) {
    auto type = cast<MemRefType>(op.getType());
    if (!cast<MemRefType>(op.getSrc().getType()).getLayout().isIdentity() ||
        !type.getLayout().isIdentity())
      return;
    for (const ReassociationIndices &run : op.getReassociationIndices())
      if (llvm::count_if(run, [&](int64_t d) { return type.isDynamicDim(d); }) >
          1) {
        ops.push_back(op);
        return;
      }
  });
  for (memref::ExpandShapeOp op : ops) {
    OpBuilder b(op);
    Location loc = op.getLoc();
    SmallVector<OpFoldResult> sizes = op.getMixedOutputShape();
    SmallVector<OpFoldResult> strides(sizes.size());
    OpFoldResult stride = b.getIndexAttr(1);
    for (size_t d = sizes.size(); d-- > 0;) {
      strides[d] = stride;
      auto size = dyn_cast<Attribute>(sizes[d]);
      auto before = dyn_cast<Attribute>(stride);
      if (size && before)
        stride = b.getIndexAttr(cast<IntegerAttr>(size).getInt() *
                                cast<IntegerAttr>(before).getInt());
      else
        stride = arith::MulIOp::create(
                     b, loc, getValueOrCreateConstantIndexOp(b, loc, stride),
                     getValueOrCreateConstantIndexOp(b, loc, sizes[d]))
                     .getResult();
    }
    Value view = memref::ReinterpretCastOp::create(
        b, loc, op.getSrc(), b.getIndexAttr(0), sizes, strides);
    op.replaceAllUsesWith(
        memref::CastOp::create(b, loc, op.getType(), view).getResult());
    op.erase();
  }
}

namespace {
struct ExpandUnknownSizes
    : public miura::impl::ExpandUnknownSizesPassBase<ExpandUnknownSizes> {
  void runOnOperation() override { expandUnknownSizes(getOperation()); }
};
} // namespace
