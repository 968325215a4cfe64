//===- ExpandQuantized.cpp - Operators from codes to codes ----------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The two spellings of static quantization mean the same: an operator from
/// codes to codes (QLinearMatMul, QGemm, QLinearAdd, …) is the operator on the
/// numbers that its operands' codes stand for, rounded to codes of the result.
/// Spelled out, all that reads pairs of QuantizeLinear and DequantizeLinear
/// reads these files too. A change of shape between the two is one of the
/// numbers.
///
/// Exact but for the order of sums: products of codes are summed as numbers.
///
/// Source: ONNX operators, QLinearMatMul-10 to -21; ONNX Runtime,
/// docs/ContribOperators.md.
///
//===----------------------------------------------------------------------===//

#include "Raiser.h"
#include "miura/Dialect/Miura/IR/HostTensor.h"
#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;
using namespace miura;
using namespace miura::symbolic;

static constexpr int64_t kVersion = 13;

Value Raiser::decode(OnnxNodeOp op, unsigned first, int64_t axis) {
  Value codes = getInput(op, first);
  const Shape *shape = codes ? analysis.getShape(codes) : nullptr;
  auto scale = dyn_cast_or_null<RankedTensorType>(
      getInput(op, first + 1) ? getInput(op, first + 1).getType() : Type());
  if (!shape || !scale || !isa<FloatType>(scale.getElementType()))
    return {};
  SmallVector<Value> inputs{codes, getInput(op, first + 1)};
  if (Value zero = getInput(op, first + 2))
    inputs.push_back(zero);
  // A vector of one number is one for all, whatever it is along.
  if (scale.getRank() > 0 && scale.getNumElements() != 1 &&
      axis + 1 != int64_t(shape->size()))
    return {};
  return makeNode(op, "DequantizeLinear", kVersion, inputs,
                  makeInt("axis", axis), scale.getElementType(), *shape);
}

/// The last dimension of a value, or −1.
static int64_t getLast(const SmallVectorImpl<Expr> *shape) {
  return shape ? (int64_t)shape->size() - 1 : -1;
}

/// The vector of an int32 bias of scale a · b.
Value Raiser::decodeBias(OnnxNodeOp op, Value bias, Value a, Value b) {
  auto type = dyn_cast<RankedTensorType>(bias.getType());
  if (!isStored(bias) || !isStored(a) || !isStored(b) || !type ||
      type.getRank() != 1)
    return {};
  std::vector<float> numbers[3];
  for (auto [value, to] :
       llvm::zip_equal(ArrayRef<Value>{bias, a, b}, numbers)) {
    std::vector<uint8_t> storage;
    auto bytes = stored.read(value, storage);
    if (failed(bytes))
      return {};
    auto read = readHostTensor(cast<RankedTensorType>(value.getType()), *bytes);
    if (failed(read))
      return {};
    to = read->floats;
    if (!read->isFloat())
      to.assign(read->ints.begin(), read->ints.end());
  }
  auto &[codes, left, right] = numbers;
  if (left.size() != 1 || (right.size() != 1 && right.size() != codes.size()))
    return {};
  for (size_t i = 0; i < codes.size(); ++i)
    codes[i] *= left[0] * right[right.size() == 1 ? 0 : i];
  return arith::ConstantOp::create(
      builder, op.getLoc(),
      DenseElementsAttr::get(type.clone((Type)builder.getF32Type()),
                             ArrayRef<float>(codes)));
}

