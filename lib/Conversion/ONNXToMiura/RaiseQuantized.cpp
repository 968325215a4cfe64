//===- RaiseQuantized.cpp - Matrices stored as integer codes --------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// A DequantizeLinear of stored codes, per tensor, per axis or in blocks, is a
/// weight expression with the file's own scales and zero points: the original,
/// so it needs no certificate. Zero points that are all in the middle of an
/// unsigned range make codes signed and go; kernels are cheaper without them.
///
/// Source: ONNX operators, DequantizeLinear-21 to -25.
///
//===----------------------------------------------------------------------===//

#include "Raiser.h"
#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;
using namespace miura;
using namespace miura::symbolic;

Value Raiser::getStored(Value value) {
  while (auto op = value ? value.getDefiningOp<OnnxNodeOp>() : OnnxNodeOp()) {
    if (!isNode(op, "Reshape") && !isNode(op, "Flatten") &&
        !isNode(op, "Squeeze") && !isNode(op, "Unsqueeze") &&
        !isNode(op, "Identity"))
      return {};
    value = getInput(op, 0);
  }
  auto type =
      value ? dyn_cast<RankedTensorType>(value.getType()) : RankedTensorType();
  return type && type.hasStaticShape() && isStored(value) ? value : Value();
}

/// The one code that all elements of a stored integer tensor are, if so.
static std::optional<unsigned> getOnlyCode(ArrayRef<uint8_t> bytes,
                                           RankedTensorType type) {
  unsigned bits = type.getElementTypeBitWidth();
  int64_t columns = type.getShape().back();
  int64_t rowBytes = llvm::divideCeil(columns * bits, 8);
  if (type.getNumElements() == 0)
    return std::nullopt;
  unsigned first = getCode(bytes, 0, bits);
  for (int64_t i = 0, e = type.getNumElements(); i < e; ++i)
    if (getCode(bytes.drop_front(i / columns * rowBytes), i % columns, bits) !=
        first)
      return std::nullopt;
  return first;
}

Value Raiser::makeDequantize(const CodedMatrix &matrix, Location loc) {
  MLIRContext *context = func.getContext();
  unsigned bits = matrix.bits;
  // The middle of an unsigned range.
  unsigned middle = 1u << (bits - 1);
  bool isUnsigned = matrix.isUnsigned;
  Value zeros = matrix.zeros;
  unsigned zero = matrix.zero;
  if (zeros && !isa<FloatType>(matrix.zerosType.getElementType())) {
    std::vector<uint8_t> storage;
    auto bytes = stored.read(zeros, storage);
    if (failed(bytes))
      return {};
    std::optional<unsigned> only = getOnlyCode(*bytes, matrix.zerosType);
    if (only && (*only == 0 || (isUnsigned && bits <= 8 && *only == middle))) {
      zeros = {};
      zero = *only;
    }
  }
  bool flip = !zeros && isUnsigned && zero == middle;

  auto sourceElement = getElementTypeOrSelf(matrix.codes.getType());
  Type element = isa<FloatType>(sourceElement)
                     ? sourceElement
                     : (Type)IntegerType::get(context, bits);
  auto codesType =
      RankedTensorType::get({matrix.rows, matrix.columns}, element);
  Value codes;
  if (!flip && matrix.columns == matrix.storedColumns) {
    codes = stored.view(matrix.codes, codesType);
  } else {
    int64_t fromBytes = llvm::divideCeil(matrix.storedColumns * bits, 8);
    // The top bit of every code: with it flipped a code is two's complement.
    uint8_t flips = 0;
    for (unsigned i = bits - 1; flip && i < 8; i += bits)
      flips |= 1u << i;
    unsigned tail = matrix.columns * bits % 8;
    auto made = stored.rewrite(
        matrix.codes, codesType, flip ? "signed rows" : "rows",
        [&](ArrayRef<uint8_t> from, int64_t row, MutableArrayRef<uint8_t> to) {
          from = from.slice(row * fromBytes, to.size());
          for (auto [i, byte] : llvm::enumerate(from))
            to[i] = byte ^ flips;
          if (tail)
            to.back() &= (1u << tail) - 1;
        });
    if (failed(made))
      return {};
    codes = *made;
  }
  Value scales = stored.view(matrix.scales, matrix.scalesType);
  if (zeros)
    zeros = stored.view(zeros, matrix.zerosType);
  return DequantizeOp::create(
      builder, loc, codesType.clone(matrix.scalesType.getElementType()), codes,
      scales, zeros, builder.getDenseI64ArrayAttr(matrix.block),
      isUnsigned && !flip ? builder.getUnitAttr() : UnitAttr());
}

