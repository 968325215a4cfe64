//===- Pipeline.cpp - From tensors to the LLVM dialect by plain loops -----===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The pipeline miura-reference. Nothing in it tiles, packs or vectorizes: the
/// fewer passes a number goes through, the better an oracle it is.
///
//===----------------------------------------------------------------------===//

#include "Internal.h"
#include "miura/Conversion/MiuraToLinalg/Passes.h"
#include "miura/Conversion/ONNXToLinalg/Passes.h"
#include "miura/Target/Reference/Reference.h"
#include "mlir/Conversion/Passes.h"
#include "mlir/Dialect/Arith/Transforms/BufferizableOpInterfaceImpl.h"
#include "mlir/Dialect/Bufferization/Transforms/FuncBufferizableOpInterfaceImpl.h"
#include "mlir/Dialect/Bufferization/Transforms/Passes.h"
#include "mlir/Dialect/Linalg/Passes.h"
#include "mlir/Dialect/Linalg/Transforms/BufferizableOpInterfaceImpl.h"
#include "mlir/Dialect/MemRef/Transforms/Passes.h"
#include "mlir/Dialect/SCF/Transforms/BufferizableOpInterfaceImpl.h"
#include "mlir/Dialect/Tensor/Transforms/BufferizableOpInterfaceImpl.h"
#include "mlir/InitAllDialects.h"
#include "mlir/InitAllExtensions.h"
#include "mlir/Pass/PassRegistry.h"
#include "mlir/Transforms/Passes.h"

using namespace mlir;
using namespace miura;

void miura::registerReferenceDialects(DialectRegistry &registry) {
  registerAllDialects(registry);
  registerAllExtensions(registry);
}

void miura::buildReferencePipeline(OpPassManager &pm) {
  // Both lowerings convert signatures; the casts between them cancel.
  pm.addPass(createONNXToLinalgPass());
  pm.addPass(createMiuraToLinalgPass());
  pm.addPass(createReconcileUnrealizedCastsPass());
  pm.addPass(createCanonicalizerPass());
  pm.addPass(createCSEPass());
  // arith and math on tensors, which the model level may hold.
  pm.addNestedPass<func::FuncOp>(createConvertElementwiseToLinalgPass());
  pm.addNestedPass<func::FuncOp>(createLinalgElementwiseOpFusionPass());
  pm.addPass(createCanonicalizerPass());
  pm.addPass(createCSEPass());

  bufferization::OneShotBufferizePassOptions bufferize;
  bufferize.bufferizeFunctionBoundaries = true;
  bufferize.functionBoundaryTypeConversion =
      bufferization::LayoutMapOption::IdentityLayoutMap;
  // What a loop collects grows from turn to turn.
  bufferize.allowReturnAllocsFromLoops = true;
  pm.addPass(bufferization::createOneShotBufferizePass(bufferize));
  pm.addPass(createCanonicalizerPass());

  // Equal layers share their loops from here on.
  pm.addPass(detail::createOutlineLoopsPass());
  pm.addNestedPass<func::FuncOp>(createConvertLinalgToLoopsPass());
  pm.addNestedPass<func::FuncOp>(detail::createPromoteAccumulatorsPass());
  pm.addPass(createExpandUnknownSizesPass());
  pm.addPass(memref::createExpandStridedMetadataPass());
  pm.addPass(createLowerAffinePass());
  pm.addPass(createSCFToControlFlowPass());
  pm.addPass(createConvertMathToLLVMPass());
  pm.addPass(createConvertMathToLibmPass());
  pm.addPass(createArithToLLVMConversionPass());
  FinalizeMemRefToLLVMConversionPassOptions memref;
  memref.useGenericFunctions = true;
  pm.addPass(createFinalizeMemRefToLLVMConversionPass(memref));
  pm.addPass(createConvertFuncToLLVMPass());
  pm.addPass(createConvertControlFlowToLLVMPass());
  // The canonicalizer may leave ub.poison.
  pm.addPass(createUBToLLVMConversionPass());
  pm.addPass(createReconcileUnrealizedCastsPass());
  pm.addPass(createCSEPass());
}

void miura::registerReferencePipeline() {
  PassPipelineRegistration<>(
      "miura-reference",
      "Lower onnx, model and session ops on tensors to the LLVM dialect by "
      "plain loops, with no tiling and no vectorization: the code of the "
      "oracle. Weight expressions must have been outlined before "
      "(miura-outline-expressions).",
      buildReferencePipeline);
  registerPass([] { return detail::createOutlineLoopsPass(); });
  registerPass([] { return detail::createPromoteAccumulatorsPass(); });
}
