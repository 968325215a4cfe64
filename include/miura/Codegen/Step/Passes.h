//===- Passes.h - From a session's step to straight-line code ---*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// What becomes of a session's steps once their kernels are formed: buffers,
/// calls, barriers, an arena, and the LLVM dialect.
///
//===----------------------------------------------------------------------===//

#ifndef MIURA_CODEGEN_STEP_PASSES_H
#define MIURA_CODEGEN_STEP_PASSES_H

#include "mlir/Pass/Pass.h"

namespace miura {

#define GEN_PASS_DECL
#define GEN_PASS_REGISTRATION
#include "miura/Codegen/Step/Passes.h.inc"

/// Attaches bufferization to `miura.kernel`.
void registerBufferizableOpInterfaceExternalModels(
    mlir::DialectRegistry &registry);

} // namespace miura

#endif // MIURA_CODEGEN_STEP_PASSES_H
