//===- RunCommand.cpp - miura run -----------------------------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// `miura run`: a model on the inputs of its file, compiled or through the
/// oracle, and the comparison with stored outputs.
///
//===----------------------------------------------------------------------===//

#include "Commands.h"
#include "miura/Conversion/ONNXNormalize/Passes.h"
#include "miura/Conversion/ONNXToMiura/Passes.h"
#include "miura/Driver/CompiledModel.h"
#include "miura/Driver/Model.h"
#include "miura/Driver/ModelRunner.h"
#include "miura/Driver/TensorFiles.h"
#include "miura/Import/ONNX/ImportOnnx.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Transforms/Passes.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/WithColor.h"
#include <chrono>
#include <cmath>

using namespace mlir;
using namespace miura;
using namespace miura::driver;

namespace {

/// What the command line asks for.
struct RunOptions {
  std::string model;
  std::vector<std::string> sets;
  std::string save;
  bool check = false, reference = false, raise = true;
  double tolerance = 1e-4;
};

/// One output of one set.
struct OutputReport {
  std::string set, name;
  std::vector<int64_t> shape;
  std::optional<ArrayDifference> difference;
};

struct RunReport {
  std::vector<OutputReport> outputs;
  double seconds = 0;
};

} // namespace

//===----------------------------------------------------------------------===//
// Options
//===----------------------------------------------------------------------===//

/// The model is the first word that belongs to no option; further ones behind
/// --inputs are data sets, so that `--inputs data/set_*` works.
static bool readOptions(Invocation &invocation, RunOptions &options) {
  bool inputsBegun = false;
  std::vector<std::string> words;
  for (const llvm::opt::Arg *arg : invocation.getArguments()) {
    llvm::opt::Option option = arg->getOption();
    if (option.getUnaliasedOption().matches(OPT_inputs)) {
      options.sets.push_back(arg->getValue());
      inputsBegun = true;
    } else if (option.matches(OPT_INPUT)) {
      if (inputsBegun && !words.empty())
        options.sets.push_back(arg->getValue());
      else
        words.push_back(arg->getValue());
    }
  }
  if (words.size() != 1) {
    invocation.failUsage(words.empty()
                             ? "expected a model; see 'miura run --help'"
                             : "expected one model, but got '" + words[0] +
                                   "' and '" + words[1] + "'");
    return false;
  }
  options.model = words.front();
  if (options.sets.empty()) {
    invocation.failUsage("needs --inputs with a folder that has input_0.pb, … "
                         "or with a .npz file");
    return false;
  }
  options.save = invocation.getString(OPT_save).str();
  options.check = invocation.has(OPT_check);
  options.reference = invocation.has(OPT_reference);
  options.raise = !invocation.has(OPT_no_raise);
  if (!options.raise && !options.reference) {
    invocation.failUsage("--no-raise goes with --reference: only the oracle "
                         "runs nodes of the file as they are");
    return false;
  }
  if (invocation.has(OPT_rtol) && !options.check) {
    invocation.failUsage("--rtol goes with --check");
    return false;
  }
  return invocation.getNumber(OPT_rtol, options.tolerance, 0, 1e300);
}

/// Where the outputs of `set` are saved: the folder itself if there is one set.
static std::string getSaveFolder(const RunOptions &options, StringRef set) {
  if (options.sets.size() == 1)
    return options.save;
  llvm::SmallString<128> folder(options.save);
  llvm::sys::path::append(folder, llvm::sys::path::filename(set.rtrim('/')));
  return folder.str().str();
}

static bool checkSaveFolders(Invocation &invocation,
                             const RunOptions &options) {
  llvm::StringSet<> folders;
  for (const std::string &set : options.sets)
    if (!options.save.empty() &&
        !folders.insert(getSaveFolder(options, set)).second) {
      invocation.failUsage("two data sets would both be saved in '" +
                           getSaveFolder(options, set) +
                           "'; run them one by one");
      return false;
    }
  return true;
}

//===----------------------------------------------------------------------===//
// The model
//===----------------------------------------------------------------------===//

/// Keeps what a runner needs alive.
struct OpenedModel {
  OwningOpRef<ModuleOp> module;
  std::unique_ptr<Artifact> artifact;
  std::unique_ptr<ModelRunner> runner;
};

