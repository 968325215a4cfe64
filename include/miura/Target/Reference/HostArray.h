//===- HostArray.h - A tensor that goes in or comes out ---------*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// An input or output of a model in host memory: a static shape, any element
/// type of whole bytes, row-major bytes. Unlike HostTensor, which is for the
/// arithmetic of expressions, it keeps the bytes as they are.
///
//===----------------------------------------------------------------------===//

#ifndef MIURA_TARGET_REFERENCE_HOSTARRAY_H
#define MIURA_TARGET_REFERENCE_HOSTARRAY_H

#include "mlir/IR/BuiltinTypes.h"
#include "llvm/ADT/StringRef.h"
#include <cstdint>
#include <vector>

namespace miura {

struct HostArray {
  /// Static shape, no encoding; booleans (i1) take a byte each.
  mlir::RankedTensorType type;
  std::vector<uint8_t> bytes;

  HostArray() = default;
  /// Zeros of `type`.
  explicit HostArray(mlir::RankedTensorType type);

  llvm::ArrayRef<int64_t> getShape() const { return type.getShape(); }
  int64_t getNumElements() const { return type.getNumElements(); }
  /// Element `i` in row-major order as a double, and back (floats are rounded
  /// to nearest even).
  double get(int64_t i) const;
  void set(int64_t i, double value);
  template <typename T> llvm::ArrayRef<T> as() const {
    return {reinterpret_cast<const T *>(bytes.data()),
            bytes.size() / sizeof(T)};
  }
  template <typename T> llvm::MutableArrayRef<T> as() {
    return {reinterpret_cast<T *>(bytes.data()), bytes.size() / sizeof(T)};
  }
};

/// The bytes of an element of `type` in a HostArray, 0 where it cannot be in
/// one (strings, elements narrower than a byte except i1).
int64_t getHostElementBytes(mlir::Type type);

} // namespace miura

#endif // MIURA_TARGET_REFERENCE_HOSTARRAY_H
