//===- Factorize.cpp - What passes that factorize share -------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// See Factorize.h. The mathematics is in lib/Compress.
///
//===----------------------------------------------------------------------===//

#include "Factorize.h"

using namespace mlir;
using namespace miura;
using namespace miura::compress;

/// An error where what a pass was given is out of range.
static LogicalResult checkFactorOptions(ModuleOp module, StringRef pass,
                                        const FactorOptions &options) {
  if ((options.rank != 0) + (options.energy != 0) + (options.bytes != 0) != 1)
    return module.emitError() << pass << ": give one of rank, energy and bytes";
  if (options.rank < 0)
    return module.emitError()
           << pass << ": rank must be positive, but got " << options.rank;
  if (options.bytes < 0)
    return module.emitError()
           << pass << ": bytes must be positive, but got " << options.bytes;
  // Not a number fails both comparisons.
  if (options.energy != 0 && !(options.energy > 0 && options.energy < 1))
    return module.emitError()
           << pass << ": energy must be above 0 and below 1, but got "
           << options.energy;
  return success();
}

/// "rank 32", for messages.
static std::string describeFactorOptions(const FactorOptions &options) {
  std::string text;
  llvm::raw_string_ostream os(text);
  if (options.rank != 0)
    os << "rank " << options.rank;
  else if (options.bytes != 0)
    os << options.bytes << " bytes";
  else
    os << "an energy of " << options.energy;
  return text;
}

LogicalResult miura::rewriteByFactors(
    ModuleOp module, LossyRewrite rewrite, const FactorOptions &options,
    function_ref<llvm::Expected<LayerResult>(Layer &, FileStore &,
                                             const FactorOptions &)>
        compute) {
  if (failed(checkFactorOptions(module, rewrite.pass, options)))
    return failure();
  rewrite.scheme = describeFactorOptions(options);
  rewrite.compute = [&](Layer &layer, FileStore &files) {
    return compute(layer, files, options);
  };
  return rewriteWeights(module, rewrite);
}

namespace {
/// A layer's shape as batch × rows × columns.
struct Shape {
  int64_t batch, rows, columns;
  explicit Shape(const Layer &layer)
      : rows(layer.type.getDimSize(layer.type.getRank() - 2)),
        columns(layer.getColumns()) {
    batch = layer.getRows() / rows;
  }
};
} // namespace

LayerFactors miura::factorizeMatrix(Layer &layer, ArrayRef<float> values,
                                    FactorOptions options) {
  Shape shape(layer);
  options.seed = getSeed(layer.getId());
  LayerFactors result;
  llvm::raw_string_ostream reason(result.kept);
  int64_t full = std::min(shape.rows, shape.columns);
  switch (factorize(values, shape.batch, shape.rows, shape.columns, options,
                    result.factors)) {
  case FactorResult::Factored:
    break;
  case FactorResult::NotFinite:
    reason << "its weight has a value that is not finite";
    break;
  case FactorResult::RankTooLarge:
    reason << "a rank of "
           << (options.rank ? options.rank
                            : options.bytes /
                                  (shape.batch * (shape.rows + shape.columns) *
                                   (options.type == FactorType::F16 ? 2 : 4)))
           << " is not below its smaller dimension of " << full;
    break;
  case FactorResult::EnergyTooHigh:
    reason << "no rank below its smaller dimension of " << full
           << " keeps an energy of " << options.energy;
    break;
  case FactorResult::TooFewBytes:
    reason << options.bytes
           << " bytes do not hold factors of rank 1, which take "
           << shape.batch * (shape.rows + shape.columns) *
                  (options.type == FactorType::F16 ? 2 : 4);
    break;
  case FactorResult::Overflow:
    reason << "a factor is too large for f16; choose type=f32";
    break;
  case FactorResult::NotConverged:
    reason << "its singular value decomposition does not converge";
    break;
  }
  return result;
}

double miura::getSquaredResidual(Layer &layer, ArrayRef<float> values,
                                 const Factors &factors) {
  Shape shape(layer);
  return compress::getSquaredResidual(values, shape.batch, shape.rows,
                                      shape.columns, factors);
}

llvm::Expected<TreePlanPtr> miura::planProduct(Layer &layer,
                                               const Factors &factors,
                                               FactorType type,
                                               FileStore &files) {
  MLIRContext *context = layer.type.getContext();
  Type element = type == FactorType::F16 ? (Type)Float16Type::get(context)
                                         : (Type)Float32Type::get(context);
  SmallVector<int64_t> left(layer.type.getShape()), right = left;
  left.back() = factors.rank;
  right[right.size() - 2] = factors.rank;
  HostTensor tensors[2];
  tensors[0].type = RankedTensorType::get(left, element);
  tensors[0].floats = factors.left;
  tensors[1].type = RankedTensorType::get(right, element);
  tensors[1].floats = factors.right;
  bool isSmall =
      getStoredBytes(tensors[0].type) + getStoredBytes(tensors[1].type) <=
      kInlineBytes;
  std::vector<TreePlanPtr> operands;
  static constexpr llvm::StringLiteral suffixes[] = {".left", ".right"};
  for (auto [tensor, suffix] : llvm::zip_equal(tensors, suffixes)) {
    auto stored = storeTensor(files, tensor, isSmall);
    if (!stored)
      return stored.takeError();
    operands.push_back(TreePlan::leaf(layer.name + suffix, std::move(*stored)));
  }
  RankedTensorType result = layer.type;
  return TreePlan::make(
      [=](OpBuilder &builder, Location loc, ArrayRef<Value> built) -> Value {
        return MatmulOp::create(builder, loc, result, built[0], built[1]);
      },
      std::move(operands));
}
