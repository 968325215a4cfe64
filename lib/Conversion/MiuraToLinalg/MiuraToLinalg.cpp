//===- MiuraToLinalg.cpp - The reference lowering of model ops ------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The pass miura-to-linalg: runs the patterns of this folder to completion.
///
//===----------------------------------------------------------------------===//

#include "miura/Conversion/LinalgBuilder/LinalgBuilder.h"
#include "miura/Conversion/MiuraToLinalg/Passes.h"
#include "miura/Dialect/Miura/IR/MiuraDialect.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

namespace miura {
#define GEN_PASS_DEF_MIURATOLINALGPASS
#include "miura/Conversion/MiuraToLinalg/Passes.h.inc"
} // namespace miura

using namespace mlir;
using namespace miura;

namespace {
struct MiuraToLinalgPass
    : miura::impl::MiuraToLinalgPassBase<MiuraToLinalgPass> {
  void runOnOperation() override {
    PlainTensorConverter converter;
    ConversionTarget target(getContext());
    RewritePatternSet patterns(&getContext());
    populatePlainTensorPatterns(converter, target, patterns);
    populateMiuraModelToLinalgPatterns(converter, patterns);
    populateMiuraSessionToLinalgPatterns(converter, patterns);
    target.addIllegalOp<LinearOp, ExpertLinearOp, EmbeddingOp, TakeRowsOp,
                        PositionsOp, LinearBiasOp, TakeNewOp, RmsNormOp,
                        LayerNormOp, SplitHeadsOp, MergeHeadsOp, RopeOp,
                        AttentionOp, SiluOp, GeluOp, FakeQuantizeOp, SoftmaxOp,
                        CacheAppendOp, CachedAttentionOp, TakeLastOp>();
    // What a kernel computes is emitted by code generation.
    target.addLegalOp<KernelOp>();
    target.markOpRecursivelyLegal<KernelOp>();
    if (failed(applyPartialConversion(getOperation(), target,
                                      std::move(patterns))))
      signalPassFailure();
  }
};
} // namespace