Value Raiser::getDequantized(Value value, Value &root) {
  auto op = value.getDefiningOp<OnnxNodeOp>();
  if (!op || op.getOpType() != "DequantizeLinear" ||
      !(op.getDomain().empty() || op.getDomain() == "com.microsoft"))
    return {};
  Value codes = getInput(op, 0), scales = getInput(op, 1),
        zeros = getInput(op, 2);
  // Codes that are looked up row by row mean the same where one scale is for
  // all.
  bool isGather = false;
  if (OnnxNodeOp gather = getNode(codes, "Gather");
      gather && getInt(gather, "axis", 0) == 0) {
    codes = getInput(gather, 0);
    isGather = true;
  }
  // A transposition of codes is one of the expression, where scales follow.
  bool isTransposed = false;
  if (OnnxNodeOp transpose = getNode(codes, "Transpose"); transpose) {
    codes = getInput(transpose, 0);
    isTransposed = true;
  }
  auto type = dyn_cast<RankedTensorType>(codes.getType());
  if (!isStored(codes) || !isStored(scales) || (zeros && !isStored(zeros)) ||
      !type || type.getRank() != 2)
    return {};
  Type element = type.getElementType();
  auto result = dyn_cast<FloatType>(getElementTypeOrSelf(value.getType()));
  auto scaleElement =
      dyn_cast<FloatType>(getElementTypeOrSelf(scales.getType()));
  unsigned bits = element.isIntOrFloat() ? element.getIntOrFloatBitWidth() : 0;
  if (!result || !scaleElement || bits < 2 || bits > 16)
    return {};
  auto zerosElement = zeros ? getElementTypeOrSelf(zeros.getType()) : Type();
  if (zeros && (!isa<IntegerType>(element) || zerosElement != element))
    return {};

  CodedMatrix matrix;
  matrix.codes = codes;
  matrix.scales = scales;
  matrix.zeros = zeros;
  matrix.rows = type.getDimSize(0);
  matrix.columns = matrix.storedColumns = type.getDimSize(1);
  matrix.bits = bits;
  matrix.isUnsigned = element.isUnsignedInteger();
  matrix.zero = 0;

  // Granularity is what the shape of the scales says.
  auto scaleType = cast<RankedTensorType>(scales.getType());
  int64_t axis = getInt(op, "axis", 1), block = getInt(op, "block_size", 0);
  if (axis < 0)
    axis += 2;
  if (isTransposed)
    axis = 1 - axis;
  if (axis < 0 || axis > 1) {
    reject(op) << "has the axis " << getInt(op, "axis", 1)
               << ", but its input has 2 dimensions";
    return {};
  }
  SmallVector<int64_t> shape{1, 1};
  matrix.block = {0, 0};
  if (isTransposed && (isGather || scaleType.getRank() == 2))
    return {};
  if (scaleType.getNumElements() != 1 || scaleType.getRank() == 2) {
    matrix.block[axis] = 1;
    shape[axis] = type.getDimSize(axis);
    if (block > 0 && scaleType.getRank() == 2) {
      matrix.block = {1, 1};
      matrix.block[axis] = block;
      shape[1 - axis] = type.getDimSize(1 - axis);
      shape[axis] = llvm::divideCeil(type.getDimSize(axis), block);
    }
    SmallVector<int64_t> expected(shape);
    if (scaleType.getRank() != 2)
      expected = {type.getDimSize(axis)};
    if (scaleType.getShape() != ArrayRef<int64_t>(expected) ||
        (scaleType.getRank() == 2 && block <= 0)) {
      reject(op) << "expects a scale for each of the blocks of " << block
                 << " along axis " << axis << " of " << type << ", but got "
                 << scaleType;
      return {};
    }
  }
  // A tensor of one number is one, of whatever rank.
  auto zerosType = zeros ? cast<RankedTensorType>(zeros.getType()) : scaleType;
  if (zerosType.getShape() != scaleType.getShape() &&
      (zerosType.getNumElements() != 1 || scaleType.getNumElements() != 1)) {
    reject(op) << "expects zero points of the shape of its scales, "
               << scaleType << ", but got " << zeros.getType();
    return {};
  }
  if (isGather && matrix.block != SmallVector<int64_t>{0, 0})
    return {};
  matrix.scalesType = RankedTensorType::get(shape, scaleElement);
  if (zeros)
    matrix.zerosType =
        RankedTensorType::get(shape, IntegerType::get(op.getContext(), bits));
  root = codes;
  Value expression = makeDequantize(matrix, op.getLoc());
  if (!expression) {
    hasFailed = true;
    return {};
  }
  if (isTransposed)
    expression = TransposeOp::create(
        builder, op.getLoc(),
        RankedTensorType::get({type.getDimSize(1), type.getDimSize(0)},
                              scaleElement),
        expression);
  if (scaleElement != result)
    expression = ConvertOp::create(
        builder, op.getLoc(),
        cast<RankedTensorType>(expression.getType()).clone(result), expression);
  return expression;
}

bool Raiser::raiseQuantizedGather(OnnxNodeOp op) {
  OnnxNodeOp gather = isNode(op, "DequantizeLinear")
                          ? getNode(getInput(op, 0), "Gather")
                          : OnnxNodeOp();
  if (!gather)
    return false;
  Value indices = getInput(gather, 1), root;
  const Shape *shape = analysis.getShape(indices);
  if (!shape || shape->empty())
    return false;
  builder.setInsertionPoint(op);
  Value weight = getDequantized(op.getResult(0), root);
  if (!weight)
    return false;
  replace(op.getResult(0),
          EmbeddingOp::create(builder, op.getLoc(), op.getResult(0).getType(),
                              indices, weight, makeId(root, op)));
  return true;
}
