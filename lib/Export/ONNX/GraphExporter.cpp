//===- GraphExporter.cpp - Ops of the onnx level as protos ----------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Walks the functions of a module and writes each op as the NodeProto or
/// TensorProto that it came from; values get the names that attributes tell.
///
//===----------------------------------------------------------------------===//

#include "AttributeExporter.h"
#include "miura/Dialect/Miura/IR/LayerAttrs.h"
#include "miura/Export/ONNX/ExportOnnx.h"
#include "miura/Import/ONNX/ImportOnnx.h"
#include "miura/Import/ONNX/OnnxTypes.h"
#include "miura/Support/ONNX/ModulePath.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/ADT/StringSet.h"

using namespace mlir;
using namespace miura;

namespace {

class GraphExporter {
public:
  GraphExporter(ModuleOp module, SetOnnxData setData)
      : module(module), setData(setData) {}

  LogicalResult exportModel(onnx::ModelProto &model);

private:
  LogicalResult exportMainGraph(func::FuncOp function, onnx::GraphProto &graph);
  LogicalResult exportFunction(func::FuncOp function,
                               onnx::FunctionProto &proto);
  /// Gives the graph's outputs their names: where the file names an output
  /// otherwise than its value, by an Identity behind all nodes.
  void nameOutputs(ValueRange values, onnx::GraphProto &graph);
  LogicalResult exportRegion(Region &region, onnx::GraphProto &graph);
  LogicalResult exportNode(OnnxNodeOp op, onnx::NodeProto &node);
  LogicalResult exportInitializer(Operation *op, onnx::GraphProto &graph);

  /// The ops of `block` in order; nodes go where `addNode` says. `graph` takes
  /// initializers and value_info, null in a function.
  LogicalResult exportBlock(Block &block,
                            llvm::function_ref<onnx::NodeProto *()> addNode,
                            onnx::GraphProto *graph);

  void name(Value value, StringRef text) {
    names[value] = text.str();
    used.insert(text);
  }
  std::string freshName() {
    std::string result;
    do
      result = "miura_" + std::to_string(counter++);
    while (!used.insert(result).second);
    return result;
  }

  ModuleOp module;
  SetOnnxData setData;
  DenseMap<Value, std::string> names;
  llvm::StringSet<> used;
  int counter = 0;
};

} // namespace

static void
setOpsets(DictionaryAttr attrs,
          google::protobuf::RepeatedPtrField<onnx::OperatorSetIdProto> &sets) {
  auto list = attrs.getAs<ArrayAttr>("opset_import");
  if (!list)
    return;
  for (auto pair : list.getAsRange<ArrayAttr>()) {
    auto *set = sets.Add();
    set->set_domain(cast<StringAttr>(pair[0]).str());
    set->set_version(cast<IntegerAttr>(pair[1]).getInt());
  }
}

static StringRef getString(DictionaryAttr attrs, StringRef name) {
  auto value = attrs ? attrs.getAs<StringAttr>(name) : StringAttr();
  return value ? value.getValue() : "";
}

LogicalResult GraphExporter::exportModel(onnx::ModelProto &model) {
  auto attrs = module->getAttrOfType<DictionaryAttr>(kOnnxAttrName);
  auto main = module.lookupSymbol<func::FuncOp>(kMainGraphName);
  if (!attrs || !main)
    return module.emitError()
           << "expects a module of the onnx level: one with the attribute '"
           << kOnnxAttrName << "' and the function '@" << kMainGraphName << "'";
  if (auto value = attrs.getAs<IntegerAttr>("ir_version"))
    model.set_ir_version(value.getInt());
  if (auto value = attrs.getAs<IntegerAttr>("model_version"))
    model.set_model_version(value.getInt());
  if (auto value = attrs.getAs<StringAttr>("producer_name"))
    model.set_producer_name(value.str());
  if (auto value = attrs.getAs<StringAttr>("producer_version"))
    model.set_producer_version(value.str());
  if (auto value = attrs.getAs<StringAttr>("domain"))
    model.set_domain(value.str());
  setOpsets(attrs, *model.mutable_opset_import());

  for (auto function : module.getOps<func::FuncOp>())
    if (function->hasAttr(kFunctionAttrName) &&
        failed(exportFunction(function, *model.add_functions())))
      return failure();
  return exportMainGraph(main, *model.mutable_graph());
}

