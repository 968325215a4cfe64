//===- DenseLeaf.cpp - Panels of stored floats ----------------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Floats are packed `[column][row of the panel]` in their own type, so a load
/// is a column of a group and meets one activation.
///
//===----------------------------------------------------------------------===//

#include "Leaves.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include <cstring>

using namespace mlir;
using namespace miura::codegen;

/// Columns of a unit, which is a block too: what a loop's body takes.
static constexpr int64_t unitColumns = 4;

std::shared_ptr<PanelLeaf> DenseLeaf::get(Value value, int64_t rank,
                                          Placement placement) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  if (!type || (rank != 2 && rank != 3) ||
      (!placement && type.getRank() != rank))
    return nullptr;
  Type element = type.getElementType();
  if (!element.isF32() && !element.isF16() && !element.isBF16())
    return nullptr;
  auto leaf = std::make_shared<DenseLeaf>();
  leaf->element = element;
  leaf->batched = rank == 3;
  leaf->operands = {value};
  if (placement) {
    leaf->operands.push_back(placement.index);
    leaf->placement = std::move(placement);
  }
  return leaf;
}

std::shared_ptr<PanelLeaf> DenseLeaf::transpose() const {
  auto leaf = std::make_shared<DenseLeaf>(*this);
  leaf->transposed = !transposed;
  return leaf;
}

std::pair<int64_t, int64_t>
DenseLeaf::getShape(ArrayRef<PackOperand> sources) const {
  ArrayRef<int64_t> whole = sources[0].type.getShape();
  auto [rows, columns] = placement
                             ? placement.getShape(sources[0], sources.back())
                             : std::pair(whole[0], whole[1]);
  return transposed ? std::pair(columns, rows) : std::pair(rows, columns);
}

std::string DenseLeaf::getKey() const {
  return std::string("floats") + (transposed ? " transposed " : " ") +
         placement.getKey();
}

PanelLayout DenseLeaf::getLayout(const IsaRow &row, unsigned groups) const {
  int64_t bytes = unitColumns * groups * row.lanes() * elementBytes();
  return {groups, unitColumns, bytes, unitColumns, bytes, /*tailBytes=*/0};
}

unsigned DenseLeaf::getDecodeCost(const IsaRow &, PanelAs) const {
  return element.isF32() ? 0 : element.isF16() ? 1 : 2;
}

UnitVectors DenseLeaf::emitUnit(KernelBuilder &b, const PanelLayout &layout,
                                Value memory, Value offset, unsigned firstGroup,
                                unsigned groupCount, PanelAs as, ValueRange,
                                MutableArrayRef<Value>) const {
  assert(as == PanelAs::F32 && "floats have no integer panel");
  int64_t vectorBytes = b.row.lanes() * elementBytes();
  UnitVectors result(unitColumns);
  for (int64_t column = 0; column < unitColumns; ++column)
    for (unsigned g = firstGroup; g < firstGroup + groupCount; ++g) {
      Value at = b.add(offset, (column * layout.groups + g) * vectorBytes);
      if (element.isF32()) {
        result[column].push_back(b.loadRegister(memory, at, b.floats()));
      } else if (element.isF16()) {
        result[column].push_back(b.loadHalves(memory, at));
      } else {
        // A bf16 is the upper half of an f32.
        auto words = VectorType::get({(int64_t)b.row.lanes()}, b.getI16Type());
        Value raw =
            b.bitcast(b.loadBytes(memory, at, (unsigned)vectorBytes), words);
        Value wide = arith::ExtUIOp::create(b, b.ints(), raw);
        wide = arith::ShLIOp::create(b, wide, b.splatInts(16));
        result[column].push_back(b.bitcast(wide, b.floats()));
      }
    }
  return result;
}

