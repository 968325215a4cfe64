//===- Internal.h - Parts of the reference pipeline -------------*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Passes that only the reference pipeline uses.
///
//===----------------------------------------------------------------------===//

#ifndef MIURA_LIB_TARGET_REFERENCE_INTERNAL_H
#define MIURA_LIB_TARGET_REFERENCE_INTERNAL_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Pass/Pass.h"

namespace miura::detail {

std::unique_ptr<mlir::Pass> createOutlineLoopsPass();
std::unique_ptr<mlir::Pass> createPromoteAccumulatorsPass();

} // namespace miura::detail

#endif // MIURA_LIB_TARGET_REFERENCE_INTERNAL_H
