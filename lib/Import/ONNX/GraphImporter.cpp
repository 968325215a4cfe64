//===- GraphImporter.cpp - Graphs and nodes -------------------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Builds functions and regions out of GraphProtos: names become SSA values,
/// scopes of subgraphs become nested regions. The structural rules of the ONNX
/// checker (single assignment, definitions before uses, known domains) are
/// checked here, where names are looked up anyway.
///
//===----------------------------------------------------------------------===//

#include "GraphImporter.h"
#include "miura/Dialect/Miura/IR/LayerAttrs.h"
#include "miura/Support/ONNX/ModulePath.h"
#include "llvm/ADT/SetVector.h"

using namespace mlir;
using namespace miura;

std::string miura::describeNode(const onnx::NodeProto &node) {
  StringRef key = node.name().empty() ? getNodeKey(node) : node.name();
  std::string result = node.name().empty() && !key.empty()
                           ? "the node that computes '"
                           : "node '";
  return result + key.str() + "' (" + node.op_type() + ")";
}

StringRef miura::getNodeKey(const onnx::NodeProto &node) {
  for (const std::string &output : node.output())
    if (!output.empty())
      return output;
  return "";
}

LogicalResult OnnxImporter::define(StringRef name, Value value,
                                   const Twine &origin, Location loc) {
  Scope &scope = scopes.back();
  auto [existing, isNew] = scope.origins.try_emplace(name, origin.str());
  if (!isNew)
    return fail(loc, origin.str())
           << "computes '" << name << "', which " << existing->second
           << " computes too; give each value a name of its own";
  scope.values[name] = value;
  return success();
}

Value OnnxImporter::lookUp(StringRef name) {
  for (Scope &scope : llvm::reverse(scopes))
    if (Value value = scope.values.lookup(name))
      return value;
  return {};
}

Value OnnxImporter::getAbsent() {
  if (!absent) {
    OpBuilder::InsertionGuard guard(builder);
    Operation *function = builder.getInsertionBlock()->getParentOp();
    while (!isa<func::FuncOp>(function))
      function = function->getParentOp();
    builder.setInsertionPointToStart(&function->getRegion(0).front());
    absent = AbsentOp::create(builder, UnknownLoc::get(context),
                              AbsentType::get(context));
  }
  return absent;
}

FailureOr<Type> OnnxImporter::importValueType(const onnx::ValueInfoProto &info,
                                              StringRef what) {
  auto type = importType(context, info.type());
  if (!type)
    return fail(NameLoc::get(builder.getStringAttr(info.name())),
                (what + " '" + info.name() + "'").str())
           << llvm::toString(type.takeError())
           << "; correct its type or leave it out";
  return *type;
}

/// Whether `info` says more than its name and `type`.
static bool saysMore(const onnx::ValueInfoProto &info, Type type) {
  onnx::ValueInfoProto plain;
  plain.set_name(info.name());
  exportType(type, *plain.mutable_type());
  return plain.SerializeAsString() != info.SerializeAsString();
}

LogicalResult OnnxImporter::importMainGraph(const onnx::GraphProto &graph) {
  onnx::GraphProto &leftover = *meta.mutable_graph();
  llvm::StringMap<int> initializers, inputs;
  for (const auto &tensor : graph.initializer())
    initializers[tensor.name()] = 0;

  // An input that has an initializer is a constant that callers could replace;
  // the constant stands for it, and remembers its place among the inputs.
  SmallVector<Type> types;
  SmallVector<const onnx::ValueInfoProto *> arguments;
  for (auto [index, input] : llvm::enumerate(graph.input())) {
    auto type = importValueType(input, "graph input");
    if (failed(type))
      return failure();
    if (saysMore(input, *type))
      *leftover.add_input() = input;
    if (initializers.contains(input.name())) {
      inputs[input.name()] = index;
      continue;
    }
    types.push_back(*type);
    arguments.push_back(&input);
  }
  builder.setInsertionPointToEnd(module.getBody());
  auto function = func::FuncOp::create(
      builder, NameLoc::get(builder.getStringAttr(graph.name())),
      kMainGraphName, builder.getFunctionType(types, {}));
  symbols.insert(function);
  function->setAttr(kGraphAttrName, builder.getStringAttr(graph.name()));
  Block *block = function.addEntryBlock();
  builder.setInsertionPointToEnd(block);
  scopes.emplace_back();
  absent = {};
  for (auto [index, input] : llvm::enumerate(arguments)) {
    function.setArgAttr(index, kNameAttrName,
                        builder.getStringAttr(input->name()));
    if (failed(define(input->name(), block->getArgument(index), "a graph input",
                      function.getLoc())))
      return failure();
  }

  // Outputs name their types too, and do so last: they win over value_info.
  for (const auto &output : graph.output())
    if (output.has_type())
      scopes.back().valueInfos[output.name()] = &output;
  if (failed(importBody(graph, leftover, inputs)))
    return failure();

  SmallVector<Value> results;
  SmallVector<Type> resultTypes;
  SmallVector<DictionaryAttr> resultAttrs;
  for (const auto &output : graph.output()) {
    Value value = lookUp(output.name());
    if (!value)
      return fail(function.getLoc(), "graph output '" + output.name() + "'")
             << "is computed by no node; name a value of the graph";
    auto type = importValueType(output, "graph output");
    if (failed(type))
      return failure();
    if (*type != value.getType() || saysMore(output, *type))
      *leftover.add_output() = output;
    results.push_back(value);
    resultTypes.push_back(value.getType());
    resultAttrs.push_back(builder.getDictionaryAttr(builder.getNamedAttr(
        kNameAttrName, builder.getStringAttr(output.name()))));
  }
  func::ReturnOp::create(builder, function.getLoc(), results);
  function.setFunctionType(builder.getFunctionType(types, resultTypes));
  for (auto [index, attrs] : llvm::enumerate(resultAttrs))
    function.setResultAttrs(index, attrs);
  scopes.pop_back();
  return success();
}

