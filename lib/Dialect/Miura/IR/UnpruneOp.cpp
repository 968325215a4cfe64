//===- UnpruneOp.cpp - Kept values scattered into zeros -------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The verifier and the reference value of `miura.unprune` in its three
/// formats, by plain loops from the definition in MiuraExpressionOps.td.
///
//===----------------------------------------------------------------------===//

#include "ExpressionUtils.h"

using namespace mlir;
using namespace miura;

//===----------------------------------------------------------------------===//
// Verifier and folder
//===----------------------------------------------------------------------===//

/// `format` is a bitmap, of entries or of blocks.
static LogicalResult verifyBitmap(UnpruneOp op) {
  auto index = op.getIndex().getType();
  RankedTensorType result = op.getResult().getType();
  if (!index.getElementType().isInteger(8))
    return op.emitOpError("expects a bitmap of i8, eight places a byte, but "
                          "got ")
           << index;
  bool isBlock = op.getFormat() == "block";
  ArrayRef<int64_t> group = op.getGroup();
  if (isBlock && (group.size() != 2 || group[0] < 1 || group[1] < 1 ||
                  result.getRank() < 2))
    return op.emitOpError("expects a group [rows, columns] and a result of "
                          "rank 2 or more");
  SmallVector<int64_t> expected(result.getShape());
  int64_t last = expected.size() - 1;
  if (last < 0 || index.getRank() != result.getRank())
    return op.emitOpError("expects an index of the result's rank, but got ")
           << index;
  if (isBlock)
    for (auto [dim, size] : {std::pair{last - 1, group[0]}, {last, group[1]}}) {
      if (ShapedType::isDynamic(expected[dim]))
        continue;
      if (expected[dim] % size != 0)
        return op.emitOpError("expects blocks of ")
               << size << " to divide the size of " << expected[dim]
               << " of dimension " << dim;
      expected[dim] /= size;
    }
  if (!ShapedType::isDynamic(expected[last]))
    expected[last] = llvm::divideCeil(expected[last], 8);
  for (auto [given, wanted] : llvm::zip_equal(index.getShape(), expected))
    if (!ShapedType::isDynamic(given) && !ShapedType::isDynamic(wanted) &&
        given != wanted)
      return op.emitOpError("expects a bitmap of ")
             << RankedTensorType::get(expected, index.getElementType())
             << " for " << result << ", but got " << index;
  auto values = cast<RankedTensorType>(op.getValues().getType());
  if (!isBlock && values.getRank() != 1)
    return op.emitOpError("expects values of rank 1, but got ") << values;
  // Kernels see sizes erased to `?`.
  auto isBlockOf = [&](unsigned i) {
    return values.isDynamicDim(i + 1) || values.getDimSize(i + 1) == group[i];
  };
  if (isBlock && (values.getRank() != 3 || !isBlockOf(0) || !isBlockOf(1)))
    return op.emitOpError("expects values of kept x ")
           << group[0] << " x " << group[1] << ", but got " << values;
  return success();
}

static LogicalResult verifyFill(UnpruneOp op) {
  auto fill = cast<RankedTensorType>(op.getFill().getType());
  RankedTensorType result = op.getResult().getType();
  ArrayRef<int64_t> block = op.getFillBlock();
  if (fill.getElementType() != result.getElementType())
    return op.emitOpError("expects a fill of the result's type, but got ")
           << fill << " and " << result;
  if (fill.getRank() != result.getRank() ||
      (int64_t)block.size() != result.getRank())
    return op.emitOpError("expects a block size and a dimension of the fill "
                          "for each of the ")
           << result.getRank() << " dimensions of the result";
  for (int64_t i = 0; i < result.getRank(); ++i) {
    if (block[i] < 0)
      return op.emitOpError("expects block sizes that are not negative");
    if (result.isDynamicDim(i) || fill.isDynamicDim(i))
      continue;
    int64_t expected =
        block[i] == 0 ? 1 : llvm::divideCeil(result.getDimSize(i), block[i]);
    if (fill.getDimSize(i) != expected)
      return op.emitOpError("expects ")
             << expected << " numbers of the fill in dimension " << i
             << ", but got " << fill.getDimSize(i);
  }
  return success();
}

