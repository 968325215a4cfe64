//===- PrimitivesWasm.cpp - WebAssembly SIMD instructions -----------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The primitives of WebAssembly's 128-bit SIMD (simd128). Relaxed SIMD has a
/// dot product and a multiply-add that are shorter, but what they compute
/// depends on the browser's machine, and not every browser has them; so a model
/// writes the same text everywhere instead. There is no f16 and no fused
/// multiply-add: LLVM would call functions for them in the hot loop.
///
//===----------------------------------------------------------------------===//

#include "Primitives.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace miura::codegen;

/// i32x4.dot_i16x8_s on the even and on the odd bytes, each widened to 16 bits.
/// Exact for all bytes. The widening of s8 is the same for all groups of a
/// step, and shared by CSE.
Value wasm::dot4(ImplicitLocOpBuilder &b, Value acc, Value u8, Value s8,
                 unsigned) {
  return dot4Widened(b, acc, u8, s8, "llvm.wasm.dot");
}

/// i8x16.swizzle with the places of an entry's four bytes.
Value wasm::lookup(ImplicitLocOpBuilder &b, ValueRange table, Value lanes) {
  auto ints = cast<VectorType>(lanes.getType());
  auto bytes = VectorType::get({16}, b.getI8Type());
  Value entry = arith::AndIOp::create(b, lanes, splatConstant(b, ints, 3));
  Value places =
      arith::MulIOp::create(b, entry, splatConstant(b, ints, 0x04040404));
  places = arith::AddIOp::create(b, places, splatConstant(b, ints, 0x03020100));
  Value found = callIntrinsic(b, bytes, "llvm.wasm.swizzle",
                              {vector::BitCastOp::create(b, bytes, table[0]),
                               vector::BitCastOp::create(b, bytes, places)});
  return vector::BitCastOp::create(b, table[0].getType(), found);
}

/// The exponent and significand moved to where f32 has them, times 2^112, which
/// makes up for the bias and normalizes what f16 does not; then infinities and
/// NaN, and the sign. Exact for every f16.
Value wasm::widenHalf(ImplicitLocOpBuilder &b, Value half) {
  auto halves = cast<VectorType>(half.getType());
  auto shorts = halves.clone(b.getI16Type()),
       ints = halves.clone(b.getI32Type());
  auto floats = halves.clone(b.getF32Type());
  Value raw = arith::ExtUIOp::create(
      b, ints, vector::BitCastOp::create(b, shorts, half));
  Value magnitude = arith::ShLIOp::create(
      b, arith::AndIOp::create(b, raw, splatConstant(b, ints, 0x7FFF)),
      splatConstant(b, ints, 13));
  Value scaled = arith::MulFOp::create(
      b, vector::BitCastOp::create(b, floats, magnitude),
      arith::ConstantOp::create(
          b, DenseElementsAttr::get(floats, b.getF32FloatAttr(0x1p112f))));
  Value isSpecial =
      arith::CmpIOp::create(b, arith::CmpIPredicate::sge, magnitude,
                            splatConstant(b, ints, 0x0F800000));
  Value exponent =
      arith::SelectOp::create(b, isSpecial, splatConstant(b, ints, 0x7F800000),
                              splatConstant(b, ints, 0));
  Value sign = arith::ShLIOp::create(
      b, arith::AndIOp::create(b, raw, splatConstant(b, ints, 0x8000)),
      splatConstant(b, ints, 16));
  Value bits =
      arith::OrIOp::create(b, vector::BitCastOp::create(b, ints, scaled),
                           arith::OrIOp::create(b, exponent, sign));
  return vector::BitCastOp::create(b, floats, bits);
}

Value wasm::multiplyAdd(ImplicitLocOpBuilder &b, Value x, Value y, Value z) {
  return arith::AddFOp::create(b, z, arith::MulFOp::create(b, x, y));
}
