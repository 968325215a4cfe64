//===- PromoteAccumulators.cpp - Running sums in registers ----------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The loops of a linalg reduction load and store their running value in every
/// step. LLVM cannot tell that no input shares its address, so it keeps the
/// round trip through memory; here it is known. Each such value becomes an
/// iteration argument of its loop, which is also what makes LLVM vectorize the
/// sum.
///
//===----------------------------------------------------------------------===//

#include "Internal.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace miura;

/// The only store of `loop` to a place that does not change in it, if its
/// buffer is otherwise only loaded from that very place, before the store.
static memref::StoreOp findAccumulator(scf::ForOp loop,
                                       SmallVectorImpl<memref::LoadOp> &loads) {
  for (auto store : loop.getBody()->getOps<memref::StoreOp>()) {
    auto invariant = [&](Value value) {
      return loop.isDefinedOutsideOfLoop(value);
    };
    if (!invariant(store.getMemRef()) ||
        !llvm::all_of(store.getIndices(), invariant))
      continue;
    loads.clear();
    bool fits = true;
    for (Operation *user : store.getMemRef().getUsers()) {
      if (user == store || !loop->isProperAncestor(user))
        continue;
      auto load = dyn_cast<memref::LoadOp>(user);
      fits = load && load->getBlock() == loop.getBody() &&
             load->isBeforeInBlock(store) &&
             llvm::equal(load.getIndices(), store.getIndices());
      if (!fits)
        break;
      loads.push_back(load);
    }
    if (fits)
      return store;
  }
  return {};
}

static bool promote(scf::ForOp loop, IRRewriter &rewriter) {
  SmallVector<memref::LoadOp> loads;
  memref::StoreOp store = findAccumulator(loop, loads);
  if (!store)
    return false;
  Value memref = store.getMemRef(), value = store.getValueToStore();
  SmallVector<Value> indices(store.getIndices());
  Location loc = store.getLoc();
  rewriter.setInsertionPoint(loop);
  Value init = memref::LoadOp::create(rewriter, loc, memref, indices);
  rewriter.eraseOp(store);
  FailureOr<LoopLikeOpInterface> carried =
      cast<LoopLikeOpInterface>(loop.getOperation())
          .replaceWithAdditionalYields(
              rewriter, init, /*replaceInitOperandUsesInLoop=*/false,
              [&](OpBuilder &, Location, ArrayRef<BlockArgument> args) {
                for (memref::LoadOp load : loads)
                  load.getResult().replaceAllUsesWith(args.front());
                // A store of the running value itself.
                for (memref::LoadOp load : loads)
                  if (value == load.getResult())
                    value = args.front();
                return SmallVector<Value>{value};
              });
  assert(succeeded(carried) && "scf.for takes more iteration arguments");
  for (memref::LoadOp load : loads)
    rewriter.eraseOp(load);
  rewriter.setInsertionPointAfter(*carried);
  memref::StoreOp::create(rewriter, loc, (*carried)->getResults().back(),
                          memref, indices);
  return true;
}

namespace {
struct PromoteAccumulators
    : PassWrapper<PromoteAccumulators, OperationPass<func::FuncOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(PromoteAccumulators)
  StringRef getArgument() const override {
    return "miura-promote-accumulators";
  }
  StringRef getDescription() const override {
    return "Keep the running values of linalg's reduction loops in registers";
  }
  void getDependentDialects(DialectRegistry &registry) const override {
    registry.insert<memref::MemRefDialect, scf::SCFDialect>();
  }
  void runOnOperation() override {
    IRRewriter rewriter(&getContext());
    // Inner loops first: their load and store end up in the outer loop, which
    // may then promote them further.
    bool changed = true;
    while (changed) {
      changed = false;
      SmallVector<scf::ForOp> loops;
      getOperation().walk([&](scf::ForOp loop) { loops.push_back(loop); });
      for (scf::ForOp loop : loops)
        if (promote(loop, rewriter)) {
          changed = true;
          break;
        }
    }
  }
};
} // namespace

std::unique_ptr<Pass> miura::detail::createPromoteAccumulatorsPass() {
  return std::make_unique<PromoteAccumulators>();
}
