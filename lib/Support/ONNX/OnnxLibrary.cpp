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

/// Infers shapes without the types that the file gives to inner values, since
/// some files give wrong ones, then adds those that fit and infers again
/// through what was unknown.
static void inferShapes(onnx::ModelProto &model) {
  onnx::ShapeInferenceOptions options(/*check_type_val=*/false,
                                      /*strict_mode_val=*/0,
                                      /*data_prop_val=*/true);
  auto *registry = onnx::OpSchemaRegistry::Instance();
  auto given = model.graph().value_info();
  model.mutable_graph()->clear_value_info();
  onnx::shape_inference::InferShapes(model, registry, options);
  if (given.empty())
    return;
  StringMap<onnx::ValueInfoProto *> inferred;
  for (auto &info : *model.mutable_graph()->mutable_value_info())
    inferred[info.name()] = &info;
  std::vector<const onnx::ValueInfoProto *> missing;
  for (const auto &info : given) {
    if (auto *known = inferred.lookup(info.name()))
      mergeFileType(info.type(), *known->mutable_type());
    else
      missing.push_back(&info);
  }
  for (const auto *info : missing)
    *model.mutable_graph()->add_value_info() = *info;
  onnx::shape_inference::InferShapes(model, registry, options);
}

Error miura::normalizeOnnxModel(onnx::ModelProto &model) {
  registerContribSchemas();
  try {
    if (model.functions_size() != 0)
      onnx::inliner::InlineLocalFunctions(model);
  } catch (const std::exception &error) {
    return createStringError(
        Twine("the model's functions cannot be inlined: ") + error.what());
  }
  try {
    inferShapes(model);
  } catch (const std::exception &error) {
    return createStringError(Twine("shapes cannot be inferred: ") +
                             error.what());
  }
  return Error::success();
}
