//===- ReduceGraph.cpp - Shrinking a graph by cutting values --------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// MLIR's `reduction-tree` erases ops whose results nobody uses; in a graph
/// every result is used. Here values are cut: a result becomes `ub.poison`,
/// what computed it goes, and functions neither return nor take what is not
/// needed any more. What stays is the op at fault with placeholders around it.
/// The search halves the part that it cuts, as delta debugging does (Zeller and
/// Hildebrandt, IEEE TSE 28(2), 2002), on a copy of the module each time.
///
//===----------------------------------------------------------------------===//

#include "ReduceGraph.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/UB/IR/UBOps.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/Verifier.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "mlir/Pass/Pass.h"
#include "mlir/Reducer/Tester.h"
#include "llvm/ADT/STLExtras.h"

using namespace mlir;

/// Ops whose results can be cut, in the order of the text.
static SmallVector<Operation *> listOps(ModuleOp module) {
  SmallVector<Operation *> ops;
  for (auto function : module.getOps<FunctionOpInterface>())
    function.walk<WalkOrder::PreOrder>([&](Operation *op) {
      if (op->getNumResults() && !isa<ub::PoisonOp>(op))
        ops.push_back(op);
    });
  return ops;
}

/// Symbols that nobody names.
static SmallVector<Operation *> listSymbols(ModuleOp module) {
  SmallVector<Operation *> ops;
  for (Operation &op : *module.getBody())
    if (isa<SymbolOpInterface>(op) &&
        SymbolTable::symbolKnownUseEmpty(&op, module))
      ops.push_back(&op);
  return ops;
}

static void cut(ArrayRef<Operation *> ops) {
  for (Operation *op : llvm::reverse(ops)) {
    OpBuilder builder(op);
    for (Value result : op->getResults())
      if (!result.use_empty())
        result.replaceAllUsesWith(
            ub::PoisonOp::create(builder, op->getLoc(), result.getType()));
    op->erase();
  }
}

/// Takes away what nobody needs: dead ops, and of functions that nobody calls
/// the results that are placeholders and the arguments without a use.
static void tidy(ModuleOp module) {
  for (auto function : module.getOps<func::FuncOp>()) {
    bool isFree = SymbolTable::symbolKnownUseEmpty(function, module);
    if (isFree && function.getBody().hasOneBlock()) {
      Operation *end = function.front().getTerminator();
      BitVector results(end->getNumOperands());
      for (auto [i, value] : llvm::enumerate(end->getOperands()))
        results[i] = isa<BlockArgument>(value) ||
                     value.getDefiningOp<ub::PoisonOp>() != nullptr;
      if (isa<func::ReturnOp>(end) && succeeded(function.eraseResults(results)))
        end->eraseOperands(results);
    }
    SmallVector<Operation *> ops;
    function.walk([&](Operation *op) { ops.push_back(op); });
    for (Operation *op : llvm::reverse(ops))
      if (isOpTriviallyDead(op))
        op->erase();
    if (!isFree || function.isExternal())
      continue;
    BitVector arguments(function.getNumArguments());
    for (BlockArgument argument : function.getArguments())
      arguments[argument.getArgNumber()] = argument.use_empty();
    (void)function.eraseArguments(arguments);
  }
}

namespace {

class ReduceGraph : public PassWrapper<ReduceGraph, OperationPass<ModuleOp>> {
public:
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(ReduceGraph)

  ReduceGraph() = default;
  ReduceGraph(const ReduceGraph &other) : PassWrapper(other) {}

  StringRef getArgument() const override { return "miura-reduce-graph"; }
  StringRef getDescription() const override {
    return "Cut values out of a graph while a script still finds it "
           "interesting";
  }
  void getDependentDialects(DialectRegistry &registry) const override {
    registry.insert<ub::UBDialect>();
  }

  void runOnOperation() override {
    ModuleOp module = getOperation();
    Tester tester(test, testArgs);
    auto isInteresting = [&](ModuleOp copy) {
      return tester.isInteresting(copy).first == Tester::Interestingness::True;
    };
    if (!isInteresting(module)) {
      module.emitError("'") << test
                            << "' does not find the module interesting: it "
                               "must exit with 1 where the failure is there";
      return signalPassFailure();
    }
    // Ways that lead nowhere are no news.
    ScopedDiagnosticHandler quiet(&getContext(),
                                  [](Diagnostic &) { return success(); });
    OwningOpRef<ModuleOp> best = module.clone();
    using Lister = SmallVector<Operation *> (*)(ModuleOp);
    using Editor = void (*)(ArrayRef<Operation *>);
    auto reduce = [&](Lister list, Editor edit) {
      bool changed = false;
      size_t count = list(*best).size();
      for (size_t part = count; part > 0; part /= 2)
        for (size_t first = 0; first < count;) {
          OwningOpRef<ModuleOp> copy = best->clone();
          edit(ArrayRef(list(*copy)).slice(first).take_front(part));
          tidy(*copy);
          if (failed(verify(*copy)) || !isInteresting(*copy)) {
            first += part;
            continue;
          }
          best = std::move(copy);
          count = list(*best).size();
          changed = true;
        }
      return changed;
    };
    auto erase = [](ArrayRef<Operation *> ops) {
      for (Operation *op : ops)
        op->erase();
    };
    // Values that were cut leave symbols without a use, and the other way
    // about.
    do
      reduce(listSymbols, erase);
    while (reduce(listOps, cut));
    module->setAttrs(best->getOperation()->getAttrDictionary());
    module.getBodyRegion().takeBody(best->getBodyRegion());
  }

private:
  Option<std::string> test{
      *this, "test",
      llvm::cl::desc("A program that is given a file and exits with 1 where "
                     "the failure is still there, with 0 elsewhere")};
  ListOption<std::string> testArgs{
      *this, "test-arg", llvm::cl::desc("Its arguments before the file")};
};

} // namespace

void miura::registerReduceGraphPass() { PassRegistration<ReduceGraph>(); }
