//===- EvaluateLeaves.cpp - Numbers where no panel decodes an expression --===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The pass miura-evaluate-leaves. Expressions compose freely, and not every
/// composition has a panel: codes whose scales change with every column and
/// every few rows, for example. Such a part is evaluated when the model is
/// compiled and packed as the numbers that it is, so that whatever a pass can
/// write can be run.
///
//===----------------------------------------------------------------------===//

#include "miura/Codegen/CPU/Kernels.h"
#include "miura/Codegen/Step/Passes.h"
#include "mlir/IR/SymbolTable.h"

namespace miura {
#define GEN_PASS_DEF_EVALUATELEAVESPASS
#include "miura/Codegen/Step/Passes.h.inc"
} // namespace miura

using namespace mlir;
using namespace miura;
using namespace miura::codegen;

/// The parts of `weight` that stay weights of kernels where it is multiplied
/// with `x`; `weight` itself where kernels do not know what it is made of.
static SmallVector<Value> getParts(OpBuilder &builder, Value x, Value weight,
                                   ComputeAttr compute) {
  Operation *place = &*builder.getInsertionPoint();
  Operation *before = place->getPrevNode();
  Value sum = expandLinear(builder, x, weight, compute);
  std::string reason;
  std::optional<SmallVector<TermWeights>> terms = getTerms(sum, x, &reason);
  SmallVector<Value> parts;
  if (terms)
    for (const TermWeights &term : *terms) {
      parts.push_back(term.leaf);
      if (term.right)
        parts.push_back(term.right);
    }
  else
    parts.push_back(weight);
  // What was built was for its structure only.
  while (place->getPrevNode() != before)
    place->getPrevNode()->erase();
  return parts;
}

/// Whether every number is one of f16.
static bool fitsHalf(const HostTensor &numbers) {
  return llvm::all_of(numbers.floats, [](float number) {
    APFloat half(number);
    bool isLossy;
    half.convert(APFloat::IEEEhalf(), APFloat::rmNearestTiesToEven, &isLossy);
    return !isLossy;
  });
}

namespace {
struct EvaluateLeaves
    : public miura::impl::EvaluateLeavesPassBase<EvaluateLeaves> {
  void runOnOperation() override {
    struct Part {
      Value value;
      StringRef id;
    };
    SmallVector<Part> missing;
    auto need = [&](Value value, StringRef id, bool isBatched = false) {
      if (!getPanelLeaf(value, isBatched) && isWeightExpression(value))
        missing.push_back({value, id});
    };
    getOperation().walk([&](Operation *op) {
      OpBuilder builder(op);
      if (auto linear = dyn_cast<LinearOp>(op)) {
        for (Value part : getParts(builder, linear.getInput(),
                                   linear.getWeight(), linear.getCompute()))
          need(part, linear.getId());
      } else if (auto linear = dyn_cast<ExpertLinearOp>(op)) {
        for (Value part : getParts(builder, linear.getInput(),
                                   linear.getWeight(), linear.getCompute()))
          need(part, linear.getId(), /*isBatched=*/true);
      } else if (auto embedding = dyn_cast<EmbeddingOp>(op)) {
        need(embedding.getWeight(), embedding.getId());
      }
    });
    SymbolTable symbols(getOperation());
    DenseSet<Value> done;
    for (Part part : missing)
      if (done.insert(part.value).second &&
          failed(evaluate(part.value, part.id, symbols)))
        return signalPassFailure();
  }

  LogicalResult evaluate(Value value, StringRef id, SymbolTable &symbols) {
    auto type = cast<RankedTensorType>(value.getType());
    if (!type.hasStaticShape() || !isa<FloatType>(type.getElementType()))
      return success();
    FailureOr<HostTensor> numbers = evaluateExpression(value);
    if (failed(numbers))
      return failure();
    OpBuilder builder(&getContext());
    builder.setInsertionPointAfterValue(value);
    Location loc = value.getLoc();
    Type stored = fitsHalf(*numbers) ? (Type)builder.getF16Type()
                                     : (Type)builder.getF32Type();
    numbers->type = type.clone(stored);
    auto *dialect = getContext().getLoadedDialect<MiuraDialect>();
    auto bytes =
        dialect->getWeightStore().putBytes(writeHostTensor(*numbers), loc);
    if (failed(bytes))
      return failure();
    emitRemark(loc) << "'" << id << "': no kernel decodes '"
                    << value.getDefiningOp()->getName()
                    << "' of this form; its values are stored as " << stored;
    auto data =
        WeightDataOp::create(builder, loc, id, builder.getStringAttr("private"),
                             *bytes, StringAttr(), numbers->type);
    data->remove();
    symbols.insert(data, getOperation().getBody()->begin());
    Value weight =
        WeightOp::create(builder, loc, numbers->type, data.getSymName());
    if (stored != type.getElementType())
      weight = ConvertOp::create(builder, loc, type, weight);
    value.replaceAllUsesWith(weight);
    value.getDefiningOp()->erase();
    return success();
  }
};
} // namespace
