//===- QuantizedOps.cpp - Operators from codes to codes -------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Operators whose inputs and outputs are 8-bit codes with scales and zero
/// points: QLinearConv and QLinearMatMul of the standard, QGemm, QLinearAdd and
/// QLinearMul of ONNX Runtime. Sums are of whole numbers in i32, then scaled in
/// f32 and rounded to even, as the runtimes have it.
///
//===----------------------------------------------------------------------===//

#include "Node.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"

using namespace mlir;
using namespace miura;
using namespace miura::onnxlower;

namespace {

using B = LinalgBuilder;

/// A parameter that is one number, or one per `channel`.
Value readParameter(B &b, Value parameter, Value channel) {
  if (b.rank(parameter) == 0 || b.type(parameter).getDimSize(0) == 1)
    return b.scalar(parameter);
  return b.extract(parameter, channel);
}

/// Operand `x` less its zero point, which differs along dimension `axis`.
Value centre(Node &n, size_t x, size_t zero, int64_t axis) {
  Type i32 = n.getI32Type();
  bool isUnsigned = n.isUnsigned(x);
  return n.generate(i32, n.dims(n[x]), [&](B &b, ValueRange at) {
    Value code = b.convert(b.extract(n[x], at), i32, isUnsigned);
    if (!n.has(zero))
      return code;
    return b.sub(
        code, b.convert(readParameter(b, n[zero], at[axis]), i32, isUnsigned));
  });
}

/// Whole sums [.., channel at `axis`, ..] as codes of the result: scaled by
/// sx · sw / sy, rounded, moved by the result's zero point.
Value requantize(Node &n, Value sums, Value bias, int64_t axis, size_t sx,
                 size_t sw, size_t sy, size_t zy) {
  Type f32 = n.getF32Type(), element = n.resultElement();
  bool toFloat = isa<FloatType>(element);
  return n.generate(element, n.dims(sums), [&](B &b, ValueRange at) -> Value {
    Value sum = b.extract(sums, at);
    if (bias)
      sum = b.add(sum, b.extract(bias, at[axis]));
    Value scale = b.mul(b.convert(b.scalar(n[sx]), f32),
                        b.convert(readParameter(b, n[sw], at[axis]), f32));
    if (toFloat)
      return b.convert(b.mul(b.convert(sum, f32), scale), element);
    scale = b.div(scale, b.convert(b.scalar(n[sy]), f32));
    Value zero = n.has(zy) ? b.scalar(n[zy]) : Value();
    return quantize(b, b.mul(b.convert(sum, f32), scale), b.constant(f32, 1),
                    zero, element.getIntOrFloatBitWidth(),
                    n.resultIsUnsigned(0), element);
  });
}

Results qLinearConv(Node &n) {
  auto sums =
      convolve(n, centre(n, 0, 2, 1), centre(n, 3, 5, 0), n.getI32Type());
  if (failed(sums))
    return failure();
  return {{requantize(n, *sums, n.has(8) ? n[8] : Value(), 1, 1, 4, 6, 7)}};
}

/// a [.., rows, inner] · b [inner, columns], or its transpose.
Value product(Node &n, Value a, Value b, bool transposeA, bool transposeB) {
  Type i32 = n.getI32Type();
  int64_t rank = n.rank(a);
  SmallVector<Value> sizes = n.dims(a);
  Value inner = sizes[rank - (transposeA ? 2 : 1)];
  SmallVector<AffineExpr> left;
  for (int64_t d = 0; d < rank; ++d)
    left.push_back(n.getAffineDimExpr(d));
  left.back() = n.getAffineDimExpr(rank);
  if (transposeA) {
    sizes[0] = sizes[1];
    left = {n.getAffineDimExpr(rank), n.getAffineDimExpr(0)};
  }
  sizes.back() = n.dim(b, transposeB ? 0 : 1);
  SmallVector<AffineExpr> right{n.getAffineDimExpr(rank),
                                n.getAffineDimExpr(rank - 1)};
  if (transposeB)
    std::swap(right[0], right[1]);
  MLIRContext *context = n.getContext();
  return n.reduce(
      n.constant(i32, 0), sizes, {inner}, {a, b},
      {AffineMap::get(rank + 1, 0, left, context),
       AffineMap::get(rank + 1, 0, right, context)},
      [](B &b, ValueRange v) { return b.add(v[2], b.mul(v[0], v[1])); });
}

Results qLinearMatMul(Node &n) {
  if (n.rank(n[0]) < 2 || n.rank(n[3]) != 2)
    return n.error() << "has operands of ranks " << n.rank(n[0]) << " and "
                     << n.rank(n[3])
                     << "; only products with a matrix are lowered";
  if (n.rank(n[1]) > 0 && n.type(n[1]).getNumElements() != 1)
    return n.error() << "has a scale per row, which is not lowered";
  int64_t axis = n.rank(n[0]) - 1;
  Value sums =
      product(n, centre(n, 0, 2, axis), centre(n, 3, 5, 1), false, false);
  return {{requantize(n, sums, Value(), axis, 1, 4, 6, 7)}};
}

Results qGemm(Node &n) {
  if (n.getFloat("alpha", 1) != 1 || n.rank(n[0]) != 2)
    return n.error() << "has an alpha that is not 1, which is not lowered";
  bool transposeA = n.getInt("transA", 0), transposeB = n.getInt("transB", 0);
  Value sums =
      product(n, centre(n, 0, 2, 1), centre(n, 3, 5, transposeB ? 0 : 1),
              transposeA, transposeB);
  if (n.has(6) && n.rank(n[6]) != 1)
    return n.error() << "has a bias that is no row, which is not lowered";
  return {{requantize(n, sums, n.has(6) ? n[6] : Value(), 1, 1, 4, 7, 8)}};
}

/// com.microsoft: codes decoded, combined, and encoded.
template <bool isProduct> Results qLinearBinary(Node &n) {
  enum { A, ScaleA, ZeroA, C, ScaleC, ZeroC, Scale, Zero };
  Type f32 = n.getF32Type(), element = n.resultElement();
  auto decode = [&](size_t x, size_t scale, size_t zero) {
    bool isUnsigned = n.isUnsigned(x);
    return n.generate(f32, n.dims(n[x]), [&](B &b, ValueRange at) {
      Value code = b.convert(b.extract(n[x], at), f32, isUnsigned);
      if (n.has(zero))
        code = b.sub(code, b.convert(b.scalar(n[zero]), f32, isUnsigned));
      return b.mul(code, b.scalar(n[scale]));
    });
  };
  Value left = decode(A, ScaleA, ZeroA), right = decode(C, ScaleC, ZeroC);
  return {{n.broadcast(element, {left, right}, [&](B &b, ValueRange v) {
    Value y = isProduct ? b.mul(v[0], v[1]) : b.add(v[0], v[1]);
    Value zero = n.has(Zero) ? b.scalar(n[Zero]) : Value();
    return quantize(b, y, b.scalar(n[Scale]), zero,
                    element.getIntOrFloatBitWidth(), n.resultIsUnsigned(0),
                    element);
  })}};
}

} // namespace

void miura::onnxlower::addQuantizedOps(Table &t) {
  t["QLinearConv"] = qLinearConv;
  t["QLinearMatMul"] = qLinearMatMul;
  t["com.microsoft::QGemm"] = qGemm;
  t["com.microsoft::QLinearAdd"] = qLinearBinary<false>;
  t["com.microsoft::QLinearMul"] = qLinearBinary<true>;
}
