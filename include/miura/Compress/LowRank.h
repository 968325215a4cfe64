//===- LowRank.h - Factors of least squared error ---------------*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// A matrix as a product of two thin ones. The best product of rank k in the
/// Frobenius norm is the truncated singular value decomposition (Eckart and
/// Young); it is found by projection on the range of the matrix' products with
/// random vectors, sharpened by power iterations, and exactly (LAPACK's gesdd)
/// where the projection would not be much smaller than the matrix.
///
/// OpenBLAS does the arithmetic on the calling thread alone, so many matrices
/// are decomposed at once and a result does not depend on how many. Results may
/// differ in their last bits between processors, for which OpenBLAS has
/// different kernels.
///
/// Sources: Eckart and Young, Psychometrika 1 (1936); Halko, Martinsson and
/// Tropp, arXiv:0909.4061, algorithms 4.4 and 5.1, theorem 10.5.
///
//===----------------------------------------------------------------------===//

#ifndef MIURA_COMPRESS_LOWRANK_H
#define MIURA_COMPRESS_LOWRANK_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include <cstdint>
#include <optional>
#include <vector>

namespace miura::compress {

/// A row-major matrix that is not owned.
struct MatrixRef {
  llvm::ArrayRef<float> values;
  int64_t rows = 0, columns = 0;
};

/// A ≈ u · diag(sigma) · vt, with sigma falling.
struct Svd {
  int64_t rank = 0;
  std::vector<float> u;     ///< rows × rank
  std::vector<float> sigma; ///< rank
  std::vector<float> vt;    ///< rank × columns
};

/// The whole decomposition, of rank min(rows, columns). Nothing where LAPACK
/// does not converge.
std::optional<Svd> computeExactSvd(MatrixRef matrix);

struct SketchOptions {
  int64_t oversampling = 10;
  /// Singular values of rounding errors fall slowly; with 4 iterations what is
  /// lost to the projection is below a hundredth of what the rank can give.
  int64_t powerIterations = 4;
  uint64_t seed = 0;
};

/// A decomposition of rank `rank` (at most min(rows, columns)) by projection.
std::optional<Svd> computeSketchedSvd(MatrixRef matrix, int64_t rank,
                                      const SketchOptions &options);

/// What factors are stored as.
enum class FactorType { F16, F32 };

/// One of rank, energy and bytes is set.
struct FactorOptions {
  int64_t rank = 0;
  /// The share of the squared norm, in (0, 1), that the product keeps at least.
  double energy = 0;
  /// The most bytes that all factors together take.
  int64_t bytes = 0;
  FactorType type = FactorType::F16;
  uint64_t seed = 0;
};

enum class FactorResult {
  Factored,
  NotFinite,     ///< a value is infinite or not a number
  RankTooLarge,  ///< the rank is not below the smaller dimension
  EnergyTooHigh, ///< no such rank keeps the energy
  TooFewBytes,   ///< the bytes do not hold rank 1
  Overflow,      ///< a factor is too large for its type
  NotConverged,  ///< LAPACK gave up
};

/// Factors of a batch of matrices, of one rank; values are what the type can
/// hold. A singular value is split evenly between the two, so that neither
/// leaves the range of f16 where the other does not.
struct Factors {
  int64_t rank = 0;
  std::vector<float> left;  ///< batch × rows × rank
  std::vector<float> right; ///< batch × rank × columns
};

/// Factors each of the `batch` matrices that lie one behind the other in
/// `values`.
FactorResult factorize(llvm::ArrayRef<float> values, int64_t batch,
                       int64_t rows, int64_t columns,
                       const FactorOptions &options, Factors &factors);

/// ‖A − L·R‖² summed over the batch, in f64.
double getSquaredResidual(llvm::ArrayRef<float> values, int64_t batch,
                          int64_t rows, int64_t columns,
                          const Factors &factors);

/// The sum of squares in f64.
double getSquaredNorm(llvm::ArrayRef<float> values);

/// A seed that depends on a name only.
uint64_t getSeed(llvm::StringRef name);

} // namespace miura::compress

#endif // MIURA_COMPRESS_LOWRANK_H
