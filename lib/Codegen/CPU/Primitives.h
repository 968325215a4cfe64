//===- Primitives.h - What the rows of the ISA table emit -----------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The primitives of the instruction set table, a namespace for each
/// architecture, and those that LLVM lowers well on all. The contract of each
/// is that of the field of IsaRow that it fills.
///
//===----------------------------------------------------------------------===//

#ifndef MIURA_CODEGEN_CPU_PRIMITIVES_H
#define MIURA_CODEGEN_CPU_PRIMITIVES_H

#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/IR/Value.h"

namespace miura::codegen {

mlir::Value callIntrinsic(mlir::ImplicitLocOpBuilder &b, mlir::Type type,
                          llvm::StringRef name, mlir::ValueRange operands);
mlir::Value splatConstant(mlir::ImplicitLocOpBuilder &b, mlir::VectorType type,
                          int64_t value);

/// arith.extf: one instruction for any length where there is one for f16.
mlir::Value widenHalf(mlir::ImplicitLocOpBuilder &b, mlir::Value half);
/// vector.fma.
mlir::Value vectorFma(mlir::ImplicitLocOpBuilder &b, mlir::Value x,
                      mlir::Value y, mlir::Value z);

/// acc + four products of bytes per lane, by an instruction that sums two
/// products of 16 bits: once of the even bytes and once of the odd ones, each
/// widened. Exact for all bytes.
mlir::Value dot4Widened(mlir::ImplicitLocOpBuilder &b, mlir::Value acc,
                        mlir::Value u8, mlir::Value s8,
                        llvm::StringRef pairProducts);

namespace x86 {
mlir::Value dot4Vnni512(mlir::ImplicitLocOpBuilder &b, mlir::Value acc,
                        mlir::Value u8, mlir::Value s8, unsigned bound);
mlir::Value dot4Avx2(mlir::ImplicitLocOpBuilder &b, mlir::Value acc,
                     mlir::Value u8, mlir::Value s8, unsigned bound);
mlir::Value lookup512(mlir::ImplicitLocOpBuilder &b, mlir::ValueRange table,
                      mlir::Value lanes);
mlir::Value lookupAvx2(mlir::ImplicitLocOpBuilder &b, mlir::ValueRange table,
                       mlir::Value lanes);
mlir::Value expand512(mlir::ImplicitLocOpBuilder &b, mlir::Value bytes,
                      mlir::Value mask);
} // namespace x86

namespace aarch64 {
mlir::Value dot4Neon(mlir::ImplicitLocOpBuilder &b, mlir::Value acc,
                     mlir::Value weights, mlir::Value s8, unsigned bound);
mlir::Value dot4Sdot(mlir::ImplicitLocOpBuilder &b, mlir::Value acc,
                     mlir::Value weights, mlir::Value s8, unsigned bound);
mlir::Value dot4Usdot(mlir::ImplicitLocOpBuilder &b, mlir::Value acc,
                      mlir::Value u8, mlir::Value s8, unsigned bound);
mlir::Value lookupTbl4(mlir::ImplicitLocOpBuilder &b, mlir::ValueRange table,
                       mlir::Value lanes);
} // namespace aarch64

namespace wasm {
mlir::Value dot4(mlir::ImplicitLocOpBuilder &b, mlir::Value acc, mlir::Value u8,
                 mlir::Value s8, unsigned bound);
mlir::Value lookup(mlir::ImplicitLocOpBuilder &b, mlir::ValueRange table,
                   mlir::Value lanes);
mlir::Value widenHalf(mlir::ImplicitLocOpBuilder &b, mlir::Value half);
mlir::Value multiplyAdd(mlir::ImplicitLocOpBuilder &b, mlir::Value x,
                        mlir::Value y, mlir::Value z);
} // namespace wasm

} // namespace miura::codegen

#endif // MIURA_CODEGEN_CPU_PRIMITIVES_H
