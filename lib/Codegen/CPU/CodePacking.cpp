//===- CodePacking.cpp - Packing of integer codes -------------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Puts stored streams of codes, of whole and of pruned weights, and their
/// scales and zeros where CodeLeaf.cpp decodes them.
///
//===----------------------------------------------------------------------===//

#include "Leaves.h"
#include <cstring>

using namespace mlir;
using namespace miura::codegen;

CodeStream::CodeStream(const PackOperand &operand)
    : bytes(operand.bytes.data()),
      rowBytes(llvm::divideCeil(operand.type.getShape().back() *
                                    operand.type.getElementTypeBitWidth(),
                                8)),
      bits(operand.type.getElementTypeBitWidth()) {}

LogicalResult miura::codegen::checkBytes(ArrayRef<PackOperand> sources,
                                         Location loc) {
  for (const PackOperand &source : sources) {
    ArrayRef<int64_t> shape = source.type.getShape();
    int64_t bits = source.type.getElementTypeBitWidth();
    int64_t expected = llvm::divideCeil(shape.back() * bits, 8);
    for (int64_t size : shape.drop_back())
      expected *= size;
    if ((int64_t)source.bytes.size() < expected)
      return emitError(loc)
             << "expects " << expected << " bytes for " << source.type
             << ", but got " << source.bytes.size();
  }
  return success();
}

LogicalResult CodeLeaf::checkSources(ArrayRef<PackOperand> sources,
                                     Location loc) const {
  if (failed(checkBytes(sources, loc)))
    return failure();
  // An integer kernel sums a row that has one scale in 32 bits.
  int64_t columns = getShape(sources).second;
  if (decodesToInt() && !isScaledByBlock() && columns > 65536)
    return emitError(loc) << "a weight of " << columns
                          << " columns has no kernel with a scale per row: "
                             "quantize it with a block size";
  return success();
}

std::pair<int64_t, int64_t> CodeLeaf::locateParameter(int64_t row,
                                                      int64_t block) const {
  int64_t rows = rowBlock ? row / rowBlock : 0;
  return transposed ? std::pair(block, rows) : std::pair(rows, block);
}

LogicalResult CodeLeaf::readRows(ArrayRef<PackOperand> sources, int64_t first,
                                 int64_t count, int64_t stride, uint8_t *codes,
                                 uint8_t *kept, Location loc) const {
  CodeStream stream(sources[0]);
  unsigned flip = isUnsigned ? 0 : 1u << (bits - 1);
  auto [rows, columns] = getShape(sources);
  if (!placement) {
    for (int64_t r = 0; r < count; ++r)
      for (int64_t k = 0; k < columns; ++k)
        codes[r * stride + k] =
            (transposed ? stream.at(k, first + r) : stream.at(first + r, k)) ^
            flip;
    return success();
  }
  for (int64_t r = 0; r < count; ++r) {
    uint8_t *to = codes + r * stride;
    if (!zeroType) {
      std::fill_n(to, columns, flip);
      continue;
    }
    int64_t width = columnBlock ? columnBlock : columns;
    CodeStream zeros(sources[2]);
    for (int64_t k = 0, block = 0; k < columns; k += width, ++block) {
      auto [i, j] = locateParameter(first + r, block);
      std::fill_n(to + k, std::min(width, columns - k), zeros.at(i, j) ^ flip);
    }
  }
  // Where the weight is stored transposed, its rows are columns here, and all
  // are read.
  return placement.forEach(
      sources[0], sources.back(), transposed ? 0 : first,
      transposed ? columns : count, loc,
      [&](int64_t row, int64_t column, int64_t i, int64_t j) {
        if (transposed)
          std::swap(row, column);
        row -= first;
        if (row < 0 || row >= count)
          return;
        codes[row * stride + column] = stream.at(i, j) ^ flip;
        if (kept)
          kept[row * stride + column] = 1;
      });
}

float CodeLeaf::readScale(ArrayRef<PackOperand> sources, int64_t row,
                          int64_t block) const {
  const PackOperand &scales = sources[1];
  auto [i, j] = locateParameter(row, block);
  return readFloat(scales.bytes.data(), scales.type.getElementType(),
                   i * scales.type.getDimSize(1) + j);
}

float CodeLeaf::readZero(ArrayRef<PackOperand> sources, int64_t row,
                         int64_t block) const {
  const PackOperand &zeros = sources[2];
  Type element = zeros.type.getElementType();
  auto [i, j] = locateParameter(row, block);
  if (!element.isInteger())
    return readFloat(zeros.bytes.data(), element,
                     i * zeros.type.getDimSize(1) + j);
  int flip = isUnsigned ? 0 : 1 << (bits - 1);
  return (float)(((int)CodeStream(zeros).at(i, j) ^ flip) - flip);
}

void miura::codegen::writeFloat(uint8_t *to, FloatType type, int64_t i,
                                float value) {
  if (type.isF16()) {
    uint16_t half = toHalfBits(value);
    std::memcpy(to + 2 * i, &half, 2);
  } else {
    std::memcpy(to + 4 * i, &value, 4);
  }
}

