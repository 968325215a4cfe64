//===- QuantizeTest.cpp - Round to nearest on a uniform grid --------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The properties of a rounding quantizer, for every width, both kinds of grid
/// and both scale types, over random values of random and odd sizes: an error
/// of at most half a step inside the range, idempotence, monotone codes; and
/// that the search for a scale is never worse than the plain choice.
///
//===----------------------------------------------------------------------===//

#include "miura/Compress/Quantize.h"
#include "miura/Support/Half.h"
#include "gtest/gtest.h"
#include <cmath>
#include <random>
#include <vector>

using namespace miura;
using namespace miura::compress;

namespace {

std::vector<float> makeValues(size_t count, std::mt19937 &random) {
  std::normal_distribution<float> normal(0, 1);
  // Scales over many powers of two, an offset now and then, some exact zeros.
  float scale = std::ldexp(1.0f, (int)(random() % 12) - 8);
  float offset = random() % 4 == 0 ? scale : 0;
  std::vector<float> values(count);
  for (float &value : values)
    value = random() % 16 == 0 ? 0 : normal(random) * scale + offset;
  return values;
}

template <typename Function> void forAll(Function function) {
  std::mt19937 random(7);
  for (unsigned bits = 2; bits <= 8; ++bits)
    for (bool symmetric : {true, false})
      for (ScaleType type : {ScaleType::F16, ScaleType::F32})
        for (size_t count : {1, 2, 3, 7, 8, 9, 31, 32, 33, 127, 128, 1001})
          for (int round = 0; round < 8; ++round) {
            SCOPED_TRACE(testing::Message()
                         << bits << " bits, symmetric " << symmetric
                         << ", scale " << (int)type << ", " << count
                         << " values, round " << round);
            function(QuantizerOptions{bits, symmetric, type},
                     makeValues(count, random), random);
          }
}

std::vector<float> roundTrip(const QuantizerOptions &options, const Grid &grid,
                             const std::vector<float> &values) {
  std::vector<uint8_t> codes(values.size());
  std::vector<float> back(values.size());
  encode(values, options, grid, codes);
  decode(codes, options, grid, back);
  return back;
}

double squaredError(const std::vector<float> &a, const std::vector<float> &b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i)
    sum += (double)(a[i] - b[i]) * (a[i] - b[i]);
  return sum;
}

TEST(QuantizeTest, ErrsByAtMostHalfAStepInsideTheRange) {
  forAll([](QuantizerOptions options, std::vector<float> values,
            std::mt19937 &) {
    Grid grid;
    ASSERT_EQ(fitGrid(values, options, grid), FitResult::Fitted);
    std::vector<float> back = roundTrip(options, grid, values);
    double a = (double)(getLowestCode(options) - grid.zero) * grid.scale;
    double b = (double)(getHighestCode(options) - grid.zero) * grid.scale;
    double least = std::min(a, b), greatest = std::max(a, b);
    // The code is rounded from value · (1 / scale), two roundings of 2^-24 of
    // at most 2^8 steps, and the value from code · scale, one more.
    double half = std::fabs(grid.scale) * (0.5 + 3 * 256 * 0x1p-24);
    for (size_t i = 0; i < values.size(); ++i) {
      double inside = std::min(std::max((double)values[i], least), greatest);
      ASSERT_LE(std::fabs(back[i] - inside), half) << values[i];
    }
  });
}

TEST(QuantizeTest, StoresScalesAsTheTypeSays) {
  forAll(
      [](QuantizerOptions options, std::vector<float> values, std::mt19937 &) {
        Grid grid;
        ASSERT_EQ(fitGrid(values, options, grid), FitResult::Fitted);
        if (options.scaleType == ScaleType::F16) {
          EXPECT_EQ(halfToFloat(floatToHalf(grid.scale)), grid.scale);
        }
        if (options.symmetric) {
          EXPECT_EQ(grid.zero, 0);
        }
        EXPECT_GE(grid.zero, 0);
        EXPECT_LT(grid.zero, 1 << options.bits);
      });
}

TEST(QuantizeTest, LeavesWhatIsOnTheGrid) {
  forAll(
      [](QuantizerOptions options, std::vector<float> values, std::mt19937 &) {
        Grid grid, again;
        ASSERT_EQ(fitGrid(values, options, grid), FitResult::Fitted);
        std::vector<float> once = roundTrip(options, grid, values);
        EXPECT_EQ(roundTrip(options, grid, once), once) << "on the same grid";
        ASSERT_EQ(fitGrid(once, options, again), FitResult::Fitted);
        std::vector<float> twice = roundTrip(options, again, once);
        if (options.scaleType == ScaleType::F16) {
          // Products of 11 and 9 bits are exact, so the same scale comes back.
          EXPECT_EQ(twice, once) << "on its own grid";
          return;
        }
        // An f32 scale comes back up to the rounding of product and quotient.
        for (size_t i = 0; i < once.size(); ++i)
          EXPECT_NEAR(twice[i], once[i], std::fabs(once[i]) * 4 * 0x1p-24);
      });
}

TEST(QuantizeTest, IsMonotone) {
  forAll(
      [](QuantizerOptions options, std::vector<float> values, std::mt19937 &) {
        Grid grid;
        ASSERT_EQ(fitGrid(values, options, grid), FitResult::Fitted);
        std::sort(values.begin(), values.end());
        std::vector<float> back = roundTrip(options, grid, values);
        EXPECT_TRUE(std::is_sorted(back.begin(), back.end()));
      });
}

