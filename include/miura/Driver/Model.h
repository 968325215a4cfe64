//===- Model.h - What MODEL on a command line stands for --------*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Opens a model in whatever form it is given: an ONNX file, MLIR of any level
/// or a bundle become a module; a compiled library is recognized by its name.
///
//===----------------------------------------------------------------------===//

#ifndef MIURA_DRIVER_MODEL_H
#define MIURA_DRIVER_MODEL_H

#include "miura/Driver/Invocation.h"

namespace miura::driver {

enum class ModelKind {
  Onnx,    ///< A file .onnx.
  Mlir,    ///< A file .mlir or .mlirbc, of any level.
  Bundle,  ///< A folder with model.mlir and weights.
  Library, ///< A shared library written by `miura compile`.
};

/// What `path` is, by its name and by what it is on disk. An input error if it
/// is not there or of no known kind.
llvm::Expected<ModelKind> getModelKind(llvm::StringRef path);

/// Reads `path` into the invocation's context, at the level that it is at (a
/// file .onnx: the onnx level). Sets the folders in which weights are looked
/// up. Null after a report: `code` then is what the command returns.
mlir::OwningOpRef<mlir::ModuleOp>
loadModule(Invocation &invocation, llvm::StringRef path, ExitCode &code);

} // namespace miura::driver

#endif // MIURA_DRIVER_MODEL_H