/// Whether `module` is as a file was imported: nodes and no model ops yet.
static bool isOnnxLevel(ModuleOp module) {
  if (!module->hasAttr(kOnnxAttrName))
    return false;
  WalkResult result = module.walk([](Operation *op) {
    bool isModelOp =
        isa<MiuraDialect>(op->getDialect()) &&
        !isa<OnnxNodeOp, OnnxYieldOp, AbsentOp, WeightDataOp, WeightOp>(op);
    return isModelOp ? WalkResult::interrupt() : WalkResult::advance();
  });
  return !result.wasInterrupted();
}

static ExitCode openReference(Invocation &invocation, const RunOptions &options,
                              OpenedModel &opened) {
  ExitCode code = ExitCode::Success;
  opened.module = loadModule(invocation, options.model, code);
  if (!opened.module)
    return code;
  if (isOnnxLevel(*opened.module)) {
    code = invocation.runPasses(*opened.module, [&](OpPassManager &pm) {
      pm.addPass(createOnnxNormalizePass());
      if (options.raise)
        pm.addPass(createRaisePass());
      pm.addPass(createCanonicalizerPass());
      pm.addPass(createCSEPass());
    });
    if (code != ExitCode::Success)
      return code;
  }
  opened.runner = createReferenceRunner(*opened.module);
  if (!opened.runner)
    return invocation.failReported("compiling the reference of '" +
                                   options.model + "'");
  return ExitCode::Success;
}

static ExitCode openCompiled(Invocation &invocation, const RunOptions &options,
                             OpenedModel &opened) {
  ExitCode code = ExitCode::Success;
  opened.artifact = openModel(invocation, options.model, code);
  if (!opened.artifact)
    return code;
  auto runner =
      createCompiledRunner(*opened.artifact, &invocation.getContext());
  if (!runner)
    return invocation.failInput(runner.takeError(), options.model);
  opened.runner = std::move(*runner);
  return ExitCode::Success;
}

//===----------------------------------------------------------------------===//
// Running
//===----------------------------------------------------------------------===//

/// The files in which tensor `index` may be, for messages.
static std::string describeFiles(StringRef stem, unsigned index,
                                 const SignaturePort &port) {
  std::string numbered = (stem + "_" + llvm::Twine(index)).str();
  return numbered + ".pb, " + numbered + ".npy or " + toFileName(port.name) +
         ".npy, or '" + port.name + "' in " + stem.str() + "s.npz";
}

static llvm::Expected<std::vector<std::optional<HostArray>>>
readInputs(const TensorSet &set, const ModelRunner &runner) {
  std::vector<std::optional<HostArray>> inputs;
  for (auto [i, port] : llvm::enumerate(runner.getSignature().inputs)) {
    auto array = set.find("input", i, port.name);
    if (!array)
      return array.takeError();
    if (!*array && runner.needsInput(i))
      return llvm::createStringError(set.getPath() + ": has no " +
                                     describePort("input", i, port) + ", " +
                                     describeType(port.type) + "; give " +
                                     describeFiles("input", i, port));
    inputs.push_back(std::move(*array));
  }
  return inputs;
}

static llvm::Error compareOutput(const TensorSet &set, unsigned index,
                                 const SignaturePort &port,
                                 const HostArray &actual,
                                 OutputReport &report) {
  auto expected = set.find("output", index, port.name);
  if (!expected)
    return expected.takeError();
  std::string what = describePort("output", index, port);
  if (!*expected)
    return llvm::createStringError(
        set.getPath() + ": has no " + what + " to compare with; give " +
        describeFiles("output", index, port) + ", or leave --check out");
  // NumPy tends to store a scalar as an array of one element.
  if (actual.type.getRank() == 0 && (*expected)->getNumElements() == 1)
    (*expected)->type =
        RankedTensorType::get({}, (*expected)->type.getElementType());
  if ((*expected)->type != actual.type)
    return llvm::createStringError(set.getPath() + ": the stored " + what +
                                   " is " + describeType((*expected)->type) +
                                   ", but the model computes " +
                                   describeType(actual.type));
  report.difference = compareArrays(actual, **expected);
  return llvm::Error::success();
}

