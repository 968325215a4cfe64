//===- ContribSchemas.cpp - Operators beside the standard -----------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Schemas with shape functions for the fused operators of com.microsoft that
/// exporters of language models write, so that inference runs through them.
/// The shapes are those that ONNX Runtime's ContribOperators.md documents. What
/// types an operator takes is not restricted here: a schema serves inference,
/// not checking.
///
//===----------------------------------------------------------------------===//

#include "miura/Support/ONNX/OnnxLibrary.h"
#include <functional>
#include <mutex>
#include <onnx/defs/schema.h>
#include <onnx/defs/shape_inference.h>

using namespace onnx;

static constexpr const char *kMicrosoft = "com.microsoft";

using Infer = std::function<void(InferenceContext &)>;

static void add(const char *name, const char *domain, Infer infer) {
  OpSchema schema;
  schema.SetName(name)
      .SetDomain(domain)
      .SinceVersion(1)
      .AllowUncheckedAttributes()
      .Input(0, "inputs", "", "T", OpSchema::Variadic, /*is_homogeneous=*/false,
             /*min_arity=*/0)
      .Output(0, "outputs", "", "T", OpSchema::Variadic,
              /*is_homogeneous=*/false, /*min_arity=*/0)
      .TypeConstraint("T", OpSchema::all_tensor_types_ir10(), "")
      .TypeAndShapeInferenceFunction(std::move(infer));
  RegisterSchema(std::move(schema), /*opset_version_to_load=*/0,
                 /*fail_duplicate_schema=*/false);
}

static bool hasInput(InferenceContext &ctx, size_t index) {
  return index < ctx.getNumInputs() && ctx.getInputType(index) != nullptr;
}

/// Output `output` is as input `input`.
static void copy(InferenceContext &ctx, size_t input, size_t output) {
  if (output >= ctx.getNumOutputs() || !hasInput(ctx, input))
    return;
  propagateElemTypeFromInputToOutput(ctx, input, output);
  if (hasInputShape(ctx, input))
    propagateShapeFromInputToOutput(ctx, input, output);
}

static void copyFirst(InferenceContext &ctx) { copy(ctx, 0, 0); }

/// Output `output` is of type `type` and as input `input` with the last
/// dimension `last`.
static void replaceLast(InferenceContext &ctx, size_t input, size_t output,
                        const TensorShapeProto::Dimension &last) {
  if (!hasInputShape(ctx, input))
    return;
  TensorShapeProto shape = getInputShape(ctx, input);
  if (shape.dim_size() == 0)
    return;
  *shape.mutable_dim(shape.dim_size() - 1) = last;
  updateOutputShape(ctx, output, shape);
}

static void replaceLast(InferenceContext &ctx, size_t input, size_t output,
                        int64_t last) {
  TensorShapeProto::Dimension dim;
  dim.set_dim_value(last);
  replaceLast(ctx, input, output, dim);
}

/// One number per row: a mean or an inverse deviation.
static void rowStatistic(InferenceContext &ctx, size_t output) {
  if (output >= ctx.getNumOutputs())
    return;
  updateOutputElemType(ctx, output, TensorProto::FLOAT);
  replaceLast(ctx, 0, output, 1);
}

/// y, mean, inverse deviation, input + skip + bias.
static void inferSkipNorm(InferenceContext &ctx) {
  copy(ctx, 0, 0);
  rowStatistic(ctx, 1);
  rowStatistic(ctx, 2);
  copy(ctx, 0, 3);
}

static void inferSimplifiedNorm(InferenceContext &ctx) {
  copy(ctx, 0, 0);
  rowStatistic(ctx, 1);
}

/// y = x Wᵀ with N rows of codes, however they are packed.
static void inferQuantizedMatMul(InferenceContext &ctx) {
  propagateElemTypeFromInputToOutput(ctx, 0, 0);
  replaceLast(ctx, 0, 0, getAttribute(ctx, "N", (int64_t)0));
}

/// Outputs 1 and 2 are the caches behind inputs `first` and first + 1, of a
/// length that is known only at run time.
static void inferPresent(InferenceContext &ctx, size_t first) {
  for (size_t i = 0; i < 2; ++i) {
    if (1 + i >= ctx.getNumOutputs() || !hasInput(ctx, first + i))
      continue;
    propagateElemTypeFromInputToOutput(ctx, first + i, 1 + i);
    if (!hasInputShape(ctx, first + i))
      continue;
    TensorShapeProto shape = getInputShape(ctx, first + i);
    if (shape.dim_size() != 4)
      continue;
    shape.mutable_dim(2)->Clear();
    updateOutputShape(ctx, 1 + i, shape);
  }
}

