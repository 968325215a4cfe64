//===- ExpandAttention.cpp - ONNX Runtime's attentions as the standard's --===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Attention and MultiHeadAttention of com.microsoft say in one node what the
/// standard says in several: projections, biases, packed operands and masks of
/// several forms around its Attention. They are spelled out before anything
/// else is raised, so that they need no matcher of their own. Meaning by ONNX
/// Runtime's ContribOperators.md.
///
//===----------------------------------------------------------------------===//

#include "Raiser.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include <array>
#include <cstring>

using namespace mlir;
using namespace miura;
using namespace miura::symbolic;

Value Raiser::makeNode(OnnxNodeOp origin, StringRef type, int64_t version,
                       ValueRange inputs, ArrayRef<NamedAttribute> attributes,
                       Type element, Shape shape) {
  auto node = OnnxNodeOp::create(
      builder, origin.getLoc(), TypeRange(UnrankedTensorType::get(element)),
      type, "", "", version, (origin.getNodeName() + "/" + type).str(),
      builder.getDictionaryAttr(attributes), ArrayAttr(), ArrayAttr(), inputs,
      0);
  Value result = node.getResult(0);
  if (!shape.empty())
    analysis.setShape(result, shape);
  const Shape *found = analysis.getShape(result);
  if (!found)
    return {};
  result.setType(getType(*found, element));
  return result;
}

Value Raiser::makeVector(Location loc, ArrayRef<int64_t> values) {
  auto type =
      RankedTensorType::get({int64_t(values.size())}, builder.getI64Type());
  return arith::ConstantOp::create(builder, loc,
                                   DenseElementsAttr::get(type, values));
}

NamedAttribute Raiser::makeInt(StringRef name, int64_t value) {
  Type type = builder.getIntegerType(64, /*isSigned=*/true);
  return builder.getNamedAttr(name, builder.getIntegerAttr(type, value));
}

namespace {
/// The operands that the two operators share once they are spelled out.
struct Parts {
  Value query, key, value;  // batch × sequence × heads · size
  Value padding, addend;    // see MultiHeadAttention's inputs 4 and 5
  Value pastKey, pastValue; // batch × heads × past × size
};
} // namespace

