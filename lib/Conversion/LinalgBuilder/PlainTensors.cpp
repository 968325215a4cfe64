//===- PlainTensors.cpp - Tensors that linalg can work on -----------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Symbolic dimension names and signed or unsigned integers are facts of the
/// onnx level; arith, linalg and bufferization know neither. This converts
/// tensor types, and every op of the dialects below that carries them.
///
//===----------------------------------------------------------------------===//

#include "miura/Conversion/LinalgBuilder/LinalgBuilder.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Func/Transforms/FuncConversions.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace miura;

static Type makePlain(Type type) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  if (!tensor)
    return type;
  Type element = tensor.getElementType();
  if (auto integer = dyn_cast<IntegerType>(element);
      integer && !integer.isSignless())
    element = IntegerType::get(type.getContext(), integer.getWidth());
  return RankedTensorType::get(tensor.getShape(), element);
}

PlainTensorConverter::PlainTensorConverter() {
  addConversion([](Type type) { return makePlain(type); });
  auto materialize = [](OpBuilder &builder, Type type, ValueRange inputs,
                        Location loc) -> Value {
    return UnrealizedConversionCastOp::create(builder, loc, type, inputs)
        .getResult(0);
  };
  addSourceMaterialization(materialize);
  addTargetMaterialization(materialize);
}

namespace {
/// Rebuilds an op with converted operands, results and constants.
struct ConvertTypes : ConversionPattern {
  ConvertTypes(const TypeConverter &converter, MLIRContext *context)
      : ConversionPattern(converter, MatchAnyOpTypeTag(), /*benefit=*/0,
                          context) {}

  LogicalResult
  matchAndRewrite(Operation *op, ArrayRef<Value> operands,
                  ConversionPatternRewriter &rewriter) const override {
    if (!isa_and_nonnull<arith::ArithDialect, math::MathDialect,
                         tensor::TensorDialect, linalg::LinalgDialect,
                         scf::SCFDialect>(op->getDialect()))
      return failure();
    SmallVector<Type> types;
    if (failed(getTypeConverter()->convertTypes(op->getResultTypes(), types)))
      return failure();
    OperationState state(op->getLoc(), op->getName());
    state.addOperands(operands);
    state.addTypes(types);
    state.addAttributes(op->getAttrs());
    for (Region &region : op->getRegions())
      rewriter.inlineRegionBefore(region, *state.addRegion(),
                                  state.regions.back()->end());
    Operation *plain = rewriter.create(state);
    if (auto constant = dyn_cast<arith::ConstantOp>(plain))
      if (auto dense = dyn_cast<DenseElementsAttr>(constant.getValue()))
        constant.setValueAttr(DenseElementsAttr::getFromRawBuffer(
            cast<ShapedType>(types[0]), dense.getRawData()));
    rewriter.replaceOp(op, plain->getResults());
    return success();
  }
};
} // namespace

void miura::populatePlainTensorPatterns(const TypeConverter &converter,
                                        ConversionTarget &target,
                                        RewritePatternSet &patterns) {
  target.addDynamicallyLegalDialect<arith::ArithDialect, math::MathDialect,
                                    tensor::TensorDialect,
                                    linalg::LinalgDialect, scf::SCFDialect>(
      [&converter](Operation *op) { return converter.isLegal(op); });
  target.addDynamicallyLegalOp<func::FuncOp>([&converter](func::FuncOp op) {
    return converter.isSignatureLegal(op.getFunctionType()) &&
           (op.isExternal() || converter.isLegal(&op.getBody()));
  });
  target.addDynamicallyLegalOp<func::ReturnOp, func::CallOp>(
      [&converter](Operation *op) { return converter.isLegal(op); });
  target.addLegalOp<UnrealizedConversionCastOp>();
  populateFunctionOpInterfaceTypeConversionPattern<func::FuncOp>(patterns,
                                                                 converter);
  populateReturnOpTypeConversionPattern(patterns, converter);
  populateCallOpTypeConversionPattern(patterns, converter);
  patterns.add<ConvertTypes>(converter, patterns.getContext());
}
