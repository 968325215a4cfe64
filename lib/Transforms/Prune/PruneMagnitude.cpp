//===- PruneMagnitude.cpp - Drop the smallest weights ---------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Chooses what to keep from the value of a weight's expression, then sets the
/// zeros as far down in it as they can be set, where the values that are kept
/// are gathered. The choice itself is in lib/Compress.
///
//===----------------------------------------------------------------------===//

#include "miura/Compress/Prune.h"
#include "miura/Transforms/Lossy/RewriteWeights.h"
#include "miura/Transforms/Prune/Passes.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include <cmath>

using namespace mlir;
using namespace miura;
using namespace miura::compress;

namespace miura {
#define GEN_PASS_DEF_PRUNEMAGNITUDEPASS
#include "miura/Transforms/Prune/Passes.h.inc"
} // namespace miura

namespace {

/// What is pruned: one of the three formats of `miura.unprune`.
struct PrunePattern {
  double sparsity = 0;
  PruneScope scope = PruneScope::Row;
  int64_t n = 0, m = 0;                    ///< groups, where m > 0
  int64_t blockRows = 0, blockColumns = 0; ///< blocks, where > 0

  bool isGroups() const { return m > 0; }
  bool isBlocks() const { return blockRows > 0; }
  StringRef getFormat() const {
    return isGroups() ? "nm" : isBlocks() ? "block" : "bitmap";
  }
  SmallVector<int64_t> getGroup() const {
    if (isGroups())
      return {n, m};
    if (isBlocks())
      return {blockRows, blockColumns};
    return {};
  }
};

/// Which entries of a weight are kept: a flag for each, or for each block.
struct Mask {
  std::vector<uint8_t> kept;
  int64_t count = 0; ///< of flags that are set
  HostTensor index;  ///< as `miura.unprune` has it
};

/// Prunes one layer. Functions return the plan of a value, null where nothing
/// changes; `kept` is set where the layer must be kept, and `reason` where a
/// part of it was.
class TreePruner {
public:
  TreePruner(const PrunePattern &pattern, FileStore &files)
      : pattern(pattern), files(files) {}

  llvm::Expected<TreePlanPtr> prune(Value value, RankedTensorType type,
                                    const std::string &name);

  std::string kept, reason;
  bool anyFits = false; ///< whether anything was pruned or was so already

private:
  std::string getReasonNotToFit(RankedTensorType type) const;
  bool canMask(Value value) const;
  llvm::Expected<Mask> select(Value value, RankedTensorType type);
  llvm::Error selectFromTensor(Value value, RankedTensorType type, Mask &mask);
  void makeIndex(RankedTensorType type, Mask &mask) const;
  llvm::Expected<TreePlanPtr> apply(Value value, BlockFill fill,
                                    RankedTensorType type, const Mask &mask,
                                    const std::string &name);
  llvm::Expected<TreePlanPtr> gather(Value value, Type stored, BlockFill fill,
                                     RankedTensorType type, const Mask &mask,
                                     const std::string &name);
  bool isPrunedSo(Value value, const Mask &mask) const;

  const PrunePattern &pattern;
  FileStore &files;
};

struct PruneMagnitude : miura::impl::PruneMagnitudePassBase<PruneMagnitude> {
  using PruneMagnitudePassBase::PruneMagnitudePassBase;
  void runOnOperation() override;
  FailureOr<PrunePattern> readOptions();
};

} // namespace

//===----------------------------------------------------------------------===//
// What to keep
//===----------------------------------------------------------------------===//

std::string TreePruner::getReasonNotToFit(RankedTensorType type) const {
  std::string text;
  llvm::raw_string_ostream os(text);
  if (type.getRank() < 2) {
    os << "its weight is not a matrix but " << type;
    return text;
  }
  int64_t columns = type.getShape().back();
  int64_t rows = type.getDimSize(type.getRank() - 2);
  if (pattern.isGroups() && columns % pattern.m != 0)
    os << "a group of " << pattern.m << " does not divide its " << columns
       << " columns";
  else if (pattern.isBlocks() && (rows % pattern.blockRows != 0 ||
                                  columns % pattern.blockColumns != 0))
    os << "blocks of " << pattern.blockRows << " x " << pattern.blockColumns
       << " do not divide its " << rows << " rows and " << columns
       << " columns";
  return text;
}

