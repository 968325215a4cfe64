//===- CompileTest.cpp - Compiled sessions against the oracle -------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Compiles small decoders into shared libraries, loads them and compares every
/// logit with the oracle's, in prefill and decode, for ragged batches and
/// hidden slots; and checks what must hold of any compiled model: the same
/// numbers with one and two threads, the same bytes when compiled again, as
/// many kernels for 22 layers as for 2, no allocation in a step.
///
//===----------------------------------------------------------------------===//

#include "miura/Pipelines/Compile.h"
#include "SessionText.h"
#include "miura/Codegen/CPU/Isa.h"
#include "miura/Codegen/CPU/PanelLeaf.h"
#include "miura/Codegen/Step/Passes.h"
#include "miura/Dialect/Miura/IR/MiuraDialect.h"
#include "miura/Driver/Artifact.h"
#include "miura/Target/Reference/Reference.h"
#include "mlir/InitAllDialects.h"
#include "mlir/InitAllExtensions.h"
#include "mlir/Parser/Parser.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Program.h"
#include "gtest/gtest.h"
#include <atomic>

using namespace miura;
using namespace mlir;

namespace {

class CompileTest : public ::testing::Test {
protected:
  CompileTest() {
    DialectRegistry registry;
    registerAllDialects(registry);
    registerAllExtensions(registry);
    registry.insert<MiuraDialect>();
    codegen::registerPanelLeaves(registry);
    registerBufferizableOpInterfaceExternalModels(registry);
    registerReferenceDialects(registry);
    context.appendDialectRegistry(registry);
    context.loadAllAvailableDialects();
    EXPECT_FALSE(llvm::sys::fs::createUniqueDirectory("miura-compile", folder));
  }
  ~CompileTest() override { llvm::sys::fs::remove_directories(folder); }

  std::string path(const llvm::Twine &name) const {
    return (folder + "/" + name).str();
  }

  OwningOpRef<ModuleOp> parse(const SessionShape &shape) {
    auto module =
        parseSourceString<ModuleOp>(SessionText(shape).write(), &context);
    EXPECT_TRUE(module);
    return module;
  }

  FailureOr<CompileResult> compile(ModuleOp module, const std::string &output,
                                   llvm::StringRef cpu = "") {
    CompileOptions options;
    options.output = output;
    options.target = cpu.str();
    options.chunk = 8;
    // The build tree's library folder is beside its binary folder.
    llvm::SmallString<256> self(
        llvm::sys::fs::getMainExecutable(nullptr, nullptr));
    for (int i = 0; i < 3; ++i)
      llvm::sys::path::remove_filename(self);
    options.executable = (self + "/bin/miura").str();
    return compileModel(module, options);
  }

  std::unique_ptr<Artifact> load(const std::string &library, int threads) {
    auto artifact = Artifact::open(library, threads);
    if (!artifact) {
      ADD_FAILURE() << llvm::toString(artifact.takeError());
      return nullptr;
    }
    return std::move(*artifact);
  }

  MLIRContext context;
  llvm::SmallString<128> folder;
};

/// The oracle's session: the functions of the module, with caches and lengths
/// kept here.
class OracleSession {
public:
  OracleSession(ModuleOp module, int64_t batch, int64_t capacity)
      : batch(batch), capacity(capacity) {
    auto compiled = ReferenceFunction::compile(module, "step_all");
    EXPECT_TRUE(succeeded(compiled));
    if (failed(compiled))
      return;
    function = std::move(*compiled);
    reset();
  }

  /// Empties the session; compiling takes longer than running.
  void reset() {
    lengths.assign(batch, 0);
    padding.assign(batch * capacity, 1);
    caches.clear();
    if (!function)
      return;
    for (Type type : function->getInputTypes().drop_front(5)) {
      SmallVector<int64_t> shape(cast<RankedTensorType>(type).getShape());
      shape[0] = batch;
      shape[2] = capacity;
      caches.emplace_back(RankedTensorType::get(
          shape, cast<RankedTensorType>(type).getElementType()));
    }
  }

