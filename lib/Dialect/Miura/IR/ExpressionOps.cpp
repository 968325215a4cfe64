//===- ExpressionOps.cpp - Weights and their expressions ------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Verifiers, folders and the reference values of the expression ops. Values
/// are computed by plain loops from the definitions in MiuraExpressionOps.td.
///
//===----------------------------------------------------------------------===//

#include "ExpressionUtils.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/Matchers.h"
#include "mlir/IR/PatternMatch.h"
#include "llvm/ADT/SetVector.h"

using namespace mlir;
using namespace miura;

//===----------------------------------------------------------------------===//
// WeightDataOp, WeightOp
//===----------------------------------------------------------------------===//

LogicalResult WeightDataOp::verify() {
  auto type = cast<RankedTensorType>(getType());
  if (!type.hasStaticShape())
    return emitOpError("expects a static shape, but got ") << type;
  if (!getBytes())
    return success();
  int64_t expected = getStoredBytes(type);
  if (getBytes()->getLength() != expected)
    return emitOpError("expects ") << expected << " bytes for " << type
                                   << ", but got " << getBytes()->getLength();
  return success();
}

LogicalResult WeightOp::verifySymbolUses(SymbolTableCollection &symbols) {
  auto data =
      symbols.lookupNearestSymbolFrom<WeightDataOp>(*this, getDataAttr());
  if (!data)
    return emitOpError("refers to '@")
           << getData() << "', which is not a miura.weight_data";
  if (data.getType() != getResult().getType())
    return emitOpError("expects the type of '@")
           << getData() << "', " << data.getType() << ", but got "
           << getResult().getType();
  return success();
}

static WeightDataOp lookupData(WeightOp op) {
  return SymbolTable::lookupNearestSymbolFrom<WeightDataOp>(op,
                                                            op.getDataAttr());
}

static FailureOr<ArrayRef<uint8_t>> getDataBytes(WeightDataOp data) {
  if (!data.getBytes())
    return data.emitOpError(
        "has no bytes to read: it is only declared; give the original model");
  auto *dialect = data.getContext()->getOrLoadDialect<MiuraDialect>();
  return dialect->getWeightStore().getBytes(*data.getBytes(), data.getLoc());
}

static HostTensor transposeTensor(const HostTensor &input,
                                  RankedTensorType type) {
  HostTensor result;
  result.type = type;
  std::array<int64_t, 3> sizes = getBatchRowsColumns(result.type);
  int64_t batch = sizes[0], rows = sizes[1], columns = sizes[2];
  auto swap = [&](auto &from, auto &to) {
    to.resize(from.size());
    for (int64_t b = 0; b < batch; ++b)
      for (int64_t r = 0; !from.empty() && r < rows; ++r)
        for (int64_t c = 0; c < columns; ++c)
          to[(b * rows + r) * columns + c] = from[(b * columns + c) * rows + r];
  };
  swap(input.floats, result.floats);
  swap(input.ints, result.ints);
  return result;
}

FailureOr<HostTensor> miura::readWeightRows(WeightDataOp data, bool transposed,
                                            int64_t first, int64_t count) {
  auto type = cast<RankedTensorType>(data.getType());
  auto bytes = getDataBytes(data);
  if (failed(bytes))
    return failure();
  auto read = [&](RankedTensorType cut, ArrayRef<uint8_t> from) {
    auto value = readHostTensor(cut, from);
    if (failed(value))
      data.emitOpError("has no numbers: ") << type;
    return value;
  };
  int64_t stored = getStoredBytes(type), elements = type.getNumElements();
  if (!transposed && type.getRank() >= 2 && elements != 0) {
    int64_t size = stored / type.getDimSize(0);
    return read(getRowsType(type, count),
                bytes->slice(first * size, count * size));
  }
  if (!transposed && type.getRank() == 1 && elements != 0) {
    // Eight elements of any width end at a byte.
    int64_t start = first / 8 * 8, end = first + count;
    auto cut = getRowsType(type, end - start);
    int64_t skipped = getStoredBytes(getRowsType(type, start));
    auto value = read(cut, bytes->slice(skipped, getStoredBytes(cut)));
    if (failed(value))
      return failure();
    return sliceRows(*value, first - start, count);
  }
  if (transposed && type.getRank() == 2 && elements != 0 &&
      stored % elements == 0) {
    // Rows of the result are columns of the file: gather them.
    int64_t rows = type.getDimSize(0), columns = type.getDimSize(1);
    int64_t size = stored / elements;
    std::vector<uint8_t> cut(rows * count * size);
    for (int64_t r = 0; r < rows; ++r)
      memcpy(&cut[r * count * size],
             bytes->data() + (r * columns + first) * size, count * size);
    auto value =
        read(RankedTensorType::get({rows, count}, type.getElementType()), cut);
    if (failed(value))
      return failure();
    return transposeTensor(
        *value, RankedTensorType::get({count, rows}, type.getElementType()));
  }
  auto whole = read(type, *bytes);
  if (failed(whole))
    return failure();
  if (!transposed)
    return sliceRows(*whole, first, count);
  SmallVector<int64_t> shape(type.getShape());
  std::swap(shape[shape.size() - 1], shape[shape.size() - 2]);
  return sliceRows(transposeTensor(*whole, RankedTensorType::get(
                                               shape, type.getElementType())),
                   first, count);
}

