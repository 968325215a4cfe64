//===- Elementwise.cpp - Elementwise operators ----------------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Operators that compute each element from the elements at the same place,
/// with numpy's broadcasting. Each is a function over scalars; the loop around
/// it is shared.
///
//===----------------------------------------------------------------------===//

#include "Node.h"
#include "mlir/Dialect/Math/IR/Math.h"

using namespace mlir;
using namespace miura;
using namespace miura::onnxlower;

namespace {

using B = LinalgBuilder;

bool isFloat(Value v) { return isa<FloatType>(v.getType()); }

//===----------------------------------------------------------------------===//
// Unary
//===----------------------------------------------------------------------===//

/// An elementwise function of one operand: the result has the operand's shape.
template <Value (*fn)(Node &, B &, Value)> Results unary(Node &n) {
  return {{n.broadcast(n.resultElement(), {n[0]},
                       [&](B &b, ValueRange v) { return fn(n, b, v[0]); })}};
}

/// The same, computed in f32 where the element is f16 or bf16.
template <typename Op> Value mathOp(Node &, B &b, Value v) {
  return Op::create(b, v);
}

Value one(B &b, Value like) { return b.constant(like.getType(), 1); }
Value zero(B &b, Value like) { return b.constant(like.getType(), 0); }

Value neg(Node &, B &b, Value v) {
  if (isFloat(v))
    return arith::NegFOp::create(b, v);
  return b.sub(zero(b, v), v);
}
Value abs(Node &, B &b, Value v) {
  if (isFloat(v))
    return math::AbsFOp::create(b, v);
  return math::AbsIOp::create(b, v);
}
Value logicalNot(Node &, B &b, Value v) {
  return b.createOrFold<arith::XOrIOp>(v, one(b, v));
}
Value bitwiseNot(Node &, B &b, Value v) {
  return b.createOrFold<arith::XOrIOp>(v, b.constant(v.getType(), -1));
}
Value reciprocal(Node &, B &b, Value v) { return b.div(one(b, v), v); }
Value sigmoid(Node &, B &b, Value v) { return b.sigmoid(v); }
Value relu(Node &, B &b, Value v) { return b.max(v, zero(b, v)); }
Value leakyRelu(Node &n, B &b, Value v) {
  Value slope = b.constant(v.getType(), n.getFloat("alpha", 0.01));
  Value negative =
      arith::CmpFOp::create(b, arith::CmpFPredicate::OLT, v, zero(b, v));
  return arith::SelectOp::create(b, negative, b.mul(slope, v), v);
}
Value elu(Node &n, B &b, Value v) {
  Value alpha = b.constant(v.getType(), n.getFloat("alpha", 1));
  Value negative =
      arith::CmpFOp::create(b, arith::CmpFPredicate::OLT, v, zero(b, v));
  Value exponential = math::ExpM1Op::create(b, v);
  return arith::SelectOp::create(b, negative, b.mul(alpha, exponential), v);
}
Value hardSigmoid(Node &n, B &b, Value v) {
  Value alpha = b.constant(v.getType(), n.getFloat("alpha", 0.2));
  Value beta = b.constant(v.getType(), n.getFloat("beta", 0.5));
  return b.max(b.min(b.add(b.mul(alpha, v), beta), one(b, v)), zero(b, v));
}
Value hardSwish(Node &, B &b, Value v) {
  Value shifted = b.add(b.mul(b.constant(v.getType(), 1.0 / 6), v),
                        b.constant(v.getType(), 0.5));
  return b.mul(v, b.max(b.min(shifted, one(b, v)), zero(b, v)));
}
Value softplus(Node &, B &b, Value v) {
  // max(x, 0) + log1p(exp(−|x|)) does not overflow.
  Value minus = arith::NegFOp::create(b, Value(math::AbsFOp::create(b, v)));
  Value small = math::Log1pOp::create(b, Value(math::ExpOp::create(b, minus)));
  return b.add(b.max(v, zero(b, v)), small);
}
Value geluOf(B &b, Value v, bool tanh) {
  Type type = v.getType(), f32 = b.getF32Type();
  v = b.convert(v, type.getIntOrFloatBitWidth() < 32 ? f32 : type);
  Type wide = v.getType();
  Value phi;
  if (tanh) {
    Value cube = b.mul(v, b.mul(v, v));
    Value inner = b.add(v, b.mul(b.constant(wide, 0.044715), cube));
    phi = math::TanhOp::create(
        b, b.mul(b.constant(wide, 0.79788456080286536), inner));
  } else {
    phi =
        math::ErfOp::create(b, b.mul(v, b.constant(wide, 0.70710678118654752)));
  }
  Value y = b.mul(b.mul(b.constant(wide, 0.5), v), b.add(one(b, v), phi));
  return b.convert(y, type);
}
Value gelu(Node &n, B &b, Value v) {
  return geluOf(b, v, n.getString("approximate", "none") == "tanh");
}
Value quickGelu(Node &n, B &b, Value v) {
  Value scaled = b.mul(b.constant(v.getType(), n.getFloat("alpha", 1.702)), v);
  return b.mul(v, b.sigmoid(scaled));
}
Value swish(Node &n, B &b, Value v) {
  Value scaled = b.mul(b.constant(v.getType(), n.getFloat("alpha", 1)), v);
  return b.mul(v, b.sigmoid(scaled));
}
Value sign(Node &n, B &b, Value v) {
  Value below, above, zeroValue = zero(b, v);
  if (isFloat(v)) {
    below = arith::CmpFOp::create(b, arith::CmpFPredicate::OLT, v, zeroValue);
    above = arith::CmpFOp::create(b, arith::CmpFPredicate::OGT, v, zeroValue);
  } else {
    bool isUnsigned = n.isUnsigned(0);
    below = arith::CmpIOp::create(
        b, isUnsigned ? arith::CmpIPredicate::ult : arith::CmpIPredicate::slt,
        v, zeroValue);
    above = arith::CmpIOp::create(b, arith::CmpIPredicate::ne, v, zeroValue);
  }
  Value positive = arith::SelectOp::create(b, above, one(b, v), zeroValue);
  return arith::SelectOp::create(b, below, b.constant(v.getType(), -1),
                                 positive);
}
Value isNaN(Node &, B &b, Value v) {
  return arith::CmpFOp::create(b, arith::CmpFPredicate::UNO, v, v);
}
Value isInf(Node &n, B &b, Value v) {
  Value result = b.constant(b.getI1Type(), 0);
  for (auto [flag, limit] : {std::pair{"detect_positive", INFINITY},
                             std::pair{"detect_negative", -INFINITY}})
    if (n.getInt(flag, 1)) {
      Value hit = arith::CmpFOp::create(b, arith::CmpFPredicate::OEQ, v,
                                        b.constant(v.getType(), limit));
      result = b.createOrFold<arith::OrIOp>(result, hit);
    }
  return result;
}
Value identity(Node &, B &, Value v) { return v; }
Value cast(Node &n, B &b, Value v) {
  return b.convert(v, n.resultElement(), n.isUnsigned(0),
                   n.resultIsUnsigned(0));
}

//===----------------------------------------------------------------------===//
// Binary and variadic
//===----------------------------------------------------------------------===//

template <Value (*fn)(Node &, B &, Value, Value)> Results binary(Node &n) {
  return {
      {n.broadcast(n.resultElement(), {n[0], n[1]},
                   [&](B &b, ValueRange v) { return fn(n, b, v[0], v[1]); })}};
}

/// Folds a function of two over any number of operands.
template <Value (*fn)(Node &, B &, Value, Value)> Results variadic(Node &n) {
  SmallVector<Value> all;
  for (size_t i = 0; i < n.size(); ++i)
    all.push_back(n[i]);
  return {{n.broadcast(n.resultElement(), all, [&](B &b, ValueRange v) {
    Value result = v[0];
    for (Value next : v.drop_front())
      result = fn(n, b, result, next);
    return result;
  })}};
}

Value add(Node &, B &b, Value x, Value y) { return b.add(x, y); }
Value sub(Node &, B &b, Value x, Value y) { return b.sub(x, y); }
Value mul(Node &, B &b, Value x, Value y) { return b.mul(x, y); }

/// A divisor that does not trap.
Value nonZero(B &b, Value y) {
  Value isZero =
      b.createOrFold<arith::CmpIOp>(arith::CmpIPredicate::eq, y, zero(b, y));
  return b.createOrFold<arith::SelectOp>(isZero, one(b, y), y);
}
Value div(Node &n, B &b, Value x, Value y) {
  if (isFloat(x))
    return b.div(x, y);
  return b.div(x, nonZero(b, y), n.isUnsigned(0));
}
Value mod(Node &n, B &b, Value x, Value y) {
  if (isFloat(x)) {
    Value rest = arith::RemFOp::create(b, x, y);
    if (n.getInt("fmod", 0))
      return rest;
    // Python's sign, the divisor's, of a zero too.
    Value no = zero(b, rest);
    Value negative =
        arith::CmpFOp::create(b, arith::CmpFPredicate::OLT, rest, no);
    Value below = arith::CmpFOp::create(b, arith::CmpFPredicate::OLT, y, no);
    Value some = arith::CmpFOp::create(b, arith::CmpFPredicate::ONE, rest, no);
    Value different = arith::XOrIOp::create(b, negative, below);
    Value adjusted =
        arith::SelectOp::create(b, different, b.add(rest, y), rest);
    return arith::SelectOp::create(b, some, adjusted,
                                   math::CopySignOp::create(b, rest, y));
  }
  y = nonZero(b, y);
  if (n.isUnsigned(0))
    return b.createOrFold<arith::RemUIOp>(x, y);
  Value rest = b.createOrFold<arith::RemSIOp>(x, y);
  if (n.getInt("fmod", 0))
    return rest;
  // Python's sign: the divisor's.
  Value different = b.createOrFold<arith::CmpIOp>(
      arith::CmpIPredicate::slt, b.createOrFold<arith::XOrIOp>(rest, y),
      zero(b, y));
  Value some = b.createOrFold<arith::CmpIOp>(arith::CmpIPredicate::ne, rest,
                                             zero(b, rest));
  Value adjust = b.createOrFold<arith::AndIOp>(different, some);
  return b.createOrFold<arith::SelectOp>(adjust, b.add(rest, y), rest);
}
Value maximum(Node &n, B &b, Value x, Value y) {
  return b.max(x, y, n.isUnsigned(0));
}
Value minimum(Node &n, B &b, Value x, Value y) {
  return b.min(x, y, n.isUnsigned(0));
}
Value sum(Node &, B &b, Value x, Value y) { return b.add(x, y); }
template <typename Op> Value bitwise(Node &, B &b, Value x, Value y) {
  return b.createOrFold<Op>(x, y);
}
Value shift(Node &n, B &b, Value x, Value y) {
  // As many places as there are bits, or more, leave the sign's copies.
  unsigned width = x.getType().getIntOrFloatBitWidth();
  bool left = n.getString("direction", "LEFT") == "LEFT",
       isUnsigned = n.isUnsigned(0);
  Value last = b.constant(y.getType(), width - 1);
  Value inside =
      b.createOrFold<arith::CmpIOp>(arith::CmpIPredicate::ule, y, last);
  Value places = b.createOrFold<arith::SelectOp>(inside, y, last);
  if (!left && !isUnsigned)
    return b.createOrFold<arith::ShRSIOp>(x, places);
  Value shifted = left ? b.createOrFold<arith::ShLIOp>(x, places)
                       : b.createOrFold<arith::ShRUIOp>(x, places);
  return b.createOrFold<arith::SelectOp>(inside, shifted, zero(b, x));
}
Value prelu(Node &, B &b, Value x, Value slope) {
  Value negative =
      arith::CmpFOp::create(b, arith::CmpFPredicate::OLT, x, zero(b, x));
  return arith::SelectOp::create(b, negative, b.mul(slope, x), x);
}

template <arith::CmpFPredicate onFloats, arith::CmpIPredicate onSigned,
          arith::CmpIPredicate onUnsigned>
Value compare(Node &n, B &b, Value x, Value y) {
  if (isFloat(x))
    return b.createOrFold<arith::CmpFOp>(onFloats, x, y);
  bool isUnsigned = n.isUnsigned(0) || x.getType().isInteger(1);
  return b.createOrFold<arith::CmpIOp>(isUnsigned ? onUnsigned : onSigned, x,
                                       y);
}

Value power(Node &n, B &b, Value x, Value y) {
  Type type = x.getType();
  if (isa<FloatType>(type))
    return math::PowFOp::create(b, x, b.convert(y, type, n.isUnsigned(1)));
  // Integers go through f64, which holds every result that fits 53 bits.
  Type f64 = b.getF64Type();
  Value result = math::PowFOp::create(b, b.convert(x, f64, n.isUnsigned(0)),
                                      b.convert(y, f64, n.isUnsigned(1)));
  return b.convert(result, type, false, n.isUnsigned(0));
}

/// x², the form of every norm, is a product; other exponents call pow.
Results pow(Node &n) {
  DenseElementsAttr exponent;
  if (matchPattern(n.op.getInputs()[1], m_Constant(&exponent)) &&
      exponent.isSplat() && isa<FloatType>(exponent.getElementType()) &&
      exponent.getSplatValue<APFloat>().convertToDouble() == 2.0 &&
      exponent.getType().getRank() <= n.rank(n[0]) &&
      exponent.getType().getNumElements() == 1)
    return {{n.broadcast(n.resultElement(), {n[0]}, [](B &b, ValueRange v) {
      return b.mul(v[0], v[0]);
    })}};
  return binary<power>(n);
}

//===----------------------------------------------------------------------===//
// Others
//===----------------------------------------------------------------------===//

Results where(Node &n) {
  return {{n.broadcast(
      n.resultElement(), {n[0], n[1], n[2]}, [](B &b, ValueRange v) {
        return b.createOrFold<arith::SelectOp>(v[0], v[1], v[2]);
      })}};
}

Results clip(Node &n) {
  SmallVector<Value> operands{n[0]};
  for (size_t i : {1, 2})
    if (n.has(i))
      operands.push_back(n[i]);
  Type element = n.resultElement();
  bool isUnsigned = n.isUnsigned(0);
  return {{n.broadcast(element, operands, [&](B &b, ValueRange v) {
    Value result = v[0];
    size_t next = 1;
    if (n.has(1))
      result = b.max(result, v[next++], isUnsigned);
    else if (n.hasAttr("min"))
      result = b.max(result, b.constant(element, n.getFloat("min", 0)));
    if (n.has(2))
      result = b.min(result, v[next++], isUnsigned);
    else if (n.hasAttr("max"))
      result = b.min(result, b.constant(element, n.getFloat("max", 0)));
    return result;
  })}};
}

Results mean(Node &n) {
  Results total = variadic<sum>(n);
  double count = n.size();
  return {
      {n.elementwise(n.resultElement(), {(*total)[0]}, [&](B &b, ValueRange v) {
        return b.div(v[0], b.constant(v[0].getType(), count));
      })}};
}

/// com.microsoft: x + bias before gelu.
template <bool tanh> Results biasGelu(Node &n) {
  if (!n.has(1))
    return {{n.broadcast(n.resultElement(), {n[0]}, [](B &b, ValueRange v) {
      return geluOf(b, v[0], tanh);
    })}};
  return {{n.broadcast(n.resultElement(), {n[0], n[1]}, [](B &b, ValueRange v) {
    return geluOf(b, b.add(v[0], v[1]), tanh);
  })}};
}

using FP = arith::CmpFPredicate;
using IP = arith::CmpIPredicate;

/// Drops nothing, which is what it does when a model is run.
Results dropout(Node &n) {
  if (n.has(2)) {
    auto training = n.op.getInputs()[2].getDefiningOp<arith::ConstantOp>();
    auto value = training ? dyn_cast<DenseElementsAttr>(training.getValue())
                          : DenseElementsAttr();
    if (!value || !value.isSplat() || !value.getSplatValue<APInt>().isZero())
      return n.error() << "may drop elements at random (training_mode), which "
                          "is not lowered";
  }
  Type i1 = n.getI1Type();
  Value kept =
      n.wantsResult(1) ? n.filled(n.constant(i1, 1), n.dims(n[0])) : Value();
  return {{n[0], kept}};
}

} // namespace

