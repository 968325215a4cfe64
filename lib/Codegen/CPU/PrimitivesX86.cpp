//===- PrimitivesX86.cpp - x86 instructions -------------------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The primitives of AVX2 and AVX-512, by LLVM's intrinsics.
///
//===----------------------------------------------------------------------===//

#include "Primitives.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace miura::codegen;

/// vpdpbusd: exact, the unsigned operand first.
Value x86::dot4Vnni512(ImplicitLocOpBuilder &b, Value acc, Value u8, Value s8,
                       unsigned) {
  return callIntrinsic(b, acc.getType(), "llvm.x86.avx512.vpdpbusd.512",
                       {acc, u8, s8});
}

/// vpmaddubsw sums two products in 16 bits with saturation: it is exact for
/// u8 ≤ 127. Beyond that, even and odd bytes are widened to 16
/// bits and go through vpmaddwd, which cannot overflow. The widening of s8 is
/// the same for all groups of a step, and shared by CSE.
Value x86::dot4Avx2(ImplicitLocOpBuilder &b, Value acc, Value u8, Value s8,
                    unsigned bound) {
  auto words = VectorType::get({16}, b.getI16Type());
  auto ints = cast<VectorType>(acc.getType());
  if (bound <= 127) {
    Value pairs =
        callIntrinsic(b, words, "llvm.x86.avx2.pmadd.ub.sw", {u8, s8});
    Value sums = callIntrinsic(b, ints, "llvm.x86.avx2.pmadd.wd",
                               {pairs, splatConstant(b, words, 1)});
    return arith::AddIOp::create(b, acc, sums);
  }
  return dot4Widened(b, acc, u8, s8, "llvm.x86.avx2.pmadd.wd");
}

Value x86::lookup512(ImplicitLocOpBuilder &b, ValueRange table, Value lanes) {
  return callIntrinsic(b, table[0].getType(), "llvm.x86.avx512.permvar.sf.512",
                       {table[0], lanes});
}

Value x86::lookupAvx2(ImplicitLocOpBuilder &b, ValueRange table, Value lanes) {
  return callIntrinsic(b, table[0].getType(), "llvm.x86.avx2.permps",
                       {table[0], lanes});
}

/// vpexpandb.
Value x86::expand512(ImplicitLocOpBuilder &b, Value bytes, Value mask) {
  Value lanes = vector::BroadcastOp::create(
      b, VectorType::get({1}, b.getI64Type()), mask);
  Value bits =
      LLVM::BitcastOp::create(b, VectorType::get({64}, b.getI1Type()), lanes);
  Value zeros = splatConstant(b, cast<VectorType>(bytes.getType()), 0);
  return callIntrinsic(b, bytes.getType(), "llvm.x86.avx512.mask.expand.v64i8",
                       {bytes, zeros, bits});
}