FailureOr<HostTensor> WeightOp::evaluate(ArrayRef<HostTensor>) {
  WeightDataOp data = lookupData(*this);
  FailureOr<ArrayRef<uint8_t>> bytes = failure();
  if (data)
    bytes = getDataBytes(data);
  if (failed(bytes))
    return failure();
  auto value = readHostTensor(getResult().getType(), *bytes);
  if (failed(value))
    return emitOpError("has no numbers: ") << getResult().getType();
  return value;
}

FailureOr<HostTensor> WeightOp::evaluateRows(int64_t first, int64_t count) {
  WeightDataOp data = lookupData(*this);
  if (!data)
    return failure();
  return readWeightRows(data, /*transposed=*/false, first, count);
}

//===----------------------------------------------------------------------===//
// DequantizeOp
//===----------------------------------------------------------------------===//

LogicalResult DequantizeOp::verify() {
  auto codes = getCodes().getType();
  auto scales = getScales().getType();
  auto result = getResult().getType();
  if (codes.getShape() != result.getShape())
    return emitOpError("expects codes and a result of one shape, but got ")
           << codes << " and " << result;
  unsigned bits = codes.getElementTypeBitWidth();
  if (isa<FloatType>(codes.getElementType())) {
    if (getIsUnsigned())
      return emitOpError("has codes without signedness, but says unsigned");
  } else if (bits < 2 || bits > 16)
    return emitOpError("expects codes of 2 to 16 bits, but got ") << codes;
  if ((int64_t)getBlock().size() != codes.getRank() ||
      scales.getRank() != codes.getRank())
    return emitOpError("expects a block size and a dimension of the scales "
                       "for each of the ")
           << codes.getRank() << " dimensions of the codes";
  for (int64_t i = 0; i < codes.getRank(); ++i) {
    int64_t size = codes.getDimSize(i), block = getBlock()[i];
    if (block < 0)
      return emitOpError("expects block sizes that are not negative");
    // Kernels see sizes erased to `?`.
    if (ShapedType::isDynamic(size) || scales.isDynamicDim(i))
      continue;
    int64_t expected = block == 0 ? 1 : llvm::divideCeil(size, block);
    if (scales.getDimSize(i) != expected)
      return emitOpError("expects ")
             << expected << " scales in dimension " << i << " for a size of "
             << size << " and a block of " << block << ", but got "
             << scales.getDimSize(i);
  }
  if (Value zeros = getZeros())
    if (cast<RankedTensorType>(zeros.getType()).getShape() != scales.getShape())
      return emitOpError("expects zeros of the shape of the scales, but got ")
             << zeros.getType() << " and " << scales;
  return success();
}

