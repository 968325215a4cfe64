//===- ProgressBar.cpp - How far passes have come -------------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Counts the WorkActions of the passes and draws one line over itself. It is
/// erased before a pass has done its work, which is when remarks come.
///
//===----------------------------------------------------------------------===//

#include "ProgressBar.h"
#include "miura/Dialect/Miura/Transforms/WorkAction.h"
#include "mlir/IR/MLIRContext.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/Process.h"
#include <mutex>
#include <string>

using namespace miura;
using namespace miura::driver;

struct ProgressBar::State {
  mlir::MLIRContext &context;
  unsigned columns;
  std::mutex mutex; ///< guards what follows
  std::string verb;
  int64_t done = 0;
  bool isDrawn = false;

  State(mlir::MLIRContext &context, unsigned columns)
      : context(context), columns(columns) {}

  void advance(const WorkAction &action) {
    std::lock_guard<std::mutex> lock(mutex);
    if (verb != action.verb) {
      verb = action.verb.str();
      done = 0;
    }
    done += action.amount;
    erase();
    if (done >= action.total) {
      done = 0;
      return;
    }
    draw(action);
  }

  void draw(const WorkAction &action) {
    double share = double(done) / double(action.total);
    std::string line;
    llvm::raw_string_ostream os(line);
    unsigned width = 24, filled = unsigned(share * width);
    os << "[" << std::string(filled, '=') << std::string(width - filled, ' ')
       << llvm::format("] %3.0f %% ", share * 100) << verb << " '"
       << action.name << "'";
    // A line that wraps could not be drawn over.
    line.resize(std::min<size_t>(line.size(), columns - 1));
    llvm::errs() << line;
    llvm::errs().flush();
    isDrawn = true;
  }

  void erase() {
    if (isDrawn)
      llvm::errs() << "\r\033[K";
    isDrawn = false;
  }
};

ProgressBar::ProgressBar(Invocation &invocation) {
  if (invocation.isQuiet() || !llvm::sys::Process::StandardErrIsDisplayed())
    return;
  unsigned columns = llvm::sys::Process::StandardErrColumns();
  state = std::make_unique<State>(invocation.getContext(),
                                  columns > 40 ? columns : 80);
  state->context.registerActionHandler(
      [state = state.get()](llvm::function_ref<void()> run,
                            const mlir::tracing::Action &action) {
        run();
        if (auto *work = llvm::dyn_cast<WorkAction>(&action))
          state->advance(*work);
      });
}

ProgressBar::~ProgressBar() {
  if (!state)
    return;
  state->context.registerActionHandler({});
  state->erase();
}
