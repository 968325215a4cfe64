//===- ImportOnnx.cpp - ONNX files to the onnx level ----------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The module around the graphs: versions, producer, model-local functions,
/// and the side resource.
///
//===----------------------------------------------------------------------===//

#include "GraphImporter.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/Verifier.h"
#include "llvm/Support/Path.h"

using namespace mlir;
using namespace miura;

OnnxImporter::OnnxImporter(ModuleOp module, const OnnxFile *file,
                           StringRef path)
    : module(module), context(module.getContext()), builder(context),
      symbols(module), file(file), path(path) {}

/// The pairs of opset_import in the file's order.
static ArrayAttr getOpsetAttr(
    Builder &builder,
    const google::protobuf::RepeatedPtrField<onnx::OperatorSetIdProto> &sets) {
  SmallVector<Attribute> result;
  for (const auto &set : sets)
    result.push_back(
        builder.getArrayAttr({builder.getStringAttr(set.domain()),
                              builder.getI64IntegerAttr(set.version())}));
  return builder.getArrayAttr(result);
}

LogicalResult OnnxImporter::readOpsets(
    const google::protobuf::RepeatedPtrField<onnx::OperatorSetIdProto> &sets,
    StringRef where) {
  opsets.clear();
  for (const auto &set : sets) {
    StringRef domain = set.domain();
    if (domain == "ai.onnx")
      domain = "";
    if (set.version() < 1)
      return fail(module.getLoc(), where)
             << "imports version " << set.version() << " of the domain '"
             << domain << "', but the first is 1; export the model again";
    if (!opsets.try_emplace(domain, set.version()).second)
      return fail(module.getLoc(), where)
             << "imports two versions of the domain '" << domain
             << "'; keep one";
  }
  return success();
}

LogicalResult OnnxImporter::importModel(const onnx::ModelProto &model) {
  if (model.ir_version() < 1)
    return fail(module.getLoc(), "")
           << "has the ir_version " << model.ir_version()
           << ", which ONNX does not define; export the model again";
  if (model.ir_version() > onnx::IR_VERSION)
    emitWarning(module.getLoc())
        << path << ": has the ir_version " << model.ir_version()
        << ", newer than " << (int64_t)onnx::IR_VERSION
        << ", which is the newest that is known here";
  NamedAttrList attrs;
  attrs.set("ir_version", builder.getI64IntegerAttr(model.ir_version()));
  attrs.set("opset_import", getOpsetAttr(builder, model.opset_import()));
  if (model.has_producer_name())
    attrs.set("producer_name", builder.getStringAttr(model.producer_name()));
  if (model.has_producer_version())
    attrs.set("producer_version",
              builder.getStringAttr(model.producer_version()));
  if (model.has_domain())
    attrs.set("domain", builder.getStringAttr(model.domain()));
  if (model.has_model_version())
    attrs.set("model_version",
              builder.getI64IntegerAttr(model.model_version()));
  module->setAttr(kOnnxAttrName, attrs.getDictionary(context));
  if (model.has_doc_string())
    meta.set_doc_string(model.doc_string());
  *meta.mutable_metadata_props() = model.metadata_props();
  *meta.mutable_training_info() = model.training_info();
  *meta.mutable_configuration() = model.configuration();

  for (const auto &function : model.functions())
    if (failed(importFunction(function)))
      return failure();
  if (failed(readOpsets(model.opset_import(), "the model")) ||
      failed(importMainGraph(model.graph())))
    return failure();
  return success();
}

