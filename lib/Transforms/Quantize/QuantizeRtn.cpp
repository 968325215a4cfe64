//===- QuantizeRtn.cpp - Round weights to the nearest level ---------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Goes down a weight's expression to the floating-point weights in it and
/// gives each codes and scales. Rows are read some at a time and codes written
/// straight into the store, so the largest weight costs a few megabytes. The
/// mathematics is in lib/Compress.
///
//===----------------------------------------------------------------------===//

#include "miura/Compress/Pack.h"
#include "miura/Support/Half.h"
#include "miura/Transforms/Certificates/Certify.h"
#include "miura/Transforms/Lossy/RewriteWeights.h"
#include "miura/Transforms/Quantize/Passes.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include <cmath>
#include <limits>

using namespace mlir;
using namespace miura;
using namespace miura::compress;

namespace miura {
#define GEN_PASS_DEF_QUANTIZERTNPASS
#include "miura/Transforms/Quantize/Passes.h.inc"
} // namespace miura

/// Below this many columns scales take as much as codes.
static constexpr int64_t kLeastBlock = 8;

namespace {

/// Quantizes one layer. Functions return the plan of a value, null where there
/// is nothing to quantize; `kept` is set where the layer must be kept.
class TreeQuantizer {
public:
  TreeQuantizer(Layer &layer, QuantizerOptions options, int64_t blockSize,
                double maxGrowth, FileStore &files)
      : layer(layer), options(options), blockSize(blockSize),
        maxGrowth(maxGrowth), files(files) {}

  llvm::Expected<TreePlanPtr> quantize(Value value, RankedTensorType type,
                                       const std::string &name);

  std::string kept;

private:
  struct QuantizedRow {
    int64_t row;
    ArrayRef<float> values;
    ArrayRef<uint8_t> codes;
    ArrayRef<Grid> grids; ///< one per block
  };
  using WriteRow = llvm::function_ref<llvm::Error(const QuantizedRow &)>;
  /// Scales and, where there are any, zeros.
  struct Grids {
    std::optional<TensorWriter> scales, zeros;
  };

  llvm::Expected<TreePlanPtr> quantizeLeaf(Value value, RankedTensorType type,
                                           const std::string &name);
  llvm::Expected<TreePlanPtr> quantizePlaced(Value value, RankedTensorType type,
                                             const std::string &name);
  llvm::Expected<TreePlanPtr> quantizeAt(const HostTensor &places, Value value,
                                         RankedTensorType type,
                                         const std::string &name,
                                         double &growth);
  llvm::Error quantizeRows(Value value, Grids &grids, WriteRow writeRow);
  llvm::Error writeGrids(ArrayRef<Grid> values, Grids &grids);
  /// `codes` makes the plan of the codes from that of the zeros.
  llvm::Expected<TreePlanPtr>
  dequantize(llvm::function_ref<TreePlanPtr(TreePlanPtr)> codes, Grids &grids,
             RankedTensorType type, const std::string &name);
  /// All dimensions but the last have a scale per entry; 0 is a whole
  /// dimension.
  SmallVector<int64_t> getBlock(RankedTensorType type) const {
    SmallVector<int64_t> block(type.getRank(), isPerTensor() ? 0 : 1);
    block.back() = isPerTensor() ? 0 : blockSize;
    return block;
  }

  bool isPerTensor() const { return blockSize < 0; }
  int64_t getBlocks(int64_t columns) const {
    return blockSize > 0 ? llvm::divideCeil(columns, blockSize) : 1;
  }
  int64_t getScaleBytes() const {
    return options.scaleType == ScaleType::F16 ? 2 : 4;
  }
  /// The shape of the scales of a weight.
  SmallVector<int64_t> getScaleShape(RankedTensorType type) const;
  Grids startGrids(RankedTensorType type, int64_t codeBytes, bool &isSmall);
  void keep(FitResult result) {
    kept = result == FitResult::NotFinite
               ? "its weight has a value that is not finite"
               : "a scale is too large for f16; choose scale-type=f32";
  }

