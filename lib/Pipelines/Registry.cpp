//===- Registry.cpp - All that Miura registers ----------------------------===//
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

#include "miura/Pipelines/Registry.h"
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
#include "miura/Pipelines/Passes.h"
#include "miura/Target/Reference/Reference.h"
#include "miura/Transforms/Certificates/Passes.h"
#include "miura/Transforms/LowRank/Passes.h"
#include "miura/Transforms/Prune/Passes.h"
#include "miura/Transforms/Quantize/Passes.h"
#include "mlir/InitAllDialects.h"
#include "mlir/InitAllExtensions.h"
#include "mlir/Transforms/Passes.h"

void miura::registerAllMiura(mlir::DialectRegistry &registry) {
  mlir::registerAllDialects(registry);
  mlir::registerAllExtensions(registry);
  registry.insert<MiuraDialect>();
  codegen::registerPanelLeaves(registry);
  registerBufferizableOpInterfaceExternalModels(registry);
  registerAllMiuraPasses();
}

void miura::registerAllMiuraPasses() {
  static const bool once = [] {
    // canonicalize, cse and symbol-dce, which pipelines name.
    mlir::registerTransformsPasses();
    registerMiuraToLinalgPasses();
    registerONNXNormalizePasses();
    registerONNXToLinalgPasses();
    registerONNXToMiuraPasses();
    registerReferencePipeline();
    registerMiuraTransformsPasses();
    registerMiuraToKernelsPasses();
    registerStepPasses();
    registerCompilePipeline();
    registerMiuraPipelinesPasses();
    registerMiuraCertificatesPasses();
    registerMiuraLowRankPasses();
    registerMiuraPrunePasses();
    registerMiuraQuantizePasses();
    return true;
  }();
  (void)once;
}
