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

namespace miura {
#define GEN_PASS_DEF_CHECKONNXLOWERINGPASS
#include "miura/Conversion/ONNXToLinalg/Passes.h.inc"
} // namespace miura

using namespace mlir;
using namespace miura;

namespace {
struct CheckOnnxLoweringPass
    : miura::impl::CheckOnnxLoweringPassBase<CheckOnnxLoweringPass> {
  void runOnOperation() override {
    getOperation().walk([&](OnnxNodeOp op) {
      // Bodies of subgraphs are lowered with the node that owns them.
      if (op->getParentOfType<OnnxNodeOp>() ||
          hasONNXToLinalgEmitter(op.getDomain(), op.getOpType()))
        return;
      InFlightDiagnostic diagnostic = op.emitError("node '");
      diagnostic << op.getNodeName() << "' is of the operator '"
                 << op.getOpType() << "'";
      if (!op.getDomain().empty())
        diagnostic << " (domain '" << op.getDomain() << "')";
      diagnostic << ", which cannot be compiled: no model op was found for it, "
                    "and it has no lowering of its own; replace it in the file "
                    "by operators that are known";
      signalPassFailure();
    });
  }
};
} // namespace
