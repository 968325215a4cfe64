//===- Norms.cpp - Softmax and normalizations -----------------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Softmax, LogSoftmax, LayerNormalization, RMSNormalization and ONNX
/// Runtime's relatives of the last two, computed in f32 (f64 for f64).
///
//===----------------------------------------------------------------------===//

#include "Node.h"
#include "mlir/Dialect/Math/IR/Math.h"

using namespace mlir;
using namespace miura;
using namespace miura::onnxlower;

namespace {

using B = LinalgBuilder;

template <bool logarithm> Results softmax(Node &n) {
  Value x = n[0];
  int64_t rank = n.rank(x);
  // Before opset 13 everything from the axis on is one row.
  bool flattened = n.version() != 0 && n.version() < 13;
  auto axis = n.axis("axis", flattened ? 1 : -1, rank);
  if (failed(axis))
    return failure();
  SmallVector<int64_t> axes{*axis};
  for (int64_t d = *axis + 1; flattened && d < rank; ++d)
    axes.push_back(d);
  Type element = n.element(x), wide = n.sumType(element);
  Value largest = n.reduceAxes(
      x, axes, /*keep=*/true, n.constant(wide, -INFINITY),
      [&](B &b, ValueRange v) { return b.max(v[1], b.convert(v[0], wide)); });
  Value shifted = n.broadcast(wide, {x, largest}, [&](B &b, ValueRange v) {
    return b.sub(b.convert(v[0], wide), v[1]);
  });
  Value power = n.elementwise(wide, {shifted}, [](B &b, ValueRange v) -> Value {
    return math::ExpOp::create(b, v[0]);
  });
  Value sum =
      n.reduceAxes(power, axes, /*keep=*/true, n.constant(wide, 0),
                   [](B &b, ValueRange v) { return b.add(v[1], v[0]); });
  Value source = logarithm ? shifted : power;
  return {{n.broadcast(element, {source, sum}, [&](B &b, ValueRange v) {
    Value y = logarithm ? b.sub(v[0], math::LogOp::create(b, v[1]))
                        : b.div(v[0], v[1]);
    return b.convert(y, element);
  })}};
}

/// Normalizes `x` over the dimensions from `axis` on; results are y, the mean
/// (null unless centred) and 1/sqrt(variance + ε).
SmallVector<Value> normalize(Node &n, Value x, Value scale, Value bias,
                             int64_t axis, double epsilon, bool centred) {
  Type element = n.element(x), wide = n.sumType(element);
  SmallVector<int64_t> axes;
  Value size = n.index(1);
  for (int64_t d = axis; d < n.rank(x); ++d) {
    axes.push_back(d);
    size = n.mulIndex(size, n.dim(x, d));
  }
  Value count = n.convert(size, wide);
  auto meanOf = [&](Value of, bool squared) {
    Value sum = n.reduceAxes(of, axes, /*keep=*/true, n.constant(wide, 0),
                             [&](B &b, ValueRange v) {
                               Value value = b.convert(v[0], wide);
                               if (squared)
                                 value = b.mul(value, value);
                               return b.add(v[1], value);
                             });
    return n.elementwise(
        wide, {sum}, [&](B &b, ValueRange v) { return b.div(v[0], count); });
  };
  Value mean, source = x;
  if (centred) {
    mean = meanOf(x, /*squared=*/false);
    source = n.broadcast(wide, {x, mean}, [&](B &b, ValueRange v) {
      return b.sub(b.convert(v[0], wide), v[1]);
    });
  }
  Value variance = meanOf(source, /*squared=*/true);
  Value inverse = n.elementwise(wide, {variance}, [&](B &b, ValueRange v) {
    Value root =
        math::SqrtOp::create(b, b.add(v[0], b.constant(wide, epsilon)));
    return b.div(b.constant(wide, 1), root);
  });
  SmallVector<Value> inputs{source, inverse};
  for (Value value : {scale, bias})
    if (value)
      inputs.push_back(value);
  Value y = n.broadcast(element, inputs, [&](B &b, ValueRange v) {
    Value value = b.mul(b.convert(v[0], wide), v[1]);
    size_t next = 2;
    if (scale)
      value = b.mul(value, b.convert(v[next++], wide));
    if (bias)
      value = b.add(value, b.convert(v[next], wide));
    return b.convert(value, element);
  });
  return {y, mean, inverse};
}

template <bool centred> Results norm(Node &n) {
  auto axis = n.axis("axis", -1, n.rank(n[0]));
  if (failed(axis))
    return failure();
  SmallVector<Value> results =
      normalize(n, n[0], n[1], centred && n.has(2) ? n[2] : Value(), *axis,
                n.getFloat("epsilon", 1e-5), centred);
  // SimplifiedLayerNormalization's second result is the inverse deviation.
  if (!centred)
    return {{results[0], results[2]}};
  return {results};
}

/// com.microsoft: the norm of input + skip (+ bias), and that sum.
template <bool centred> Results skipNorm(Node &n) {
  size_t biasOperand = centred ? 4 : 3;
  SmallVector<Value> terms{n[0], n[1]};
  if (n.has(biasOperand))
    terms.push_back(n[biasOperand]);
  Value sum = n.broadcast(n.element(n[0]), terms, [](B &b, ValueRange v) {
    Value total = v[0];
    for (Value term : v.drop_front())
      total = b.add(total, term);
    return total;
  });
  SmallVector<Value> results =
      normalize(n, sum, n[2], centred && n.has(3) ? n[3] : Value(),
                n.rank(n[0]) - 1, n.getFloat("epsilon", 1e-12), centred);
  results.push_back(sum);
  return {results};
}

} // namespace

void miura::onnxlower::addNorms(Table &t) {
  t["Softmax"] = softmax<false>;
  t["LogSoftmax"] = softmax<true>;
  t["LayerNormalization"] = norm<true>;
  t["RMSNormalization"] = norm<false>;
  t["SimplifiedLayerNormalization"] = norm<false>;
  t["com.microsoft::SimplifiedLayerNormalization"] = norm<false>;
  t["com.microsoft::SkipLayerNormalization"] = skipNorm<true>;
  t["com.microsoft::SkipSimplifiedLayerNormalization"] = skipNorm<false>;
}
