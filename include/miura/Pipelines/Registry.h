//===- Registry.h - All that Miura registers --------------------*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// One list of the dialects, external models and passes that the driver's
/// commands, miura-opt and the plugin use.
///
//===----------------------------------------------------------------------===//

#ifndef MIURA_PIPELINES_REGISTRY_H
#define MIURA_PIPELINES_REGISTRY_H

#include "mlir/IR/DialectRegistry.h"

namespace miura {

/// Adds every dialect and external model to `registry` and registers the
/// passes.
void registerAllMiura(mlir::DialectRegistry &registry);

/// Registers, once per process, the passes and pipelines that textual pipelines
/// may name.
void registerAllMiuraPasses();

} // namespace miura

#endif // MIURA_PIPELINES_REGISTRY_H
