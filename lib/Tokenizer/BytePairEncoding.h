//===- BytePairEncoding.h - Merging symbols in order of rank ----*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Byte pair encoding: a word is a list of symbols, of which the adjacent pair
/// of the lowest rank (of several the leftmost) is merged until no pair is in
/// the table. Sennrich et al., arXiv:1508.07909, algorithm 1; with a queue of
/// pairs, so that n symbols take O(n log n).
///
//===----------------------------------------------------------------------===//

#ifndef MIURA_LIB_TOKENIZER_BYTEPAIRENCODING_H
#define MIURA_LIB_TOKENIZER_BYTEPAIRENCODING_H

#include "llvm/ADT/DenseMap.h"
#include <cstdint>
#include <vector>

namespace miura {

class MergeTable {
public:
  struct Merge {
    uint32_t rank;
    uint32_t result;
  };

  void reserve(size_t count) { table.reserve(count); }
  /// A pair that is added twice has its last rank.
  void add(uint32_t left, uint32_t right, Merge merge) {
    table[key(left, right)] = merge;
  }
  /// Null if the pair does not merge.
  const Merge *find(uint32_t left, uint32_t right) const {
    auto it = table.find(key(left, right));
    return it == table.end() ? nullptr : &it->second;
  }
  /// Merges `symbols` in place.
  void apply(std::vector<uint32_t> &symbols) const;

private:
  static uint64_t key(uint32_t left, uint32_t right) {
    return uint64_t(left) << 32 | right;
  }
  llvm::DenseMap<uint64_t, Merge> table;
};

} // namespace miura

#endif // MIURA_LIB_TOKENIZER_BYTEPAIRENCODING_H
