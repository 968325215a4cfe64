//===- ExpandEmbeddings.cpp - Embeddings of sums and products -------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The pass miura-expand-embeddings: WeightExpression::pickRows down to the
/// leaves, so that an embedding's kernel knows one leaf. No op of an expression
/// is named.
///
//===----------------------------------------------------------------------===//

#include "miura/Dialect/Miura/IR/MiuraDialect.h"
#include "miura/Dialect/Miura/Transforms/Passes.h"
#include "mlir/Dialect/Arith/IR/Arith.h"

namespace miura {
#define GEN_PASS_DEF_EXPANDEMBEDDINGSPASS
#include "miura/Dialect/Miura/Transforms/Passes.h.inc"
} // namespace miura

using namespace mlir;
using namespace miura;

namespace {
struct ExpandEmbeddings
    : miura::impl::ExpandEmbeddingsPassBase<ExpandEmbeddings> {
  using ExpandEmbeddingsPassBase::ExpandEmbeddingsPassBase;

  void runOnOperation() override {
    SmallVector<EmbeddingOp> embeddings;
    getOperation()->walk([&](EmbeddingOp op) { embeddings.push_back(op); });
    for (EmbeddingOp op : embeddings) {
      OpBuilder builder(op);
      Value rows = pick(builder, op, op.getWeight());
      if (rows.getDefiningOp() == op)
        continue;
      op.getResult().replaceAllUsesWith(rows);
      op.erase();
    }
  }

  /// Rows of `weight` at the indices of `op`.
  static Value pick(OpBuilder &builder, EmbeddingOp op, Value weight) {
    auto type = op.getResult().getType();
    auto withSize = [&](int64_t size) {
      SmallVector<int64_t> shape(type.getShape());
      shape.back() = size;
      return type.clone(shape);
    };
    auto linear = [&](Value input, Value by) -> Value {
      auto f32 = builder.getF32Type();
      return LinearOp::create(
          builder, op.getLoc(),
          withSize(cast<RankedTensorType>(by.getType()).getDimSize(0)), input,
          by, /*bias=*/Value(), op.getIdAttr(),
          ComputeAttr::get(builder.getContext(), f32, f32, 0));
    };
    auto rows = [&](Value child) { return pick(builder, op, child); };
    if (auto expression = weight.getDefiningOp<WeightExpression>())
      if (Value value = expression.pickRows(builder, rows, linear))
        return value;
    if (weight == op.getWeight())
      return op.getResult();
    return EmbeddingOp::create(
        builder, op.getLoc(),
        withSize(cast<RankedTensorType>(weight.getType()).getDimSize(1)),
        op.getIndices(), weight, op.getIdAttr());
  }
};
} // namespace
