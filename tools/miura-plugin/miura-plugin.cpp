//===- miura-plugin.cpp - Miura inside another mlir-opt -------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The entry points that MLIR's plugin loaders look for. The dialect brings its
/// weight store along, so tools that know nothing of weights can run our passes
/// on them; new tensors go to $MIURA_WEIGHTS_DIR, else ./miura-weights.
///
//===----------------------------------------------------------------------===//

#include "miura/Pipelines/Registry.h"
#include "mlir/Tools/Plugins/DialectPlugin.h"
#include "mlir/Tools/Plugins/PassPlugin.h"
#include "llvm/Config/llvm-config.h"

extern "C" LLVM_ATTRIBUTE_WEAK mlir::DialectPluginLibraryInfo
mlirGetDialectPluginInfo() {
  return {MLIR_PLUGIN_API_VERSION, "Miura", LLVM_VERSION_STRING,
          [](mlir::DialectRegistry *registry) {
            miura::registerAllMiura(*registry);
          }};
}

extern "C" LLVM_ATTRIBUTE_WEAK mlir::PassPluginLibraryInfo
mlirGetPassPluginInfo() {
  return {MLIR_PLUGIN_API_VERSION, "Miura", LLVM_VERSION_STRING,
          [] { miura::registerAllMiuraPasses(); }};
}
