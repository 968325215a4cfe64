//===- Invocation.cpp - One run of a command ------------------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Options with their types checked, error reports, and pass pipelines whose
/// failures are told apart: a pass that refuses a module with a diagnostic
/// blames the input; one that crashes, fails without a word or leaves invalid
/// IR is our fault and leaves a reproducer.
///
//===----------------------------------------------------------------------===//

#include "miura/Driver/Invocation.h"
#include "Interrupt.h"
#include "miura/Dialect/Miura/IR/MiuraDialect.h"
#include "miura/Pipelines/Registry.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/IR/Verifier.h"
#include "mlir/Pass/PassInstrumentation.h"
#include "mlir/Pass/PassManager.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Process.h"
#include "llvm/Support/ThreadPool.h"
#include "llvm/Support/Threading.h"
#include "llvm/Support/WithColor.h"
#include "llvm/Support/raw_ostream.h"
#include <atomic>
#include <optional>

using namespace mlir;
using namespace miura;
using namespace miura::driver;

struct Invocation::State {
  llvm::raw_null_ostream nothing;
  std::vector<ErrorReport> errors;
  /// Of diagnostics alone: what passes complained of.
  unsigned diagnosed = 0;
  std::unique_ptr<llvm::DefaultThreadPool> pool;
  std::unique_ptr<MLIRContext> context;
  std::optional<DiagnosticEngine::HandlerID> handler;
  /// Tensors made on the way, unless they are kept.
  TemporaryFolder scratch;
};

Invocation::Invocation(llvm::StringRef command,
                       const llvm::opt::InputArgList &arguments)
    : state(std::make_unique<State>()), command(command.str()),
      arguments(arguments) {
  json = has(OPT_json);
  quiet = has(OPT_quiet);
  threads = llvm::hardware_concurrency().compute_thread_count();
}

Invocation::~Invocation() {
  if (state->handler)
    state->context->getDiagEngine().eraseHandler(*state->handler);
}

//===----------------------------------------------------------------------===//
// Options
//===----------------------------------------------------------------------===//

llvm::StringRef Invocation::getString(OptionId option,
                                      llvm::StringRef otherwise) const {
  return arguments.getLastArgValue(option, otherwise);
}

bool Invocation::getInteger(OptionId option, int64_t &value, int64_t lowest,
                            int64_t highest) {
  const llvm::opt::Arg *arg = arguments.getLastArg(option);
  if (!arg)
    return true;
  llvm::StringRef text = arg->getValue();
  int64_t parsed;
  if (!text.getAsInteger(10, parsed) && parsed >= lowest && parsed <= highest) {
    value = parsed;
    return true;
  }
  std::string range = "at least " + std::to_string(lowest);
  if (highest != INT64_MAX)
    range = "from " + std::to_string(lowest) + " to " + std::to_string(highest);
  failUsage(arg->getSpelling() + " expects a whole number " + range +
            ", but got '" + text + "'");
  return false;
}

bool Invocation::getNumber(OptionId option, double &value, double lowest,
                           double highest) {
  const llvm::opt::Arg *arg = arguments.getLastArg(option);
  if (!arg)
    return true;
  llvm::StringRef text = arg->getValue();
  double parsed;
  if (!text.getAsDouble(parsed) && parsed >= lowest && parsed <= highest) {
    value = parsed;
    return true;
  }
  std::string range;
  llvm::raw_string_ostream(range) << llvm::format("%g to %g", lowest, highest);
  failUsage(arg->getSpelling() + " expects a number from " + range +
            ", but got '" + text + "'");
  return false;
}

bool Invocation::getInput(std::string &path, llvm::StringRef what) {
  std::vector<std::string> inputs = arguments.getAllArgValues(OPT_INPUT);
  if (inputs.size() == 1) {
    path = inputs.front();
    return true;
  }
  if (inputs.empty())
    failUsage("expected " + what + "; see 'miura " + command + " --help'");
  else
    failUsage("expected one input, but got '" + inputs[0] + "' and '" +
              inputs[1] + "'");
  return false;
}

bool Invocation::readCommonOptions() {
  int64_t count = threads;
  if (!getInteger(OPT_threads, count, 1, 4096))
    return false;
  threads = count;
  return true;
}

