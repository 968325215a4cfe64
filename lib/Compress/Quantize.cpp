//===- Quantize.cpp - Round to nearest on a uniform grid ------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// See Quantize.h for what is computed. The inner loops run over eight values
/// with eight sums, which any compiler turns into vector code without being
/// allowed to reorder sums, and which adds in the same order everywhere.
///
//===----------------------------------------------------------------------===//

#include "miura/Compress/Quantize.h"
#include "miura/Support/Half.h"
#include <algorithm>
#include <cassert>
#include <cmath>
#include <limits>

using namespace miura;
using namespace miura::compress;
using llvm::ArrayRef;
using llvm::MutableArrayRef;

static constexpr size_t kLanes = 8;

/// Rounds half to even for |value| < 2^22: the sum has no bits left below one.
/// Unlike a library call it is vector code on every machine.
static inline float roundToEven(float value) {
  constexpr float kMagic = 12582912.0f; // 1.5 · 2^23
  return (value + kMagic) - kMagic;
}

static float roundScale(float scale, ScaleType type) {
  return type == ScaleType::F16 ? halfToFloat(floatToHalf(scale)) : scale;
}

namespace {
/// A grid with what the loops need of it. Codes count from the zero here.
struct Stepper {
  float scale, inverse, lowest, highest;

  Stepper(const QuantizerOptions &options, const Grid &grid)
      : scale(grid.scale), inverse(grid.scale == 0 ? 0 : 1 / grid.scale),
        lowest((float)(getLowestCode(options) - grid.zero)),
        highest((float)(getHighestCode(options) - grid.zero)) {
    // A scale so small that its inverse overflows decodes to nothing visible.
    if (!std::isfinite(inverse))
      inverse = 0;
  }
  float operator()(float value) const {
    return roundToEven(std::min(std::max(value * inverse, lowest), highest));
  }
};
} // namespace

static float getSquaredError(ArrayRef<float> values, const Stepper &step) {
  float sums[kLanes] = {};
  size_t i = 0;
  for (; i + kLanes <= values.size(); i += kLanes)
    for (size_t j = 0; j < kLanes; ++j) {
      float difference = values[i + j] - step(values[i + j]) * step.scale;
      sums[j] += difference * difference;
    }
  for (size_t j = 0; i < values.size(); ++i, ++j) {
    float difference = values[i] - step(values[i]) * step.scale;
    sums[j] += difference * difference;
  }
  return ((sums[0] + sums[4]) + (sums[1] + sums[5])) +
         ((sums[2] + sums[6]) + (sums[3] + sums[7]));
}

/// The scale of least squared error for the codes that `step` gives.
static float getLeastSquaresScale(ArrayRef<float> values, const Stepper &step) {
  float products[kLanes] = {}, squares[kLanes] = {};
  for (size_t i = 0; i < values.size(); ++i) {
    float code = step(values[i]);
    products[i % kLanes] += values[i] * code;
    squares[i % kLanes] += code * code;
  }
  float product = 0, square = 0;
  for (size_t j = 0; j < kLanes; ++j) {
    product += products[j];
    square += squares[j];
  }
  return square == 0 ? 0 : product / square;
}

namespace {
/// Keeps the grid of least squared error; of equals the first.
struct Search {
  ArrayRef<float> values;
  const QuantizerOptions &options;
  Grid best;
  float error = std::numeric_limits<float>::infinity();
  bool found = false, overflow = false;

  Search(ArrayRef<float> values, const QuantizerOptions &options)
      : values(values), options(options) {}

  void tryGrid(float scale, int32_t zero) {
    Grid grid{roundScale(scale, options.scaleType), zero};
    if (!std::isfinite(grid.scale)) {
      overflow = true;
      return;
    }
    float candidate = getSquaredError(values, Stepper(options, grid));
    if (found && !(candidate < error))
      return;
    best = grid;
    error = candidate;
    found = true;
  }
  /// A range that starts at `least` (not positive) and has the given step.
  void tryRange(float least, float scale) {
    scale = roundScale(scale, options.scaleType);
    if (scale == 0 || !std::isfinite(scale))
      return tryGrid(scale, 0);
    float zero = std::min(std::max(-least / scale, 0.0f),
                          (float)getHighestCode(options));
    tryGrid(scale, (int32_t)roundToEven(zero));
  }
};
} // namespace

