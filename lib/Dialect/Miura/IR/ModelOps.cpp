//===- ModelOps.cpp - The model level -------------------------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "miura/Dialect/Miura/IR/MiuraDialect.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/OpImplementation.h"

using namespace mlir;
using namespace miura;

/// Whether two sizes can be equal: the same, or one of them unknown.
static bool compatible(int64_t a, int64_t b) {
  return ShapedType::isDynamic(a) || ShapedType::isDynamic(b) || a == b;
}

static LogicalResult verifyRank(Operation *op, StringRef name,
                                RankedTensorType type, int64_t rank) {
  if (type.getRank() == rank)
    return success();
  return op->emitOpError("expects ")
         << name << " of rank " << rank << ", but got " << type;
}

static LogicalResult verifyDim(Operation *op, StringRef name,
                               RankedTensorType type, int64_t dim,
                               int64_t expected) {
  if (compatible(type.getDimSize(dim), expected))
    return success();
  return op->emitOpError("expects dimension ")
         << dim << " of " << name << " to be " << expected << ", but got "
         << type;
}

//===----------------------------------------------------------------------===//
// LinearOp
//===----------------------------------------------------------------------===//

ParseResult LinearOp::parse(OpAsmParser &parser, OperationState &result) {
  SmallVector<OpAsmParser::UnresolvedOperand> operands;
  StringAttr id;
  Type activation, accumulator;
  int64_t block = 0;
  FunctionType type;
  if (parser.parseOperandList(operands) || parser.parseKeyword("id") ||
      parser.parseLParen() || parser.parseAttribute(id) ||
      parser.parseRParen() || parser.parseKeyword("compute") ||
      parser.parseLParen() || parser.parseType(activation) ||
      parser.parseComma() || parser.parseType(accumulator))
    return failure();
  if (succeeded(parser.parseOptionalComma()))
    if (parser.parseKeyword("block") || parser.parseEqual() ||
        parser.parseInteger(block))
      return failure();
  SMLoc loc = parser.getCurrentLocation();
  if (parser.parseRParen() || parser.parseOptionalAttrDict(result.attributes) ||
      parser.parseColonType(type) ||
      parser.resolveOperands(operands, type.getInputs(), loc, result.operands))
    return failure();
  result.addAttribute("id", id);
  result.addAttribute(
      "compute",
      ComputeAttr::get(parser.getContext(), activation, accumulator, block));
  result.addTypes(type.getResults());
  return success();
}

void LinearOp::print(OpAsmPrinter &p) {
  p << ' ';
  p.printOperands(getOperands());
  p << " id(";
  p.printAttributeWithoutType(getIdAttr());
  p << ") compute(" << getCompute().getActivation() << ", "
    << getCompute().getAccumulator();
  if (getCompute().getBlock() != 0)
    p << ", block = " << getCompute().getBlock();
  p << ')';
  p.printOptionalAttrDict((*this)->getAttrs(), {"id", "compute"});
  p << " : ";
  p.printFunctionalType(*this);
}

LogicalResult LinearOp::verify() {
  auto input = getInput().getType();
  auto weight = getWeight().getType();
  auto result = getResult().getType();
  if (failed(verifyRank(*this, "weight", weight, 2)))
    return failure();
  if (input.getRank() < 1 || input.getRank() != result.getRank())
    return emitOpError("expects an input and a result of one rank, but got ")
           << input << " and " << result;
  int64_t last = input.getRank() - 1;
  if (failed(verifyDim(*this, "input", input, last, weight.getDimSize(1))) ||
      failed(verifyDim(*this, "result", result, last, weight.getDimSize(0))))
    return failure();
  for (int64_t i = 0; i < last; ++i)
    if (failed(verifyDim(*this, "result", result, i, input.getDimSize(i))))
      return failure();
  if (Value bias = getBias()) {
    auto type = cast<RankedTensorType>(bias.getType());
    if (failed(verifyRank(*this, "bias", type, 1)) ||
        failed(verifyDim(*this, "bias", type, 0, weight.getDimSize(0))))
      return failure();
  }
  Type activation = getCompute().getActivation();
  if (!isa<FloatType>(activation) && !activation.isInteger(8))
    return emitOpError("expects activations to enter as a float or as i8, "
                       "but got ")
           << activation;
  return success();
}