//===----------------------------------------------------------------------===//
// Reports
//===----------------------------------------------------------------------===//

llvm::raw_ostream &Invocation::progress() {
  return quiet ? static_cast<llvm::raw_ostream &>(state->nothing)
               : llvm::errs();
}

void Invocation::printText(llvm::StringRef text) {
  if (!json)
    llvm::outs() << text;
}

void Invocation::printJson(llvm::json::Object object) {
  if (json)
    llvm::outs() << llvm::json::Value(std::move(object)) << "\n";
}

ExitCode Invocation::fail(ExitCode code, ErrorReport report) {
  if (isInterrupted()) {
    state->errors.push_back(std::move(report));
    return code;
  }
  llvm::raw_ostream &os = llvm::WithColor::error(llvm::errs(), "miura");
  llvm::StringRef message = report.message;
  if (!report.file.empty() && !message.contains(report.file))
    os << report.file << ": ";
  if (!report.node.empty() && !message.contains(report.node))
    os << "node '" << report.node << "': ";
  os << message << "\n";
  state->errors.push_back(std::move(report));
  return code;
}

ExitCode Invocation::failReported(llvm::StringRef during) {
  if (!state->errors.empty())
    return ExitCode::Input;
  return fail(
      ExitCode::Internal,
      {(during + " failed without a message; this is a fault of miura").str(),
       "", ""});
}

void Invocation::finish() {
  if (!json || state->errors.empty())
    return;
  const ErrorReport &first = state->errors.front();
  llvm::outs() << llvm::json::Value(llvm::json::Object{{"error", first.message},
                                                       {"file", first.file},
                                                       {"node", first.node}})
               << "\n";
}

//===----------------------------------------------------------------------===//
// Diagnostics
//===----------------------------------------------------------------------===//

/// The file and the node that a location names: the innermost file, the first
/// name.
static void describe(Location loc, std::string &file, std::string &place,
                     std::string &node) {
  loc->walk([&](Location part) {
    if (auto name = dyn_cast<NameLoc>(part); name && node.empty())
      node = name.getName().str();
    if (auto position = dyn_cast<FileLineColLoc>(part);
        position && file.empty()) {
      file = position.getFilename().str();
      place = file;
      if (position.getLine())
        place += ":" + std::to_string(position.getLine()) + ":" +
                 std::to_string(position.getColumn());
    }
    return WalkResult::advance();
  });
}

LogicalResult Invocation::handle(Diagnostic &diagnostic) {
  std::string file, place, node, message;
  describe(diagnostic.getLocation(), file, place, node);
  // An importer's location of a whole file is its name.
  if (node == currentFile)
    node.clear();
  if (file.empty())
    file = place = currentFile;
  llvm::raw_string_ostream os(message);
  os << diagnostic;
  for (Diagnostic &note : diagnostic.getNotes())
    os << "; note: " << note;

  if (diagnostic.getSeverity() == DiagnosticSeverity::Error) {
    // What the pass manager itself adds after a failure says nothing new.
    if (llvm::StringRef(message).starts_with("Failures have been detected") ||
        llvm::StringRef(message).starts_with("A failure has been detected"))
      return success();
    // Nor does the conversion driver, where a pattern gave its reason.
    if (llvm::StringRef(message).starts_with("failed to legalize operation") &&
        !state->errors.empty() && state->errors.back().node == node)
      return success();
    ++state->diagnosed;
    if (place != file && !llvm::StringRef(message).contains(place))
      message = place + ": " + message;
    fail(ExitCode::Input, {message, file, node});
    return success();
  }
  if (quiet)
    return success();
  bool warns = diagnostic.getSeverity() == DiagnosticSeverity::Warning;
  llvm::raw_ostream &out = warns
                               ? llvm::WithColor::warning(llvm::errs(), "miura")
                               : llvm::WithColor::remark(llvm::errs(), "miura");
  if (!place.empty())
    out << place << ": ";
  if (!node.empty() && !llvm::StringRef(message).contains(node))
    out << "node '" << node << "': ";
  out << message << "\n";
  return success();
}