  /// Logits of all positions.
  std::vector<float> step(ArrayRef<int64_t> tokens, ArrayRef<int64_t> counts) {
    if (!function)
      return {};
    MLIRContext *context = caches[0].type.getContext();
    int64_t n = tokens.size() / batch;
    auto make = [&](ArrayRef<int64_t> shape, unsigned width) {
      return HostArray(
          RankedTensorType::get(shape, IntegerType::get(context, width)));
    };
    std::vector<HostArray> inputs = {make({batch, n}, 64), make({batch, n}, 64),
                                     make({batch, capacity}, 8),
                                     make({batch}, 64), make({batch}, 64)};
    for (int64_t i = 0; i < batch * n; ++i) {
      inputs[0].set(i, tokens[i]);
      inputs[1].set(i, lengths[i / n] + i % n);
    }
    for (int64_t i = 0; i < batch * capacity; ++i)
      inputs[2].set(i, padding[i]);
    for (int64_t b = 0; b < batch; ++b) {
      inputs[3].set(b, lengths[b]);
      inputs[4].set(b, counts[b]);
    }
    inputs.insert(inputs.end(), caches.begin(), caches.end());
    auto outputs = function->run(inputs, UnknownLoc::get(context));
    EXPECT_TRUE(succeeded(outputs));
    if (failed(outputs))
      return {};
    for (auto [i, cache] : llvm::enumerate(caches))
      cache = (*outputs)[i + 1];
    for (int64_t b = 0; b < batch; ++b)
      lengths[b] += counts[b];
    ArrayRef<float> logits = (*outputs)[0].as<float>();
    return std::vector<float>(logits.begin(), logits.end());
  }

