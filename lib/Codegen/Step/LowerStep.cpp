//===- LowerStep.cpp - From vector, scf and memref to the LLVM dialect ----===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The tail of code generation: upstream's conversions in an order that leaves
/// nothing behind, and the entries that the runtime calls.
///
//===----------------------------------------------------------------------===//

#include "miura/Codegen/CPU/Isa.h"
#include "miura/Codegen/CPU/KernelToLLVM.h"
#include "miura/Codegen/Step/Passes.h"
#include "miura/Codegen/Step/StepSignature.h"
#include "miura/Conversion/MiuraToLinalg/Passes.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlow.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Math/Transforms/Passes.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

namespace miura {
#define GEN_PASS_DEF_LOWERSTEPPASS
#include "miura/Codegen/Step/Passes.h.inc"
} // namespace miura

using namespace mlir;
using namespace miura;

/// Polynomials for what may stand in a hot loop. Sine and cosine are left to
/// the C library: their polynomials lose accuracy at large angles, which
/// positions reach, and no hot loop has them.
static LogicalResult expandMath(ModuleOp module) {
  RewritePatternSet patterns(module.getContext());
  populateMathPolynomialApproximationPatterns(patterns, [](StringRef name) {
    return llvm::is_contained(
        {math::ExpOp::getOperationName(), math::TanhOp::getOperationName(),
         math::ErfOp::getOperationName(), math::LogOp::getOperationName(),
         math::ExpM1Op::getOperationName(), math::Log1pOp::getOperationName()},
        name);
  });
  return applyPatternsGreedily(module, std::move(patterns));
}

/// `void <step>_entry(ptr *descriptors, i64 team, i64 tid, i64 threads)`, which
/// loads the descriptors and calls the step's C interface.
static LogicalResult addEntry(ModuleOp module, StringRef step) {
  auto callee =
      module.lookupSymbol<LLVM::LLVMFuncOp>(("_mlir_ciface_" + step).str());
  if (!callee)
    return module.emitError("has no C interface of ") << step;
  callee.setLinkage(LLVM::Linkage::Internal);
  MLIRContext *context = module.getContext();
  OpBuilder b = OpBuilder::atBlockEnd(module.getBody());
  Location loc = callee.getLoc();
  auto ptr = LLVM::LLVMPointerType::get(context);
  Type i64 = b.getI64Type();
  auto entry = LLVM::LLVMFuncOp::create(
      b, loc, (step + "_entry").str(),
      LLVM::LLVMFunctionType::get(LLVM::LLVMVoidType::get(context),
                                  {ptr, i64, i64, i64}));
  Block *body = entry.addEntryBlock(b);
  b.setInsertionPointToStart(body);
  SmallVector<Value> arguments;
  unsigned memrefs = callee.getNumArguments() - 3;
  for (unsigned i = 0; i < memrefs; ++i) {
    Value place = LLVM::GEPOp::create(b, loc, ptr, ptr, body->getArgument(0),
                                      ArrayRef<LLVM::GEPArg>(i));
    arguments.push_back(LLVM::LoadOp::create(b, loc, ptr, place));
  }
  for (unsigned i = 1; i <= 3; ++i)
    arguments.push_back(body->getArgument(i));
  LLVM::CallOp::create(b, loc, callee, arguments);
  LLVM::ReturnOp::create(b, loc, ValueRange());
  return success();
}

namespace {

struct LowerStep : public miura::impl::LowerStepPassBase<LowerStep> {
  void getDependentDialects(DialectRegistry &registry) const override {
    LowerStepPassBase::getDependentDialects(registry);
  }
  using LowerStepPassBase::LowerStepPassBase;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    llvm::Expected<codegen::Target> chosen =
        codegen::chooseTarget(target, features);
    if (!chosen) {
      module.emitError(llvm::toString(chosen.takeError()));
      return signalPassFailure();
    }
    SmallVector<std::string> steps, kernels;
    for (func::FuncOp step : getSteps(module)) {
      steps.push_back(step.getName().str());
      step->setAttr(LLVM::LLVMDialect::getEmitCWrapperAttrName(),
                    UnitAttr::get(&getContext()));
      step.setPrivate();
    }
    // Roles and writes mean nothing further down.
    for (auto function : module.getOps<func::FuncOp>()) {
      if (function->hasAttr(kKernelAttrName))
        kernels.push_back(function.getName().str());
      function.removeArgAttrsAttr();
    }
    if (failed(expandMath(module)))
      return signalPassFailure();
    OpPassManager pm("builtin.module");
    pm.addPass(createExpandUnknownSizesPass());
    codegen::buildKernelToLLVMPipeline(pm, *chosen->row);
    if (failed(runPipeline(pm, module)))
      return signalPassFailure();

    for (const std::string &step : steps)
      if (failed(addEntry(module, step)))
        return signalPassFailure();
    for (auto function : module.getOps<LLVM::LLVMFuncOp>()) {
      if (function.isExternal())
        continue;
      StringRef name = function.getName();
      if (llvm::is_contained(kernels, name)) {
        // One symbol each in the object, so that tools can name them.
        function.setLinkage(LLVM::Linkage::Internal);
        function.setNoInline(true);
      } else if (!name.ends_with("_entry") && !name.ends_with("_workspace")) {
        function.setLinkage(LLVM::Linkage::Internal);
      }
    }
    Builder b(&getContext());
    module->setAttr("miura.kernels", b.getI64IntegerAttr(kernels.size()));
  }
};

} // namespace
