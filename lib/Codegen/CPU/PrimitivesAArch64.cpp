//===- PrimitivesAArch64.cpp - AArch64 instructions -----------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The primitives of Advanced SIMD with and without its dot products, by LLVM's
/// intrinsics. Arm Architecture Reference Manual, section C7.2.
///
//===----------------------------------------------------------------------===//

#include "Primitives.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace miura::codegen;

/// Products of bytes are exact in 16 bits. Their sums in pairs are too, unless
/// both operands may be −128: then pairs are summed in 32 bits.
Value aarch64::dot4Neon(ImplicitLocOpBuilder &b, Value acc, Value weights,
                        Value s8, unsigned bound) {
  auto words = VectorType::get({8}, b.getI16Type());
  auto ints = cast<VectorType>(acc.getType());
  auto multiply = [&](int64_t from) -> Value {
    auto half = [&](Value bytes) -> Value {
      return vector::ExtractStridedSliceOp::create(
          b, bytes, ArrayRef<int64_t>{from}, ArrayRef<int64_t>{8},
          ArrayRef<int64_t>{1});
    };
    return callIntrinsic(b, words, "llvm.aarch64.neon.smull.v8i16",
                         {half(weights), half(s8)});
  };
  auto sumPairs = [&](Value products) -> Value {
    return callIntrinsic(b, ints, "llvm.aarch64.neon.saddlp.v4i32.v8i16",
                         products);
  };
  Value low = multiply(0), high = multiply(8);
  Value sums;
  if (bound <= 127)
    sums = sumPairs(
        callIntrinsic(b, words, "llvm.aarch64.neon.addp.v8i16", {low, high}));
  else
    sums = callIntrinsic(b, ints, "llvm.aarch64.neon.addp.v4i32",
                         {sumPairs(low), sumPairs(high)});
  return arith::AddIOp::create(b, acc, sums);
}

Value aarch64::dot4Sdot(ImplicitLocOpBuilder &b, Value acc, Value weights,
                        Value s8, unsigned) {
  return callIntrinsic(b, acc.getType(), "llvm.aarch64.neon.sdot.v4i32.v16i8",
                       {acc, weights, s8});
}

Value aarch64::dot4Usdot(ImplicitLocOpBuilder &b, Value acc, Value u8, Value s8,
                         unsigned) {
  return callIntrinsic(b, acc.getType(), "llvm.aarch64.neon.usdot.v4i32.v16i8",
                       {acc, u8, s8});
}

/// tbl of four registers: 64 bytes. The bytes of entry n are 4n .. 4n + 3.
Value aarch64::lookupTbl4(ImplicitLocOpBuilder &b, ValueRange table,
                          Value lanes) {
  auto ints = cast<VectorType>(lanes.getType());
  auto bytes = VectorType::get({16}, b.getI8Type());
  Value entry = arith::AndIOp::create(b, lanes, splatConstant(b, ints, 15));
  Value at = arith::AddIOp::create(
      b, arith::MulIOp::create(b, entry, splatConstant(b, ints, 0x04040404)),
      splatConstant(b, ints, 0x03020100));
  SmallVector<Value> operands;
  for (Value part : table)
    operands.push_back(vector::BitCastOp::create(b, bytes, part));
  operands.push_back(vector::BitCastOp::create(b, bytes, at));
  Value found =
      callIntrinsic(b, bytes, "llvm.aarch64.neon.tbl4.v16i8", operands);
  return vector::BitCastOp::create(b, table.front().getType(), found);
}
