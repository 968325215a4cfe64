//===- MergeMeta.cpp - The side resource back into the model --------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The side resource is a ModelProto of what the IR does not hold. Nodes are
/// found by their first named output, which is theirs alone; those that a pass
/// removed are passed over.
///
//===----------------------------------------------------------------------===//

#include "miura/Export/ONNX/ExportOnnx.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringMap.h"
#include <onnx/onnx_pb.h>

using namespace llvm;
using namespace miura;

template <typename List>
static StringMap<typename List::value_type *> indexByName(List &list) {
  StringMap<typename List::value_type *> result;
  for (auto &item : list)
    result.try_emplace(item.name(), &item);
  return result;
}

/// Replaces the entries of the same name; adds the others if `add`.
static void mergeValues(
    const google::protobuf::RepeatedPtrField<onnx::ValueInfoProto> &from,
    google::protobuf::RepeatedPtrField<onnx::ValueInfoProto> &to, bool add) {
  auto index = indexByName(to);
  for (const auto &info : from) {
    if (auto *existing = index.lookup(info.name()))
      *existing = info;
    else if (add)
      *to.Add() = info;
  }
}

static void
mergeNodes(const google::protobuf::RepeatedPtrField<onnx::NodeProto> &from,
           google::protobuf::RepeatedPtrField<onnx::NodeProto> &to);

static void mergeGraph(const onnx::GraphProto &from, onnx::GraphProto &to) {
  if (from.has_doc_string())
    to.set_doc_string(from.doc_string());
  *to.mutable_metadata_props() = from.metadata_props();
  *to.mutable_quantization_annotation() = from.quantization_annotation();
  mergeValues(from.input(), *to.mutable_input(), /*add=*/false);
  mergeValues(from.output(), *to.mutable_output(), /*add=*/false);
  mergeValues(from.value_info(), *to.mutable_value_info(), /*add=*/true);
  auto tensors = indexByName(*to.mutable_initializer());
  for (const auto &tensor : from.initializer())
    if (auto *existing = tensors.lookup(tensor.name())) {
      if (tensor.has_doc_string())
        existing->set_doc_string(tensor.doc_string());
      *existing->mutable_metadata_props() = tensor.metadata_props();
    }
  mergeNodes(from.node(), *to.mutable_node());
}

static void mergeNode(const onnx::NodeProto &from, onnx::NodeProto &to) {
  if (from.has_doc_string())
    to.set_doc_string(from.doc_string());
  *to.mutable_metadata_props() = from.metadata_props();
  *to.mutable_device_configurations() = from.device_configurations();
  if (from.attribute_size() == 0)
    return;
  StringMap<int> order;
  for (int i = 0; i < from.attribute_size(); ++i)
    order[from.attribute(i).name()] = i;
  auto rank = [&](const onnx::AttributeProto *attribute) {
    auto it = order.find(attribute->name());
    return std::make_pair(it == order.end() ? from.attribute_size()
                                            : it->second,
                          StringRef(attribute->name()));
  };
  llvm::sort(to.mutable_attribute()->pointer_begin(),
             to.mutable_attribute()->pointer_end(),
             [&](auto *a, auto *b) { return rank(a) < rank(b); });
  for (auto &attribute : *to.mutable_attribute()) {
    auto it = order.find(attribute.name());
    if (it == order.end())
      continue;
    const auto &kept = from.attribute(it->second);
    if (kept.has_doc_string())
      attribute.set_doc_string(kept.doc_string());
    if (kept.has_g() && attribute.has_g())
      mergeGraph(kept.g(), *attribute.mutable_g());
    for (int i = 0; i < std::min(kept.graphs_size(), attribute.graphs_size());
         ++i)
      mergeGraph(kept.graphs(i), *attribute.mutable_graphs(i));
  }
}

static void
mergeNodes(const google::protobuf::RepeatedPtrField<onnx::NodeProto> &from,
           google::protobuf::RepeatedPtrField<onnx::NodeProto> &to) {
  StringMap<onnx::NodeProto *> index;
  for (auto &node : to)
    for (const std::string &output : node.output())
      if (!output.empty()) {
        index.try_emplace(output, &node);
        break;
      }
  for (const auto &node : from)
    if (auto *existing = index.lookup(node.output(0)))
      mergeNode(node, *existing);
}

void miura::mergeOnnxMeta(const onnx::ModelProto &meta,
                          onnx::ModelProto &model) {
  if (meta.has_doc_string())
    model.set_doc_string(meta.doc_string());
  *model.mutable_metadata_props() = meta.metadata_props();
  *model.mutable_training_info() = meta.training_info();
  *model.mutable_configuration() = meta.configuration();
  for (const auto &from : meta.functions())
    for (auto &to : *model.mutable_functions()) {
      if (from.name() != to.name() || from.domain() != to.domain() ||
          from.overload() != to.overload())
        continue;
      if (from.has_doc_string())
        to.set_doc_string(from.doc_string());
      *to.mutable_metadata_props() = from.metadata_props();
      *to.mutable_value_info() = from.value_info();
      mergeNodes(from.node(), *to.mutable_node());
    }
  mergeGraph(meta.graph(), *model.mutable_graph());
}
