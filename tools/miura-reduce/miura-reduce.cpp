//===- miura-reduce.cpp - Shrinking a failing graph -----------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// MLIR's reducer with our dialect and passes, `miura-reduce-graph` among them:
/// shrinks a module for as long as a script still finds in it what one looks
/// for.
///
//===----------------------------------------------------------------------===//

#include "ReduceGraph.h"
#include "miura/Pipelines/Registry.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/InitAllPasses.h"
#include "mlir/Tools/mlir-reduce/MlirReduceMain.h"

int main(int argc, char **argv) {
  mlir::registerAllPasses();
  mlir::DialectRegistry registry;
  miura::registerAllMiura(registry);
  miura::registerReduceGraphPass();
  mlir::MLIRContext context(registry);
  return mlir::failed(mlir::mlirReduceMain(argc, argv, context));
}
