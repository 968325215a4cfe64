//===- RaiseElementwise.cpp - Activations, caches and plain arithmetic ----===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Activations by what their elements are, past and new keys as tensor.concat,
/// and arithmetic on operands of one shape as arith and math ops. What
/// broadcasts stays a node.
///
//===----------------------------------------------------------------------===//

#include "Raiser.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include <cmath>

using namespace mlir;
using namespace miura;
using namespace miura::symbolic;

static bool near(double a, double b) {
  return std::abs(a - b) <= 1e-5 * std::abs(b);
}

/// The terms of a polynomial in one atom x (and perhaps another one), as
/// {power of x, whether times `other`} → coefficient.
static bool hasTerms(Expr e, Expr x, Expr other,
                     ArrayRef<std::tuple<int, int, double>> expected) {
  if (e->kind != Kind::Poly || e->terms.size() != expected.size())
    return false;
  for (auto [power, others, coefficient] : expected) {
    bool found = false;
    for (const Term &t : e->terms)
      found |= llvm::count(t.atoms, x) == power &&
               (!other || llvm::count(t.atoms, other) == others) &&
               int(t.atoms.size()) == power + others &&
               near(t.coefficient, coefficient);
    if (!found)
      return false;
  }
  return true;
}

void Raiser::raiseActivations() {
  forEachNode([&](OnnxNodeOp op) {
    builder.setInsertionPoint(op);
    Value result = op->getNumResults() == 1 ? op.getResult(0) : Value();
    if (isNode(op, "Mul")) {
      for (Value side : op.getInputs()) {
        OnnxNodeOp sigmoid = getNode(side, "Sigmoid");
        if (sigmoid && getInput(sigmoid, 0) == getOther(op, side) &&
            getInput(sigmoid, 0).getType() == result.getType())
          return replace(result, SiluOp::create(builder, op.getLoc(),
                                                getInput(sigmoid, 0)));
        // x · sigmoid(α x).
        Value x = getOther(op, side);
        if (!sigmoid || !x || x.getType() != result.getType())
          continue;
        for (const char *kind : {"Mul", "Div"}) {
          OnnxNodeOp scaled = getNode(getInput(sigmoid, 0), kind);
          if (!scaled)
            continue;
          for (unsigned place : {0, 1}) {
            std::optional<double> k =
                analysis.getSplat(getInput(scaled, 1 - place));
            if (getInput(scaled, place) != x || !k || *k == 0 ||
                (place == 1 && *kind == 'D'))
              continue;
            return replace(result,
                           SiluOp::create(builder, op.getLoc(), x.getType(), x,
                                          builder.getF64FloatAttr(
                                              *kind == 'M' ? *k : 1 / *k)));
          }
        }
      }
    }
    // Activations of com.microsoft, some with a bias before them.
    if (op.getDomain() == "com.microsoft") {
      StringRef type = op.getOpType();
      bool isQuick = type == "QuickGelu", isTanh = type == "FastGelu";
      if (!isQuick && !isTanh && type != "BiasGelu" && type != "Gelu")
        return;
      Value x = getInput(op, 0);
      if (Value bias = isQuick ? Value() : getInput(op, 1))
        x = addVector(x, bias, op);
      if (!x || x.getType() != result.getType())
        return;
      builder.setInsertionPoint(op);
      if (isQuick)
        return replace(
            result, SiluOp::create(
                        builder, op.getLoc(), x.getType(), x,
                        builder.getF64FloatAttr(getFloat(op, "alpha", 1.702))));
      return replace(result, GeluOp::create(builder, op.getLoc(), x, isTanh));
    }
    if (isNode(op, "Gelu") && getInput(op, 0).getType() == result.getType())
      return replace(result,
                     GeluOp::create(builder, op.getLoc(), getInput(op, 0),
                                    getString(op, "approximate") == "tanh"));
    // x/2 (1 + erf(x/√2)) and its approximation, from the inner function up.
    bool isErf = isNode(op, "Erf");
    if (!isErf && !isNode(op, "Tanh"))
      return;
    Indices indices = analysis.makeIndices(result, "g");
    Expr inner = analysis.getElement(getInput(op, 0), indices);
    Expr own = analysis.getElement(result, indices);
    auto [factor, atom] = getScaledAtom(own);
    if (inner->kind != Kind::Poly || inner->terms.empty() || !atom)
      return;
    Expr x = nullptr;
    for (const Term &t : inner->terms)
      if (!t.atoms.empty())
        x = t.atoms[0];
    if (!x || x->kind != Kind::Element ||
        x->tensor.getType() != result.getType() ||
        ArrayRef<Expr>(x->operands) != ArrayRef<Expr>(indices))
      return;
    double c = std::sqrt(2 / M_PI);
    if (isErf ? !hasTerms(inner, x, nullptr, {{1, 0, std::sqrt(0.5)}})
              : !hasTerms(inner, x, nullptr, {{1, 0, c}, {3, 0, 0.044715 * c}}))
      return;
    Value last = result;
    for (int steps = 0; steps < 4; ++steps) {
      OnnxNodeOp user = getOnlyUser(last);
      if (!user || user->getNumResults() != 1)
        return;
      last = user.getResult(0);
      if (last.getType() == result.getType() &&
          hasTerms(analysis.getElement(last, indices), x, atom,
                   {{1, 0, 0.5}, {1, 1, 0.5}})) {
        builder.setInsertionPoint(user);
        return replace(last, GeluOp::create(builder, user.getLoc(), x->tensor,
                                            /*tanh=*/!isErf));
      }
    }
  });
}

