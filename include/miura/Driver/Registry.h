//===- Registry.h - All that Miura registers --------------------*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// One list of the dialects, external models and passes that the driver's
/// commands and miura-opt use.
///
//===----------------------------------------------------------------------===//

#ifndef MIURA_DRIVER_REGISTRY_H
#define MIURA_DRIVER_REGISTRY_H

#include "mlir/IR/DialectRegistry.h"

namespace miura::driver {

/// Adds every dialect and external model to `registry` and registers, once per
/// process, the passes that textual pipelines may name.
void registerAllMiura(mlir::DialectRegistry &registry);

} // namespace miura::driver

#endif // MIURA_DRIVER_REGISTRY_H