static void inferGroupQueryAttention(InferenceContext &ctx) {
  propagateElemTypeFromInputToOutput(ctx, 0, 0);
  if (hasInputShape(ctx, 0)) {
    TensorShapeProto shape = getInputShape(ctx, 0);
    // Without keys and values, the query holds all three side by side.
    if (!hasInput(ctx, 1) && shape.dim_size() == 3 &&
        shape.dim(2).has_dim_value()) {
      int64_t heads = getAttribute(ctx, "num_heads", (int64_t)0);
      int64_t kv = getAttribute(ctx, "kv_num_heads", (int64_t)0);
      if (heads > 0 && kv > 0)
        shape.mutable_dim(2)->set_dim_value(shape.dim(2).dim_value() * heads /
                                            (heads + 2 * kv));
    }
    updateOutputShape(ctx, 0, shape);
  }
  inferPresent(ctx, 3);
}

static void inferMultiHeadAttention(InferenceContext &ctx) {
  propagateElemTypeFromInputToOutput(ctx, 0, 0);
  if (hasInputShape(ctx, 0) && getInputShape(ctx, 0).dim_size() == 3) {
    if (hasInputShape(ctx, 2) && getInputShape(ctx, 2).dim_size() == 3)
      replaceLast(ctx, 0, 0, getInputShape(ctx, 2).dim(2));
    else if (!hasInput(ctx, 2))
      copy(ctx, 0, 0);
  }
  inferPresent(ctx, 6);
}

/// As wide as the values that the weights or the attribute tell.
static void inferAttention(InferenceContext &ctx) {
  propagateElemTypeFromInputToOutput(ctx, 0, 0);
  if (!hasInputShape(ctx, 0) || getInputShape(ctx, 0).dim_size() != 3)
    return;
  TensorShapeProto::Dimension width;
  const AttributeProto *sizes = ctx.getAttribute("qkv_hidden_sizes");
  if (sizes && sizes->ints_size() == 3) {
    width.set_dim_value(sizes->ints(2));
  } else if (hasInputShape(ctx, 1) && getInputShape(ctx, 1).dim_size() == 2 &&
             getInputShape(ctx, 1).dim(1).has_dim_value()) {
    width.set_dim_value(getInputShape(ctx, 1).dim(1).dim_value() / 3);
  } else {
    return;
  }
  replaceLast(ctx, 0, 0, width);
}

/// Rows of a quantized table: the type of the scales.
static void inferGatherBlockQuantized(InferenceContext &ctx) {
  if (!hasInput(ctx, 2))
    return;
  propagateElemTypeFromInputToOutput(ctx, 2, 0);
  if (!hasInputShape(ctx, 0) || !hasInputShape(ctx, 1))
    return;
  const TensorShapeProto &data = getInputShape(ctx, 0);
  const TensorShapeProto &indices = getInputShape(ctx, 1);
  int64_t rank = data.dim_size();
  int64_t axis = getAttribute(ctx, "gather_axis", (int64_t)0);
  axis = axis < 0 ? axis + rank : axis;
  int64_t bits = getAttribute(ctx, "bits", (int64_t)4);
  bool packed =
      ctx.getInputType(0)->tensor_type().elem_type() == TensorProto::UINT8 &&
      bits > 0 && bits < 8;
  TensorShapeProto shape;
  for (int i = 0; i < rank; ++i) {
    if (i == axis) {
      for (const auto &dim : indices.dim())
        *shape.add_dim() = dim;
      continue;
    }
    auto *dim = shape.add_dim();
    *dim = data.dim(i);
    // uint8 data hold several codes per element along the last dimension.
    if (packed && i == rank - 1 && dim->has_dim_value())
      dim->set_dim_value(dim->dim_value() * (8 / bits));
  }
  updateOutputShape(ctx, 0, shape);
}

/// The product of the last two dimensions, batches broadcast.
static void inferMatMul(InferenceContext &ctx, bool transA, bool transB) {
  if (!hasInputShape(ctx, 0) || !hasInputShape(ctx, 1))
    return;
  TensorShapeProto a = getInputShape(ctx, 0), b = getInputShape(ctx, 1);
  int rankA = a.dim_size(), rankB = b.dim_size();
  if (rankA < 2 || rankB < 2)
    return;
  auto rows = a.dim(rankA - (transA ? 1 : 2));
  auto columns = b.dim(rankB - (transB ? 2 : 1));
  TensorShapeProto batchA, batchB, shape;
  for (int i = 0; i < rankA - 2; ++i)
    *batchA.add_dim() = a.dim(i);
  for (int i = 0; i < rankB - 2; ++i)
    *batchB.add_dim() = b.dim(i);
  bidirectionalBroadcastShapeInference(batchA, batchB, shape);
  *shape.add_dim() = rows;
  *shape.add_dim() = columns;
  updateOutputShape(ctx, 0, shape);
}

