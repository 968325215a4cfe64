//===- ModelOpsTest.cpp - Model ops against naive loops -------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Every model and session op, compiled by the oracle, against its definition
/// written as loops in double. Tolerances: f32 sums of up to 48 terms of size 1
/// err by less than 48 · 2⁻²⁴ · 8 ≈ 2.3e-5.
///
//===----------------------------------------------------------------------===//

#include "OracleTest.h"
#include "llvm/Support/FormatVariadic.h"
#include <cmath>

using namespace miura;

namespace {
constexpr double kTolerance = 3e-5;
constexpr double kInfinity = INFINITY;
} // namespace

TEST_F(OracleTest, LinearWithBias) {
  HostArray x = randomFloats({2, 3, 8}), w = randomFloats({5, 8}),
            bias = randomFloats({5});
  auto y = run(R"(
    func.func @f(%x: tensor<?x?x8xf32>, %w: tensor<5x8xf32>, %b: tensor<5xf32>)
        -> tensor<?x?x5xf32> {
      %y = miura.linear %x, %w, %b id("w") compute(f32, f32)
        : (tensor<?x?x8xf32>, tensor<5x8xf32>, tensor<5xf32>) -> tensor<?x?x5xf32>
      return %y : tensor<?x?x5xf32>
    })",
               {x, w, bias});
  ASSERT_EQ(y.size(), 1u);
  ASSERT_EQ(y[0].getShape(), (llvm::ArrayRef<int64_t>{2, 3, 5}));
  expectNear(y[0], kTolerance, [&](int64_t i) {
    int64_t row = i / 5, o = i % 5;
    double sum = bias.get(o);
    for (int64_t k = 0; k < 8; ++k)
      sum += x.get(row * 8 + k) * at(w, {o, k});
    return sum;
  });
}

TEST_F(OracleTest, LinearOfNoRows) {
  auto y = run(R"(
    func.func @f(%x: tensor<?x8xf32>, %w: tensor<5x8xf32>) -> tensor<?x5xf32> {
      %y = miura.linear %x, %w id("w") compute(f32, f32)
        : (tensor<?x8xf32>, tensor<5x8xf32>) -> tensor<?x5xf32>
      return %y : tensor<?x5xf32>
    })",
               {zeros({0, 8}), randomFloats({5, 8})});
  ASSERT_EQ(y.size(), 1u);
  EXPECT_EQ(y[0].getShape(), (llvm::ArrayRef<int64_t>{0, 5}));
}

/// compute(i8, f32): one scale per token, and one per block whose last is
/// shorter.
TEST_F(OracleTest, LinearOfInt8Activations) {
  HostArray x = randomFloats({3, 10}), w = randomFloats({4, 10});
  for (int64_t k = 0; k < 10; ++k)
    x.set(10 + k, 0); // A row of zeros has scale 0.
  for (int64_t block : {0, 4}) {
    auto y = run(llvm::formatv(R"(
      func.func @f(%x: tensor<?x10xf32>, %w: tensor<4x10xf32>) -> tensor<?x4xf32> {{
        %y = miura.linear %x, %w id("w") compute(i8, f32{0})
          : (tensor<?x10xf32>, tensor<4x10xf32>) -> tensor<?x4xf32>
        return %y : tensor<?x4xf32>
      })",
                               block ? ", block = 4" : "")
                     .str(),
                 {x, w});
    ASSERT_EQ(y.size(), 1u);
    int64_t size = block ? block : 10;
    expectNear(y[0], kTolerance, [&](int64_t i) {
      int64_t row = i / 4, o = i % 4;
      double sum = 0;
      for (int64_t begin = 0; begin < 10; begin += size) {
        int64_t end = std::min<int64_t>(begin + size, 10);
        float largest = 0;
        for (int64_t k = begin; k < end; ++k)
          largest = std::max(largest, std::fabs(float(at(x, {row, k}))));
        float scale = largest / 127;
        for (int64_t k = begin; k < end && scale != 0; ++k)
          sum += std::nearbyint(float(at(x, {row, k})) / scale) * scale *
                 at(w, {o, k});
      }
      return sum;
    });
  }
}

