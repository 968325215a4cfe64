//===- VerifyLevel.cpp - The contracts of the levels ----------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The pass miura-verify-level. One walk over the module per level; an error is
/// reported at the first op of its kind, as a module that breaks a contract
/// does so at every layer.
///
//===----------------------------------------------------------------------===//

#include "miura/Conversion/ONNXToLinalg/Passes.h"
#include "miura/Dialect/Miura/IR/MiuraDialect.h"
#include "miura/Import/ONNX/ImportOnnx.h"
#include "miura/Pipelines/Passes.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "mlir/Interfaces/ViewLikeInterface.h"
#include "llvm/ADT/StringSet.h"

namespace miura {
#define GEN_PASS_DEF_VERIFYLEVELPASS
#include "miura/Pipelines/Passes.h.inc"
} // namespace miura

using namespace mlir;
using namespace miura;

namespace {

/// Reports each kind of breach once per operation name.
class Checker {
public:
  explicit Checker(ModuleOp module) : module(module) {}

  void checkOnnx();
  void checkNormalized();
  void checkModel();
  void checkLowerings();
  void checkCertificates();
  void checkKernels();

  LogicalResult getResult() const { return success(!broken); }

private:
  void report(Operation *op, const llvm::Twine &message) {
    broken = true;
    std::string text = message.str();
    if (seen.insert((op->getName().getStringRef() + text).str()).second)
      op->emitOpError(text);
  }

  ModuleOp module;
  bool broken = false;
  llvm::StringSet<> seen;
};

} // namespace

//===----------------------------------------------------------------------===//
// The file's levels
//===----------------------------------------------------------------------===//

void Checker::checkOnnx() {
  module.walk([&](Operation *op) {
    if (!isa<ModuleOp, func::FuncOp, func::ReturnOp, WeightDataOp, WeightOp,
             OnnxNodeOp, OnnxYieldOp, AbsentOp, arith::ConstantOp>(op))
      report(op,
             "is not of the onnx level: only nodes of the file, weights and "
             "constants are; what works on nodes must run before "
             "miura-raise");
  });
}

void Checker::checkNormalized() {
  for (auto function : module.getOps<func::FuncOp>())
    if (function->hasAttr(kFunctionAttrName))
      report(function, "is a function of the file, which normalized modules "
                       "have inlined; run miura-onnx-normalize");
  module.walk([&](OnnxNodeOp op) {
    auto isUnknown = [](Type type) { return isa<UnknownType>(type); };
    if (op.hasStandardDomain() && op.getNumRegions() == 0 &&
        op->getNumResults() && llvm::all_of(op->getResultTypes(), isUnknown) &&
        llvm::all_of(op->getOperandTypes(), llvm::IsaPred<RankedTensorType>))
      report(op, "'" + op.getNodeName() +
                     "' has results of no known type though its operands have "
                     "types; run miura-onnx-normalize");
  });
}

//===----------------------------------------------------------------------===//
// The model
//===----------------------------------------------------------------------===//

/// Ops that raw loops may not stand behind: what they give is a model's state.
static void markReachable(Value start, DenseSet<Operation *> &reached) {
  SmallVector<Value> open{start};
  while (!open.empty())
    for (Operation *user : open.pop_back_val().getUsers())
      if (reached.insert(user).second)
        llvm::append_range(open, user->getResults());
}

static bool isModelValue(Type type) {
  if (auto tensor = dyn_cast<RankedTensorType>(type))
    return !tensor.getEncoding();
  return type.isIntOrIndexOrFloat();
}

void Checker::checkModel() {
  DenseSet<Operation *> reached;
  module.walk<WalkOrder::PreOrder>([&](Operation *op) {
    if (isa<WeightOp, Compressible>(op))
      for (Value result : op->getResults())
        markReachable(result, reached);
    if (isa<OnnxNodeOp>(op)) {
      // Its values may have any type; bodies are lowered with it.
      return WalkResult::skip();
    }
    Dialect *dialect = op->getDialect();
    if (isa<KernelOp>(op) ||
        !isa_and_nonnull<BuiltinDialect, MiuraDialect, arith::ArithDialect,
                         math::MathDialect, tensor::TensorDialect,
                         linalg::LinalgDialect, scf::SCFDialect,
                         func::FuncDialect>(dialect)) {
      report(op, "is not of the model level: it must run before kernels are "
                 "formed and buffers are made");
      return WalkResult::skip();
    }
    if (isa<linalg::GenericOp>(op) && reached.contains(op))
      report(op, "stands behind a weight, where the model level has named ops "
                 "only; raise it to one");
    auto checkType = [&](Type type, StringRef verb) {
      std::string text;
      llvm::raw_string_ostream(text) << type;
      if (!isModelValue(type))
        report(op, verb + " a value of type '" + text +
                       "', but the model level has ranked tensors without "
                       "encodings, and scalars");
    };
    if (auto function = dyn_cast<func::FuncOp>(op))
      for (Type type : function.getArgumentTypes())
        checkType(type, "takes");
    if (isa<ModuleOp, func::FuncOp, WeightDataOp, AbsentOp>(op))
      return WalkResult::advance();
    bool isPure = isMemoryEffectFree(op) || isa<func::CallOp>(op) ||
                  op->hasTrait<OpTrait::IsTerminator>();
    if (!isPure)
      report(op, "has side effects, which the model level does not have: it "
                 "works on values");
    for (Type type : op->getResultTypes())
      checkType(type, "gives");
    return WalkResult::advance();
  });

  // Reports and profiles go by id.
  for (auto function : module.getOps<func::FuncOp>()) {
    llvm::StringMap<Operation *> ids;
    function.walk([&](Compressible op) {
      StringRef id = op.getId();
      if (!id.empty() && !ids.try_emplace(id, op).second)
        report(op, "has the id '" + id +
                       "', as another layer of the function has; ids must be "
                       "unique for reports and profiles");
    });
  }
}