/// Dequantizes rows of codes, the first of which is row `offset` of the first
/// row of blocks in `scales`.
static HostTensor dequantizeRows(DequantizeOp op, const HostTensor &codes,
                                 const HostTensor &scales,
                                 const HostTensor *zeros, int64_t offset) {
  HostTensor result;
  result.type = RankedTensorType::get(
      codes.getShape(), op.getResult().getType().getElementType());
  result.floats.resize(codes.getNumElements());
  bool isFloat = codes.isFloat();
  unsigned bits =
      isFloat ? 8 : op.getCodes().getType().getElementTypeBitWidth();
  int32_t mask = (1 << bits) - 1;
  int32_t sign = op.getIsUnsigned() ? 0 : 1 << (bits - 1);
  auto code = [&](int32_t value) { return ((value & mask) ^ sign) - sign; };

  ArrayRef<int64_t> block = op.getBlock();
  ArrayRef<int64_t> shape = codes.getShape();
  ArrayRef<int64_t> scaleShape = scales.getShape();
  int64_t last = shape.size() - 1, columns = shape[last];
  SmallVector<int64_t> index(shape.size(), 0);
  for (int64_t flat = 0, e = codes.getNumElements(); flat < e;
       flat += columns) {
    // The row's first scale.
    int64_t start = 0;
    for (int64_t i = 0; i <= last; ++i) {
      int64_t position = index[i] + (i == 0 ? offset : 0);
      start = start * scaleShape[i] + (block[i] == 0 ? 0 : position / block[i]);
    }
    int64_t step = block[last], shift = 0;
    if (last == 0) { // a vector: its only dimension is the one that was cut
      start = 0;
      shift = offset;
    }
    for (int64_t c = 0; c < columns; ++c) {
      int64_t place = start + (step == 0 ? 0 : (c + shift) / step);
      float zero = 0;
      if (zeros)
        zero =
            zeros->isFloat() ? zeros->floats[place] : code(zeros->ints[place]);
      float number =
          isFloat ? codes.floats[flat + c] : (float)code(codes.ints[flat + c]);
      result.floats[flat + c] = (number - zero) * scales.floats[place];
    }
    for (int64_t i = last - 1; i >= 0 && ++index[i] == shape[i]; --i)
      index[i] = 0;
  }
  return result;
}

FailureOr<HostTensor> DequantizeOp::evaluate(ArrayRef<HostTensor> operands) {
  return dequantizeRows(*this, operands[0], operands[1],
                        operands.size() > 2 ? &operands[2] : nullptr, 0);
}

FailureOr<HostTensor> DequantizeOp::evaluateRows(int64_t first, int64_t count) {
  int64_t block = getBlock()[0];
  int64_t firstScale = block == 0 ? 0 : first / block;
  int64_t scaleRows =
      block == 0 ? 1 : llvm::divideCeil(first + count, block) - firstScale;
  auto codes = evaluateExpressionRows(getCodes(), first, count);
  auto scales = evaluateExpressionRows(getScales(), firstScale, scaleRows);
  if (failed(codes) || failed(scales))
    return failure();
  FailureOr<HostTensor> zeros = failure();
  if (getZeros()) {
    zeros = evaluateExpressionRows(getZeros(), firstScale, scaleRows);
    if (failed(zeros))
      return failure();
  }
  return dequantizeRows(*this, *codes, *scales, getZeros() ? &*zeros : nullptr,
                        first - firstScale * block);
}

std::optional<unsigned> DequantizeOp::getMaskedOperand() {
  // Where a zero point is no code, no code is that of zero.
  Value zeros = getZeros();
  if (zeros &&
      getElementTypeOrSelf(zeros) != getCodes().getType().getElementType())
    return std::nullopt;
  if (zeros && isa<FloatType>(getElementTypeOrSelf(zeros)))
    return std::nullopt;
  return 0;
}

BlockFill DequantizeOp::getMaskFill() { return {getZeros(), getBlock()}; }

//===----------------------------------------------------------------------===//
// LookupOp
//===----------------------------------------------------------------------===//

LogicalResult LookupOp::verify() {
  auto codes = getCodes().getType();
  auto codebook = getCodebook().getType();
  auto result = getResult().getType();
  if (codebook.getRank() != 2 || codes.getRank() != result.getRank() ||
      codes.getRank() < 1)
    return emitOpError("expects a codebook of rank 2 and codes of the result's "
                       "rank, but got ")
           << codebook << " and " << codes;
  int64_t last = codes.getRank() - 1;
  if (!codes.isDynamicDim(last) && !result.isDynamicDim(last) &&
      codes.getDimSize(last) * codebook.getDimSize(1) !=
          result.getDimSize(last))
    return emitOpError("expects rows of ")
           << codes.getDimSize(last) * codebook.getDimSize(1)
           << " values for the codes and the codebook, but got " << result;
  if (codes.getShape().drop_back() != result.getShape().drop_back())
    return emitOpError("expects a row of codes per row of the result, but got ")
           << codes << " and " << result;
  return success();
}

