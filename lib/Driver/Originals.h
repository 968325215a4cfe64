//===- Originals.h - What approximations approximate ------------*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// A bundle declares its original weights and does not hold them. To compress
/// it anew, they are found in the model that it was made from, by their
/// digests, and take the place of their approximations.
///
//===----------------------------------------------------------------------===//

#ifndef MIURA_LIB_DRIVER_ORIGINALS_H
#define MIURA_LIB_DRIVER_ORIGINALS_H

#include "miura/Driver/Invocation.h"

namespace miura::driver {

/// Whether `module` approximates weights whose bytes it does not name.
bool lacksOriginals(mlir::ModuleOp module);

/// Puts the weights of the model `path` back where `module` (from `bundle`)
/// approximates them, and makes its layers compute as that model's do. Success,
/// or the code after a report: a weight that the model does not have is an
/// input error.
ExitCode restoreOriginals(Invocation &invocation, mlir::ModuleOp module,
                          llvm::StringRef bundle, llvm::StringRef path);

} // namespace miura::driver

#endif // MIURA_LIB_DRIVER_ORIGINALS_H