static void inferFusedMatMul(InferenceContext &ctx) {
  propagateElemTypeFromInputToOutput(ctx, 0, 0);
  if (getAttribute(ctx, "transBatchA", (int64_t)0) ||
      getAttribute(ctx, "transBatchB", (int64_t)0))
    return;
  inferMatMul(ctx, getAttribute(ctx, "transA", (int64_t)0),
              getAttribute(ctx, "transB", (int64_t)0));
}

static void inferBroadcast(InferenceContext &ctx, size_t a, size_t b) {
  propagateElemTypeFromInputToOutput(ctx, a, 0);
  if (hasInputShape(ctx, a) && hasInputShape(ctx, b)) {
    TensorShapeProto shape;
    bidirectionalBroadcastShapeInference(getInputShape(ctx, a),
                                         getInputShape(ctx, b), shape);
    updateOutputShape(ctx, 0, shape);
  }
}

/// A and B as matrices at inputs 0 and 3; input 8, the zero point of y, tells
/// the output's type, float where it is absent.
static void inferQGemm(InferenceContext &ctx) {
  if (hasInput(ctx, 8))
    propagateElemTypeFromInputToOutput(ctx, 8, 0);
  else
    updateOutputElemType(ctx, 0, TensorProto::FLOAT);
  if (!hasInputShape(ctx, 0) || !hasInputShape(ctx, 3))
    return;
  const TensorShapeProto &a = getInputShape(ctx, 0), &b = getInputShape(ctx, 3);
  if (a.dim_size() != 2 || b.dim_size() != 2)
    return;
  TensorShapeProto shape;
  *shape.add_dim() = a.dim(getAttribute(ctx, "transA", (int64_t)0) ? 1 : 0);
  *shape.add_dim() = b.dim(getAttribute(ctx, "transB", (int64_t)0) ? 0 : 1);
  updateOutputShape(ctx, 0, shape);
}

/// As input 0, with the type of `typed`, or `otherwise` where that is absent.
static void copyShape(InferenceContext &ctx, size_t typed,
                      TensorProto::DataType otherwise) {
  if (hasInput(ctx, typed))
    propagateElemTypeFromInputToOutput(ctx, typed, 0);
  else
    updateOutputElemType(ctx, 0, otherwise);
  if (hasInputShape(ctx, 0))
    propagateShapeFromInputToOutput(ctx, 0, 0);
}

void miura::registerContribSchemas() {
  static std::once_flag once;
  std::call_once(once, [] {
    auto &domains = OpSchemaRegistry::DomainToVersionRange::Instance();
    if (!domains.Map().count(kMicrosoft))
      domains.AddDomainToVersion(kMicrosoft, 1, 1);
    for (const char *domain : {"", kMicrosoft})
      add("SimplifiedLayerNormalization", domain, inferSimplifiedNorm);
    for (const char *name :
         {"SkipLayerNormalization", "SkipSimplifiedLayerNormalization"})
      add(name, kMicrosoft, inferSkipNorm);
    for (const char *name : {"BiasGelu", "FastGelu", "Gelu", "QuickGelu", "MoE",
                             "QMoE", "RotaryEmbedding", "QLinearSigmoid",
                             "QLinearLeakyRelu", "QLinearSoftmax"})
      add(name, kMicrosoft, copyFirst);
    for (const char *name : {"MatMulNBits", "MatMulBnb4"})
      add(name, kMicrosoft, inferQuantizedMatMul);
    add("GroupQueryAttention", kMicrosoft, inferGroupQueryAttention);
    add("MultiHeadAttention", kMicrosoft, inferMultiHeadAttention);
    add("Attention", kMicrosoft, inferAttention);
    add("GatherBlockQuantized", kMicrosoft, inferGatherBlockQuantized);
    add("FusedMatMul", kMicrosoft, inferFusedMatMul);
    add("QGemm", kMicrosoft, inferQGemm);
    // Codes of the zero point's type, numbers of the scale's.
    add("QuantizeLinear", kMicrosoft,
        [](InferenceContext &ctx) { copyShape(ctx, 2, TensorProto::UINT8); });
    add("DequantizeLinear", kMicrosoft,
        [](InferenceContext &ctx) { copyShape(ctx, 1, TensorProto::FLOAT); });
    for (const char *name : {"QLinearAdd", "QLinearMul"})
      add(name, kMicrosoft,
          [](InferenceContext &ctx) { inferBroadcast(ctx, 0, 3); });
  });
}
