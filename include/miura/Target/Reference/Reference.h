//===- Reference.h - The oracle: plain loops, compiled in place -*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Runs a function of any level above the kernels on host tensors: everything
/// is lowered to plain loops and compiled in this process. It shares no code
/// with the kernels, so it can tell whether they are right; it is not meant to
/// be fast.
///
//===----------------------------------------------------------------------===//

#ifndef MIURA_TARGET_REFERENCE_REFERENCE_H
#define MIURA_TARGET_REFERENCE_REFERENCE_H

#include "miura/Target/Reference/HostArray.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/PassManager.h"
#include <memory>

namespace miura {

/// Appends the pipeline `miura-reference`: onnx, model and session ops on
/// tensors to the LLVM dialect by way of plain loops. Weight expressions must
/// have been outlined (miura-outline-expressions). Buffers come from the
/// generic allocation functions of finalize-memref-to-llvm and are not freed.
void buildReferencePipeline(mlir::OpPassManager &pm);

/// Registers `miura-reference` and the passes that only it uses.
void registerReferencePipeline();

/// Registers what bufferization needs beside the dialects themselves.
void registerReferenceDialects(mlir::DialectRegistry &registry);

/// A compiled function. It owns the values of its weights and stays valid when
/// the module goes.
class ReferenceFunction {
public:
  /// Compiles the public function `name` of `module`, which stays as it is.
  /// Errors are diagnostics at the op that cannot be lowered.
  static mlir::FailureOr<std::unique_ptr<ReferenceFunction>>
  compile(mlir::ModuleOp module, llvm::StringRef name);
  ~ReferenceFunction();

  /// The function's own arguments and results, as in the module.
  llvm::ArrayRef<mlir::Type> getInputTypes() const;
  llvm::ArrayRef<mlir::Type> getOutputTypes() const;

  /// Runs the function. Inputs that do not fit (number, element type, rank,
  /// static sizes) are diagnostics at `loc`.
  mlir::FailureOr<std::vector<HostArray>> run(llvm::ArrayRef<HostArray> inputs,
                                              mlir::Location loc) const;

private:
  ReferenceFunction();
  struct Impl;
  std::unique_ptr<Impl> impl;
};

} // namespace miura

#endif // MIURA_TARGET_REFERENCE_REFERENCE_H