static LogicalResult verifyGroups(UnpruneOp op) {
  ArrayRef<int64_t> group = op.getGroup();
  auto index = op.getIndex().getType();
  RankedTensorType result = op.getResult().getType();
  auto values = cast<RankedTensorType>(op.getValues().getType());
  if (group.size() != 2 || group[0] < 1 || group[0] > group[1])
    return op.emitOpError("expects a group [n, m] with 1 <= n <= m");
  if (index.getShape() != values.getShape() || result.getRank() < 1 ||
      values.getRank() != result.getRank() ||
      values.getShape().drop_back() != result.getShape().drop_back())
    return op.emitOpError("expects values and an index of one shape, with the "
                          "result's rows, but got ")
           << values << " and " << index;
  if (index.getElementTypeBitWidth() < 32 &&
      group[1] > (int64_t)1 << index.getElementTypeBitWidth())
    return op.emitOpError("expects an index whose type holds places 0 to ")
           << group[1] - 1 << ", but got " << index;
  int64_t kept = values.getShape().back(), all = result.getShape().back();
  if (!ShapedType::isDynamic(kept) && !ShapedType::isDynamic(all) &&
      kept * group[1] != all * group[0])
    return op.emitOpError("expects ")
           << group[0] << " of " << group[1] << " entries of each row of "
           << all << ", but got " << kept;
  return success();
}

LogicalResult UnpruneOp::verify() {
  Type from = cast<RankedTensorType>(getValues().getType()).getElementType();
  Type to = getResult().getType().getElementType();
  // Numbers may become wider; codes mean nothing in another type.
  if (isa<FloatType>(from) ? !isa<FloatType>(to) : from != to)
    return emitOpError("expects values and a result that are both "
                       "floating-point or codes of one type, but got ")
           << from << " and " << to;
  if (getFill() && failed(verifyFill(*this)))
    return failure();
  if (getFormat() == "bitmap" || getFormat() == "block")
    return verifyBitmap(*this);
  if (getFormat() == "nm")
    return verifyGroups(*this);
  return emitOpError("expects the format bitmap, nm or block, but got '")
         << getFormat() << "'";
}

OpFoldResult UnpruneOp::fold(FoldAdaptor) {
  // All of every group, in order.
  if (getFormat() == "nm" && getGroup()[0] == getGroup()[1] &&
      getValues().getType() == getResult().getType())
    return getValues();
  return {};
}

SmallVector<unsigned> UnpruneOp::getWeightOperands() {
  if (isa<FloatType>(getResult().getType().getElementType()))
    return {0};
  return {};
}

bool UnpruneOp::placesWeights() { return true; }

Value UnpruneOp::placeInstead(OpBuilder &builder, ValueRange operands,
                              BlockFill fill, RankedTensorType type) {
  return UnpruneOp::create(builder, getLoc(), type, operands[0], operands[1],
                           fill.numbers, getFormat(), getGroup(),
                           fill.numbers ? fill.block : ArrayRef<int64_t>());
}

//===----------------------------------------------------------------------===//
// Value
//===----------------------------------------------------------------------===//

static bool getBit(const HostTensor &bitmap, int64_t row, int64_t column) {
  int64_t bytes = bitmap.getShape().back();
  return bitmap.ints[row * bytes + column / 8] >> (column % 8) & 1;
}

static int64_t countBits(const HostTensor &bitmap) {
  int64_t count = 0;
  for (int32_t byte : bitmap.ints)
    count += llvm::popcount((uint8_t)byte);
  return count;
}

/// Sets `integers`, rows of a result of `op` with the shape `shape`, to the
/// fill, whose first row of blocks has the first of them `offset` rows down.
static void fillBlocks(UnpruneOp op, ArrayRef<int64_t> shape,
                       const HostTensor &fill, int64_t offset,
                       std::vector<int32_t> &integers) {
  ArrayRef<int64_t> block = op.getFillBlock(), blocks = fill.getShape();
  SmallVector<int64_t> index(shape.size(), 0);
  for (int32_t &number : integers) {
    int64_t at = 0;
    for (auto [i, position] : llvm::enumerate(index))
      at = at * blocks[i] +
           (block[i] == 0 ? 0 : (position + (i == 0 ? offset : 0)) / block[i]);
    number = fill.ints[at];
    for (int64_t i = shape.size() - 1; i >= 0 && ++index[i] == shape[i]; --i)
      index[i] = 0;
  }
}

