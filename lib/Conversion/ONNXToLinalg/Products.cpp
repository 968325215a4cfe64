//===- Products.cpp - MatMul and its relatives ----------------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Matrix products, and the linear quantization around them. A right operand
/// lies [in, out], so the loop over its columns is innermost: it reads and
/// writes along rows.
///
//===----------------------------------------------------------------------===//

#include "Node.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace miura;
using namespace miura::onnxlower;

Value miura::onnxlower::quantize(LinalgBuilder &b, Value x, Value scale,
                                 Value zero, unsigned width, bool isUnsigned,
                                 Type element) {
  Type f32 = b.getF32Type();
  Value y = math::RoundEvenOp::create(
      b, b.div(b.convert(x, f32), b.convert(scale, f32)));
  if (zero)
    y = b.add(y, b.convert(zero, f32, isUnsigned));
  double low = isUnsigned ? 0 : -std::ldexp(1.0, width - 1);
  double high =
      isUnsigned ? std::ldexp(1.0, width) - 1 : std::ldexp(1.0, width - 1) - 1;
  y = b.min(b.max(y, b.constant(f32, low)), b.constant(f32, high));
  Value code = b.convert(y, b.getI32Type());
  return b.convert(code, element);
}

namespace {

using B = LinalgBuilder;

/// Converts one element on its way into a product.
using Enter = function_ref<Value(B &, Value)>;

/// a · b for tensors of rank 2 or more with broadcast leading dimensions, in
/// `accumulator`.
Value product(Node &n, Value a, Value b, Type accumulator, Enter enterA,
              Enter enterB) {
  int64_t aRank = n.rank(a), bRank = n.rank(b);
  int64_t rank = std::max(aRank, bRank), batch = rank - 2;
  // The sizes of the leading dimensions, and each operand with them all equal
  // or 1.
  SmallVector<Value> sizes;
  SmallVector<AffineExpr> aExprs, bExprs;
  bool expandA = false, expandB = false;
  for (int64_t d = 0; d < batch; ++d) {
    int64_t da = d - (rank - aRank), db = d - (rank - bRank);
    int64_t sa = da < 0 ? 1 : n.type(a).getDimSize(da);
    int64_t sb = db < 0 ? 1 : n.type(b).getDimSize(db);
    bool dynA = ShapedType::isDynamic(sa), dynB = ShapedType::isDynamic(sb);
    if (sa == 1 && sb == 1) {
      sizes.push_back(n.index(1));
    } else if (sb == 1) {
      sizes.push_back(n.dim(a, da));
    } else if (sa == 1) {
      sizes.push_back(n.dim(b, db));
    } else if (!dynA && !dynB) {
      sizes.push_back(n.index(sa));
    } else {
      // Either may turn out to be 1.
      Value x = n.dim(a, da), y = n.dim(b, db);
      Value one = n.index(1);
      sizes.push_back(n.selectIndex(arith::CmpIPredicate::eq, x, one, y, x));
      expandA |= dynA;
      expandB |= dynB;
    }
    AffineExpr loop = n.getAffineDimExpr(d), zero = n.getAffineConstantExpr(0);
    if (da >= 0)
      aExprs.push_back(sa == 1 ? zero : loop);
    if (db >= 0)
      bExprs.push_back(sb == 1 ? zero : loop);
  }
  auto expand = [&](Value value) {
    SmallVector<Value> full(sizes);
    int64_t own = n.rank(value);
    SmallVector<Value> target;
    for (int64_t d = 0; d < own - 2; ++d)
      target.push_back(n.type(value).getDimSize(d) == 1 ? n.index(1)
                                                        : full[d + rank - own]);
    target.push_back(n.dim(value, -2));
    target.push_back(n.dim(value, -1));
    SmallVector<Value> before = n.dims(value);
    return n.generate(n.element(value), target, [&](B &b, ValueRange at) {
      return Node::readBroadcast(b, value, before, at);
    });
  };
  // Same names mean same sizes, which is the common case.
  auto sameNames = [&] {
    if (n.size() < 2 || n[0] != a || n[1] != b || aRank != bRank)
      return false;
    for (int64_t d = 0; d < batch; ++d) {
      if (!n.type(a).isDynamicDim(d) && !n.type(b).isDynamicDim(d))
        continue;
      StringRef name = n.operandDimName(0, d);
      if (name.empty() || name != n.operandDimName(1, d))
        return false;
    }
    return true;
  };
  if ((expandA || expandB) && !sameNames()) {
    if (expandA)
      a = expand(a);
    if (expandB)
      b = expand(b);
  }
  Value rows = n.dim(a, -2), columns = n.dim(b, -1);
  sizes.push_back(rows);
  sizes.push_back(columns);
  // Loops: leading…, row, inner, column.
  AffineExpr m = n.getAffineDimExpr(batch), k = n.getAffineDimExpr(batch + 1),
             c = n.getAffineDimExpr(batch + 2);
  aExprs.append({m, k});
  bExprs.append({k, c});
  SmallVector<AffineExpr> outExprs;
  for (int64_t d = 0; d < batch; ++d)
    outExprs.push_back(n.getAffineDimExpr(d));
  outExprs.append({m, c});
  MLIRContext *context = n.getContext();
  int64_t loops = batch + 3;
  SmallVector<AffineMap> maps{AffineMap::get(loops, 0, aExprs, context),
                              AffineMap::get(loops, 0, bExprs, context),
                              AffineMap::get(loops, 0, outExprs, context)};
  SmallVector<utils::IteratorType> iterators(loops,
                                             utils::IteratorType::parallel);
  iterators[batch + 1] = utils::IteratorType::reduction;
  Value start = n.filled(n.constant(accumulator, 0), sizes);
  auto generic = linalg::GenericOp::create(
      n, TypeRange{start.getType()}, ValueRange{a, b}, ValueRange{start}, maps,
      iterators, [&](OpBuilder &nested, Location loc, ValueRange v) {
        B inner(loc, nested);
        linalg::YieldOp::create(
            inner,
            inner.multiplyAdd(enterA(inner, v[0]), enterB(inner, v[1]), v[2]));
      });
  return generic.getResult(0);
}

/// product() with vectors as numpy has them.
Value matMulOf(Node &n, Value a, Value b, Type accumulator, Enter enterA,
               Enter enterB) {
  bool row = n.rank(a) == 1, column = n.rank(b) == 1;
  if (row)
    a = n.unsqueeze(a, {0});
  if (column)
    b = n.unsqueeze(b, {1});
  Value result = product(n, a, b, accumulator, enterA, enterB);
  int64_t rank = n.rank(result);
  SmallVector<int64_t> drop;
  if (row)
    drop.push_back(rank - 2);
  if (column)
    drop.push_back(rank - 1);
  return n.squeeze(result, drop);
}

Value converted(Node &n, Value value, Type element) {
  if (n.element(value) == element)
    return value;
  return n.elementwise(element, {value}, [&](B &b, ValueRange v) {
    return b.convert(v[0], element);
  });
}

Results matMul(Node &n) {
  Type wide = n.sumType(n.element(n[0]));
  auto enter = [&](B &b, Value v) { return b.convert(v, wide); };
  Value result = matMulOf(n, n[0], n[1], wide, enter, enter);
  return {{converted(n, result, n.resultElement())}};
}

/// The last two dimensions swapped.
Value transposed(Node &n, Value value) {
  SmallVector<int64_t> permutation;
  for (int64_t d = 0; d < n.rank(value); ++d)
    permutation.push_back(d);
  std::swap(permutation.end()[-1], permutation.end()[-2]);
  return n.transpose(value, permutation);
}

/// com.microsoft: alpha · op(a) · op(b).
Results fusedMatMul(Node &n) {
  if (n.getInt("transBatchA", 0) || n.getInt("transBatchB", 0))
    return n.error() << "transposes batch dimensions, which is not lowered";
  Type wide = n.sumType(n.element(n[0]));
  Value a = n.getInt("transA", 0) ? transposed(n, n[0]) : n[0];
  Value b = n.getInt("transB", 0) ? transposed(n, n[1]) : n[1];
  auto enter = [&](B &b, Value v) { return b.convert(v, wide); };
  Value result = matMulOf(n, a, b, wide, enter, enter);
  Type element = n.resultElement();
  return {{n.elementwise(element, {result}, [&](B &b, ValueRange v) {
    return b.convert(b.mul(v[0], b.constant(wide, n.getFloat("alpha", 1))),
                     element);
  })}};
}

Results gemm(Node &n) {
  Type element = n.resultElement(), wide = n.sumType(element);
  Value a = n.getInt("transA", 0) ? transposed(n, n[0]) : n[0];
  Value b = n.getInt("transB", 0) ? transposed(n, n[1]) : n[1];
  auto enter = [&](B &b, Value v) { return b.convert(v, wide); };
  Value result = product(n, a, b, wide, enter, enter);
  double alpha = n.getFloat("alpha", 1), beta = n.getFloat("beta", 1);
  SmallVector<Value> inputs{result};
  if (n.has(2) && beta != 0)
    inputs.push_back(n[2]);
  return {{n.broadcast(element, inputs, [&](B &b, ValueRange v) {
    Value y = v[0];
    if (alpha != 1)
      y = b.mul(y, b.constant(wide, alpha));
    if (v.size() > 1) {
      Value c = b.convert(v[1], wide);
      y = b.add(y, beta != 1 ? b.mul(c, b.constant(wide, beta)) : c);
    }
    return b.convert(y, element);
  })}};
}

//===----------------------------------------------------------------------===//
// Linear quantization
//===----------------------------------------------------------------------===//

/// (a − za) · (b − zb) in i32; zero points are scalars, or one per row of a or
/// column of b.
Results matMulInteger(Node &n) {
  Type i32 = n.getI32Type();
  auto centre = [&](size_t operand, size_t zero) {
    Value x = n[operand];
    bool isUnsigned = n.isUnsigned(operand);
    SmallVector<Value> inputs{x};
    if (n.has(zero)) {
      Value z = n[zero];
      // One per row of a: along the dimension before the last.
      if (operand == 0 && n.rank(z) == 1 && n.type(z).getDimSize(0) != 1)
        z = n.unsqueeze(z, {1});
      inputs.push_back(z);
    }
    return n.broadcastInside(i32, inputs, [&](B &b, ValueRange v) {
      Value value = b.convert(v[0], i32, isUnsigned);
      if (v.size() > 1)
        value = b.sub(value, b.convert(v[1], i32, isUnsigned));
      return value;
    });
  };
  auto enter = [](B &, Value v) { return v; };
  return {{matMulOf(n, centre(0, 2), centre(1, 3), i32, enter, enter)}};
}

/// Reads the scale or zero point that belongs to element `at` of a tensor:
/// one for all, one per index of `axis`, or one per block along it.
Value readParameter(B &b, Value parameter, ValueRange at, int64_t axis,
                    int64_t block) {
  if (b.rank(parameter) == 0)
    return b.scalar(parameter);
  if (b.rank(parameter) == 1) {
    if (b.type(parameter).getDimSize(0) == 1)
      return b.extract(parameter, b.index(0));
    return b.extract(parameter, at[axis]);
  }
  SmallVector<Value> place(at.begin(), at.end());
  place[axis] = b.createOrFold<arith::DivUIOp>(place[axis], b.index(block));
  return b.extract(parameter, place);
}

/// Along which axis scales differ, and how many entries share one there.
struct Blocks {
  int64_t axis, size;
};

FailureOr<Blocks> blocksOf(Node &n) {
  int64_t rank = n.rank(n[0]), size = n.getInt("block_size", 0);
  Blocks blocks{0, size == 0 ? 1 : size};
  if (rank > 0) {
    auto given = n.axis("axis", rank > 1 ? 1 : 0, rank);
    if (failed(given))
      return failure();
    blocks.axis = *given;
  }
  if (n.rank(n[1]) > 1 && size == 0)
    return n.error() << "has scales per block, but no block_size";
  return blocks;
}

Results dequantizeLinear(Node &n) {
  Value x = n[0];
  auto blocks = blocksOf(n);
  if (failed(blocks))
    return failure();
  Type element = n.resultElement(), f32 = n.getF32Type();
  bool isUnsigned = n.isUnsigned(0);
  return {{n.generate(element, n.dims(x), [&](B &b, ValueRange at) {
    Value code = b.convert(b.extract(x, at), b.getI32Type(), isUnsigned);
    if (n.has(2)) {
      Value zero = readParameter(b, n[2], at, blocks->axis, blocks->size);
      code = b.sub(code, b.convert(zero, b.getI32Type(), isUnsigned));
    }
    Value scale = readParameter(b, n[1], at, blocks->axis, blocks->size);
    return b.convert(b.mul(b.convert(code, f32), b.convert(scale, f32)),
                     element);
  })}};
}

Results quantizeLinear(Node &n) {
  Value x = n[0];
  auto blocks = blocksOf(n);
  if (failed(blocks))
    return failure();
  Type element = n.resultElement();
  if (!isa<IntegerType>(element))
    return n.error() << "quantizes to " << element << ", which is not lowered";
  bool isUnsigned = n.resultIsUnsigned(0);
  unsigned width = element.getIntOrFloatBitWidth();
  return {{n.generate(element, n.dims(x), [&](B &b, ValueRange at) {
    Value scale = readParameter(b, n[1], at, blocks->axis, blocks->size);
    Value zero = n.has(2)
                     ? readParameter(b, n[2], at, blocks->axis, blocks->size)
                     : Value();
    return quantize(b, b.extract(x, at), scale, zero, width, isUnsigned,
                    element);
  })}};
}

/// uint8 with the range of the whole tensor, zero included.
Results dynamicQuantizeLinear(Node &n) {
  Value x = n[0];
  Type f32 = n.getF32Type(), i8 = n.getI8Type();
  SmallVector<int64_t> all;
  for (int64_t d = 0; d < n.rank(x); ++d)
    all.push_back(d);
  Value low =
      n.reduceAxes(x, all, false, n.constant(f32, 0),
                   [](B &b, ValueRange v) { return b.min(v[1], v[0]); });
  Value high =
      n.reduceAxes(x, all, false, n.constant(f32, 0),
                   [](B &b, ValueRange v) { return b.max(v[1], v[0]); });
  Value scale = n.elementwise(f32, {low, high}, [&](B &b, ValueRange v) {
    return b.div(b.sub(v[1], v[0]), b.constant(f32, 255));
  });
  Value zero = n.elementwise(i8, {low, scale}, [&](B &b, ValueRange v) {
    Value minus = b.sub(b.constant(f32, 0), v[0]);
    // A tensor of zeros has scale 0; its zero point is 0.
    Value none = arith::CmpFOp::create(b, arith::CmpFPredicate::OEQ, v[1],
                                       b.constant(f32, 0));
    Value safe = arith::SelectOp::create(b, none, b.constant(f32, 1), v[1]);
    Value place = math::RoundEvenOp::create(b, b.div(minus, safe));
    place = b.min(b.max(place, b.constant(f32, 0)), b.constant(f32, 255));
    return b.convert(b.convert(place, b.getI32Type()), i8);
  });
  Value codes = n.generate(i8, n.dims(x), [&](B &b, ValueRange at) -> Value {
    Value s = b.scalar(scale);
    Value none = arith::CmpFOp::create(b, arith::CmpFPredicate::OEQ, s,
                                       b.constant(f32, 0));
    Value safe = arith::SelectOp::create(b, none, b.constant(f32, 1), s);
    return quantize(b, b.extract(x, at), safe, b.scalar(zero), 8, true, i8);
  });
  return {{codes, scale, zero}};
}

} // namespace

void miura::onnxlower::addProducts(Table &t) {
  t["MatMul"] = matMul;
  t["Gemm"] = gemm;
  t["MatMulInteger"] = matMulInteger;
  t["DequantizeLinear"] = dequantizeLinear;
  t["QuantizeLinear"] = quantizeLinear;
  t["DynamicQuantizeLinear"] = dynamicQuantizeLinear;
  t["com.microsoft::FusedMatMul"] = fusedMatMul;
  t["com.microsoft::DequantizeLinear"] = dequantizeLinear;
  t["com.microsoft::QuantizeLinear"] = quantizeLinear;
}
