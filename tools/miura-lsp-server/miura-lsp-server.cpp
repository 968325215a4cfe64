//===- miura-lsp-server.cpp - Miura's IR in editors -----------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// MLIR's language server with our dialect: diagnostics of the verifiers while
/// one types, definitions and uses, the generic form of an op on hover.
///
//===----------------------------------------------------------------------===//

#include "miura/Pipelines/Registry.h"
#include "mlir/Tools/mlir-lsp-server/MlirLspServerMain.h"

int main(int argc, char **argv) {
  mlir::DialectRegistry registry;
  miura::registerAllMiura(registry);
  return mlir::failed(mlir::MlirLspServerMain(argc, argv, registry));
}
