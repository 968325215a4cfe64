//===- Invocation.h - One run of a command ----------------------*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// What every command of the driver has in common: its parsed options, where
/// results, progress and errors go, and how passes run so that a failure of
/// ours leaves a reproducer. A result is one JSON object or text on standard
/// output; everything else goes to standard error.
///
//===----------------------------------------------------------------------===//

#ifndef MIURA_DRIVER_INVOCATION_H
#define MIURA_DRIVER_INVOCATION_H

#include "miura/Driver/Options.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"
#include "llvm/Option/ArgList.h"
#include "llvm/Support/Error.h"
#include "llvm/Support/JSON.h"
#include <memory>
#include <string>
#include <vector>

namespace mlir {
class Diagnostic;
class OpPassManager;
class PassManager;
} // namespace mlir

namespace miura::driver {

/// What a command's process exits with.
enum class ExitCode {
  Success = 0,
  Input = 1,    ///< The input is at fault.
  Usage = 2,    ///< The command line is at fault.
  Internal = 3, ///< We are at fault; a reproducer was written where one can be.
};

/// An error as the driver reports it: in text `file: message`, under --json
/// {error, file, node}.
struct ErrorReport {
  std::string message; ///< What is wrong and what would help.
  std::string file;    ///< The file at fault, empty where there is none.
  std::string node;    ///< The node or op at fault, empty where there is none.
};

class Invocation {
public:
  /// `arguments` must outlive the invocation.
  Invocation(llvm::StringRef command, const llvm::opt::InputArgList &arguments);
  ~Invocation();

  // ---- Options -------------------------------------------------------------

  const llvm::opt::InputArgList &getArguments() const { return arguments; }
  bool has(OptionId option) const { return arguments.hasArg(option); }
  /// The last value of `option`, or `otherwise`.
  llvm::StringRef getString(OptionId option,
                            llvm::StringRef otherwise = "") const;
  /// Reads the last value of `option` into `value`, which keeps its default if
  /// the option was not given. False, after a usage error, if it is no number
  /// or outside [lowest, highest].
  bool getInteger(OptionId option, int64_t &value, int64_t lowest,
                  int64_t highest = INT64_MAX);
  bool getNumber(OptionId option, double &value, double lowest, double highest);
  /// The only input. Fails as a usage error if there is none or another.
  bool getInput(std::string &path, llvm::StringRef what);

  bool isJson() const { return json; }
  bool isQuiet() const { return quiet; }
  /// --threads, by default one per processor; at least 1.
  unsigned getThreads() const { return threads; }

  // ---- Reports -------------------------------------------------------------

  /// Where progress goes: standard error, or nowhere under --quiet.
  llvm::raw_ostream &progress();
  /// Prints `text` if --json was not given.
  void printText(llvm::StringRef text);
  /// Prints the command's one object if --json was given.
  void printJson(llvm::json::Object object);

  /// Reports an error and returns `code`, for `return invocation.fail(…)`.
  ExitCode fail(ExitCode code, ErrorReport report);
  ExitCode failUsage(const llvm::Twine &message) {
    return fail(ExitCode::Usage, {message.str(), "", ""});
  }
  ExitCode failInput(const llvm::Twine &message, llvm::StringRef file = "",
                     llvm::StringRef node = "") {
    return fail(ExitCode::Input, {message.str(), file.str(), node.str()});
  }
  ExitCode failInput(llvm::Error error, llvm::StringRef file = "") {
    return failInput(llvm::toString(std::move(error)), file);
  }
  /// The code for a failure that was already reported through diagnostics, or,
  /// if there was none, an internal error that says where it happened.
  ExitCode failReported(llvm::StringRef during);

  /// Prints the first error as JSON if --json was given. Called once, last.
  void finish();

  // ---- MLIR ----------------------------------------------------------------

  /// The file that diagnostics without a place are about, from now on.
  void setCurrentFile(llvm::StringRef path) { currentFile = path.str(); }

  /// Where tensors that are made on the way go, beside the output that they end
  /// in; a temporary folder if this is not called. It is removed in the end,
  /// unless --weights-dir names another, which stays. Call it before anything
  /// is read.
  void setScratchFolder(llvm::StringRef folder) { scratch = folder.str(); }

  /// A context with all dialects that may occur, created at first use. Its
  /// diagnostics are collected: errors become error reports, remarks and
  /// warnings go to standard error unless --quiet.
  mlir::MLIRContext &getContext();

  /// Runs the passes that `build` adds on `module`. Success, Input (a pass
  /// refused the module with a diagnostic), or Internal: a pass crashed,
  /// failed without a word or left invalid IR. Then the reproducer's path is in
  /// the message; `miura-opt` runs it with --run-reproducer.
  ExitCode runPasses(mlir::ModuleOp module,
                     llvm::function_ref<void(mlir::OpPassManager &)> build);
  /// The same with the passes of `pm`, which is of this context.
  ExitCode runPasses(mlir::PassManager &pm, mlir::ModuleOp module);

  /// Reports a fault of ours and writes `reproducer`, MLIR text, to a
  /// temporary file whose path the message names.
  ExitCode failInternal(llvm::StringRef what, llvm::StringRef reproducer);

  /// Reads --threads; false after a usage error. The driver calls it.
  bool readCommonOptions();

private:
  mlir::LogicalResult handle(mlir::Diagnostic &diagnostic);

  struct State;
  std::unique_ptr<State> state;
  std::string command, currentFile, scratch;
  const llvm::opt::InputArgList &arguments;
  bool json = false, quiet = false;
  unsigned threads = 1;
};

} // namespace miura::driver

#endif // MIURA_DRIVER_INVOCATION_H
