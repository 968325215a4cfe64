//===- ContextLimit.cpp - How long a sequence a model can read ------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// A model that looks positions up in a table (learned embeddings, cosines of
/// rotations) has no row for a position beyond it. Where rotations are computed
/// the file sets no limit, and none is told.
///
//===----------------------------------------------------------------------===//

#include "miura/Dialect/Miura/Transforms/Passes.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Matchers.h"

using namespace mlir;
using namespace miura;

/// The integer that all elements of `value` are, if they are known and equal.
static std::optional<int64_t> getSplat(Value value) {
  DenseElementsAttr elements;
  APInt number;
  if (matchPattern(value, m_ConstantInt(&number)))
    return number.getSExtValue();
  if (matchPattern(value, m_Constant(&elements)) && elements.isSplat() &&
      isa<IntegerType>(elements.getElementType()))
    return elements.getSplatValue<APInt>().getSExtValue();
  return std::nullopt;
}

/// The name of a node of ONNX's own domain; empty for other ops.
static StringRef getNodeName(Operation *op) {
  auto node = dyn_cast<OnnxNodeOp>(op);
  return node && node.hasStandardDomain() ? node.getOpType() : "";
}

/// Whether `op` gives its first operand's elements, in another shape or type.
static bool isCopy(Operation *op) {
  StringRef name = getNodeName(op);
  return isa<tensor::CastOp, tensor::ExpandShapeOp, tensor::CollapseShapeOp,
             arith::ExtSIOp, arith::ExtUIOp, arith::TruncIOp,
             arith::IndexCastOp>(op) ||
         name == "Cast" || name == "Reshape" || name == "Identity" ||
         name == "Unsqueeze" || name == "Squeeze";
}

/// Whether `value` has the elements of `source`.
static bool isCopyOf(Value value, Value source) {
  while (value != source) {
    Operation *op = value.getDefiningOp();
    if (!op || !isCopy(op))
      return false;
    value = op->getOperand(0);
  }
  return true;
}

/// The number by which `value` is at most above `positions`; nothing where it
/// is something else. Of `padding`, 1 where a token is, the cumulative sum is
/// one above.
static std::optional<int64_t> getOffset(Value value, Value positions,
                                        Value padding) {
  int64_t offset = 0;
  while (value != positions) {
    Operation *op = value.getDefiningOp();
    if (!op || op->getNumOperands() == 0)
      return std::nullopt;
    StringRef name = getNodeName(op);
    if (name == "CumSum" && isCopyOf(op->getOperand(0), padding))
      return offset + 1;
    bool isSum = isa<arith::AddIOp>(op) || name == "Add";
    bool isDifference = isa<arith::SubIOp>(op) || name == "Sub";
    if (isSum || isDifference) {
      std::optional<int64_t> right = getSplat(op->getOperand(1));
      std::optional<int64_t> left = getSplat(op->getOperand(0));
      if (!right && (!left || isDifference))
        return std::nullopt;
      offset += isDifference ? -*right : right ? *right : *left;
      value = op->getOperand(right ? 0 : 1);
    } else if ((isa<arith::MulIOp>(op) || name == "Mul") &&
               isCopyOf(op->getOperand(1), padding)) {
      value = op->getOperand(0);
    } else if (isCopy(op) || isa<TakeNewOp>(op)) {
      value = op->getOperand(0);
    } else {
      return std::nullopt;
    }
  }
  return offset;
}

std::optional<int64_t> miura::getContextLimit(func::FuncOp step,
                                              Value positions, Value padding) {
  std::optional<int64_t> limit;
  auto look = [&](Value table, Value indices) {
    auto type = dyn_cast<RankedTensorType>(table.getType());
    if (!type || type.getRank() == 0 || type.isDynamicDim(0))
      return;
    if (std::optional<int64_t> offset =
            getOffset(indices, positions, padding)) {
      int64_t rows = type.getDimSize(0) - *offset;
      limit = std::min(limit.value_or(rows), rows);
    }
  };
  step.walk([&](Operation *op) {
    if (auto embedding = dyn_cast<EmbeddingOp>(op))
      look(embedding.getWeight(), embedding.getIndices());
    else if (auto rows = dyn_cast<TakeRowsOp>(op))
      look(rows.getTable(), rows.getIndices());
    else if (auto node = dyn_cast<OnnxNodeOp>(op);
             node && node.hasStandardDomain() && node.getOpType() == "Gather" &&
             node.getNumOperands() == 2 &&
             !node.getOnnxAttributes().contains("axis"))
      look(node.getOperand(0), node.getOperand(1));
  });
  // Without room for one token there is no such model.
  return limit && *limit > 0 ? limit : std::nullopt;
}