LogicalResult OnnxImporter::importSubgraph(const onnx::GraphProto &graph,
                                           Region &region,
                                           onnx::GraphProto &leftover,
                                           StringRef where) {
  OpBuilder::InsertionGuard guard(builder);
  Location loc = NameLoc::get(builder.getStringAttr(graph.name()));
  Block *block = builder.createBlock(&region);
  scopes.emplace_back();
  NamedAttrList attrs;
  attrs.set("name", builder.getStringAttr(graph.name()));
  SmallVector<Attribute> names;
  llvm::StringMap<int> inputs;
  for (const auto &tensor : graph.initializer())
    inputs[tensor.name()] = -1;
  for (auto [index, input] : llvm::enumerate(graph.input())) {
    auto type = importValueType(input, "subgraph input");
    if (failed(type))
      return failure();
    if (saysMore(input, *type))
      *leftover.add_input() = input;
    if (auto it = inputs.find(input.name()); it != inputs.end()) {
      it->second = index;
      continue;
    }
    names.push_back(builder.getStringAttr(input.name()));
    if (failed(define(input.name(), block->addArgument(*type, loc),
                      "a subgraph input", loc)))
      return failure();
  }
  attrs.set("inputs", builder.getArrayAttr(names));
  for (const auto &output : graph.output())
    if (output.has_type())
      scopes.back().valueInfos[output.name()] = &output;
  if (failed(importBody(graph, leftover, inputs)))
    return failure();

  SmallVector<Value> results;
  names.clear();
  for (const auto &output : graph.output()) {
    Value value = lookUp(output.name());
    if (!value)
      return fail(loc, where)
             << "has a subgraph whose output '" << output.name()
             << "' nothing computes; name a value that it "
                "can see";
    auto type = importValueType(output, "subgraph output");
    if (failed(type))
      return failure();
    if (*type != value.getType() || saysMore(output, *type))
      *leftover.add_output() = output;
    results.push_back(value);
    names.push_back(builder.getStringAttr(output.name()));
  }
  attrs.set("outputs", builder.getArrayAttr(names));
  auto yield = OnnxYieldOp::create(builder, loc, results);
  yield->setAttr(kGraphAttrName, attrs.getDictionary(context));
  scopes.pop_back();
  return success();
}

