//===- RaiseTables.cpp - Masks that are stored ----------------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Some files keep the mask of their longest context as a table and slice it.
/// Such a table says of i and j only whether j − i lies in a range, or of each
/// head by how much a score grows from key to key (ALiBi); with that known, a
/// slice of it is a condition, or a sum, like any other.
///
//===----------------------------------------------------------------------===//

#include "Raiser.h"
#include "miura/Dialect/Miura/IR/HostTensor.h"
#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;
using namespace miura;

/// The band of an n × m table, if it is one with the diagonal inside.
static std::optional<TensorAnalysis::Band>
findBand(ArrayRef<float> table, int64_t rows, int64_t columns) {
  TensorAnalysis::Band band;
  band.inside = table.front();
  int64_t lowest = 0, highest = 0;
  // The first row shows the upper end, the first column the lower one.
  while (highest + 1 < columns && table[highest + 1] == band.inside)
    ++highest;
  while (-lowest + 1 < rows && table[(-lowest + 1) * columns] == band.inside)
    --lowest;
  bool isOpenAbove = highest + 1 == columns, isOpenBelow = -lowest + 1 == rows;
  if (isOpenAbove && isOpenBelow)
    return std::nullopt;
  band.outside =
      isOpenAbove ? table[(-lowest + 1) * columns] : table[highest + 1];
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < columns; ++j) {
      bool isInside =
          (isOpenAbove || j - i <= highest) && (isOpenBelow || j - i >= lowest);
      if (table[i * columns + j] !=
          float(isInside ? band.inside : band.outside))
        return std::nullopt;
    }
  if (!isOpenAbove)
    band.highest = highest;
  if (!isOpenBelow)
    band.lowest = lowest;
  return band;
}

/// Whether each row of a table grows evenly, up to the rounding of its numbers.
static bool isLinear(ArrayRef<float> table, int64_t columns) {
  bool grows = false;
  for (size_t row = 0; row < table.size(); row += columns) {
    double first = table[row], last = table[row + columns - 1];
    double slope = (last - first) / (columns - 1);
    double most = std::max(std::abs(first), std::abs(last));
    grows |= slope != 0;
    for (int64_t j = 0; j < columns; ++j)
      if (!(std::abs(first + slope * j - table[row + j]) <= 0x1p-22 * most))
        return false;
  }
  return grows;
}

void Raiser::readTables() {
  int64_t longest = INT64_MAX;
  for (Operation &op : func.getBody().front()) {
    if (!isa<WeightOp, arith::ConstantOp>(op))
      continue;
    Value value = op.getResult(0);
    auto type = dyn_cast<RankedTensorType>(value.getType());
    if (!type || !type.hasStaticShape() || type.getRank() < 2)
      continue;
    int64_t columns = type.getShape().back();
    int64_t rows = type.getDimSize(type.getRank() - 2);
    if (columns < 2 || type.getNumElements() < 2 * columns)
      continue;
    bool isMatrix = type.getNumElements() == rows * columns;
    // Numbers are looked at only where a part is cut out of them, as it is of
    // no matrix.
    bool isCut = llvm::any_of(value.getUsers(), [](Operation *user) {
      return isNode(dyn_cast<OnnxNodeOp>(user), "Slice");
    });
    if (!type.getElementType().isInteger(1) &&
        !(isa<FloatType>(type.getElementType()) && isCut))
      continue;
    std::vector<uint8_t> storage;
    FailureOr<ArrayRef<uint8_t>> bytes = stored.read(value, storage);
    if (failed(bytes)) {
      hasFailed = true;
      return;
    }
    FailureOr<HostTensor> table = readHostTensor(type, *bytes);
    if (failed(table))
      continue;
    if (!table->isFloat())
      table->floats.assign(table->ints.begin(), table->ints.end());
    if (std::optional<TensorAnalysis::Band> band =
            isMatrix ? findBand(table->floats, rows, columns) : std::nullopt) {
      analysis.setBand(value, *band);
    } else if (columns > 2 && isLinear(table->floats, columns)) {
      analysis.setLinear(value);
    } else {
      continue;
    }
    longest = std::min(longest, columns);
  }
  if (longest != INT64_MAX)
    context.setLongest(longest);
}
