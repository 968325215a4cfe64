//===- LowRankTest.cpp - Factors of least squared error -------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The sketched decomposition against LAPACK's on random matrices of odd sizes
/// and several spectra: no product of rank k is better than the truncated
/// decomposition (Eckart and Young), and the sketch is within the bound of
/// Halko et al. of it; errors fall with the rank; energy and bytes are kept as
/// promised; the same seed gives the same bits.
///
//===----------------------------------------------------------------------===//

#include "miura/Compress/LowRank.h"
#include "gtest/gtest.h"
#include <cmath>
#include <random>

using namespace miura::compress;
using llvm::ArrayRef;

namespace {

struct Matrix {
  int64_t rows, columns;
  std::vector<float> values;
  MatrixRef ref() const { return {values, rows, columns}; }
};

/// How singular values fall.
enum class Spectrum { Flat, Slow, Fast };

Matrix makeMatrix(int64_t rows, int64_t columns, Spectrum spectrum,
                  uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, 1);
  Matrix matrix{rows, columns, std::vector<float>(rows * columns)};
  if (spectrum == Spectrum::Flat) { // what rounding leaves
    for (float &value : matrix.values)
      value = normal(random);
    return matrix;
  }
  for (int64_t k = 0; k < std::min(rows, columns); ++k) {
    double sigma = spectrum == Spectrum::Slow ? 1 / std::sqrt(k + 1.0)
                                              : std::pow(0.8, (double)k);
    std::vector<float> left(rows), right(columns);
    for (float &value : left)
      value = normal(random);
    for (float &value : right)
      value = normal(random);
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t c = 0; c < columns; ++c)
        matrix.values[r * columns + c] += (float)sigma * left[r] * right[c];
  }
  return matrix;
}

/// ‖A − U Σ Vᵀ‖² of the leading `rank` terms, by plain loops.
double getError(const Matrix &matrix, const Svd &svd, int64_t rank) {
  double sum = 0;
  for (int64_t r = 0; r < matrix.rows; ++r)
    for (int64_t c = 0; c < matrix.columns; ++c) {
      double value = matrix.values[r * matrix.columns + c];
      for (int64_t k = 0; k < rank; ++k)
        value -= (double)svd.u[r * svd.rank + k] * svd.sigma[k] *
                 svd.vt[k * matrix.columns + c];
      sum += value * value;
    }
  return sum;
}

double getTail(const Svd &svd, int64_t rank) {
  double sum = 0;
  for (int64_t k = rank; k < svd.rank; ++k)
    sum += (double)svd.sigma[k] * svd.sigma[k];
  return sum;
}

const std::pair<int64_t, int64_t> kSizes[] = {
    {1, 1}, {1, 7}, {9, 1}, {17, 33}, {64, 64}, {101, 37}, {73, 150}};

TEST(LowRankTest, ExactIsOptimal) {
  for (auto [rows, columns] : kSizes) {
    SCOPED_TRACE(testing::Message() << rows << " x " << columns);
    Matrix matrix = makeMatrix(rows, columns, Spectrum::Slow, 1);
    std::optional<Svd> svd = computeExactSvd(matrix.ref());
    ASSERT_TRUE(svd);
    ASSERT_EQ(svd->rank, std::min(rows, columns));
    double norm = getSquaredNorm(matrix.values);
    for (int64_t rank : {int64_t(0), int64_t(1), svd->rank / 2, svd->rank})
      EXPECT_NEAR(getError(matrix, *svd, rank), getTail(*svd, rank),
                  1e-5 * norm);
  }
}

TEST(LowRankTest, SketchIsNearlyOptimal) {
  for (auto [rows, columns] : kSizes)
    for (Spectrum spectrum : {Spectrum::Flat, Spectrum::Slow, Spectrum::Fast})
      for (int64_t rank : {1, 2, 5, 16}) {
        if (rank > std::min(rows, columns))
          continue;
        SCOPED_TRACE(testing::Message()
                     << rows << " x " << columns << ", spectrum "
                     << (int)spectrum << ", rank " << rank);
        Matrix matrix = makeMatrix(rows, columns, spectrum, 2);
        SketchOptions options;
        options.seed = 5;
        std::optional<Svd> exact = computeExactSvd(matrix.ref());
        std::optional<Svd> sketch =
            computeSketchedSvd(matrix.ref(), rank, options);
        ASSERT_TRUE(exact && sketch);
        double norm = getSquaredNorm(matrix.values);
        double error = getError(matrix, *sketch, rank);
        double best = getTail(*exact, rank), rounding = 1e-5 * norm;
        // Eckart and Young: nothing is better.
        EXPECT_GE(error, best - rounding);
        // Theorem 10.5 bounds the expectation without power iterations.
        double bound = best * (1 + rank / (options.oversampling - 1.0));
        EXPECT_LE(error, bound + rounding);
        // What is lost beside what the rank gives, with them.
        EXPECT_LE(error - best, 0.02 * (norm - best) + rounding);
        std::optional<Svd> again =
            computeSketchedSvd(matrix.ref(), rank, options);
        EXPECT_EQ(sketch->u, again->u);
        EXPECT_EQ(sketch->vt, again->vt);
      }
}