  Layer &layer;
  QuantizerOptions options;
  int64_t blockSize;
  double maxGrowth;
  FileStore &files;
};

struct QuantizeRtn : miura::impl::QuantizeRtnPassBase<QuantizeRtn> {
  using QuantizeRtnPassBase::QuantizeRtnPassBase;
  void runOnOperation() override;
  LogicalResult checkOptions();
  llvm::Expected<LayerResult> compute(Layer &layer, FileStore &files) const;
};

} // namespace

//===----------------------------------------------------------------------===//
// One weight
//===----------------------------------------------------------------------===//

SmallVector<int64_t> TreeQuantizer::getScaleShape(RankedTensorType type) const {
  SmallVector<int64_t> shape(type.getShape());
  if (isPerTensor())
    shape.assign(shape.size(), 1);
  else
    shape.back() = getBlocks(shape.back());
  return shape;
}

TreeQuantizer::Grids TreeQuantizer::startGrids(RankedTensorType type,
                                               int64_t codeBytes,
                                               bool &isSmall) {
  Builder builder(type.getContext());
  Type scale = options.scaleType == ScaleType::F16 ? (Type)builder.getF16Type()
                                                   : (Type)builder.getF32Type();
  auto scales = RankedTensorType::get(getScaleShape(type), scale);
  auto zeros = RankedTensorType::get(getScaleShape(type),
                                     builder.getIntegerType(options.bits));
  isSmall = codeBytes + getStoredBytes(scales) +
                (options.symmetric ? 0 : getStoredBytes(zeros)) <=
            kInlineBytes;
  Grids grids;
  grids.scales.emplace(files, scales, isSmall);
  if (!options.symmetric)
    grids.zeros.emplace(files, zeros, isSmall);
  return grids;
}

llvm::Error TreeQuantizer::writeGrids(ArrayRef<Grid> values, Grids &grids) {
  int64_t size = getScaleBytes();
  std::vector<uint8_t> bytes(values.size() * size), codes(values.size());
  for (auto [i, grid] : llvm::enumerate(values)) {
    uint16_t half = floatToHalf(grid.scale);
    uint32_t single = floatToBits(grid.scale);
    memcpy(&bytes[i * size],
           size == 2 ? (const void *)&half : (const void *)&single, size);
    codes[i] = (uint8_t)grid.zero;
  }
  if (llvm::Error error = grids.scales->write(bytes))
    return error;
  if (!grids.zeros)
    return llvm::Error::success();
  std::vector<uint8_t> packed(getPackedRowBytes(codes.size(), options.bits));
  packRow(codes, options.bits, packed);
  return grids.zeros->write(packed);
}

/// Fits grids and encodes, row by row. Stops quietly where `kept` is set.
llvm::Error TreeQuantizer::quantizeRows(Value value, Grids &grids,
                                        WriteRow writeRow) {
  int64_t columns = cast<RankedTensorType>(value.getType()).getShape().back();
  std::vector<Grid> fitted(isPerTensor() ? 1 : getBlocks(columns));
  if (isPerTensor()) {
    float least = 0, greatest = 0;
    if (llvm::Error error =
            forEachRow(value, [&](int64_t, ArrayRef<float> values) {
              for (float number : values) {
                // A NaN must reach the check, and comparisons drop it.
                if (std::isnan(number))
                  greatest = std::numeric_limits<float>::infinity();
                least = std::min(least, number);
                greatest = std::max(greatest, number);
              }
              return llvm::Error::success();
            }))
      return error;
    FitResult result = fitGridToRange(least, greatest, options, fitted[0]);
    if (result != FitResult::Fitted) {
      keep(result);
      return llvm::Error::success();
    }
    if (llvm::Error error = writeGrids(fitted, grids))
      return error;
  }
  std::vector<uint8_t> codes(columns);
  return forEachRow(
      value, [&](int64_t row, ArrayRef<float> values) -> llvm::Error {
        if (!kept.empty())
          return llvm::Error::success();
        if (isPerTensor()) {
          encode(values, options, fitted[0], codes);
        } else {
          FitResult result =
              quantizeRow(values, blockSize, options, codes, fitted);
          if (result != FitResult::Fitted) {
            keep(result);
            return llvm::Error::success();
          }
          if (llvm::Error error = writeGrids(fitted, grids))
            return error;
        }
        return writeRow({row, values, codes, fitted});
      });
}

