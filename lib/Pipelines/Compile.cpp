//===- Compile.cpp - From a model to a shared library ---------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The stages of `miura compile` from the session level on, in order, each with
/// the reason for its place; and the writing of the outputs.
///
//===----------------------------------------------------------------------===//

#include "miura/Pipelines/Compile.h"
#include "miura/Codegen/CPU/Isa.h"
#include "miura/Codegen/Step/Passes.h"
#include "miura/Codegen/Step/StepSignature.h"
#include "miura/Conversion/MiuraToKernels/Passes.h"
#include "miura/Conversion/MiuraToLinalg/Passes.h"
#include "miura/Conversion/ONNXNormalize/Passes.h"
#include "miura/Conversion/ONNXToLinalg/Passes.h"
#include "miura/Conversion/ONNXToMiura/Passes.h"
#include "miura/Dialect/Miura/IR/MiuraDialect.h"
#include "miura/Dialect/Miura/Transforms/Passes.h"
#include "miura/Pipelines/Passes.h"
#include "miura/Target/Object.h"
#include "mlir/Conversion/Passes.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/Passes.h"
#include "mlir/Pass/PassRegistry.h"
#include "mlir/Transforms/Passes.h"
#include "llvm/ADT/ScopeExit.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Process.h"
#include "llvm/Support/Signals.h"
#include "llvm/Support/raw_ostream.h"
#include <cerrno>
#include <csignal>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

using namespace mlir;
using namespace miura;

static bool hasSession(ModuleOp module) {
  return llvm::any_of(module.getOps<func::FuncOp>(), [](auto function) {
    return function->hasAttr(kSessionAttrName);
  });
}

void miura::buildModelPipeline(OpPassManager &pm, ModuleOp module) {
  // Roles are what raising leaves behind; nodes of the file may be left too.
  bool isRaised = hasSession(module);
  for (auto function : module.getOps<func::FuncOp>())
    for (unsigned i = 0; i < function.getNumArguments(); ++i)
      isRaised |= function.getArgAttr(i, kRoleAttrName) != nullptr;
  // A module without the file's nodes was written by hand.
  bool hasNodes = false;
  module.walk([&](OnnxNodeOp) { hasNodes = true; });
  if (isRaised || !hasNodes)
    return;
  // Sizes that the file does not say decide what a node can be.
  pm.addPass(createOnnxNormalizePass());
  pm.addPass(createVerifyLevelPass(Level::Normalized));
  pm.addPass(createRaisePass());
  // A session refuses what it cannot mean; what has no use is not asked.
  pm.addPass(createCanonicalizerPass());
  pm.addPass(createCSEPass());
}

void miura::buildSessionPipeline(OpPassManager &pm, ModuleOp module) {
  if (hasSession(module))
    return;
  buildModelPipeline(pm, module);
  // Nodes that cannot be compiled are among what it refuses.
  pm.addPass(createVerifyLevelPass(Level::Model));
  // What the file calls its inputs and outputs, while they are there.
  pm.addPass(createRecordSignaturePass());
  // Kernels compute in f32; before a session is formed, so that its caches are
  // f32 too, and after the file's types were noted.
  pm.addPass(createWidenActivationsPass());
  pm.addPass(createFormSessionPass());
}

void miura::buildCompilePipeline(OpPassManager &pm, llvm::StringRef weights,
                                 llvm::StringRef target,
                                 llvm::StringRef features) {
  // Embeddings of leaves, while expressions are whole.
  pm.addPass(createExpandEmbeddingsPass());
  // Kernels are formed of what they can decode.
  pm.addPass(createEvaluateLeavesPass());
  // Equal values first, so that kernels share their inputs. Additions and
  // products on tensors get the one spelling that outlives kernels, in whose
  // regions they are arith ops again.
  pm.addPass(createCSEPass());
  // While inputs are still values that linears share.
  pm.addPass(createRoundActivationsPass());
  pm.addNestedPass<func::FuncOp>(createConvertElementwiseToLinalgPass());
  // Roots must still be model ops.
  pm.addPass(createFormKernelsPass());
  // Everything else becomes loops; fused, so that a table of cosines is one.
  pm.addPass(createONNXToLinalgPass());
  pm.addPass(createMiuraToLinalgPass());
  pm.addPass(createReconcileUnrealizedCastsPass());
  OpPassManager &function = pm.nest<func::FuncOp>();
  function.addPass(createLinalgElementwiseOpFusionPass());
  function.addPass(createCanonicalizerPass());
  function.addPass(createCSEPass());
  // While weights still are what they are called.
  pm.addPass(createVerifyLevelPass(Level::Kernel));
  // The weights argument must be there before weights become views of it.
  pm.addPass(createFormStepPass());
  PackWeightsPassOptions pack;
  pack.output = weights.str();
  pack.target = target.str();
  pack.features = features.str();
  pm.addPass(createPackWeightsPass(pack));
  pm.addPass(createSymbolDCEPass());
  // On tensors up to here: bufferization decides once what is in place.
  pm.addPass(createBufferizeStepPass());
  EmitKernelsPassOptions emit;
  emit.target = target.str();
  emit.features = features.str();
  pm.addPass(createEmitKernelsPass(emit));
  pm.addPass(createCanonicalizerPass());
  pm.addPass(createCSEPass());
  // Barriers first: they are the clock by which buffers live and die.
  pm.addPass(createPlaceBarriersPass());
  pm.addPass(createPlanWorkspacePass());
  pm.addPass(createVerifyLevelPass(Level::Kernel));
  pm.addPass(createCSEPass());
  LowerStepPassOptions lower;
  lower.target = target.str();
  lower.features = features.str();
  pm.addPass(createLowerStepPass(lower));
}