bool Raiser::expandQuantized(OnnxNodeOp op) {
  StringRef name = op.getOpType();
  bool isMicrosoft = op.getDomain() == "com.microsoft";
  if (!isMicrosoft && !op.hasStandardDomain())
    return false;
  bool isGemm = isMicrosoft && name == "QGemm";
  if (!isGemm && !name.consume_front("QLinear"))
    return false;
  builder.setInsertionPoint(op);
  Value result = op.getResult(0), x = getInput(op, 0), numbers;
  const Shape *known = analysis.getShape(result), *own = analysis.getShape(x);
  if (!known || !own)
    return false;
  Shape shape = *known;
  auto make = [&](StringRef type, ValueRange operands,
                  ArrayRef<NamedAttribute> attributes = {}) -> Value {
    for (Value operand : operands)
      if (!operand)
        return {};
    return makeNode(op, type, kVersion, operands, attributes,
                    getElementTypeOrSelf(operands[0].getType()), shape);
  };
  auto keep = [&](ArrayRef<StringRef> names) {
    SmallVector<NamedAttribute> kept;
    for (StringRef each : names)
      if (Attribute attribute = op.getOnnxAttributes().get(each))
        kept.push_back(builder.getNamedAttr(each, attribute));
    return kept;
  };
  auto isOne = [&](Value value) {
    auto type = dyn_cast<RankedTensorType>(value.getType());
    return type && type.hasStaticShape() && type.getNumElements() == 1;
  };
  // The first operand has one scale, but for the rows of a matrix.
  if (!isGemm && (op.getNumOperands() < 2 || !getInput(op, 1)))
    return false;
  unsigned to = 0; // the scale of the result
  if (isGemm) {
    bool transB = getInt(op, "transB", 0);
    const Shape *weight = analysis.getShape(getInput(op, 3));
    if (!weight || weight->size() != 2 || !isOne(getInput(op, 1)) ||
        (transB && !isOne(getInput(op, 4))))
      return false;
    SmallVector<Value> operands{decode(op, 0, getLast(own)), decode(op, 3, 1)};
    if (Value bias = getInput(op, 6))
      operands.push_back(
          decodeBias(op, bias, getInput(op, 1), getInput(op, 4)));
    numbers = make("Gemm", operands, keep({"transA", "transB", "alpha"}));
    to = 7;
  } else if (name == "MatMul" ||
             (isMicrosoft && (name == "Add" || name == "Mul"))) {
    if (!isOne(getInput(op, 1)) ||
        (name != "MatMul" && !isOne(getInput(op, 4))))
      return false;
    numbers = make(
        name, {decode(op, 0, getLast(own)),
               decode(op, 3, getLast(analysis.getShape(getInput(op, 3))))});
    to = 6;
  } else if (isMicrosoft && (name == "Sigmoid" || name == "LeakyRelu")) {
    numbers = make(name, decode(op, 0, getLast(own)), keep({"alpha"}));
    to = 3;
  } else if (isMicrosoft && name == "Softmax" && getInt(op, "opset", 0) >= 13) {
    numbers = make(name, decode(op, 0, getLast(own)), keep({"axis"}));
    to = 3;
  }
  if (!numbers)
    return false;
  Value scale = getInput(op, to), zero = getInput(op, to + 1);
  if (!scale) { // a QGemm whose result is numbers
    replace(result, numbers);
    return true;
  }
  SmallVector<Value> inputs{numbers, scale};
  if (zero)
    inputs.push_back(zero);
  Value codes = makeNode(op, "QuantizeLinear", kVersion, inputs, {},
                         getElementTypeOrSelf(result.getType()), shape);
  if (!codes)
    return false;
  replace(result, codes);
  return true;
}

bool Raiser::isMove(OnnxNodeOp op) {
  return op && op.getNumResults() == 1 &&
         llvm::is_contained({"Reshape", "Transpose", "Squeeze", "Unsqueeze",
                             "Flatten", "Slice", "Expand", "Identity"},
                            op.getOpType()) &&
         op.hasStandardDomain();
}

bool Raiser::decodeBeforeMoves(OnnxNodeOp op) {
  if (op.getOpType() != "DequantizeLinear")
    return false;
  Value codes = getInput(op, 0), scale = getInput(op, 1);
  auto scaleType = dyn_cast<RankedTensorType>(scale.getType());
  if (!scaleType || !scaleType.hasStaticShape() ||
      scaleType.getNumElements() != 1)
    return false;
  SmallVector<OnnxNodeOp> moves;
  Value source = codes;
  while (isMove(source.getDefiningOp<OnnxNodeOp>())) {
    moves.push_back(source.getDefiningOp<OnnxNodeOp>());
    source = getInput(moves.back(), 0);
  }
  const Shape *shape = analysis.getShape(source);
  // Views of stored codes are known where matrices are looked for.
  if (moves.empty() || isStored(source) || !shape)
    return false;
  builder.setInsertionPoint(op);
  Type element = getElementTypeOrSelf(op.getResult(0).getType());
  SmallVector<Value> inputs(op.getInputs());
  inputs[0] = source;
  Value value = makeNode(op, op.getOpType(), op.getVersion(), inputs, {},
                         element, *shape);
  if (!value)
    return false;
  if (auto node = value.getDefiningOp<OnnxNodeOp>())
    node.setDomainAttr(op.getDomainAttr());
  for (OnnxNodeOp move : llvm::reverse(moves)) {
    const Shape *moved = analysis.getShape(move.getResult(0));
    if (!moved)
      return false;
    auto clone = cast<OnnxNodeOp>(builder.clone(*move));
    clone->setOperand(0, value);
    value = clone.getResult(0);
    value.setType(getType(*moved, element));
    analysis.setShape(value, *moved);
  }
  replace(op.getResult(0), value);
  return true;
}