FitResult compress::fitGrid(ArrayRef<float> values,
                            const QuantizerOptions &options, Grid &grid) {
  assert(options.bits >= 2 && options.bits <= 8);
  grid = Grid();
  float least = 0, greatest = 0;
  bool finite = true;
  for (float value : values) {
    least = std::min(least, value);
    greatest = std::max(greatest, value);
    finite &= std::isfinite(value);
  }
  if (!finite)
    return FitResult::NotFinite;
  if (least == 0 && greatest == 0)
    return FitResult::Fitted;

  Search search(values, options);
  float half = (float)(1 << (options.bits - 1));
  if (options.symmetric) {
    float extreme = std::max(-least, greatest);
    // Above 5 bits clipping does not pay; the two plain choices remain.
    float step = options.bits <= 5 ? 0.25f : 1.0f;
    float most = options.bits <= 5 ? half + 1 : half;
    for (float d = half - 1; d <= most; d += step) {
      search.tryGrid(extreme / d, 0); // of equals, the positive scale
      search.tryGrid(-extreme / d, 0);
    }
    if (search.found)
      search.tryGrid(
          getLeastSquaresScale(values, Stepper(options, search.best)), 0);
  } else {
    float levels = 2 * half - 1, range = greatest - least;
    search.tryRange(least, range / levels);
    // Two half steps may round the same way and leave a code unused; a grid so
    // quantized must find itself again.
    search.tryRange(least, range / (levels - 1));
    if (options.bits <= 5)
      for (float shrink : {0.95f, 0.9f, 0.85f, 0.8f, 0.7f, 0.6f})
        search.tryRange(least * shrink, range * shrink / levels);
  }
  if (!search.found)
    return FitResult::ScaleOverflow;
  grid = search.best;
  return FitResult::Fitted;
}

FitResult compress::fitGridToRange(float least, float greatest,
                                   const QuantizerOptions &options,
                                   Grid &grid) {
  float ends[2] = {least, greatest};
  // With both ends on the grid nothing between is clipped.
  grid = Grid();
  if (!std::isfinite(least) || !std::isfinite(greatest))
    return FitResult::NotFinite;
  least = std::min(least, 0.0f);
  greatest = std::max(greatest, 0.0f);
  if (least == 0 && greatest == 0)
    return FitResult::Fitted;
  Search search(ends, options);
  if (options.symmetric)
    search.tryGrid(std::max(-least, greatest) / (float)getHighestCode(options),
                   0);
  else
    search.tryRange(least, (greatest - least) / (float)getHighestCode(options));
  if (!search.found)
    return FitResult::ScaleOverflow;
  grid = search.best;
  return FitResult::Fitted;
}

void compress::encode(ArrayRef<float> values, const QuantizerOptions &options,
                      const Grid &grid, MutableArrayRef<uint8_t> codes) {
  Stepper step(options, grid);
  int32_t mask = (1 << options.bits) - 1;
  for (size_t i = 0; i < values.size(); ++i)
    codes[i] = (uint8_t)(((int32_t)step(values[i]) + grid.zero) & mask);
}

void compress::decode(ArrayRef<uint8_t> codes, const QuantizerOptions &options,
                      const Grid &grid, MutableArrayRef<float> values) {
  int32_t sign = options.symmetric ? 1 << (options.bits - 1) : 0;
  for (size_t i = 0; i < codes.size(); ++i)
    values[i] =
        (float)((((int32_t)codes[i] ^ sign) - sign) - grid.zero) * grid.scale;
}

FitResult compress::quantizeRow(ArrayRef<float> values, int64_t block,
                                const QuantizerOptions &options,
                                MutableArrayRef<uint8_t> codes,
                                MutableArrayRef<Grid> grids) {
  size_t size = block == 0 ? values.size() : (size_t)block;
  for (size_t first = 0, b = 0; first < values.size(); first += size, ++b) {
    ArrayRef<float> group = values.slice(first).take_front(size);
    FitResult result = fitGrid(group, options, grids[b]);
    if (result != FitResult::Fitted)
      return result;
    encode(group, options, grids[b], codes.slice(first).take_front(size));
  }
  return FitResult::Fitted;
}

void ErrorSums::add(ArrayRef<float> original, ArrayRef<float> approximation) {
  assert(original.size() == approximation.size());
  double errors[kLanes] = {}, norms[kLanes] = {};
  for (size_t i = 0; i < original.size(); ++i) {
    double value = original[i], difference = value - approximation[i];
    errors[i % kLanes] += difference * difference;
    norms[i % kLanes] += value * value;
  }
  for (size_t j = 0; j < kLanes; ++j) {
    error += errors[j];
    norm += norms[j];
  }
}

double ErrorSums::getRelativeError() const {
  return error == 0 ? 0 : std::sqrt(error / norm);
}
