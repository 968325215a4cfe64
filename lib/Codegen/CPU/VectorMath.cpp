//===- VectorMath.cpp - Transcendental functions as IR --------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// x = n + r (or n ln 2 + r) with n an integer and |r| at most one half (half
/// of ln 2); a polynomial of degree 6 gives the power of r, and 2^n is made in
/// the exponent. Reduction after Cody and Waite, Software Manual for the
/// Elementary Functions (1980), section 6.2. The coefficients minimize the
/// largest relative error under p(0) = 1 (weighted least squares, iterated;
/// 2e-9 before they are rounded to f32).
///
//===----------------------------------------------------------------------===//

#include "VectorMath.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"

using namespace mlir;
using namespace miura::codegen;

static Value horner(VectorBuilder &b, Value r, ArrayRef<double> coefficients) {
  Value p = b.like(r, coefficients.back());
  for (double c : llvm::reverse(coefficients.drop_back()))
    p = b.fma(p, r, b.like(r, c));
  return p;
}

/// p · 2^n for integral n in [−127, 128]: the bits of 2^n are 0 at −127 and
/// infinity at 128.
static Value scaleByPower(VectorBuilder &b, Value p, Value n) {
  Value zero = b.likeInt(n, 127), shift = b.likeInt(n, 23);
  Type ints = zero.getType();
  Value i = arith::FPToSIOp::create(b, ints, n);
  i = arith::AddIOp::create(b, i, zero);
  i = arith::ShLIOp::create(b, i, shift);
  return b.mulf(p, arith::BitcastOp::create(b, n.getType(), i));
}

static Value clamp(VectorBuilder &b, Value x, double low, double high) {
  // The bound comes first, so that NaN passes.
  return b.minf(b.like(x, high), b.maxf(b.like(x, low), x));
}

Value miura::codegen::emitExp2(VectorBuilder &b, Value x) {
  x = clamp(b, x, -127.0, 128.0);
  Value n = math::RoundEvenOp::create(b, x);
  Value r = b.subf(x, n);
  Value p = horner(b, r,
                   {1.0, 0x1.62e43p-1, 0x1.ebfbdcp-3, 0x1.c6aee8p-5,
                    0x1.3b2d4cp-7, 0x1.5f3e54p-10, 0x1.41fbbcp-13});
  return scaleByPower(b, p, n);
}

Value miura::codegen::emitExp(VectorBuilder &b, Value x) {
  x = clamp(b, x, -88.0296919, 88.7228394);
  Value n =
      math::RoundEvenOp::create(b, b.mulf(x, b.like(x, 1.4426950408889634)));
  // ln 2 in two parts: n times the first is exact.
  Value r = b.fma(n, b.like(x, -0.693145751953125), x);
  r = b.fma(n, b.like(x, -1.42860677e-06), r);
  Value p = horner(b, r,
                   {1.0, 1.0, 0x1.fffffcp-2, 0x1.55541ap-3, 0x1.555822p-5,
                    0x1.126782p-7, 0x1.6ae73p-10});
  return scaleByPower(b, p, n);
}

Value miura::codegen::emitTanh(VectorBuilder &b, Value x) {
  // 1 − 2 / (e^2x + 1)
  Value one = b.like(x, 1.0), two = b.like(x, 2.0);
  Value e = emitExp(b, b.mulf(x, two));
  return b.subf(one, b.divf(two, b.addf(e, one)));
}

Value miura::codegen::emitSilu(VectorBuilder &b, Value x) {
  Value e = emitExp(b, b.subf(b.like(x, 0.0), x));
  return b.divf(x, b.addf(e, b.like(x, 1.0)));
}
