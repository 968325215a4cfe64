//===- AttentionTest.cpp - The attention kernel against a naive loop ------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Random and odd shapes, few and many queries, every mask, both vector
/// lengths, against two passes in double. The bound: scores of at most 6 in
/// size have an absolute error of about (size + 4) · 2⁻²⁴ · Σ|q||k| ≤
/// 200 · 2⁻²⁴ · 6 in f32, which is the relative error of a weight; the result
/// is a mean of values of at most 1, so 1e-4 is safe and a wrong slot or mask
/// (which moves it by 1e-2 and more) is seen.
///
//===----------------------------------------------------------------------===//

#include "KernelRunner.h"
#include "miura/Codegen/CPU/VectorKernels.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "gtest/gtest.h"
#include <array>
#include <cfloat>
#include <cmath>
#include <cstring>
#include <random>

using namespace miura::codegen;
using namespace miura::test;
using mlir::ShapedType;

namespace {

struct Case {
  AttentionSpec spec;
  int64_t batch, sequence, capacity;
  /// Filled slots of row 0; other rows have fewer.
  int64_t length;
};

/// What the arguments of roundings are.
struct Codes {
  float scale, zero;
};
constexpr Codes keyCodes{0.02f, 3}, valueCodes{0.0101f, -3},
    scoreCodes{0.043f, 12}, weightCodes{1 / 255.f, 0};

struct Problem {
  Problem(const Case &c, unsigned seed)
      : c(c), query(c.batch * c.sequence * c.spec.heads * c.spec.size),
        key(c.batch * c.spec.kvHeads * c.capacity * c.spec.size),
        value(c.batch * c.spec.kvHeads * c.capacity * c.spec.valueSize),
        out(c.batch * c.sequence * c.spec.heads * c.spec.valueSize),
        mask(maskSize(c)), sinks(c.spec.heads), lengths(c.batch),
        padding(c.batch * c.capacity) {
    std::mt19937 random(seed);
    std::uniform_real_distribution<float> uniform(-1, 1);
    for (float &x : query)
      x = uniform(random);
    for (int64_t b = 0; b < c.batch; ++b)
      lengths[b] = std::max<int64_t>(0, c.length - 7 * b);
    // Slots behind the last query stay NaN: nobody may use them.
    for (int64_t b = 0; b < c.batch; ++b)
      for (int64_t h = 0; h < c.spec.kvHeads; ++h)
        for (int64_t j = 0; j < std::min(c.capacity, lengths[b] + c.sequence);
             ++j) {
          int64_t slot = (b * c.spec.kvHeads + h) * c.capacity + j;
          for (int64_t d = 0; d < c.spec.size; ++d)
            key[slot * c.spec.size + d] = uniform(random);
          for (int64_t d = 0; d < c.spec.valueSize; ++d)
            value[slot * c.spec.valueSize + d] = uniform(random);
        }
    for (int64_t b = 0; b < c.batch; ++b)
      for (int64_t j = 0; j < c.capacity; ++j)
        padding[b * c.capacity + j] =
            b == 1 ? j > c.capacity : random() % 4 != 0;
    // Distances, some hidden by −∞, some by the lowest number, and all of some
    // queries' so.
    for (size_t i = 0; i < mask.size(); ++i)
      mask[i] = random() % 8 == 0 ? (random() % 2 ? -INFINITY : -FLT_MAX)
                                  : 3 * uniform(random);
    if (!c.spec.isShared[3] && mask.size() >= size_t(3 * c.capacity)) {
      std::fill_n(mask.begin(), c.capacity, -FLT_MAX);
      std::fill_n(mask.begin() + 2 * c.capacity, c.capacity, -INFINITY);
    }
    for (int64_t h = 0; h < c.spec.heads; ++h)
      sinks[h] = 4 * uniform(random);
  }

