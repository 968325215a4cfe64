//===- CompiledModel.h - Models as code that runs ---------------*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// There is one way to run a model: as a shared library. Commands that are
/// given anything else compile it first, into a folder of compiled models where
/// the next command finds it: a library is named by the digest of the model,
/// its weights' bytes, the target and this compiler.
///
//===----------------------------------------------------------------------===//

#ifndef MIURA_DRIVER_COMPILEDMODEL_H
#define MIURA_DRIVER_COMPILEDMODEL_H

#include "miura/Driver/Artifact.h"
#include "miura/Driver/Invocation.h"
#include "miura/Pipelines/Compile.h"

namespace miura::driver {

/// Opens MODEL with the invocation's threads: a shared library at once, any
/// other form after it was compiled for this machine, unless it has been.
/// Weights whose digests are known are checked either way. Null after a report:
/// `code` then is what the command returns.
std::unique_ptr<Artifact> openModel(Invocation &invocation,
                                    llvm::StringRef path, ExitCode &code);

/// The same for a module that was loaded from `path` already. The module is
/// consumed.
std::unique_ptr<Artifact> openModule(Invocation &invocation,
                                     mlir::ModuleOp module,
                                     llvm::StringRef path, ExitCode &code);

/// compileModel with the invocation's pass runner, so that faults of ours leave
/// reproducers. Failure after a report, with `code` set. `path` is for
/// messages.
mlir::FailureOr<CompileResult>
compileModule(Invocation &invocation, mlir::ModuleOp module,
              CompileOptions options, llvm::StringRef path, ExitCode &code);

/// Where compiled models are kept: $MIURA_COMPILED_DIR, by default
/// ~/.cache/miura/compiled. The least recently used go when all together exceed
/// 16 GiB.
std::string getCompiledFolder();

} // namespace miura::driver

#endif // MIURA_DRIVER_COMPILEDMODEL_H
