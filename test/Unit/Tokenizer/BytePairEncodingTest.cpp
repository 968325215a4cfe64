//===- BytePairEncodingTest.cpp - Merging symbols -------------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The queue against the definition: of all pairs that merge, the one of lowest
/// rank and leftmost, again and again.
///
//===----------------------------------------------------------------------===//

#include "BytePairEncoding.h"
#include <chrono>
#include <gtest/gtest.h>
#include <random>

using namespace miura;

/// The definition, in quadratic time.
static std::vector<uint32_t> mergeNaively(const MergeTable &table,
                                          std::vector<uint32_t> symbols) {
  while (true) {
    const MergeTable::Merge *best = nullptr;
    size_t place = 0;
    for (size_t i = 0; i + 1 < symbols.size(); ++i) {
      const MergeTable::Merge *merge = table.find(symbols[i], symbols[i + 1]);
      if (merge && (!best || merge->rank < best->rank)) {
        best = merge;
        place = i;
      }
    }
    if (!best)
      return symbols;
    symbols[place] = best->result;
    symbols.erase(symbols.begin() + place + 1);
  }
}

TEST(BytePairEncoding, MergesByRankThenFromTheLeft) {
  MergeTable table;
  table.add(0, 0, {0, 1}); // aa → A
  table.add(1, 0, {1, 2}); // Aa → B
  std::vector<uint32_t> symbols = {0, 0, 0, 0, 0};
  table.apply(symbols);
  EXPECT_EQ(symbols, (std::vector<uint32_t>{1, 2}));
}

TEST(BytePairEncoding, ShortWordsStay) {
  MergeTable table;
  table.add(0, 1, {0, 2});
  std::vector<uint32_t> none, one = {0}, two = {1, 0};
  table.apply(none);
  table.apply(one);
  table.apply(two);
  EXPECT_TRUE(none.empty());
  EXPECT_EQ(one, std::vector<uint32_t>{0});
  EXPECT_EQ(two, (std::vector<uint32_t>{1, 0}));
}

TEST(BytePairEncoding, TheLastRankOfAPairCounts) {
  MergeTable table;
  table.add(0, 1, {0, 3});
  table.add(1, 2, {1, 4});
  table.add(0, 1, {2, 3});
  std::vector<uint32_t> symbols = {0, 1, 2};
  table.apply(symbols);
  EXPECT_EQ(symbols, (std::vector<uint32_t>{0, 4}));
}

TEST(BytePairEncoding, EqualsTheDefinition) {
  std::mt19937 random(7);
  for (int trial = 0; trial < 300; ++trial) {
    // Symbols are strings over three letters; each pair merges to its own.
    MergeTable table;
    uint32_t symbols = 3, merges = 1 + random() % 30;
    for (uint32_t rank = 0; rank < merges; ++rank) {
      uint32_t left = random() % symbols, right = random() % symbols;
      if (!table.find(left, right))
        table.add(left, right, {rank, symbols++});
    }
    std::vector<uint32_t> word(random() % 60);
    for (uint32_t &symbol : word)
      symbol = random() % 3;
    std::vector<uint32_t> merged = word;
    table.apply(merged);
    EXPECT_EQ(merged, mergeNaively(table, word)) << "trial " << trial;
  }
}

TEST(BytePairEncoding, LongWordsTakeNoSquareOfTime) {
  MergeTable table;
  for (uint32_t level = 0; level < 12; ++level)
    table.add(level, level, {level, level + 1});
  std::vector<uint32_t> word(1 << 20, 0);
  auto begin = std::chrono::steady_clock::now();
  table.apply(word);
  EXPECT_EQ(word, std::vector<uint32_t>(1 << 8, 12));
  // A quadratic merge of a million symbols takes hours.
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::minutes(2));
}