TEST_F(OracleTest, EmbeddingCountsNegativeFromTheEnd) {
  HostArray w = randomFloats({7, 3});
  auto y = run(R"(
    func.func @f(%i: tensor<?x?xi64>, %w: tensor<7x3xf32>) -> tensor<?x?x3xf32> {
      %y = miura.embedding %i, %w id("w") : (tensor<?x?xi64>, tensor<7x3xf32>) -> tensor<?x?x3xf32>
      return %y : tensor<?x?x3xf32>
    })",
               {integers({1, 4}, {0, 6, -1, -7}), w});
  ASSERT_EQ(y.size(), 1u);
  int64_t rows[] = {0, 6, 6, 0};
  expectNear(y[0], 0, [&](int64_t i) { return at(w, {rows[i / 3], i % 3}); });
}

TEST_F(OracleTest, Norms) {
  HostArray x = randomFloats({2, 2, 6}), scale = randomFloats({6}),
            bias = randomFloats({6});
  auto y = run(R"(
    func.func @f(%x: tensor<?x?x6xf32>, %s: tensor<6xf32>, %b: tensor<6xf32>)
        -> (tensor<?x?x6xf32>, tensor<?x?x6xf32>) {
      %r = miura.rms_norm %x, %s epsilon 1.0e-3 : tensor<?x?x6xf32>, tensor<6xf32>
      %l = miura.layer_norm %x, %s, %b epsilon 1.0e-3 : tensor<?x?x6xf32>, tensor<6xf32>, tensor<6xf32>
      return %r, %l : tensor<?x?x6xf32>, tensor<?x?x6xf32>
    })",
               {x, scale, bias});
  ASSERT_EQ(y.size(), 2u);
  auto moments = [&](int64_t row) {
    double sum = 0, squares = 0;
    for (int64_t k = 0; k < 6; ++k) {
      sum += x.get(row * 6 + k);
      squares += x.get(row * 6 + k) * x.get(row * 6 + k);
    }
    return std::pair(sum / 6, squares / 6);
  };
  expectNear(y[0], kTolerance, [&](int64_t i) {
    return x.get(i) / std::sqrt(moments(i / 6).second + 1e-3) *
           scale.get(i % 6);
  });
  expectNear(y[1], kTolerance, [&](int64_t i) {
    auto [mean, square] = moments(i / 6);
    return (x.get(i) - mean) / std::sqrt(square - mean * mean + 1e-3) *
               scale.get(i % 6) +
           bias.get(i % 6);
  });
}

TEST_F(OracleTest, HeadsSplitAndMerge) {
  HostArray x = randomFloats({2, 3, 8});
  auto y = run(R"(
    func.func @f(%x: tensor<?x?x8xf32>) -> (tensor<?x4x?x2xf32>, tensor<?x?x8xf32>) {
      %s = miura.split_heads %x : tensor<?x?x8xf32> -> tensor<?x4x?x2xf32>
      %m = miura.merge_heads %s : tensor<?x4x?x2xf32> -> tensor<?x?x8xf32>
      return %s, %m : tensor<?x4x?x2xf32>, tensor<?x?x8xf32>
    })",
               {x});
  ASSERT_EQ(y.size(), 2u);
  expectNear(y[0], 0, [&](int64_t i) {
    int64_t d = i % 2, t = i / 2 % 3, h = i / 6 % 4, b = i / 24;
    return at(x, {b, t, h * 2 + d});
  });
  expectNear(y[1], 0, [&](int64_t i) { return x.get(i); });
}

TEST_F(OracleTest, RopeOfHalvesAndOfPairs) {
  HostArray x = randomFloats({2, 3, 2, 6}), cos = randomFloats({1, 2, 4}),
            sin = randomFloats({1, 2, 4});
  for (bool interleaved : {false, true}) {
    auto y = run(llvm::formatv(R"(
      func.func @f(%x: tensor<?x3x?x6xf32>, %c: tensor<?x?x4xf32>, %s: tensor<?x?x4xf32>)
          -> tensor<?x3x?x6xf32> {{
        %y = miura.rope %x, %c, %s {0} : tensor<?x3x?x6xf32>, tensor<?x?x4xf32>, tensor<?x?x4xf32>
        return %y : tensor<?x3x?x6xf32>
      })",
                               interleaved ? "interleaved" : "")
                     .str(),
                 {x, cos, sin});
    ASSERT_EQ(y.size(), 1u);
    expectNear(y[0], kTolerance, [&](int64_t i) {
      int64_t d = i % 6, t = i / 6 % 2, base = i - d;
      if (d >= 4)
        return x.get(i);
      int64_t partner = interleaved ? (d ^ 1) : (d + 2) % 4;
      double sign = partner > d ? -1 : 1;
      return x.get(i) * at(cos, {0, t, d}) +
             sign * x.get(base + partner) * at(sin, {0, t, d});
    });
  }
}

