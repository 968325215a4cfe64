//===- KernelTest.cpp - Generated kernels against numbers -----------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Checks kernels of chosen and of random expressions, sizes, instruction sets
/// and threads against evaluate() and a loop in double. A failure prints the
/// problem string, which the benchmark repeats.
///
//===----------------------------------------------------------------------===//

#include "KernelProblem.h"
#include "gtest/gtest.h"
#include <cmath>
#include <cstring>
#include <map>
#include <random>

using namespace miura::test;
using miura::codegen::IsaRow;

/// Sums are in f32: k roundings of 2^-24 that add up as a random walk, and
/// those of a scale and of the epilogue.
static double tolerance(const KernelProblem &problem) {
  return 0x1p-24 * (8 + 2 * std::sqrt((double)problem.k));
}

/// Problems that were checked, by row of the table.
static std::map<std::string, int> checked;

static void check(CompiledKernel &kernel, std::initializer_list<int> teams) {
  const KernelProblem &problem = kernel.problem;
  std::string repeat =
      "repeat with: miura-bench-kernels --mode=C \"" + problem.str() + "\"";
  ++checked[problem.isa];
  kernel.run(problem.threads);
  EXPECT_LE(kernel.relativeError(), tolerance(problem)) << repeat;
  EXPECT_TRUE(kernel.bordersIntact()) << "wrote beyond its memory; " << repeat;
  // The result does not depend on the number of threads.
  std::vector<float> first = kernel.result();
  for (int threads : teams) {
    kernel.run(threads);
    std::vector<float> again = kernel.result();
    EXPECT_EQ(std::memcmp(first.data(), again.data(), 4 * first.size()), 0)
        << "differs on " << threads << " threads; " << repeat;
  }
}

/// The row that MIURA_TEST_ISA asks for, whatever a problem says; null without
/// it.
static const IsaRow *getOnlyRow() {
  static const IsaRow *only = [] {
    const char *name = getenv("MIURA_TEST_ISA");
    const IsaRow *row = name ? miura::codegen::findIsaRow(name) : nullptr;
    if (name && !row) {
      fprintf(stderr, "MIURA_TEST_ISA=%s is no row\n", name);
      exit(1);
    }
    return row;
  }();
  return only;
}

/// Those that problems are checked on.
static std::vector<const IsaRow *> getRows() {
  if (getOnlyRow())
    return {getOnlyRow()};
  std::vector<const IsaRow *> rows;
  for (const IsaRow &row : miura::codegen::getIsaRows())
    if (miura::codegen::hostHas(row))
      rows.push_back(&row);
  return rows;
}

/// The problem, and its kernel on `more` others of random sizes.
static void check(KernelProblem problem, int more = 0) {
  auto *row = miura::codegen::findIsaRow(problem.isa);
  ASSERT_TRUE(row) << problem.isa;
  if (getOnlyRow())
    problem.isa = getOnlyRow()->name.str();
  // Its code is checked by test/Codegen/CPU all the same.
  else if (!miura::codegen::hostHas(*row))
    return;
  std::string error;
  auto kernel = CompiledKernel::get(problem, error);
  ASSERT_TRUE(kernel) << error << "\nin: " << problem.str();
  check(*kernel, {1, 2, 3, 5});
  std::mt19937 random(problem.seed);
  auto draw = [&](int low, int high) {
    return low + (int)(random() % (unsigned)(high - low + 1));
  };
  // Sizes that n:m and blocks of the tests' expressions divide.
  int unit = llvm::StringRef(problem.weight).find_first_of("mx") !=
                     llvm::StringRef::npos
                 ? 16
                 : 1;
  for (int i = 0; i < more; ++i) {
    KernelProblem other = problem;
    if (problem.m > 1)
      other.m = problem.m <= 8 ? draw(2, 8) : draw(9, 24);
    other.n = unit * draw(1, 200 / unit);
    other.k = unit * draw(1, 400 / unit);
    other.threads = draw(1, 4);
    if (problem.experts) {
      other.m = draw(1, 24);
      other.experts = draw(1, 9);
    }
    other.seed = random();
    ASSERT_TRUE(kernel->prepare(other, error))
        << error << "\nin: " << other.str();
    check(*kernel, {draw(1, 4)});
  }
}