LogicalResult DenseLeaf::pack(ArrayRef<PackOperand> sources, const IsaRow &row,
                              unsigned groups, int64_t begin, int64_t end,
                              MutableArrayRef<uint8_t> out,
                              Location loc) const {
  std::pair<int64_t, int64_t> shape = getShape(sources);
  int64_t rows = shape.first, columns = shape.second;
  int64_t size = elementBytes(), panelRows = (int64_t)row.lanes() * groups;
  const uint8_t *bytes = sources[0].bytes.data();
  if (failed(checkBytes(sources, loc)))
    return failure();
  int64_t panelBytes = getLayout(row, groups).panelBytes(columns);
  // Pruned values are put to their places first: of the rows that are packed,
  // or of all where the weight is stored transposed.
  std::vector<uint8_t> placed;
  int64_t skipped = 0;
  if (placement) {
    int64_t from = transposed ? 0 : begin * panelRows;
    int64_t count =
        transposed ? columns : std::min(end * panelRows, rows) - from;
    int64_t across = transposed ? rows : columns;
    placed.resize(count * across * size);
    int64_t stored = sources[0].type.getShape().back();
    if (failed(placement.forEach(
            sources[0], sources.back(), from, count, loc,
            [&](int64_t row, int64_t column, int64_t i, int64_t j) {
              if (row < from || row >= from + count)
                return;
              std::memcpy(&placed[((row - from) * across + column) * size],
                          &sources[0].bytes[(i * stored + j) * size], size);
            })))
      return failure();
    bytes = placed.data();
    skipped = from * across * size;
  }
  int64_t rowStride = transposed ? size : columns * size;
  int64_t columnStride = transposed ? rows * size : size;
  std::memset(out.data(), 0, out.size());
  auto copy = [&](auto element, uint8_t *to, int64_t first, int64_t count) {
    using T = decltype(element);
    // A square of columns and rows at a time: both sides stay in the cache.
    constexpr int64_t tile = 16;
    for (int64_t k0 = 0; k0 < columns; k0 += tile)
      for (int64_t r = 0; r < count; ++r)
        for (int64_t k = k0, e = std::min(columns, k0 + tile); k < e; ++k)
          std::memcpy(to + (k * panelRows + r) * sizeof(T),
                      bytes + (first + r) * rowStride + k * columnStride -
                          skipped,
                      sizeof(T));
  };
  for (int64_t panel = begin; panel < end; ++panel) {
    uint8_t *to = out.data() + (panel - begin) * panelBytes;
    int64_t first = panel * panelRows;
    int64_t count = std::min(panelRows, rows - first);
    if (size == 4)
      copy(uint32_t(), to, first, count);
    else
      copy(uint16_t(), to, first, count);
  }
  return success();
}

float miura::codegen::readFloat(const uint8_t *bytes, Type element,
                                int64_t index) {
  if (element.isF32()) {
    float value;
    std::memcpy(&value, bytes + 4 * index, 4);
    return value;
  }
  uint16_t half;
  std::memcpy(&half, bytes + 2 * index, 2);
  uint32_t wide;
  if (element.isBF16()) {
    wide = (uint32_t)half << 16;
  } else {
    // Rebias the exponent by multiplying with 2^112, which also normalizes
    // the subnormal.
    uint32_t sign = (uint32_t)(half & 0x8000) << 16;
    uint32_t magnitude = (uint32_t)(half & 0x7FFF) << 13;
    if ((half & 0x7C00) == 0x7C00) {
      wide = sign | magnitude | 0x7F800000;
    } else {
      float value;
      std::memcpy(&value, &magnitude, 4);
      value *= 0x1p112f;
      std::memcpy(&wide, &value, 4);
      wide |= sign;
    }
  }
  float value;
  std::memcpy(&value, &wide, 4);
  return value;
}

uint16_t miura::codegen::toHalfBits(float value) {
  llvm::APFloat half(value);
  bool losesInfo;
  half.convert(llvm::APFloat::IEEEhalf(), llvm::APFloat::rmNearestTiesToEven,
               &losesInfo);
  return (uint16_t)half.bitcastToAPInt().getZExtValue();
}
