//===- Primitives.cpp - What the rows of the ISA table emit ---------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The primitives that are the same on every architecture.
///
//===----------------------------------------------------------------------===//

#include "Primitives.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace miura::codegen;

Value miura::codegen::callIntrinsic(ImplicitLocOpBuilder &b, Type type,
                                    StringRef name, ValueRange operands) {
  return LLVM::CallIntrinsicOp::create(b, type, b.getStringAttr(name), operands)
      .getResult(0);
}

Value miura::codegen::splatConstant(ImplicitLocOpBuilder &b, VectorType type,
                                    int64_t value) {
  return arith::ConstantOp::create(
      b, DenseElementsAttr::get(
             type, b.getIntegerAttr(type.getElementType(), value)));
}

Value miura::codegen::widenHalf(ImplicitLocOpBuilder &b, Value half) {
  auto type = cast<VectorType>(half.getType());
  return arith::ExtFOp::create(b, type.clone(b.getF32Type()), half);
}

Value miura::codegen::vectorFma(ImplicitLocOpBuilder &b, Value x, Value y,
                                Value z) {
  return vector::FMAOp::create(b, x, y, z);
}

Value miura::codegen::dot4Widened(ImplicitLocOpBuilder &b, Value acc, Value u8,
                                  Value s8, StringRef pairProducts) {
  auto ints = cast<VectorType>(acc.getType());
  auto words = VectorType::get({2 * ints.getNumElements()}, b.getI16Type());
  Value eight = splatConstant(b, words, 8);
  Value u = vector::BitCastOp::create(b, words, u8);
  Value s = vector::BitCastOp::create(b, words, s8);
  Value evenU = arith::AndIOp::create(b, u, splatConstant(b, words, 0xFF));
  Value oddU = arith::ShRUIOp::create(b, u, eight);
  Value evenS =
      arith::ShRSIOp::create(b, arith::ShLIOp::create(b, s, eight), eight);
  Value oddS = arith::ShRSIOp::create(b, s, eight);
  Value even = callIntrinsic(b, ints, pairProducts, {evenU, evenS});
  Value odd = callIntrinsic(b, ints, pairProducts, {oddU, oddS});
  return arith::AddIOp::create(b, arith::AddIOp::create(b, acc, even), odd);
}
