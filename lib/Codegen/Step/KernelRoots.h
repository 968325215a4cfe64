//===- KernelRoots.h - What kernels of each root take -----------*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// For every kind of kernel that `miura-form-kernels` makes: how the op's
/// operands become the arguments of the emitted function, and which schedule
/// fills it.
///
//===----------------------------------------------------------------------===//

#ifndef MIURA_CODEGEN_STEP_KERNELROOTS_H
#define MIURA_CODEGEN_STEP_KERNELROOTS_H

#include "miura/Codegen/CPU/Isa.h"
#include "miura/Dialect/Miura/IR/MiuraDialect.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace miura {

/// How many matrices a kernel's experts choose among.
inline constexpr llvm::StringLiteral kMatricesAttrName = "miura.matrices";

/// An argument of a kernel function, and whether the function writes it.
struct KernelOperand {
  mlir::Value value;
  bool isWritten = false;
};

class KernelRoot {
public:
  virtual ~KernelRoot() = default;

  /// A word for the function's name.
  virtual llvm::StringRef getName() const = 0;
  virtual bool matches(KernelOp kernel) const = 0;

  /// The arguments before team, thread and threads, built before `kernel`.
  virtual mlir::LogicalResult
  getOperands(mlir::OpBuilder &b, KernelOp kernel, const codegen::IsaRow &row,
              mlir::Value threads,
              llvm::SmallVectorImpl<KernelOperand> &operands) const = 0;

  /// What of an op of the region's attributes makes kernels differ: all but
  /// numbers that getOperands passes.
  virtual mlir::DictionaryAttr getKey(mlir::Operation *op) const {
    return op->getAttrDictionary();
  }

  /// Fills what `create(suffix)` returns, an empty function with these
  /// arguments, and returns the one to call.
  virtual mlir::FailureOr<mlir::func::FuncOp> emit(
      KernelOp kernel, const codegen::IsaRow &row,
      llvm::function_ref<mlir::func::FuncOp(llvm::StringRef)> create) const = 0;
};

/// How kernels like `kernel` are emitted; null if there is no way.
const KernelRoot *findKernelRoot(KernelOp kernel);

} // namespace miura

#endif // MIURA_CODEGEN_STEP_KERNELROOTS_H
