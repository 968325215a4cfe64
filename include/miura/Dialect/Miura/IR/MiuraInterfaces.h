//===- MiuraInterfaces.h - Interfaces of the dialect ------------*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MIURA_DIALECT_MIURA_IR_MIURAINTERFACES_H
#define MIURA_DIALECT_MIURA_IR_MIURAINTERFACES_H

#include "miura/Dialect/Miura/IR/HostTensor.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/OpDefinition.h"
#include <memory>

namespace miura::codegen {
/// How a CPU kernel packs and decodes a leaf; see
/// miura/Codegen/CPU/PanelLeaf.h.
class PanelLeaf;
} // namespace miura::codegen

namespace miura {
/// What elements of a tensor are set to: one number per block, whose sizes are
/// per dimension (0: the whole dimension); the number 0 where there is none.
struct BlockFill {
  mlir::Value numbers;
  llvm::ArrayRef<int64_t> block;
};

/// Evaluates the whole expression `value` and cuts the slice [first, first +
/// count) of its first dimension out of it.
mlir::FailureOr<HostTensor> evaluateAndSlice(mlir::Value value, int64_t first,
                                             int64_t count);
} // namespace miura

#include "miura/Dialect/Miura/IR/MiuraOpInterfaces.h.inc"

#endif // MIURA_DIALECT_MIURA_IR_MIURAINTERFACES_H