LogicalResult OnnxImporter::importBody(const onnx::GraphProto &graph,
                                       onnx::GraphProto &leftover,
                                       const llvm::StringMap<int> &inputs) {
  if (graph.has_doc_string())
    leftover.set_doc_string(graph.doc_string());
  *leftover.mutable_metadata_props() = graph.metadata_props();
  *leftover.mutable_quantization_annotation() = graph.quantization_annotation();

  llvm::StringMap<bool> computed;
  for (const auto &node : graph.node())
    for (const std::string &output : node.output())
      computed[output] = true;
  llvm::StringMap<const onnx::ValueInfoProto *> seen;
  for (const auto &info : graph.value_info()) {
    // A type for a name that no node computes, or that an output gives as
    // well, says nothing to us.
    auto type = importValueType(info, "value_info");
    if (failed(type))
      return failure();
    if (!computed.contains(info.name()) || isa<UnknownType>(*type) ||
        !scopes.back().valueInfos.try_emplace(info.name(), &info).second ||
        saysMore(info, *type))
      *leftover.add_value_info() = info;
  }
  for (const auto &tensor : graph.initializer())
    if (failed(importInitializer(tensor, leftover, inputs)))
      return failure();
  for (const auto &sparse : graph.sparse_initializer()) {
    // Rare enough to have no form of its own: a Constant node says the same,
    // and export turns it back.
    const std::string &name = sparse.values().name();
    Location loc = NameLoc::get(builder.getStringAttr(name));
    auto value =
        importSparseTensor(sparse, "initializer '" + name + "'", loc, name);
    if (failed(value))
      return failure();
    auto element = getElementType(context, sparse.values().data_type());
    auto type = RankedTensorType::get(
        ArrayRef<int64_t>(sparse.dims().data(), sparse.dims_size()), element);
    auto node = OnnxNodeOp::create(
        builder, loc, TypeRange(type), "Constant", "", "", opsets.lookup(""),
        "",
        builder.getDictionaryAttr(builder.getNamedAttr("sparse_value", *value)),
        ArrayAttr(), builder.getStrArrayAttr({name}), ValueRange(), 0);
    node->setAttr("miura.sparse_initializer", builder.getUnitAttr());
    if (failed(define(name, node.getResult(0), "an initializer", loc)))
      return failure();
  }
  return importNodes(graph.node(), *leftover.mutable_node());
}

LogicalResult OnnxImporter::importNodes(
    const google::protobuf::RepeatedPtrField<onnx::NodeProto> &nodes,
    google::protobuf::RepeatedPtrField<onnx::NodeProto> &leftovers) {
  {
    llvm::StringMap<int> &producers = scopes.back().producers;
    for (auto [index, node] : llvm::enumerate(nodes))
      for (const std::string &output : node.output())
        if (!output.empty())
          producers.try_emplace(output, index);
  }
  for (auto [index, node] : llvm::enumerate(nodes)) {
    for (const std::string &input : node.input())
      if (!input.empty() && !lookUp(input))
        return checkCycle(nodes, index, input);
    onnx::NodeProto leftover;
    if (failed(importNode(node, index, leftover)))
      return failure();
    if (leftover.ByteSizeLong() == 0 || getNodeKey(node).empty())
      continue;
    leftover.add_output(getNodeKey(node).str());
    *leftovers.Add() = std::move(leftover);
  }
  return success();
}

/// `input` of node `index` is not defined yet: says why.
LogicalResult OnnxImporter::checkCycle(
    const google::protobuf::RepeatedPtrField<onnx::NodeProto> &nodes, int index,
    StringRef input) {
  const onnx::NodeProto &user = nodes[index];
  std::string where = describeNode(user);
  Location loc = NameLoc::get(builder.getStringAttr(user.name()));
  const llvm::StringMap<int> &producers = scopes.back().producers;
  auto producer = producers.find(input);
  if (producer == producers.end())
    return fail(loc, where)
           << "reads '" << input
           << "', which nothing computes: no graph input, no initializer and "
              "no node has this name; correct the name";
  // Does the producer need the user in turn?
  SetVector<int> needed;
  needed.insert(producer->second);
  for (size_t i = 0; i < needed.size(); ++i) {
    if (needed[i] == index)
      return fail(loc, where) << "depends on itself through '" << input
                              << "': the graph has a cycle; break it";
    for (const std::string &name : nodes[needed[i]].input())
      if (auto it = producers.find(name); it != producers.end())
        needed.insert(it->second);
  }
  return fail(loc, where) << "reads '" << input << "', which "
                          << describeNode(nodes[producer->second])
                          << " computes only later; sort the nodes "
                             "topologically";
}

