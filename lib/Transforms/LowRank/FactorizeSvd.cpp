//===- FactorizeSvd.cpp - Weights as products of thin factors -------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Replaces the value of a weight's expression by its best product of low rank.
/// A whole matrix in f32 is held per thread: the decomposition needs it.
///
//===----------------------------------------------------------------------===//

#include "Factorize.h"
#include "miura/Transforms/LowRank/Passes.h"
#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;
using namespace miura;
using namespace miura::compress;

namespace miura {
#define GEN_PASS_DEF_FACTORIZESVDPASS
#include "miura/Transforms/LowRank/Passes.h.inc"
} // namespace miura

namespace {
struct FactorizeSvd : miura::impl::FactorizeSvdPassBase<FactorizeSvd> {
  using FactorizeSvdPassBase::FactorizeSvdPassBase;

  void runOnOperation() override {
    FactorOptions options;
    options.rank = rank;
    options.energy = energy;
    options.bytes = bytes;
    options.type = type;
    LossyRewrite rewrite;
    rewrite.pass = "miura-factorize-svd";
    rewrite.verb = "factorize";
    rewrite.include = include;
    rewrite.exclude = exclude;
    if (failed(rewriteByFactors(getOperation(), rewrite, options, compute)))
      signalPassFailure();
  }

  static llvm::Expected<LayerResult> compute(Layer &layer, FileStore &files,
                                             const FactorOptions &options) {
    auto values = readNumbers(layer.tree);
    if (!values)
      return values.takeError();
    LayerFactors result = factorizeMatrix(layer, *values, options);
    if (!result.kept.empty())
      return LayerResult::keep(result.kept);
    auto product = planProduct(layer, result.factors, options.type, files);
    if (!product)
      return product.takeError();
    return LayerResult{std::move(*product), ""};
  }
};
} // namespace