  /// Sizes of the mask.
  static std::vector<int64_t> maskShape(const Case &c) {
    if (!c.spec.mask)
      return {0, 0, 0, 0};
    std::vector<int64_t> shape = {c.batch, c.spec.heads, c.sequence,
                                  c.capacity};
    for (int d = 0; d < 4; ++d)
      if (c.spec.isShared[d])
        shape[d] = 1;
    return shape;
  }
  static int64_t maskSize(const Case &c) {
    int64_t size = 1;
    for (int64_t n : maskShape(c))
      size *= n;
    return size;
  }
  float maskAt(int64_t b, int64_t h, int64_t t, int64_t j) {
    std::vector<int64_t> shape = maskShape(c), at = {b, h, t, j};
    int64_t i = 0;
    for (int d = 0; d < 4; ++d)
      i = i * shape[d] + (shape[d] == 1 ? 0 : at[d]);
    return mask[i];
  }

  bool sees(int64_t b, int64_t t, int64_t j) {
    int64_t at = lengths[b] + t;
    if (c.spec.causal ? j > at : j >= lengths[b] + c.sequence)
      return false;
    if (c.spec.window && j <= at - c.spec.window)
      return false;
    return !c.spec.padding || padding[b * c.capacity + j] != 0;
  }

  /// The codes next to x, as numbers.
  static double round(double x,
                      const std::optional<AttentionSpec::Rounding> &to,
                      Codes codes) {
    if (!to)
      return x;
    double code = std::nearbyint(float(x) / codes.scale) + codes.zero;
    code = std::min<double>(std::max<double>(code, to->least), to->greatest);
    return (code - codes.zero) * codes.scale;
  }

  std::vector<double> reference() {
    const AttentionSpec &s = c.spec;
    std::vector<double> result(out.size());
    for (int64_t b = 0; b < c.batch; ++b)
      for (int64_t t = 0; t < c.sequence; ++t)
        for (int64_t h = 0; h < s.heads; ++h) {
          int64_t head = b * s.kvHeads + h / (s.heads / s.kvHeads);
          float *q = &query[((b * c.sequence + t) * s.heads + h) * s.size];
          auto score = [&](int64_t j) {
            // Of what is rounded, every bit decides: sums as the op's.
            if (s.scoreRounding) {
              float sum = 0;
              for (int64_t d = 0; d < s.size; ++d)
                sum = std::fma(
                    q[d],
                    float(round(key[(head * c.capacity + j) * s.size + d],
                                s.keyRounding, keyCodes)),
                    sum);
              return round(sum * float(s.scale), s.scoreRounding, scoreCodes);
            }
            double dot = 0;
            for (int64_t d = 0; d < s.size; ++d)
              dot += double(q[d]) *
                     round(key[(head * c.capacity + j) * s.size + d],
                           s.keyRounding, keyCodes);
            dot *= s.scale;
            return s.softcap > 0 ? s.softcap * std::tanh(dot / s.softcap) : dot;
          };
          std::vector<double> weight(c.capacity, 0.0);
          double most = -1e300, total = 0;
          std::vector<bool> seen(c.capacity, false);
          for (int64_t j = 0; j < c.capacity; ++j) {
            if (!sees(b, t, j) || (s.mask && maskAt(b, h, t, j) == -INFINITY))
              continue;
            seen[j] = true;
            double dot = score(j);
            // In f32, as the mask is added: the lowest number swallows a score.
            weight[j] =
                s.mask ? std::max(float(dot) + maskAt(b, h, t, j), -FLT_MAX)
                       : dot;
            most = std::max(most, weight[j]);
          }
          for (int64_t j = 0; j < c.capacity; ++j) {
            weight[j] = seen[j] ? std::exp(weight[j] - most) : 0;
            total += weight[j];
          }
          if (s.sinks && total > 0)
            total += std::exp(sinks[h] - most);
          if (s.hidden && total == 0) {
            int64_t at = lengths[b] + t;
            int64_t all = std::min(
                c.capacity, s.hiddenOnce ? at + 1 : lengths[b] + c.sequence);
            auto isGone = [&](int64_t j) {
              return s.hiddenOnce && s.window && j <= at - s.window &&
                     padding[b * c.capacity + j] == 0;
            };
            for (int64_t j = 0; j < all; ++j) {
              weight[j] = float(score(j)) + float(*s.hidden);
              if (!isGone(j))
                most = std::max(most, weight[j]);
            }
            for (int64_t j = 0; j < all; ++j) {
              weight[j] = isGone(j) ? 0 : std::exp(weight[j] - most);
              total += weight[j];
            }
          }
          double *o =
              &result[((b * c.sequence + t) * s.heads + h) * s.valueSize];
          for (int64_t j = 0; j < c.capacity; ++j)
            if (weight[j] > 0)
              for (int64_t d = 0; d < s.valueSize; ++d)
                o[d] +=
                    round(weight[j] / total, s.weightRounding, weightCodes) *
                    round(value[(head * c.capacity + j) * s.valueSize + d],
                          s.valueRounding, valueCodes);
        }
    return result;
  }

