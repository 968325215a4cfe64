//===- VectorMathTest.cpp - The error of exp and its relatives ------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The bounds that VectorMath.h states, over a fine grid of each function's
/// range, and what happens outside it: zero, infinity, NaN.
///
//===----------------------------------------------------------------------===//

#include "VectorMath.h"
#include "KernelRunner.h"
#include "gtest/gtest.h"
#include <cmath>

using namespace miura::codegen;
using namespace miura::test;

namespace {

using Emit = mlir::Value (*)(VectorBuilder &, mlir::Value);
constexpr float infinity = INFINITY;

class VectorMathTest : public ::testing::Test {
protected:
  /// The function on every entry of x (a multiple of 8).
  std::vector<float> evaluate(Emit emit, const std::vector<float> &x) {
    constexpr int64_t any = mlir::ShapedType::kDynamic;
    KernelRunner runner;
    mlir::Type type = runner.memref({any}, runner.f32());
    auto func = runner.addKernel("kernel", {type, type});
    mlir::OpBuilder builder(&runner.context);
    builder.setInsertionPointToStart(func.addEntryBlock());
    VectorBuilder b(func.getLoc(), builder, 256);
    mlir::Value in = func.getArgument(0), out = func.getArgument(1);
    b.loop(b.index(0), b.dim(in, 0), 8, [&](mlir::Value i) {
      b.storeVector(emit(b, b.loadVector(in, i, 8)), out, i);
    });
    mlir::func::ReturnOp::create(b);
    std::vector<float> result(x.size());
    // Without an fma instruction the test would be one of libm's.
    if (!runner.compile("haswell") || !__builtin_cpu_supports("fma"))
      return {};
    EXPECT_EQ(runner.callsInAssembly(), std::vector<std::string>());
    Arguments arguments;
    arguments.memref(const_cast<float *>(x.data()),
                     {static_cast<int64_t>(x.size())});
    arguments.memref(result.data(), {static_cast<int64_t>(x.size())});
    runner.run("kernel", arguments, 1);
    return result;
  }
  std::vector<float> grid(float low, float high) {
    constexpr int64_t count = 1 << 20;
    std::vector<float> x(count);
    for (int64_t i = 0; i < count; ++i)
      x[i] = low + (high - low) * float(i / double(count - 1));
    return x;
  }
  /// The largest error over [low, high], relative or absolute.
  double worst(Emit emit, double (*exact)(double), float low, float high,
               bool relative) {
    std::vector<float> x = grid(low, high), y = evaluate(emit, x);
    double most = 0;
    for (size_t i = 0; i < y.size(); ++i) {
      double truth = exact(x[i]);
      double error = std::abs(y[i] - truth);
      if (relative && truth != 0)
        error /= std::abs(truth);
      most = std::isnan(error) ? INFINITY : std::max(most, error);
    }
    RecordProperty("error_in_units_of_2^-24", std::to_string(most * 0x1p24));
    return most;
  }
};

TEST_F(VectorMathTest, Exp2) {
  EXPECT_LE(worst(
                emitExp2, [](double x) { return std::exp2(x); }, -126, 127,
                /*relative=*/true),
            1.4 * 0x1p-24);
}
TEST_F(VectorMathTest, Exp) {
  EXPECT_LE(worst(
                emitExp, [](double x) { return std::exp(x); }, -87, 88,
                /*relative=*/true),
            1.6 * 0x1p-24);
}
TEST_F(VectorMathTest, Tanh) {
  EXPECT_LE(worst(
                emitTanh, [](double x) { return std::tanh(x); }, -12, 12,
                /*relative=*/false),
            3 * 0x1p-24);
}
TEST_F(VectorMathTest, Silu) {
  EXPECT_LE(worst(
                emitSilu, [](double x) { return x / (1 + std::exp(-x)); }, -87,
                100, /*relative=*/true),
            3 * 0x1p-23);
}
TEST_F(VectorMathTest, OutsideTheRange) {
  std::vector<float> x = {-infinity, -1000, -128, 0, 128, 1000, infinity, NAN};
  for (Emit emit : {emitExp2, emitExp}) {
    std::vector<float> y = evaluate(emit, x);
    if (y.empty())
      return;
    EXPECT_EQ(y[0], 0);
    EXPECT_EQ(y[1], 0);
    EXPECT_EQ(y[2], 0);
    EXPECT_EQ(y[3], 1);
    EXPECT_EQ(y[4], infinity);
    EXPECT_EQ(y[5], infinity);
    EXPECT_EQ(y[6], infinity);
    EXPECT_TRUE(std::isnan(y[7]));
  }
  std::vector<float> y = evaluate(emitTanh, x);
  EXPECT_EQ(y[0], -1);
  EXPECT_EQ(y[6], 1);
  EXPECT_TRUE(std::isnan(y[7]));
}

} // namespace
