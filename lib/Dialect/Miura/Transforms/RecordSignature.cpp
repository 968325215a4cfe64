//===- RecordSignature.cpp - A model's own inputs and outputs -------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Reads the interface of a functional model and keeps it on the module as
/// attributes, for what comes after the function is gone.
///
//===----------------------------------------------------------------------===//

#include "miura/Dialect/Miura/Transforms/Passes.h"
#include "miura/Dialect/Miura/Transforms/Signature.h"

namespace miura {
#define GEN_PASS_DEF_RECORDSIGNATUREPASS
#include "miura/Dialect/Miura/Transforms/Passes.h.inc"
} // namespace miura

using namespace mlir;
using namespace miura;

static SignaturePort makePort(Type type, StringAttr name, RoleAttr role,
                              DimsAttr dims = {}) {
  SignaturePort port;
  port.type = type;
  // Names of sizes that the type no longer has.
  auto ranked = dyn_cast<RankedTensorType>(type);
  if (dims && ranked && !ranked.getEncoding())
    port.type =
        RankedTensorType::get(ranked.getShape(), ranked.getElementType(), dims);
  if (name)
    port.name = name.str();
  if (role) {
    port.role = role.getKind();
    port.layer = role.getLayer();
  }
  return port;
}

ModelSignature miura::getSignature(func::FuncOp model) {
  ModelSignature signature;
  for (unsigned i = 0; i < model.getNumArguments(); ++i)
    signature.inputs.push_back(
        makePort(model.getFunctionType().getInput(i),
                 model.getArgAttrOfType<StringAttr>(i, kNameAttrName),
                 model.getArgAttrOfType<RoleAttr>(i, kRoleAttrName),
                 model.getArgAttrOfType<DimsAttr>(i, kDimsAttrName)));
  for (unsigned i = 0; i < model.getNumResults(); ++i)
    signature.outputs.push_back(
        makePort(model.getFunctionType().getResult(i),
                 model.getResultAttrOfType<StringAttr>(i, kNameAttrName),
                 model.getResultAttrOfType<RoleAttr>(i, kRoleAttrName),
                 model.getResultAttrOfType<DimsAttr>(i, kDimsAttrName)));
  return signature;
}

static ArrayAttr toAttr(MLIRContext *context, ArrayRef<SignaturePort> ports) {
  Builder b(context);
  SmallVector<Attribute> entries;
  for (const SignaturePort &port : ports)
    entries.push_back(b.getDictionaryAttr(
        {b.getNamedAttr("name", b.getStringAttr(port.name)),
         b.getNamedAttr("role", RoleAttr::get(context, port.role, port.layer)),
         b.getNamedAttr("type", TypeAttr::get(port.type))}));
  return b.getArrayAttr(entries);
}

static SmallVector<SignaturePort> fromAttr(ModuleOp module,
                                           llvm::StringRef attrName) {
  SmallVector<SignaturePort> ports;
  auto entries = module->getAttrOfType<ArrayAttr>(attrName);
  if (!entries)
    return ports;
  for (auto entry : entries.getAsRange<DictionaryAttr>())
    if (auto type = entry.getAs<TypeAttr>("type"))
      ports.push_back(makePort(type.getValue(), entry.getAs<StringAttr>("name"),
                               entry.getAs<RoleAttr>("role")));
  return ports;
}

ModelSignature miura::getRecordedSignature(ModuleOp module) {
  return {fromAttr(module, kInputsAttrName),
          fromAttr(module, kOutputsAttrName)};
}

namespace {

struct RecordSignature
    : public miura::impl::RecordSignaturePassBase<RecordSignature> {
  void runOnOperation() override {
    ModuleOp module = getOperation();
    func::FuncOp model;
    for (auto function : module.getOps<func::FuncOp>()) {
      if (function->hasAttr(kSessionAttrName))
        continue;
      bool isModel = llvm::any_of(getSignature(function).inputs,
                                  [](const SignaturePort &port) {
                                    return port.role == RoleKind::tokens;
                                  });
      if (isModel && model)
        return;
      if (isModel)
        model = function;
    }
    if (!model)
      return;
    ModelSignature signature = getSignature(model);
    module->setAttr(kInputsAttrName, toAttr(&getContext(), signature.inputs));
    module->setAttr(kOutputsAttrName, toAttr(&getContext(), signature.outputs));
  }
};

} // namespace
