//===- TensorViews.cpp - Where a view reads its operand -------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Indices of Reshape, Transpose, Expand and their like, taken to the tensor
/// that they only rearrange.
///
//===----------------------------------------------------------------------===//

#include "miura/Conversion/ONNXToMiura/TensorAnalysis.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Matchers.h"
#include <cmath>

using namespace mlir;
using namespace miura;
using namespace miura::symbolic;
using Indices = TensorAnalysis::Indices;
using Shape = TensorAnalysis::Shape;

/// Reads `indices` into a tensor of shape `to` as indices into the same
/// elements in shape `from`, matching runs of dimensions of equal product.
std::optional<Indices> TensorAnalysis::reshapeIndices(const Shape &from,
                                                      const Shape &to,
                                                      ArrayRef<Expr> indices) {
  Indices result;
  size_t i = 0, o = 0;
  Expr one = context.integer(1);
  while (i < from.size() || o < to.size()) {
    // Single dimensions that are equal need no arithmetic.
    if (i < from.size() && o < to.size() && from[i] == to[o]) {
      result.push_back(indices[o]);
      ++i, ++o;
      continue;
    }
    size_t iEnd = i, oEnd = o;
    Expr in = one, out = one;
    if (iEnd < from.size())
      in = from[iEnd++];
    if (oEnd < to.size())
      out = to[oEnd++];
    while (in != out) {
      // The side whose product divides the other's has to grow.
      bool growOut = oEnd < to.size() &&
                     (context.exactQuotient(in, out) || iEnd == from.size());
      if (growOut)
        out = context.mul(out, to[oEnd++]);
      else if (iEnd < from.size())
        in = context.mul(in, from[iEnd++]);
      else if (oEnd < to.size())
        out = context.mul(out, to[oEnd++]);
      else
        return std::nullopt;
    }
    Expr flat = context.integer(0);
    for (size_t k = o; k < oEnd; ++k)
      flat = context.add(context.mul(flat, to[k]), indices[k]);
    Indices run;
    for (size_t k = iEnd; k-- > i;) {
      if (k == i) {
        run.push_back(flat);
        break;
      }
      Expr quotient = context.floorDiv(flat, from[k]);
      run.push_back(context.sub(flat, context.mul(quotient, from[k])));
      flat = quotient;
    }
    llvm::append_range(result, llvm::reverse(run));
    i = iEnd, o = oEnd;
  }
  return result;
}

/// Operators whose result is their first operand, as far as inference goes.
static bool isIdentity(OnnxNodeOp op) {
  return isNode(op, "Identity") || isNode(op, "Dropout");
}

Value TensorAnalysis::stepThroughView(Value value, Indices &indices) {
  Operation *def = value.getDefiningOp();
  // What raising has made of views is one as well.
  if (isa_and_nonnull<tensor::CollapseShapeOp, tensor::ExpandShapeOp>(def)) {
    Value source = def->getOperand(0);
    std::optional<Indices> result =
        reshapeIndices(*getShape(source), *getShape(value), indices);
    if (!result)
      return {};
    indices = std::move(*result);
    return source;
  }
  if (auto slice = dyn_cast_or_null<tensor::ExtractSliceOp>(def)) {
    ArrayRef<int64_t> offsets = slice.getStaticOffsets();
    if (slice.getSourceType().getRank() != slice.getType().getRank() ||
        llvm::any_of(offsets, ShapedType::isDynamic) ||
        llvm::any_of(slice.getStaticStrides(),
                     [](int64_t stride) { return stride != 1; }))
      return {};
    for (auto [index, offset] : llvm::zip(indices, offsets))
      index = context.add(index, context.integer(offset));
    return slice.getSource();
  }
  if (auto split = dyn_cast_or_null<SplitHeadsOp>(def)) {
    Expr size = (*getShape(value))[3];
    indices = {indices[0], indices[2],
               context.add(context.mul(indices[1], size), indices[3])};
    return split.getInput();
  }
  if (auto merge = dyn_cast_or_null<MergeHeadsOp>(def)) {
    Expr size = (*getShape(merge.getInput()))[3];
    Expr head = context.floorDiv(indices[2], size);
    indices = {indices[0], head, indices[1],
               context.sub(indices[2], context.mul(head, size))};
    return merge.getInput();
  }
  auto op = dyn_cast_or_null<OnnxNodeOp>(def);
  if (!op || !op.hasStandardDomain() || op.getNumOperands() == 0 ||
      value != op.getResult(0))
    return {};
  Value source = getInput(op, 0);
  if (!source)
    return {};
  if (isIdentity(op))
    return source;
  StringRef type = op.getOpType();
  bool isView = llvm::StringSwitch<bool>(type)
                    .Cases({"Reshape", "Flatten", "Squeeze", "Unsqueeze",
                            "Transpose", "Expand", "Tile"},
                           true)
                    .Default(false);
  if (!isView)
    return {};
  const Shape *fromShape = getShape(source);
  const Shape *toShape = getShape(value);
  if (!fromShape || !toShape || indices.size() != toShape->size())
    return {};
  Shape from = *fromShape, to = *toShape;
  if (type == "Transpose") {
    Indices result(indices.size());
    std::optional<SmallVector<int64_t>> perm = getInts(op, "perm");
    for (size_t i = 0; i < indices.size(); ++i) {
      int64_t p = perm ? (*perm)[i] : int64_t(indices.size() - 1 - i);
      if (p < 0 || p >= int64_t(indices.size()))
        return {};
      result[p] = indices[i];
    }
    indices = std::move(result);
    return source;
  }
  if (type == "Expand") {
    indices.erase(indices.begin(), indices.end() - from.size());
    for (auto [index, size] : llvm::zip(indices, from))
      if (isConstant(size, 1))
        index = context.integer(0);
    return source;
  }
  if (type == "Tile") {
    for (auto [index, size, whole] : llvm::zip_equal(indices, from, to))
      if (isConstant(size, 1))
        index = context.integer(0);
      else if (size != whole)
        index = context.mod(index, size);
    return source;
  }
  if (type == "Unsqueeze") {
    std::optional<SmallVector<int64_t>> axes = getAxes(op, to.size());
    if (!axes)
      return {};
    Indices result;
    for (size_t i = 0; i < indices.size(); ++i)
      if (!llvm::is_contained(*axes, int64_t(i)))
        result.push_back(indices[i]);
    indices = std::move(result);
    return source;
  }
  if (type == "Squeeze") {
    std::optional<SmallVector<int64_t>> axes = getAxes(op, from.size());
    Indices result;
    size_t next = 0;
    for (size_t i = 0; i < from.size(); ++i) {
      bool squeezed =
          axes ? llvm::is_contained(*axes, int64_t(i)) : isConstant(from[i], 1);
      if (!squeezed && next == indices.size())
        return {};
      result.push_back(squeezed ? context.integer(0) : indices[next++]);
    }
    indices = std::move(result);
    return source;
  }
  std::optional<Indices> result = reshapeIndices(from, to, indices);
  if (!result)
    return {};
  indices = std::move(*result);
  return source;
}
