//===- RowKernelTest.cpp - The small kernels against naive loops ----------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Norms, the gate, rotary embedding, the cache's update, last rows and
/// embedding on odd shapes with both vector lengths and 1 to 3 threads. Inputs
/// are at most 1 in size, so a result that is a few products has an error of a
/// few 2⁻²⁴; a norm's mean of squares over n columns has a relative error of at
/// most n · 2⁻²⁴, 3e-5 for the 530 here. Copies and decoded weights are exact.
///
//===----------------------------------------------------------------------===//

#include "KernelRunner.h"
#include "miura/Codegen/CPU/RowKernels.h"
#include "miura/Dialect/Miura/IR/MiuraDialect.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Parser/Parser.h"
#include "gtest/gtest.h"
#include <cmath>
#include <cstring>
#include <random>

using namespace miura::codegen;
using namespace miura::test;
using mlir::ShapedType;

namespace {

constexpr int64_t any = ShapedType::kDynamic;

class RowKernelTest : public ::testing::TestWithParam<unsigned> {
protected:
  const IsaRow &row() {
    return *findIsaRow(GetParam() == 512   ? "avx512vnni"
                       : GetParam() == 256 ? "avx2"
                                           : "neon");
  }
  /// Kernels of rows name no instruction: this machine runs those of a row of
  /// another architecture.
  const IsaRow &hostRow() {
    return GetParam() == 128 ? *findIsaRow("avx2") : row();
  }
  mlir::Type rows(KernelRunner &runner) {
    return mlir::MemRefType::get(
        {any, any}, runner.f32(),
        mlir::StridedLayoutAttr::get(&runner.context, any, {any, 1}));
  }
  /// Compiles, checks that nothing is called, and says whether to run.
  bool prepare(KernelRunner &runner) {
    if (!runner.compile(hostRow().cpu))
      return false;
    EXPECT_EQ(runner.callsInAssembly(), std::vector<std::string>());
    return hostHas(hostRow());
  }
  /// Runs on 1, 2 and 3 threads; `out` is as expected within `bound`, and
  /// untouched where NaN is expected.
  void check(KernelRunner &runner, const Arguments &arguments,
             Buffer<float> &out, const std::vector<double> &expected,
             double bound) {
    ASSERT_EQ(out.size(), expected.size());
    std::vector<float> before = out.copy();
    for (int threads : {1, 2, 3}) {
      std::copy(before.begin(), before.end(), out.begin());
      runner.run("kernel", arguments, threads);
      double worst = 0;
      for (size_t i = 0; i < expected.size(); ++i) {
        if (std::isnan(expected[i])) {
          EXPECT_TRUE(std::isnan(out[i])) << "written at " << i;
          continue;
        }
        double error = std::abs(out[i] - expected[i]);
        worst = std::isnan(error) ? INFINITY : std::max(worst, error);
      }
      EXPECT_LE(worst, bound) << threads << " threads";
      EXPECT_TRUE(out.isIntact());
    }
  }
  void fill(Buffer<float> &buffer, float scale = 1) {
    std::uniform_real_distribution<float> uniform(-scale, scale);
    for (float &x : buffer)
      x = uniform(random);
  }
  std::mt19937 random{5};
};

/// Columns: less than a vector, whole ones, and ends.
constexpr int64_t rowSizes[][2] = {{1, 5},  {1, 64},  {3, 21},
                                   {2, 96}, {7, 130}, {1, 530}};

TEST_P(RowKernelTest, RmsNorm) {
  KernelRunner runner;
  auto func = runner.addKernel(
      "kernel",
      {rows(runner), runner.memref({any}, runner.f32()), rows(runner)});
  emitRmsNormKernel(func, row(), 1e-5);
  if (!prepare(runner))
    return;
  for (auto [m, k] : rowSizes) {
    Buffer<float> x(m * k), scale(k), out(m * k);
    fill(x);
    fill(scale);
    std::vector<double> expected(m * k);
    for (int64_t r = 0; r < m; ++r) {
      double sum = 0;
      for (int64_t i = 0; i < k; ++i)
        sum += double(x[r * k + i]) * x[r * k + i];
      for (int64_t i = 0; i < k; ++i)
        expected[r * k + i] =
            x[r * k + i] / std::sqrt(sum / k + 1e-5) * scale[i];
    }
    check(runner,
          Arguments()
              .memref(x.begin(), {m, k})
              .memref(scale.begin(), {k})
              .memref(out.begin(), {m, k}),
          out, expected, 1e-4);
  }
}

TEST_P(RowKernelTest, LayerNorm) {
  for (bool hasBias : {false, true}) {
    KernelRunner runner;
    mlir::Type vector = runner.memref({any}, runner.f32());
    llvm::SmallVector<mlir::Type> types = {rows(runner), vector};
    if (hasBias)
      types.push_back(vector);
    types.push_back(rows(runner));
    auto func = runner.addKernel("kernel", types);
    emitLayerNormKernel(func, row(), 1e-5, hasBias);
    if (!prepare(runner))
      return;
    for (auto [m, k] : rowSizes) {
      Buffer<float> x(m * k), scale(k), bias(k), out(m * k);
      fill(x);
      fill(scale);
      fill(bias);
      // A large mean: squares must not be taken before it is gone.
      for (float &v : x)
        v += 100;
      std::vector<double> expected(m * k);
      for (int64_t r = 0; r < m; ++r) {
        double mean = 0, variance = 0;
        for (int64_t i = 0; i < k; ++i)
          mean += x[r * k + i] / double(k);
        for (int64_t i = 0; i < k; ++i)
          variance += std::pow(x[r * k + i] - mean, 2) / double(k);
        for (int64_t i = 0; i < k; ++i)
          expected[r * k + i] =
              (x[r * k + i] - mean) / std::sqrt(variance + 1e-5) * scale[i] +
              (hasBias ? bias[i] : 0);
      }
      Arguments arguments;
      arguments.memref(x.begin(), {m, k}).memref(scale.begin(), {k});
      if (hasBias)
        arguments.memref(bias.begin(), {k});
      arguments.memref(out.begin(), {m, k});
      // The mean itself has an error of 100 · a few 2⁻²⁴.
      check(runner, arguments, out, expected, 1e-3);
    }
  }
}

TEST_P(RowKernelTest, SiluMul) {
  KernelRunner runner;
  auto func =
      runner.addKernel("kernel", {rows(runner), rows(runner), rows(runner)});
  emitSiluMulKernel(func, row());
  if (!prepare(runner))
    return;
  for (auto [m, k] : rowSizes) {
    Buffer<float> gate(m * k), up(m * k), out(m * k);
    fill(gate, 20);
    fill(up);
    gate[0] = -200; // e^200 is infinite: the result is zero
    gate[1] = 200;
    std::vector<double> expected(m * k);
    for (int64_t i = 0; i < m * k; ++i)
      expected[i] = gate[i] / (1 + std::exp(-double(gate[i]))) * up[i];
    check(runner,
          Arguments()
              .memref(gate.begin(), {m, k})
              .memref(up.begin(), {m, k})
              .memref(out.begin(), {m, k}),
          out, expected, 4e-5); // two units of 200
  }
}

TEST_P(RowKernelTest, TakeLast) {
  KernelRunner runner;
  auto func = runner.addKernel("kernel",
                               {runner.memref({any, any, any}, runner.f32()),
                                runner.memref({any}, runner.integer(64)),
                                runner.memref({any, any, any}, runner.f32())});
  emitTakeLastKernel(func, row());
  if (!prepare(runner))
    return;
  int64_t b = 3, t = 4, d = 37;
  Buffer<float> x(b * t * d), out(b * d);
  Buffer<int64_t> counts(b);
  fill(x);
  counts[0] = 4;
  counts[1] = 0;
  counts[2] = 2;
  std::vector<double> expected;
  for (int64_t n = 0; n < b; ++n)
    for (int64_t i = 0; i < d; ++i)
      expected.push_back(
          x[(n * t + std::max<int64_t>(0, counts[n] - 1)) * d + i]);
  check(runner,
        Arguments()
            .memref(x.begin(), {b, t, d})
            .memref(counts.begin(), {b})
            .memref(out.begin(), {b, 1, d}),
        out, expected, 0);
}

struct RopeCase {
  int64_t heads, size, rotated;
  bool interleaved;
};

/// One head's entries rotated as the op defines it.
double rotate(const RopeCase &c, const float *x, const float *cos,
              const float *sin, int64_t i) {
  if (i >= c.rotated)
    return x[i];
  int64_t half = c.rotated / 2;
  double other;
  if (c.interleaved)
    other = i % 2 ? x[i - 1] : -double(x[i + 1]);
  else
    other = i < half ? -double(x[i + half]) : x[i - half];
  return double(x[i]) * cos[i] + other * sin[i];
}

TEST_P(RowKernelTest, RopeAndAppend) {
  for (RopeCase c : std::vector<RopeCase>{{3, 64, 64, false},
                                          {2, 48, 32, false},
                                          {3, 20, 20, true},
                                          {2, 37, 18, true},
                                          {1, 6, 6, false},
                                          {2, 40, 0, false}})
    for (bool append : {false, true}) {
      if (!c.rotated && !append)
        continue;
      KernelRunner runner;
      mlir::Type rank3 = runner.memref({any, any, any}, runner.f32());
      llvm::SmallVector<mlir::Type> types = {rank3};
      if (c.rotated)
        types.append(2, rank3);
      if (append) {
        types.push_back(runner.memref({any}, runner.integer(64)));
        types.push_back(runner.memref({any, any, any, any}, runner.f32()));
      } else {
        types.push_back(rank3);
      }
      auto func = runner.addKernel("kernel", types);
      RopeSpec spec;
      spec.size = c.size;
      spec.rotated = c.rotated;
      spec.interleaved = c.interleaved;
      if (append)
        emitAppendKernel(func, row(), spec);
      else
        emitRopeKernel(func, row(), spec);
      if (!prepare(runner))
        return;
      int64_t b = 2, t = 3, capacity = 9, h = c.heads, d = c.size;
      for (int64_t tableRows : {int64_t(1), b}) {
        int64_t r = std::max<int64_t>(c.rotated, 1);
        Buffer<float> x(b * t * h * d), cos(tableRows * t * r),
            sin(tableRows * t * r);
        Buffer<float> out(append ? b * h * capacity * d : b * t * h * d);
        Buffer<int64_t> lengths(b);
        fill(x);
        fill(cos);
        fill(sin);
        lengths[0] = 2;
        lengths[1] = 7; // the last position has no slot
        std::vector<double> expected(out.size(), NAN);
        for (int64_t n = 0; n < b; ++n)
          for (int64_t p = 0; p < t; ++p)
            for (int64_t k = 0; k < h; ++k)
              for (int64_t i = 0; i < d; ++i) {
                int64_t table = ((tableRows == 1 ? 0 : n) * t + p) * r;
                double y = rotate(c, &x[((n * t + p) * h + k) * d], &cos[table],
                                  &sin[table], i);
                int64_t slot = lengths[n] + p;
                if (!append)
                  expected[((n * t + p) * h + k) * d + i] = y;
                else if (slot < capacity)
                  expected[((n * h + k) * capacity + slot) * d + i] = y;
              }
        Arguments arguments;
        arguments.memref(x.begin(), {b, t, h * d});
        if (c.rotated) {
          arguments.memref(cos.begin(), {tableRows, t, r});
          arguments.memref(sin.begin(), {tableRows, t, r});
        }
        if (append)
          arguments.memref(lengths.begin(), {b})
              .memref(out.begin(), {b, h, capacity, d});
        else
          arguments.memref(out.begin(), {b, t, h * d});
        check(runner, arguments, out, expected, 1e-6);
      }
    }
}

TEST_P(RowKernelTest, EmbeddingOfHalves) {
  KernelRunner runner;
  mlir::DialectRegistry registry;
  registry.insert<miura::MiuraDialect>();
  registerPanelLeaves(registry);
  runner.context.appendDialectRegistry(registry);
  runner.context.loadAllAvailableDialects();
  constexpr int64_t entries = 70, size = 45;
  for (bool half : {true, false}) {
    std::string text = std::string("func.func @f(%w: tensor<70x45x") +
                       (half ? "f16" : "f32") + ">) { return }";
    auto holder =
        mlir::parseSourceString<mlir::ModuleOp>(text, &runner.context);
    ASSERT_TRUE(holder);
    mlir::Value weight =
        (*holder->getOps<mlir::func::FuncOp>().begin()).getArgument(0);
    std::shared_ptr<PanelLeaf> leaf = getPanelLeaf(weight);
    ASSERT_TRUE(leaf);
    std::vector<float> values(entries * size);
    std::vector<uint8_t> stored;
    for (float &v : values) {
      // Multiples of 1/64 below 8: exact in f16.
      int code = static_cast<int>(random() % 1024) - 512;
      v = code / 64.0f;
      if (half) {
        _Float16 h = static_cast<_Float16>(v);
        stored.insert(stored.end(), reinterpret_cast<uint8_t *>(&h),
                      reinterpret_cast<uint8_t *>(&h) + 2);
      } else {
        stored.insert(stored.end(), reinterpret_cast<uint8_t *>(&v),
                      reinterpret_cast<uint8_t *>(&v) + 4);
      }
    }
    constexpr unsigned groups = 4;
    int64_t panels = PanelLeaf::getPanels(entries, row(), groups);
    Buffer<uint8_t> packed(panels *
                           leaf->getLayout(row(), groups).panelBytes(size));
    PackOperand source{mlir::cast<mlir::RankedTensorType>(weight.getType()),
                       stored};
    ASSERT_TRUE(mlir::succeeded(leaf->pack(
        source, row(), groups, 0, panels,
        llvm::MutableArrayRef<uint8_t>(packed.begin(), packed.size()),
        weight.getLoc())));
    KernelRunner kernels;
    auto func = kernels.addKernel(
        "kernel", {kernels.memref({any}, kernels.integer(64)),
                   kernels.memref({any}, kernels.integer(8)),
                   mlir::IndexType::get(&kernels.context), rows(kernels)});
    emitEmbeddingKernel(func, row(), *leaf, groups);
    if (!prepare(kernels))
      return;
    std::vector<int64_t> tokens = {0, 69, -1, 17, 64, -70};
    int64_t count = tokens.size();
    Buffer<int64_t> indices(count);
    std::copy(tokens.begin(), tokens.end(), indices.begin());
    Buffer<float> out(count * size);
    std::vector<double> expected;
    for (int64_t token : tokens)
      for (int64_t i = 0; i < size; ++i)
        expected.push_back(
            values[(token < 0 ? token + entries : token) * size + i]);
    check(kernels,
          Arguments()
              .memref(indices.begin(), {count})
              .memref(packed.begin(), {static_cast<int64_t>(packed.size())})
              .index(entries)
              .memref(out.begin(), {count, size}),
          out, expected, 0);
  }
}

INSTANTIATE_TEST_SUITE_P(Bits, RowKernelTest,
                         ::testing::Values(128u, 256u, 512u),
                         [](const auto &info) {
                           return "vector" + std::to_string(info.param);
                         });

/// Not run by default: prints times on this machine, one decode step's sizes.
TEST(RowKernelSpeed, DISABLED_SmallModel) {
  for (const char *name : {"avx2", "avx512vnni"}) {
    const IsaRow &row = *findIsaRow(name);
    if (!hostHas(row))
      continue;
    for (int64_t m : {1, 128}) {
      KernelRunner runner;
      mlir::Type rows = mlir::MemRefType::get(
          {any, any}, runner.f32(),
          mlir::StridedLayoutAttr::get(&runner.context, any, {any, 1}));
      emitRmsNormKernel(
          runner.addKernel("norm",
                           {rows, runner.memref({any}, runner.f32()), rows}),
          row, 1e-5);
      emitSiluMulKernel(runner.addKernel("gate", {rows, rows, rows}), row);
      ASSERT_TRUE(runner.compile(row.cpu));
      Buffer<float> x(m * 1536), y(m * 1536), out(m * 1536), scale(576);
      std::fill(x.begin(), x.end(), 0.5f);
      std::fill(y.begin(), y.end(), 0.5f);
      std::fill(scale.begin(), scale.end(), 0.5f);
      Arguments norm, gate;
      norm.memref(x.begin(), {m, 576})
          .memref(scale.begin(), {576})
          .memref(out.begin(), {m, 576});
      gate.memref(x.begin(), {m, 1536})
          .memref(y.begin(), {m, 1536})
          .memref(out.begin(), {m, 1536});
      for (int threads : {1, 2})
        printf("%s rows %ld threads %d: rms_norm of 576 %.2f us, silu_mul of "
               "1536 %.2f us\n",
               name, long(m), threads,
               runner.time("norm", norm, threads, 500) * 1e6,
               runner.time("gate", gate, threads, 500) * 1e6);
    }
  }
}

} // namespace