OpOperand &LinearOp::getWeightOperand() { return getWeightMutable(); }
Value LinearOp::getMultipliedInput() { return getInput(); }

//===----------------------------------------------------------------------===//
// ExpertLinearOp
//===----------------------------------------------------------------------===//

LogicalResult ExpertLinearOp::verify() {
  auto input = getInput().getType(), weight = getWeight().getType();
  auto experts = getExperts().getType(), result = getResult().getType();
  if (failed(verifyRank(*this, "input", input, 2)) ||
      failed(verifyRank(*this, "weight", weight, 3)) ||
      failed(verifyRank(*this, "experts", experts, 1)) ||
      failed(verifyRank(*this, "result", result, 2)) ||
      failed(verifyDim(*this, "input", input, 1, weight.getDimSize(2))) ||
      failed(verifyDim(*this, "experts", experts, 0, input.getDimSize(0))) ||
      failed(verifyDim(*this, "result", result, 0, input.getDimSize(0))) ||
      failed(verifyDim(*this, "result", result, 1, weight.getDimSize(1))))
    return failure();
  if (Value bias = getBias()) {
    auto type = cast<RankedTensorType>(bias.getType());
    if (failed(verifyRank(*this, "bias", type, 2)) ||
        failed(verifyDim(*this, "bias", type, 0, weight.getDimSize(0))) ||
        failed(verifyDim(*this, "bias", type, 1, weight.getDimSize(1))))
      return failure();
  }
  return success();
}

OpOperand &ExpertLinearOp::getWeightOperand() { return getWeightMutable(); }
Value ExpertLinearOp::getMultipliedInput() { return getInput(); }

//===----------------------------------------------------------------------===//
// EmbeddingOp
//===----------------------------------------------------------------------===//

/// result[…, i] = table[indices[…], i].
static LogicalResult verifyRows(Operation *op, StringRef name,
                                RankedTensorType indices,
                                RankedTensorType table,
                                RankedTensorType result) {
  if (failed(verifyRank(op, name, table, 2)) ||
      failed(verifyRank(op, "result", result, indices.getRank() + 1)) ||
      failed(verifyDim(op, "result", result, indices.getRank(),
                       table.getDimSize(1))))
    return failure();
  for (int64_t i = 0; i < indices.getRank(); ++i)
    if (failed(verifyDim(op, "result", result, i, indices.getDimSize(i))))
      return failure();
  return success();
}

LogicalResult EmbeddingOp::verify() {
  return verifyRows(*this, "weight", getIndices().getType(),
                    getWeight().getType(), getResult().getType());
}

LogicalResult TakeRowsOp::verify() {
  return verifyRows(*this, "table", getIndices().getType(),
                    getTable().getType(), getResult().getType());
}

OpOperand &EmbeddingOp::getWeightOperand() { return getWeightMutable(); }
Value EmbeddingOp::getMultipliedInput() { return {}; }

//===----------------------------------------------------------------------===//
// Norms
//===----------------------------------------------------------------------===//

static LogicalResult verifyNorm(Operation *op, RankedTensorType input,
                                Value scale, Value bias) {
  if (input.getRank() < 1)
    return op->emitOpError("expects an input of rank 1 or more");
  for (auto [value, name] : {std::pair{scale, "scale"}, {bias, "bias"}}) {
    if (!value)
      continue;
    auto type = cast<RankedTensorType>(value.getType());
    if (failed(verifyRank(op, name, type, 1)) ||
        failed(verifyDim(op, name, type, 0, input.getShape().back())))
      return failure();
  }
  return success();
}

LogicalResult RmsNormOp::verify() {
  return verifyNorm(*this, getInput().getType(), getScale(), {});
}

LogicalResult LayerNormOp::verify() {
  return verifyNorm(*this, getInput().getType(), getScale(), getBias());
}

//===----------------------------------------------------------------------===//
// Heads
//===----------------------------------------------------------------------===//