TEST_F(OracleTest, Activations) {
  HostArray x = randomFloats({3, 5});
  auto y = run(R"(
    func.func @f(%x: tensor<?x5xf32>)
        -> (tensor<?x5xf32>, tensor<?x5xf32>, tensor<?x5xf32>, tensor<?x5xf32>) {
      %a = miura.silu %x : tensor<?x5xf32>
      %b = miura.gelu %x : tensor<?x5xf32>
      %c = miura.gelu %x tanh : tensor<?x5xf32>
      %d = miura.softmax %x : tensor<?x5xf32>
      return %a, %b, %c, %d : tensor<?x5xf32>, tensor<?x5xf32>, tensor<?x5xf32>, tensor<?x5xf32>
    })",
               {x});
  ASSERT_EQ(y.size(), 4u);
  expectNear(y[0], kTolerance,
             [&](int64_t i) { return x.get(i) / (1 + std::exp(-x.get(i))); });
  expectNear(y[1], kTolerance, [&](int64_t i) {
    return 0.5 * x.get(i) * (1 + std::erf(x.get(i) / std::sqrt(2.0)));
  });
  expectNear(y[2], kTolerance, [&](int64_t i) {
    double v = x.get(i);
    return 0.5 * v *
           (1 + std::tanh(std::sqrt(2 / M_PI) * (v + 0.044715 * v * v * v)));
  });
  expectNear(y[3], kTolerance, [&](int64_t i) {
    double sum = 0;
    for (int64_t k = 0; k < 5; ++k)
      sum += std::exp(x.get(i / 5 * 5 + k));
    return std::exp(x.get(i)) / sum;
  });
}

namespace {
/// Attention in double: `score(b, h, q, k)` adds the mask to a scaled score,
/// minus infinity where the key is not seen.
template <typename Fn>
double attend(const HostArray &q, const HostArray &k, const HostArray &v,
              int64_t flat, double scale, double softcap, Fn mask) {
  int64_t heads = q.getShape()[1], queries = q.getShape()[2],
          size = q.getShape()[3], keys = k.getShape()[2],
          valueSize = v.getShape()[3], group = heads / k.getShape()[1];
  int64_t d = flat % valueSize, i = flat / valueSize % queries,
          h = flat / (valueSize * queries) % heads,
          b = flat / (valueSize * queries * heads);
  double sum = 0, result = 0;
  for (int64_t j = 0; j < keys; ++j) {
    double s = 0;
    for (int64_t e = 0; e < size; ++e)
      s += at(q, {b, h, i, e}) * at(k, {b, h / group, j, e});
    s *= scale;
    if (softcap != 0)
      s = softcap * std::tanh(s / softcap);
    s += mask(b, h, i, j);
    sum += std::exp(s);
    result += std::exp(s) == 0 ? 0 : std::exp(s) * at(v, {b, h / group, j, d});
  }
  return sum == 0 ? 0 : result / sum;
}
} // namespace

TEST_F(OracleTest, AttentionCausalWithWindowAndSoftcap) {
  HostArray q = randomFloats({2, 4, 3, 8}), k = randomFloats({2, 2, 7, 8}),
            v = randomFloats({2, 2, 7, 5});
  auto y = run(R"(
    func.func @f(%q: tensor<?x4x?x8xf32>, %k: tensor<?x2x?x8xf32>, %v: tensor<?x2x?x5xf32>)
        -> tensor<?x4x?x5xf32> {
      %y = miura.attention %q, %k, %v scale 0.3 causal {window = 3 : i64, softcap = 1.5 : f64}
        : tensor<?x4x?x8xf32>, tensor<?x2x?x8xf32>, tensor<?x2x?x5xf32> -> tensor<?x4x?x5xf32>
      return %y : tensor<?x4x?x5xf32>
    })",
               {q, k, v});
  ASSERT_EQ(y.size(), 1u);
  expectNear(y[0], kTolerance, [&](int64_t flat) {
    return attend(q, k, v, flat, 0.3, 1.5,
                  [](int64_t, int64_t, int64_t i, int64_t j) {
                    int64_t position = 7 - 3 + i;
                    bool seen = j <= position && j > position - 3;
                    return seen ? 0 : -kInfinity;
                  });
  });
}

