//===- InspectCommand.cpp - miura inspect ---------------------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// `miura inspect`: layers, shapes, schemes, bits, bytes and certificates of a
/// model in any form, and what is known of compiled code.
///
//===----------------------------------------------------------------------===//

#include "Commands.h"
#include "miura/Dialect/Miura/IR/MiuraDialect.h"
#include "miura/Driver/Artifact.h"
#include "miura/Driver/Bundle.h"
#include "miura/Driver/Model.h"
#include "miura/Driver/Report.h"
#include "miura/Pipelines/Compile.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/raw_ostream.h"

using namespace mlir;
using namespace miura;
using namespace miura::driver;

static int64_t getFileBytes(llvm::StringRef path) {
  uint64_t size = 0;
  return llvm::sys::fs::file_size(path, size) ? 0 : int64_t(size);
}

/// Of the model's own file and every file that its weights lie in, each once.
static int64_t getArtifactBytes(ModuleOp module, llvm::StringRef path) {
  FileStore &files = module.getContext()
                         ->getOrLoadDialect<MiuraDialect>()
                         ->getWeightStore()
                         .getFiles();
  llvm::StringMap<int64_t> sizes;
  auto add = [&](llvm::StringRef file) {
    llvm::SmallString<256> real;
    if (llvm::sys::fs::real_path(file, real))
      real = file;
    sizes[real] = getFileBytes(file);
  };
  add(path);
  for (auto data : module.getOps<WeightDataOp>()) {
    if (!data.getBytes())
      continue;
    if (auto file = files.resolve(data.getBytes()->getFile()))
      add(*file);
    else
      llvm::consumeError(file.takeError());
  }
  int64_t total = 0;
  for (const auto &entry : sizes)
    total += entry.second;
  return total;
}

/// Compiled code knows its sizes, not the layers that it was made from.
static ExitCode inspectLibrary(Invocation &invocation, llvm::StringRef path) {
  auto artifact = Artifact::open(path, /*threads=*/1);
  if (!artifact)
    return invocation.failInput(artifact.takeError(), path);
  if (llvm::Error error = verifyWeightsFile(path))
    return invocation.failInput(std::move(error), path);
  const miura_model_info &info = (*artifact)->getInfo();
  int64_t code = getFileBytes(path);
  int64_t weights = getFileBytes((path + ".weights").str());
  std::string text;
  llvm::raw_string_ostream(text)
      << "compiled code by Miura " << info.version << "\n  tuned for    "
      << info.cpu << "\n  needs        " << info.features << "\n  kernels      "
      << info.kernels << "\n  vocabulary   " << info.vocabulary
      << "\n  caches       " << info.layers << " layers\n  context      "
      << (info.context ? std::to_string(info.context) : "not stated")
      << "\n  chunk        " << info.chunk << " tokens\n\n"
      << code + weights << " bytes: " << code << " of code, " << weights
      << " of weights\n";
  invocation.printText(text);
  invocation.printJson(llvm::json::Object{{"bytes", code + weights},
                                          {"resident_bytes", weights},
                                          {"parameters", nullptr},
                                          {"bits_per_weight", nullptr},
                                          {"layers", llvm::json::Array()},
                                          {"kernels", info.kernels},
                                          {"vocabulary", info.vocabulary},
                                          {"context", info.context},
                                          {"caches", info.layers},
                                          {"chunk", info.chunk},
                                          {"cpu", info.cpu},
                                          {"features", info.features},
                                          {"version", info.version}});
  return ExitCode::Success;
}

static ExitCode run(Invocation &invocation) {
  std::string input;
  if (!invocation.getInput(input, "a model"))
    return ExitCode::Usage;
  llvm::Expected<ModelKind> kind = getModelKind(input);
  if (!kind)
    return invocation.failInput(kind.takeError(), input);
  if (*kind == ModelKind::Library)
    return inspectLibrary(invocation, input);

  ExitCode code = ExitCode::Success;
  OwningOpRef<ModuleOp> module = loadModule(invocation, input, code);
  if (!module)
    return code;
  int64_t bytes = *kind == ModelKind::Bundle ? getBundleBytes(input)
                                             : getArtifactBytes(*module, input);
  // What is a layer, raising says.
  code = invocation.runPasses(
      *module, [&](OpPassManager &pm) { buildModelPipeline(pm, *module); });
  if (code != ExitCode::Success)
    return code;
  ModelReport report = makeReport(*module, bytes);
  std::string text;
  llvm::raw_string_ostream os(text);
  printReport(report, os);
  invocation.printText(os.str());
  invocation.printJson(toJson(report));
  return ExitCode::Success;
}

const Command miura::driver::inspectCommand = {"inspect",
                                               R"(
Shows every layer with a weight: its shape, how the weight is stored, bits per
weight, bytes, and the relative error that its certificate states. MODEL is an
ONNX file, MLIR of any level, a bundle, or compiled code, of which only the
sizes are known. Below a layer that a pass left alone stands why. `bits` of a
layer count its own tensors; bits per weight in the last line count the whole
artifact.

Example:
  $ miura inspect model.miura
  layer                 scheme      shape    bits      bytes    error
  model.lm_head.weight  int4/32  32000x288   4.500   5184000  0.13621
  …
  15191736 parameters in 8648387 bytes, 8558304 of them resident: 4.554 bits per weight
)",
                                               run};
