//===- Passes.h - Passes that prune -----------------------------*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MIURA_TRANSFORMS_PRUNE_PASSES_H
#define MIURA_TRANSFORMS_PRUNE_PASSES_H

#include "miura/Dialect/Miura/IR/MiuraDialect.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"

namespace miura {

/// Among which weights the smallest are sought.
enum class PruneScope { Tensor, Row };

#define GEN_PASS_DECL
#include "miura/Transforms/Prune/Passes.h.inc"

#define GEN_PASS_REGISTRATION
#include "miura/Transforms/Prune/Passes.h.inc"

} // namespace miura

#endif // MIURA_TRANSFORMS_PRUNE_PASSES_H
