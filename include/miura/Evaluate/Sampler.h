//===- Sampler.h - Choosing the next token ----------------------*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Greedy or random choice of a token from logits, the latter by temperature,
/// the k most probable (Fan et al., arXiv:1805.04833) and the smallest set of
/// probability p (nucleus sampling, Holtzman et al., arXiv:1904.09751). The
/// same seed gives the same choices on every machine that gives the same
/// logits.
///
//===----------------------------------------------------------------------===//

#ifndef MIURA_EVALUATE_SAMPLER_H
#define MIURA_EVALUATE_SAMPLER_H

#include "llvm/ADT/ArrayRef.h"
#include <cstdint>
#include <utility>
#include <vector>

namespace miura {

struct SamplerOptions {
  double temperature = 0; ///< 0: the most probable token.
  int64_t topK = 0;       ///< Only the k most probable; 0: all.
  double topP = 1;        ///< Only the most probable that together have p.
  uint64_t seed = 0;
};

class Sampler {
public:
  explicit Sampler(const SamplerOptions &options)
      : options(options), state(options.seed) {}

  /// A token, never one whose logit is NaN or −∞. Requires at least one logit.
  int64_t choose(llvm::ArrayRef<float> logits);

private:
  double nextUniform();

  SamplerOptions options;
  uint64_t state;
  std::vector<std::pair<float, int64_t>> candidates;
  std::vector<double> weights;
};

} // namespace miura

#endif // MIURA_EVALUATE_SAMPLER_H