namespace {
/// Says how many problems the process checked.
class CountProblems : public testing::Environment {
  void TearDown() override {
    for (auto &[isa, count] : checked)
      printf("%d problems on %s\n", count, isa.c_str());
  }
};
} // namespace
static testing::Environment *const countProblems =
    testing::AddGlobalTestEnvironment(new CountProblems);

static void check(const std::string &text, int more = 0) {
  auto problem = KernelProblem::parse(text);
  ASSERT_TRUE((bool)problem) << llvm::toString(problem.takeError());
  check(*problem, more);
}

namespace {
class Kernels : public testing::TestWithParam<std::tuple<const char *, int>> {};
} // namespace

/// Every leaf, both kinds of activations, decode and a tile with a remainder.
TEST_P(Kernels, MatchTheReference) {
  auto [weight, rows] = GetParam();
  for (const IsaRow *row : getRows())
    for (const char *act : {"f32", "i8"})
      check("w=" + std::string(weight) + " m=" + std::to_string(rows) +
                " n=150 k=288 act=" + act + " isa=" + row->name.str() + " bias",
            /*more=*/10);
  // More rows than a few are tiles of f32 on every row of the table.
  if (rows > 1)
    for (const IsaRow *row : getRows())
      check("w=" + std::string(weight) +
                " m=11 n=150 k=288 isa=" + row->name.str(),
            /*more=*/5);
}

INSTANTIATE_TEST_SUITE_P(
    Leaves, Kernels,
    testing::Combine(
        testing::Values("f32", "f16", "bf16", "f32t", "f16t", "q8b32", "q4b32",
                        "q3b32", "q2b32", "q5b32", "q6b32u", "q7b0", "q4b0",
                        "q3b0", "q2b0z", "q8b0s", "q4b32z", "q4b32uz", "q4b32f",
                        "q3b32uz", "q8b128z", "q2b16", "q4b4", "q3b12",
                        "q4b32t", "q3b0t", "q8b32zt", "q4r32b1t", "q8r16b1zt",
                        "q3sr0b1t", "q4r48b3uzp50t", "lr24:q4r32b1", "q4b32r8",
                        "q4b0r0", "q4b256", "q4b1024", "q4b32+lr32",
                        "q4b32+lr20", "q4b32+q2b32", "f16+lr8:f32",
                        "q2b32+lr24:q4b32", "lr32", "q4b32p50", "q4b32n2m4",
                        "q8b32p30", "q3b32p50", "q2b0p70", "q4b4p40",
                        "q4b32x2x8", "q8b32n1m2", "f16p50", "f32n4m8",
                        "q4b32p50t", "q4b32p50+lr16", "q4b32+lr24:q4b32p50",
                        "q4b32uzp50", "q3b0zn2m4", "q8b32zp50", "q6b16uzp30t",
                        "q2b0uzp50", "l4", "l3", "l6", "l8", "l4b32", "l8b0"),
        testing::Values(1, 7)));

TEST(Kernels, Sizes) {
  for (const char *rest :
       {"w=q4b32 m=1 act=i8", "w=f32 m=2", "w=q3b32 m=1", "w=f16 m=1",
        "w=q4b32p50 m=1 act=i8", "w=q4b32 m=3 act=i8"}) {
    auto problem = KernelProblem::parse(rest);
    ASSERT_TRUE((bool)problem) << llvm::toString(problem.takeError());
    if (getOnlyRow())
      problem->isa = getOnlyRow()->name.str();
    else if (!miura::codegen::hostHas(
                 *miura::codegen::findIsaRow(problem->isa)))
      GTEST_SKIP() << "this machine has no " << problem->isa;
    std::string error;
    auto kernel = CompiledKernel::get(*problem, error);
    ASSERT_TRUE(kernel) << error << "\nin: " << rest;
    for (int n : {1, 15, 16, 17, 63, 64, 65, 128, 192})
      for (int k : {1, 3, 4, 31, 32, 33, 63, 100, 256}) {
        problem->n = n;
        problem->k = k;
        problem->seed = n + k;
        ASSERT_TRUE(kernel->prepare(*problem, error)) << error;
        check(*kernel, {2});
      }
  }
}