void Checker::checkLowerings() {
  if (failed(verifyONNXLowerings(module)))
    broken = true;
}

void Checker::checkCertificates() {
  module.walk([&](ApproximateOp op) {
    CertificateAttr certificate = op.getCertificateAttr();
    if (!certificate)
      report(op, "has no certificate; the pass that made it must certify it "
                 "against the original");
    auto original = SymbolTable::lookupNearestSymbolFrom<WeightDataOp>(
        op, op.getOriginalAttr());
    if (certificate && original && original.getDigest() &&
        *original.getDigest() != certificate.getOriginal().getValue())
      report(op, "is certified against another weight than '@" +
                     op.getOriginal() +
                     "': the digests differ; certify it anew");
    for (Operation *user : op->getUsers())
      if (isa<WeightExpression>(user) && !isa<TransposeOp, ConvertOp>(user))
        report(op, "is an operand of '" + user->getName().getStringRef() +
                       "', but it is the root of a weight's expression; "
                       "rewrite below it and certify the whole anew");
  });
}

//===----------------------------------------------------------------------===//
// Kernels
//===----------------------------------------------------------------------===//

/// Inline constants have at most as many elements (of 4 bytes).
static constexpr int64_t kLeastWeight = 1024;

static int64_t countElements(Type type) {
  auto shaped = dyn_cast<ShapedType>(type);
  return shaped && shaped.hasStaticShape() && shaped.getRank() >= 2
             ? shaped.getNumElements()
             : 0;
}

void Checker::checkKernels() {
  int64_t least = INT64_MAX;
  for (auto data : module.getOps<WeightDataOp>())
    if (int64_t count = countElements(data.getType()); count >= kLeastWeight)
      least = std::min(least, count);

  // What is computed from weights alone, in program order.
  DenseSet<Value> fromWeights;
  module.walk<WalkOrder::PreOrder>([&](Operation *op) {
    if (isa<memref::AllocOp>(op))
      report(op, "allocates inside a step; miura-plan-workspace gives every "
                 "buffer a place in the session's arena");
    if (isa<KernelOp, OnnxNodeOp>(op))
      return WalkResult::skip();
    bool isStored = isa<WeightOp>(op);
    bool isWeight = isStored;
    for (Value operand : op->getOperands()) {
      if (fromWeights.contains(operand))
        isWeight = true;
      else if (!operand.getDefiningOp() ||
               !isa<arith::ConstantOp, tensor::EmptyOp>(
                   operand.getDefiningOp()))
        return WalkResult::advance();
    }
    if (!isWeight)
      return WalkResult::advance();
    bool isView = isStored ||
                  isa<TransposeOp, ApproximateOp, ViewLikeOpInterface>(op) ||
                  isa<tensor::CastOp, tensor::CollapseShapeOp,
                      tensor::ExpandShapeOp, tensor::ExtractSliceOp>(op);
    for (Value result : op->getResults()) {
      fromWeights.insert(result);
      if (!isView && isa<FloatType>(getElementTypeOrSelf(result.getType())) &&
          countElements(result.getType()) >= least) {
        std::string text;
        llvm::raw_string_ostream(text) << result.getType();
        report(op, "computes a whole weight of '" + text +
                       "' outside a kernel; a weight's expression must be "
                       "decoded in the kernel that multiplies by it");
      }
    }
    return WalkResult::advance();
  });
}

//===----------------------------------------------------------------------===//
// The pass
//===----------------------------------------------------------------------===//

namespace {
struct VerifyLevelPass
    : public miura::impl::VerifyLevelPassBase<VerifyLevelPass> {
  using VerifyLevelPassBase::VerifyLevelPassBase;

  void runOnOperation() override {
    Checker checker(getOperation());
    switch (level) {
    case Level::Normalized:
      checker.checkNormalized();
      [[fallthrough]];
    case Level::Onnx:
      checker.checkOnnx();
      break;
    case Level::Model:
      checker.checkModel();
      checker.checkLowerings();
      break;
    case Level::Compressed:
      checker.checkModel();
      checker.checkCertificates();
      break;
    case Level::Kernel:
      checker.checkKernels();
      break;
    }
    if (failed(checker.getResult()))
      return signalPassFailure();
    markAllAnalysesPreserved();
  }
};
} // namespace

std::unique_ptr<Pass> miura::createVerifyLevelPass(Level level) {
  VerifyLevelPassOptions options;
  options.level = level;
  return createVerifyLevelPass(options);
}
