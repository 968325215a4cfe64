//===- PruneTest.cpp - Which weights to keep ------------------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Properties of magnitude pruning over random and odd sizes: the count is
/// exact to one element whatever equals there are, nothing that is kept is
/// smaller than something pruned, pruning again changes nothing, and the three
/// passes over a tensor choose as one look at it would.
///
//===----------------------------------------------------------------------===//

#include "miura/Compress/Prune.h"
#include "gtest/gtest.h"
#include <algorithm>
#include <cmath>
#include <random>

using namespace miura::compress;
using llvm::ArrayRef;

namespace {

std::vector<float> makeValues(size_t count, std::mt19937 &random) {
  std::normal_distribution<float> normal(0, 1);
  std::vector<float> values(count);
  for (float &value : values) {
    value = normal(random);
    // Many equals, of both signs, and zeros.
    if (random() % 3 == 0)
      value = std::round(value * 2) / 2;
  }
  return values;
}

std::vector<uint8_t> selectInParts(ArrayRef<float> values, int64_t pruned,
                                   size_t part) {
  MagnitudeSelection selection(pruned);
  std::vector<uint8_t> kept(values.size());
  for (int pass = 0; pass < 3; ++pass)
    for (size_t i = 0; i < values.size(); i += part) {
      size_t count = std::min(part, values.size() - i);
      ArrayRef<float> slice = values.slice(i, count);
      if (pass == 0)
        selection.countHigh(slice);
      else if (pass == 1)
        selection.countLow(slice);
      else
        selection.select(slice,
                         llvm::MutableArrayRef<uint8_t>(kept).slice(i, count));
    }
  return kept;
}

void expectLargest(ArrayRef<float> values, ArrayRef<uint8_t> kept,
                   int64_t pruned) {
  EXPECT_EQ(std::count(kept.begin(), kept.end(), 0), pruned);
  float largestPruned = 0, smallestKept = INFINITY;
  for (size_t i = 0; i < values.size(); ++i) {
    float magnitude = std::fabs(values[i]);
    if (kept[i])
      smallestKept = std::min(smallestKept, magnitude);
    else
      largestPruned = std::max(largestPruned, magnitude);
  }
  EXPECT_LE(largestPruned, smallestKept);
}

std::vector<float> prune(std::vector<float> values, ArrayRef<uint8_t> kept) {
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = kept[i] ? values[i] : 0;
  return values;
}

TEST(PruneTest, CountIsTheNearestAndNeverAll) {
  EXPECT_EQ(getPrunedCount(0.5, 100), 50);
  EXPECT_EQ(getPrunedCount(0.5, 101), 51);
  EXPECT_EQ(getPrunedCount(0.3, 7), 2);
  EXPECT_EQ(getPrunedCount(0.99, 3), 2);
  EXPECT_EQ(getPrunedCount(0, 5), 0);
  EXPECT_EQ(getPrunedCount(0.5, 0), 0);
  EXPECT_EQ(getPrunedCount(0.5, 1), 0);
}

TEST(PruneTest, KeepsTheLargestOfATensor) {
  std::mt19937 random(3);
  for (size_t count : {1, 2, 3, 7, 32, 33, 127, 1000, 4099})
    for (double sparsity : {0.0, 0.1, 0.5, 0.67, 0.95, 0.999}) {
      SCOPED_TRACE(testing::Message() << count << " at " << sparsity);
      std::vector<float> values = makeValues(count, random);
      int64_t pruned = getPrunedCount(sparsity, count);
      std::vector<uint8_t> kept = selectInParts(values, pruned, count);
      expectLargest(values, kept, pruned);
      EXPECT_EQ(selectInParts(values, pruned, 1 + random() % count), kept);
      std::vector<uint8_t> whole(count);
      selectLargest(ArrayRef<float>(values), pruned, whole);
      EXPECT_EQ(whole, kept);
      // What is pruned is pruned first again.
      std::vector<float> once = prune(values, kept);
      EXPECT_EQ(prune(once, selectInParts(once, pruned, count)), once);
    }
}

TEST(PruneTest, EqualsArePrunedInOrder) {
  std::vector<float> values = {1, -1, 1, 0, -0.0f, 1};
  EXPECT_EQ(selectInParts(values, 4, 2),
            (std::vector<uint8_t>{0, 0, 1, 0, 0, 1}));
}

TEST(PruneTest, KeepsExactlyNOfM) {
  std::mt19937 random(4);
  for (auto [n, m] : {std::pair{1, 2}, {2, 4}, {4, 8}, {1, 3}, {5, 7}, {3, 16}})
    for (int64_t groups : {1, 2, 5, 33}) {
      SCOPED_TRACE(testing::Message()
                   << n << ":" << m << ", " << groups << " groups");
      std::vector<float> values = makeValues(groups * m, random);
      std::vector<uint8_t> kept(values.size());
      selectGroups(values, n, m, kept);
      for (int64_t g = 0; g < groups; ++g)
        expectLargest(ArrayRef<float>(values).slice(g * m, m),
                      ArrayRef<uint8_t>(kept).slice(g * m, m), m - n);
      std::vector<float> once = prune(values, kept);
      selectGroups(once, n, m, kept);
      EXPECT_EQ(prune(once, kept), once);
    }
}

TEST(PruneTest, BlocksByTheirNorm) {
  // Two rows of blocks of 2 columns.
  std::vector<double> sums(3);
  addBlockSquares({1, 1, 0, 0.5f, 3, 0}, 2, sums);
  addBlockSquares({1, 1, 0, 0.5f, 0, 0}, 2, sums);
  EXPECT_EQ(sums, (std::vector<double>{4, 0.5, 9}));
  std::vector<uint8_t> kept(3);
  selectLargest(ArrayRef<double>(sums), 1, kept);
  EXPECT_EQ(kept, (std::vector<uint8_t>{1, 0, 1}));
  std::vector<uint8_t> packed(1);
  packFlags(kept, packed);
  EXPECT_EQ(packed[0], 5);
}

} // namespace
