//===- PlaceBarriers.cpp - Where threads wait for each other --------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Threads run a step side by side, each its share of every kernel. They must
/// meet where one needs what another wrote: this pass finds those places from
/// which buffers every op reads and writes.
///
//===----------------------------------------------------------------------===//

#include "miura/Codegen/Step/Passes.h"
#include "miura/Codegen/Step/StepSignature.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "mlir/Interfaces/ViewLikeInterface.h"

namespace miura {
#define GEN_PASS_DEF_PLACEBARRIERSPASS
#include "miura/Codegen/Step/Passes.h.inc"
} // namespace miura

using namespace mlir;
using namespace miura;

/// The allocation or argument that a memref is a view of.
static Value getRoot(Value memref) {
  while (auto view = memref.getDefiningOp<ViewLikeOpInterface>())
    memref = view.getViewSource();
  return memref;
}

/// Collects the buffers that `op` reads and writes; fails if that is unknown.
static LogicalResult getAccesses(Operation *op, SmallVectorImpl<Value> &reads,
                                 SmallVectorImpl<Value> &writes) {
  if (auto call = dyn_cast<func::CallOp>(op)) {
    auto callee = op->getParentOfType<ModuleOp>().lookupSymbol<func::FuncOp>(
        call.getCallee());
    for (auto [i, operand] : llvm::enumerate(call.getOperands())) {
      if (!isa<MemRefType>(operand.getType()))
        continue;
      bool isWritten = callee && callee.getArgAttr(i, kWritesAttrName);
      (isWritten ? writes : reads).push_back(getRoot(operand));
    }
    return success();
  }
  if (isMemoryEffectFree(op) || isa<memref::AllocOp>(op))
    return success();
  auto effects = dyn_cast<MemoryEffectOpInterface>(op);
  if (!effects || op->getNumRegions() != 0)
    return op->emitError("expects a step of kernels, but got '")
           << op->getName() << "'";
  SmallVector<MemoryEffects::EffectInstance> found;
  effects.getEffects(found);
  for (MemoryEffects::EffectInstance &effect : found) {
    if (!effect.getValue())
      return op->emitError("has unknown effects on memory");
    bool isWritten = !isa<MemoryEffects::Read>(effect.getEffect());
    (isWritten ? writes : reads).push_back(getRoot(effect.getValue()));
  }
  return success();
}

static LogicalResult placeBarriers(func::FuncOp step) {
  StepSignature signature(step);
  func::FuncOp barrier = getBarrier(step->getParentOfType<ModuleOp>());
  DenseSet<Value> read, written;
  for (Operation &op : llvm::make_early_inc_range(
           step.getBody().front().without_terminator())) {
    SmallVector<Value> reads, writes;
    if (failed(getAccesses(&op, reads, writes)))
      return failure();
    auto isIn = [](DenseSet<Value> &set) {
      return [&](Value value) { return set.contains(value); };
    };
    if (llvm::any_of(reads, isIn(written)) ||
        llvm::any_of(writes, isIn(written)) ||
        llvm::any_of(writes, isIn(read))) {
      OpBuilder builder(&op);
      func::CallOp::create(builder, op.getLoc(), barrier,
                           ValueRange(signature.getTeam()));
      read.clear();
      written.clear();
    }
    read.insert(reads.begin(), reads.end());
    written.insert(writes.begin(), writes.end());
  }
  return success();
}

namespace {

struct PlaceBarriers
    : public miura::impl::PlaceBarriersPassBase<PlaceBarriers> {
  void runOnOperation() override {
    for (func::FuncOp step : getSteps(getOperation()))
      if (failed(placeBarriers(step)))
        return signalPassFailure();
  }
};

} // namespace
