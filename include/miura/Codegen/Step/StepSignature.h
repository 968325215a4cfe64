//===- StepSignature.h - The arguments of a step ----------------*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Where a step's arguments stand once `miura-form-step` has run, for the
/// passes that need the arena, the weights or the team.
///
//===----------------------------------------------------------------------===//

#ifndef MIURA_CODEGEN_STEP_STEPSIGNATURE_H
#define MIURA_CODEGEN_STEP_STEPSIGNATURE_H

#include "miura/Dialect/Miura/IR/MiuraDialect.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace miura {

/// Marks an argument that a kernel writes.
inline constexpr llvm::StringLiteral kWritesAttrName = "miura.writes";
/// Marks a function that is a kernel; its value is the root's name.
inline constexpr llvm::StringLiteral kKernelAttrName = "miura.kernel";
/// The function that a kernel calls between its phases.
inline constexpr llvm::StringLiteral kBarrierName = "miura_barrier";

/// The arguments of a step, by place (see lib/Runtime/Abi.h).
struct StepSignature {
  explicit StepSignature(mlir::func::FuncOp step) : step(step) {}

  mlir::Value getTokens() const { return step->getRegion(0).getArgument(0); }
  mlir::Value getPadding() const { return step->getRegion(0).getArgument(2); }
  mlir::Value getLogits() const { return fromEnd(6); }
  mlir::Value getArena() const { return fromEnd(5); }
  mlir::Value getWeights() const { return fromEnd(4); }
  mlir::Value getTeam() const { return fromEnd(3); }
  mlir::Value getThread() const { return fromEnd(2); }
  mlir::Value getThreads() const { return fromEnd(1); }

private:
  mlir::Value fromEnd(unsigned place) const {
    mlir::Block &body = step->getRegion(0).front();
    return body.getArgument(body.getNumArguments() - place);
  }
  mlir::Operation *step;
};

/// The steps of a module.
llvm::SmallVector<mlir::func::FuncOp> getSteps(mlir::ModuleOp module);

/// `miura_barrier`, declared if it is not.
mlir::func::FuncOp getBarrier(mlir::ModuleOp module);

} // namespace miura

#endif // MIURA_CODEGEN_STEP_STEPSIGNATURE_H