/// Padding that hides every key a query could see: zeros, not NaN.
TEST_F(OracleTest, AttentionWithPaddingAndRowsThatSeeNothing) {
  HostArray q = randomFloats({2, 2, 4, 8}), k = randomFloats({2, 2, 4, 8}),
            v = randomFloats({2, 2, 4, 8});
  HostArray padding = integers({2, 4}, {1, 1, 1, 1, 0, 0, 1, 1});
  auto y = run(R"(
    func.func @f(%q: tensor<?x2x?x8xf32>, %k: tensor<?x2x?x8xf32>, %v: tensor<?x2x?x8xf32>,
                 %p: tensor<?x?xi64>) -> tensor<?x2x?x8xf32> {
      %y = miura.attention %q, %k, %v padding %p : tensor<?x?xi64> scale 0.5 causal
        : tensor<?x2x?x8xf32>, tensor<?x2x?x8xf32>, tensor<?x2x?x8xf32> -> tensor<?x2x?x8xf32>
      return %y : tensor<?x2x?x8xf32>
    })",
               {q, k, v, padding});
  ASSERT_EQ(y.size(), 1u);
  EXPECT_EQ(at(y[0], {1, 0, 0, 0}), 0);
  expectNear(y[0], kTolerance, [&](int64_t flat) {
    return attend(q, k, v, flat, 0.5, 0,
                  [&](int64_t b, int64_t, int64_t i, int64_t j) {
                    bool seen = j <= i && at(padding, {b, j}) != 0;
                    return seen ? 0 : -kInfinity;
                  });
  });
}

/// A number that hides, small enough to leave every score its part; what window
/// and padding hide both, and what comes after the query, is gone.
TEST_F(OracleTest, AttentionHiddenOnce) {
  HostArray q = randomFloats({2, 2, 5, 8}), k = randomFloats({2, 2, 5, 8}),
            v = randomFloats({2, 2, 5, 8});
  HostArray padding = integers({2, 5}, {1, 1, 1, 1, 1, 0, 0, 1, 1, 1});
  for (int64_t window : {0, 2}) {
    auto y = run(R"(
      func.func @f(%q: tensor<?x2x?x8xf32>, %k: tensor<?x2x?x8xf32>, %v: tensor<?x2x?x8xf32>,
                   %p: tensor<?x?xi64>) -> tensor<?x2x?x8xf32> {
        %y = miura.attention %q, %k, %v padding %p : tensor<?x?xi64> scale 0.5 causal
          {hidden = -3.0, hidden_once, window = )" +
                     std::to_string(window) + R"( : i64}
          : tensor<?x2x?x8xf32>, tensor<?x2x?x8xf32>, tensor<?x2x?x8xf32> -> tensor<?x2x?x8xf32>
        return %y : tensor<?x2x?x8xf32>
      })",
                 {q, k, v, padding});
    ASSERT_EQ(y.size(), 1u);
    expectNear(y[0], kTolerance, [&](int64_t flat) {
      return attend(q, k, v, flat, 0.5, 0,
                    [&](int64_t b, int64_t, int64_t i, int64_t j) {
                      bool isShown = at(padding, {b, j}) != 0;
                      bool isInWindow = window == 0 || j > i - window;
                      if (j > i || (!isShown && !isInWindow))
                        return -kInfinity;
                      return isShown && isInWindow ? 0 : -3.0;
                    });
    });
  }
}