void CodeLeaf::storeParameters(ArrayRef<PackOperand> sources, const IsaRow &row,
                               uint8_t *to, int64_t first, int64_t count,
                               int64_t block) const {
  bool isHalf = scaleType && sources[1].type.getElementType().isF16();
  for (int64_t r = 0; isHalf && r < count; ++r) {
    auto [i, j] = locateParameter(first + r, block);
    int64_t at = i * sources[1].type.getDimSize(1) + j;
    std::memcpy(to + 2 * r, sources[1].bytes.data() + 2 * at, 2);
  }
  for (int64_t r = 0; scaleType && !isHalf && r < count; ++r)
    writeFloat(to, scaleType, r, readScale(sources, first + r, block));
  for (int64_t r = 0; zeroType && r < count; ++r)
    writeFloat(to + scaleBytes(row), zeroType, r,
               readZero(sources, first + r, block));
}

FailureOr<std::vector<uint8_t>> CodeLeaf::packAll(ArrayRef<PackOperand> sources,
                                                  const IsaRow &row,
                                                  unsigned groups,
                                                  Location loc) const {
  auto packed = PanelLeaf::packAll(sources, row, groups, loc);
  if (failed(packed) || !hasTable)
    return packed;
  // Entries that codes may name and the codebook does not have are zero.
  const PackOperand &table = sources[1 + (bool)scaleType + (bool)zeroType];
  for (int64_t i = 0; i < tableEntries(); ++i) {
    int64_t entry = i % (int64_t(1) << bits);
    float value =
        entry < table.type.getDimSize(0)
            ? readFloat(table.bytes.data(), table.type.getElementType(), entry)
            : 0;
    std::memcpy(packed->data() + 4 * i, &value, 4);
  }
  return packed;
}

LogicalResult CodeLeaf::packCodes(ArrayRef<PackOperand> sources,
                                  const IsaRow &row, const PanelLayout &layout,
                                  int64_t panel, uint8_t *to,
                                  Location loc) const {
  std::pair<int64_t, int64_t> shape = getShape(sources);
  int64_t rows = shape.first, columns = shape.second;
  int64_t panelRows = row.panelRows(), lanes = row.lanes();
  int64_t vectorBytes = row.vectorBytes;
  int64_t padded =
      llvm::divideCeil(columns, layout.blockColumns) * layout.blockColumns;
  unsigned flip = isSignedByte(row) ? 0x80 : 0;
  int64_t first = panel * panelRows;
  int64_t count = std::min(panelRows, rows - first);
  // The panel's codes, unsigned, a byte each.
  std::vector<uint8_t> bytes(panelRows * padded);
  if (failed(readRows(sources, first, count, padded, bytes.data(),
                      /*kept=*/nullptr, loc)))
    return failure();
  for (int64_t k0 = 0; k0 < padded; k0 += layout.unitColumns) {
    int64_t block = k0 / layout.blockColumns;
    uint8_t *unit =
        to + block * layout.blockBytes +
        (k0 % layout.blockColumns) / layout.unitColumns * layout.unitBytes;
    for (int64_t step = 0; step < layout.unitColumns / 4; ++step)
      for (int64_t r = 0; r < panelRows; ++r) {
        int64_t g = r / lanes;
        const uint8_t *code = bytes.data() + r * padded + k0 + 4 * step;
        uint8_t *at = unit + 4 * (r % lanes);
        for (int64_t j = 0; j < 4; ++j) {
          unsigned c = code[j];
          if (packedBits == 8) {
            at[g * vectorBytes + j] = c ^ flip;
          } else if (packedBits == 4) {
            at[g / 2 * vectorBytes + j] |= c << (4 * (g % 2));
          } else if (packedBits == 2) {
            at[j] |= c << (2 * g);
          } else {
            uint8_t *z = at + step * vectorBytes, *z2 = at + 2 * vectorBytes;
            if (g < 2) {
              z[j] |= c << (3 * g);
            } else if (g == 2) {
              z[j] |= (c >> 1) << 6;
              z2[j] |= (c & 1) << (6 + step);
            } else {
              z2[j] |= c << (3 * step);
            }
          }
        }
      }
  }
  return success();
}

LogicalResult CodeLeaf::pack(ArrayRef<PackOperand> sources, const IsaRow &row,
                             unsigned groups, int64_t begin, int64_t end,
                             MutableArrayRef<uint8_t> out, Location loc) const {
  if (failed(checkSources(sources, loc)))
    return failure();
  std::pair<int64_t, int64_t> shape = getShape(sources);
  int64_t rows = shape.first, columns = shape.second;
  PanelLayout layout = CodeLeaf::getLayout(row, groups);
  int64_t panelRows = row.panelRows();
  int64_t panelBytes = layout.panelBytes(columns);
  std::memset(out.data(), 0, out.size());
  for (int64_t panel = begin; panel < end; ++panel) {
    uint8_t *to = out.data() + (panel - begin) * panelBytes;
    int64_t first = panel * panelRows;
    int64_t count = std::min(panelRows, rows - first);
    if (failed(packCodes(sources, row, layout, panel, to, loc)))
      return failure();
    if (isScaledByBlock()) {
      for (int64_t block = 0; block * layout.blockColumns < columns; ++block)
        storeParameters(sources, row,
                        to + block * layout.blockBytes + layout.codeBytes(),
                        first, count, block);
    } else {
      storeParameters(sources, row, to + panelBytes - layout.tailBytes, first,
                      count, 0);
    }
  }
  return success();
}