TEST(QuantizeTest, IsNeverWorseThanThePlainScale) {
  double gain[9] = {};
  int count[9] = {};
  forAll([&](QuantizerOptions options, std::vector<float> values,
             std::mt19937 &) {
    Grid grid, plain;
    ASSERT_EQ(fitGrid(values, options, grid), FitResult::Fitted);
    auto [least, greatest] = std::minmax_element(values.begin(), values.end());
    ASSERT_EQ(fitGridToRange(*least, *greatest, options, plain),
              FitResult::Fitted);
    double fitted = squaredError(values, roundTrip(options, grid, values));
    double simple = squaredError(values, roundTrip(options, plain, values));
    // The search sums in f32.
    EXPECT_LE(fitted, simple * (1 + 1e-4) + 1e-12);
    if (options.symmetric && values.size() == 32 && fitted > 0) {
      gain[options.bits] += 10 * std::log10(simple / fitted);
      ++count[options.bits];
    }
  });
  for (int bits = 2; bits <= 8; ++bits)
    printf("%d bits, blocks of 32: %.2f dB better than absmax\n", bits,
           gain[bits] / count[bits]);
  EXPECT_GT(gain[2] / count[2], 1.0);
}

TEST(QuantizeTest, KeepsZeroExactly) {
  forAll(
      [](QuantizerOptions options, std::vector<float> values, std::mt19937 &) {
        values.push_back(0);
        Grid grid;
        ASSERT_EQ(fitGrid(values, options, grid), FitResult::Fitted);
        EXPECT_EQ(roundTrip(options, grid, values).back(), 0);
      });
}

TEST(QuantizeTest, HoldsAWholeTensorInItsRange) {
  forAll([](QuantizerOptions options, std::vector<float> values,
            std::mt19937 &) {
    Grid grid;
    auto [least, greatest] = std::minmax_element(values.begin(), values.end());
    ASSERT_EQ(fitGridToRange(*least, *greatest, options, grid),
              FitResult::Fitted);
    std::vector<float> back = roundTrip(options, grid, values);
    // A scale of f16 may be rounded down by 2^-11 of itself, over 2^8 steps;
    // an asymmetric range may start up to half a step beside the least value.
    double bound = std::fabs(grid.scale) *
                   ((options.symmetric ? 0.5 : 1.0) + 256 * 0x1p-11);
    for (size_t i = 0; i < values.size(); ++i)
      ASSERT_LE(std::fabs(back[i] - values[i]), bound);
  });
}

TEST(QuantizeTest, RefusesWhatHasNoGrid) {
  Grid grid;
  QuantizerOptions options;
  EXPECT_EQ(fitGrid({1.0f, NAN}, options, grid), FitResult::NotFinite);
  EXPECT_EQ(fitGrid({1.0f, -INFINITY}, options, grid), FitResult::NotFinite);
  EXPECT_EQ(fitGrid({1e9f, -1.0f}, options, grid), FitResult::ScaleOverflow);
  options.scaleType = ScaleType::F32;
  EXPECT_EQ(fitGrid({1e9f, -1.0f}, options, grid), FitResult::Fitted);
  // All zeros, nothing at all, and values too small for any f16 scale.
  options.scaleType = ScaleType::F16;
  for (std::vector<float> values :
       {std::vector<float>{0, 0, -0.0f}, {}, {1e-12f, -1e-12f}}) {
    ASSERT_EQ(fitGrid(values, options, grid), FitResult::Fitted);
    for (float value : roundTrip(options, grid, values))
      EXPECT_EQ(value, 0);
  }
}

TEST(QuantizeTest, QuantizesARowInBlocksThatNeedNotDivide) {
  std::vector<float> row = {1, -8, 3, 7, -7, 2, 100};
  std::vector<uint8_t> codes(row.size());
  std::vector<Grid> grids(3);
  QuantizerOptions options;
  ASSERT_EQ(quantizeRow(row, 3, options, codes, grids), FitResult::Fitted);
  EXPECT_EQ(grids[0].scale, 1);
  EXPECT_EQ(codes, (std::vector<uint8_t>{1, 8, 3, 7, 9, 2, codes[6]}));
  std::vector<float> last(1);
  decode(llvm::ArrayRef<uint8_t>(codes).take_back(1), options, grids[2], last);
  EXPECT_NEAR(last[0], 100, 100 * 0x1p-11);
}

TEST(QuantizeTest, SumsErrorsRelatively) {
  ErrorSums sums;
  sums.add({3, 0}, {3, 0});
  EXPECT_EQ(sums.getRelativeError(), 0);
  sums.add({0, 4}, {0, 3});
  EXPECT_DOUBLE_EQ(sums.getRelativeError(), 0.2);
}

TEST(HalfTest, RoundTripsAndRoundsHalfToEven) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    float value = halfToFloat((uint16_t)bits);
    if (!std::isnan(value))
      ASSERT_EQ(floatToHalf(value), bits);
    else
      ASSERT_TRUE(std::isnan(halfToFloat(floatToHalf(value))));
    if ((bits & 0x7fff) >= 0x7bff)
      continue;
    // Half way to the next one, and one step to either side of it.
    float next = halfToFloat((uint16_t)(bits + 1)), middle = (value + next) / 2;
    ASSERT_EQ(floatToHalf(middle), bits + (bits & 1));
    ASSERT_EQ(floatToHalf(std::nextafter(middle, value)), bits);
    ASSERT_EQ(floatToHalf(std::nextafter(middle, next)), bits + 1);
  }
  EXPECT_EQ(floatToHalf(65519.0f), 0x7bff);
  EXPECT_EQ(floatToHalf(65520.0f), 0x7c00);
  EXPECT_EQ(floatToBfloat(1.0f + 0x1p-8f), 0x3f80);
  EXPECT_EQ(floatToBfloat(1.0f + 3 * 0x1p-8f), 0x3f82);
}

} // namespace
