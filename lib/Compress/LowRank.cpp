//===- LowRank.cpp - Factors of least squared error -----------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// See LowRank.h. Fortran's matrices lie column by column, so a row-major A of
/// m × n is given to it as its transpose, n × m; comments speak of A.
///
//===----------------------------------------------------------------------===//

#include "miura/Compress/LowRank.h"
#include "miura/Support/Half.h"
#include <algorithm>
#include <cassert>
#include <cmath>
#include <mutex>

using namespace miura;
using namespace miura::compress;
using llvm::ArrayRef;

extern "C" {
void openblas_set_num_threads(int count);
void sgemm_(const char *transA, const char *transB, const int *m, const int *n,
            const int *k, const float *alpha, const float *a, const int *lda,
            const float *b, const int *ldb, const float *beta, float *c,
            const int *ldc);
void sgeqrf_(const int *m, const int *n, float *a, const int *lda, float *tau,
             float *work, const int *lwork, int *info);
void sorgqr_(const int *m, const int *n, const int *k, float *a, const int *lda,
             const float *tau, float *work, const int *lwork, int *info);
void sgesdd_(const char *jobz, const int *m, const int *n, float *a,
             const int *lda, float *s, float *u, const int *ldu, float *vt,
             const int *ldvt, float *work, const int *lwork, int *iwork,
             int *info);
}

/// Our passes run a task per thread; a library that starts its own beside them
/// would slow all down, and split sums by their number.
static void useOneThread() {
  static std::once_flag once;
  std::call_once(once, [] { openblas_set_num_threads(1); });
}

/// C = op(A) · op(B) + beta · C, column-major.
static void multiply(bool transA, bool transB, int64_t m, int64_t n, int64_t k,
                     const float *a, int64_t lda, const float *b, int64_t ldb,
                     float *c, int64_t ldc, float alpha = 1, float beta = 0) {
  int mm = (int)m, nn = (int)n, kk = (int)k, la = (int)lda, lb = (int)ldb,
      lc = (int)ldc;
  sgemm_(transA ? "T" : "N", transB ? "T" : "N", &mm, &nn, &kk, &alpha, a, &la,
         b, &lb, &beta, c, &lc);
}

/// Replaces the columns of an m × n matrix (m ≥ n) by an orthonormal basis of
/// their span.
static bool orthonormalize(std::vector<float> &a, int64_t m, int64_t n) {
  int mm = (int)m, nn = (int)n, info = 0, query = -1;
  std::vector<float> tau(n);
  float size = 0, other = 0;
  sgeqrf_(&mm, &nn, a.data(), &mm, tau.data(), &size, &query, &info);
  sorgqr_(&mm, &nn, &nn, a.data(), &mm, tau.data(), &other, &query, &info);
  int length = (int)std::max({size, other, 1.0f});
  std::vector<float> work(length);
  sgeqrf_(&mm, &nn, a.data(), &mm, tau.data(), work.data(), &length, &info);
  if (info != 0)
    return false;
  sorgqr_(&mm, &nn, &nn, a.data(), &mm, tau.data(), work.data(), &length,
          &info);
  return info == 0;
}

/// The thin decomposition of a column-major m × n matrix, which is destroyed:
/// u is m × k, vt k × n with k = min(m, n).
static bool decompose(std::vector<float> &a, int64_t m, int64_t n,
                      std::vector<float> &u, std::vector<float> &sigma,
                      std::vector<float> &vt) {
  int64_t k = std::min(m, n);
  u.resize(m * k);
  sigma.resize(k);
  vt.resize(k * n);
  int mm = (int)m, nn = (int)n, kk = (int)k, info = 0, query = -1;
  std::vector<int> integers(8 * k);
  float size = 0;
  sgesdd_("S", &mm, &nn, a.data(), &mm, sigma.data(), u.data(), &mm, vt.data(),
          &kk, &size, &query, integers.data(), &info);
  // The size comes as a float, which may have rounded down.
  int length = (int)(size * 1.001f) + 64;
  std::vector<float> work(length);
  sgesdd_("S", &mm, &nn, a.data(), &mm, sigma.data(), u.data(), &mm, vt.data(),
          &kk, work.data(), &length, integers.data(), &info);
  return info == 0;
}

std::optional<Svd> compress::computeExactSvd(MatrixRef matrix) {
  useOneThread();
  // Of Aᵀ = V Σ Uᵀ: V column by column is Vᵀ row by row, and Uᵀ is U.
  std::vector<float> copy(matrix.values.begin(), matrix.values.end());
  Svd svd;
  svd.rank = std::min(matrix.rows, matrix.columns);
  if (!decompose(copy, matrix.columns, matrix.rows, svd.vt, svd.sigma, svd.u))
    return std::nullopt;
  return svd;
}