/// flat is batch × sequence × (heads · size), split batch × heads × sequence ×
/// size.
static LogicalResult verifyHeads(Operation *op, Type flatType, Type splitType) {
  auto flat = cast<RankedTensorType>(flatType);
  auto split = cast<RankedTensorType>(splitType);
  if (failed(verifyRank(op, "the flat tensor", flat, 3)) ||
      failed(verifyRank(op, "the split tensor", split, 4)))
    return failure();
  if (split.isDynamicDim(1) || split.isDynamicDim(3))
    return op->emitOpError("expects a static number and size of heads, but "
                           "got ")
           << split;
  if (flat.getElementType() != split.getElementType())
    return op->emitOpError("expects one element type, but got ")
           << flat << " and " << split;
  if (failed(verifyDim(op, "the flat tensor", flat, 0, split.getDimSize(0))) ||
      failed(verifyDim(op, "the flat tensor", flat, 1, split.getDimSize(2))) ||
      failed(verifyDim(op, "the flat tensor", flat, 2,
                       split.getDimSize(1) * split.getDimSize(3))))
    return failure();
  return success();
}

LogicalResult SplitHeadsOp::verify() {
  return verifyHeads(*this, getInput().getType(), getResult().getType());
}

LogicalResult MergeHeadsOp::verify() {
  return verifyHeads(*this, getResult().getType(), getInput().getType());
}

OpFoldResult MergeHeadsOp::fold(FoldAdaptor) {
  auto split = getInput().getDefiningOp<SplitHeadsOp>();
  if (split && split.getInput().getType() == getResult().getType())
    return split.getInput();
  return {};
}

//===----------------------------------------------------------------------===//
// RopeOp
//===----------------------------------------------------------------------===//

LogicalResult RopeOp::verify() {
  auto input = getInput().getType();
  auto cos = getCos().getType();
  if (failed(verifyRank(*this, "input", input, 4)) ||
      failed(verifyRank(*this, "cos", cos, 3)))
    return failure();
  if (cos != getSin().getType())
    return emitOpError("expects cos and sin of one type, but got ")
           << cos << " and " << getSin().getType();
  if (cos.getDimSize(0) != 1 &&
      failed(verifyDim(*this, "cos", cos, 0, input.getDimSize(0))))
    return failure();
  if (failed(verifyDim(*this, "cos", cos, 1, input.getDimSize(2))))
    return failure();
  int64_t rotated = cos.getDimSize(2), size = input.getDimSize(3);
  if (ShapedType::isDynamic(rotated) || rotated % 2 != 0 ||
      (!ShapedType::isDynamic(size) && rotated > size))
    return emitOpError("expects an even number of rotated entries, at most ")
           << size << ", but got " << rotated;
  return success();
}

//===----------------------------------------------------------------------===//
// Positions
//===----------------------------------------------------------------------===//

LogicalResult PositionsOp::verify() {
  auto tokens = cast<RankedTensorType>(getTokens().getType());
  auto result = getResult().getType();
  if (failed(verifyRank(*this, "tokens", tokens, 2)) ||
      failed(verifyRank(*this, "the result", result, 2)) ||
      failed(verifyDim(*this, "the result", result, 0, tokens.getDimSize(0))) ||
      failed(verifyDim(*this, "the result", result, 1, tokens.getDimSize(1))))
    return failure();
  if (Value past = getPast())
    return verifyRank(*this, "past", cast<RankedTensorType>(past.getType()), 4);
  return success();
}

LogicalResult LinearBiasOp::verify() {
  auto keys = cast<RankedTensorType>(getKeys().getType());
  auto result = getResult().getType();
  if (failed(verifyRank(*this, "keys", keys, 4)) ||
      failed(verifyRank(*this, "the result", result, 4)) ||
      failed(verifyDim(*this, "the result", result, 0, 1)) ||
      failed(verifyDim(*this, "the result", result, 1, getSlopes().size())) ||
      failed(verifyDim(*this, "the result", result, 2, 1)))
    return failure();
  return verifyDim(*this, "the result", result, 3, keys.getDimSize(2));
}

LogicalResult TakeNewOp::verify() {
  auto input = cast<RankedTensorType>(getInput().getType());
  auto tokens = cast<RankedTensorType>(getTokens().getType());
  auto result = cast<RankedTensorType>(getResult().getType());
  if (failed(verifyRank(*this, "input", input, 2)) ||
      failed(verifyRank(*this, "tokens", tokens, 2)) ||
      failed(verifyRank(*this, "the result", result, 2)) ||
      failed(verifyDim(*this, "the result", result, 0, input.getDimSize(0))) ||
      failed(verifyDim(*this, "the result", result, 1, tokens.getDimSize(1))))
    return failure();
  if (input.getElementType() != result.getElementType())
    return emitOpError("expects one element type, but got ")
           << input << " and " << result;
  return success();
}

