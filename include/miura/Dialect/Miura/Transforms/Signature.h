//===- Signature.h - A model's own inputs and outputs -----------*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The interface of the file that a model came from: what its inputs and
/// outputs are called, what they are for and what types they have. A functional
/// model has it on its function, a session on its module, where
/// `miura-record-signature` left it.
///
//===----------------------------------------------------------------------===//

#ifndef MIURA_DIALECT_MIURA_TRANSFORMS_SIGNATURE_H
#define MIURA_DIALECT_MIURA_TRANSFORMS_SIGNATURE_H

#include "miura/Dialect/Miura/IR/MiuraDialect.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include <string>

namespace miura {

/// Attributes of a module: arrays of {name, role, type}.
inline constexpr llvm::StringLiteral kInputsAttrName = "miura.inputs";
inline constexpr llvm::StringLiteral kOutputsAttrName = "miura.outputs";

/// One input or output.
struct SignaturePort {
  std::string name;
  RoleKind role = RoleKind::other;
  int64_t layer = -1;
  /// As in the file, symbolic dimensions included; any type.
  mlir::Type type;
};

struct ModelSignature {
  llvm::SmallVector<SignaturePort> inputs, outputs;
};

/// The interface of a functional model.
ModelSignature getSignature(mlir::func::FuncOp model);

/// What `miura-record-signature` noted; empty if it has not run.
ModelSignature getRecordedSignature(mlir::ModuleOp module);

} // namespace miura

#endif // MIURA_DIALECT_MIURA_TRANSFORMS_SIGNATURE_H