static llvm::Error saveOutputs(StringRef folder,
                               llvm::ArrayRef<HostArray> outputs) {
  if (std::error_code error = llvm::sys::fs::create_directories(folder))
    return llvm::createStringError(error, "cannot make the folder '" + folder +
                                              "': " + error.message());
  for (auto [i, output] : llvm::enumerate(outputs)) {
    if (!output.type)
      continue;
    llvm::SmallString<128> path(folder);
    llvm::sys::path::append(path, "output_" + llvm::Twine(i) + ".npy");
    if (llvm::Error error = writeNpy(output, path))
      return error;
  }
  return llvm::Error::success();
}

/// Outputs that a session does not compute (hidden states, a number that passes
/// through), by the oracle, which is opened for the first of them.
static llvm::Error computeOthers(Invocation &invocation,
                                 const RunOptions &options,
                                 const ModelRunner &runner,
                                 const TensorSet &set, OpenedModel &others,
                                 std::vector<HostArray> &outputs) {
  const std::vector<HostArray> &given = outputs;
  auto missing = llvm::find_if(
      given, [](const HostArray &output) { return !output.type; });
  if (missing == given.end() ||
      llvm::sys::path::extension(options.model) == ".so")
    return llvm::Error::success();
  std::string reason = runner.whyNoOutput(missing - given.begin());
  if (!others.runner) {
    invocation.progress() << reason << ": computed without kernels\n";
    if (openReference(invocation, options, others) != ExitCode::Success)
      return llvm::createStringError(options.model + ": " + reason);
  }
  auto inputs = readInputs(set, *others.runner);
  if (!inputs)
    return inputs.takeError();
  auto all = others.runner->run(*inputs);
  if (!all)
    return all.takeError();
  for (auto [output, other] : llvm::zip(outputs, *all))
    if (!output.type)
      output = std::move(other);
  return llvm::Error::success();
}

static llvm::Error runSet(Invocation &invocation, const RunOptions &options,
                          ModelRunner &runner, OpenedModel &others,
                          StringRef path, RunReport &report) {
  auto set = TensorSet::open(path, &invocation.getContext());
  if (!set)
    return set.takeError();
  auto inputs = readInputs(*set, runner);
  if (!inputs)
    return inputs.takeError();
  auto begin = std::chrono::steady_clock::now();
  auto outputs = runner.run(*inputs);
  if (!outputs)
    return llvm::createStringError(path + ": " +
                                   llvm::toString(outputs.takeError()));
  std::chrono::duration<double> spent =
      std::chrono::steady_clock::now() - begin;
  report.seconds += spent.count();
  if (llvm::Error error =
          computeOthers(invocation, options, runner, *set, others, *outputs))
    return error;
  for (auto [i, port] : llvm::enumerate(runner.getSignature().outputs)) {
    if (!(*outputs)[i].type) {
      if (options.check)
        return llvm::createStringError(options.model + ": " +
                                       runner.whyNoOutput(i));
      invocation.progress() << runner.whyNoOutput(i) << "\n";
      continue;
    }
    OutputReport output;
    output.set = path.str();
    output.name = port.name;
    output.shape = (*outputs)[i].getShape().vec();
    if (options.check)
      if (llvm::Error error =
              compareOutput(*set, i, port, (*outputs)[i], output))
        return error;
    report.outputs.push_back(std::move(output));
  }
  if (!options.save.empty())
    return saveOutputs(getSaveFolder(options, path), *outputs);
  return llvm::Error::success();
}

//===----------------------------------------------------------------------===//
// Reports
//===----------------------------------------------------------------------===//

static bool passes(const OutputReport &output, double tolerance) {
  // Neither infinity nor NaN is near enough.
  return !output.difference || output.difference->relative <= tolerance;
}

static llvm::json::Value toJson(double number) {
  return std::isfinite(number) ? llvm::json::Value(number)
                               : llvm::json::Value(nullptr);
}