LogicalResult
OnnxImporter::importFunction(const onnx::FunctionProto &function) {
  std::string where =
      "function '" + function.domain() + "::" + function.name() + "'";
  if (failed(readOpsets(function.opset_import(), where)))
    return failure();
  Location loc = NameLoc::get(builder.getStringAttr(function.name()));
  std::string symbol = function.domain() + "::" + function.name();
  if (!function.overload().empty())
    symbol += "::" + function.overload();

  // A function's values have no types of their own, but value_info may give
  // some.
  onnx::FunctionProto leftover;
  scopes.emplace_back();
  for (const auto &info : function.value_info()) {
    auto type = importValueType(info, "value_info");
    if (failed(type))
      return failure();
    scopes.back().valueInfos.try_emplace(info.name(), &info);
    *leftover.add_value_info() = info;
  }
  SmallVector<Type> types(function.input_size(), UnknownType::get(context));
  builder.setInsertionPointToEnd(module.getBody());
  auto op = func::FuncOp::create(builder, loc, symbol,
                                 builder.getFunctionType(types, {}));
  op.setPrivate();
  if (symbols.lookup(symbol))
    return fail(loc, where) << "is defined twice; keep one definition";
  symbols.insert(op);
  Block *block = op.addEntryBlock();
  builder.setInsertionPointToEnd(block);
  absent = {};
  for (auto [index, input] : llvm::enumerate(function.input())) {
    op.setArgAttr(index, kNameAttrName, builder.getStringAttr(input));
    if (failed(
            define(input, block->getArgument(index), "a function input", loc)))
      return failure();
  }
  if (failed(importNodes(function.node(), *leftover.mutable_node())))
    return failure();
  SmallVector<Value> results;
  for (const std::string &output : function.output()) {
    Value value = lookUp(output);
    if (!value)
      return fail(loc, where) << "has the output '" << output
                              << "', which nothing computes; correct the name";
    results.push_back(value);
  }
  func::ReturnOp::create(builder, loc, results);
  op.setFunctionType(
      builder.getFunctionType(types, ValueRange(results).getTypes()));
  for (auto [index, output] : llvm::enumerate(function.output()))
    op.setResultAttr(index, kNameAttrName, builder.getStringAttr(output));
  scopes.pop_back();

  NamedAttrList attrs, defaults, tensors;
  attrs.set("name", builder.getStringAttr(function.name()));
  attrs.set("domain", builder.getStringAttr(function.domain()));
  if (!function.overload().empty())
    attrs.set("overload", builder.getStringAttr(function.overload()));
  attrs.set("opset_import", getOpsetAttr(builder, function.opset_import()));
  if (function.attribute_size() != 0)
    attrs.set("attributes",
              builder.getStrArrayAttr(SmallVector<StringRef>(
                  function.attribute().begin(), function.attribute().end())));
  builder.setInsertionPoint(op.front().getTerminator());
  for (const auto &attribute : function.attribute_proto()) {
    auto value = importAttribute(attribute, where, loc, tensors);
    if (failed(value))
      return failure();
    defaults.set(attribute.name(), *value);
  }
  if (!defaults.empty())
    attrs.set("defaults", defaults.getDictionary(context));
  if (!tensors.empty())
    attrs.set("tensors", tensors.getDictionary(context));
  op->setAttr(kFunctionAttrName, attrs.getDictionary(context));

  if (function.has_doc_string())
    leftover.set_doc_string(function.doc_string());
  *leftover.mutable_metadata_props() = function.metadata_props();
  if (leftover.ByteSizeLong() != 0) {
    leftover.set_name(function.name());
    leftover.set_domain(function.domain());
    leftover.set_overload(function.overload());
    *meta.add_functions() = std::move(leftover);
  }
  return success();
}

LogicalResult miura::importOnnxModel(const onnx::ModelProto &model,
                                     StringRef path, ModuleOp module) {
  OnnxImporter importer(module, /*file=*/nullptr, path);
  return importer.importModel(model);
}

OwningOpRef<ModuleOp> miura::importOnnx(StringRef path, MLIRContext *context,
                                        const ImportOnnxOptions &options) {
  context->loadDialect<MiuraDialect, func::FuncDialect, arith::ArithDialect>();
  Location loc = NameLoc::get(StringAttr::get(context, path));
  auto file = readOnnxFile(path);
  if (!file) {
    emitError(loc) << llvm::toString(file.takeError());
    return {};
  }
  OwningOpRef<ModuleOp> module = ModuleOp::create(loc);
  OnnxImporter importer(*module, file->get(), path);
  if (failed(importer.importModel((*file)->model)))
    return {};
  if (!options.metaPath.empty()) {
    if (llvm::Error error =
            writeOnnxFile(importer.getMeta(), {}, options.metaPath)) {
      emitError(loc) << llvm::toString(std::move(error));
      return {};
    }
    (*module)->setAttr(
        kMetaAttrName,
        StringAttr::get(context, llvm::sys::path::filename(options.metaPath)));
  }
  if (failed(verify(*module)))
    return {};
  return module;
}
