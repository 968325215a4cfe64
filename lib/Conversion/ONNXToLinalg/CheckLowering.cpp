//===- CheckLowering.cpp - Can every node that is left be lowered? --------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The pass miura-check-onnx-lowering. It stands in front of what asks for a
/// whole model, such as a session, so that an operator which nobody knows is
/// called by its name and not by what is missing behind it.
///
//===----------------------------------------------------------------------===//

#include "miura/Conversion/ONNXToLinalg/Passes.h"
#include "miura/Dialect/Miura/IR/MiuraDialect.h"
#include "llvm/ADT/MapVector.h"

namespace miura {
#define GEN_PASS_DEF_CHECKONNXLOWERINGPASS
#include "miura/Conversion/ONNXToLinalg/Passes.h.inc"
} // namespace miura

using namespace mlir;
using namespace miura;

LogicalResult miura::verifyONNXLowerings(ModuleOp module) {
  // Each operator once, at its first node.
  llvm::MapVector<std::pair<StringRef, StringRef>, SmallVector<OnnxNodeOp>>
      unknown;
  module.walk([&](OnnxNodeOp op) {
    // Bodies of subgraphs are lowered with the node that owns them.
    if (!op->getParentOfType<OnnxNodeOp>() &&
        !hasONNXToLinalgEmitter(op.getDomain(), op.getOpType()))
      unknown[{op.getDomain(), op.getOpType()}].push_back(op);
  });
  for (auto &[name, nodes] : unknown) {
    OnnxNodeOp op = nodes.front();
    InFlightDiagnostic diagnostic = op.emitError("node '");
    diagnostic << op.getNodeName() << "' is of the operator '" << name.second
               << "'";
    if (!name.first.empty())
      diagnostic << " (domain '" << name.first << "')";
    if (nodes.size() > 1)
      diagnostic << ", as are " << nodes.size() - 1 << " more";
    diagnostic << ", which cannot be compiled: no model op was found for it, "
                  "and it has no lowering of its own; replace it in the file "
                  "by operators that are known";
  }
  return success(unknown.empty());
}

namespace {
struct CheckOnnxLoweringPass
    : miura::impl::CheckOnnxLoweringPassBase<CheckOnnxLoweringPass> {
  void runOnOperation() override {
    if (failed(verifyONNXLowerings(getOperation())))
      signalPassFailure();
  }
};
} // namespace
