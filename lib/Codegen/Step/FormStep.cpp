//===- FormStep.cpp - The signature of a step -----------------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Rewrites the signature of a session's steps from tensors with roles to the
/// memrefs, in the order, that the runtime passes.
///
//===----------------------------------------------------------------------===//

#include "miura/Codegen/Step/Passes.h"
#include "miura/Codegen/Step/StepSignature.h"
#include "miura/Dialect/Miura/IR/MiuraDialect.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/IR/Builders.h"

namespace miura {
#define GEN_PASS_DEF_FORMSTEPPASS
#include "miura/Codegen/Step/Passes.h.inc"
} // namespace miura

using namespace mlir;
using namespace miura;

SmallVector<func::FuncOp> miura::getSteps(ModuleOp module) {
  SmallVector<func::FuncOp> steps;
  for (auto function : module.getOps<func::FuncOp>())
    if (function->hasAttr(kSessionAttrName) && !function.isExternal())
      steps.push_back(function);
  return steps;
}

func::FuncOp miura::getBarrier(ModuleOp module) {
  if (auto barrier = module.lookupSymbol<func::FuncOp>(kBarrierName))
    return barrier;
  OpBuilder builder = OpBuilder::atBlockBegin(module.getBody());
  auto barrier = func::FuncOp::create(
      builder, module.getLoc(), kBarrierName,
      builder.getFunctionType(builder.getIndexType(), TypeRange()));
  barrier.setPrivate();
  return barrier;
}

/// The roles that stand before the caches, in the runtime's order, with the
/// types that a step without such an argument gets.
static SmallVector<std::pair<RoleKind, MemRefType>>
getLeadingArguments(Builder &b) {
  int64_t dynamic = ShapedType::kDynamic;
  auto i64 = b.getI64Type();
  return {{RoleKind::tokens, MemRefType::get({dynamic, dynamic}, i64)},
          {RoleKind::positions, MemRefType::get({dynamic, dynamic}, i64)},
          {RoleKind::mask, MemRefType::get({dynamic, dynamic}, b.getI8Type())},
          {RoleKind::lengths, MemRefType::get({dynamic}, i64)},
          {RoleKind::counts, MemRefType::get({dynamic}, i64)}};
}

static bool isCache(RoleAttr role) {
  return role && (role.getKind() == RoleKind::cache_key ||
                  role.getKind() == RoleKind::cache_value);
}

static MemRefType asMemRef(Type type) {
  auto tensor = cast<RankedTensorType>(type);
  return MemRefType::get(tensor.getShape(), tensor.getElementType());
}

