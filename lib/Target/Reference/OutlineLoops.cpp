//===- OutlineLoops.cpp - One function per distinct loop nest -------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Moves every linalg op on buffers into a function of its own and keeps one
/// of equal ones: the layers of a model differ in their buffers only. LLVM's
/// time grows faster than the size of a function, so a model of six layers
/// compiles many times faster, and one of sixty hardly slower.
///
//===----------------------------------------------------------------------===//

#include "Internal.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/Matchers.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/Transforms/RegionUtils.h"
#include "llvm/ADT/StringMap.h"

using namespace mlir;
using namespace miura;

namespace {
struct OutlineLoops : PassWrapper<OutlineLoops, OperationPass<ModuleOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(OutlineLoops)
  StringRef getArgument() const override { return "miura-outline-loops"; }
  StringRef getDescription() const override {
    return "Move each distinct linalg op on buffers to a function of its own";
  }
  void getDependentDialects(DialectRegistry &registry) const override {
    registry.insert<func::FuncDialect>();
  }

  void runOnOperation() override {
    SmallVector<linalg::LinalgOp> ops;
    getOperation().walk([&](linalg::LinalgOp op) {
      if (op.hasPureBufferSemantics())
        ops.push_back(op);
    });
    llvm::StringMap<func::FuncOp> functions;
    SymbolTable symbols(getOperation());
    for (linalg::LinalgOp op : ops)
      outline(op, functions, symbols);
  }

  void outline(linalg::LinalgOp op, llvm::StringMap<func::FuncOp> &functions,
               SymbolTable &symbols) {
    // What the op reads: operands, and what its body captures. Constants go
    // along, so that loops of known size stay so.
    llvm::SetVector<Value> used(op->operand_begin(), op->operand_end());
    getUsedValuesDefinedAbove(op->getRegions(), used);
    SmallVector<Value> arguments;
    SmallVector<Operation *> constants;
    for (Value value : used)
      if (Operation *definition = value.getDefiningOp();
          definition && matchPattern(definition, m_Constant()))
        constants.push_back(definition);
      else
        arguments.push_back(value);

    OpBuilder builder(op);
    Location unknown = builder.getUnknownLoc();
    auto type = builder.getFunctionType(TypeRange(arguments), {});
    OpBuilder detached(&getContext());
    auto function = func::FuncOp::create(detached, unknown, "miura_loop", type);
    function.setPrivate();
    Block *body = function.addEntryBlock();
    detached.setInsertionPointToStart(body);
    IRMapping mapping;
    mapping.map(arguments, body->getArguments());
    for (Operation *constant : constants)
      detached.clone(*constant, mapping);
    detached.clone(*op, mapping);
    func::ReturnOp::create(detached, unknown);

    std::string text;
    llvm::raw_string_ostream(text) << function;
    func::FuncOp &shared = functions[text];
    if (shared) {
      function.erase();
    } else {
      function->setAttr("no_inline", builder.getUnitAttr());
      symbols.insert(function);
      shared = function;
    }
    func::CallOp::create(builder, op.getLoc(), shared, arguments);
    op.erase();
  }
};
} // namespace

std::unique_ptr<Pass> miura::detail::createOutlineLoopsPass() {
  return std::make_unique<OutlineLoops>();
}
