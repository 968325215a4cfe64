//===- SelfTestCommand.cpp - miura self-test ------------------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Fails in a way that is asked for, so that tests can see how failures of ours
/// are reported: with a reproducer, and apart from faults of the input.
///
//===----------------------------------------------------------------------===//

#include "Commands.h"
#include "miura/Driver/Model.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Pass/Pass.h"
#include "mlir/Pass/PassManager.h"
#include <csignal>

using namespace mlir;
using namespace miura::driver;

namespace {
class FailPass : public PassWrapper<FailPass, OperationPass<ModuleOp>> {
public:
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(FailPass)
  FailPass() = default;
  FailPass(const FailPass &other) : PassWrapper(other) { kind = other.kind; }
  explicit FailPass(std::string value) { kind = std::move(value); }

  llvm::StringRef getArgument() const override { return "miura-self-test"; }

  void runOnOperation() override {
    if (kind == "crash")
      std::raise(SIGSEGV);
    if (kind == "silent")
      return signalPassFailure();
    if (kind == "invalid") {
      // A function without its type does not verify.
      OpBuilder builder = OpBuilder::atBlockEnd(getOperation().getBody());
      auto function =
          func::FuncOp::create(builder, getOperation().getLoc(), "self_test",
                               builder.getFunctionType({}, {}));
      function.addEntryBlock();
      return;
    }
    getOperation().emitError("the module is refused, as asked for");
    signalPassFailure();
  }

  Option<std::string> kind{*this, "failure", llvm::cl::desc("how to fail")};
};
} // namespace

static ExitCode run(Invocation &invocation) {
  std::string input;
  if (!invocation.getInput(input, "a model"))
    return ExitCode::Usage;
  ExitCode code = ExitCode::Success;
  OwningOpRef<ModuleOp> module = loadModule(invocation, input, code);
  if (!module)
    return code;
  return invocation.runPasses(*module, [&](OpPassManager &pm) {
    pm.addPass(
        std::make_unique<FailPass>(invocation.getString(OPT_failure).str()));
  });
}

const Command miura::driver::selfTestCommand = {
    "self-test", "Runs a pass that fails as --failure says.\n", run,
    /*hidden=*/true};