LogicalResult OnnxImporter::importNode(const onnx::NodeProto &node, int index,
                                       onnx::NodeProto &leftover) {
  std::string where = describeNode(node);
  Location loc = NameLoc::get(builder.getStringAttr(
      node.name().empty() ? getNodeKey(node) : StringRef(node.name())));
  if (node.op_type().empty())
    return fail(loc, "node " + std::to_string(index) + " '" + node.name() + "'")
           << "has no operator (op_type); export the model again";
  auto version = opsets.find(node.domain() == "ai.onnx" ? "" : node.domain());
  if (version == opsets.end())
    return fail(loc, where)
           << "is of the domain '" << node.domain()
           << "', of which the model imports no version; add the domain to "
              "opset_import";

  if (node.has_doc_string())
    leftover.set_doc_string(node.doc_string());
  *leftover.mutable_metadata_props() = node.metadata_props();
  *leftover.mutable_device_configurations() = node.device_configurations();

  SmallVector<Value> inputs;
  for (const std::string &input : node.input())
    inputs.push_back(input.empty() ? getAbsent() : lookUp(input));
  SmallVector<Type> types;
  SmallVector<Attribute> outputs;
  for (const std::string &output : node.output()) {
    outputs.push_back(builder.getStringAttr(output));
    if (output.empty()) {
      types.push_back(AbsentType::get(context));
      continue;
    }
    const auto *info = scopes.back().valueInfos.lookup(output);
    if (!info) {
      types.push_back(UnknownType::get(context));
      continue;
    }
    auto type = importValueType(*info, "value");
    if (failed(type))
      return failure();
    types.push_back(*type);
  }

  NamedAttrList attributes, tensors;
  SmallVector<Attribute> regionNames;
  SmallVector<const onnx::AttributeProto *> graphs;
  SmallVector<StringRef> order;
  bool hasLeftovers = false;
  llvm::StringMap<bool> seen;
  for (const auto &attribute : node.attribute()) {
    if (!seen.try_emplace(attribute.name(), true).second)
      return fail(loc, where)
             << "has two attributes '" << attribute.name() << "'; keep one";
    if (attribute.name().empty())
      return fail(loc, where) << "has an attribute without a name; export the "
                                 "model again";
    hasLeftovers |= attribute.has_doc_string();
    order.push_back(attribute.name());
    if (attribute.ref_attr_name().empty() &&
        (attribute.type() == onnx::AttributeProto::GRAPH ||
         attribute.type() == onnx::AttributeProto::GRAPHS)) {
      graphs.push_back(&attribute);
      continue;
    }
    auto value = importAttribute(attribute, where, loc, tensors);
    if (failed(value))
      return failure();
    attributes.set(attribute.name(), *value);
  }

  // Subgraphs: a list of graphs becomes regions of the same name, numbered.
  struct Subgraph {
    const onnx::GraphProto *graph;
    int attribute;
  };
  SmallVector<Subgraph> subgraphs;
  for (auto [number, attribute] : llvm::enumerate(graphs)) {
    if (attribute->type() == onnx::AttributeProto::GRAPH) {
      regionNames.push_back(builder.getStringAttr(attribute->name()));
      subgraphs.push_back({&attribute->g(), (int)number});
      continue;
    }
    for (int i = 0; i < attribute->graphs_size(); ++i) {
      regionNames.push_back(
          builder.getStringAttr(attribute->name() + "#" + std::to_string(i)));
      subgraphs.push_back({&attribute->graphs(i), (int)number});
    }
    if (attribute->graphs_size() == 0)
      attributes.set(attribute->name(),
                     builder.getDictionaryAttr(builder.getNamedAttr(
                         "empty", builder.getI64IntegerAttr(
                                      onnx::AttributeProto::GRAPHS))));
  }

  auto op = OnnxNodeOp::create(
      builder, loc, types, node.op_type(), node.domain(), node.overload(),
      version->second, node.name(), attributes.getDictionary(context),
      regionNames.empty() ? ArrayAttr() : builder.getArrayAttr(regionNames),
      builder.getArrayAttr(outputs), inputs, subgraphs.size());
  if (std::string path = readModulePath(node); !path.empty())
    op->setAttr(kPathAttrName, builder.getStringAttr(path));
  if (!tensors.empty())
    op->setAttr(kTensorsAttrName, tensors.getDictionary(context));
  std::vector<onnx::GraphProto> graphLeftovers(subgraphs.size());
  for (auto [i, subgraph] : llvm::enumerate(subgraphs)) {
    if (failed(importSubgraph(*subgraph.graph, op->getRegion(i),
                              graphLeftovers[i], where)))
      return failure();
    hasLeftovers |= graphLeftovers[i].ByteSizeLong() != 0;
  }

  // A dictionary is sorted; another order is remembered beside.
  hasLeftovers |= !llvm::is_sorted(order);
  if (hasLeftovers) {
    for (const auto &attribute : node.attribute()) {
      auto *kept = leftover.add_attribute();
      kept->set_name(attribute.name());
      if (attribute.has_doc_string())
        kept->set_doc_string(attribute.doc_string());
      for (auto [i, subgraph] : llvm::enumerate(subgraphs))
        if (graphs[subgraph.attribute] == &attribute)
          *(attribute.type() == onnx::AttributeProto::GRAPH
                ? kept->mutable_g()
                : kept->add_graphs()) = graphLeftovers[i];
    }
  }

  for (auto [output, value] : llvm::zip_equal(node.output(), op.getResults()))
    if (!output.empty() && failed(define(output, value, where, loc)))
      return failure();
  return success();
}
