//===- HostTensor.h - The value of an expression ----------------*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The numbers of a weight expression, as `WeightExpression::evaluate` takes
/// and returns them: the reference that everything else is measured against.
///
//===----------------------------------------------------------------------===//

#ifndef MIURA_DIALECT_MIURA_IR_HOSTTENSOR_H
#define MIURA_DIALECT_MIURA_IR_HOSTTENSOR_H

#include "mlir/IR/BuiltinTypes.h"
#include "llvm/ADT/SmallVector.h"
#include <cstdint>
#include <vector>

namespace miura {

/// A dense row-major tensor in host memory. Floating-point tensors of every
/// width hold `floats`, integer tensors of up to 32 bits hold `ints`;
/// `type` says which, and what the values were stored as.
struct HostTensor {
  mlir::RankedTensorType type;
  std::vector<float> floats;
  std::vector<int32_t> ints;

  bool isFloat() const {
    return llvm::isa<mlir::FloatType>(type.getElementType());
  }
  llvm::ArrayRef<int64_t> getShape() const { return type.getShape(); }
  int64_t getNumElements() const { return type.getNumElements(); }
};

} // namespace miura

#endif // MIURA_DIALECT_MIURA_IR_HOSTTENSOR_H
