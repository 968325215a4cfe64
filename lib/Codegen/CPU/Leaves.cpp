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

FailureOr<std::vector<uint8_t>>
PanelLeaf::packAll(ArrayRef<PackOperand> sources, const IsaRow &row,
                   unsigned groups, Location loc) const {
  auto [rows, columns] = getShape(sources);
  PanelLayout layout = getLayout(row, groups);
  int64_t panels = getPanels(rows, row, groups);
  std::vector<uint8_t> out(layout.headerBytes +
                           panels * layout.panelBytes(columns));
  auto body = MutableArrayRef(out).drop_front(layout.headerBytes);
  if (failed(pack(sources, row, groups, 0, panels, body, loc)))
    return failure();
  return out;
}

namespace {
using LeafPtr = std::shared_ptr<PanelLeaf>;

int64_t getRank(Value value) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  return type ? type.getRank() : 0;
}

/// The leaf of `value`, whether it fits or not.
LeafPtr findLeaf(Value value) {
  Operation *op = value.getDefiningOp();
  if (!op || op->hasTrait<OpTrait::ConstantLike>())
    return DenseLeaf::get(value, getRank(value));
  auto leaf = dyn_cast<DecodableLeaf>(op);
  return leaf ? leaf.getPanelLeaf() : nullptr;
}

static Placement getPlacement(UnpruneOp op) {
  return {op.getFormat().str(),
          SmallVector<int64_t, 2>(op.getGroup().begin(), op.getGroup().end()),
          op.getIndex()};
}

/// A wider float type has the same values; a narrower one would round.
static Value skipWidening(Value value) {
  while (auto convert = value.getDefiningOp<ConvertOp>()) {
    auto from = cast<FloatType>(convert.getInput().getType().getElementType());
    auto to = cast<FloatType>(convert.getResult().getType().getElementType());
    if (from.getWidth() > to.getWidth() ||
        (from.getWidth() == to.getWidth() && from != to))
      break;
    value = convert.getInput();
  }
  return value;
}

/// Codes that are entries of a table, or those of a pruned weight.
static void describeCodes(CodeLeaf::Description &description) {
  Value codes = skipWidening(description.codes);
  if (auto lookup = codes.getDefiningOp<LookupOp>()) {
    // Vector codebooks have no panel.
    if (lookup.getCodes().getType().getShape() !=
        lookup.getResult().getType().getShape())
      return;
    auto codebook = lookup.getCodebook().getType();
    if (!codebook.isDynamicDim(1) && codebook.getDimSize(1) != 1)
      return;
    description.codes = lookup.getCodes();
    description.table = lookup.getCodebook();
  } else if (auto unprune = codes.getDefiningOp<UnpruneOp>()) {
    // Places without a code are those of zero, or there is no panel.
    if (unprune.getFill() != description.zeros ||
        (unprune.getFill() &&
         unprune.getFillBlock().take_back(2) !=
             ArrayRef<int64_t>{description.rowBlock, description.columnBlock}))
      return;
    description.codes = unprune.getValues();
    description.placement = getPlacement(unprune);
  }
}

struct WeightModel : DecodableLeaf::ExternalModel<WeightModel, WeightOp> {
  LeafPtr getPanelLeaf(Operation *op) const {
    return DenseLeaf::get(op->getResult(0), getRank(op->getResult(0)));
  }
};

struct DequantizeModel
    : DecodableLeaf::ExternalModel<DequantizeModel, DequantizeOp> {
  LeafPtr getPanelLeaf(Operation *op) const {
    auto dequantize = cast<DequantizeOp>(op);
    ArrayRef<int64_t> block = dequantize.getBlock();
    // Matrices of a batch have their own scales or share them all.
    if (block.size() < 2 || block.size() > 3 ||
        (block.size() == 3 && block[0] > 1))
      return nullptr;
    CodeLeaf::Description description{
        dequantize.getCodes(), dequantize.getScales(),
        dequantize.getZeros(), block[block.size() - 2],
        block.back(),          dequantize.getIsUnsigned()};
    description.rank = block.size();
    describeCodes(description);
    return CodeLeaf::get(description);
  }
};

/// Codes are looked up with no scale.
struct LookupModel : DecodableLeaf::ExternalModel<LookupModel, LookupOp> {
  LeafPtr getPanelLeaf(Operation *op) const {
    CodeLeaf::Description description{op->getResult(0), {}, {}, 0, 0, true};
    description.rank = getRank(op->getResult(0));
    describeCodes(description);
    return description.table ? CodeLeaf::get(description) : nullptr;
  }
};

/// Kept floats, or kept codes with their scales.
struct UnpruneModel : DecodableLeaf::ExternalModel<UnpruneModel, UnpruneOp> {
  LeafPtr getPanelLeaf(Operation *op) const {
    auto unprune = cast<UnpruneOp>(op);
    Placement placement = getPlacement(unprune);
    Value values = skipWidening(unprune.getValues());
    auto dequantize = values.getDefiningOp<DequantizeOp>();
    if (!dequantize)
      return values.getDefiningOp<WeightExpression>() &&
                     !values.getDefiningOp<WeightOp>()
                 ? nullptr
                 : DenseLeaf::get(values, getRank(op->getResult(0)), placement);
    // The code 0 has to stand for zero, and a block of kept columns for a block
    // of columns.
    ArrayRef<int64_t> block = dequantize.getBlock(), group = placement.group;
    int64_t rank = block.size();
    if (dequantize.getZeros() || !placement.isGroups() || rank < 2 ||
        rank > 3 || (rank == 3 && block[0] > 1) || block.back() % group[0] != 0)
      return nullptr;
    return CodeLeaf::get(
        {dequantize.getCodes(), dequantize.getScales(), Value(),
         block[rank - 2], block.back() / group[0] * group[1],
         dequantize.getIsUnsigned(), placement, Value(), rank});
  }
};

struct ConvertModel : DecodableLeaf::ExternalModel<ConvertModel, ConvertOp> {
  LeafPtr getPanelLeaf(Operation *op) const {
    Value input = skipWidening(op->getResult(0));
    return input == op->getResult(0) ? nullptr : findLeaf(input);
  }
};

struct TransposeModel
    : DecodableLeaf::ExternalModel<TransposeModel, TransposeOp> {
  LeafPtr getPanelLeaf(Operation *op) const {
    LeafPtr leaf = findLeaf(op->getOperand(0));
    return leaf ? leaf->transpose() : nullptr;
  }
};
} // namespace

std::shared_ptr<PanelLeaf> miura::codegen::getPanelLeaf(Value value,
                                                        bool isBatched) {
  LeafPtr leaf = findLeaf(value);
  if (!leaf || !leaf->fits() || leaf->isBatched() != isBatched)
    return nullptr;
  // Bytes that are stored, not what an expression makes of some.
  for (Value operand : leaf->getOperands())
    if (operand.getDefiningOp<WeightExpression>() &&
        !operand.getDefiningOp<WeightOp>())
      return nullptr;
  return leaf;
}

void miura::codegen::registerPanelLeaves(DialectRegistry &registry) {
  registry.addExtension(+[](MLIRContext *context, MiuraDialect *) {
    WeightOp::attachInterface<WeightModel>(*context);
    DequantizeOp::attachInterface<DequantizeModel>(*context);
    ConvertOp::attachInterface<ConvertModel>(*context);
    TransposeOp::attachInterface<TransposeModel>(*context);
    LookupOp::attachInterface<LookupModel>(*context);
    UnpruneOp::attachInterface<UnpruneModel>(*context);
  });
}
