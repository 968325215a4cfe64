//===- MiuraDialect.h - The Miura dialect -----------------------*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MIURA_DIALECT_MIURA_IR_MIURADIALECT_H
#define MIURA_DIALECT_MIURA_IR_MIURADIALECT_H

#include "miura/Dialect/Miura/IR/MiuraInterfaces.h"
#include "miura/Dialect/Miura/IR/WeightStore.h"
#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/RegionKindInterface.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/Interfaces/ControlFlowInterfaces.h"
#include "mlir/Interfaces/DestinationStyleOpInterface.h"
#include "mlir/Interfaces/InferTypeOpInterface.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

#include "miura/Dialect/Miura/IR/MiuraDialect.h.inc"
#include "miura/Dialect/Miura/IR/MiuraEnums.h.inc"

#define GET_ATTRDEF_CLASSES
#include "miura/Dialect/Miura/IR/MiuraAttrs.h.inc"
#define GET_TYPEDEF_CLASSES
#include "miura/Dialect/Miura/IR/MiuraTypes.h.inc"

#define GET_OP_CLASSES
#include "miura/Dialect/Miura/IR/MiuraOps.h.inc"

namespace miura {

/// The names of the discardable attributes that passes share.
inline constexpr llvm::StringLiteral kRoleAttrName = "miura.role";
inline constexpr llvm::StringLiteral kNameAttrName = "miura.name";
inline constexpr llvm::StringLiteral kDimsAttrName = "miura.dims";
/// Set on a function by `miura-form-session`; kept until the LLVM dialect.
inline constexpr llvm::StringLiteral kSessionAttrName = "miura.session";

/// Whether `value` is the result of an op of a weight expression (or of a
/// small constant inside one).
bool isWeightExpression(mlir::Value value);

/// Calls `f` once on each of `values` and of the arguments and results that
/// their elements come from. Sizes that are read off tensors, and the operands
/// of positions, do not count.
void walkElementSources(llvm::ArrayRef<mlir::Value> values,
                        llvm::function_ref<void(mlir::Value)> f);

/// The numbers of the expression that `value` is the root of: evaluates the
/// tree bottom up with the module's weight store.
mlir::FailureOr<HostTensor> evaluateExpression(mlir::Value value);

/// The slice [first, first + count) of that value's first dimension, without
/// holding the rest where the tree's ops allow it.
mlir::FailureOr<HostTensor>
evaluateExpressionRows(mlir::Value value, int64_t first, int64_t count);

/// The slice [first, first + count) of the first dimension of a weight, or of
/// the weight with its last two dimensions swapped, read from its file.
mlir::FailureOr<HostTensor> readWeightRows(WeightDataOp data, bool transposed,
                                           int64_t first, int64_t count);

/// A constant's numbers: floats as f32, integers by their sign in 32 bits.
HostTensor readConstant(mlir::DenseElementsAttr constant);

/// The bytes that the leaves of `value` take in a file, each weight_data once.
int64_t getFileBytes(mlir::Value value);

} // namespace miura

#endif // MIURA_DIALECT_MIURA_IR_MIURADIALECT_H