/// `count` rows of the result, from an index and values that begin with theirs.
/// `fill` begins with the row of blocks that has the first, `offset` rows down,
/// or is null. Fails where the index asks for more values than there are.
static FailureOr<HostTensor> place(UnpruneOp op, const HostTensor &values,
                                   const HostTensor &index,
                                   const HostTensor *fill, int64_t offset,
                                   RankedTensorType type) {
  HostTensor result;
  result.type = type;
  bool isFloat = values.isFloat();
  int64_t size = isFloat ? values.floats.size() : values.ints.size();
  if (isFloat)
    result.floats.resize(result.getNumElements());
  else
    result.ints.resize(result.getNumElements());
  if (fill)
    fillBlocks(op, type.getShape(), *fill, offset, result.ints);
  auto set = [&](int64_t to, int64_t from) {
    if (isFloat)
      result.floats[to] = values.floats[from];
    else
      result.ints[to] = values.ints[from];
  };
  int64_t columns = type.getShape().back();
  int64_t rows = columns == 0 ? 0 : result.getNumElements() / columns;
  ArrayRef<int64_t> group = op.getGroup();

  if (op.getFormat() == "nm") {
    int64_t n = group[0], m = group[1], kept = columns / m * n;
    uint32_t mask = (uint32_t)llvm::maskTrailingOnes<uint64_t>(
        op.getIndex().getType().getElementTypeBitWidth());
    for (int64_t i = 0; i < size; ++i) {
      int64_t at = (uint32_t)index.ints[i] & mask;
      if (at >= m)
        return op.emitOpError("has a place of ")
               << at << " in a group of " << m;
      set(i / kept * columns + i % kept / n * m + at, i);
    }
    return result;
  }
  int64_t next = 0, b0 = 1, b1 = 1;
  if (op.getFormat() == "block") {
    b0 = group[0];
    b1 = group[1];
  }
  for (int64_t r = 0; r < rows / b0; ++r)
    for (int64_t c = 0; c < columns / b1; ++c) {
      if (!getBit(index, r, c))
        continue;
      if (next + b0 * b1 > size)
        return op.emitOpError("has an index of more places than its ")
               << size << " values";
      for (int64_t y = 0; y < b0; ++y)
        for (int64_t x = 0; x < b1; ++x)
          set((r * b0 + y) * columns + c * b1 + x, next++);
    }
  return result;
}

FailureOr<HostTensor> UnpruneOp::evaluate(ArrayRef<HostTensor> operands) {
  return place(*this, operands[0], operands[1],
               getFill() ? &operands[2] : nullptr, 0, getResult().getType());
}

FailureOr<HostTensor> UnpruneOp::evaluateRows(int64_t first, int64_t count) {
  RankedTensorType type = getRowsType(getResult().getType(), count);
  std::optional<HostTensor> fill;
  int64_t offset = 0;
  auto readFill = [&](int64_t from, int64_t rows) -> LogicalResult {
    if (!getFill())
      return success();
    int64_t block = getFillBlock()[0];
    int64_t firstBlock = block == 0 ? 0 : from / block;
    int64_t end = block == 0 ? 1 : llvm::divideCeil(from + rows, block);
    auto numbers =
        evaluateExpressionRows(getFill(), firstBlock, end - firstBlock);
    if (failed(numbers))
      return failure();
    fill = std::move(*numbers);
    offset = from - firstBlock * block;
    return success();
  };
  if (getFormat() == "nm") {
    auto values = evaluateExpressionRows(getValues(), first, count);
    auto index = evaluateExpressionRows(getIndex(), first, count);
    if (failed(values) || failed(index) || failed(readFill(first, count)))
      return failure();
    return place(*this, *values, *index, fill ? &*fill : nullptr, offset, type);
  }
  // Of blocks that are cut, whole rows of blocks are placed. Where there are
  // more dimensions than two the first counts matrices, which are not cut.
  int64_t height = 1;
  if (getFormat() == "block" && type.getRank() == 2)
    height = getGroup()[0];
  int64_t start = first / height;
  int64_t end = llvm::divideCeil(first + count, height);
  auto index = evaluateExpressionRows(getIndex(), start, end - start);
  if (failed(index))
    return failure();
  // The values of the rows before are counted, not read.
  int64_t before = 0;
  if (start > 0) {
    auto earlier = evaluateExpressionRows(getIndex(), 0, start);
    if (failed(earlier))
      return failure();
    before = countBits(*earlier);
  }
  int64_t kept = countBits(*index);
  auto valuesType = cast<RankedTensorType>(getValues().getType());
  if (before + kept > valuesType.getDimSize(0))
    return emitOpError("has an index of more places than its ")
           << valuesType.getNumElements() << " values";
  FailureOr<HostTensor> values;
  if (kept == 0) {
    values = HostTensor();
    values->type = getRowsType(valuesType, 0);
  } else {
    values = evaluateExpressionRows(getValues(), before, kept);
    if (failed(values))
      return failure();
  }
  if (failed(readFill(start * height, (end - start) * height)))
    return failure();
  auto placed = place(*this, *values, *index, fill ? &*fill : nullptr, offset,
                      getRowsType(type, (end - start) * height));
  if (failed(placed))
    return failure();
  return sliceRows(*placed, first - start * height, count);
}