void Raiser::raiseCaches() {
  forEachNode([&](OnnxNodeOp op) {
    if (!isNode(op, "Concat") || op.getNumOperands() != 2 ||
        !isa<BlockArgument>(op.getInputs()[0]))
      return;
    Value result = op.getResult(0);
    auto type = dyn_cast<RankedTensorType>(result.getType());
    if (!type || type.getRank() < 3 || !isa<FloatType>(type.getElementType()))
      return;
    int64_t axis = getInt(op, "axis", 0);
    if (axis < 0)
      axis += type.getRank();
    auto past = dyn_cast<RankedTensorType>(op.getInputs()[0].getType());
    auto added = dyn_cast<RankedTensorType>(op.getInputs()[1].getType());
    if (!past || !added || past.getRank() != added.getRank())
      return;
    // Not all that a file says of its inputs is inferred to be wrong.
    for (int64_t d = 0; d < past.getRank(); ++d)
      if (d != axis && !past.isDynamicDim(d) && !added.isDynamicDim(d) &&
          past.getDimSize(d) != added.getDimSize(d)) {
        reject(op) << "puts " << added << " behind " << past
                   << ", which differ in dimension " << d;
        return;
      }
    builder.setInsertionPoint(op);
    replace(result, tensor::ConcatOp::create(builder, op.getLoc(), type, axis,
                                             op.getInputs()));
  });
}

template <typename FloatOp, typename IntegerOp>
static Value makeBinary(OpBuilder &builder, OnnxNodeOp op) {
  Value a = getInput(op, 0), b = getInput(op, 1);
  Type element = getElementTypeOrSelf(a.getType());
  if (isa<FloatType>(element))
    return FloatOp::create(builder, op.getLoc(), a, b);
  if (element.isSignlessInteger())
    return IntegerOp::create(builder, op.getLoc(), a, b);
  return {};
}

static Value makeCast(OpBuilder &builder, OnnxNodeOp op) {
  Value a = getInput(op, 0);
  Type to = op.getResult(0).getType();
  Type from = getElementTypeOrSelf(a.getType());
  Type element = getElementTypeOrSelf(to);
  Location loc = op.getLoc();
  if (auto f = dyn_cast<FloatType>(element)) {
    if (from.isInteger(1))
      return arith::UIToFPOp::create(builder, loc, to, a);
    if (from.isSignlessInteger())
      return arith::SIToFPOp::create(builder, loc, to, a);
    auto source = dyn_cast<FloatType>(from);
    if (source && source.getWidth() < f.getWidth())
      return arith::ExtFOp::create(builder, loc, to, a);
    if (source && source.getWidth() > f.getWidth())
      return arith::TruncFOp::create(builder, loc, to, a);
    return {};
  }
  if (element.isSignlessInteger() && !element.isInteger(1) &&
      from.isSignlessInteger() && !from.isInteger(1)) {
    if (from.getIntOrFloatBitWidth() < element.getIntOrFloatBitWidth())
      return arith::ExtSIOp::create(builder, loc, to, a);
    return arith::TruncIOp::create(builder, loc, to, a);
  }
  return {};
}

void Raiser::raiseElementwise() {
  forEachNode([&](OnnxNodeOp op) {
    if (op->getNumResults() != 1 || op.getNumOperands() == 0 ||
        !op.hasStandardDomain())
      return;
    Value result = op.getResult(0);
    const Shape *shape = analysis.getShape(result);
    auto type = dyn_cast<RankedTensorType>(result.getType());
    if (!shape || !type)
      return;
    // Equal types do not make equal shapes where sizes are unknown.
    for (Value v : op.getInputs()) {
      const Shape *s =
          isa<AbsentType>(v.getType()) ? nullptr : analysis.getShape(v);
      if (!s || *s != *shape ||
          cast<ShapedType>(v.getType()).getShape() != type.getShape())
        return;
    }
    builder.setInsertionPoint(op);
    Location loc = op.getLoc();
    Value a = getInput(op, 0), value;
    bool isFloat = isa<FloatType>(type.getElementType());
    if (isNode(op, "Add"))
      value = makeBinary<arith::AddFOp, arith::AddIOp>(builder, op);
    else if (isNode(op, "Sub"))
      value = makeBinary<arith::SubFOp, arith::SubIOp>(builder, op);
    else if (isNode(op, "Mul"))
      value = makeBinary<arith::MulFOp, arith::MulIOp>(builder, op);
    else if (isNode(op, "Div") && isFloat)
      value = arith::DivFOp::create(builder, loc, a, getInput(op, 1));
    else if (isNode(op, "Neg") && isFloat)
      value = arith::NegFOp::create(builder, loc, a);
    else if (isNode(op, "Cos"))
      value = math::CosOp::create(builder, loc, a);
    else if (isNode(op, "Sin"))
      value = math::SinOp::create(builder, loc, a);
    else if (isNode(op, "Tanh"))
      value = math::TanhOp::create(builder, loc, a);
    else if (isNode(op, "Exp"))
      value = math::ExpOp::create(builder, loc, a);
    else if (isNode(op, "Sqrt"))
      value = math::SqrtOp::create(builder, loc, a);
    else if (isNode(op, "Cast"))
      value = makeCast(builder, op);
    if (value && value.getType() == result.getType())
      replace(result, value);
  });
}
