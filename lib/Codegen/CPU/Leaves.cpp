//===- Leaves.cpp - Panel leaves attached to ops --------------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// External models of DecodableLeaf. This is the one place that knows which op
/// has which panel; a new leaf op adds a model here and nothing elsewhere.
///
//===----------------------------------------------------------------------===//

#include "Leaves.h"
#include "miura/Dialect/Miura/IR/MiuraDialect.h"

using namespace mlir;
using namespace miura;
using namespace miura::codegen;

PanelLeaf::~PanelLeaf() = default;

namespace {
using LeafPtr = std::shared_ptr<PanelLeaf>;

/// The leaf of `value`, whether it fits or not.
LeafPtr findLeaf(Value value) {
  Operation *op = value.getDefiningOp();
  if (!op)
    return DenseLeaf::get(value);
  auto leaf = dyn_cast<DecodableLeaf>(op);
  return leaf ? leaf.getPanelLeaf() : nullptr;
}

struct WeightModel : DecodableLeaf::ExternalModel<WeightModel, WeightOp> {
  LeafPtr getPanelLeaf(Operation *op) const {
    return DenseLeaf::get(op->getResult(0));
  }
};

struct DequantizeModel
    : DecodableLeaf::ExternalModel<DequantizeModel, DequantizeOp> {
  LeafPtr getPanelLeaf(Operation *op) const {
    auto dequantize = cast<DequantizeOp>(op);
    if (dequantize.getBlock().size() != 2)
      return nullptr;
    return CodeLeaf::get({dequantize.getCodes(), dequantize.getScales(),
                          dequantize.getZeros(), dequantize.getBlock()[0],
                          dequantize.getBlock()[1],
                          dequantize.getIsUnsigned()});
  }
};

/// A wider float type has the same values; a narrower one would round.
struct ConvertModel : DecodableLeaf::ExternalModel<ConvertModel, ConvertOp> {
  LeafPtr getPanelLeaf(Operation *op) const {
    auto convert = cast<ConvertOp>(op);
    auto from = cast<FloatType>(convert.getInput().getType().getElementType());
    auto to = cast<FloatType>(convert.getResult().getType().getElementType());
    if (from.getWidth() > to.getWidth() ||
        (from.getWidth() == to.getWidth() && from != to))
      return nullptr;
    return findLeaf(convert.getInput());
  }
};

struct TransposeModel
    : DecodableLeaf::ExternalModel<TransposeModel, TransposeOp> {
  LeafPtr getPanelLeaf(Operation *op) const {
    LeafPtr leaf = findLeaf(op->getOperand(0));
    return leaf ? leaf->transpose() : nullptr;
  }
};

/// Leaves that have no panel yet.
template <typename Op>
struct NoModel : DecodableLeaf::ExternalModel<NoModel<Op>, Op> {
  LeafPtr getPanelLeaf(Operation *) const { return nullptr; }
};
} // namespace

std::shared_ptr<PanelLeaf> miura::codegen::getPanelLeaf(Value value) {
  LeafPtr leaf = findLeaf(value);
  return leaf && leaf->fits() ? leaf : nullptr;
}

void miura::codegen::registerPanelLeaves(DialectRegistry &registry) {
  registry.addExtension(+[](MLIRContext *context, MiuraDialect *) {
    WeightOp::attachInterface<WeightModel>(*context);
    DequantizeOp::attachInterface<DequantizeModel>(*context);
    ConvertOp::attachInterface<ConvertModel>(*context);
    TransposeOp::attachInterface<TransposeModel>(*context);
    LookupOp::attachInterface<NoModel<LookupOp>>(*context);
    UnpruneOp::attachInterface<NoModel<UnpruneOp>>(*context);
  });
}