namespace {

struct PipelineOptions : public PassPipelineOptions<PipelineOptions> {
  Option<std::string> weights{*this, "weights",
                              llvm::cl::desc("The weights file to write")};
  Option<std::string> target{
      *this, "target",
      llvm::cl::desc("As miura compile takes it; empty: this machine")};
  Option<std::string> features{
      *this, "features", llvm::cl::desc("Its features, as LLVM writes them")};
};

} // namespace

void miura::registerCompilePipeline() {
  PassPipelineRegistration<PipelineOptions>(
      "miura-compile",
      "A session's steps to the LLVM dialect: kernels are formed, weights are "
      "packed, buffers planned, code emitted",
      [](OpPassManager &pm, const PipelineOptions &options) {
        buildCompilePipeline(pm, options.weights, options.target,
                             options.features);
      });
}

static constexpr llvm::StringLiteral kUnfinished = ".unfinished-";

/// Removes what processes that are gone have left of `output`.
static void removeAbandoned(llvm::StringRef output) {
  llvm::StringRef folder = llvm::sys::path::parent_path(output);
  std::string start = (llvm::sys::path::filename(output) + kUnfinished).str();
  std::error_code error;
  for (llvm::sys::fs::directory_iterator
           it(folder.empty() ? "." : folder, error),
       end;
       it != end && !error; it.increment(error)) {
    llvm::StringRef rest = llvm::sys::path::filename(it->path());
    int process = 0;
    if (rest.consume_front(start) && !rest.consumeInteger(10, process) &&
        process > 0 && ::kill(process, 0) != 0 && errno == ESRCH)
      llvm::sys::fs::remove(it->path());
  }
}

/// Renames library and weights to `output`. A lock on the folder keeps another
/// process from putting one of its own between the two.
static std::error_code renamePair(const std::string &unfinished,
                                  llvm::StringRef output) {
  llvm::StringRef folder = llvm::sys::path::parent_path(output);
  int lock = ::open(folder.empty() ? "." : folder.str().c_str(),
                    O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  llvm::scope_exit unlock([&] {
    if (lock >= 0)
      ::close(lock);
  });
  // Where the file system has no locks, there is none.
  if (lock >= 0)
    (void)::flock(lock, LOCK_EX);
  // Weights first: a library without them would not open.
  if (std::error_code error =
          llvm::sys::fs::rename(unfinished + ".weights", output + ".weights"))
    return error;
  return llvm::sys::fs::rename(unfinished, output);
}

FailureOr<CompileResult> miura::compileModel(ModuleOp module,
                                             const CompileOptions &options) {
  Location loc = module.getLoc();
  llvm::Expected<codegen::Target> target =
      codegen::chooseTarget(options.target, options.features);
  if (!target)
    return emitError(loc, llvm::toString(target.takeError()));
  llvm::StringRef output = options.output;
  bool isAssembly = output.ends_with(".s");
  bool isObject = output.ends_with(".o");

  // All outputs are made under names of this process and renamed at the end.
  removeAbandoned(output);
  std::string unfinished =
      (output + kUnfinished + llvm::Twine(llvm::sys::Process::getProcessId()))
          .str();
  std::string weights = unfinished + ".weights", object = unfinished + ".o";
  for (const std::string &path : {unfinished, weights, object})
    llvm::sys::RemoveFileOnSignal(path);
  llvm::scope_exit clean([&] {
    for (const std::string &path : {unfinished, weights, object}) {
      llvm::sys::fs::remove(path);
      llvm::sys::DontRemoveFileOnSignal(path);
    }
  });

  Builder b(module.getContext());
  module->setAttr("miura.chunk", b.getI64IntegerAttr(options.chunk));
  auto runPasses =
      [&](llvm::function_ref<void(OpPassManager &)> build) -> LogicalResult {
    if (options.runPasses)
      return options.runPasses(module, build);
    PassManager pm(module.getContext());
    build(pm);
    return pm.run(module);
  };
  if (failed(runPasses(
          [&](OpPassManager &pm) { buildSessionPipeline(pm, module); })) ||
      failed(runPasses([&](OpPassManager &pm) {
        buildCompilePipeline(pm, weights, options.target, options.features);
      })))
    return failure();

  llvm::SmallVector<char, 0> code;
  ObjectTarget objectTarget{target->triple, target->cpu, target->features};
  if (llvm::Error error = emitObject(module, objectTarget, code, isAssembly))
    return emitError(loc, llvm::toString(std::move(error)));
  {
    std::error_code error;
    llvm::raw_fd_ostream os(isAssembly ? unfinished : object, error);
    if (!error) {
      os.write(code.data(), code.size());
      os.close();
      error = os.error();
      os.clear_error();
    }
    if (error)
      return emitError(loc, "cannot write ")
             << output << ": " << error.message();
  }
  if (!isAssembly) {
    llvm::Expected<std::string> runtime =
        findRuntime(options.executable, target->triple);
    if (!runtime)
      return emitError(loc, llvm::toString(runtime.takeError()));
    if (llvm::Error error =
            linkProgram(object, *runtime, target->triple, unfinished, isObject))
      return emitError(loc, llvm::toString(std::move(error)));
  }

  CompileResult result;
  auto get = [&](llvm::StringRef name) {
    auto attr = module->getAttrOfType<IntegerAttr>(name);
    return attr ? attr.getInt() : 0;
  };
  result.kernels = get("miura.kernels");
  result.weightBytes = get("miura.weight_bytes");
  uint64_t size = 0;
  llvm::sys::fs::file_size(unfinished, size);
  result.codeBytes = size;
  if (std::error_code error = renamePair(unfinished, output))
    return emitError(loc, "cannot write ") << output << ": " << error.message();
  return result;
}