llvm::Expected<TreePlanPtr>
TreeQuantizer::dequantize(llvm::function_ref<TreePlanPtr(TreePlanPtr)> codes,
                          Grids &grids, RankedTensorType type,
                          const std::string &name) {
  auto scales = grids.scales->finish();
  if (!scales)
    return scales.takeError();
  TreePlanPtr zeros;
  if (grids.zeros) {
    auto stored = grids.zeros->finish();
    if (!stored)
      return stored.takeError();
    zeros = TreePlan::leaf(name + ".zeros", std::move(*stored));
  }
  std::vector<TreePlanPtr> operands{
      codes(zeros), TreePlan::leaf(name + ".scales", std::move(*scales))};
  if (zeros)
    operands.push_back(std::move(zeros));
  SmallVector<int64_t> block = getBlock(type);
  bool isUnsigned = !options.symmetric;
  return TreePlan::make(
      [=](OpBuilder &builder, Location loc, ArrayRef<Value> values) -> Value {
        return DequantizeOp::create(builder, loc, type, values[0], values[1],
                                    values.size() > 2 ? values[2] : Value(),
                                    block, isUnsigned);
      },
      std::move(operands));
}

llvm::Expected<TreePlanPtr>
TreeQuantizer::quantizeLeaf(Value value, RankedTensorType type,
                            const std::string &name) {
  auto codeType = type.clone(IntegerType::get(type.getContext(), options.bits));
  bool isSmall;
  Grids grids = startGrids(type, getStoredBytes(codeType), isSmall);
  TensorWriter codes(files, codeType, isSmall);
  std::vector<uint8_t> packed(
      getPackedRowBytes(type.getShape().back(), options.bits));
  if (llvm::Error error =
          quantizeRows(value, grids, [&](const QuantizedRow &row) {
            packRow(row.codes, options.bits, packed);
            return codes.write(packed);
          }))
    return error;
  if (!kept.empty())
    return TreePlanPtr();
  auto stored = codes.finish();
  if (!stored)
    return stored.takeError();
  return dequantize(
      [&](TreePlanPtr) {
        return TreePlan::leaf(name + ".codes", std::move(*stored));
      },
      grids, type, name);
}

namespace {
/// Sums the errors, against the original, of a weight before and after it is
/// quantized; rows come in order.
class GrowthMeter {
public:
  explicit GrowthMeter(Layer &layer)
      : layer(layer), original(getOriginal(layer.root)) {}

  llvm::Error add(int64_t row, ArrayRef<float> before, ArrayRef<float> after) {
    int64_t columns = before.size();
    if (row == 0 || row >= first + count) {
      first = row;
      count = std::min<int64_t>(64, layer.getRows() - row);
      auto read = readWeightRows(original, layer.transposed, first, count);
      if (failed(read))
        return llvm::createStringError("the original cannot be read");
      exact = std::move(read->floats);
    }
    auto values =
        ArrayRef<float>(exact).slice((row - first) * columns, columns);
    sums[0].add(values, before);
    sums[1].add(values, after);
    return llvm::Error::success();
  }
  double get() const { return std::sqrt(sums[1].error / sums[0].error); }

private:
  Layer &layer;
  WeightDataOp original;
  int64_t first = 0, count = 0;
  std::vector<float> exact;
  ErrorSums sums[2];
};
} // namespace

/// The number that each entry of `op`'s result has where the op places the
/// numbers 1, 2, 3 …
static llvm::Expected<HostTensor> getPlaces(WeightExpression op) {
  auto values = cast<RankedTensorType>(op->getOperand(0).getType());
  SmallVector<HostTensor> operands(op->getNumOperands());
  operands[0].type = values.clone(IntegerType::get(op.getContext(), 32));
  operands[0].ints.resize(values.getNumElements());
  for (auto [i, place] : llvm::enumerate(operands[0].ints))
    place = (int32_t)i + 1;
  for (unsigned i = 1; i < op->getNumOperands(); ++i) {
    auto operand = evaluateExpression(op->getOperand(i));
    if (failed(operand))
      return llvm::createStringError("the weight cannot be read");
    operands[i] = std::move(*operand);
  }
  auto places = op.evaluate(operands);
  if (failed(places))
    return llvm::createStringError("the weight cannot be read");
  return std::move(*places);
}

