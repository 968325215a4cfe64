//===- VectorMath.h - Transcendental functions as IR ------------*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// exp and what is made of it, on f32 scalars or vectors of any length, as
/// arithmetic without calls.
///
//===----------------------------------------------------------------------===//

#ifndef MIURA_LIB_CODEGEN_CPU_VECTORMATH_H
#define MIURA_LIB_CODEGEN_CPU_VECTORMATH_H

#include "VectorBuilder.h"

namespace miura::codegen {

/// 2^x with a relative error of at most 1.4 · 2⁻²⁴ for x in [−126, 127]; 0
/// below −127, infinity at 128 and above, NaN for NaN. Results that are
/// subnormal may be 0.
mlir::Value emitExp2(VectorBuilder &b, mlir::Value x);

/// e^x with a relative error of at most 1.6 · 2⁻²⁴ for x in [−87, 88]; 0,
/// infinity and NaN as in emitExp2.
mlir::Value emitExp(VectorBuilder &b, mlir::Value x);

/// tanh x with an absolute error of at most 3 · 2⁻²⁴.
mlir::Value emitTanh(VectorBuilder &b, mlir::Value x);

/// x / (1 + e^−x) with a relative error of at most 3 · 2⁻²³ for x ≥ −87.
mlir::Value emitSilu(VectorBuilder &b, mlir::Value x);

} // namespace miura::codegen

#endif // MIURA_LIB_CODEGEN_CPU_VECTORMATH_H
