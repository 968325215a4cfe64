//===- BufferizeStep.cpp - From tensors to memrefs ------------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// One-shot bufferization of a session's steps. A `miura.kernel` is in
/// destination style, so upstream's analysis sees when it may write in place;
/// what happens in its region is none of bufferization's business.
///
//===----------------------------------------------------------------------===//

#include "miura/Codegen/Step/Passes.h"
#include "miura/Codegen/Step/StepSignature.h"
#include "miura/Dialect/Miura/IR/MiuraDialect.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/Bufferization/IR/DstBufferizableOpInterfaceImpl.h"
#include "mlir/Dialect/Bufferization/Transforms/OneShotAnalysis.h"
#include "mlir/Dialect/Bufferization/Transforms/Passes.h"
#include "mlir/Dialect/Bufferization/Transforms/Transforms.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Transforms/Passes.h"

namespace miura {
#define GEN_PASS_DEF_BUFFERIZESTEPPASS
#include "miura/Codegen/Step/Passes.h.inc"
} // namespace miura

using namespace mlir;
using namespace mlir::bufferization;
using namespace miura;

namespace {

struct KernelBufferization
    : public DstBufferizableOpInterfaceExternalModel<KernelBufferization,
                                                     KernelOp> {
  /// A kernel writes all of its output, unless the output is an input too (a
  /// cache that grows).
  bool bufferizesToMemoryRead(Operation *op, OpOperand &operand,
                              const AnalysisState &state) const {
    auto kernel = cast<KernelOp>(op);
    return !kernel.isDpsInit(&operand) ||
           llvm::is_contained(kernel.getInputs(), operand.get());
  }

  /// The region's arguments are tensors for ever, and do not count.
  bool hasTensorSemantics(Operation *op) const {
    auto isTensor = [](Type type) { return isa<TensorType>(type); };
    return llvm::any_of(op->getOperandTypes(), isTensor) ||
           llvm::any_of(op->getResultTypes(), isTensor);
  }

  /// An input that is the output too is updated in place by the kernel itself.
  bool isNotConflicting(Operation *op, OpOperand *read, OpOperand *write,
                        const AnalysisState &state) const {
    return read->getOwner() == op && write->getOwner() == op &&
           read->get() == write->get();
  }

  LogicalResult bufferize(Operation *op, RewriterBase &rewriter,
                          const BufferizationOptions &options,
                          BufferizationState &state) const {
    auto kernel = cast<KernelOp>(op);
    auto toBuffers = [&](ValueRange values,
                         SmallVectorImpl<Value> &buffers) -> LogicalResult {
      for (Value value : values) {
        if (!isa<TensorType>(value.getType())) {
          buffers.push_back(value);
          continue;
        }
        FailureOr<Value> buffer = getBuffer(rewriter, value, options, state);
        if (failed(buffer))
          return failure();
        buffers.push_back(*buffer);
      }
      return success();
    };
    rewriter.setInsertionPoint(op);
    SmallVector<Value> inputs, outputs;
    if (failed(toBuffers(kernel.getInputs(), inputs)) ||
        failed(toBuffers(kernel.getOutputs(), outputs)))
      return failure();
    auto buffered =
        KernelOp::create(rewriter, op->getLoc(), TypeRange(), inputs, outputs);
    buffered->setDiscardableAttrs(op->getDiscardableAttrDictionary());
    rewriter.inlineRegionBefore(kernel.getBody(), buffered.getBody(),
                                buffered.getBody().begin());
    replaceOpWithBufferizedValues(rewriter, op, outputs);
    return success();
  }
};

struct BufferizeStep
    : public miura::impl::BufferizeStepPassBase<BufferizeStep> {
  void getDependentDialects(DialectRegistry &registry) const override {
    BufferizeStepPassBase::getDependentDialects(registry);
    registerBufferizableOpInterfaceExternalModels(registry);
  }

  void runOnOperation() override {
    ModuleOp module = getOperation();
    OneShotBufferizationOptions options;
    options.allowReturnAllocsFromLoops = true;
    options.setFunctionBoundaryTypeConversion(
        LayoutMapOption::IdentityLayoutMap);
    options.unknownTypeConverterFn = [](TensorType type, Attribute space,
                                        const BufferizationOptions &) {
      return cast<BaseMemRefType>(
          MemRefType::get(type.getShape(), type.getElementType()));
    };
    options.opFilter.denyOperation([](Operation *op) {
      return op->getParentOfType<KernelOp>() != nullptr;
    });
    // Values are computed where a caller wants them, not copied there.
    OpPassManager prepare("builtin.module");
    prepare.addPass(createEmptyTensorEliminationPass());
    if (failed(runPipeline(prepare, module)))
      return signalPassFailure();
    for (func::FuncOp step : getSteps(module)) {
      BufferizationState state;
      if (failed(runOneShotBufferize(step, options, state)))
        return signalPassFailure();
    }
    OpPassManager clean("builtin.module");
    clean.addPass(createCanonicalizerPass());
    clean.addPass(createCSEPass());
    if (failed(runPipeline(clean, module)))
      return signalPassFailure();
  }
};

} // namespace

void miura::registerBufferizableOpInterfaceExternalModels(
    DialectRegistry &registry) {
  registry.addExtension(+[](MLIRContext *context, MiuraDialect *dialect) {
    KernelOp::attachInterface<KernelBufferization>(*context);
  });
}
