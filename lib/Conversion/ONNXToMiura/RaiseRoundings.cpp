//===- RaiseRoundings.cpp - Activations of static quantization
//-------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// A QuantizeLinear and the DequantizeLinear of its codes, with one scale for
/// the whole tensor, are a rounding of activations. Files with static
/// quantization have one before and behind nearly every product, so what looks
/// for attentions looks through them and keeps what they do.
///
/// Source: ONNX operators, QuantizeLinear-10 to -25; the operators of the same
/// names of com.microsoft.
///
//===----------------------------------------------------------------------===//

#include "Raiser.h"
#include <cmath>

using namespace mlir;
using namespace miura;
using namespace miura::symbolic;

static bool isEither(OnnxNodeOp op, StringRef type) {
  return op && op.getOpType() == type &&
         (op.getDomain().empty() || op.getDomain() == "ai.onnx" ||
          op.getDomain() == "com.microsoft");
}

void Raiser::raiseRoundings() {
  // One rounding for all that read the same codes.
  DenseMap<Value, Value> done;
  forEachNode([&](OnnxNodeOp dequantize) {
    if (!isEither(dequantize, "DequantizeLinear"))
      return;
    Value codes = getInput(dequantize, 0);
    auto quantize = codes.getDefiningOp<OnnxNodeOp>();
    Value result = dequantize.getResult(0);
    if (!isEither(quantize, "QuantizeLinear") ||
        isStored(getInput(quantize, 0)))
      return;
    Value input = getInput(quantize, 0);
    auto code = dyn_cast<IntegerType>(getElementTypeOrSelf(codes.getType()));
    if (!code || code.getWidth() < 2 || code.getWidth() > 16 ||
        input.getType() != result.getType() ||
        !isa<FloatType>(getElementTypeOrSelf(input.getType())))
      return;
    // Tensors of one number each.
    auto read = [&](OnnxNodeOp op, unsigned i) -> std::optional<double> {
      Value value = getInput(op, i);
      if (!value)
        return i == 2 ? std::optional<double>(0) : std::nullopt;
      auto type = dyn_cast<RankedTensorType>(value.getType());
      if (!type || !type.hasStaticShape() || type.getNumElements() != 1)
        return std::nullopt;
      return analysis.getSplat(value);
    };
    std::optional<double> scale = read(quantize, 1), zero = read(quantize, 2);
    if (!scale || !zero || read(dequantize, 1) != scale ||
        read(dequantize, 2) != zero || !(*scale > 0) || !std::isfinite(*scale))
      return;
    Value &rounded = done[codes];
    if (!rounded) {
      builder.setInsertionPointAfter(quantize);
      auto signedness =
          code.isUnsigned() ? IntegerType::Unsigned : IntegerType::Signed;
      auto rounding = RoundingAttr::get(
          func.getContext(),
          IntegerType::get(func.getContext(), code.getWidth(), signedness),
          builder.getF32FloatAttr(*scale), int64_t(*zero));
      // Numbers that stand for codes of this scale are rounded already: the
      // error of c·s / s is far below half a code.
      Value source = input;
      while (auto node = source.getDefiningOp<OnnxNodeOp>()) {
        if (!isMove(node) && !isNode(node, "Gather"))
          break;
        source = getInput(node, 0);
      }
      auto earlier = source.getDefiningOp<FakeQuantizeOp>();
      auto decoded = source.getDefiningOp<OnnxNodeOp>();
      bool isRounded =
          (earlier && earlier.getRounding() == rounding) ||
          (isEither(decoded, "DequantizeLinear") &&
           getElementTypeOrSelf(getInput(decoded, 0).getType()) == code &&
           read(decoded, 1) == scale && read(decoded, 2) == zero);
      rounded = isRounded ? input
                          : FakeQuantizeOp::create(builder, dequantize.getLoc(),
                                                   input, rounding)
                                .getResult();
    }
    replace(result, rounded);
  });
}

RoundingAttr Raiser::divideScale(RoundingAttr rounding, double factor) {
  if (factor == 1)
    return rounding;
  Builder b(rounding.getContext());
  double scale = rounding.getScale().getValueAsDouble() / factor;
  if (!(scale > 0) || !std::isfinite(scale))
    return {};
  return RoundingAttr::get(rounding.getContext(), rounding.getCode(),
                           b.getF32FloatAttr(scale), rounding.getZero());
}

std::pair<double, Expr> Raiser::getRoundedAtom(Expr element,
                                               RoundingAttr &rounding) {
  auto [factor, atom] = getScaledAtom(element);
  if (!atom || atom->kind != Kind::Element)
    return {factor, nullptr};
  auto rounded = atom->tensor.getDefiningOp<FakeQuantizeOp>();
  if (!rounded)
    return {factor, atom};
  auto [inner, source] =
      getScaledAtom(analysis.getElement(rounded.getInput(), atom->operands));
  if (!source || source->kind != Kind::Element)
    return {factor, atom};
  // round(s x, Δ) = s round(x, Δ / s): attentions read keys and values
  // themselves, since what is in the cache is not rounded.
  rounding = divideScale(rounded.getRounding(), inner);
  if (!rounding)
    return {factor, nullptr};
  return {factor * inner, source};
}
