//===- Passes.h - From the onnx level to the model level --------*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The pass miura-raise. It works function by function on straight-line graphs;
/// what it needs to know of tensors is in TensorAnalysis.h, which others may
/// use by itself.
///
//===----------------------------------------------------------------------===//

#ifndef MIURA_CONVERSION_ONNXTOMIURA_PASSES_H
#define MIURA_CONVERSION_ONNXTOMIURA_PASSES_H

#include "mlir/Pass/Pass.h"

namespace miura {

#define GEN_PASS_DECL
#include "miura/Conversion/ONNXToMiura/Passes.h.inc"

#define GEN_PASS_REGISTRATION
#include "miura/Conversion/ONNXToMiura/Passes.h.inc"

} // namespace miura

#endif // MIURA_CONVERSION_ONNXTOMIURA_PASSES_H