FailureOr<HostTensor> LookupOp::evaluate(ArrayRef<HostTensor> operands) {
  const HostTensor &codes = operands[0], &codebook = operands[1];
  HostTensor result = makeFloat(getResult().getType());
  int64_t entries = codebook.getShape()[0], width = codebook.getShape()[1];
  uint32_t mask = (uint32_t)llvm::maskTrailingOnes<uint64_t>(
      getCodes().getType().getElementTypeBitWidth());
  for (int64_t i = 0, e = codes.getNumElements(); i < e; ++i) {
    int64_t entry = (uint32_t)codes.ints[i] & mask;
    if (entry >= entries)
      return emitOpError("has a code of ")
             << entry << " for a codebook of " << entries << " entries";
    for (int64_t j = 0; j < width; ++j)
      result.floats[i * width + j] = codebook.floats[entry * width + j];
  }
  return result;
}

//===----------------------------------------------------------------------===//
// MatmulOp
//===----------------------------------------------------------------------===//

LogicalResult MatmulOp::verify() {
  auto lhs = getLhs().getType(), rhs = getRhs().getType();
  auto result = getResult().getType();
  int64_t rank = result.getRank();
  if (rank < 2 || lhs.getRank() != rank || rhs.getRank() != rank ||
      lhs.getDimSize(rank - 1) != rhs.getDimSize(rank - 2) ||
      lhs.getDimSize(rank - 2) != result.getDimSize(rank - 2) ||
      rhs.getDimSize(rank - 1) != result.getDimSize(rank - 1))
    return emitOpError("expects out x r by r x in to be out x in, but got ")
           << lhs << ", " << rhs << " and " << result;
  return success();
}

static HostTensor multiply(const HostTensor &lhs, const HostTensor &rhs,
                           RankedTensorType type) {
  HostTensor result = makeFloat(type);
  auto [batch, rows, columns] = getBatchRowsColumns(result.type);
  int64_t rank = lhs.getShape().back();
  for (int64_t r = 0; r < batch * rows; ++r)
    for (int64_t k = 0; k < rank; ++k) {
      float factor = lhs.floats[r * rank + k];
      const float *row = &rhs.floats[(r / rows * rank + k) * columns];
      float *out = &result.floats[r * columns];
      for (int64_t c = 0; c < columns; ++c)
        out[c] += factor * row[c];
    }
  return result;
}

FailureOr<HostTensor> MatmulOp::evaluate(ArrayRef<HostTensor> operands) {
  return multiply(operands[0], operands[1], getResult().getType());
}

FailureOr<HostTensor> MatmulOp::evaluateRows(int64_t first, int64_t count) {
  auto lhs = evaluateExpressionRows(getLhs(), first, count);
  // Every row needs all of R, or, where there is a batch, the same slice.
  bool batched = getResult().getType().getRank() > 2;
  auto rhs = batched ? evaluateExpressionRows(getRhs(), first, count)
                     : evaluateExpression(getRhs());
  if (failed(lhs) || failed(rhs))
    return failure();
  return multiply(*lhs, *rhs, getRowsType(getResult().getType(), count));
}

Value MatmulOp::applyTo(OpBuilder &builder, Value x,
                        function_ref<Value(Value, Value)> linear) {
  return linear(linear(x, getRhs()), getLhs());
}

Value MatmulOp::pickRows(OpBuilder &builder, function_ref<Value(Value)> rows,
                         function_ref<Value(Value, Value)> linear) {
  // Rows of L times R are a linear of the weight Rᵀ.
  auto type = getRhs().getType();
  SmallVector<int64_t> shape(type.getShape());
  std::swap(shape[shape.size() - 1], shape[shape.size() - 2]);
  Value right =
      TransposeOp::create(builder, getLoc(), type.clone(shape), getRhs());
  return linear(rows(getLhs()), right);
}

