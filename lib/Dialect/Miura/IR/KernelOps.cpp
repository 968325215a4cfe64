//===- KernelOps.cpp - Kernels before they are emitted --------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "miura/Dialect/Miura/IR/MiuraDialect.h"

using namespace mlir;
using namespace miura;

MutableOperandRange KernelOp::getDpsInitsMutable() {
  return getOutputsMutable();
}

void KernelOp::getEffects(
    SmallVectorImpl<SideEffects::EffectInstance<MemoryEffects::Effect>>
        &effects) {
  for (OpOperand &operand : getInputsMutable())
    if (isa<BaseMemRefType>(operand.get().getType()))
      effects.emplace_back(MemoryEffects::Read::get(), &operand);
  for (OpOperand &operand : getOutputsMutable())
    if (isa<BaseMemRefType>(operand.get().getType())) {
      effects.emplace_back(MemoryEffects::Read::get(), &operand);
      effects.emplace_back(MemoryEffects::Write::get(), &operand);
    }
}

LogicalResult KernelOp::verify() {
  Block &block = getBody().front();
  if (block.getNumArguments() != getInputs().size())
    return emitOpError("expects a region argument per input: ")
           << getInputs().size() << ", but got " << block.getNumArguments();
  auto yield = dyn_cast<KernelYieldOp>(block.back());
  if (!yield || yield.getValues().size() != getOutputs().size())
    return emitOpError("expects the region to yield a value per output");
  return success();
}