static llvm::json::Object toJson(const RunOptions &options,
                                 const RunReport &report, bool passed) {
  llvm::json::Array outputs;
  for (const OutputReport &output : report.outputs) {
    llvm::json::Object entry{
        {"set", output.set}, {"name", output.name}, {"shape", output.shape}};
    if (output.difference) {
      entry["max_abs_error"] = toJson(output.difference->maxAbsolute);
      entry["max_rel_error"] = toJson(output.difference->relative);
    }
    outputs.push_back(std::move(entry));
  }
  llvm::json::Object object{{"outputs", std::move(outputs)},
                            {"seconds", report.seconds}};
  if (options.check) {
    object["passed"] = passed;
    object["rtol"] = options.tolerance;
  }
  return object;
}

/// A line per set: the worst output, or the outputs where nothing is compared.
static void printSets(Invocation &invocation, const RunOptions &options,
                      const RunReport &report) {
  std::string text;
  llvm::raw_string_ostream os(text);
  for (const std::string &set : options.sets) {
    const OutputReport *worst = nullptr;
    unsigned count = 0;
    for (const OutputReport &output : report.outputs) {
      if (output.set != set)
        continue;
      ++count;
      if (!options.check) {
        os << set << ": " << output.name << " ";
        llvm::interleave(output.shape, os, "x");
        os << "\n";
      } else if (!worst ||
                 output.difference->relative > worst->difference->relative) {
        worst = &output;
      }
    }
    if (worst)
      os << set << ": " << count << " outputs, largest error "
         << llvm::format("%.1e", worst->difference->relative) << " ('"
         << worst->name << "')"
         << (passes(*worst, options.tolerance) ? "\n" : ": FAILED\n");
  }
  invocation.printText(text);
}

/// Says on standard error which outputs are too far off. Not an error report:
/// under --json the report itself says it.
static bool reportFailures(const RunOptions &options, const RunReport &report) {
  unsigned failed = 0;
  constexpr unsigned shown = 8;
  for (const OutputReport &output : report.outputs) {
    if (passes(output, options.tolerance) || ++failed > shown)
      continue;
    llvm::WithColor::error(llvm::errs(), "miura")
        << output.set << ": output '" << output.name << "' differs by "
        << llvm::format("%.2e", output.difference->relative)
        << " of the stored one's norm, by "
        << llvm::format("%.2e", output.difference->maxAbsolute)
        << " in an element; allowed is "
        << llvm::format("%.2e", options.tolerance) << " (--rtol)\n";
  }
  if (failed > shown)
    llvm::errs() << "… and " << failed - shown << " more outputs\n";
  return failed == 0;
}

static ExitCode run(Invocation &invocation) {
  RunOptions options;
  if (!readOptions(invocation, options) ||
      !checkSaveFolders(invocation, options))
    return ExitCode::Usage;
  OpenedModel opened, others;
  ExitCode code = options.reference ? openReference(invocation, options, opened)
                                    : openCompiled(invocation, options, opened);
  if (code != ExitCode::Success)
    return code;
  RunReport report;
  for (const std::string &set : options.sets)
    if (llvm::Error error =
            runSet(invocation, options, *opened.runner, others, set, report))
      return invocation.failInput(std::move(error), set);
  bool passed = reportFailures(options, report);
  printSets(invocation, options, report);
  invocation.printJson(toJson(options, report, passed));
  return passed ? ExitCode::Success : ExitCode::Input;
}

const Command miura::driver::runCommand = {"run",
                                           R"(
Runs a model on the inputs of its file and computes the outputs of its file.
DIR has the layout of the ONNX backend tests: input_M.pb, M being the place
among the graph's inputs. input_M.npy, NAME.npy, inputs.npz with these names,
and a .npz file in the place of DIR are read too. --save writes output_M.npy
(with several sets, in a folder for each). --check compares with output_M: each
output's max_rel_error is the norm of the difference over the norm of the stored
one, and the exit code is 1 if one is above --rtol.

The model is compiled and its session stepped: past keys and values are copied
into the session's cache and present ones out of it; outputs that are neither
logits nor a cache are computed by the oracle. --reference runs the oracle
instead, plain loops without any kernel; it takes models that are no decoders
too. With --no-raise it lowers the file's nodes one by one as they are.

Example:
  $ miura run model.onnx --inputs test_data_set_0 --inputs test_data_set_1 --check
  test_data_set_0: 13 outputs, largest error 2.6e-06 ('logits')
  test_data_set_1: 13 outputs, largest error 1.0e-06 ('logits')
)",
                                           run};