SmallVector<unsigned> MatmulOp::getWeightOperands() { return {0, 1}; }

//===----------------------------------------------------------------------===//
// AddOp
//===----------------------------------------------------------------------===//

LogicalResult AddOp::verify() {
  if (getLhs().getType().getShape() != getResult().getType().getShape() ||
      getRhs().getType().getShape() != getResult().getType().getShape())
    return emitOpError("expects operands of the result's shape");
  return success();
}

static HostTensor addTensors(const HostTensor &lhs, const HostTensor &rhs,
                             RankedTensorType type) {
  HostTensor result = makeFloat(type);
  for (size_t i = 0; i < result.floats.size(); ++i)
    result.floats[i] = lhs.floats[i] + rhs.floats[i];
  return result;
}

FailureOr<HostTensor> AddOp::evaluate(ArrayRef<HostTensor> operands) {
  return addTensors(operands[0], operands[1], getResult().getType());
}

FailureOr<HostTensor> AddOp::evaluateRows(int64_t first, int64_t count) {
  auto lhs = evaluateExpressionRows(getLhs(), first, count);
  auto rhs = evaluateExpressionRows(getRhs(), first, count);
  if (failed(lhs) || failed(rhs))
    return failure();
  return addTensors(*lhs, *rhs, getRowsType(getResult().getType(), count));
}

Value AddOp::applyTo(OpBuilder &builder, Value x,
                     function_ref<Value(Value, Value)> linear) {
  // One after the other: compilers evaluate arguments in different orders.
  Value lhs = linear(x, getLhs());
  Value rhs = linear(x, getRhs());
  return arith::AddFOp::create(builder, getLoc(), lhs, rhs);
}

Value AddOp::pickRows(OpBuilder &builder, function_ref<Value(Value)> rows,
                      function_ref<Value(Value, Value)>) {
  Value lhs = rows(getLhs());
  Value rhs = rows(getRhs());
  return arith::AddFOp::create(builder, getLoc(), lhs, rhs);
}

SmallVector<unsigned> AddOp::getWeightOperands() { return {0, 1}; }

//===----------------------------------------------------------------------===//
// ScaleOp
//===----------------------------------------------------------------------===//

LogicalResult ScaleOp::verify() {
  auto type = getInput().getType();
  if (type.getShape() != getResult().getType().getShape() || type.getRank() < 2)
    return emitOpError("expects an input and a result of one shape, of rank 2 "
                       "or more");
  int64_t rank = type.getRank();
  for (auto [value, dim, name] :
       {std::tuple{getRows(), rank - 2, "rows"},
        std::tuple{getColumns(), rank - 1, "columns"}}) {
    if (!value)
      continue;
    auto vector = cast<RankedTensorType>(value.getType());
    if (vector.getRank() != 1 || vector.getDimSize(0) != type.getDimSize(dim))
      return emitOpError("expects ")
             << type.getDimSize(dim) << " " << name << ", but got " << vector;
  }
  return success();
}

FailureOr<HostTensor> ScaleOp::evaluate(ArrayRef<HostTensor> operands) {
  HostTensor result = makeFloat(getResult().getType());
  const HostTensor *rows = getRows() ? &operands[1] : nullptr;
  const HostTensor *columns = getColumns() ? &operands.back() : nullptr;
  auto [batch, height, width] = getBatchRowsColumns(result.type);
  for (int64_t i = 0, e = result.getNumElements(); i < e; ++i) {
    float value = operands[0].floats[i];
    if (rows)
      value *= rows->floats[i / width % height];
    if (columns)
      value *= columns->floats[i % width];
    result.floats[i] = value;
  }
  return result;
}

SmallVector<unsigned> ScaleOp::getWeightOperands() { return {0}; }

std::optional<unsigned> ScaleOp::getMaskedOperand() { return 0; }

namespace {
/// A scale by neither rows nor columns is its input.
struct DropEmptyScale : OpRewritePattern<ScaleOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(ScaleOp op,
                                PatternRewriter &rewriter) const override {
    if (op.getRows() || op.getColumns() ||
        op.getInput().getType() != op.getResult().getType())
      return failure();
    rewriter.replaceOp(op, op.getInput());
    return success();
  }
};
} // namespace