TEST_F(OracleTest, LinearBias) {
  auto y = run(R"(
    func.func @f(%k: tensor<?x2x?x4xf32>) -> tensor<1x2x1x?xf32> {
      %y = miura.linear_bias %k slopes [0.25, -3.0] : tensor<?x2x?x4xf32> -> tensor<1x2x1x?xf32>
      return %y : tensor<1x2x1x?xf32>
    })",
               {zeros({3, 2, 7, 4}, mlir::Float32Type::get(&context))});
  ASSERT_EQ(y.size(), 1u);
  ASSERT_EQ(y[0].getNumElements(), 14);
  expectNear(y[0], 0, [&](int64_t flat) {
    return (flat < 7 ? 0.25 : -3.0) * double(flat % 7);
  });
}

TEST_F(OracleTest, AttentionWithMasks) {
  HostArray q = randomFloats({2, 2, 3, 8}), k = randomFloats({2, 1, 5, 8}),
            v = randomFloats({2, 1, 5, 8});
  HostArray bias = randomFloats({1, 2, 3, 5});
  HostArray mask = zeros({2, 1, 3, 5}, mlir::IntegerType::get(&context, 1));
  for (int64_t i = 0; i < mask.getNumElements(); ++i)
    mask.set(i, i % 3 != 0);
  auto y = run(R"(
    func.func @f(%q: tensor<?x2x?x8xf32>, %k: tensor<?x1x?x8xf32>, %v: tensor<?x1x?x8xf32>,
                 %bias: tensor<1x2x?x?xf32>, %mask: tensor<?x?x?x?xi1>)
        -> (tensor<?x2x?x8xf32>, tensor<?x2x?x8xf32>) {
      %y = miura.attention %q, %k, %v mask %bias : tensor<1x2x?x?xf32> scale 0.5
        : tensor<?x2x?x8xf32>, tensor<?x1x?x8xf32>, tensor<?x1x?x8xf32> -> tensor<?x2x?x8xf32>
      %z = miura.attention %q, %k, %v mask %mask : tensor<?x?x?x?xi1> scale 0.5
        : tensor<?x2x?x8xf32>, tensor<?x1x?x8xf32>, tensor<?x1x?x8xf32> -> tensor<?x2x?x8xf32>
      return %y, %z : tensor<?x2x?x8xf32>, tensor<?x2x?x8xf32>
    })",
               {q, k, v, bias, mask});
  ASSERT_EQ(y.size(), 2u);
  expectNear(y[0], kTolerance, [&](int64_t flat) {
    return attend(q, k, v, flat, 0.5, 0,
                  [&](int64_t, int64_t h, int64_t i, int64_t j) {
                    return at(bias, {0, h, i, j});
                  });
  });
  expectNear(y[1], kTolerance, [&](int64_t flat) {
    return attend(q, k, v, flat, 0.5, 0,
                  [&](int64_t b, int64_t, int64_t i, int64_t j) {
                    return at(mask, {b, 0, i, j}) != 0 ? 0 : -kInfinity;
                  });
  });
}

