//===- Evaluation.h - How well a model predicts -----------------*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Runs a model, and a reference beside it, over sequences of tokens and sums
/// up what their logits say. The same numbers come out on any count of threads.
///
//===----------------------------------------------------------------------===//

#ifndef MIURA_LIB_DRIVER_EVALUATION_H
#define MIURA_LIB_DRIVER_EVALUATION_H

#include "miura/Driver/Artifact.h"
#include <optional>
#include <vector>

namespace miura::driver {

struct Evaluation {
  int64_t predictions = 0;
  double nll = 0;        ///< Mean −log probability of the true token, in nats.
  double perplexity = 0; ///< exp(nll).
  /// With a reference: mean KL(reference ‖ model) in nats, and the share of
  /// positions where both have the same most probable token.
  std::optional<double> divergence, agreement;
};

/// Evaluates `model` on `sequences`, each of at least two tokens of its
/// vocabulary. `reference` may be null; else it must have the same vocabulary.
/// `progress` is told how many of all predictions are done. Fails where the
/// runtime does or a model gives a logit that is no number.
llvm::Expected<Evaluation>
evaluate(Artifact &model, Artifact *reference,
         llvm::ArrayRef<std::vector<int64_t>> sequences, unsigned threads,
         llvm::function_ref<void(int64_t done)> progress);

} // namespace miura::driver

#endif // MIURA_LIB_DRIVER_EVALUATION_H
