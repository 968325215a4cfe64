//===- OutlineLoops.h - Loops without a schedule ----------------*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Turns a linalg op that no schedule knows into the body of a kernel function:
/// plain loops, split over the threads of a team.
///
//===----------------------------------------------------------------------===//

#ifndef MIURA_CODEGEN_STEP_OUTLINELOOPS_H
#define MIURA_CODEGEN_STEP_OUTLINELOOPS_H

#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace miura {

/// Lowers the one linalg op in `kernel`, a function whose last two arguments
/// are the thread and the number of threads, to loops of which each thread runs
/// its part: rows, or columns where there are fewer rows than threads. Every
/// element is computed by one thread in one order, so results do not depend on
/// the number of threads.
mlir::LogicalResult lowerToThreadLoops(mlir::func::FuncOp kernel);

} // namespace miura

#endif // MIURA_CODEGEN_STEP_OUTLINELOOPS_H