namespace {
/// Normal numbers from a counter (SplitMix64 and Box–Muller), the same with
/// every standard library.
class Normal {
public:
  explicit Normal(uint64_t seed) : state(seed) {}

  float operator()() {
    if (hasSpare) {
      hasSpare = false;
      return spare;
    }
    double radius = std::sqrt(-2 * std::log(uniform()));
    double angle = 6.283185307179586 * uniform();
    spare = (float)(radius * std::sin(angle));
    hasSpare = true;
    return (float)(radius * std::cos(angle));
  }

private:
  /// In (0, 1].
  double uniform() {
    uint64_t z = state += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    z ^= z >> 31;
    return (double)((z >> 11) + 1) * 0x1p-53;
  }

  uint64_t state;
  float spare = 0;
  bool hasSpare = false;
};
} // namespace

std::optional<Svd> compress::computeSketchedSvd(MatrixRef matrix, int64_t rank,
                                                const SketchOptions &options) {
  useOneThread();
  int64_t m = matrix.rows, n = matrix.columns;
  assert(rank >= 1 && rank <= std::min(m, n));
  int64_t width = std::min(rank + options.oversampling, std::min(m, n));
  const float *a = matrix.values.data(); // n × m, as Fortran sees it

  Normal normal(options.seed);
  std::vector<float> columns(n * width), rows(m * width);
  for (float &value : columns)
    value = normal();
  for (int64_t i = 0;; ++i) {
    // rows = A · columns, an orthonormal basis of it; columns = Aᵀ · rows.
    multiply(true, false, m, width, n, a, n, columns.data(), n, rows.data(), m);
    if (!orthonormalize(rows, m, width))
      return std::nullopt;
    multiply(false, false, n, width, m, a, n, rows.data(), m, columns.data(),
             n);
    if (i == options.powerIterations)
      break;
    if (!orthonormalize(columns, n, width))
      return std::nullopt;
  }
  // A ≈ Q Qᵀ A = Q · columnsᵀ, and columns = V Σ Wᵀ, so A ≈ (Q W) Σ Vᵀ.
  std::vector<float> v, sigma, wt;
  if (!decompose(columns, n, width, v, sigma, wt))
    return std::nullopt;
  Svd svd;
  svd.rank = rank;
  svd.sigma.assign(sigma.begin(), sigma.begin() + rank);
  svd.vt.assign(v.begin(), v.begin() + rank * n);
  // (Q W) row by row is Wᵀ Qᵀ column by column, of which rank rows are wanted.
  svd.u.resize(m * rank);
  multiply(false, true, rank, m, width, wt.data(), width, rows.data(), m,
           svd.u.data(), rank);
  return svd;
}

//===----------------------------------------------------------------------===//
// Factors
//===----------------------------------------------------------------------===//

double compress::getSquaredNorm(ArrayRef<float> values) {
  double sums[8] = {};
  for (size_t i = 0; i < values.size(); ++i)
    sums[i % 8] += (double)values[i] * values[i];
  return ((sums[0] + sums[4]) + (sums[1] + sums[5])) +
         ((sums[2] + sums[6]) + (sums[3] + sums[7]));
}

uint64_t compress::getSeed(llvm::StringRef name) {
  // FNV-1a: a seed is part of the output, so the hash must never change.
  uint64_t hash = 0xcbf29ce484222325;
  for (char c : name)
    hash = (hash ^ (uint8_t)c) * 0x100000001b3;
  return hash;
}

double compress::getSquaredResidual(ArrayRef<float> values, int64_t batch,
                                    int64_t rows, int64_t columns,
                                    const Factors &factors) {
  useOneThread();
  int64_t k = factors.rank;
  int64_t chunk =
      std::max<int64_t>(1, (1 << 20) / std::max<int64_t>(columns, 1));
  std::vector<float> rest;
  double sum = 0;
  for (int64_t b = 0; b < batch; ++b)
    for (int64_t first = 0; first < rows; first += chunk) {
      int64_t count = std::min(chunk, rows - first);
      ArrayRef<float> part =
          values.slice((b * rows + first) * columns, count * columns);
      rest.assign(part.begin(), part.end());
      multiply(false, false, columns, count, k, &factors.right[b * k * columns],
               columns, &factors.left[(b * rows + first) * k], k, rest.data(),
               columns,
               /*alpha=*/-1, /*beta=*/1);
      sum += getSquaredNorm(rest);
    }
  return sum;
}