  std::vector<int64_t> lengths;
  std::vector<int64_t> padding;

private:
  int64_t batch, capacity;
  std::unique_ptr<ReferenceFunction> function;
  std::vector<HostArray> caches;
};

double relativeError(ArrayRef<float> actual, ArrayRef<float> expected) {
  double error = 0, norm = 0;
  for (auto [a, e] : llvm::zip_equal(actual, expected)) {
    error += (static_cast<double>(a) - e) * (static_cast<double>(a) - e);
    norm += static_cast<double>(e) * e;
  }
  return std::sqrt(error / norm);
}

std::vector<int64_t> someTokens(int64_t count, int64_t vocabulary) {
  std::vector<int64_t> tokens;
  for (int64_t i = 0; i < count; ++i)
    tokens.push_back((i * 17 + i * i * 5 + 3) % vocabulary);
  return tokens;
}

/// f32 sums of at most 75 products in another order, twice per layer: a few
/// units of 2⁻²⁴ times the growth over two layers.
constexpr double kTolerance = 5e-6;

struct Case {
  const char *name;
  unsigned bits;
  bool int8Activations;
  bool isPruned = false;
  int64_t rank = 0;
};

class CompiledAgainstOracle : public CompileTest,
                              public ::testing::WithParamInterface<Case> {};

TEST_P(CompiledAgainstOracle, OnEveryInstructionSet) {
  SessionShape shape;
  shape.bits = GetParam().bits;
  shape.int8Activations = GetParam().int8Activations;
  shape.isPruned = GetParam().isPruned;
  shape.rank = GetParam().rank;
  constexpr int64_t capacity = 29;
  auto reference = parse(shape);
  OracleSession oracle(*reference, 2, capacity);
  for (const codegen::IsaRow &row : codegen::getIsaRows()) {
    if (!codegen::hostHas(row))
      continue;
    SCOPED_TRACE(row.name.str());
    auto module = parse(shape);
    std::string library = path(row.name + ".so");
    ASSERT_TRUE(succeeded(compile(*module, library, row.name)));
    auto artifact = load(library, 2);
    ASSERT_TRUE(artifact);

    // A batch of two rows of different lengths: prefill over several chunks,
    // a ragged step, then tokens one by one.
    oracle.reset();
    auto session = artifact->createSession(2, capacity);
    ASSERT_TRUE(static_cast<bool>(session));
    std::vector<int64_t> tokens = someTokens(60, shape.vocabulary);
    ArrayRef<int64_t> rest = tokens;
    SmallVector<std::array<int64_t, 3>> steps = {
        {11, 11, 11}, {5, 5, 2}, {1, 1, 1}, {1, 1, 1}, {3, 3, 3}};
    for (auto [n, first, second] : steps) {
      ArrayRef<int64_t> now = rest.take_front(2 * n);
      rest = rest.drop_front(2 * n);
      int64_t counts[] = {first, second};
      std::vector<float> expected = oracle.step(now, counts);
      ArtifactSession::StepOptions options;
      options.all = true;
      options.counts = counts;
      auto logits = session->step(now, options);
      ASSERT_TRUE(static_cast<bool>(logits))
          << llvm::toString(logits.takeError());
      for (int64_t b = 0; b < 2; ++b) {
        int64_t size = counts[b] * shape.vocabulary;
        int64_t start = b * n * shape.vocabulary;
        double error =
            relativeError(logits->slice(start, size),
                          ArrayRef<float>(expected).slice(start, size));
        // An int8 activation that stands between two codes may round to
        // either after a last-place difference.
        EXPECT_LT(error, shape.int8Activations ? 2e-2 : kTolerance)
            << n << " tokens, row " << b;
      }
      // The session of the oracle is what the session says it is.
      EXPECT_EQ(session->getLength(0), oracle.lengths[0]);
      EXPECT_EQ(session->getLength(1), oracle.lengths[1]);
    }
    // A hidden slot changes what later tokens see, in both.
    oracle.padding[3] = 0;
    ASSERT_FALSE(session->setVisible(0, 3, false));
    ArrayRef<int64_t> now = rest.take_front(2);
    std::vector<float> expected = oracle.step(now, {1, 1});
    auto logits = session->step(now);
    ASSERT_TRUE(static_cast<bool>(logits));
    EXPECT_LT(relativeError(*logits, expected),
              shape.int8Activations ? 2e-2 : kTolerance);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Weights, CompiledAgainstOracle,
    ::testing::Values(Case{"f32", 0, false}, Case{"w8", 8, false},
                      Case{"w4", 4, false}, Case{"w3", 3, false},
                      Case{"w2", 2, false}, Case{"w4a8", 4, true},
                      Case{"w4LowRank", 4, false, false, 5},
                      Case{"w4Pruned", 4, false, true},
                      Case{"w4a8PrunedLowRank", 4, true, true, 8}),
    [](const auto &info) { return info.param.name; });

TEST_F(CompileTest, ThreadsDoNotChangeNumbers) {
  SessionShape shape;
  shape.bits = 4;
  auto module = parse(shape);
  std::string library = path("a.so");
  ASSERT_TRUE(succeeded(compile(*module, library)));
  std::vector<int64_t> tokens = someTokens(19, shape.vocabulary);
  std::vector<float> first;
  for (int threads : {1, 2, 3}) {
    auto artifact = load(library, threads);
    auto session = artifact->createSession(1, 40);
    ASSERT_TRUE(static_cast<bool>(session));
    std::vector<float> all;
    for (ArrayRef<int64_t> now :
         {ArrayRef<int64_t>(tokens), ArrayRef<int64_t>(tokens).take_front(1),
          ArrayRef<int64_t>(tokens).take_front(2)}) {
      auto logits = session->step(now);
      ASSERT_TRUE(static_cast<bool>(logits));
      all.insert(all.end(), logits->begin(), logits->end());
    }
    if (threads == 1)
      first = all;
    EXPECT_EQ(all, first) << threads << " threads";
  }
}

TEST_F(CompileTest, SameInputGivesSameBytes) {
  SessionShape shape;
  std::string contents[2][2];
  for (int i = 0; i < 2; ++i) {
    auto module = parse(shape);
    std::string library = path("same.so");
    ASSERT_TRUE(succeeded(compile(*module, library)));
    for (int j = 0; j < 2; ++j) {
      auto file = llvm::MemoryBuffer::getFile(library + (j ? ".weights" : ""));
      ASSERT_TRUE(static_cast<bool>(file));
      contents[i][j] = (*file)->getBuffer().str();
    }
  }
  EXPECT_EQ(contents[0][0], contents[1][0]);
  EXPECT_EQ(contents[0][1], contents[1][1]);
}

TEST_F(CompileTest, KernelsDoNotGrowWithLayers) {
  SessionShape shape;
  auto two = parse(shape);
  shape.layers = 22;
  auto many = parse(shape);
  auto small = compile(*two, path("2.so"));
  auto large = compile(*many, path("22.so"));
  ASSERT_TRUE(succeeded(small) && succeeded(large));
  EXPECT_EQ(small->kernels, large->kernels);
  EXPECT_GT(small->kernels, 5);
  auto artifact = load(path("22.so"), 1);
  EXPECT_EQ(artifact->getInfo().kernels, small->kernels);
  EXPECT_EQ(artifact->getInfo().layers, 22);
}

TEST_F(CompileTest, EmbeddingAndHeadShareTheirBytes) {
  SessionShape shape;
  shape.layers = 1;
  shape.vocabulary = 5000;
  shape.width = 64;
  auto module = parse(shape);
  auto result = compile(*module, path("tied.so"));
  ASSERT_TRUE(succeeded(result));
  EXPECT_LT(result->weightBytes, 2 * shape.vocabulary * shape.width * 4);
}

TEST_F(CompileTest, ForeignCodeIsRefused) {
  // A cpu with instruction sets that hardly any machine with these tests has.
  SessionShape shape;
  auto module = parse(shape);
  ASSERT_TRUE(succeeded(compile(*module, path("amx.so"), "graniterapids")));
  auto artifact = Artifact::open(path("amx.so"), 1);
  if (artifact)
    GTEST_SKIP() << "this machine has them all";
  std::string message = llvm::toString(artifact.takeError());
  EXPECT_NE(message.find("graniterapids"), std::string::npos) << message;
  EXPECT_NE(message.find("lacks"), std::string::npos) << message;
}

TEST_F(CompileTest, UnknownCpuIsAnError) {
  SessionShape shape;
  auto module = parse(shape);
  std::string message;
  ScopedDiagnosticHandler handler(&context, [&](Diagnostic &diagnostic) {
    message += diagnostic.str();
    return success();
  });
  EXPECT_TRUE(failed(compile(*module, path("x.so"), "abacus")));
  EXPECT_NE(message.find("abacus"), std::string::npos);
  EXPECT_FALSE(llvm::sys::fs::exists(path("x.so")));
}

TEST_F(CompileTest, CProgramGenerates) {
  if (!llvm::StringRef(MIURA_SANITIZE).empty())
    GTEST_SKIP() << "the runtime is instrumented, a C compiler's program not";
  SessionShape shape;
  auto module = parse(shape);
  std::string library = path("libmodel.so");
  ASSERT_TRUE(succeeded(compile(*module, library)));
  auto compiler = llvm::sys::findProgramByName("cc");
  ASSERT_TRUE(static_cast<bool>(compiler));
  std::string source = MIURA_SOURCE_ROOT "/examples/c/generate.c";
  std::string program = path("generate"), output = path("output.txt");
  std::string include = "-I" MIURA_SOURCE_ROOT "/include";
  std::string runPath = "-Wl,-rpath," + folder.str().str();
  ASSERT_EQ(0,
            llvm::sys::ExecuteAndWait(
                *compiler, {*compiler, "-std=c11", "-Wall", "-Werror", include,
                            source, library, runPath, "-o", program}));
  std::optional<llvm::StringRef> redirects[] = {std::nullopt, output.c_str(),
                                                std::nullopt};
  ASSERT_EQ(0, llvm::sys::ExecuteAndWait(program, {program, "5", "1", "2", "3"},
                                         std::nullopt, redirects));
  // The same tokens through the loader.
  auto artifact = load(library, 1);
  auto session = artifact->createSession(1, 64);
  std::string expected;
  std::vector<int64_t> tokens = {1, 2, 3};
  for (int i = 0; i < 5; ++i) {
    auto logits = session->step(tokens);
    ASSERT_TRUE(static_cast<bool>(logits));
    int64_t best =
        std::max_element(logits->begin(), logits->end()) - logits->begin();
    expected += std::to_string(best) + (i == 4 ? "\n" : " ");
    tokens = {best};
  }
  auto text = llvm::MemoryBuffer::getFile(output);
  ASSERT_TRUE(static_cast<bool>(text));
  EXPECT_EQ((*text)->getBuffer().str(), expected);
}

} // namespace
