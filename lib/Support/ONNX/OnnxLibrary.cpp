//===- OnnxLibrary.cpp - The ONNX library without exceptions --------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Calls the inliner and shape inference, and turns what they throw into
/// errors. Inference is not strict: exporters write types that contradict
/// their nodes, and then what was inferred is kept.
///
//===----------------------------------------------------------------------===//

#include "miura/Support/ONNX/OnnxLibrary.h"
#include "llvm/ADT/StringMap.h"
#include <deque>
#include <exception>
#include <onnx/inliner/inliner.h>
#include <onnx/shape_inference/implementation.h>
#include <vector>

using namespace llvm;
using namespace miura;

/// What the file says of a value, where that does not contradict what was
/// inferred: its names of dimensions are better than generated ones.
static void mergeFileType(const onnx::TypeProto &file,
                          onnx::TypeProto &inferred) {
  if (!inferred.has_tensor_type() || !file.has_tensor_type())
    return;
  const auto &from = file.tensor_type();
  auto &to = *inferred.mutable_tensor_type();
  if (from.elem_type() != to.elem_type() || !from.has_shape())
    return;
  if (!to.has_shape()) {
    *to.mutable_shape() = from.shape();
    return;
  }
  if (from.shape().dim_size() != to.shape().dim_size())
    return;
  auto merged = to.shape();
  for (int i = 0; i < merged.dim_size(); ++i) {
    const auto &dim = from.shape().dim(i);
    if (merged.dim(i).has_dim_value()) {
      if (dim.has_dim_value() && dim.dim_value() != merged.dim(i).dim_value())
        return;
      continue;
    }
    if (dim.has_dim_value() || !dim.dim_param().empty())
      *merged.mutable_dim(i) = dim;
  }
  *to.mutable_shape() = std::move(merged);
}

namespace {

/// Gives each value of a subgraph a name of its own while inference runs: the
/// library keeps what it knows of shapes' values by name alone, and two
/// branches may use one name for different values.
class SubgraphRenamer {
public:
  void rename(onnx::ModelProto &model) {
    // Inner names may collide with the main graph's own as well, so only that
    // keeps its names.
    renameNodes(*model.mutable_graph());
  }

  /// Takes the marks away everywhere.
  static void restore(onnx::GraphProto &graph) {
    forEachName(graph, [](std::string &name) {
      if (size_t mark = name.find(kMark); mark != std::string::npos)
        name.resize(mark);
    });
    for (auto &node : *graph.mutable_node())
      forEachSubgraph(node, restore);
  }

private:
  static constexpr char kMark = '\x01';

  template <typename Action>
  static void forEachSubgraph(onnx::NodeProto &node, Action action) {
    for (auto &attribute : *node.mutable_attribute()) {
      if (attribute.has_g())
        action(*attribute.mutable_g());
      for (auto &graph : *attribute.mutable_graphs())
        action(graph);
    }
  }

  /// Every place of `graph` itself where a value is named.
  template <typename Action>
  static void forEachName(onnx::GraphProto &graph, Action action) {
    for (auto *list : {graph.mutable_input(), graph.mutable_output(),
                       graph.mutable_value_info()})
      for (auto &value : *list)
        action(*value.mutable_name());
    for (auto &tensor : *graph.mutable_initializer())
      action(*tensor.mutable_name());
    for (auto &sparse : *graph.mutable_sparse_initializer())
      action(*sparse.mutable_values()->mutable_name());
    for (auto &node : *graph.mutable_node()) {
      for (auto &name : *node.mutable_input())
        action(name);
      for (auto &name : *node.mutable_output())
        action(name);
    }
  }

  void renameNodes(onnx::GraphProto &graph) {
    for (auto &node : *graph.mutable_node())
      forEachSubgraph(node, [&](onnx::GraphProto &inner) { enter(inner); });
  }

  void enter(onnx::GraphProto &graph) {
    std::string suffix = kMark + std::to_string(++count);
    auto &names = scopes.emplace_back();
    auto add = [&](const std::string &name) {
      if (!name.empty())
        names[name] = name + suffix;
    };
    for (const auto &input : graph.input())
      add(input.name());
    for (const auto &tensor : graph.initializer())
      add(tensor.name());
    for (const auto &sparse : graph.sparse_initializer())
      add(sparse.values().name());
    for (const auto &node : graph.node())
      for (const std::string &output : node.output())
        add(output);
    forEachName(graph, [&](std::string &name) {
      for (auto scope = scopes.rbegin(); scope != scopes.rend(); ++scope)
        if (auto it = scope->find(name); it != scope->end()) {
          name = it->second;
          return;
        }
    });
    renameNodes(graph);
    scopes.pop_back();
  }

  std::deque<StringMap<std::string>> scopes;
  int count = 0;
};

} // namespace

namespace {
/// The schemas of a model's operators, in the versions that it imports.
class Schemas {
public:
  explicit Schemas(const onnx::ModelProto &model) {
    for (const auto &import : model.opset_import())
      versions[import.domain()] = import.version();
  }
  /// Null where the registry has none.
  const onnx::OpSchema *find(const onnx::NodeProto &node) const {
    return onnx::OpSchemaRegistry::Schema(
        node.op_type(), versions.lookup(node.domain()), node.domain());
  }

private:
  StringMap<int> versions;
};
} // namespace

