//===- Prune.h - Which weights to keep --------------------------*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Magnitude pruning: of a tensor, a row, a group of neighbours or a set of
/// blocks, the given number of smallest ones is chosen exactly. Equals are
/// pruned in order of their place, the first first, so the choice is one.
///
/// A tensor is chosen from in three passes over values that come a part at a
/// time: the bits of a magnitude sort like the magnitude, so two histograms of
/// 2^15 and 2^16 bins find the threshold to the last bit in the memory of the
/// bins.
///
/// Sources: Han et al., arXiv:1506.02626, section 3.1 (magnitude); Mishra et
/// al., arXiv:2104.08378, section 3 (n:m); Narang et al., arXiv:1711.02782,
/// section 3.1 (blocks; we rank them by their norm, not by their maximum).
///
//===----------------------------------------------------------------------===//

#ifndef MIURA_COMPRESS_PRUNE_H
#define MIURA_COMPRESS_PRUNE_H

#include "llvm/ADT/ArrayRef.h"
#include <cstdint>
#include <vector>

namespace miura::compress {

/// How many of `count` elements a sparsity (0 to 1) zeroes: the nearest number,
/// but never all.
int64_t getPrunedCount(double sparsity, int64_t count);

/// Chooses the `pruned` smallest magnitudes of a tensor. All values are given
/// to countHigh, then all to countLow, then all, in order, to select.
class MagnitudeSelection {
public:
  explicit MagnitudeSelection(int64_t pruned);

  void countHigh(llvm::ArrayRef<float> values);
  void countLow(llvm::ArrayRef<float> values);
  /// Sets kept[i] to 1 or 0 for each value.
  void select(llvm::ArrayRef<float> values,
              llvm::MutableArrayRef<uint8_t> kept);

private:
  enum class Stage { High, Low, Select };
  void finishHigh();
  void finishLow();

  Stage stage = Stage::High;
  std::vector<int64_t> bins;
  /// Left to prune: of all, of the bin of high bits, of the equals.
  int64_t left;
  uint32_t high = 0, threshold = 0;
};

/// Sets `pruned` entries of `kept` to 0, those of the smallest magnitudes, and
/// the others to 1.
void selectLargest(llvm::ArrayRef<float> values, int64_t pruned,
                   llvm::MutableArrayRef<uint8_t> kept);

/// The same for every `m` successive values, of which `n` are kept; m divides
/// the number of values.
void selectGroups(llvm::ArrayRef<float> values, int64_t n, int64_t m,
                  llvm::MutableArrayRef<uint8_t> kept);

/// Adds the squares of a row's values to the sums of the blocks of `width`
/// columns they lie in; width divides the row.
void addBlockSquares(llvm::ArrayRef<float> row, int64_t width,
                     llvm::MutableArrayRef<double> sums);

/// As selectLargest, for sums of squares.
void selectLargest(llvm::ArrayRef<double> sums, int64_t pruned,
                   llvm::MutableArrayRef<uint8_t> kept);

/// Packs flags eight to a byte, lowest bit first; `packed` has ⌈flags/8⌉ bytes.
void packFlags(llvm::ArrayRef<uint8_t> flags,
               llvm::MutableArrayRef<uint8_t> packed);

} // namespace miura::compress

#endif // MIURA_COMPRESS_PRUNE_H
