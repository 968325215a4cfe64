//===- LayerAttrs.h - What is noted on a layer ------------------*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Discardable attributes of the ops that use weights, for people: patterns and
/// reports read them, no result depends on them.
///
//===----------------------------------------------------------------------===//

#ifndef MIURA_DIALECT_MIURA_IR_LAYERATTRS_H
#define MIURA_DIALECT_MIURA_IR_LAYERATTRS_H

#include "miura/Dialect/Miura/IR/MiuraInterfaces.h"

namespace miura {

/// Where in the trained model a node or a layer comes from, as the path of a
/// module: `model.layers.0.self_attn.q_proj`. Import takes it from the metadata
/// of a node, raise from there or from a node's name that is a path.
inline constexpr llvm::StringLiteral kPathAttrName = "miura.path";

/// On a layer that a pass left alone: an array with a string per pass, `pass:
/// reason`, so that a report can tell long after the remark is gone.
inline constexpr llvm::StringLiteral kKeptAttrName = "miura.kept";

/// The path on `op`; empty where it has none.
llvm::StringRef getModulePath(mlir::Operation *op);

} // namespace miura

#endif // MIURA_DIALECT_MIURA_IR_LAYERATTRS_H