bool Raiser::expandAttention(OnnxNodeOp op) {
  bool isMulti = op.getOpType() == "MultiHeadAttention";
  if (op.getDomain() != "com.microsoft" ||
      (!isMulti && op.getOpType() != "Attention"))
    return false;
  int64_t heads = getInt(op, "num_heads", 0);
  Value x = getInput(op, 0);
  auto type = x ? dyn_cast<RankedTensorType>(x.getType()) : RankedTensorType();
  if (heads < 1 || !type || !isa<FloatType>(type.getElementType()) ||
      getInt(op, "do_rotary", 0) || getInt(op, "past_present_share_buffer", 0))
    return false;
  // Buffers that are longer than what is in them, and beams, are not spelled
  // out; nor is a past of keys and values in one tensor.
  std::array<unsigned, 2> refused{8, 9};
  if (!isMulti)
    refused = {4, 6};
  for (unsigned i : refused)
    if (getInput(op, i))
      return false;
  unsigned results = isMulti ? 3 : 1;
  for (unsigned i = results; i < op.getNumResults(); ++i)
    if (!op.getResult(i).use_empty())
      return false;
  Type element = type.getElementType();
  Location loc = op.getLoc();
  builder.setInsertionPoint(op);
  auto integer = [&](StringRef name, int64_t value) {
    auto type = IntegerType::get(op.getContext(), 64, IntegerType::Signed);
    return builder.getNamedAttr(name, builder.getIntegerAttr(type, value));
  };
  /// Consecutive parts of a tensor along one dimension.
  auto cut = [&](Value tensor, int64_t axis, ArrayRef<int64_t> sizes,
                 SmallVectorImpl<Value> &parts) {
    Shape whole = *analysis.getShape(tensor);
    SmallVector<Type> types;
    SmallVector<Shape> shapes;
    for (int64_t size : sizes) {
      shapes.push_back(whole);
      shapes.back()[axis] = context.integer(size);
      types.push_back(getType(shapes.back(), getElementTypeOrSelf(tensor)));
    }
    auto node = OnnxNodeOp::create(
        builder, loc, types, "Split", "", "", 18,
        (op.getNodeName() + "/Split").str(),
        builder.getDictionaryAttr(integer("axis", axis)), ArrayAttr(),
        ArrayAttr(), ValueRange{tensor, makeVector(loc, sizes)}, 0);
    for (auto [part, shape] : llvm::zip(node.getResults(), shapes)) {
      analysis.setShape(part, shape);
      parts.push_back(part);
    }
  };
  /// [batch, sequence, heads, count, size] as `count` flat tensors.
  auto unpack = [&](Value tensor, int64_t count,
                    SmallVectorImpl<Value> &parts) {
    const Shape *shape = analysis.getShape(tensor);
    std::optional<int64_t> size =
        shape && shape->size() == 5 ? getInteger((*shape)[4]) : std::nullopt;
    if (!size || getInteger((*shape)[3]) != count)
      return false;
    cut(tensor, 3, SmallVector<int64_t>(count, 1), parts);
    for (Value &part : parts)
      if (!(part = makeNode(op, "Reshape", 14,
                            {part, makeVector(loc, {0, 0, heads * *size})}, {},
                            element)))
        return false;
    return true;
  };

  Parts parts;
  Value bias = getInput(op, isMulti ? 3 : 2);
  if (isMulti) {
    parts = {x,
             getInput(op, 1),
             getInput(op, 2),
             getInput(op, 4),
             getInput(op, 5),
             getInput(op, 6),
             getInput(op, 7)};
    SmallVector<Value> unpacked;
    if (!parts.key) {
      if (!unpack(x, 3, unpacked))
        return false;
      parts.query = unpacked[0], parts.key = unpacked[1],
      parts.value = unpacked[2];
    } else if (!parts.value) {
      if (!unpack(parts.key, 2, unpacked))
        return false;
      parts.key = unpacked[0], parts.value = unpacked[1];
    }
  } else {
    parts.padding = getInput(op, 3);
    parts.addend = getInput(op, 5);
    Value weights = getInput(op, 1);
    auto matrix = dyn_cast<RankedTensorType>(weights.getType());
    if (!matrix || matrix.getRank() != 2 || matrix.isDynamicDim(1))
      return false;
    std::optional<SmallVector<int64_t>> sizes = getInts(op, "qkv_hidden_sizes");
    if (!sizes || sizes->empty())
      sizes = SmallVector<int64_t>(3, matrix.getDimSize(1) / 3);
    if (sizes->size() != 3 ||
        (*sizes)[0] + (*sizes)[1] + (*sizes)[2] != matrix.getDimSize(1))
      return false;
    Value product = makeNode(op, "MatMul", 13, {x, weights}, {}, element);
    if (product && bias)
      product = makeNode(op, "Add", 14, {product, bias}, {}, element);
    bias = {};
    SmallVector<Value> columns;
    if (!product)
      return false;
    cut(product, 2, *sizes, columns);
    parts.query = columns[0], parts.key = columns[1], parts.value = columns[2];
  }
  SmallVector<int64_t> widths;
  for (Value side : {parts.query, parts.key, parts.value}) {
    const Shape *shape = analysis.getShape(side);
    std::optional<int64_t> width =
        shape && shape->size() == 3 ? getInteger(shape->back()) : std::nullopt;
    if (!width || *width % heads != 0)
      return false;
    widths.push_back(*width);
  }
  if (bias) {
    const Shape *shape = analysis.getShape(bias);
    if (!shape || shape->size() != 1 || !isStored(bias) ||
        getInteger((*shape)[0]) != widths[0] + widths[1] + widths[2])
      return false;
    Value *sides[] = {&parts.query, &parts.key, &parts.value};
    unsigned bytes = element.getIntOrFloatBitWidth() / 8;
    int64_t start = 0;
    for (auto [side, width] : llvm::zip(sides, widths)) {
      // Linears take stored vectors along.
      FailureOr<Value> vector = stored.rewrite(
          bias, RankedTensorType::get({width}, element),
          ("entries from " + Twine(start)).str(),
          [&](ArrayRef<uint8_t> from, int64_t, MutableArrayRef<uint8_t> to) {
            std::memcpy(to.data(), from.data() + start * bytes, to.size());
          });
      if (failed(vector))
        return false;
      builder.setInsertionPoint(op);
      if (!(*side = makeNode(op, "Add", 14, {*side, *vector}, {}, element)))
        return false;
      // Where there is no linear, a sum is no product of heads to look into.
      if (!getNode(getInput((*side).getDefiningOp<OnnxNodeOp>(), 0), "MatMul"))
        analysis.setOpaque(*side);
      start += width;
    }
  }

  Value mask = parts.addend;
  if (parts.padding) {
    // 1 where a key (of every query, or of one) may be seen.
    const Shape *shape = analysis.getShape(parts.padding);
    size_t rank = shape ? shape->size() : 0;
    if (rank < 2 || rank > 4)
      return false;
    Value seen = makeNode(op, "Cast", 13, parts.padding,
                          integer("to", 9 /*BOOL*/), builder.getI1Type());
    if (seen && rank < 4)
      seen = makeNode(
          op, "Unsqueeze", 13,
          {seen, rank == 2 ? makeVector(loc, {1, 2}) : makeVector(loc, {1})},
          {}, builder.getI1Type());
    auto scalar = [&](double value) -> Value {
      auto type = RankedTensorType::get({}, element);
      return arith::ConstantOp::create(
          builder, loc,
          DenseElementsAttr::get(type, builder.getFloatAttr(element, value)));
    };
    Value hiding =
        seen ? makeNode(op, "Where", 16,
                        {seen, scalar(0),
                         scalar(getFloat(op, "mask_filter_value", -10000))},
                        {}, element)
             : Value();
    if (!hiding)
      return false;
    mask = mask ? makeNode(op, "Add", 14, {mask, hiding}, {}, element) : hiding;
    if (!mask)
      return false;
  }

  SmallVector<NamedAttribute> attributes{
      integer("q_num_heads", heads), integer("kv_num_heads", heads),
      integer("is_causal", getInt(op, "unidirectional", 0))};
  if (double scale = getFloat(op, "scale", 0))
    attributes.push_back(
        builder.getNamedAttr("scale", builder.getF32FloatAttr(scale)));
  Value absent =
      AbsentOp::create(builder, loc, AbsentType::get(op.getContext()));
  SmallVector<Value> inputs{parts.query, parts.key, parts.value,
                            mask ? mask : absent};
  if (parts.pastKey && parts.pastValue)
    inputs.append({parts.pastKey, parts.pastValue});
  SmallVector<Type> types;
  for (unsigned i = 0; i < results; ++i)
    types.push_back(i < op.getNumResults() ? op.getResult(i).getType()
                                           : absent.getType());
  Shape out = *analysis.getShape(parts.query);
  out[2] = context.integer(widths[2]);
  types[0] = getType(out, element);
  auto node = OnnxNodeOp::create(builder, loc, types, "Attention", "", "", 23,
                                 op.getNodeName(),
                                 builder.getDictionaryAttr(attributes),
                                 ArrayAttr(), ArrayAttr(), inputs, 0);
  for (unsigned i = 0; i < results && i < op.getNumResults(); ++i) {
    const Shape *shape = i ? analysis.getShape(op.getResult(i)) : &out;
    if (shape)
      analysis.setShape(node.getResult(i), Shape(*shape));
    op.getResult(i).replaceAllUsesWith(node.getResult(i));
  }
  return true;
}
