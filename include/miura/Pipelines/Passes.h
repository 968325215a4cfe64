//===- Passes.h - What pipelines check between stages -----------*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The level verifier, which the named pipelines run after their stages.
///
//===----------------------------------------------------------------------===//

#ifndef MIURA_PIPELINES_PASSES_H
#define MIURA_PIPELINES_PASSES_H

#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"

namespace miura {

/// How far a module has come; each level has a contract that the next passes
/// rely on.
enum class Level { Onnx, Normalized, Model, Compressed, Kernel };

#define GEN_PASS_DECL
#include "miura/Pipelines/Passes.h.inc"

/// A verifier of `level`.
std::unique_ptr<mlir::Pass> createVerifyLevelPass(Level level);

#define GEN_PASS_REGISTRATION
#include "miura/Pipelines/Passes.h.inc"

} // namespace miura

#endif // MIURA_PIPELINES_PASSES_H