double factorAndMeasure(const Matrix &matrix, const FactorOptions &options,
                        Factors &factors) {
  EXPECT_EQ(factorize(matrix.values, 1, matrix.rows, matrix.columns, options,
                      factors),
            FactorResult::Factored);
  return getSquaredResidual(matrix.values, 1, matrix.rows, matrix.columns,
                            factors);
}

TEST(LowRankTest, ErrorFallsWithTheRank) {
  for (Spectrum spectrum : {Spectrum::Flat, Spectrum::Slow, Spectrum::Fast})
    for (FactorType type : {FactorType::F16, FactorType::F32}) {
      Matrix matrix = makeMatrix(131, 95, spectrum, 3);
      double norm = getSquaredNorm(matrix.values), last = norm;
      for (int64_t rank : {1, 2, 3, 5, 8, 13, 21, 34, 55, 89}) {
        FactorOptions options;
        options.rank = rank;
        options.type = type;
        options.seed = 7;
        Factors factors;
        double error = factorAndMeasure(matrix, options, factors);
        EXPECT_EQ(factors.rank, rank);
        // Below what f16 factors can resolve the error stays.
        EXPECT_LE(error, last + 1e-6 * norm) << "rank " << rank;
        last = error;
      }
    }
}

TEST(LowRankTest, KeepsTheEnergy) {
  for (auto [rows, columns] : {std::pair{101, 37}, {150, 260}})
    for (Spectrum spectrum : {Spectrum::Slow, Spectrum::Fast})
      for (double energy : {0.3, 0.9, 0.99}) {
        Matrix matrix = makeMatrix(rows, columns, spectrum, 4);
        FactorOptions options;
        options.energy = energy;
        Factors factors;
        double error = factorAndMeasure(matrix, options, factors);
        double norm = getSquaredNorm(matrix.values);
        EXPECT_LE(error, (1 - energy) * norm);
        // The rank is the smallest, give or take what a sketch and rounding
        // cost.
        std::optional<Svd> exact = computeExactSvd(matrix.ref());
        if (factors.rank > 2) {
          EXPECT_GT(getTail(*exact, factors.rank - 2), (1 - energy) * norm);
        }
      }
  // Noise has no rank to find.
  Matrix noise = makeMatrix(20, 20, Spectrum::Flat, 5);
  FactorOptions options;
  options.energy = 0.99999999;
  Factors factors;
  EXPECT_EQ(factorize(noise.values, 1, 20, 20, options, factors),
            FactorResult::EnergyTooHigh);
}

TEST(LowRankTest, KeepsToTheBytes) {
  Matrix matrix = makeMatrix(100, 60, Spectrum::Slow, 6);
  for (FactorType type : {FactorType::F16, FactorType::F32})
    for (int64_t bytes : {640, 641, 1279, 3200, 6399}) {
      int64_t size = type == FactorType::F16 ? 2 : 4;
      FactorOptions options;
      options.bytes = bytes;
      options.type = type;
      Factors factors;
      factorAndMeasure(matrix, options, factors);
      int64_t used =
          size * (int64_t)(factors.left.size() + factors.right.size());
      EXPECT_LE(used, bytes);
      EXPECT_GT(used + size * 160, bytes);
    }
  FactorOptions options;
  options.bytes = 319;
  Factors factors;
  EXPECT_EQ(factorize(matrix.values, 1, 100, 60, options, factors),
            FactorResult::TooFewBytes);
}

TEST(LowRankTest, Refuses) {
  FactorOptions options;
  options.rank = 2;
  Factors factors;
  std::vector<float> values = {1, 2, 3, 4};
  EXPECT_EQ(factorize(values, 1, 2, 2, options, factors),
            FactorResult::RankTooLarge);
  options.rank = 1;
  values[2] = NAN;
  EXPECT_EQ(factorize(values, 1, 2, 2, options, factors),
            FactorResult::NotFinite);
  values[2] = 1e20f;
  EXPECT_EQ(factorize(values, 1, 2, 2, options, factors),
            FactorResult::Overflow);
  options.type = FactorType::F32;
  EXPECT_EQ(factorize(values, 1, 2, 2, options, factors),
            FactorResult::Factored);
}

TEST(LowRankTest, FactorsEachMatrixOfABatch) {
  Matrix first = makeMatrix(12, 9, Spectrum::Fast, 8);
  Matrix second = makeMatrix(12, 9, Spectrum::Fast, 9);
  std::vector<float> both = first.values;
  both.insert(both.end(), second.values.begin(), second.values.end());
  FactorOptions options;
  options.rank = 3;
  Factors factors, alone;
  ASSERT_EQ(factorize(both, 2, 12, 9, options, factors),
            FactorResult::Factored);
  double error = factorAndMeasure(first, options, alone) +
                 factorAndMeasure(second, options, alone);
  EXPECT_NEAR(getSquaredResidual(both, 2, 12, 9, factors), error,
              1e-6 * getSquaredNorm(both));
}

TEST(LowRankTest, AllZeros) {
  std::vector<float> values(40 * 30);
  FactorOptions options;
  options.rank = 4;
  Factors factors;
  ASSERT_EQ(factorize(values, 1, 40, 30, options, factors),
            FactorResult::Factored);
  EXPECT_EQ(getSquaredResidual(values, 1, 40, 30, factors), 0);
}

} // namespace
