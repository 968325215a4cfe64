//===- Quantize.h - Round to nearest on a uniform grid ----------*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Uniform quantization of 2 to 8 bits: a grid (scale, zero) is fitted to a
/// group of values, then every value goes to the nearest point of its group's
/// grid. A group is a block of a row, a row, or a whole tensor, and values come
/// a row at a time, so a tensor of any size is quantized in the memory of one
/// row.
///
/// A value is `(code - zero) * scale`. Scales are rounded to the type they are
/// stored in before anything is rounded to their grid, so that what is decoded
/// is what was measured.
///
/// *Symmetric* grids have no zero and the codes -2^(N-1) … 2^(N-1)-1. That is
/// one code more on one side: a scale may be negative, and so put the longer
/// side where the group needs it. The scale is the one with the smallest
/// squared error of: the largest magnitude over d, with either sign, for d from
/// 2^(N-1)-1 (every value inside, one code unused) by quarters to 2^(N-1)+1
/// (the largest value clipped by up to one step), and then the least-squares
/// scale of the codes so found. At 8 bits the choice is nearly the plain
/// absmax/127; at 2 bits absmax/1 would leave three levels and most values at
/// zero. The unit test prints what the choice is worth: in blocks of 32, 1 dB
/// at 4 bits, 3 dB at 3 and more at 2.
///
/// *Asymmetric* grids have a zero and the codes 0 … 2^N-1, and always hold the
/// value 0 exactly. The range is [min(x, 0), max(x, 0)], shrunk where a smaller
/// range has a smaller squared error.
///
/// Sources: Jacob et al., arXiv:1712.05877, section 2.1 (the affine grid);
/// Banner et al., arXiv:1810.05723, section 2 (clipping pays below 8 bits). The
/// candidates are ours.
///
//===----------------------------------------------------------------------===//

#ifndef MIURA_COMPRESS_QUANTIZE_H
#define MIURA_COMPRESS_QUANTIZE_H

#include "llvm/ADT/ArrayRef.h"
#include <cstdint>

namespace miura::compress {

/// The type that scales are stored in.
enum class ScaleType { F16, F32 };

struct QuantizerOptions {
  unsigned bits = 4; ///< 2 to 8
  bool symmetric = true;
  ScaleType scaleType = ScaleType::F16;
};

/// The points (code - zero) * scale for the codes of the options.
struct Grid {
  float scale = 0; ///< as stored; 0 only where every value becomes 0
  int32_t zero = 0;
};

enum class FitResult {
  Fitted,
  NotFinite,     ///< a value is infinite or not a number
  ScaleOverflow, ///< the scale is too large for its type
};

/// The codes are lowest() … highest().
inline int32_t getLowestCode(const QuantizerOptions &options) {
  return options.symmetric ? -(1 << (options.bits - 1)) : 0;
}
inline int32_t getHighestCode(const QuantizerOptions &options) {
  return getLowestCode(options) + (1 << options.bits) - 1;
}

/// Fits a grid to `values` (any number of them).
FitResult fitGrid(llvm::ArrayRef<float> values, const QuantizerOptions &options,
                  Grid &grid);

/// The grid of a tensor of which only the extremes are known: everything is
/// inside, nothing is searched.
FitResult fitGridToRange(float least, float greatest,
                         const QuantizerOptions &options, Grid &grid);

/// The code of the nearest point of `grid` for each value, half to even, as N
/// low bits in two's complement (symmetric) or unsigned.
void encode(llvm::ArrayRef<float> values, const QuantizerOptions &options,
            const Grid &grid, llvm::MutableArrayRef<uint8_t> codes);

/// The values of codes.
void decode(llvm::ArrayRef<uint8_t> codes, const QuantizerOptions &options,
            const Grid &grid, llvm::MutableArrayRef<float> values);

/// Fits and encodes a row in blocks of `block` values, the last of which may be
/// shorter; 0 is the whole row. `grids` has one entry per block.
FitResult quantizeRow(llvm::ArrayRef<float> values, int64_t block,
                      const QuantizerOptions &options,
                      llvm::MutableArrayRef<uint8_t> codes,
                      llvm::MutableArrayRef<Grid> grids);

/// Sums for the relative error ‖W − Ŵ‖ / ‖W‖. Adding in one order gives one
/// result on every machine; sums are in f64.
struct ErrorSums {
  double error = 0;
  double norm = 0;

  void add(llvm::ArrayRef<float> original, llvm::ArrayRef<float> approximation);
  /// 0 where both are zero, infinite where only the original is.
  double getRelativeError() const;
};

} // namespace miura::compress

#endif // MIURA_COMPRESS_QUANTIZE_H
