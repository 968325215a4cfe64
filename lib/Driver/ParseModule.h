//===- ParseModule.h - MLIR text from files not written here ----*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Parses a file .mlir or .mlirbc that may hold anything.
///
//===----------------------------------------------------------------------===//

#ifndef MIURA_LIB_DRIVER_PARSEMODULE_H
#define MIURA_LIB_DRIVER_PARSEMODULE_H

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"

namespace miura::driver {

/// The module in `path`; null after a diagnostic. Text whose brackets nest
/// deeper than any model's is refused before it is parsed.
mlir::OwningOpRef<mlir::ModuleOp> parseModule(llvm::StringRef path,
                                              mlir::MLIRContext *context);

} // namespace miura::driver

#endif // MIURA_LIB_DRIVER_PARSEMODULE_H