/// The three passes over all values of a tensor.
llvm::Error TreePruner::selectFromTensor(Value value, RankedTensorType type,
                                         Mask &mask) {
  MagnitudeSelection selection(
      getPrunedCount(pattern.sparsity, type.getNumElements()));
  int64_t columns = type.getShape().back();
  for (int pass = 0; pass < 3; ++pass)
    if (llvm::Error error = forEachRow(value, [&](int64_t row,
                                                  ArrayRef<float> values) {
          if (pass == 0)
            selection.countHigh(values);
          else if (pass == 1)
            selection.countLow(values);
          else
            selection.select(values, MutableArrayRef<uint8_t>(mask.kept).slice(
                                         row * columns, columns));
          return llvm::Error::success();
        }))
      return error;
  return llvm::Error::success();
}

llvm::Expected<Mask> TreePruner::select(Value value, RankedTensorType type) {
  int64_t columns = type.getShape().back();
  int64_t rows = type.getNumElements() / columns;
  Mask mask;
  bool isFinite = true;
  int64_t across = pattern.isBlocks() ? columns / pattern.blockColumns : 0;
  std::vector<double> sums;
  if (pattern.isBlocks())
    sums.resize(rows / pattern.blockRows * across);
  else
    mask.kept.resize(rows * columns);
  if (llvm::Error error = forEachRow(value, [&](int64_t row,
                                                ArrayRef<float> values) {
        for (float number : values)
          isFinite &= std::isfinite(number);
        if (pattern.isBlocks()) {
          addBlockSquares(values, pattern.blockColumns,
                          MutableArrayRef<double>(sums).slice(
                              row / pattern.blockRows * across, across));
          return llvm::Error::success();
        }
        auto flags =
            MutableArrayRef<uint8_t>(mask.kept).slice(row * columns, columns);
        if (pattern.isGroups())
          selectGroups(values, pattern.n, pattern.m, flags);
        else if (pattern.scope == PruneScope::Row)
          // Counts differ by one at most, and their sum is exact.
          selectLargest(values,
                        getPrunedCount(pattern.sparsity, (row + 1) * columns) -
                            getPrunedCount(pattern.sparsity, row * columns),
                        flags);
        return llvm::Error::success();
      }))
    return error;
  if (!isFinite) {
    kept = "its weight has a value that is not finite";
    return mask;
  }
  if (pattern.isBlocks()) {
    mask.kept.resize(sums.size());
    selectLargest(ArrayRef<double>(sums),
                  getPrunedCount(pattern.sparsity, sums.size()), mask.kept);
  } else if (!pattern.isGroups() && pattern.scope == PruneScope::Tensor) {
    if (llvm::Error error = selectFromTensor(value, type, mask))
      return error;
  }
  mask.count = llvm::count(mask.kept, 1);
  makeIndex(type, mask);
  return mask;
}

void TreePruner::makeIndex(RankedTensorType type, Mask &mask) const {
  MLIRContext *context = type.getContext();
  SmallVector<int64_t> shape(type.getShape());
  int64_t last = shape.size() - 1;
  HostTensor &index = mask.index;
  if (pattern.isGroups()) {
    shape[last] = shape[last] / pattern.m * pattern.n;
    // An i1 is a boolean, and takes a byte.
    unsigned bits = std::max(2u, llvm::Log2_64_Ceil(pattern.m));
    index.type = RankedTensorType::get(shape, IntegerType::get(context, bits));
    index.ints.reserve(index.getNumElements());
    for (auto [i, flag] : llvm::enumerate(mask.kept))
      if (flag)
        index.ints.push_back((int32_t)(i % pattern.m));
    return;
  }
  if (pattern.isBlocks()) {
    shape[last - 1] /= pattern.blockRows;
    shape[last] /= pattern.blockColumns;
  }
  int64_t columns = shape[last], bytes = llvm::divideCeil(columns, 8);
  shape[last] = bytes;
  index.type = RankedTensorType::get(shape, IntegerType::get(context, 8));
  std::vector<uint8_t> packed(bytes);
  for (size_t first = 0; first < mask.kept.size(); first += columns) {
    packFlags(ArrayRef<uint8_t>(mask.kept).slice(first, columns), packed);
    for (uint8_t byte : packed)
      index.ints.push_back((int8_t)byte);
  }
}

//===----------------------------------------------------------------------===//
// Setting the zeros
//===----------------------------------------------------------------------===//

/// Whether zeros can be set in the tree of `value`: down to one tensor, or to
/// one that is pruned already.
bool TreePruner::canMask(Value value) const {
  if (getWeightSource(value).leaf)
    return true;
  auto op = value.getDefiningOp<WeightExpression>();
  if (!op)
    return false;
  if (op.placesWeights())
    return getWeightSource(op->getOperand(0)).leaf;
  std::optional<unsigned> masked = op.getMaskedOperand();
  return masked && canMask(op->getOperand(*masked));
}

