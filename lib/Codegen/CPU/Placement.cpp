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

/// The part of `operand` that is of one of `matrices` along its first
/// dimension; one that has them all in common stays.
static PackOperand takeSlice(const PackOperand &operand, int64_t first,
                             int64_t count) {
  ArrayRef<int64_t> shape = operand.type.getShape();
  SmallVector<int64_t> cut(shape);
  cut[0] = count;
  int64_t bytes = shape[0] == 0 ? 0 : operand.bytes.size() / shape[0];
  return {RankedTensorType::get(cut, operand.type.getElementType()),
          operand.bytes.slice(first * bytes, count * bytes)};
}

/// One of the matrices of a tensor of rank 3.
static PackOperand takeMatrix(const PackOperand &operand, int64_t matrix) {
  // Scales of all matrices.
  if (operand.type.getDimSize(0) == 1)
    matrix = 0;
  PackOperand slice = takeSlice(operand, matrix, 1);
  slice.type = RankedTensorType::get(slice.type.getShape().drop_front(),
                                     slice.type.getElementType());
  return slice;
}

int64_t Placement::getMatrices(ArrayRef<PackOperand> sources) const {
  return (*this ? sources.back() : sources.front()).type.getDimSize(0);
}

SmallVector<PackOperand>
Placement::getMatrix(ArrayRef<PackOperand> sources, int64_t matrix,
                     std::vector<uint8_t> &storage) const {
  SmallVector<PackOperand> result;
  for (auto [i, source] : llvm::enumerate(sources)) {
    if (i != 0 || !*this || isGroups()) {
      // A codebook has two dimensions.
      result.push_back(source.type.getRank() == 3 ? takeMatrix(source, matrix)
                                                  : source);
      continue;
    }
    // Kept values of the matrices before are counted.
    const PackOperand &index = sources.back();
    int64_t bytes = index.bytes.size() / index.type.getDimSize(0);
    auto count = [&](int64_t first, int64_t last) {
      int64_t bits = 0;
      for (uint8_t byte :
           index.bytes.slice(first * bytes, (last - first) * bytes))
        bits += llvm::popcount(byte);
      return bits;
    };
    int64_t all = source.type.getDimSize(0);
    int64_t before = std::min(count(0, matrix), all);
    int64_t kept = std::min(count(matrix, matrix + 1), all - before);
    unsigned bits = source.type.getElementTypeBitWidth();
    if (source.type.getRank() != 1) {
      result.push_back(takeSlice(source, before, kept));
      continue;
    }
    auto type = RankedTensorType::get({kept}, source.type.getElementType());
    if (before * bits % 8 == 0) {
      result.push_back({type, source.bytes.drop_front(before * bits / 8)});
      continue;
    }
    // A stream that begins within a byte is moved to a byte's begin.
    int64_t skipped = before * bits / 8, shift = before * bits % 8;
    int64_t size = llvm::divideCeil(kept * bits, 8);
    storage.resize(size);
    for (int64_t j = 0; j < size; ++j) {
      size_t at = skipped + j;
      unsigned next = at + 1 < source.bytes.size() ? source.bytes[at + 1] : 0;
      storage[j] = (uint8_t)((source.bytes[at] | next << 8) >> shift);
    }
    result.push_back({type, storage});
  }
  return result;
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
