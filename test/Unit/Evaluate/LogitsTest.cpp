//===- LogitsTest.cpp - Probabilities from logits -------------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Sums against the definition in long double, for sizes that do not divide and
/// logits of every magnitude.
///
//===----------------------------------------------------------------------===//

#include "miura/Evaluate/Logits.h"
#include <cmath>
#include <gtest/gtest.h>
#include <limits>
#include <random>

using namespace miura;

static std::vector<float> makeLogits(std::mt19937 &random, size_t size,
                                     double spread) {
  std::normal_distribution<double> normal(0, spread);
  std::vector<float> logits(size);
  for (float &logit : logits)
    logit = static_cast<float>(normal(random));
  return logits;
}

static long double getLogSum(const std::vector<float> &logits) {
  long double largest = logits[0], sum = 0;
  for (float logit : logits)
    largest = std::max<long double>(largest, logit);
  for (float logit : logits)
    sum += std::exp((long double)logit - largest);
  return largest + std::log(sum);
}

TEST(Logits, LogSumAndBest) {
  std::mt19937 random(1);
  for (size_t size : {1, 2, 15, 16, 17, 255, 1000, 32000})
    for (double spread : {0.0, 1e-3, 1.0, 30.0, 1e4}) {
      std::vector<float> logits = makeLogits(random, size, spread);
      LogitSummary summary = summarize(logits);
      EXPECT_TRUE(summary.isFinite);
      EXPECT_EQ(summary.best, std::max_element(logits.begin(), logits.end()) -
                                  logits.begin());
      long double expected = getLogSum(logits);
      EXPECT_NEAR(summary.getLogSum(), (double)expected,
                  1e-14 * std::max(1.0, std::abs((double)expected)));
    }
}

TEST(Logits, Divergence) {
  std::mt19937 random(2);
  for (size_t size : {1, 3, 16, 33, 5000})
    for (double spread : {0.1, 1.0, 10.0}) {
      std::vector<float> p = makeLogits(random, size, spread),
                         q = makeLogits(random, size, spread);
      long double logP = getLogSum(p), logQ = getLogSum(q), expected = 0;
      for (size_t i = 0; i < size; ++i)
        expected += std::exp(p[i] - logP) * ((p[i] - logP) - (q[i] - logQ));
      double actual = getDivergence(p, summarize(p), q, summarize(q));
      EXPECT_NEAR(actual, (double)expected,
                  1e-13 * std::max(1.0, (double)expected));
      EXPECT_GE(actual, -1e-14);
      EXPECT_EQ(getDivergence(p, summarize(p), p, summarize(p)), 0);
    }
}

TEST(Logits, AddingAConstantChangesNothing) {
  std::mt19937 random(3);
  std::vector<float> p = makeLogits(random, 100, 1), q = p;
  for (float &logit : q)
    logit += 64;
  EXPECT_NEAR(getDivergence(p, summarize(p), q, summarize(q)), 0, 1e-5);
}

TEST(Logits, WhatIsNoNumber) {
  float nan = std::numeric_limits<float>::quiet_NaN(),
        infinity = std::numeric_limits<float>::infinity();
  EXPECT_FALSE(summarize({0.0f, nan}).isFinite);
  EXPECT_FALSE(summarize({nan, 0.0f}).isFinite);
  EXPECT_FALSE(summarize({infinity, 0.0f}).isFinite);
  EXPECT_FALSE(summarize({-infinity, -infinity}).isFinite);
  std::vector<float> many(40, 0.0f);
  many[21] = nan;
  EXPECT_FALSE(summarize(many).isFinite);
  // A token that has been ruled out is no fault.
  std::vector<float> ruled = {0.0f, -infinity};
  LogitSummary summary = summarize(ruled);
  EXPECT_TRUE(summary.isFinite);
  EXPECT_NEAR(summary.getLogSum(), 0, 1e-15);
  std::vector<float> even = {0.0f, 0.0f};
  EXPECT_NEAR(getDivergence(ruled, summary, even, summarize(even)),
              std::log(2.0), 1e-12);
  EXPECT_EQ(getDivergence(even, summarize(even), ruled, summary), infinity);
}
