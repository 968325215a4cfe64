//===- Passes.h - Exact rewrites within the dialect -------------*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MIURA_DIALECT_MIURA_TRANSFORMS_PASSES_H
#define MIURA_DIALECT_MIURA_TRANSFORMS_PASSES_H

#include "miura/Dialect/Miura/IR/MiuraDialect.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/Pass/Pass.h"

namespace miura {

#define GEN_PASS_DECL
#include "miura/Dialect/Miura/Transforms/Passes.h.inc"

/// Moves miura.take_last from a result to the operands of what computes it, so
/// that a head is computed for one position and not for all; for linears, norms
/// and elementwise ops whose result has no other use.
void populateSinkTakeLastPatterns(mlir::RewritePatternSet &patterns);

/// The number of tokens that a sequence may have so that no table of `step`
/// that is indexed by `positions`, or by a count of the ones in `padding`, is
/// left; nothing where no table bounds it.
std::optional<int64_t> getContextLimit(mlir::func::FuncOp step,
                                       mlir::Value positions,
                                       mlir::Value padding);

/// On a session's module: what getContextLimit found, or what its maker says.
inline constexpr llvm::StringLiteral kContextAttrName = "miura.context";

#define GEN_PASS_REGISTRATION
#include "miura/Dialect/Miura/Transforms/Passes.h.inc"

} // namespace miura

#endif // MIURA_DIALECT_MIURA_TRANSFORMS_PASSES_H
