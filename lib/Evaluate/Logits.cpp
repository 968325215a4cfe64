//===- Logits.cpp - Probabilities from logits -----------------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// A vocabulary is some ten thousands of exponentials per token, which through
/// libm take as long as a small model. So exp is written for a compiler to
/// vectorize (a Taylor polynomial of degree 12 after the reduction of Cody and
/// Waite, relative error below 1e-15) and the loops exist twice, once for
/// processors with AVX2.
///
//===----------------------------------------------------------------------===//

#include "miura/Evaluate/Logits.h"
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

using namespace miura;

#define MIURA_INLINE inline __attribute__((always_inline))

/// Partial sums that are kept apart, so that a compiler may take them together.
static constexpr int64_t kLanes = 16;

/// exp(x) for x ≤ 0; below −700 what exp(−700) is, which no sum notices.
static MIURA_INLINE double expOfNegative(double x) {
  x = x < -700.0 ? -700.0 : x;
  // Adding 1.5·2⁵² rounds to a whole number and leaves it in the low bits.
  constexpr double magic = 6755399441055744.0;
  double shifted = x * 1.4426950408889634 + magic;
  double n = shifted - magic;
  double r = x - n * 0.693145751953125;
  r = r - n * 1.42860682030941723212e-6;
  double p = 1.0 / 479001600;
  p = p * r + 1.0 / 39916800;
  p = p * r + 1.0 / 3628800;
  p = p * r + 1.0 / 362880;
  p = p * r + 1.0 / 40320;
  p = p * r + 1.0 / 5040;
  p = p * r + 1.0 / 720;
  p = p * r + 1.0 / 120;
  p = p * r + 1.0 / 24;
  p = p * r + 1.0 / 6;
  p = p * r + 0.5;
  p = p * r + 1.0;
  p = p * r + 1.0;
  // Times 2ⁿ, by the exponent.
  uint64_t bits, scale;
  std::memcpy(&bits, &p, sizeof bits);
  std::memcpy(&scale, &shifted, sizeof scale);
  bits += scale << 52;
  std::memcpy(&p, &bits, sizeof p);
  return p;
}

/// Σ exp(lᵢ − largest).
static MIURA_INLINE double sumExpBody(const float *logits, int64_t count,
                                      double largest) {
  double lanes[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes)
    for (int64_t k = 0; k < kLanes; ++k)
      lanes[k] += expOfNegative(double(logits[i + k]) - largest);
  double sum = 0;
  for (double lane : lanes)
    sum += lane;
  for (; i < count; ++i)
    sum += expOfNegative(double(logits[i]) - largest);
  return sum;
}

/// Σ exp(pᵢ − largest) · (pᵢ − qᵢ), for finite logits.
static MIURA_INLINE double sumWeightedBody(const float *p, const float *q,
                                           int64_t count, double largest) {
  double lanes[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes)
    for (int64_t k = 0; k < kLanes; ++k)
      lanes[k] += expOfNegative(double(p[i + k]) - largest) *
                  (double(p[i + k]) - double(q[i + k]));
  double sum = 0;
  for (double lane : lanes)
    sum += lane;
  for (; i < count; ++i)
    sum +=
        expOfNegative(double(p[i]) - largest) * (double(p[i]) - double(q[i]));
  return sum;
}

static double sumExp(const float *logits, int64_t count, double largest) {
  return sumExpBody(logits, count, largest);
}
static double sumWeighted(const float *p, const float *q, int64_t count,
                          double largest) {
  return sumWeightedBody(p, q, count, largest);
}

#if defined(__x86_64__)
__attribute__((target("avx2,fma"))) static double
sumExpAvx2(const float *logits, int64_t count, double largest) {
  return sumExpBody(logits, count, largest);
}
__attribute__((target("avx2,fma"))) static double
sumWeightedAvx2(const float *p, const float *q, int64_t count, double largest) {
  return sumWeightedBody(p, q, count, largest);
}
static bool hasAvx2() {
  static const bool has =
      __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  return has;
}
#define MIURA_CHOOSE(name) (hasAvx2() ? name##Avx2 : name)
#else
#define MIURA_CHOOSE(name) name
#endif

double LogitSummary::getLogSum() const { return largest + std::log(sum); }

LogitSummary miura::summarize(llvm::ArrayRef<float> logits) {
  // NaN loses every comparison, so it is counted.
  float lanes[kLanes], largest = -std::numeric_limits<float>::infinity();
  int32_t nans[kLanes] = {}, nanCount = 0;
  std::fill(lanes, lanes + kLanes, largest);
  int64_t count = static_cast<int64_t>(logits.size()), i = 0;
  for (; i + kLanes <= count; i += kLanes)
    for (int64_t k = 0; k < kLanes; ++k) {
      float logit = logits[i + k];
      lanes[k] = logit > lanes[k] ? logit : lanes[k];
      nans[k] += logit != logit;
    }
  for (int64_t k = 0; k < kLanes; ++k) {
    largest = std::max(largest, lanes[k]);
    nanCount += nans[k];
  }
  for (; i < count; ++i) {
    largest = logits[i] > largest ? logits[i] : largest;
    nanCount += logits[i] != logits[i];
  }
  LogitSummary result;
  result.largest = largest;
  result.isFinite = nanCount == 0 && std::isfinite(largest);
  if (!result.isFinite)
    return result;
  result.best =
      std::find(logits.begin(), logits.end(), largest) - logits.begin();
  result.sum = MIURA_CHOOSE(sumExp)(logits.data(), count, result.largest);
  return result;
}

double miura::getDivergence(llvm::ArrayRef<float> p, const LogitSummary &ofP,
                            llvm::ArrayRef<float> q, const LogitSummary &ofQ) {
  double sum =
      MIURA_CHOOSE(sumWeighted)(p.data(), q.data(), p.size(), ofP.largest);
  if (!std::isfinite(sum)) {
    // Somewhere a logit is −∞.
    sum = 0;
    for (size_t i = 0; i < p.size(); ++i) {
      if (std::isinf(p[i]))
        continue;
      if (std::isinf(q[i]))
        return std::numeric_limits<double>::infinity();
      sum += std::exp(double(p[i]) - ofP.largest) * (double(p[i]) - q[i]);
    }
  }
  return sum / ofP.sum - (ofP.getLogSum() - ofQ.getLogSum());
}
