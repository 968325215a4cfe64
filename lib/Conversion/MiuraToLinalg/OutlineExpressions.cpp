//===- OutlineExpressions.cpp - Weights as arguments ----------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The pass miura-outline-expressions. An expression's root is a value that an
/// op outside of every expression uses; each root becomes one argument, and
/// the tree above it moves to a function of its own.
///
//===----------------------------------------------------------------------===//

#include "miura/Conversion/MiuraToLinalg/Passes.h"
#include "miura/Dialect/Miura/IR/MiuraDialect.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/IRMapping.h"

namespace miura {
#define GEN_PASS_DEF_OUTLINEEXPRESSIONSPASS
#include "miura/Conversion/MiuraToLinalg/Passes.h.inc"
} // namespace miura

using namespace mlir;
using namespace miura;

/// Clones the tree that ends in `value`.
static void cloneTree(Value value, OpBuilder &builder, IRMapping &mapping) {
  if (mapping.contains(value))
    return;
  Operation *op = value.getDefiningOp();
  for (Value operand : op->getOperands())
    cloneTree(operand, builder, mapping);
  builder.clone(*op, mapping);
}

static void outline(func::FuncOp function) {
  SmallVector<Value> roots;
  function.walk([&](Operation *op) {
    if (!isa<WeightExpression>(op))
      return;
    for (Value result : op->getResults())
      if (llvm::any_of(result.getUsers(), [](Operation *user) {
            return !isa<WeightExpression>(user);
          }))
        roots.push_back(result);
  });
  OpBuilder builder(function);
  builder.setInsertionPointAfter(function);
  SmallVector<Type> types(ValueRange(roots).getTypes());
  auto weights = func::FuncOp::create(
      builder, function.getLoc(),
      (function.getSymName() + kWeightsFunctionSuffix).str(),
      builder.getFunctionType({}, types));
  weights.setPrivate();
  builder.setInsertionPointToStart(weights.addEntryBlock());
  IRMapping mapping;
  SmallVector<Value> results;
  for (Value root : roots) {
    cloneTree(root, builder, mapping);
    results.push_back(mapping.lookup(root));
  }
  func::ReturnOp::create(builder, function.getLoc(), results);

  auto marker = builder.getDictionaryAttr(
      builder.getNamedAttr(kWeightArgumentAttrName, builder.getUnitAttr()));
  for (Value root : roots) {
    unsigned position = function.getNumArguments();
    (void)function.insertArgument(position, root.getType(), marker,
                                  root.getLoc());
    root.replaceUsesWithIf(function.getArgument(position), [](OpOperand &use) {
      return !isa<WeightExpression>(use.getOwner());
    });
  }
  // Trees whose last use went.
  SmallVector<Operation *> expressions;
  function.walk([&](WeightExpression op) { expressions.push_back(op); });
  for (Operation *op : llvm::reverse(expressions))
    if (op->use_empty())
      op->erase();
}

namespace {
struct OutlineExpressionsPass
    : miura::impl::OutlineExpressionsPassBase<OutlineExpressionsPass> {
  void runOnOperation() override {
    SmallVector<func::FuncOp> functions;
    for (auto function : getOperation().getOps<func::FuncOp>())
      if (function.isPublic() && !function.isExternal())
        functions.push_back(function);
    llvm::for_each(functions, outline);
  }
};
} // namespace