/// Whether `value` is what `mask` would make of it.
bool TreePruner::isPrunedSo(Value value, const Mask &mask) const {
  auto op = value.getDefiningOp<UnpruneOp>();
  if (!op || op.getFormat() != pattern.getFormat() ||
      op.getGroup() != ArrayRef<int64_t>(pattern.getGroup()) ||
      op.getIndex().getType() != mask.index.type)
    return false;
  auto index = evaluateExpression(op.getIndex());
  if (failed(index))
    return false;
  // Indices may be wider than their type's sign says.
  uint32_t bits = (uint32_t)llvm::maskTrailingOnes<uint64_t>(
      mask.index.type.getElementTypeBitWidth());
  return llvm::equal(index->ints, mask.index.ints, [&](int32_t a, int32_t b) {
    return ((uint32_t)a & bits) == ((uint32_t)b & bits);
  });
}

/// The kept values of `value`, stored as `stored`, and the op that places them
/// among those of `fill`.
llvm::Expected<TreePlanPtr> TreePruner::gather(Value value, Type stored,
                                               BlockFill fill,
                                               RankedTensorType type,
                                               const Mask &mask,
                                               const std::string &name) {
  int64_t columns = type.getShape().back();
  int64_t height = pattern.isBlocks() ? pattern.blockRows : 1;
  int64_t width = pattern.isBlocks() ? pattern.blockColumns : 1;
  HostTensor values;
  if (pattern.isGroups())
    values.type = RankedTensorType::get(mask.index.type.getShape(), stored);
  else if (pattern.isBlocks())
    values.type = RankedTensorType::get({mask.count, height, width}, stored);
  else
    values.type = RankedTensorType::get({mask.count}, stored);
  bool isFloat = values.isFloat();
  if (isFloat)
    values.floats.resize(values.getNumElements());
  else
    values.ints.resize(values.getNumElements());

  // The place of each kept block's first value; single weights are blocks of
  // one.
  int64_t across = columns / width;
  std::vector<int64_t> places(across);
  int64_t next = 0;
  if (llvm::Error error = forEachSlice(
          value, [&](int64_t first, const HostTensor &slice) -> llvm::Error {
            int64_t size = type.getNumElements() / type.getDimSize(0);
            int64_t start = first * size / columns;
            int64_t rows = slice.getNumElements() / columns;
            for (int64_t r = 0; r < rows; ++r) {
              int64_t row = start + r;
              if (row % height == 0)
                for (int64_t b = 0; b < across; ++b) {
                  bool flag = mask.kept[row / height * across + b];
                  places[b] = flag ? next : -1;
                  next += flag ? height * width : 0;
                }
              for (int64_t c = 0; c < columns; ++c) {
                int64_t place = places[c / width];
                if (place < 0)
                  continue;
                place += row % height * width + c % width;
                if (isFloat)
                  values.floats[place] = slice.floats[r * columns + c];
                else
                  values.ints[place] = slice.ints[r * columns + c];
              }
            }
            return llvm::Error::success();
          }))
    return error;

  bool isSmall =
      getStoredBytes(values.type) + getStoredBytes(mask.index.type) <=
      kInlineBytes;
  auto storedValues = storeTensor(files, values, isSmall);
  if (!storedValues)
    return storedValues.takeError();
  auto storedIndex = storeTensor(files, mask.index, isSmall);
  if (!storedIndex)
    return storedIndex.takeError();
  std::vector<TreePlanPtr> operands{
      TreePlan::leaf(name + (isFloat ? ".values" : ""),
                     std::move(*storedValues)),
      TreePlan::leaf(name + ".index", std::move(*storedIndex))};
  std::string format = pattern.getFormat().str();
  SmallVector<int64_t> group = pattern.getGroup(), block;
  if (fill.numbers) {
    operands.push_back(TreePlan::keep(fill.numbers));
    block.assign(fill.block.begin(), fill.block.end());
  }
  return TreePlan::make(
      [=](OpBuilder &builder, Location loc, ArrayRef<Value> built) -> Value {
        return UnpruneOp::create(builder, loc, type, built[0], built[1],
                                 built.size() > 2 ? built[2] : Value(), format,
                                 group, block);
      },
      std::move(operands));
}

