//===- main.cpp - Miura's passes in a program of one's own ----------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// `round MODEL.onnx BITS`: rounds a model's weights and prints the module. New
/// tensors go to ./miura-weights. See CMakeLists.txt for how it is built.
///
//===----------------------------------------------------------------------===//

#include "miura/Dialect/Miura/IR/MiuraDialect.h"
#include "miura/Import/ONNX/ImportOnnx.h"
#include "miura/Pipelines/Registry.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Pass/PassRegistry.h"
#include "llvm/Support/raw_ostream.h"

int main(int argc, char **argv) {
  if (argc != 3) {
    llvm::errs() << "usage: round MODEL.onnx BITS\n";
    return 2;
  }
  mlir::DialectRegistry registry;
  miura::registerAllMiura(registry);
  mlir::MLIRContext context(registry);
  // Errors come as diagnostics, on standard error unless one takes them.
  mlir::OwningOpRef<mlir::ModuleOp> module =
      miura::importOnnx(argv[1], &context);
  if (!module)
    return 1;

  mlir::PassManager passes(&context);
  std::string pipeline =
      "miura-onnx-normalize,miura-raise,miura-quantize-rtn{bits=" +
      std::string(argv[2]) + "}";
  if (mlir::failed(mlir::parsePassPipeline(pipeline, passes)) ||
      mlir::failed(passes.run(*module)))
    return 1;
  module->print(llvm::outs());

  // The dialect's own C++ classes are there as well.
  int rounded = 0;
  module->walk([&](miura::ApproximateOp) { ++rounded; });
  llvm::errs() << rounded << " weights rounded\n";
  return 0;
}