/// Throws where a node lacks an input or an attribute that its operator needs,
/// or has one of another kind.
static void verifyNode(const onnx::NodeProto &node,
                       const onnx::OpSchema &schema) {
  schema.Verify(node);
  // Of inputs of any number none may be left out, which is not looked at.
  size_t formal = schema.inputs().size();
  if (formal == 0 || !node.domain().empty() ||
      schema.inputs().back().GetOption() != onnx::OpSchema::Variadic)
    return;
  for (size_t i = formal - 1; i < (size_t)node.input_size(); ++i)
    if (node.input(i).empty())
      throw std::runtime_error("input " + std::to_string(i) + " is left out");
}

static void verifyNodes(const onnx::GraphProto &graph, const Schemas &schemas) {
  for (const auto &node : graph.node()) {
    const onnx::OpSchema *schema = schemas.find(node);
    try {
      if (schema)
        verifyNode(node, *schema);
    } catch (const std::exception &error) {
      throw std::runtime_error("node '" + node.name() + "' (" + node.op_type() +
                               "): " + error.what());
    }
    for (const auto &attribute : node.attribute()) {
      if (attribute.has_g())
        verifyNodes(attribute.g(), schemas);
      for (const auto &inner : attribute.graphs())
        verifyNodes(inner, schemas);
    }
  }
}

/// Infers shapes without those that the file gives to inner values and to the
/// outputs, since some files give wrong ones, then adds those that fit and
/// infers again through what was unknown. Throws where nodes contradict each
/// other or their operators.
static void inferShapes(onnx::ModelProto &model) {
  auto *registry = onnx::OpSchemaRegistry::Instance();
  onnx::GraphProto &graph = *model.mutable_graph();
  auto given = graph.value_info();
  auto outputs = graph.output();
  graph.clear_value_info();
  for (auto &output : *graph.mutable_output())
    if (output.type().has_tensor_type())
      output.mutable_type()->mutable_tensor_type()->clear_shape();
  auto infer = [&](bool isStrict) {
    onnx::shape_inference::InferShapes(
        model, registry,
        onnx::ShapeInferenceOptions(/*check_type_val=*/isStrict,
                                    /*strict_mode_val=*/isStrict,
                                    /*data_prop_val=*/true));
  };
  infer(/*isStrict=*/true);
  for (auto [output, before] : llvm::zip(*graph.mutable_output(), outputs)) {
    if (!output.type().has_tensor_type() ||
        !output.type().tensor_type().has_shape())
      output = before;
    else
      mergeFileType(before.type(), *output.mutable_type());
  }
  if (given.empty())
    return;
  StringMap<onnx::ValueInfoProto *> inferred;
  for (auto &info : *graph.mutable_value_info())
    inferred[info.name()] = &info;
  std::vector<const onnx::ValueInfoProto *> missing;
  for (const auto &info : given) {
    if (auto *known = inferred.lookup(info.name()))
      mergeFileType(info.type(), *known->mutable_type());
    else
      missing.push_back(&info);
  }
  for (const auto *info : missing)
    *graph.add_value_info() = *info;
  infer(/*isStrict=*/false);
}

namespace {
/// The operators that are to be replaced by their definitions.
class UnknownOperators : public onnx::inliner::FunctionIdSet {
public:
  explicit UnknownOperators(IsKnownOperator isKnown) : isKnown(isKnown) {}
  bool Contains(const std::string &domain,
                const std::string &name) const override {
    return !isKnown(domain, name);
  }

private:
  IsKnownOperator isKnown;
};
} // namespace

/// Replaces operators that are not known by their definitions, where the
/// standard has some.
static void inlineDefinitions(onnx::ModelProto &model,
                              IsKnownOperator isKnown) {
  Schemas schemas(model);
  bool isAnyUnknown = false;
  for (auto &node : *model.mutable_graph()->mutable_node()) {
    if (isKnown(node.domain(), node.op_type()))
      continue;
    isAnyUnknown = true;
    // A definition may refer to attributes that a node leaves out.
    const onnx::OpSchema *schema = schemas.find(node);
    if (!schema)
      continue;
    for (const auto &entry : schema->attributes()) {
      const onnx::AttributeProto &value = entry.second.default_value;
      bool isGiven = llvm::any_of(node.attribute(), [&](const auto &given) {
        return given.name() == entry.first;
      });
      if (!isGiven && value.has_name())
        *node.add_attribute() = value;
    }
  }
  // The library takes a model apart and puts it together again for this.
  if (isAnyUnknown)
    onnx::inliner::InlineSelectedFunctions(model, UnknownOperators(isKnown),
                                           nullptr);
}

Error miura::normalizeOnnxModel(onnx::ModelProto &model,
                                IsKnownOperator isKnown) {
  registerContribSchemas();
  try {
    if (model.functions_size() != 0)
      onnx::inliner::InlineLocalFunctions(model);
    inlineDefinitions(model, isKnown);
  } catch (const std::exception &error) {
    return createStringError(
        Twine("the model's functions cannot be inlined: ") + error.what());
  }
  try {
    verifyNodes(model.graph(), Schemas(model));
  } catch (const std::exception &error) {
    return createStringError(error.what());
  }
  try {
    SubgraphRenamer().rename(model);
    inferShapes(model);
    SubgraphRenamer::restore(*model.mutable_graph());
  } catch (const std::exception &error) {
    return createStringError(Twine("shapes cannot be inferred: ") +
                             error.what());
  }
  return Error::success();
}
