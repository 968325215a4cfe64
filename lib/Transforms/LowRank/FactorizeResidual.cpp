//===- FactorizeResidual.cpp - Low rank of what a tree misses -------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Adds the best product of low rank of the original less the tree's value. A
/// product that does not lower the error as stored is dropped, so the certified
/// error never rises.
///
//===----------------------------------------------------------------------===//

#include "Factorize.h"
#include "miura/Transforms/Certificates/Certify.h"
#include "miura/Transforms/LowRank/Passes.h"
#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;
using namespace miura;
using namespace miura::compress;

namespace miura {
#define GEN_PASS_DEF_FACTORIZERESIDUALPASS
#include "miura/Transforms/LowRank/Passes.h.inc"
} // namespace miura

/// W − Ŵ, by slices.
static llvm::Expected<std::vector<float>> getResidual(Layer &layer) {
  WeightDataOp original = getOriginal(layer.root);
  if (!original)
    return llvm::createStringError("its original cannot be found");
  std::vector<float> residual;
  residual.reserve(layer.type.getNumElements());
  if (llvm::Error error = forEachSlice(
          layer.tree,
          [&](int64_t first, const HostTensor &slice) -> llvm::Error {
            auto exact = readWeightRows(original, layer.transposed, first,
                                        slice.getShape()[0]);
            if (failed(exact))
              return llvm::createStringError("its original cannot be read");
            for (auto [w, value] : llvm::zip_equal(exact->floats, slice.floats))
              residual.push_back(w - value);
            return llvm::Error::success();
          }))
    return error;
  return residual;
}

namespace {
struct FactorizeResidual
    : miura::impl::FactorizeResidualPassBase<FactorizeResidual> {
  using FactorizeResidualPassBase::FactorizeResidualPassBase;

  void runOnOperation() override {
    FactorOptions options;
    options.rank = rank;
    options.energy = energy;
    options.bytes = bytes;
    options.type = type;
    LossyRewrite rewrite;
    rewrite.pass = "miura-factorize-residual";
    rewrite.verb = "factorize what is missed of";
    rewrite.include = include;
    rewrite.exclude = exclude;
    if (failed(rewriteByFactors(getOperation(), rewrite, options, compute)))
      signalPassFailure();
  }

  static llvm::Expected<LayerResult> compute(Layer &layer, FileStore &files,
                                             const FactorOptions &options) {
    if (!layer.root)
      return LayerResult::keep("its weight is the original, so nothing is "
                               "missed; compress it first");
    auto residual = getResidual(layer);
    if (!residual)
      return residual.takeError();
    double norm = getSquaredNorm(*residual);
    if (norm == 0)
      return LayerResult::keep("its expression misses nothing");
    LayerFactors result = factorizeMatrix(layer, *residual, options);
    if (!result.kept.empty())
      return LayerResult::keep(result.kept);
    if (!(miura::getSquaredResidual(layer, *residual, result.factors) < norm))
      return LayerResult::keep("the product does not lower its error");
    auto product = planProduct(layer, result.factors, options.type, files);
    if (!product)
      return product.takeError();
    RankedTensorType sum = layer.type;
    return LayerResult{TreePlan::make(
                           [=](OpBuilder &builder, Location loc,
                               ArrayRef<Value> built) -> Value {
                             return AddOp::create(builder, loc, sum, built[0],
                                                  built[1]);
                           },
                           {TreePlan::keep(layer.tree), std::move(*product)}),
                       ""};
  }
};
} // namespace
