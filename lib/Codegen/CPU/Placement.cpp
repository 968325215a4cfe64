//===- Placement.cpp - Where kept values of pruned weights stand ----------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Reads the formats of `miura.unprune` for packing: bitmaps of entries and of
/// blocks, and n of every m. Packing goes by rows, so values of the rows before
/// are counted in the bitmap and not read.
///
//===----------------------------------------------------------------------===//

#include "Leaves.h"
#include "llvm/ADT/bit.h"

using namespace mlir;
using namespace miura::codegen;

std::string Placement::getKey() const {
  std::string key = format;
  for (int64_t size : group)
    key += "," + std::to_string(size);
  return key;
}

/// Rows and bytes of a row of a bitmap, whose type has a bit or a byte for
/// eight places.
static std::pair<int64_t, int64_t> getBitmapShape(RankedTensorType type) {
  int64_t bits = type.getShape().back() * type.getElementTypeBitWidth();
  int64_t rows = 1;
  for (int64_t size : type.getShape().drop_back())
    rows *= size;
  return {rows, llvm::divideCeil(bits, 8)};
}

std::pair<int64_t, int64_t>
Placement::getShape(const PackOperand &values, const PackOperand &index) const {
  if (isGroups()) {
    ArrayRef<int64_t> shape = values.type.getShape();
    return {shape[0], shape[1] / group[0] * group[1]};
  }
  auto [rows, bytes] = getBitmapShape(index.type);
  bool isBlock = format == "block";
  int64_t height = isBlock ? group[0] : 1, width = isBlock ? group[1] : 1;
  int64_t places = this->columns ? this->columns : 8 * bytes * width;
  return {rows * height, std::min(places, 8 * bytes * width)};
}

LogicalResult Placement::forEach(
    const PackOperand &values, const PackOperand &index, int64_t first,
    int64_t count, Location loc,
    function_ref<void(int64_t, int64_t, int64_t, int64_t)> place) const {
  if (isGroups()) {
    CodeStream places(index);
    int64_t kept = values.type.getDimSize(1);
    for (int64_t r = first; r < first + count; ++r)
      for (int64_t i = 0; i < kept; ++i)
        place(r, i / group[0] * group[1] + places.at(r, i), r, i);
    return success();
  }
  bool isBlock = format == "block";
  int64_t height = isBlock ? group[0] : 1, width = isBlock ? group[1] : 1;
  auto [indexRows, rowBytes] = getBitmapShape(index.type);
  const uint8_t *bits = index.bytes.data();
  int64_t before = first / height;
  int64_t next = 0;
  for (int64_t i = 0; i < before * rowBytes; ++i)
    next += llvm::popcount(bits[i]);
  int64_t size = values.type.getDimSize(0);
  for (int64_t r = before; r * height < first + count; ++r)
    for (int64_t byte = 0; byte < rowBytes; ++byte)
      for (unsigned set = bits[r * rowBytes + byte]; set; set &= set - 1) {
        if (next == size)
          return emitError(loc) << "has an index of more places than its "
                                << size << " values";
        int64_t column = 8 * byte + llvm::countr_zero(set);
        if (this->columns && (column + 1) * width > this->columns)
          return emitError(loc) << "has an index of places beyond its "
                                << this->columns << " columns";
        if (!isBlock)
          place(r, column, 0, next);
        for (int64_t y = 0; isBlock && y < height; ++y)
          for (int64_t x = 0; x < width; ++x)
            place(r * height + y, column * width + x, next * height + y, x);
        ++next;
      }
  return success();
}