LogicalResult GraphExporter::exportFunction(func::FuncOp function,
                                            onnx::FunctionProto &proto) {
  auto attrs = function->getAttrOfType<DictionaryAttr>(kFunctionAttrName);
  proto.set_name(getString(attrs, "name").str());
  proto.set_domain(getString(attrs, "domain").str());
  if (auto overload = getString(attrs, "overload"); !overload.empty())
    proto.set_overload(overload.str());
  setOpsets(attrs, *proto.mutable_opset_import());
  if (auto list = attrs.getAs<ArrayAttr>("attributes"))
    for (auto attribute : list.getAsRange<StringAttr>())
      proto.add_attribute(attribute.str());
  auto tensors = attrs.getAs<DictionaryAttr>("tensors");
  if (auto defaults = attrs.getAs<DictionaryAttr>("defaults"))
    for (NamedAttribute attribute : defaults) {
      auto *out = proto.add_attribute_proto();
      out->set_name(attribute.getName().str());
      if (failed(exportAttribute(function, attribute.getValue(),
                                 tensors ? tensors.get(attribute.getName())
                                         : Attribute(),
                                 setData, *out)))
        return failure();
    }
  for (BlockArgument argument : function.getArguments()) {
    auto text = function.getArgAttrOfType<StringAttr>(argument.getArgNumber(),
                                                      kNameAttrName);
    name(argument, text ? text.getValue() : StringRef(freshName()));
    proto.add_input(names[argument]);
  }
  Block &block = function.front();
  if (failed(exportBlock(
          block, [&] { return proto.add_node(); }, /*graph=*/nullptr)))
    return failure();
  for (Value value : block.getTerminator()->getOperands())
    proto.add_output(names[value]);
  return success();
}

LogicalResult GraphExporter::exportMainGraph(func::FuncOp function,
                                             onnx::GraphProto &graph) {
  if (auto text = function->getAttrOfType<StringAttr>(kGraphAttrName))
    graph.set_name(text.str());
  for (BlockArgument argument : function.getArguments()) {
    auto text = function.getArgAttrOfType<StringAttr>(argument.getArgNumber(),
                                                      kNameAttrName);
    name(argument, text ? text.getValue() : StringRef(freshName()));
    auto *input = graph.add_input();
    input->set_name(names[argument]);
    exportType(argument.getType(), *input->mutable_type());
  }
  auto terminator = function.front().getTerminator();
  for (auto [index, value] : llvm::enumerate(terminator->getOperands())) {
    auto *output = graph.add_output();
    if (auto text =
            function.getResultAttrOfType<StringAttr>(index, kNameAttrName))
      output->set_name(text.str());
    if (!exportType(value.getType(), *output->mutable_type()))
      output->clear_type();
  }
  if (failed(exportBlock(
          function.front(), [&] { return graph.add_node(); }, &graph)))
    return failure();
  nameOutputs(terminator->getOperands(), graph);
  return success();
}

void GraphExporter::nameOutputs(ValueRange values, onnx::GraphProto &graph) {
  for (auto [index, value] : llvm::enumerate(values)) {
    auto *output = graph.mutable_output(index);
    if (output->name().empty())
      output->set_name(names[value]);
    if (output->name() == names[value])
      continue;
    auto *node = graph.add_node();
    node->set_op_type("Identity");
    node->add_input(names[value]);
    node->add_output(output->name());
  }
}

