//===- ColumnScaledLeaf.cpp - Panels of codes scaled by column ------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// A weight that is stored with a scale per block of a row, and used
/// transposed, has another scale in every column, for a block of rows. No sum
/// over columns may then wait for its scale, so codes are decoded to f32 and
/// scaled in registers. A block of a panel is
///
///   codes as CodeLeaf has them, the scales (then zeros) of column 0, 1, …
///
/// with a scale per group of rows, or for two or all four where they have it in
/// common: 4-bit codes in blocks of 32 rows take the 4.5 bits that they do in
/// files.
///
//===----------------------------------------------------------------------===//

#include "Leaves.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include <cstring>

using namespace mlir;
using namespace miura::codegen;

/// Columns of a block, of which there is no other measure.
static constexpr int64_t columnsOfBlock = 32;

int64_t ColumnScaledLeaf::sharedGroups(const IsaRow &row,
                                       unsigned groups) const {
  int64_t perBlock = rowBlock ? rowBlock / row.lanes() : groups;
  // Panels have to begin where blocks of rows do.
  return std::gcd(perBlock, (int64_t)groups);
}

int64_t ColumnScaledLeaf::columnBytes(const IsaRow &row,
                                      unsigned groups) const {
  int64_t bits = 0;
  for (FloatType type : {scaleType, zeroType})
    bits += type ? type.getIntOrFloatBitWidth() : 0;
  return groups / sharedGroups(row, groups) * bits / 8;
}

PanelLayout ColumnScaledLeaf::getLayout(const IsaRow &row,
                                        unsigned groups) const {
  PanelLayout layout = CodeLeaf::getLayout(row, groups);
  layout.blockColumns = columnsOfBlock;
  layout.blockBytes =
      layout.codeBytes() + layout.blockColumns * columnBytes(row, groups);
  layout.tailBytes = 0;
  return layout;
}

unsigned ColumnScaledLeaf::getDecodeCost(const IsaRow &row, PanelAs as) const {
  return CodeLeaf::getDecodeCost(row, as) + 3;
}

/// What is carried from unit to unit: where the scales of its columns are.
SmallVector<Value> ColumnScaledLeaf::emitBegin(KernelBuilder &b,
                                               const PanelLayout &layout, Value,
                                               Value offset) const {
  return {b.add(offset, layout.codeBytes())};
}

/// The f16 or f32 at `offset` in every lane.
static Value loadSplatFloat(KernelBuilder &b, Value memory, Value offset,
                            FloatType type) {
  unsigned bits = type.getIntOrFloatBitWidth();
  Value all = b.splat(b.loadBits(memory, offset, bits));
  auto lanes = VectorType::get({(int64_t)b.row.lanes()}, type);
  Value floats = b.bitcast(all, lanes);
  return type.isF16() ? b.row.widenHalf(b, floats) : floats;
}

UnitVectors ColumnScaledLeaf::emitUnit(KernelBuilder &b,
                                       const PanelLayout &layout, Value memory,
                                       Value offset, unsigned firstGroup,
                                       unsigned groupCount, PanelAs as,
                                       ValueRange blockVectors,
                                       MutableArrayRef<Value> state) const {
  assert(as == PanelAs::F32 && "sums of codes have no scale");
  UnitVectors vectors =
      CodeLeaf::emitUnit(b, layout, memory, offset, firstGroup, groupCount, as,
                         blockVectors, state);
  int64_t shared = sharedGroups(b.row, layout.groups);
  int64_t scales = layout.groups / shared;
  int64_t scaleSize = scaleType.getIntOrFloatBitWidth() / 8;
  int64_t bytes = columnBytes(b.row, layout.groups);
  for (auto [column, groups] : llvm::enumerate(vectors)) {
    Value at = b.add(state[0], (int64_t)column * bytes), scale, zero;
    for (auto [i, value] : llvm::enumerate(groups)) {
      int64_t group = firstGroup + i;
      if (i == 0 || group % shared == 0) {
        scale = loadSplatFloat(b, memory, b.add(at, group / shared * scaleSize),
                               scaleType);
        if (zeroType)
          zero = loadSplatFloat(
              b, memory,
              b.add(at,
                    scales * scaleSize +
                        group / shared * zeroType.getIntOrFloatBitWidth() / 8),
              zeroType);
      }
      if (zero)
        value = arith::SubFOp::create(b, value, zero);
      value = arith::MulFOp::create(b, value, scale);
    }
  }
  state[0] = b.add(state[0], layout.unitColumns * bytes);
  return vectors;
}

LogicalResult ColumnScaledLeaf::pack(ArrayRef<PackOperand> sources,
                                     const IsaRow &row, unsigned groups,
                                     int64_t begin, int64_t end,
                                     MutableArrayRef<uint8_t> out,
                                     Location loc) const {
  if (failed(checkSources(sources, loc)))
    return failure();
  std::pair<int64_t, int64_t> shape = getShape(sources);
  int64_t rows = shape.first, columns = shape.second;
  PanelLayout layout = getLayout(row, groups);
  int64_t panelBytes = layout.panelBytes(columns);
  int64_t shared = sharedGroups(row, groups), scales = groups / shared;
  int64_t scaleSize = scaleType.getIntOrFloatBitWidth() / 8;
  std::memset(out.data(), 0, out.size());
  for (int64_t panel = begin; panel < end; ++panel) {
    uint8_t *to = out.data() + (panel - begin) * panelBytes;
    if (failed(packCodes(sources, row, layout, panel, to, loc)))
      return failure();
    for (int64_t column = 0; column < columns; ++column) {
      uint8_t *at = to + column / layout.blockColumns * layout.blockBytes +
                    layout.codeBytes() +
                    column % layout.blockColumns * columnBytes(row, groups);
      for (int64_t i = 0; i < scales; ++i) {
        int64_t first = panel * row.panelRows() + i * shared * row.lanes();
        if (first >= rows)
          break;
        int64_t block = column / columnBlock;
        writeFloat(at, scaleType, i, readScale(sources, first, block));
        if (zeroType)
          writeFloat(at + scales * scaleSize, zeroType, i,
                     readZero(sources, first, block));
      }
    }
  }
  return success();
}