//===----------------------------------------------------------------------===//
// AttentionOp
//===----------------------------------------------------------------------===//

/// One score per head.
static LogicalResult verifySinks(Operation *op, Value sinks, int64_t heads) {
  if (!sinks)
    return success();
  auto type = cast<RankedTensorType>(sinks.getType());
  if (failed(verifyRank(op, "sinks", type, 1)))
    return failure();
  return verifyDim(op, "sinks", type, 0, heads);
}

/// Dimensions of the mask are those of scores, or 1.
static LogicalResult verifyMask(Operation *op, Value mask,
                                ArrayRef<int64_t> scores) {
  if (!mask)
    return success();
  auto type = cast<RankedTensorType>(mask.getType());
  if (failed(verifyRank(op, "mask", type, 4)))
    return failure();
  for (int64_t i = 0; i < 4; ++i)
    if (type.getDimSize(i) != 1 &&
        failed(verifyDim(op, "mask", type, i, scores[i])))
      return failure();
  return success();
}

LogicalResult CachedAttentionOp::verify() {
  auto query = getQuery().getType(), key = getKey().getType();
  if (failed(verifyRank(*this, "query", query, 4)) ||
      failed(verifyRank(*this, "key", key, 4)) ||
      failed(verifySinks(*this, getSinks(), query.getDimSize(1))))
    return failure();
  return verifyMask(*this, getMask(),
                    {query.getDimSize(0), query.getDimSize(1),
                     query.getDimSize(2), key.getDimSize(2)});
}

LogicalResult AttentionOp::verify() {
  auto query = getQuery().getType(), key = getKey().getType(),
       value = getValue().getType(), result = getResult().getType();
  for (auto [type, name] : {std::pair{query, "query"},
                            {key, "key"},
                            {value, "value"},
                            {result, "the result"}})
    if (failed(verifyRank(*this, name, type, 4)))
      return failure();
  if (query.isDynamicDim(1) || key.isDynamicDim(1) || key.getDimSize(1) == 0 ||
      query.getDimSize(1) % key.getDimSize(1) != 0)
    return emitOpError("expects query heads to be a multiple of key/value "
                       "heads, but got ")
           << query << " and " << key;
  if (failed(verifyDim(*this, "key", key, 0, query.getDimSize(0))) ||
      failed(verifyDim(*this, "key", key, 3, query.getDimSize(3))) ||
      failed(verifyDim(*this, "value", value, 0, key.getDimSize(0))) ||
      failed(verifyDim(*this, "value", value, 1, key.getDimSize(1))) ||
      failed(verifyDim(*this, "value", value, 2, key.getDimSize(2))) ||
      failed(verifyDim(*this, "the result", result, 1, query.getDimSize(1))) ||
      failed(verifyDim(*this, "the result", result, 2, query.getDimSize(2))) ||
      failed(verifyDim(*this, "the result", result, 3, value.getDimSize(3))))
    return failure();
  if (failed(verifyMask(*this, getMask(),
                        {query.getDimSize(0), query.getDimSize(1),
                         query.getDimSize(2), key.getDimSize(2)})) ||
      failed(verifySinks(*this, getSinks(), query.getDimSize(1))))
    return failure();
  if (Value padding = getPadding()) {
    auto type = cast<RankedTensorType>(padding.getType());
    if (failed(verifyRank(*this, "padding", type, 2)) ||
        failed(verifyDim(*this, "padding", type, 1, key.getDimSize(2))))
      return failure();
  }
  // The accessor is unsigned.
  if (int64_t(getWindow()) < 0 || (getWindow() > 0 && !getCausal()))
    return emitOpError("expects a window only where causal, and not negative");
  if (getHiddenOnce() && !(getHidden() && getCausal() && getPadding()))
    return emitOpError("expects 'hidden_once' only with 'hidden', causal and "
                       "padding");
  return success();
}
