//===- Sampler.cpp - Choosing the next token ------------------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Order of the restrictions as in the Python package transformers:
/// temperature, then k, then p. Random numbers are SplitMix64 (Steele et al.,
/// OOPSLA 2014), as the distributions of the standard library differ between
/// implementations.
///
//===----------------------------------------------------------------------===//

#include "miura/Evaluate/Sampler.h"
#include "llvm/ADT/STLExtras.h"
#include <algorithm>
#include <cmath>

using namespace miura;

double Sampler::nextUniform() {
  uint64_t z = state += 0x9E3779B97F4A7C15;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
  return double((z ^ (z >> 31)) >> 11) * 0x1p-53;
}

int64_t Sampler::choose(llvm::ArrayRef<float> logits) {
  int64_t best = 0;
  for (size_t i = 1; i < logits.size(); ++i)
    if (logits[i] > logits[best] || std::isnan(logits[best]))
      best = static_cast<int64_t>(i);
  if (options.temperature <= 0)
    return best;

  candidates.clear();
  for (size_t i = 0; i < logits.size(); ++i)
    if (!std::isnan(logits[i]) && logits[i] != -HUGE_VALF)
      candidates.push_back({logits[i], static_cast<int64_t>(i)});
  // Of equal logits the lower id comes first, whatever the sort.
  auto isBefore = [](const auto &a, const auto &b) {
    return a.first != b.first ? a.first > b.first : a.second < b.second;
  };
  size_t kept = candidates.size();
  if (options.topK > 0)
    kept = std::min<size_t>(kept, options.topK);
  if (kept < candidates.size())
    std::partial_sort(candidates.begin(), candidates.begin() + kept,
                      candidates.end(), isBefore);
  else if (options.topP < 1)
    llvm::sort(candidates, isBefore);
  candidates.resize(kept);
  if (candidates.empty())
    return best;

  weights.clear();
  double total = 0;
  for (auto [logit, id] : candidates) {
    weights.push_back(
        std::exp((double(logit) - logits[best]) / options.temperature));
    total += weights.back();
  }
  if (options.topP < 1) {
    double sum = 0;
    size_t count = 0;
    while (count < weights.size() && sum < options.topP * total)
      sum += weights[count++];
    count = std::max<size_t>(count, 1);
    weights.resize(count);
    total = count == kept ? total : sum;
  }
  double at = nextUniform() * total;
  for (size_t i = 0; i < weights.size(); ++i) {
    at -= weights[i];
    if (at < 0)
      return candidates[i].second;
  }
  return candidates[weights.size() - 1].second;
}