  Arguments arguments(Buffer<char> &scratch) {
    const AttentionSpec &s = c.spec;
    Arguments a;
    a.memref(query.begin(), {c.batch, c.sequence, s.heads * s.size});
    a.memref(key.begin(), {c.batch, s.kvHeads, c.capacity, s.size});
    a.memref(value.begin(), {c.batch, s.kvHeads, c.capacity, s.valueSize});
    a.memref(lengths.begin(), {c.batch});
    if (s.padding)
      a.memref(padding.begin(), {c.batch, c.capacity});
    if (s.mask)
      a.memref(mask.begin(), maskShape(c));
    if (s.sinks)
      a.memref(sinks.begin(), {s.heads});
    for (auto [rounding, codes] : {std::pair(&s.keyRounding, keyCodes),
                                   std::pair(&s.valueRounding, valueCodes),
                                   std::pair(&s.scoreRounding, scoreCodes),
                                   std::pair(&s.weightRounding, weightCodes)})
      if (*rounding)
        a.number(codes.scale).number(codes.zero);
    a.memref(out.begin(), {c.batch, c.sequence, s.heads * s.valueSize});
    a.memref(scratch.begin(), {static_cast<int64_t>(scratch.size())});
    return a;
  }

  Case c;
  Buffer<float> query, key, value, out, mask, sinks;
  Buffer<int64_t> lengths;
  Buffer<int8_t> padding;
};

/// 128: vectors as in AArch64 and WebAssembly; what is emitted for them names
/// no instruction of theirs, so this machine runs it.
const IsaRow &rowOf(unsigned bits) {
  return *findIsaRow(bits == 512   ? "avx512vnni"
                     : bits == 256 ? "avx2"
                                   : "neon");
}

/// `open` leaves every size of the memrefs dynamic, with dynamic strides.
void addAttention(KernelRunner &runner, llvm::StringRef name,
                  const AttentionSpec &spec, unsigned bits, bool open = false) {
  constexpr int64_t any = ShapedType::kDynamic;
  auto type = [&](llvm::ArrayRef<int64_t> shape) -> mlir::Type {
    if (!open)
      return runner.memref(shape, runner.f32());
    llvm::SmallVector<int64_t> sizes(shape.size(), any), strides = sizes;
    strides.back() = 1;
    return mlir::MemRefType::get(
        sizes, runner.f32(),
        mlir::StridedLayoutAttr::get(&runner.context, any, strides));
  };
  llvm::SmallVector<mlir::Type> types = {
      type({any, any, spec.heads * spec.size}),
      type({any, spec.kvHeads, any, spec.size}),
      type({any, spec.kvHeads, any, spec.valueSize}),
      runner.memref({any}, runner.integer(64))};
  if (spec.padding)
    types.push_back(runner.memref({any, any}, runner.integer(8)));
  if (spec.mask)
    types.push_back(type({any, any, any, any}));
  if (spec.sinks)
    types.push_back(runner.memref({any}, runner.f32()));
  for (auto *rounding : {&spec.keyRounding, &spec.valueRounding,
                         &spec.scoreRounding, &spec.weightRounding})
    if (*rounding)
      types.append(2, runner.f32());
  types.push_back(type({any, any, spec.heads * spec.valueSize}));
  types.push_back(runner.memref({any}, runner.integer(8)));
  auto func = runner.addKernel(name, types);
  mlir::OpBuilder builder(&runner.context);
  emitAttentionKernel(builder, func, spec, rowOf(bits));
}

AttentionSpec makeSpec(int64_t heads, int64_t kvHeads, int64_t size,
                       int64_t valueSize) {
  AttentionSpec spec;
  spec.heads = heads;
  spec.kvHeads = kvHeads;
  spec.size = size;
  spec.valueSize = valueSize;
  spec.scale = 2.0 / std::sqrt(double(size));
  return spec;
}

bool hostHas(unsigned bits) {
  return bits == 512
             ? __builtin_cpu_supports("avx512vl") &&
                   __builtin_cpu_supports("avx512bw")
             : __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}
const char *cpuOf(unsigned bits) {
  return bits == 512 ? "skylake-avx512" : "haswell";
}

class AttentionTest : public ::testing::TestWithParam<unsigned> {
protected:
  void check(const AttentionSpec &spec, bool open = false) {
    unsigned bits = GetParam();
    KernelRunner runner;
    addAttention(runner, "attention", spec, bits, open);
    ASSERT_TRUE(runner.compile(cpuOf(bits)));
    EXPECT_EQ(runner.callsInAssembly(), std::vector<std::string>());
    if (!hostHas(bits))
      GTEST_SKIP() << "compiled only: this machine lacks the instructions";
    // {batch, sequence, capacity, length}
    for (auto [batch, sequence, capacity, length] :
         std::vector<std::array<int64_t, 4>>{{1, 1, 1, 0},
                                             {1, 1, 300, 256},
                                             {3, 1, 137, 136},
                                             {2, 3, 50, 29},
                                             {1, 4, 261, 125},
                                             {1, 5, 17, 12},
                                             {2, 37, 150, 100},
                                             {1, 131, 400, 257},
                                             {1, 129, 129, 0}}) {
      Case c{spec, batch, sequence, capacity, length};
      Problem problem(c, 11 * sequence + capacity);
      std::vector<double> expected = problem.reference();
      std::vector<float> first;
      for (int threads : {1, 2, 3}) {
        Buffer<char> scratch(getAttentionScratchBytes(
            spec, rowOf(bits), batch, sequence, capacity, threads));
        std::fill(problem.out.begin(), problem.out.end(), NAN);
        runner.run("attention", problem.arguments(scratch), threads);
        double worst = 0;
        size_t at = 0, others = 0;
        // A weight between two codes may become either: seldom.
        double code = spec.weightRounding ? weightCodes.scale : 0;
        for (size_t i = 0; i < expected.size(); ++i) {
          double error = std::abs(problem.out[i] - expected[i]);
          error = std::isnan(error) ? INFINITY : error;
          if (error > 1e-4 && error <= 1e-4 + 1.1 * code) {
            ++others;
            error = 0;
          }
          if (error > worst)
            at = i;
          worst = std::max(worst, error);
        }
        EXPECT_LE(others, expected.size() / 500);
        EXPECT_LE(worst, 1e-4)
            << "entry " << at << " is " << problem.out[at] << ", not "
            << expected[at] << "; batch " << batch << " sequence " << sequence
            << " capacity " << capacity << " length " << length << " threads "
            << threads;
        EXPECT_TRUE(problem.out.isIntact() && scratch.isIntact());
        if (threads == 1)
          first = problem.out.copy();
        else
          EXPECT_EQ(0, memcmp(first.data(), problem.out.begin(),
                              first.size() * sizeof(float)))
              << "the result depends on the number of threads";
      }
    }
  }
};

TEST_P(AttentionTest, GroupedHeads) { check(makeSpec(9, 3, 64, 64)); }
TEST_P(AttentionTest, OneKeyPerQueryHead) { check(makeSpec(6, 6, 48, 48)); }
TEST_P(AttentionTest, OneKeyHead) { check(makeSpec(7, 1, 32, 32)); }
TEST_P(AttentionTest, SmallHeads) { check(makeSpec(8, 4, 8, 8)); }
TEST_P(AttentionTest, OddSizes) { check(makeSpec(4, 2, 21, 5)); }
TEST_P(AttentionTest, LargeHeads) { check(makeSpec(5, 1, 128, 128)); }
TEST_P(AttentionTest, OpenStrides) { check(makeSpec(4, 2, 20, 24), true); }
TEST_P(AttentionTest, Rounded) {
  AttentionSpec spec = makeSpec(6, 2, 16, 20);
  spec.keyRounding = spec.valueRounding = {-128, 127};
  spec.scoreRounding = spec.weightRounding = {0, 255};
  check(spec);
  spec.padding = true;
  spec.window = 40;
  spec.sinks = true;
  check(spec);
}
TEST_P(AttentionTest, RoundedInPart) {
  AttentionSpec spec = makeSpec(4, 4, 21, 5);
  spec.keyRounding = {-128, 127};
  spec.valueRounding = {-32768, 32767};
  spec.sinks = true;
  spec.causal = false;
  check(spec);
  spec = makeSpec(5, 1, 8, 8);
  spec.weightRounding = {0, 255};
  spec.mask = true;
  check(spec);
}
TEST_P(AttentionTest, Window) {
  AttentionSpec spec = makeSpec(6, 2, 16, 16);
  spec.window = 19;
  check(spec);
  spec.window = 140;
  spec.padding = true;
  check(spec);
}
TEST_P(AttentionTest, PaddingHidesSlotsAndWholeRows) {
  AttentionSpec spec = makeSpec(4, 2, 24, 24);
  spec.padding = true;
  check(spec);
}
TEST_P(AttentionTest, QueriesThatSeeNothingGiveTheMean) {
  AttentionSpec spec = makeSpec(6, 2, 24, 20);
  spec.padding = true;
  spec.hidden = std::numeric_limits<float>::lowest();
  check(spec);
  spec.window = 3;
  check(spec);
}
TEST_P(AttentionTest, QueriesThatSeeNothingGiveTheSoftmaxOfAll) {
  // The number leaves something of the scores, to their last bits where it has
  // few of its own.
  AttentionSpec spec = makeSpec(6, 2, 24, 20);
  spec.padding = true;
  spec.hidden = -64;
  check(spec);
  spec.softcap = 1.5;
  spec.window = 3;
  check(spec);
}
TEST_P(AttentionTest, QueriesThatSeeNothingGiveTheSoftmaxOfWhatIsHiddenOnce) {
  AttentionSpec spec = makeSpec(6, 2, 24, 20);
  spec.padding = true;
  spec.hidden = std::numeric_limits<float>::lowest();
  spec.hiddenOnce = true;
  check(spec);
  spec.window = 3;
  check(spec);
}
TEST_P(AttentionTest, SoftcapWithoutCausal) {
  AttentionSpec spec = makeSpec(4, 4, 16, 16);
  spec.causal = false;
  spec.softcap = 1.5;
  check(spec);
}

TEST_P(AttentionTest, MaskOfEveryShape) {
  AttentionSpec spec = makeSpec(6, 2, 20, 24);
  spec.mask = true;
  check(spec);
  spec.isShared[0] = spec.isShared[1] = true; // distances
  spec.window = 40;
  check(spec);
  spec.isShared[2] = true; // ALiBi as files of one query have it
  spec.isShared[1] = false;
  spec.window = 0;
  spec.padding = true;
  spec.softcap = 2.5;
  check(spec, true);
  spec.isShared[3] = true;
  spec.isShared[2] = false;
  check(spec);
}
TEST_P(AttentionTest, Sinks) {
  AttentionSpec spec = makeSpec(8, 2, 32, 32);
  spec.sinks = true;
  check(spec);
  spec.padding = true;
  spec.window = 21;
  spec.mask = true;
  spec.isShared[1] = true;
  check(spec);
}

INSTANTIATE_TEST_SUITE_P(Bits, AttentionTest,
                         ::testing::Values(128u, 256u, 512u),
                         [](const auto &info) {
                           return "vector" + std::to_string(info.param);
                         });

/// The scratch formula as IR gives the numbers of the C++ one.
TEST(AttentionScratch, IrAgrees) {
  KernelRunner runner;
  AttentionSpec spec = makeSpec(9, 3, 64, 48);
  auto func = runner.addKernel(
      "size", {runner.memref({ShapedType::kDynamic}, runner.integer(64))});
  mlir::OpBuilder builder(&runner.context);
  builder.setInsertionPointToStart(func.addEntryBlock());
  mlir::Location loc = func.getLoc();
  auto constant = [&](int64_t v) -> mlir::Value {
    return mlir::arith::ConstantIndexOp::create(builder, loc, v);
  };
  auto load = [&](int64_t i) -> mlir::Value {
    mlir::Value v = mlir::memref::LoadOp::create(
        builder, loc, func.getArgument(0), mlir::ValueRange{constant(i)});
    return mlir::arith::IndexCastOp::create(builder, loc,
                                            builder.getIndexType(), v);
  };
  mlir::Value size = emitAttentionScratchBytes(
      builder, loc, spec, rowOf(256), load(0), load(1), load(2), load(3));
  size = mlir::arith::IndexCastOp::create(builder, loc, builder.getI64Type(),
                                          size);
  mlir::memref::StoreOp::create(builder, loc, size, func.getArgument(0),
                                mlir::ValueRange{constant(4)});
  mlir::func::ReturnOp::create(builder, loc);
  ASSERT_TRUE(runner.compile(""));
  for (auto [b, t, c, n] : std::vector<std::array<int64_t, 4>>{
           {1, 1, 256, 2}, {3, 4, 1000, 1}, {2, 128, 129, 5}}) {
    int64_t data[] = {b, t, c, n, 0};
    runner.run("size", Arguments().memref(data, {5}), 1);
    EXPECT_EQ(data[4], getAttentionScratchBytes(spec, rowOf(256), b, t, c, n));
  }
}

/// Not run by default: prints times on this machine.
TEST(AttentionSpeed, DISABLED_SmallModel) {
  for (unsigned bits : {256u, 512u}) {
    if (!hostHas(bits))
      continue;
    AttentionSpec spec = makeSpec(9, 3, 64, 64);
    spec.padding = true;
    KernelRunner runner;
    addAttention(runner, "attention", spec, bits);
    ASSERT_TRUE(runner.compile(cpuOf(bits)));
    if (const char *path = getenv("MIURA_ASSEMBLY")) {
      FILE *file = fopen((path + std::to_string(bits) + ".s").c_str(), "w");
      fputs(runner.assembly.c_str(), file);
      fclose(file);
    }
    for (auto [sequence, length] :
         std::vector<std::array<int64_t, 2>>{{1, 128},
                                             {1, 256},
                                             {1, 1024},
                                             {1, 2047},
                                             {128, 0},
                                             {128, 512},
                                             {512, 0}}) {
      Case c{spec, 1, sequence, 2048, length};
      Problem problem(c, 3);
      std::fill(problem.padding.begin(), problem.padding.end(), 1);
      for (int threads : {1, 2}) {
        Buffer<char> scratch(getAttentionScratchBytes(
            spec, rowOf(bits), 1, sequence, c.capacity, threads));
        double seconds = runner.time("attention", problem.arguments(scratch),
                                     threads, sequence == 1 ? 200 : 20);
        double pairs = sequence * (length + (sequence + 1) / 2.0);
        printf("bits %u queries %4ld length %4ld threads %d: %8.1f us, %6.1f "
               "GFLOP/s, %5.1f GB/s of keys and values\n",
               bits, long(sequence), long(length), threads, seconds * 1e6,
               pairs * 9 * 64 * 4 / seconds * 1e-9,
               (length + sequence) * 3 * 64 * 8 / seconds * 1e-9);
      }
    }
  }
}

} // namespace
