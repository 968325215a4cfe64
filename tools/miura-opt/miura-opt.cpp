//===- miura-opt.cpp - Passes and pipelines on IR -------------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "miura/Driver/Registry.h"
#include "mlir/InitAllPasses.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"

int main(int argc, char **argv) {
  mlir::DialectRegistry registry;
  mlir::registerAllPasses();
  miura::driver::registerAllMiura(registry);
  return mlir::asMainReturnCode(
      mlir::MlirOptMain(argc, argv, "Miura's pass driver\n", registry));
}
