//===- Experts.cpp - Mixtures of experts as one node ----------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// ONNX Runtime's MoE: every token goes to its k best experts. Here all experts
/// see all tokens and those that were not chosen count for nothing, which is
/// slow and plainly right. Definition: ONNX Runtime's documentation of contrib
/// operators.
///
//===----------------------------------------------------------------------===//

#include "Node.h"
#include "mlir/Dialect/Math/IR/Math.h"

using namespace mlir;
using namespace miura;
using namespace miura::onnxlower;

namespace {

using B = LinalgBuilder;

/// The share of each expert in each token, [tokens, experts]: 0 but for the
/// `chosen` largest of `scores`, of equal ones the first.
Value getShares(Node &n, Value scores, int64_t chosen, bool normalized) {
  Type f32 = n.getF32Type(), i32 = n.getI32Type();
  SmallVector<Value> sizes = n.dims(scores);
  Value zero = n.constant(f32, 0);
  // How many are before each.
  Value wide = n.generate(
      i32, {sizes[0], sizes[1], sizes[1]}, [&](B &b, ValueRange at) -> Value {
        Value own = b.convert(b.extract(scores, {at[0], at[1]}), f32);
        Value other = b.convert(b.extract(scores, {at[0], at[2]}), f32);
        Value larger =
            arith::CmpFOp::create(b, arith::CmpFPredicate::OGT, other, own);
        Value equal =
            arith::CmpFOp::create(b, arith::CmpFPredicate::OEQ, other, own);
        Value earlier =
            arith::CmpIOp::create(b, arith::CmpIPredicate::ult, at[2], at[1]);
        Value before = arith::OrIOp::create(
            b, larger, arith::AndIOp::create(b, equal, earlier));
        return b.convert(before, i32, /*fromUnsigned=*/true);
      });
  Value ranks = n.reduceLast(n.constant(i32, 0), wide, [](B &b, ValueRange v) {
    return b.add(v[1], v[0]);
  });
  Value largest =
      n.reduceLast(n.constant(f32, -INFINITY), scores, [&](B &b, ValueRange v) {
        return b.max(v[1], b.convert(v[0], f32));
      });
  auto isChosen = [&](B &b, ValueRange at) -> Value {
    return arith::CmpIOp::create(b, arith::CmpIPredicate::slt,
                                 b.extract(ranks, at), b.constant(i32, chosen));
  };
  auto powersOf = [&](bool all) {
    return n.generate(f32, sizes, [&](B &b, ValueRange at) -> Value {
      Value power =
          math::ExpOp::create(b, b.sub(b.convert(b.extract(scores, at), f32),
                                       b.extract(largest, at.drop_back())));
      return all ? power
                 : arith::SelectOp::create(b, isChosen(b, at), power, zero);
    });
  };
  // Softmax over all experts, or over the chosen ones.
  Value powers = powersOf(!normalized);
  Value sums = n.reduceLast(
      zero, powers, [](B &b, ValueRange v) { return b.add(v[1], v[0]); });
  return n.generate(f32, sizes, [&](B &b, ValueRange at) -> Value {
    Value share = b.div(b.extract(powers, at), b.extract(sums, at.drop_back()));
    return arith::SelectOp::create(b, isChosen(b, at), share, zero);
  });
}

/// x [tokens, (experts,) inner] · w [experts, columns, inner]ᵀ + bias.
Value multiply(Node &n, Value x, Value w, Value bias) {
  Type f32 = n.getF32Type();
  MLIRContext *context = n.getContext();
  auto dim = [&](int64_t d) { return n.getAffineDimExpr(d); };
  SmallVector<AffineExpr> left{dim(0)};
  if (n.rank(x) == 3)
    left.push_back(dim(1));
  left.push_back(dim(3));
  Value sums = n.reduce(
      n.constant(f32, 0), {n.dim(x, 0), n.dim(w, 0), n.dim(w, 1)},
      {n.dim(w, 2)}, {x, w},
      {AffineMap::get(4, 0, left, context),
       AffineMap::get(4, 0, {dim(1), dim(2), dim(3)}, context)},
      [&](B &b, ValueRange v) {
        return b.multiplyAdd(b.convert(v[0], f32), b.convert(v[1], f32), v[2]);
      });
  if (!bias)
    return sums;
  return n.generate(f32, n.dims(sums), [&](B &b, ValueRange at) {
    return b.add(b.extract(sums, at),
                 b.convert(b.extract(bias, {at[1], at[2]}), f32));
  });
}

Results mixtureOfExperts(Node &n) {
  enum { Input, Router, Up, UpBias, Down, DownBias, Gate, GateBias };
  StringRef kind = n.getString("activation_type", "relu");
  int64_t fusion = n.getInt("swiglu_fusion", 0);
  bool isFused = kind == "swiglu" && fusion != 0;
  if (n.getInt("use_sparse_mixer", 0) ||
      (kind != "relu" && kind != "silu" && kind != "identity" && !isFused) ||
      fusion < 0 || fusion > 2)
    return n.error() << "has the activation '" << kind
                     << "' or a sparse mixer, which is not lowered";
  Type element = n.resultElement(), f32 = n.getF32Type();
  SmallVector<Value> sizes = n.dims(n[Input]);
  Value tokens = n.index(1);
  for (Value size : ArrayRef<Value>(sizes).drop_back())
    tokens = n.mulIndex(tokens, size);
  Value x = n.reshape(n[Input], {tokens, sizes.back()});
  Value shares = getShares(n, n[Router], n.getInt("k", 1),
                           n.getInt("normalize_routing_weights", 0));
  auto optional = [&](size_t i) { return n.has(i) ? n[i] : Value(); };
  Value up = multiply(n, x, n[Up], optional(UpBias));
  Value gate =
      n.has(Gate) ? multiply(n, x, n[Gate], optional(GateBias)) : Value();
  SmallVector<Value> inner = n.dims(up);
  if (isFused)
    inner[2] = n.createOrFold<arith::DivUIOp>(inner[2], n.index(2));
  double alpha = n.getFloat("activation_alpha", 1),
         beta = n.getFloat("activation_beta", 0),
         limit = n.getFloat("swiglu_limit", INFINITY);
  Value active = n.generate(f32, inner, [&](B &b, ValueRange at) -> Value {
    if (!isFused) {
      Value y = b.extract(up, at);
      if (kind == "relu")
        y = b.max(y, b.constant(f32, 0));
      if (kind == "silu")
        y = b.mul(y, b.sigmoid(y));
      return gate ? b.mul(y, b.extract(gate, at)) : y;
    }
    // Gate and linear part in turn, or one after the other.
    Value first = at[2], second = b.addIndex(at[2], inner[2]);
    if (fusion == 1) {
      first = b.mulIndex(at[2], b.index(2));
      second = b.addIndex(first, b.index(1));
    }
    Value g = b.extract(up, {at[0], at[1], first});
    Value l = b.extract(up, {at[0], at[1], second});
    if (std::isfinite(limit)) {
      g = b.min(g, b.constant(f32, limit));
      l = b.min(b.max(l, b.constant(f32, -limit)), b.constant(f32, limit));
    }
    Value turned = b.sigmoid(b.mul(g, b.constant(f32, alpha)));
    return b.mul(b.mul(g, turned), b.add(l, b.constant(f32, beta)));
  });
  Value down = multiply(n, active, n[Down], optional(DownBias));
  MLIRContext *context = n.getContext();
  auto dim = [&](int64_t d) { return n.getAffineDimExpr(d); };
  Value sum = n.reduce(
      n.constant(f32, 0), {tokens, n.dim(down, 2)}, {n.dim(down, 1)},
      {shares, down},
      {AffineMap::get(3, 0, {dim(0), dim(2)}, context),
       AffineMap::get(3, 0, {dim(0), dim(2), dim(1)}, context)},
      [](B &b, ValueRange v) { return b.multiplyAdd(v[0], v[1], v[2]); });
  Value y = n.elementwise(element, {sum}, [&](B &b, ValueRange v) {
    return b.convert(v[0], element);
  });
  return {{n.reshape(y, sizes)}};
}

} // namespace

void miura::onnxlower::addExperts(Table &t) {
  t["com.microsoft::MoE"] = mixtureOfExperts;
}