void ScaleOp::getCanonicalizationPatterns(RewritePatternSet &patterns,
                                          MLIRContext *context) {
  patterns.add<DropEmptyScale>(context);
}

//===----------------------------------------------------------------------===//
// TransposeOp, ConvertOp, ApproximateOp
//===----------------------------------------------------------------------===//

LogicalResult TransposeOp::verify() {
  auto input = cast<RankedTensorType>(getInput().getType());
  auto result = cast<RankedTensorType>(getResult().getType());
  if (input.getRank() < 2)
    return emitOpError("expects an input of rank 2 or more, but got ") << input;
  SmallVector<int64_t> expected(input.getShape());
  std::swap(expected[expected.size() - 1], expected[expected.size() - 2]);
  if (result.getShape() != ArrayRef<int64_t>(expected) ||
      input.getElementType() != result.getElementType())
    return emitOpError("expects a result with the last two dimensions of the "
                       "input swapped, but got ")
           << input << " and " << result;
  return success();
}

OpFoldResult TransposeOp::fold(FoldAdaptor) {
  if (auto inner = getInput().getDefiningOp<TransposeOp>())
    return inner.getInput();
  return {};
}

FailureOr<HostTensor> TransposeOp::evaluate(ArrayRef<HostTensor> operands) {
  return transposeTensor(operands[0],
                         cast<RankedTensorType>(getResult().getType()));
}

FailureOr<HostTensor> TransposeOp::evaluateRows(int64_t first, int64_t count) {
  auto weight = getInput().getDefiningOp<WeightOp>();
  WeightDataOp data = weight ? lookupData(weight) : WeightDataOp();
  if (!data || weight.getResult().getType().getRank() != 2)
    return evaluateAndSlice(getResult(), first, count);
  return readWeightRows(data, /*transposed=*/true, first, count);
}

OpFoldResult ConvertOp::fold(FoldAdaptor) {
  if (getInput().getType() == getResult().getType())
    return getInput();
  return {};
}

/// Rounds to `type` and back.
static HostTensor roundTensor(HostTensor input, FloatType type) {
  input.type = RankedTensorType::get(input.getShape(), type);
  if (type.isF32() || type.isF64())
    return input;
  for (float &number : input.floats) {
    APFloat value(number);
    bool lossy;
    value.convert(type.getFloatSemantics(), APFloat::rmNearestTiesToEven,
                  &lossy);
    number = (float)value.convertToDouble();
  }
  return input;
}

FailureOr<HostTensor> ConvertOp::evaluate(ArrayRef<HostTensor> operands) {
  return roundTensor(operands[0],
                     cast<FloatType>(getResult().getType().getElementType()));
}

FailureOr<HostTensor> ConvertOp::evaluateRows(int64_t first, int64_t count) {
  auto input = evaluateExpressionRows(getInput(), first, count);
  if (failed(input))
    return failure();
  return roundTensor(std::move(*input),
                     cast<FloatType>(getResult().getType().getElementType()));
}

FailureOr<HostTensor> ApproximateOp::evaluate(ArrayRef<HostTensor> operands) {
  return operands[0];
}

FailureOr<HostTensor> ApproximateOp::evaluateRows(int64_t first,
                                                  int64_t count) {
  return evaluateExpressionRows(getExpression(), first, count);
}

Value ApproximateOp::applyTo(OpBuilder &builder, Value x,
                             function_ref<Value(Value, Value)> linear) {
  return linear(x, getExpression());
}

Value ApproximateOp::pickRows(OpBuilder &, function_ref<Value(Value)> rows,
                              function_ref<Value(Value, Value)>) {
  return rows(getExpression());
}

LogicalResult ApproximateOp::verifySymbolUses(SymbolTableCollection &symbols) {
  auto data =
      symbols.lookupNearestSymbolFrom<WeightDataOp>(*this, getOriginalAttr());
  if (!data)
    return emitOpError("refers to '@")
           << getOriginal() << "', which is not a miura.weight_data";
  SmallVector<int64_t> shape(cast<RankedTensorType>(data.getType()).getShape());
  if (getTransposed() && shape.size() >= 2)
    std::swap(shape[shape.size() - 1], shape[shape.size() - 2]);
  if (getResult().getType().getShape() != ArrayRef<int64_t>(shape))
    return emitOpError("expects the shape of '@")
           << getOriginal() << (getTransposed() ? "', transposed, " : "', ")
           << data.getType() << ", but got " << getResult().getType();
  return success();
}