MLIRContext &Invocation::getContext() {
  if (state->context)
    return *state->context;
  DialectRegistry registry;
  registerAllMiura(registry);
  state->context =
      std::make_unique<MLIRContext>(registry, MLIRContext::Threading::DISABLED);
  state->context->printOpOnDiagnostic(false);
  std::string folder = getString(OPT_weights_dir).str();
  if (folder.empty()) {
    if (!scratch.empty()) {
      folder =
          scratch + "-" + std::to_string(llvm::sys::Process::getProcessId());
    } else {
      llvm::SmallString<128> temporary;
      if (llvm::sys::fs::createUniqueDirectory("miura-weights", temporary))
        temporary = "miura-weights";
      folder = std::string(temporary);
    }
    state->scratch = TemporaryFolder(folder);
  }
  state->context->getOrLoadDialect<MiuraDialect>()
      ->getWeightStore()
      .getFiles()
      .setWeightsFolder(folder);
  if (threads > 1) {
    state->pool = std::make_unique<llvm::DefaultThreadPool>(
        llvm::hardware_concurrency(threads));
    state->context->setThreadPool(*state->pool);
  }
  state->handler = state->context->getDiagEngine().registerHandler(
      [this](Diagnostic &diagnostic) { return handle(diagnostic); });
  return *state->context;
}

//===----------------------------------------------------------------------===//
// Passes
//===----------------------------------------------------------------------===//

namespace {
/// Keeps the reproducer in memory until it is known whose fault it is.
class KeptReproducer : public ReproducerStream {
public:
  explicit KeptReproducer(std::string &text) : stream(text) {}
  llvm::StringRef description() override { return "memory"; }
  llvm::raw_ostream &os() override { return stream; }

private:
  llvm::raw_string_ostream stream;
};

/// Whether the pass that failed said so itself, and what it left.
struct FailureWatch : public PassInstrumentation {
  FailureWatch(std::atomic<bool> &failed, std::atomic<bool> &invalid)
      : failed(failed), invalid(invalid) {}

  void runAfterPassFailed(Pass *, Operation *op) override {
    failed = true;
    ScopedDiagnosticHandler silence(op->getContext(),
                                    [](Diagnostic &) { return success(); });
    if (mlir::failed(verify(op)))
      invalid = true;
  }

  std::atomic<bool> &failed;
  std::atomic<bool> &invalid;
};
} // namespace

ExitCode Invocation::runPasses(PassManager &pm, ModuleOp module) {
  std::string reproducer;
  std::atomic<bool> failed = false, invalid = false;
  pm.enableVerifier();
  pm.addInstrumentation(std::make_unique<FailureWatch>(failed, invalid));
  pm.enableCrashReproducerGeneration([&](std::string &) {
    return std::make_unique<KeptReproducer>(reproducer);
  });
  unsigned diagnosedBefore = state->diagnosed;
  if (succeeded(pm.run(module)))
    return ExitCode::Success;
  if (failed && !invalid && state->diagnosed > diagnosedBefore)
    return ExitCode::Input;

  llvm::StringRef what = !failed   ? "a pass crashed"
                         : invalid ? "a pass left invalid IR"
                                   : "a pass failed without a message";
  return failInternal(what, reproducer);
}

ExitCode Invocation::failInternal(llvm::StringRef what,
                                  llvm::StringRef reproducer) {
  int fd;
  llvm::SmallString<128> path;
  std::string where = "no reproducer could be written";
  if (!llvm::sys::fs::createTemporaryFile("miura-" + command, "mlir", fd,
                                          path)) {
    llvm::raw_fd_ostream os(fd, /*shouldClose=*/true);
    os << reproducer;
    where = ("reproducer: " + path).str();
  }
  // First, so that it is what --json reports.
  ErrorReport report{(what + "; this is a fault of miura; " + where).str(), "",
                     ""};
  ExitCode code = fail(ExitCode::Internal, report);
  std::rotate(state->errors.begin(), state->errors.end() - 1,
              state->errors.end());
  return code;
}

ExitCode
Invocation::runPasses(ModuleOp module,
                      llvm::function_ref<void(OpPassManager &)> build) {
  PassManager pm(&getContext(), ModuleOp::getOperationName());
  build(pm);
  return runPasses(pm, module);
}
