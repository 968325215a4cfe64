//===- KernelToLLVM.cpp - From kernels to the LLVM dialect ----------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "miura/Codegen/CPU/KernelToLLVM.h"
#include "miura/Codegen/CPU/Isa.h"
#include "mlir/Conversion/Passes.h"
#include "mlir/Conversion/VectorToSCF/VectorToSCF.h"
#include "mlir/Dialect/Arith/Transforms/Passes.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Math/Transforms/Passes.h"
#include "mlir/Dialect/MemRef/Transforms/Passes.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Transforms/Passes.h"

using namespace mlir;

void miura::codegen::buildKernelToLLVMPipeline(OpPassManager &pm,
                                               const IsaRow &row) {
  // Patterns that change rank or need several steps come before scf is gone.
  OpPassManager &function = pm.nest<func::FuncOp>();
  VectorTransferToSCFOptions vectorOptions;
  vectorOptions.unroll = true;
  function.addPass(createConvertVectorToSCFPass(vectorOptions));
  function.addPass(createCanonicalizerPass());
  function.addPass(createCSEPass());
  pm.addPass(memref::createExpandStridedMetadataPass());
  pm.addPass(createLowerAffinePass());
  pm.addPass(createSCFToControlFlowPass());
  pm.addPass(createConvertVectorToLLVMPass());
  pm.addPass(createUBToLLVMConversionPass());
  // fmin and fmax of the C library would be slower, not more right.
  pm.addPass(arith::createArithExpandOpsPass());
  if (!row.hasFma) {
    // A call of the C library, else.
    math::MathExpandOpsPassOptions expand;
    expand.opMnemonics = {"fma"};
    function.addPass(math::createMathExpandOpsPass(expand));
  }
  pm.addPass(createConvertMathToLLVMPass());
  pm.addPass(createConvertMathToLibmPass());
  pm.addPass(createArithToLLVMConversionPass());
  pm.addPass(createConvertIndexToLLVMPass());
  pm.addPass(createFinalizeMemRefToLLVMConversionPass());
  pm.addPass(createConvertFuncToLLVMPass());
  pm.addPass(createConvertControlFlowToLLVMPass());
  pm.addPass(createReconcileUnrealizedCastsPass());
  pm.addPass(createCanonicalizerPass());
  pm.addPass(createCSEPass());
}
