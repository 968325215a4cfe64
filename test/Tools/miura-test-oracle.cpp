//===- miura-test-oracle.cpp - Run fixtures through the oracle ------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Runs models at whatever level a given pass pipeline leaves them through the
/// oracle, on test data beside them, and prints a line per data set. So a file
/// can be run with and without raise, which `miura run` does not offer.
///
//===----------------------------------------------------------------------===//

#include "miura/Conversion/ONNXNormalize/Passes.h"
#include "miura/Dialect/Miura/IR/MiuraDialect.h"
#include "miura/Driver/TensorFiles.h"
#include "miura/Import/ONNX/ImportOnnx.h"
#include "miura/Target/Reference/Reference.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Pass/PassRegistry.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/InitLLVM.h"
#include "llvm/Support/Path.h"
#include <chrono>

using namespace mlir;
using namespace miura;

namespace cl = llvm::cl;

static cl::list<std::string> models(cl::Positional, cl::OneOrMore,
                                    cl::desc("MODEL or folder of one ..."));
static cl::opt<std::string> pipeline("pipeline",
                                     cl::desc("Passes to run before"));
static cl::opt<double> rtol("rtol", cl::init(1e-4),
                            cl::desc("Largest relative error that passes"));
static cl::opt<bool> verbose("outputs", cl::desc("A line per output too"));

static double now() {
  return std::chrono::duration<double>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

static StringRef nameOf(func::FuncOp function, unsigned i, bool result) {
  auto name = result
                  ? function.getResultAttrOfType<StringAttr>(i, kNameAttrName)
                  : function.getArgAttrOfType<StringAttr>(i, kNameAttrName);
  return name ? name.getValue() : StringRef();
}

/// One data set; false where it fails.
static bool check(const ReferenceFunction &function, func::FuncOp op,
                  StringRef label, StringRef folder, MLIRContext *context) {
  auto set = TensorSet::open(folder, context);
  auto fail = [&](llvm::Error error) {
    llvm::outs() << label << " ERROR " << llvm::toString(std::move(error))
                 << "\n";
    return false;
  };
  if (!set)
    return fail(set.takeError());
  std::vector<HostArray> inputs;
  for (unsigned i = 0; i < function.getInputTypes().size(); ++i) {
    auto input = set->find("input", i, nameOf(op, i, false));
    if (!input)
      return fail(input.takeError());
    if (!*input)
      return fail(llvm::createStringError("no input " + Twine(i)));
    inputs.push_back(std::move(**input));
  }
  double start = now();
  auto outputs = function.run(inputs, op.getLoc());
  if (failed(outputs)) {
    llvm::outs() << label << " ERROR cannot run\n";
    return false;
  }
  double seconds = now() - start, worst = 0, absolute = 0;
  bool passed = true;
  for (unsigned i = 0; i < outputs->size(); ++i) {
    auto expected = set->find("output", i, nameOf(op, i, true));
    if (!expected)
      return fail(expected.takeError());
    if (!*expected)
      return fail(llvm::createStringError("no output " + Twine(i)));
    const HostArray &actual = (*outputs)[i];
    if (actual.type != (*expected)->type) {
      llvm::outs() << label << " output " << i << " is ";
      actual.type.print(llvm::outs());
      llvm::outs() << ", expected ";
      (*expected)->type.print(llvm::outs());
      llvm::outs() << "\n";
      passed = false;
      continue;
    }
    ArrayDifference difference = compareArrays(actual, **expected);
    worst = std::max(worst, difference.relative);
    absolute = std::max(absolute, difference.maxAbsolute);
    if (verbose)
      llvm::outs() << "  " << nameOf(op, i, true) << " "
                   << llvm::format("%.2e %.2e", difference.maxAbsolute,
                                   difference.relative)
                   << "\n";
  }
  passed &= worst <= rtol;
  llvm::outs() << label << (passed ? " passed" : " FAILED")
               << llvm::format(" rel %.2e abs %.2e run %.2fs", worst, absolute,
                               seconds)
               << "\n";
  return passed;
}

static bool run(StringRef model) {
  DialectRegistry registry;
  registry.insert<MiuraDialect>();
  registerReferenceDialects(registry);
  MLIRContext context(registry);
  context.loadAllAvailableDialects();
  SmallString<128> path(model);
  if (llvm::sys::fs::is_directory(path))
    llvm::sys::path::append(path, "model.onnx");
  StringRef folder = llvm::sys::path::parent_path(path);
  std::string label = llvm::sys::path::filename(folder).str();
  OwningOpRef<ModuleOp> module =
      path.ends_with(".onnx") ? importOnnx(path, &context)
                              : parseSourceFile<ModuleOp>(path, &context);
  if (!module) {
    llvm::outs() << label << " ERROR cannot read\n";
    return false;
  }
  double start = now();
  if (!pipeline.empty()) {
    PassManager pm(&context);
    if (failed(parsePassPipeline(pipeline, pm)) || failed(pm.run(*module))) {
      llvm::outs() << label << " ERROR in the pipeline\n";
      return false;
    }
  }
  auto op = module->lookupSymbol<func::FuncOp>(kMainGraphName);
  auto function = ReferenceFunction::compile(*module, kMainGraphName);
  if (failed(function)) {
    llvm::outs() << label << " ERROR cannot compile\n";
    return false;
  }
  llvm::outs() << label << llvm::format(" compiled in %.2fs\n", now() - start);
  bool passed = true;
  for (unsigned i = 0;; ++i) {
    SmallString<128> set(folder);
    llvm::sys::path::append(set, "test_data_set_" + Twine(i));
    if (!llvm::sys::fs::is_directory(set))
      break;
    passed &= check(**function, op, (Twine(label) + " set " + Twine(i)).str(),
                    set, &context);
  }
  return passed;
}

int main(int argc, char **argv) {
  llvm::InitLLVM init(argc, argv);
  registerONNXNormalizePasses();
  cl::ParseCommandLineOptions(argc, argv, "Runs models through the oracle\n");
  bool passed = true;
  for (const std::string &model : models)
    passed &= run(model);
  return passed ? 0 : 1;
}