static LogicalResult formStep(func::FuncOp step) {
  OpBuilder b(step.getContext());
  Location loc = step.getLoc();
  Block &body = step.getBody().front();
  if (!llvm::hasSingleElement(step.getBody()))
    return step.emitError("expects a step without control flow");
  unsigned oldCount = body.getNumArguments();

  // Find every argument by its role.
  DenseMap<std::pair<RoleKind, int64_t>, unsigned> places;
  int64_t layers = 0;
  for (unsigned i = 0; i < oldCount; ++i) {
    auto role = step.getArgAttrOfType<RoleAttr>(i, kRoleAttrName);
    if (!role || !isa<RankedTensorType>(step.getArgument(i).getType()))
      return step.emitError("argument ")
             << i << " has no role in a session; form one with "
             << "miura-form-session";
    if (isCache(role))
      layers = std::max(layers, role.getLayer() + 1);
    int64_t layer = isCache(role) ? role.getLayer() : -1;
    if (!places.try_emplace({role.getKind(), layer}, i).second)
      return step.emitError("argument ")
             << i << " has the role " << role << " of another argument";
  }

  // New arguments behind the old ones, in the runtime's order.
  SmallVector<DictionaryAttr> attributes;
  auto addArgument = [&](Type type, std::optional<unsigned> from) {
    BlockArgument argument = body.addArgument(type, loc);
    attributes.push_back(from ? step.getArgAttrDict(*from)
                              : b.getDictionaryAttr({}));
    if (!from)
      return argument;
    places.erase(places.find(
        {step.getArgAttrOfType<RoleAttr>(*from, kRoleAttrName).getKind(),
         isCache(step.getArgAttrOfType<RoleAttr>(*from, kRoleAttrName))
             ? step.getArgAttrOfType<RoleAttr>(*from, kRoleAttrName).getLayer()
             : -1}));
    BlockArgument old = body.getArgument(*from);
    b.setInsertionPointToStart(&body);
    auto tensor = bufferization::ToTensorOp::create(
        b, loc, old.getType(), argument, /*restrict=*/true, /*writable=*/true);
    old.replaceAllUsesWith(tensor);
    return argument;
  };
  for (auto &[kind, type] : getLeadingArguments(b)) {
    auto it = places.find({kind, -1});
    if (it == places.end()) {
      addArgument(type, std::nullopt);
      continue;
    }
    addArgument(asMemRef(body.getArgument(it->second).getType()), it->second);
  }
  DenseMap<std::pair<RoleKind, int64_t>, Value> caches;
  for (int64_t layer = 0; layer < layers; ++layer)
    for (RoleKind kind : {RoleKind::cache_key, RoleKind::cache_value}) {
      auto it = places.find({kind, layer});
      if (it == places.end())
        return step.emitError("layer ")
               << layer << " has no key or value cache";
      unsigned from = it->second;
      caches[{kind, layer}] =
          addArgument(asMemRef(body.getArgument(from).getType()), from);
    }
  if (!places.empty())
    return step.emitError("argument ")
           << places.begin()->second
           << " has a role that a session does not give";

  // Results go where their role says.
  auto ret = cast<func::ReturnOp>(body.getTerminator());
  BlockArgument logits;
  for (unsigned i = 0; i < ret.getNumOperands(); ++i) {
    auto role = step.getResultAttrOfType<RoleAttr>(i, kRoleAttrName);
    Value value = ret.getOperand(i), target;
    if (isCache(role)) {
      target = caches.lookup({role.getKind(), role.getLayer()});
    } else if (role && role.getKind() == RoleKind::logits) {
      logits = addArgument(asMemRef(value.getType()), std::nullopt);
      target = logits;
    }
    if (!target)
      return step.emitError("result ")
             << i << " has no role that a session returns";
    if (target.getType() != asMemRef(value.getType()))
      return step.emitError("result ")
             << i << " has another type than its cache";
    b.setInsertionPoint(ret);
    bufferization::MaterializeInDestinationOp::create(
        b, loc, /*result=*/Type(), value, target, /*restrict=*/true,
        /*writable=*/true);
  }
  if (!logits)
    return step.emitError("has no result with the role of logits");
  // Facts for the runtime, which the LLVM dialect does not keep.
  SmallVector<int64_t> shapes;
  for (int64_t layer = 0; layer < layers; ++layer)
    for (RoleKind kind : {RoleKind::cache_key, RoleKind::cache_value}) {
      auto type = cast<MemRefType>(caches[{kind, layer}].getType());
      if (type.getRank() != 4 || type.isDynamicDim(1) || type.isDynamicDim(3))
        return step.emitError("layer ")
               << layer
               << " has a cache without a number and size of heads: " << type;
      shapes.append({type.getDimSize(1), type.getDimSize(3)});
    }
  auto logitsType = cast<MemRefType>(logits.getType());
  if (logitsType.getRank() != 3 || logitsType.isDynamicDim(2) ||
      !logitsType.getElementType().isF32())
    return step.emitError("expects f32 logits of rank 3 with a vocabulary of "
                          "known size, but got ")
           << logitsType;
  auto module = step->getParentOfType<ModuleOp>();
  module->setAttr("miura.caches", b.getDenseI64ArrayAttr(shapes));
  module->setAttr("miura.vocabulary",
                  b.getI64IntegerAttr(logitsType.getDimSize(2)));

  auto bytes = MemRefType::get({ShapedType::kDynamic}, b.getI8Type());
  addArgument(bytes, std::nullopt);
  addArgument(bytes, std::nullopt);
  for (int i = 0; i < 3; ++i)
    addArgument(b.getIndexType(), std::nullopt);

  b.setInsertionPoint(ret);
  func::ReturnOp::create(b, loc);
  ret.erase();
  body.eraseArguments(0, oldCount);
  step.setFunctionType(b.getFunctionType(body.getArgumentTypes(), TypeRange()));
  step.removeResAttrsAttr();
  step.setAllArgAttrs(attributes);
  return success();
}

namespace {

struct FormStep : public miura::impl::FormStepPassBase<FormStep> {
  void runOnOperation() override {
    for (func::FuncOp step : getSteps(getOperation()))
      if (failed(formStep(step)))
        return signalPassFailure();
  }
};

} // namespace