/// Whatever of the table a cpu's maker decides.
TEST(Kernels, Tunings) {
  for (const IsaRow *row : getRows())
    for (const char *cpu : {"znver4", "icelake-client"})
      for (const char *weight : {"q4b32p50", "q4b32n2m4", "q8b32zp50",
                                 "q3b0zn2m4", "q4b4uzp40", "q4b32p50t"})
        for (const char *rest : {"m=1 act=i8", "m=3", "m=12"})
          check("w=" + std::string(weight) + " n=150 k=288 isa=" +
                    row->name.str() + " cpu=" + cpu + " " + rest,
                /*more=*/4);
}

TEST(Kernels, Neighbours) {
  for (const char *weight : {"f32", "q4b32", "q4b32+lr16"})
    for (const char *rest :
         {"m=1 residual", "m=1 inplace bias", "m=8 residual bias",
          "m=13 inplace", "m=1 inplace act=i8", "m=7 inplace bias act=i8"})
      check("w=" + std::string(weight) + " n=200 k=320 threads=2 " + rest);
}

/// Experts: every kind of leaf in a batch, more rows than are taken at a time,
/// and memory that may not be read where no row has chosen a matrix.
TEST(Kernels, Experts) {
  for (const IsaRow *row : getRows())
    for (const char *weight :
         {"f32", "f16t", "q4b32", "q3b32uz", "q8b0s", "q4b32t", "q4b32p50",
          "q4b32n2m4", "q4b32uzp40", "q5b0x2x8", "f16p50", "l4b32",
          "q4b32+lr16", "lr20", "q2b32+lr24:q4b32"})
      for (const char *rest : {"m=4", "m=9 bias act=i8"})
        check("w=" + std::string(weight) +
                  " experts=8 n=192 k=256 isa=" + row->name.str() + " " + rest,
              /*more=*/6);
  check("w=q4b32+lr16 experts=3 n=100 k=96 m=150 threads=2 bias");
}

/// Activations of language models have columns far above the others. What an
/// outlier costs the others is bounded by its own rounding: the error stays
/// small beside y, which has the outlier's column in it.
TEST(Kernels, Outliers) {
  for (const char *weight : {"f32", "q4b32", "q8b0z", "q4b32+lr16"})
    for (const char *rest : {"m=1", "m=1 isa=avx2", "m=5", "m=1 act=i8"})
      check("w=" + std::string(weight) + " n=200 k=576 outlier " + rest);
}

TEST(Kernels, Random) {
  std::mt19937 random(20260);
  auto draw = [&](int low, int high) {
    return low + (int)(random() % (unsigned)(high - low + 1));
  };
  const char *ends[] = {"", "z", "u", "uz", "f", "s", "sz", "t", "zt"};
  for (int i = 0; i < 40; ++i) {
    std::string weight = "q" + std::to_string(draw(2, 8)) + "b" +
                         std::to_string(4 * draw(0, 20)) + ends[draw(0, 8)];
    if (draw(0, 3) == 0)
      weight = draw(0, 1) ? "f16" : "f32";
    if (draw(0, 3) == 0)
      weight += "+lr" + std::to_string(draw(1, 80));
    KernelProblem problem;
    problem.weight = weight;
    problem.m = draw(0, 1) ? 1 : draw(2, 20);
    problem.n = draw(1, 300);
    problem.k = draw(1, 600);
    problem.int8 = draw(0, 1);
    problem.bias = draw(0, 1);
    problem.residual = draw(0, 1);
    problem.isa = draw(0, 2) ? "avx512vnni" : "avx2";
    problem.threads = draw(1, 4);
    problem.seed = i + 1;
    check(problem, /*more=*/3);
  }
}

TEST(KernelProblems, BadWordsAreNamed) {
  auto problem = KernelProblem::parse("w=f32 rows=3");
  ASSERT_FALSE((bool)problem);
  EXPECT_EQ(llvm::toString(problem.takeError()),
            "bad word in the problem: 'rows=3'");
}