/// `value`, of which canMask is true, with the zeros of `mask`; `fill` is what
/// stands for zero in it.
llvm::Expected<TreePlanPtr> TreePruner::apply(Value value, BlockFill fill,
                                              RankedTensorType type,
                                              const Mask &mask,
                                              const std::string &name) {
  if (WeightSource source = getWeightSource(value); source.leaf)
    return gather(value, source.getElementType(), fill, type, mask,
                  getLeafName(value, name));
  auto op = value.getDefiningOp<WeightExpression>();
  if (op.placesWeights()) {
    if (isPrunedSo(value, mask))
      return TreePlanPtr();
    Value values = op->getOperand(0);
    std::string leafName = getLeafName(values, name);
    StringRef stem = leafName;
    stem.consume_back(".values");
    return gather(value, getWeightSource(values).getElementType(), fill, type,
                  mask, stem.str());
  }
  unsigned masked = *op.getMaskedOperand();
  std::vector<TreePlanPtr> operands;
  for (Value operand : op->getOperands())
    operands.push_back(TreePlan::keep(operand));
  Value operand = op->getOperand(masked);
  auto plan = apply(operand, op.getMaskFill(),
                    cast<RankedTensorType>(operand.getType()), mask,
                    getLeafName(operand, name));
  if (!plan || !*plan)
    return plan;
  operands[masked] = std::move(*plan);
  return TreePlan::remake(op, type, std::move(operands));
}

llvm::Expected<TreePlanPtr>
TreePruner::prune(Value value, RankedTensorType type, const std::string &name) {
  if (canMask(value)) {
    reason = getReasonNotToFit(type);
    if (!reason.empty())
      return TreePlanPtr();
    auto mask = select(value, type);
    if (!mask)
      return mask.takeError();
    if (!kept.empty())
      return TreePlanPtr();
    anyFits = true;
    return apply(value, /*fill=*/{}, type, *mask, name);
  }
  auto op = value.getDefiningOp<WeightExpression>();
  if (!op || op.placesWeights() || op.getWeightOperands().empty()) {
    llvm::raw_string_ostream(reason)
        << "zeros cannot be set in its expression ('"
        << (op ? op->getName().getStringRef() : StringRef("an argument"))
        << "'); prune the original";
    return TreePlanPtr();
  }
  return planOperands(
      op, type, name, kept, [&](Value operand, const std::string &leaf) {
        return prune(operand, cast<RankedTensorType>(operand.getType()), leaf);
      });
}

//===----------------------------------------------------------------------===//
// The pass
//===----------------------------------------------------------------------===//

FailureOr<PrunePattern> PruneMagnitude::readOptions() {
  auto fail = [&]() {
    return getOperation().emitError("miura-prune-magnitude: ");
  };
  PrunePattern pattern;
  if (n != 0 || m != 0) {
    if (m < 2 || m > 256 || n < 1 || n >= m)
      return fail() << "n must be 1 to m - 1 and m 2 to 256, but got n = "
                    << (int64_t)n << " and m = " << (int64_t)m;
    if (sparsity.hasValue() || !block.empty())
      return fail() << "n and m say how much is dropped; give neither sparsity "
                       "nor block with them";
    pattern.n = n;
    pattern.m = m;
    return pattern;
  }
  // Not a number fails both comparisons.
  if (!(sparsity > 0 && sparsity < 1))
    return fail() << "sparsity must be above 0 and below 1, but got "
                  << (double)sparsity;
  pattern.sparsity = sparsity;
  pattern.scope = scope;
  if (block.empty())
    return pattern;
  if (block.size() != 2 || block[0] < 1 || block[1] < 1)
    return fail() << "block must be two positive numbers, rows and columns";
  if (scope.hasValue() && scope == PruneScope::Row)
    return fail() << "blocks are chosen among all of a weight; scope=row is "
                     "for single weights";
  pattern.blockRows = block[0];
  pattern.blockColumns = block[1];
  return pattern;
}

void PruneMagnitude::runOnOperation() {
  FailureOr<PrunePattern> pattern = readOptions();
  if (failed(pattern))
    return signalPassFailure();
  LossyRewrite rewrite;
  rewrite.pass = "miura-prune-magnitude";
  rewrite.verb = "prune";
  llvm::raw_string_ostream scheme(rewrite.scheme);
  if (pattern->isGroups())
    scheme << pattern->n << ":" << pattern->m;
  else
    scheme << "a sparsity of " << pattern->sparsity;
  if (pattern->isBlocks())
    scheme << " in blocks of " << pattern->blockRows << " x "
           << pattern->blockColumns;
  rewrite.include = include;
  rewrite.exclude = exclude;
  rewrite.compute = [&](Layer &layer,
                        FileStore &files) -> llvm::Expected<LayerResult> {
    TreePruner pruner(*pattern, files);
    auto plan = pruner.prune(layer.tree, layer.type, layer.name);
    if (!plan)
      return plan.takeError();
    if (!pruner.kept.empty())
      return LayerResult::keep(pruner.kept);
    if (!pruner.anyFits)
      return LayerResult::keep(pruner.reason);
    return LayerResult{std::move(*plan), ""};
  };
  if (failed(rewriteWeights(getOperation(), rewrite)))
    signalPassFailure();
}