/// Quantizes the values that the op of `value` places at `places`. Sets
/// `growth` where `value` is all of an approximated layer.
llvm::Expected<TreePlanPtr> TreeQuantizer::quantizeAt(const HostTensor &places,
                                                      Value value,
                                                      RankedTensorType type,
                                                      const std::string &name,
                                                      double &growth) {
  auto op = value.getDefiningOp<WeightExpression>();
  Type code = IntegerType::get(type.getContext(), options.bits);
  HostTensor codes;
  codes.type = cast<RankedTensorType>(op->getOperand(0).getType()).clone(code);
  codes.ints.resize(codes.getNumElements());
  bool isSmall;
  Grids grids = startGrids(type, getStoredBytes(codes.type), isSmall);
  int64_t columns = type.getShape().back();
  std::optional<GrowthMeter> meter;
  if (maxGrowth > 0 && blockSize > 0 && value == layer.tree && layer.root &&
      type.getRank() == 2)
    meter.emplace(layer);
  std::vector<float> decoded(columns);
  if (llvm::Error error = quantizeRows(
          value, grids, [&](const QuantizedRow &row) -> llvm::Error {
            for (int64_t c = 0; c < columns; ++c)
              if (int32_t place = places.ints[row.row * columns + c])
                codes.ints[place - 1] = row.codes[c];
            if (!meter)
              return llvm::Error::success();
            for (int64_t first = 0, b = 0; first < columns;
                 first += blockSize, ++b) {
              size_t size = std::min(blockSize, columns - first);
              decode(row.codes.slice(first, size), options, row.grids[b],
                     MutableArrayRef<float>(decoded).slice(first, size));
            }
            return meter->add(row.row, row.values, decoded);
          }))
    return error;
  if (!kept.empty())
    return TreePlanPtr();
  growth = meter ? meter->get() : 0;
  auto stored = storeTensor(files, codes, isSmall);
  if (!stored)
    return stored.takeError();
  TreePlanPtr kept = TreePlan::leaf(name + ".codes", std::move(*stored));
  SmallVector<int64_t> block = getBlock(type);
  RankedTensorType placed = type.clone(code);
  // The other places get the codes of zero.
  return dequantize(
      [&](TreePlanPtr zeros) {
        std::vector<TreePlanPtr> operands{kept};
        for (Value operand : op->getOperands().drop_front())
          operands.push_back(TreePlan::keep(operand));
        if (zeros)
          operands.push_back(zeros);
        bool isFilled = (bool)zeros;
        return TreePlan::make(
            [=](OpBuilder &builder, Location, ArrayRef<Value> values) mutable {
              BlockFill fill;
              if (isFilled) {
                fill = {values.back(), block};
                values = values.drop_back();
              }
              return op.placeInstead(builder, values, fill, placed);
            },
            std::move(operands));
      },
      grids, type, name);
}

/// A weight whose kept values the op of `value` places among zeros: codes are
/// placed as values were, among the codes of zero, and scales stay those of
/// neighbours in the row.
llvm::Expected<TreePlanPtr>
TreeQuantizer::quantizePlaced(Value value, RankedTensorType type,
                              const std::string &name) {
  auto places = getPlaces(value.getDefiningOp<WeightExpression>());
  if (!places)
    return places.takeError();
  double growth = 0;
  auto plan = quantizeAt(*places, value, type, name, growth);
  int64_t whole = blockSize;
  // An infinite growth, of a weight without error, stays so.
  if (!plan || !(growth > maxGrowth) || !std::isfinite(growth))
    return plan;
  for (int64_t halved = whole / 2; halved >= kLeastBlock && whole % halved == 0;
       halved /= 2) {
    blockSize = halved;
    auto finer = quantizeAt(*places, value, type, name, growth);
    blockSize = whole;
    if (!finer || growth <= maxGrowth)
      return finer;
  }
  return plan;
}

