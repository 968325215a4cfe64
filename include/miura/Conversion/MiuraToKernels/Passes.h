//===- Passes.h - Forming kernels -------------------------------*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// From model ops to `miura.kernel`: which ops one generated function computes.
///
//===----------------------------------------------------------------------===//

#ifndef MIURA_CONVERSION_MIURATOKERNELS_PASSES_H
#define MIURA_CONVERSION_MIURATOKERNELS_PASSES_H

#include "mlir/Pass/Pass.h"

namespace miura {

#define GEN_PASS_DECL
#define GEN_PASS_REGISTRATION
#include "miura/Conversion/MiuraToKernels/Passes.h.inc"

} // namespace miura

#endif // MIURA_CONVERSION_MIURATOKERNELS_PASSES_H
