//===- Passes.h - The onnx level, normalized --------------------*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The pass that takes a module of the onnx level through the ONNX library.
///
//===----------------------------------------------------------------------===//

#ifndef MIURA_CONVERSION_ONNXNORMALIZE_PASSES_H
#define MIURA_CONVERSION_ONNXNORMALIZE_PASSES_H

#include "miura/Dialect/Miura/IR/MiuraDialect.h"
#include "mlir/Pass/Pass.h"

namespace miura {

#define GEN_PASS_DECL
#include "miura/Conversion/ONNXNormalize/Passes.h.inc"

/// What the pass does, for callers without a pass manager. Errors are
/// diagnostics; the module is unchanged then.
mlir::LogicalResult normalizeOnnx(mlir::ModuleOp module);

#define GEN_PASS_REGISTRATION
#include "miura/Conversion/ONNXNormalize/Passes.h.inc"

} // namespace miura

#endif // MIURA_CONVERSION_ONNXNORMALIZE_PASSES_H
