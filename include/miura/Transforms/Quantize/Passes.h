//===- Passes.h - Passes that quantize --------------------------*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MIURA_TRANSFORMS_QUANTIZE_PASSES_H
#define MIURA_TRANSFORMS_QUANTIZE_PASSES_H

#include "miura/Compress/Quantize.h"
#include "miura/Dialect/Miura/IR/MiuraDialect.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"

namespace miura {

/// In what type the activations of a quantized linear enter.
enum class ActivationType {
  Keep, ///< as the linear says
  I8    ///< int8, one scale per token
};

#define GEN_PASS_DECL
#include "miura/Transforms/Quantize/Passes.h.inc"

#define GEN_PASS_REGISTRATION
#include "miura/Transforms/Quantize/Passes.h.inc"

} // namespace miura

#endif // MIURA_TRANSFORMS_QUANTIZE_PASSES_H
