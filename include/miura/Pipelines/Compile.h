//===- Compile.h - From a model to a shared library -------------*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The pipeline behind `miura compile`, and the function that runs it and
/// writes the outputs.
///
//===----------------------------------------------------------------------===//

#ifndef MIURA_PIPELINES_COMPILE_H
#define MIURA_PIPELINES_COMPILE_H

#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/PassManager.h"
#include <functional>
#include <string>

namespace miura {

struct CompileOptions {
  /// The output: .so (.wasm for wasm32), .o, or .s for a look at the assembly.
  /// Its weights go to OUTPUT.weights.
  std::string output;
  /// As codegen::chooseTarget takes it; empty: this machine.
  std::string target;
  std::string features;
  /// Tokens of a step's chunk.
  int64_t chunk = 256;
  /// The path of this program, by which the runtime is found.
  std::string executable;
  /// Runs the passes that it is given a function to add; a pass manager, if
  /// empty. Whoever wants reproducers sets it.
  std::function<mlir::LogicalResult(
      mlir::ModuleOp, llvm::function_ref<void(mlir::OpPassManager &)>)>
      runPasses;
};

struct CompileResult {
  int64_t kernels = 0;
  /// Of the library and of its weights.
  int64_t codeBytes = 0, weightBytes = 0;
};

/// What `module` still needs to be at the model level: adds nothing if it has
/// been raised.
void buildModelPipeline(mlir::OpPassManager &pm, mlir::ModuleOp module);

/// What `module` still needs to be at the session level: adds nothing if it is
/// there, forms a session of a model level.
void buildSessionPipeline(mlir::OpPassManager &pm, mlir::ModuleOp module);

/// Session level to the LLVM dialect. The weights file is written to
/// `weights`, if it has a name.
void buildCompilePipeline(mlir::OpPassManager &pm, llvm::StringRef weights,
                          llvm::StringRef target, llvm::StringRef features);

/// Registers `miura-compile`, buildCompilePipeline with options.
void registerCompilePipeline();

/// Compiles `module`, of any level down to the session level; it is consumed.
/// Outputs are written beside their place and renamed. Errors are diagnostics.
mlir::FailureOr<CompileResult> compileModel(mlir::ModuleOp module,
                                            const CompileOptions &options);

} // namespace miura

#endif // MIURA_PIPELINES_COMPILE_H
