//===- Factorize.h - What passes that factorize share -----------*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Options and the plan of a product, for passes that differ in the matrix they
/// factorize and in what they do with the product.
///
//===----------------------------------------------------------------------===//

#ifndef MIURA_LIB_TRANSFORMS_LOWRANK_FACTORIZE_H
#define MIURA_LIB_TRANSFORMS_LOWRANK_FACTORIZE_H

#include "miura/Compress/LowRank.h"
#include "miura/Transforms/Lossy/RewriteWeights.h"

namespace miura {

/// Runs `rewrite`, of which scheme and compute are not set, with `compute` on
/// every layer; an error where `options` are out of range.
mlir::LogicalResult
rewriteByFactors(mlir::ModuleOp module, LossyRewrite rewrite,
                 const compress::FactorOptions &options,
                 llvm::function_ref<llvm::Expected<LayerResult>(
                     Layer &, FileStore &, const compress::FactorOptions &)>
                     compute);

/// The factors of a matrix of the layer's shape, or why there are none.
struct LayerFactors {
  compress::Factors factors;
  std::string kept;
};
LayerFactors factorizeMatrix(Layer &layer, llvm::ArrayRef<float> values,
                             compress::FactorOptions options);

/// Stores the factors and plans their product, of the layer's type.
llvm::Expected<TreePlanPtr> planProduct(Layer &layer,
                                        const compress::Factors &factors,
                                        compress::FactorType type,
                                        FileStore &files);

/// ‖matrix − product‖², of matrices of the layer's shape.
double getSquaredResidual(Layer &layer, llvm::ArrayRef<float> values,
                          const compress::Factors &factors);

} // namespace miura

#endif // MIURA_LIB_TRANSFORMS_LOWRANK_FACTORIZE_H