void miura::onnxlower::addElementwise(Table &t) {
  t["Neg"] = unary<neg>;
  t["Abs"] = unary<abs>;
  t["Not"] = unary<logicalNot>;
  t["BitwiseNot"] = unary<bitwiseNot>;
  t["Reciprocal"] = unary<reciprocal>;
  t["Sigmoid"] = unary<sigmoid>;
  t["Relu"] = unary<relu>;
  t["LeakyRelu"] = unary<leakyRelu>;
  t["Elu"] = unary<elu>;
  t["HardSigmoid"] = unary<hardSigmoid>;
  t["HardSwish"] = unary<hardSwish>;
  t["Softplus"] = unary<softplus>;
  t["Gelu"] = unary<gelu>;
  t["Swish"] = unary<swish>;
  t["Sign"] = unary<sign>;
  t["IsNaN"] = unary<isNaN>;
  t["IsInf"] = unary<isInf>;
  t["Identity"] = unary<identity>;
  t["Dropout"] = dropout;
  t["Cast"] = unary<cast>;
  t["CastLike"] = unary<cast>;
  t["Sqrt"] = unary<mathOp<math::SqrtOp>>;
  t["Exp"] = unary<mathOp<math::ExpOp>>;
  t["Log"] = unary<mathOp<math::LogOp>>;
  t["Erf"] = unary<mathOp<math::ErfOp>>;
  t["Tanh"] = unary<mathOp<math::TanhOp>>;
  t["Cos"] = unary<mathOp<math::CosOp>>;
  t["Sin"] = unary<mathOp<math::SinOp>>;
  t["Tan"] = unary<mathOp<math::TanOp>>;
  t["Atan"] = unary<mathOp<math::AtanOp>>;
  t["Floor"] = unary<mathOp<math::FloorOp>>;
  t["Ceil"] = unary<mathOp<math::CeilOp>>;
  t["Round"] = unary<mathOp<math::RoundEvenOp>>;

  t["Add"] = binary<add>;
  t["Sub"] = binary<sub>;
  t["Mul"] = binary<mul>;
  t["Div"] = binary<div>;
  t["Mod"] = binary<mod>;
  t["Pow"] = pow;
  t["PRelu"] = binary<prelu>;
  t["BitShift"] = binary<shift>;
  t["And"] = t["BitwiseAnd"] = binary<bitwise<arith::AndIOp>>;
  t["Or"] = t["BitwiseOr"] = binary<bitwise<arith::OrIOp>>;
  t["Xor"] = t["BitwiseXor"] = binary<bitwise<arith::XOrIOp>>;
  t["Equal"] = binary<compare<FP::OEQ, IP::eq, IP::eq>>;
  t["Less"] = binary<compare<FP::OLT, IP::slt, IP::ult>>;
  t["LessOrEqual"] = binary<compare<FP::OLE, IP::sle, IP::ule>>;
  t["Greater"] = binary<compare<FP::OGT, IP::sgt, IP::ugt>>;
  t["GreaterOrEqual"] = binary<compare<FP::OGE, IP::sge, IP::uge>>;

  t["Max"] = variadic<maximum>;
  t["Min"] = variadic<minimum>;
  t["Sum"] = variadic<sum>;
  t["Mean"] = mean;
  t["Where"] = where;
  t["Clip"] = clip;

  t["com.microsoft::Gelu"] = biasGelu<false>;
  t["com.microsoft::BiasGelu"] = biasGelu<false>;
  t["com.microsoft::FastGelu"] = biasGelu<true>;
  t["com.microsoft::QuickGelu"] = unary<quickGelu>;
}