LogicalResult GraphExporter::exportRegion(Region &region,
                                          onnx::GraphProto &graph) {
  if (!region.hasOneBlock())
    return emitError(region.getLoc()) << "expects a subgraph of one block";
  Operation *yield = region.front().getTerminator();
  auto attrs = yield->getAttrOfType<DictionaryAttr>(kGraphAttrName);
  if (auto text = getString(attrs, "name"); !text.empty())
    graph.set_name(text.str());
  auto inputs = attrs ? attrs.getAs<ArrayAttr>("inputs") : ArrayAttr();
  for (BlockArgument argument : region.getArguments()) {
    if (inputs && argument.getArgNumber() < inputs.size())
      name(argument,
           cast<StringAttr>(inputs[argument.getArgNumber()]).getValue());
    else
      name(argument, freshName());
    auto *input = graph.add_input();
    input->set_name(names[argument]);
    exportType(argument.getType(), *input->mutable_type());
  }
  auto outputs = attrs ? attrs.getAs<ArrayAttr>("outputs") : ArrayAttr();
  for (auto [index, value] : llvm::enumerate(yield->getOperands())) {
    auto *output = graph.add_output();
    if (outputs && index < outputs.size())
      output->set_name(cast<StringAttr>(outputs[index]).str());
    if (!exportType(value.getType(), *output->mutable_type()))
      output->clear_type();
  }
  if (failed(exportBlock(
          region.front(), [&] { return graph.add_node(); }, &graph)))
    return failure();
  nameOutputs(yield->getOperands(), graph);
  return success();
}

LogicalResult
GraphExporter::exportBlock(Block &block,
                           llvm::function_ref<onnx::NodeProto *()> addNode,
                           onnx::GraphProto *graph) {
  llvm::StringSet<> outputs;
  if (graph)
    for (const auto &output : graph->output())
      outputs.insert(output.name());
  // Inputs that constants stand for, in the order of their places.
  std::map<int64_t, Operation *> replaced;
  for (Operation &op : block.without_terminator()) {
    if (isa<AbsentOp>(op)) {
      names[op.getResult(0)] = "";
      continue;
    }
    if (auto node = dyn_cast<OnnxNodeOp>(op)) {
      if (op.hasAttr("miura.sparse_initializer") && graph) {
        auto *sparse = graph->add_sparse_initializer();
        StringRef text = cast<StringAttr>(node.getOutputsAttr()[0]).getValue();
        name(op.getResult(0), text);
        if (failed(exportSparseTensor(
                &op, node.getOnnxAttributes().get("sparse_value"), setData,
                *sparse)))
          return failure();
        continue;
      }
      if (failed(exportNode(node, *addNode())))
        return failure();
      if (!graph)
        continue;
      for (Value value : op.getResults()) {
        const std::string &text = names[value];
        onnx::TypeProto type;
        if (text.empty() || outputs.contains(text) ||
            !exportType(value.getType(), type))
          continue;
        auto *info = graph->add_value_info();
        info->set_name(text);
        *info->mutable_type() = std::move(type);
      }
      continue;
    }
    if (isa<WeightOp, arith::ConstantOp>(op) && graph) {
      if (failed(exportInitializer(&op, *graph)))
        return failure();
      if (auto place = op.getAttrOfType<IntegerAttr>(kInputAttrName))
        replaced[place.getInt()] = &op;
      continue;
    }
    return op.emitOpError("is not of the onnx level, and cannot be exported to "
                          "an ONNX file; export before raising");
  }
  for (auto [place, op] : replaced) {
    auto *input = graph->add_input();
    input->set_name(names[op->getResult(0)]);
    exportType(op->getResult(0).getType(), *input->mutable_type());
    for (int64_t i = graph->input_size() - 1; i > place; --i)
      graph->mutable_input()->SwapElements(i, i - 1);
  }
  return success();
}

