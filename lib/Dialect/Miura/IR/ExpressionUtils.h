//===- ExpressionUtils.h - What expression ops share ------------*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Shapes of host tensors, for the reference values of the expression ops.
///
//===----------------------------------------------------------------------===//

#ifndef MIURA_LIB_DIALECT_MIURA_IR_EXPRESSIONUTILS_H
#define MIURA_LIB_DIALECT_MIURA_IR_EXPRESSIONUTILS_H

#include "miura/Dialect/Miura/IR/MiuraDialect.h"
#include <array>

namespace miura {

inline HostTensor makeFloat(mlir::Type type) {
  HostTensor result;
  result.type = llvm::cast<mlir::RankedTensorType>(type);
  result.floats.resize(result.getNumElements());
  return result;
}

/// rows × columns of the last two dimensions and how many of these there are.
inline std::array<int64_t, 3> getBatchRowsColumns(mlir::RankedTensorType type) {
  int64_t rank = type.getRank();
  int64_t rows = type.getDimSize(rank - 2), columns = type.getDimSize(rank - 1);
  int64_t batch = 1;
  for (int64_t i = 0; i + 2 < rank; ++i)
    batch *= type.getDimSize(i);
  return {batch, rows, columns};
}

/// `type` with `count` in its first dimension.
inline mlir::RankedTensorType getRowsType(mlir::Type type, int64_t count) {
  auto tensor = llvm::cast<mlir::RankedTensorType>(type);
  llvm::SmallVector<int64_t> shape(tensor.getShape());
  shape[0] = count;
  return mlir::RankedTensorType::get(shape, tensor.getElementType());
}

/// The slice [first, first + count) of the first dimension.
inline HostTensor sliceRows(const HostTensor &whole, int64_t first,
                            int64_t count) {
  HostTensor result;
  result.type = getRowsType(whole.type, count);
  int64_t size = whole.getNumElements() / whole.getShape()[0];
  auto cut = [&](const auto &from, auto &to) {
    if (!from.empty())
      to.assign(from.begin() + first * size,
                from.begin() + (first + count) * size);
  };
  cut(whole.floats, result.floats);
  cut(whole.ints, result.ints);
  return result;
}

} // namespace miura

#endif // MIURA_LIB_DIALECT_MIURA_IR_EXPRESSIONUTILS_H
