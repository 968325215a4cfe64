//===- Prune.cpp - Which weights to keep ----------------------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// See Prune.h. Selections in memory are by std::nth_element over (magnitude,
/// place) pairs, which has no equals.
///
//===----------------------------------------------------------------------===//

#include "miura/Compress/Prune.h"
#include "miura/Compress/Pack.h"
#include "miura/Support/Half.h"
#include <algorithm>
#include <cassert>
#include <cmath>
#include <numeric>

using namespace miura;
using namespace miura::compress;
using llvm::ArrayRef;
using llvm::MutableArrayRef;

static uint32_t getMagnitude(float value) {
  return floatToBits(value) & 0x7fffffff;
}

int64_t compress::getPrunedCount(double sparsity, int64_t count) {
  if (count <= 0)
    return 0;
  return std::min<int64_t>(std::llround(sparsity * (double)count), count - 1);
}

//===----------------------------------------------------------------------===//
// A tensor in parts
//===----------------------------------------------------------------------===//

MagnitudeSelection::MagnitudeSelection(int64_t pruned)
    : bins(1 << 15), left(pruned) {}

void MagnitudeSelection::countHigh(ArrayRef<float> values) {
  assert(stage == Stage::High);
  for (float value : values)
    ++bins[getMagnitude(value) >> 16];
}

/// The first bin that is not pruned whole; `left` becomes what is left in it.
static uint32_t takeBins(ArrayRef<int64_t> bins, int64_t &left) {
  uint32_t bin = 0;
  while (bin + 1 < bins.size() && bins[bin] <= left)
    left -= bins[bin++];
  return bin;
}

void MagnitudeSelection::finishHigh() {
  high = takeBins(bins, left);
  bins.assign(1 << 16, 0);
  stage = Stage::Low;
}

void MagnitudeSelection::countLow(ArrayRef<float> values) {
  if (stage == Stage::High)
    finishHigh();
  assert(stage == Stage::Low);
  for (float value : values)
    if (uint32_t bits = getMagnitude(value); bits >> 16 == high)
      ++bins[bits & 0xffff];
}

void MagnitudeSelection::finishLow() {
  threshold = high << 16 | takeBins(bins, left);
  stage = Stage::Select;
}

void MagnitudeSelection::select(ArrayRef<float> values,
                                MutableArrayRef<uint8_t> kept) {
  if (stage == Stage::Low)
    finishLow();
  assert(stage == Stage::Select);
  for (size_t i = 0; i < values.size(); ++i) {
    uint32_t bits = getMagnitude(values[i]);
    bool isPruned = bits < threshold || (bits == threshold && left > 0);
    left -= isPruned && bits == threshold;
    kept[i] = !isPruned;
  }
}

//===----------------------------------------------------------------------===//
// In memory
//===----------------------------------------------------------------------===//

template <typename Key>
static void selectByKey(size_t count, int64_t pruned,
                        MutableArrayRef<uint8_t> kept, Key key) {
  std::vector<uint32_t> order(count);
  std::iota(order.begin(), order.end(), 0);
  std::fill(kept.begin(), kept.end(), 1);
  if (pruned <= 0)
    return;
  auto end = order.begin() + std::min<int64_t>(pruned, (int64_t)count);
  if (end != order.end())
    std::nth_element(order.begin(), end, order.end(),
                     [&](uint32_t a, uint32_t b) {
                       auto left = key(a), right = key(b);
                       return left != right ? left < right : a < b;
                     });
  std::for_each(order.begin(), end, [&](uint32_t i) { kept[i] = 0; });
}

void compress::selectLargest(ArrayRef<float> values, int64_t pruned,
                             MutableArrayRef<uint8_t> kept) {
  selectByKey(values.size(), pruned, kept,
              [&](uint32_t i) { return getMagnitude(values[i]); });
}

void compress::selectLargest(ArrayRef<double> sums, int64_t pruned,
                             MutableArrayRef<uint8_t> kept) {
  selectByKey(sums.size(), pruned, kept, [&](uint32_t i) { return sums[i]; });
}

void compress::selectGroups(ArrayRef<float> values, int64_t n, int64_t m,
                            MutableArrayRef<uint8_t> kept) {
  assert(values.size() % m == 0);
  for (size_t first = 0; first < values.size(); first += m) {
    ArrayRef<float> group = values.slice(first, m);
    // Groups are short: a value's rank is the number of those before it.
    for (int64_t i = 0; i < m; ++i) {
      uint32_t bits = getMagnitude(group[i]);
      int64_t larger = 0;
      for (int64_t j = 0; j < m; ++j) {
        uint32_t other = getMagnitude(group[j]);
        larger += other > bits || (other == bits && j > i);
      }
      kept[first + i] = larger < n;
    }
  }
}

void compress::addBlockSquares(ArrayRef<float> row, int64_t width,
                               MutableArrayRef<double> sums) {
  assert((int64_t)row.size() == width * (int64_t)sums.size());
  for (size_t i = 0; i < row.size(); ++i)
    sums[i / width] += (double)row[i] * row[i];
}

void compress::packFlags(ArrayRef<uint8_t> flags,
                         MutableArrayRef<uint8_t> packed) {
  packRow(flags, 1, packed);
}
