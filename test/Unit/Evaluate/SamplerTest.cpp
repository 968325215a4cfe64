//===- SamplerTest.cpp - Choosing the next token --------------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Which tokens may be drawn and how often, and that a seed fixes them.
///
//===----------------------------------------------------------------------===//

#include "miura/Evaluate/Sampler.h"
#include <cmath>
#include <gtest/gtest.h>
#include <limits>

using namespace miura;

/// How often each of `logits` is drawn in `draws`.
static std::vector<int> count(const SamplerOptions &options,
                              std::vector<float> logits, int draws = 20000) {
  Sampler sampler(options);
  std::vector<int> counts(logits.size());
  for (int i = 0; i < draws; ++i)
    ++counts[sampler.choose(logits)];
  return counts;
}

TEST(Sampler, GreedyTakesTheFirstOfTheLargest) {
  Sampler sampler(SamplerOptions{});
  EXPECT_EQ(sampler.choose({1.0f, 3.0f, 3.0f, 2.0f}), 1);
  EXPECT_EQ(sampler.choose({std::nanf(""), 3.0f}), 1);
}

TEST(Sampler, DrawsByProbability) {
  SamplerOptions options;
  options.temperature = 1;
  std::vector<int> counts =
      count(options, {std::log(0.5f), std::log(0.3f), std::log(0.2f)});
  // Five standard deviations of 20,000 draws.
  EXPECT_NEAR(counts[0], 10000, 354);
  EXPECT_NEAR(counts[1], 6000, 325);
  EXPECT_NEAR(counts[2], 4000, 283);
  // At temperature 2 the weights are the square roots.
  options.temperature = 2;
  counts = count(options, {std::log(0.64f), std::log(0.36f)});
  EXPECT_NEAR(counts[0], 20000 * 0.8 / 1.4, 350);
}

TEST(Sampler, KeepsTheMostProbable) {
  SamplerOptions options;
  options.temperature = 1;
  options.topK = 2;
  std::vector<float> logits = {std::log(0.1f), std::log(0.4f), std::log(0.2f),
                               std::log(0.3f)};
  std::vector<int> counts = count(options, logits);
  EXPECT_EQ(counts[0] + counts[2], 0);
  EXPECT_NEAR(counts[1], 20000 * 4 / 7, 350);
  options.topK = 0;
  options.topP = 0.65;
  counts = count(options, logits);
  EXPECT_EQ(counts[0] + counts[2], 0);
  EXPECT_GT(counts[3], 0);
  options.topP = 0; // One is always left.
  EXPECT_EQ(count(options, logits)[1], 20000);
  options.topP = 1;
  options.topK = 100;
  EXPECT_GT(count(options, logits)[0], 0);
}

TEST(Sampler, ASeedFixesTheChoices) {
  std::vector<float> logits(50);
  for (size_t i = 0; i < logits.size(); ++i)
    logits[i] = 0.1f * static_cast<float>(i % 7);
  auto draw = [&](uint64_t seed) {
    SamplerOptions options;
    options.temperature = 1;
    options.seed = seed;
    Sampler sampler(options);
    std::vector<int64_t> drawn;
    for (int i = 0; i < 20; ++i)
      drawn.push_back(sampler.choose(logits));
    return drawn;
  };
  EXPECT_EQ(draw(1), draw(1));
  EXPECT_NE(draw(1), draw(2));
}

TEST(Sampler, NeverTakesWhatIsRuledOut) {
  SamplerOptions options;
  options.temperature = 100;
  float infinity = std::numeric_limits<float>::infinity();
  std::vector<int> counts = count(options, {-infinity, 0, std::nanf(""), 1});
  EXPECT_EQ(counts[0] + counts[2], 0);
}
