//===- Logits.h - Probabilities from logits ---------------------*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// What is asked of the logits of a position: the log of the sum of their
/// exponentials, the largest, and how far one distribution is from another.
/// Sums are f64 and in one order, whatever runs beside.
///
//===----------------------------------------------------------------------===//

#ifndef MIURA_EVALUATE_LOGITS_H
#define MIURA_EVALUATE_LOGITS_H

#include "llvm/ADT/ArrayRef.h"
#include <cstdint>

namespace miura {

/// A summary of the logits of a position.
struct LogitSummary {
  int64_t best = 0;      ///< The first of the largest.
  double largest = 0;    ///< Its logit.
  double sum = 0;        ///< Σ exp(lᵢ − largest), at least 1.
  bool isFinite = false; ///< No logit is NaN or +∞, not all are −∞.
  /// log Σ exp(lᵢ).
  double getLogSum() const;
};

/// Requires at least one logit.
LogitSummary summarize(llvm::ArrayRef<float> logits);

/// KL(p ‖ q) = Σ pᵢ (log pᵢ − log qᵢ) in nats, of the softmaxes of logits `p`
/// and `q` of one length, whose summaries are given. What p gives no
/// probability adds nothing; +∞ where q has none and p has some.
double getDivergence(llvm::ArrayRef<float> p, const LogitSummary &ofP,
                     llvm::ArrayRef<float> q, const LogitSummary &ofQ);

} // namespace miura

#endif // MIURA_EVALUATE_LOGITS_H
