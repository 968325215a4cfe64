//===- miura-opt.cpp - Passes and pipelines on IR -------------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "miura/Codegen/CPU/PanelLeaf.h"
#include "miura/Codegen/Step/Passes.h"
#include "miura/Conversion/MiuraToKernels/Passes.h"
#include "miura/Conversion/MiuraToLinalg/Passes.h"
#include "miura/Conversion/ONNXNormalize/Passes.h"
#include "miura/Conversion/ONNXToLinalg/Passes.h"
#include "miura/Conversion/ONNXToMiura/Passes.h"
#include "miura/Dialect/Miura/IR/MiuraDialect.h"
#include "miura/Dialect/Miura/Transforms/Passes.h"
#include "miura/Pipelines/Compile.h"
#include "miura/Target/Reference/Reference.h"
#include "miura/Transforms/Certificates/Passes.h"
#include "miura/Transforms/Quantize/Passes.h"
#include "mlir/InitAllDialects.h"
#include "mlir/InitAllExtensions.h"
#include "mlir/InitAllPasses.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"

int main(int argc, char **argv) {
  mlir::DialectRegistry registry;
  mlir::registerAllDialects(registry);
  mlir::registerAllExtensions(registry);
  mlir::registerAllPasses();
  registry.insert<miura::MiuraDialect>();
  miura::registerMiuraToLinalgPasses();
  miura::registerONNXToLinalgPasses();
  miura::registerONNXNormalizePasses();
  miura::registerONNXToMiuraPasses();
  miura::registerReferencePipeline();
  miura::registerMiuraTransformsPasses();
  miura::codegen::registerPanelLeaves(registry);
  miura::registerBufferizableOpInterfaceExternalModels(registry);
  miura::registerMiuraToKernelsPasses();
  miura::registerStepPasses();
  miura::registerCompilePipeline();
  miura::registerMiuraCertificatesPasses();
  miura::registerMiuraQuantizePasses();
  return mlir::asMainReturnCode(
      mlir::MlirOptMain(argc, argv, "Miura's pass driver\n", registry));
}