//===----------------------------------------------------------------------===//
// Trees
//===----------------------------------------------------------------------===//

void miura::walkElementSources(ArrayRef<Value> values,
                               function_ref<void(Value)> f) {
  SmallPtrSet<Value, 16> seen;
  SmallVector<Value> open(llvm::reverse(values));
  while (!open.empty()) {
    Value value = open.pop_back_val();
    if (!seen.insert(value).second)
      continue;
    f(value);
    Operation *op = value.getDefiningOp();
    auto node = dyn_cast_or_null<OnnxNodeOp>(op);
    if (!op || isa<tensor::DimOp, PositionsOp, LinearBiasOp>(op) ||
        (node && node.hasStandardDomain() &&
         (node.getOpType() == "Shape" || node.getOpType() == "Size")))
      continue;
    // The first operand is visited first, with what is behind it.
    for (Value operand : llvm::reverse(op->getOperands()))
      open.push_back(operand);
  }
}

bool miura::isWeightExpression(Value value) {
  Operation *op = value.getDefiningOp();
  return op &&
         (isa<WeightExpression>(op) || op->hasTrait<OpTrait::ConstantLike>());
}

HostTensor miura::readConstant(DenseElementsAttr constant) {
  HostTensor result;
  result.type = cast<RankedTensorType>(constant.getType());
  if (result.isFloat())
    for (APFloat element : constant.getValues<APFloat>()) {
      bool lossy;
      element.convert(APFloat::IEEEsingle(), APFloat::rmNearestTiesToEven,
                      &lossy);
      result.floats.push_back(element.convertToFloat());
    }
  else
    for (const APInt &element : constant.getValues<APInt>())
      result.ints.push_back((int32_t)element.getSExtValue());
  return result;
}

static FailureOr<HostTensor> evaluateConstant(Value value) {
  DenseElementsAttr constant;
  if (!isa<RankedTensorType>(value.getType()) ||
      !matchPattern(value, m_Constant(&constant))) {
    emitError(value.getLoc(), "is not a weight expression");
    return failure();
  }
  return readConstant(constant);
}

FailureOr<HostTensor> miura::evaluateExpression(Value value) {
  auto expression = value.getDefiningOp<WeightExpression>();
  if (!expression)
    return evaluateConstant(value);
  SmallVector<HostTensor> operands;
  for (Value operand : expression->getOperands()) {
    auto result = evaluateExpression(operand);
    if (failed(result))
      return failure();
    operands.push_back(std::move(*result));
  }
  return expression.evaluate(operands);
}

FailureOr<HostTensor> miura::evaluateAndSlice(Value value, int64_t first,
                                              int64_t count) {
  auto whole = evaluateExpression(value);
  if (failed(whole))
    return failure();
  return sliceRows(*whole, first, count);
}

FailureOr<HostTensor> miura::evaluateExpressionRows(Value value, int64_t first,
                                                    int64_t count) {
  auto expression = value.getDefiningOp<WeightExpression>();
  if (!expression)
    return evaluateAndSlice(value, first, count);
  return expression.evaluateRows(first, count);
}

int64_t miura::getFileBytes(Value value) {
  llvm::SetVector<StringRef> seen;
  int64_t bytes = 0;
  SmallVector<Value> worklist{value};
  while (!worklist.empty()) {
    Value current = worklist.pop_back_val();
    Operation *op = current.getDefiningOp();
    if (!op)
      continue;
    if (auto weight = dyn_cast<WeightOp>(op)) {
      if (seen.insert(weight.getData()))
        bytes += getStoredBytes(weight.getResult().getType());
    } else if (op->hasTrait<OpTrait::ConstantLike>()) {
      if (auto type = dyn_cast<RankedTensorType>(current.getType()))
        bytes += getStoredBytes(type);
    }
    llvm::append_range(worklist, op->getOperands());
  }
  return bytes;
}
