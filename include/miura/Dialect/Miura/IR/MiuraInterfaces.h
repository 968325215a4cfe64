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

#include "miura/Dialect/Miura/IR/MiuraOpInterfaces.h.inc"

#endif // MIURA_DIALECT_MIURA_IR_MIURAINTERFACES_H