/// A decomposition of at least `rank`, or nothing.
static std::optional<Svd> computeSvd(MatrixRef matrix, int64_t rank,
                                     uint64_t seed) {
  SketchOptions sketch;
  sketch.seed = seed;
  int64_t width = rank + sketch.oversampling;
  if (2 * width >= std::min(matrix.rows, matrix.columns))
    return computeExactSvd(matrix);
  return computeSketchedSvd(matrix, rank, sketch);
}

/// Appends the factors of rank `rank` of one matrix; false where one overflows.
static bool appendFactors(const Svd &svd, MatrixRef matrix, int64_t rank,
                          FactorType type, Factors &factors) {
  bool fits = true;
  auto append = [&](std::vector<float> &to, float value) {
    if (type == FactorType::F16)
      value = halfToFloat(floatToHalf(value));
    fits &= std::isfinite(value);
    to.push_back(value);
  };
  for (int64_t r = 0; r < matrix.rows; ++r)
    for (int64_t k = 0; k < rank; ++k)
      append(factors.left, svd.u[r * svd.rank + k] * std::sqrt(svd.sigma[k]));
  for (int64_t k = 0; k < rank; ++k)
    for (int64_t c = 0; c < matrix.columns; ++c)
      append(factors.right,
             svd.vt[k * matrix.columns + c] * std::sqrt(svd.sigma[k]));
  return fits;
}

static FactorResult factorizeByRank(ArrayRef<float> values, int64_t batch,
                                    int64_t rows, int64_t columns, int64_t rank,
                                    const FactorOptions &options,
                                    Factors &factors) {
  factors = Factors();
  factors.rank = rank;
  for (int64_t b = 0; b < batch; ++b) {
    MatrixRef matrix{values.slice(b * rows * columns, rows * columns), rows,
                     columns};
    std::optional<Svd> svd = computeSvd(matrix, rank, options.seed + b);
    if (!svd)
      return FactorResult::NotConverged;
    if (!appendFactors(*svd, matrix, rank, options.type, factors))
      return FactorResult::Overflow;
  }
  return FactorResult::Factored;
}

/// The smallest rank that keeps the energy of every matrix of the batch, as
/// singular values say: ‖A‖² − Σσ² is the squared error of a projection, exact
/// or sketched. 0 where there is none below full rank.
static FactorResult findRank(ArrayRef<float> values, int64_t batch,
                             int64_t rows, int64_t columns,
                             const FactorOptions &options, int64_t &rank) {
  int64_t full = std::min(rows, columns);
  rank = 1;
  for (int64_t b = 0; b < batch; ++b) {
    MatrixRef matrix{values.slice(b * rows * columns, rows * columns), rows,
                     columns};
    double goal = options.energy * getSquaredNorm(matrix.values);
    for (int64_t tried = std::min<int64_t>(32, full);; tried *= 2) {
      tried = std::min(tried, full);
      std::optional<Svd> svd = computeSvd(matrix, tried, options.seed + b);
      if (!svd)
        return FactorResult::NotConverged;
      double kept = 0;
      int64_t k = 0;
      while (k < svd->rank && kept < goal) {
        kept += (double)svd->sigma[k] * svd->sigma[k];
        ++k;
      }
      if (kept >= goal && k < full) {
        rank = std::max(rank, k);
        break;
      }
      if (tried >= full || svd->rank >= full)
        return FactorResult::EnergyTooHigh;
    }
  }
  return FactorResult::Factored;
}

FactorResult compress::factorize(ArrayRef<float> values, int64_t batch,
                                 int64_t rows, int64_t columns,
                                 const FactorOptions &options,
                                 Factors &factors) {
  assert((int64_t)values.size() == batch * rows * columns);
  for (float value : values)
    if (!std::isfinite(value))
      return FactorResult::NotFinite;
  int64_t full = std::min(rows, columns), rank = options.rank;
  if (options.bytes > 0) {
    int64_t size = options.type == FactorType::F16 ? 2 : 4;
    rank = options.bytes / (size * batch * (rows + columns));
    if (rank == 0)
      return FactorResult::TooFewBytes;
  }
  if (options.energy > 0) {
    FactorResult result = findRank(values, batch, rows, columns, options, rank);
    if (result != FactorResult::Factored)
      return result;
    // Rounded factors keep a little less: the promise is checked on them.
    double allowed = (1 - options.energy) * getSquaredNorm(values);
    for (; rank < full; ++rank) {
      result =
          factorizeByRank(values, batch, rows, columns, rank, options, factors);
      if (result != FactorResult::Factored)
        return result;
      if (getSquaredResidual(values, batch, rows, columns, factors) <= allowed)
        return FactorResult::Factored;
    }
    return FactorResult::EnergyTooHigh;
  }
  if (rank >= full)
    return FactorResult::RankTooLarge;
  return factorizeByRank(values, batch, rows, columns, rank, options, factors);
}