/// A step of a session: keys appended at each row's length, attention over the
/// cache, whose unused part holds NaN.
TEST_F(OracleTest, CacheAppendAndCachedAttention) {
  HostArray q = randomFloats({2, 2, 3, 4}), update = randomFloats({2, 1, 3, 4}),
            cache = randomFloats({2, 1, 9, 4});
  int64_t lengths[] = {2, 5};
  for (int64_t b = 0; b < 2; ++b)
    for (int64_t c = lengths[b]; c < 9; ++c)
      for (int64_t d = 0; d < 4; ++d)
        cache.set((b * 9 + c) * 4 + d, NAN);
  HostArray padding = zeros({2, 9}, mlir::IntegerType::get(&context, 8));
  for (int64_t i = 0; i < 18; ++i)
    padding.set(i, i != 1);
  auto y = run(R"(
    func.func @f(%q: tensor<?x2x?x4xf32>, %u: tensor<?x1x?x4xf32>, %c: tensor<?x1x?x4xf32>,
                 %l: tensor<?xi64>, %p: tensor<?x?xi8>, %n: tensor<?xi64>)
        -> (tensor<?x1x?x4xf32>, tensor<?x2x?x4xf32>, tensor<?x1x8xf32>) {
      %k = miura.cache_append %u at %l into %c : tensor<?x1x?x4xf32>, tensor<?xi64> into tensor<?x1x?x4xf32>
      %y = miura.cached_attention %q, %k, %k at %l padding %p : tensor<?x?xi8> scale 0.5 causal
        : tensor<?x2x?x4xf32>, tensor<?x1x?x4xf32>, tensor<?x1x?x4xf32>, tensor<?xi64> -> tensor<?x2x?x4xf32>
      %m = miura.merge_heads %y : tensor<?x2x?x4xf32> -> tensor<?x?x8xf32>
      %last = miura.take_last %m, %n : tensor<?x?x8xf32>, tensor<?xi64> -> tensor<?x1x8xf32>
      return %k, %y, %last : tensor<?x1x?x4xf32>, tensor<?x2x?x4xf32>, tensor<?x1x8xf32>
    })",
               {q, update, cache, integers({2}, lengths), padding,
                integers({2}, {3, 2})});
  ASSERT_EQ(y.size(), 3u);
  HostArray expected = cache;
  for (int64_t b = 0; b < 2; ++b)
    for (int64_t t = 0; t < 3; ++t)
      for (int64_t d = 0; d < 4; ++d)
        expected.set((b * 9 + lengths[b] + t) * 4 + d,
                     at(update, {b, 0, t, d}));
  for (int64_t i = 0; i < expected.getNumElements(); ++i)
    if (!std::isnan(expected.get(i)))
      EXPECT_EQ(y[0].get(i), expected.get(i));
    else
      expected.set(i, 0);
  expectNear(y[1], kTolerance, [&](int64_t flat) {
    return attend(q, expected, expected, flat, 0.5, 0,
                  [&](int64_t b, int64_t, int64_t i, int64_t j) {
                    bool seen = j <= lengths[b] + i && at(padding, {b, j}) != 0;
                    return seen ? 0 : -kInfinity;
                  });
  });
  expectNear(y[2], 0, [&](int64_t i) {
    int64_t b = i / 8, h = i % 8 / 4, last = b == 0 ? 2 : 1;
    return at(y[1], {b, h, last, i % 4});
  });
}

/// Weights are expressions: their values come in as arguments.
TEST_F(OracleTest, ExpressionsAreEvaluated) {
  HostArray x = randomFloats({3, 2});
  auto y = run(R"(
    func.func @f(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {
      %l = arith.constant dense<[[1.0], [2.0]]> : tensor<2x1xf32>
      %r = arith.constant dense<[[3.0, -1.0]]> : tensor<1x2xf32>
      %w = miura.matmul %l, %r : tensor<2x1xf32>, tensor<1x2xf32> -> tensor<2x2xf32>
      %y = miura.linear %x, %w id("w") compute(f32, f32) : (tensor<?x2xf32>, tensor<2x2xf32>) -> tensor<?x2xf32>
      return %y : tensor<?x2xf32>
    })",
               {x});
  ASSERT_EQ(y.size(), 1u);
  expectNear(y[0], kTolerance, [&](int64_t i) {
    return (i % 2 + 1) * (3 * at(x, {i / 2, 0}) - at(x, {i / 2, 1}));
  });
}

TEST_F(OracleTest, InputsThatDoNotFitAreRefused) {
  auto module = mlir::parseSourceString<mlir::ModuleOp>(R"(
    func.func @f(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {
      return %x : tensor<?x2xf32>
    })",
                                                        &context);
  auto function = ReferenceFunction::compile(*module, "f");
  ASSERT_TRUE(mlir::succeeded(function));
  std::string message;
  mlir::ScopedDiagnosticHandler handler(&context, [&](mlir::Diagnostic &d) {
    message = d.str();
    return mlir::success();
  });
  EXPECT_TRUE(mlir::failed(
      (*function)->run({zeros({2, 3})}, mlir::UnknownLoc::get(&context))));
  EXPECT_NE(message.find("expects input 0"), std::string::npos) << message;
  EXPECT_TRUE(
      mlir::failed((*function)->run({}, mlir::UnknownLoc::get(&context))));
  // Results that are arguments are copied.
  HostArray x = randomFloats({2, 2});
  auto y = (*function)->run({x}, mlir::UnknownLoc::get(&context));
  ASSERT_TRUE(mlir::succeeded(y));
  EXPECT_EQ((*y)[0].bytes, x.bytes);
}
