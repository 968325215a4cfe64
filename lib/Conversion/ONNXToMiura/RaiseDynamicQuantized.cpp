//===- RaiseDynamicQuantized.cpp - Integer products -----------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// A MatMulInteger of codes that a QuantizeLinear or DynamicQuantizeLinear made
/// of activations, times the two scales, is a linear of the numbers that the
/// codes stand for: x̂ · Ŵᵀ with x̂ = (q − z)·s. The rounding of activations
/// stays the file's own node; the weight becomes an expression.
///
/// Exact but for the order of sums: the file sums integers, a linear the same
/// products in f32.
///
/// Source: ONNX operators, MatMulInteger-10 and DynamicQuantizeLinear-11.
///
//===----------------------------------------------------------------------===//

#include "Raiser.h"

using namespace mlir;
using namespace miura;
using namespace miura::symbolic;

/// The factors of a product of any grouping.
static void getFactors(Value value, SmallVectorImpl<Value> &factors) {
  if (OnnxNodeOp mul = getNode(value, "Mul")) {
    getFactors(getInput(mul, 0), factors);
    getFactors(getInput(mul, 1), factors);
    return;
  }
  factors.push_back(value);
}

bool Raiser::raiseIntegerProduct(OnnxNodeOp op) {
  if (!isNode(op, "Mul"))
    return false;
  // Three factors: the integer product as floats, both scales.
  SmallVector<Value> factors;
  getFactors(op.getResult(0), factors);
  OnnxNodeOp product;
  Value weightScales, inputScale;
  if (factors.size() != 3)
    return false;
  for (Value factor : factors) {
    OnnxNodeOp cast = getNode(factor, "Cast");
    if (OnnxNodeOp found =
            cast ? getNode(getInput(cast, 0), "MatMulInteger") : OnnxNodeOp())
      product = found;
    else if (isStored(factor))
      weightScales = factor;
    else
      inputScale = factor;
  }
  if (!product || !weightScales || !inputScale)
    return false;
  Value codes = getInput(product, 0), weight = getInput(product, 1);
  Value inputZero = getInput(product, 2), zeros = getInput(product, 3);
  // The scale that the product is multiplied by is that of its codes.
  OnnxNodeOp quantize = codes.getDefiningOp<OnnxNodeOp>();
  if (!quantize)
    return false;
  Value x = getInput(quantize, 0);
  if (isNode(quantize, "DynamicQuantizeLinear")) {
    if (inputScale != quantize.getResult(1) ||
        inputZero != quantize.getResult(2))
      return false;
  } else if (isNode(quantize, "QuantizeLinear")) {
    if (inputScale != getInput(quantize, 1) ||
        inputZero != getInput(quantize, 2))
      return false;
  } else {
    return false;
  }
  auto type = dyn_cast<RankedTensorType>(weight.getType());
  auto result = dyn_cast<RankedTensorType>(op.getResult(0).getType());
  const Shape *shape = analysis.getShape(x);
  if (!isStored(weight) || !type || type.getRank() != 2 || !shape ||
      shape->size() < 2 || !analysis.getShape(op.getResult(0)) || !result ||
      !result.getElementType().isF32() || (zeros && !isStored(zeros)))
    return false;
  Type element = type.getElementType();
  int64_t inner = type.getDimSize(0), outer = type.getDimSize(1);
  auto scaleType = cast<RankedTensorType>(weightScales.getType());
  int64_t count = scaleType.getNumElements();
  if (!element.isInteger(8) && !element.isUnsignedInteger(8))
    return false;
  if (!scaleType.getElementType().isF32() || (count != 1 && count != outer))
    return false;

  CodedMatrix matrix;
  matrix.codes = weight;
  matrix.scales = weightScales;
  matrix.zeros = zeros;
  matrix.rows = inner;
  matrix.columns = matrix.storedColumns = outer;
  matrix.bits = 8;
  matrix.isUnsigned = element.isUnsignedInteger();
  matrix.zero = 0;
  matrix.block = {0, count == 1 ? 0 : 1};
  matrix.scalesType = scaleType.clone(ArrayRef<int64_t>{1, count});
  if (zeros) {
    // One zero point, or as many as scales.
    int64_t points = cast<RankedTensorType>(zeros.getType()).getNumElements();
    if (points != count)
      return false;
    matrix.zerosType =
        RankedTensorType::get({1, count}, builder.getIntegerType(8));
  }
  builder.setInsertionPoint(op);
  Location loc = op.getLoc();
  Value expression = makeDequantize(matrix, loc);
  if (!expression) {
    hasFailed = true;
    return false;
  }
  expression = TransposeOp::create(
      builder, loc, RankedTensorType::get({outer, inner}, builder.getF32Type()),
      expression);
  // The numbers that the codes stand for, once for all products of them.
  Value &numbers = roundedInputs[codes];
  if (!numbers) {
    builder.setInsertionPointAfterValue(codes);
    SmallVector<Value> operands{codes, inputScale};
    if (inputZero)
      operands.push_back(inputZero);
    auto wide = cast<RankedTensorType>(codes.getType())
                    .clone((Type)builder.getF32Type());
    auto node = OnnxNodeOp::create(
        builder, loc, TypeRange(wide), "DequantizeLinear", "", "",
        std::max<int64_t>(quantize.getVersion(), 13),
        (quantize.getNodeName() + "/numbers").str(),
        builder.getDictionaryAttr({}), ArrayAttr(), ArrayAttr(), operands, 0);
    numbers = node.getResult(0);
    analysis.setShape(numbers, *shape);
    builder.setInsertionPoint(op);
  }
  replaceByLinear(op, numbers, expression, weight, Value(),
                  ComputeAttr::get(op.getContext(), builder.getF32Type(),
                                   builder.getF32Type(), 0));
  return true;
}
