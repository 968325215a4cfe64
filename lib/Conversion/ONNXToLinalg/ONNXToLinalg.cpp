//===- ONNXToLinalg.cpp - ONNX nodes as plain linalg ----------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The pass miura-onnx-to-linalg: one pattern that looks a node's operator up
/// in the table of emitters.
///
//===----------------------------------------------------------------------===//

#include "Node.h"
#include "miura/Conversion/ONNXToLinalg/Passes.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

namespace miura {
#define GEN_PASS_DEF_ONNXTOLINALGPASS
#include "miura/Conversion/ONNXToLinalg/Passes.h.inc"
} // namespace miura

using namespace mlir;
using namespace miura;
using namespace miura::onnxlower;

static const Table &getTable() {
  static const Table table = [] {
    Table all;
    addAttention(all);
    addControlFlow(all);
    addEinsum(all);
    addElementwise(all);
    addExperts(all);
    addIndexing(all);
    addNorms(all);
    addPackedWeights(all);
    addProducts(all);
    addQuantizedOps(all);
    addRecurrent(all);
    addReductions(all);
    addShapes(all);
    addWindows(all);
    return all;
  }();
  return table;
}

bool miura::hasONNXToLinalgEmitter(StringRef domain, StringRef opType) {
  return getTable().contains(getKey(domain, opType));
}

namespace {
struct LowerNode : OpConversionPattern<OnnxNodeOp> {
  using OpConversionPattern::OpConversionPattern;

  /// The nodes of a subgraph are copied out of the node that owns it and are
  /// lowered by the same pattern.
  void initialize() { setHasBoundedRewriteRecursion(); }

  LogicalResult
  matchAndRewrite(OnnxNodeOp op, OpAdaptor adaptor,
                  ConversionPatternRewriter &rewriter) const override {
    SmallVector<Value> operands(adaptor.getInputs());
    Node node(op, operands, *getTypeConverter(), rewriter);
    auto emitter = getTable().find(getKey(op.getDomain(), op.getOpType()));
    if (emitter == getTable().end()) {
      InFlightDiagnostic diagnostic = node.error();
      diagnostic << "has no lowering";
      if (!op.getDomain().empty())
        diagnostic << " (domain '" << op.getDomain() << "')";
      return diagnostic;
    }
    for (auto [kind, values] :
         {std::pair<StringRef, ValueRange>{"operand", op.getInputs()},
          std::pair<StringRef, ValueRange>{"result", op.getValues()}})
      for (auto [i, value] : llvm::enumerate(values))
        if (!isa<RankedTensorType, AbsentType>(value.getType()))
          return node.error()
                 << "has " << kind << " " << i << " of type " << value.getType()
                 << "; only tensors of known rank are lowered (run "
                    "miura-onnx-normalize before)";
    for (Value value : llvm::concat<Value>(op.getInputs(), op.getValues()))
      if (auto type = dyn_cast<RankedTensorType>(value.getType()))
        if (auto element = dyn_cast<FloatType>(type.getElementType());
            element && !element.isF16() && !element.isBF16() &&
            !element.isF32() && !element.isF64())
          return node.error() << "computes with " << type.getElementType()
                              << ", which is not lowered";
    Results results = emitter->second(node);
    if (failed(results))
      return failure();
    SmallVector<Value> replacements;
    for (size_t i = 0; i < node.numResults(); ++i) {
      if (!node.wantsResult(i)) {
        replacements.push_back(AbsentOp::create(rewriter, op.getLoc(),
                                                op->getResult(i).getType()));
        continue;
      }
      if (i >= results->size() || !(*results)[i])
        return node.error() << "has result " << i << ", which is not lowered";
      Value value = (*results)[i];
      RankedTensorType type = node.resultType(i);
      auto own = cast<RankedTensorType>(value.getType());
      if (own.getRank() != type.getRank() ||
          own.getElementType() != type.getElementType() ||
          failed(verifyCompatibleShape(own, type)))
        return node.error() << "computes result " << i << " of type " << own
                            << ", but is declared to give " << type;
      replacements.push_back(node.as(value, type));
    }
    rewriter.replaceOp(op, replacements);
    return success();
  }
};

struct ONNXToLinalgPass : miura::impl::ONNXToLinalgPassBase<ONNXToLinalgPass> {
  void runOnOperation() override {
    PlainTensorConverter converter;
    ConversionTarget target(getContext());
    RewritePatternSet patterns(&getContext());
    populatePlainTensorPatterns(converter, target, patterns);
    populateONNXToLinalgPatterns(converter, patterns);
    // Results that nobody wants.
    target.addLegalOp<AbsentOp>();
    target.addDynamicallyLegalOp<OnnxNodeOp>([](OnnxNodeOp op) {
      // Bodies of subgraphs are lowered with the node that owns them.
      return op->getParentOfType<OnnxNodeOp>() != nullptr;
    });
    if (failed(applyPartialConversion(getOperation(), target,
                                      std::move(patterns))))
      signalPassFailure();
  }
};
} // namespace

void miura::populateONNXToLinalgPatterns(const TypeConverter &converter,
                                         RewritePatternSet &patterns) {
  patterns.add<LowerNode>(converter, patterns.getContext());
}