llvm::Expected<TreePlanPtr> TreeQuantizer::quantize(Value value,
                                                    RankedTensorType type,
                                                    const std::string &name) {
  if (getWeightSource(value).leaf)
    return quantizeLeaf(value, type, name);
  auto op = value.getDefiningOp<WeightExpression>();
  if (!op)
    return TreePlanPtr();
  if (op.placesWeights() && !op.getWeightOperands().empty() &&
      getWeightSource(op->getOperand(0)).leaf) {
    std::string leafName = getLeafName(op->getOperand(0), name);
    StringRef stem = leafName;
    stem.consume_back(".values");
    return quantizePlaced(value, type, stem.str());
  }

  return planOperands(
      op, type, name, kept, [&](Value operand, const std::string &leaf) {
        // Codes times scales are more than a narrow type holds.
        auto wide = cast<RankedTensorType>(operand.getType())
                        .clone(Float32Type::get(type.getContext()));
        return quantize(operand, wide, leaf);
      });
}

//===----------------------------------------------------------------------===//
// The pass
//===----------------------------------------------------------------------===//

LogicalResult QuantizeRtn::checkOptions() {
  ModuleOp module = getOperation();
  if (bits < 2 || bits > 8)
    return module.emitError("miura-quantize-rtn: bits must be 2 to 8, but got ")
           << (unsigned)bits;
  if (blockSize < -1)
    return module.emitError("miura-quantize-rtn: block-size must be positive, "
                            "0 (channel) or "
                            "-1 (tensor), but got ")
           << (int64_t)blockSize;
  if (!(maxGrowth == 0 || maxGrowth >= 1))
    return module.emitError("miura-quantize-rtn: max-growth must be 0 (any) or "
                            "at least 1, but got ")
           << (double)maxGrowth;
  return success();
}

llvm::Expected<LayerResult> QuantizeRtn::compute(Layer &layer,
                                                 FileStore &files) const {
  std::string text;
  llvm::raw_string_ostream reason(text);
  if (blockSize > 0 && layer.getColumns() % blockSize != 0) {
    reason << "a block of " << (int64_t)blockSize << " does not divide its "
           << layer.getColumns()
           << " columns; choose a divisor, or block-size=0";
    return LayerResult::keep(text);
  }
  TreeQuantizer quantizer(layer, {bits, symmetric, scaleType}, blockSize,
                          maxGrowth, files);
  auto plan = quantizer.quantize(layer.tree, layer.type, layer.name);
  if (!plan)
    return plan.takeError();
  if (!quantizer.kept.empty())
    return LayerResult::keep(quantizer.kept);
  if (!*plan) {
    reason << "its expression ('" << layer.tree.getDefiningOp()->getName()
           << "') has no floating-point weights left; quantize the original";
    return LayerResult::keep(text);
  }
  return LayerResult{std::move(*plan), ""};
}

void QuantizeRtn::runOnOperation() {
  if (failed(checkOptions()))
    return signalPassFailure();
  LossyRewrite rewrite;
  rewrite.pass = "miura-quantize-rtn";
  rewrite.verb = "quantize";
  rewrite.scheme =
      (Twine(bits) + " bits in blocks of " + Twine((int64_t)blockSize)).str();
  rewrite.include = include;
  rewrite.exclude = exclude;
  rewrite.compute = [&](Layer &layer, FileStore &files) {
    return compute(layer, files);
  };
  if (activation != ActivationType::Keep)
    rewrite.finish = [&](Compressible use) {
      if (auto compute = use->getAttrOfType<ComputeAttr>("compute"))
        use->setAttr("compute",
                     ComputeAttr::get(&getContext(),
                                      IntegerType::get(&getContext(), 8),
                                      compute.getAccumulator(), 0));
    };
  if (failed(rewriteWeights(getOperation(), rewrite)))
    signalPassFailure();
}
