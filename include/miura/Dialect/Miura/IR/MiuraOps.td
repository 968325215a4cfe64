//===- MiuraOps.td - All ops of Miura -*- tablegen -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MIURA_OPS_TD
#define MIURA_OPS_TD

include "miura/Dialect/Miura/IR/MiuraOnnxOps.td"
include "miura/Dialect/Miura/IR/MiuraExpressionOps.td"
include "miura/Dialect/Miura/IR/MiuraModelOps.td"
include "miura/Dialect/Miura/IR/MiuraSessionOps.td"
include "miura/Dialect/Miura/IR/MiuraKernelOps.td"

#endif // MIURA_OPS_TD
