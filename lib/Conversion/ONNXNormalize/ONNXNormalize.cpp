//===- ONNXNormalize.cpp - Inline functions, infer shapes -----------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Export, the library, import: the exporter and the importer already know how
/// every construct is written, so nothing is said twice. Large tensors travel
/// as the names of their weight_data.
///
//===----------------------------------------------------------------------===//

#include "miura/Conversion/ONNXNormalize/Passes.h"
#include "miura/Conversion/ONNXToLinalg/Passes.h"
#include "miura/Export/ONNX/ExportOnnx.h"
#include "miura/Import/ONNX/ImportOnnx.h"
#include "miura/Import/ONNX/OnnxTypes.h"
#include "miura/Support/ONNX/OnnxLibrary.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/ADT/StringMap.h"
#include <onnx/onnx_pb.h>

namespace miura {
#define GEN_PASS_DEF_ONNXNORMALIZEPASS
#include "miura/Conversion/ONNXNormalize/Passes.h.inc"
} // namespace miura

using namespace mlir;
using namespace miura;

/// The attributes of the main graph's constants that say how a file stored
/// them, by name.
static llvm::StringMap<SmallVector<NamedAttribute>>
collectStorage(func::FuncOp function) {
  llvm::StringMap<SmallVector<NamedAttribute>> result;
  for (auto constant : function.getOps<arith::ConstantOp>())
    if (auto name = constant->getAttrOfType<StringAttr>(kNameAttrName))
      for (StringRef attribute :
           {kFieldAttrName, kExternalAttrName, kExternalEntriesAttrName})
        if (Attribute value = constant->getAttr(attribute))
          result[name.getValue()].push_back(
              {StringAttr::get(constant.getContext(), attribute), value});
  return result;
}

LogicalResult miura::normalizeOnnx(ModuleOp module) {
  auto main = module.lookupSymbol<func::FuncOp>(kMainGraphName);
  if (!main)
    return module.emitError() << "expects a module of the onnx level, with the "
                                 "function '@"
                              << kMainGraphName << "'";
  onnx::ModelProto model;
  auto setData = [](const ExportedTensor &tensor,
                    onnx::TensorProto &proto) -> LogicalResult {
    if (auto data = dyn_cast<WeightDataOp>(tensor.op)) {
      proto.set_data_location(onnx::TensorProto::EXTERNAL);
      auto *entry = proto.add_external_data();
      entry->set_key(kSymbolKey.str());
      entry->set_value(data.getSymName().str());
      return success();
    }
    // A small tensor of external data: inference may want its numbers.
    std::string raw = getDenseBytes(tensor.inlined);
    proto.set_raw_data(raw);
    return success();
  };
  if (failed(exportOnnxModel(module, model, setData)))
    return failure();
  if (llvm::Error error = normalizeOnnxModel(model, hasONNXToLinalgEmitter))
    return module.emitError() << "the ONNX library refuses the model: "
                              << llvm::toString(std::move(error))
                              << "; export the model again, or report this";

  auto storage = collectStorage(main);
  SmallVector<func::FuncOp> old(module.getOps<func::FuncOp>());
  // Moved aside, not erased, so that a failure leaves the module as it was.
  for (func::FuncOp function : old)
    function->remove();
  Attribute attrs = module->getAttr(kOnnxAttrName);
  if (failed(importOnnxModel(model, "the normalized model", module))) {
    for (func::FuncOp function :
         llvm::make_early_inc_range(module.getOps<func::FuncOp>()))
      function.erase();
    for (func::FuncOp function : old)
      module.push_back(function);
    module->setAttr(kOnnxAttrName, attrs);
    return failure();
  }
  for (func::FuncOp function : old)
    function.erase();

  main = module.lookupSymbol<func::FuncOp>(kMainGraphName);
  for (auto constant : main.getOps<arith::ConstantOp>())
    if (auto name = constant->getAttrOfType<StringAttr>(kNameAttrName))
      for (NamedAttribute attribute : storage.lookup(name.getValue()))
        constant->setAttr(attribute.getName(), attribute.getValue());
  main.walk([](OnnxNodeOp node) {
    auto symbol = node.getOnnxAttributes().getAs<FlatSymbolRefAttr>("value");
    if (node.getOpType() != "Constant" || !node.getDomain().empty() || !symbol)
      return;
    auto data =
        SymbolTable::lookupNearestSymbolFrom<WeightDataOp>(node, symbol);
    OpBuilder builder(node);
    auto weight =
        WeightOp::create(builder, node.getLoc(), data.getType(), symbol);
    if (node.getOutputsAttr())
      weight->setAttr(kNameAttrName, node.getOutputsAttr()[0]);
    node.getResult(0).replaceAllUsesWith(weight.getResult());
    node.erase();
  });
  return success();
}

namespace {
struct OnnxNormalizePass
    : public miura::impl::OnnxNormalizePassBase<OnnxNormalizePass> {
  void runOnOperation() override {
    if (failed(normalizeOnnx(getOperation())))
      signalPassFailure();
  }
};
} // namespace
