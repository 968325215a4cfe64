//===- Passes.h - ONNX nodes as plain linalg --------------------*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The lowering of whatever ONNX nodes are left: for the oracle, and for the
/// glue between kernels.
///
//===----------------------------------------------------------------------===//

#ifndef MIURA_CONVERSION_ONNXTOLINALG_PASSES_H
#define MIURA_CONVERSION_ONNXTOLINALG_PASSES_H

#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"
#include "mlir/Transforms/DialectConversion.h"

namespace miura {

#define GEN_PASS_DECL
#include "miura/Conversion/ONNXToLinalg/Passes.h.inc"

/// Patterns that lower miura.onnx_node (miura-onnx-to-linalg). `converter` is a
/// PlainTensorConverter or does at least what it does.
void populateONNXToLinalgPatterns(const mlir::TypeConverter &converter,
                                  mlir::RewritePatternSet &patterns);

/// Whether a node of this operator has an emitter.
bool hasONNXToLinalgEmitter(llvm::StringRef domain, llvm::StringRef opType);

/// An error for every operator of `module` without an emitter, at its first
/// node (miura-check-onnx-lowering).
mlir::LogicalResult verifyONNXLowerings(mlir::ModuleOp module);

#define GEN_PASS_REGISTRATION
#include "miura/Conversion/ONNXToLinalg/Passes.h.inc"

} // namespace miura

#endif // MIURA_CONVERSION_ONNXTOLINALG_PASSES_H
