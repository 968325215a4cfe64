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

/// Whether all rows (the last dimension) of a buffer lie at one distance, as
/// kernels that flatten the leading dimensions take for granted. A part of the
/// columns does; some of the heads of a batch do not.
static bool hasEvenRows(Value buffer) {
  auto type = cast<MemRefType>(buffer.getType());
  int64_t rank = type.getRank();
  if (rank <= 2 || type.getLayout().isIdentity())
    return true;
  if (auto cast = buffer.getDefiningOp<memref::CastOp>())
    return isa<MemRefType>(cast.getSource().getType()) &&
           hasEvenRows(cast.getSource());
  auto view = buffer.getDefiningOp<memref::SubViewOp>();
  if (!view || view.getSourceType().getRank() != rank ||
      !view.getSourceType().getLayout().isIdentity() ||
      llvm::any_of(view.getStaticStrides(), [](int64_t s) { return s != 1; })) {
    SmallVector<ReassociationIndices> groups(2);
    for (int64_t d = 0; d < rank; ++d)
      groups[d + 1 == rank].push_back(d);
    return memref::CollapseShapeOp::isGuaranteedCollapsible(type, groups);
  }
  bool isOutermost = true;
  for (int64_t d = 0; d + 1 < rank; ++d) {
    int64_t whole = view.getSourceType().getDimSize(d);
    OpFoldResult size = view.getMixedSizes()[d];
    std::optional<int64_t> known = getConstantIntValue(size);
    auto value = dyn_cast<Value>(size);
    bool isWhole = known ? *known == whole
                         : value.getDefiningOp<memref::DimOp>() ||
                               value.getDefiningOp<tensor::DimOp>();
    if (!isWhole && !isOutermost)
      return false;
    // A dimension of 1 has no distance to speak of.
    isOutermost &= known == 1;
  }
  return true;
}

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
        if (!hasEvenRows(*buffer)) {
          auto type = cast<MemRefType>((*buffer).getType());
          Location loc = op->getLoc();
          SmallVector<Value> sizes;
          for (int64_t d = 0; d < type.getRank(); ++d)
            if (type.isDynamicDim(d))
              sizes.push_back(memref::DimOp::create(rewriter, loc, *buffer, d));
          Value copy = memref::AllocOp::create(
              rewriter, loc,
              MemRefType::get(type.getShape(), type.getElementType()), sizes);
          memref::CopyOp::create(rewriter, loc, *buffer, copy);
          buffer = copy;
        }
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
