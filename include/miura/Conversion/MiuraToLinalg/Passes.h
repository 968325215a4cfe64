//===- Passes.h - The reference lowering of model ops -----------*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Model and session ops as plain loops, and what goes with them: expressions
/// as arguments. The patterns serve the oracle; code generation takes them one
/// op at a time for what is no kernel of its own.
///
//===----------------------------------------------------------------------===//

#ifndef MIURA_CONVERSION_MIURATOLINALG_PASSES_H
#define MIURA_CONVERSION_MIURATOLINALG_PASSES_H

#include "mlir/Pass/Pass.h"
#include "mlir/Transforms/DialectConversion.h"

namespace miura {

class LinalgBuilder;
class RoundingAttr;

/// The suffix of the function that holds the expressions of another.
inline constexpr llvm::StringLiteral kWeightsFunctionSuffix = ".weights";
/// Marks an argument that stands for a weight expression.
inline constexpr llvm::StringLiteral kWeightArgumentAttrName = "miura.weight";

#define GEN_PASS_DECL
#include "miura/Conversion/MiuraToLinalg/Passes.h.inc"

/// Patterns that lower every model op to linalg (miura-to-linalg). `converter`
/// is a PlainTensorConverter or does at least what it does.
void populateMiuraModelToLinalgPatterns(const mlir::TypeConverter &converter,
                                        mlir::RewritePatternSet &patterns);

/// The same for session ops.
void populateMiuraSessionToLinalgPatterns(const mlir::TypeConverter &converter,
                                          mlir::RewritePatternSet &patterns);

/// The values, f32, that int8 activations stand for: code · scale, with one
/// scale per row (`block` 0) or per `block` columns of a row, as
/// `#miura.compute` defines them.
mlir::Value roundActivations(LinalgBuilder &b, mlir::Value x, int64_t block);

/// The number, f32, that the code of an f32 `value` stands for.
mlir::Value roundToCodes(LinalgBuilder &b, mlir::Value value,
                         RoundingAttr rounding);

#define GEN_PASS_REGISTRATION
#include "miura/Conversion/MiuraToLinalg/Passes.h.inc"

} // namespace miura

#endif // MIURA_CONVERSION_MIURATOLINALG_PASSES_H