LogicalResult GraphExporter::exportInitializer(Operation *op,
                                               onnx::GraphProto &graph) {
  auto *tensor = graph.add_initializer();
  auto text = op->getAttrOfType<StringAttr>(kNameAttrName);
  auto weight = dyn_cast<WeightOp>(op);
  if (text)
    name(op->getResult(0), text.getValue());
  else
    name(op->getResult(0), weight && !used.contains(weight.getData())
                               ? weight.getData()
                               : StringRef(freshName()));
  tensor->set_name(names[op->getResult(0)]);
  if (weight) {
    auto data = SymbolTable::lookupNearestSymbolFrom<WeightDataOp>(
        op, weight.getDataAttr());
    auto type = cast<RankedTensorType>(data.getType());
    setTensorHead(type, *tensor);
    return setData({data, type, {}}, *tensor);
  }
  auto value = dyn_cast<ElementsAttr>(cast<arith::ConstantOp>(op).getValue());
  if (!value)
    return op->emitOpError("is not a tensor, and cannot be an initializer");
  auto field = op->getAttrOfType<StringAttr>(kFieldAttrName);
  return exportTensor(op, value, field ? field.getValue() : "raw_data", setData,
                      *tensor);
}

LogicalResult GraphExporter::exportNode(OnnxNodeOp op, onnx::NodeProto &node) {
  node.set_op_type(op.getOpType().str());
  if (!op.getNodeName().empty())
    node.set_name(op.getNodeName().str());
  if (!op.getDomain().empty())
    node.set_domain(op.getDomain().str());
  if (!op.getOverload().empty())
    node.set_overload(op.getOverload().str());
  for (Value input : op.getInputs())
    node.add_input(names[input]);
  for (auto [index, result] : llvm::enumerate(op.getResults())) {
    if (op.getOutputsAttr())
      name(result, cast<StringAttr>(op.getOutputsAttr()[index]).getValue());
    else
      name(result, isa<AbsentType>(result.getType()) ? "" : freshName());
    node.add_output(names[result]);
  }
  if (StringRef path = getModulePath(op); !path.empty())
    writeModulePath(path, node);
  auto tensors = op->getAttrOfType<DictionaryAttr>(kTensorsAttrName);
  for (NamedAttribute attribute : op.getOnnxAttributes()) {
    auto *out = node.add_attribute();
    out->set_name(attribute.getName().str());
    if (failed(exportAttribute(op, attribute.getValue(),
                               tensors ? tensors.get(attribute.getName())
                                       : Attribute(),
                               setData, *out)))
      return failure();
  }
  for (auto [index, region] : llvm::enumerate(op.getRegions())) {
    StringRef text =
        cast<StringAttr>(op.getRegionNamesAttr()[index]).getValue();
    onnx::GraphProto *graph;
    // `name#0`, `name#1`, …: a list of graphs.
    auto [base, number] = text.rsplit('#');
    if (number.empty()) {
      auto *out = node.add_attribute();
      out->set_name(text.str());
      out->set_type(onnx::AttributeProto::GRAPH);
      graph = out->mutable_g();
    } else {
      onnx::AttributeProto *out = nullptr;
      for (auto &attribute : *node.mutable_attribute())
        if (attribute.name() == base)
          out = &attribute;
      if (!out) {
        out = node.add_attribute();
        out->set_name(base.str());
        out->set_type(onnx::AttributeProto::GRAPHS);
      }
      graph = out->add_graphs();
    }
    if (failed(exportRegion(*region, *graph)))
      return failure();
  }
  llvm::sort(
      node.mutable_attribute()->pointer_begin(),
      node.mutable_attribute()->pointer_end(),
      [](const auto *a, const auto *b) { return a->name() < b->name(); });
  return success();
}

LogicalResult miura::exportOnnxModel(ModuleOp module, onnx::ModelProto &model,
                                     SetOnnxData setData) {
  return GraphExporter(module, setData).exportModel(model);
}
