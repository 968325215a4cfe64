//===- SinkTakeLast.cpp - The last position, as early as possible ---------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Moves miura.take_last before ops that work on every position alone. Exact:
/// such an op gives the same for a position whether others are there or not.
///
//===----------------------------------------------------------------------===//

#include "miura/Dialect/Miura/Transforms/Passes.h"
#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;
using namespace miura;

namespace {

/// The same tensor type with one position.
static RankedTensorType withOnePosition(Type type) {
  auto tensor = cast<RankedTensorType>(type);
  SmallVector<int64_t> shape(tensor.getShape());
  shape[1] = 1;
  return RankedTensorType::get(shape, tensor.getElementType());
}

struct SinkTakeLast : OpRewritePattern<TakeLastOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(TakeLastOp op,
                                PatternRewriter &rewriter) const override {
    Operation *producer = op.getInput().getDefiningOp();
    if (!producer || !producer->hasOneUse())
      return rewriter.notifyMatchFailure(op, "the input has other uses");
    // Which operands run over positions: the input of a linear or a norm, all
    // operands of an elementwise op.
    SmallVector<unsigned> places;
    if (isa<LinearOp, RmsNormOp, LayerNormOp, SiluOp, GeluOp, FakeQuantizeOp>(
            producer))
      places = {0};
    else if (producer->hasTrait<OpTrait::Elementwise>() && isPure(producer))
      for (unsigned i = 0; i < producer->getNumOperands(); ++i)
        places.push_back(i);
    if (places.empty() || producer->getNumResults() != 1)
      return rewriter.notifyMatchFailure(op, "the input mixes positions");
    for (unsigned place : places) {
      auto type =
          dyn_cast<RankedTensorType>(producer->getOperand(place).getType());
      if (!type || type.getRank() != 3)
        return rewriter.notifyMatchFailure(
            op, "an operand is not batch x sequence x size");
    }
    IRMapping mapping;
    rewriter.setInsertionPoint(op);
    for (unsigned place : places) {
      Value operand = producer->getOperand(place);
      if (!mapping.contains(operand))
        mapping.map(operand,
                    TakeLastOp::create(rewriter, op.getLoc(),
                                       withOnePosition(operand.getType()),
                                       operand, op.getCounts()));
    }
    Operation *clone = rewriter.clone(*producer, mapping);
    rewriter.modifyOpInPlace(
        clone, [&] { clone->getResult(0).setType(op.getResult().getType()); });
    rewriter.replaceOp(op, clone);
    return success();
  }
};

} // namespace

void miura::populateSinkTakeLastPatterns(RewritePatternSet &patterns) {
  patterns.add<SinkTakeLast>(patterns.getContext());
}
