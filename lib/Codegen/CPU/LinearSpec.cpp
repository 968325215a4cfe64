//===- LinearSpec.cpp - What a linear kernel computes ---------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Reads a kernel's region: the linear is pushed through its expression with
/// WeightExpression::applyTo until only leaves remain, and what came out must
/// be a sum of leaf · x and left · (right · x). No op of an expression is
/// named.
///
//===----------------------------------------------------------------------===//

#include "miura/Codegen/CPU/Kernels.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/IRMapping.h"

using namespace mlir;
using namespace miura;
using namespace miura::codegen;

Value miura::codegen::expandLinear(OpBuilder &builder, Value x, Value weight,
                                   ComputeAttr compute) {
  auto recurse = [&](Value x, Value weight) {
    return expandLinear(builder, x, weight, compute);
  };
  if (auto expression = weight.getDefiningOp<WeightExpression>())
    if (Value result = expression.applyTo(builder, x, recurse))
      return result;
  auto xType = cast<RankedTensorType>(x.getType());
  SmallVector<int64_t> shape(xType.getShape());
  // Of a batch, rows of each matrix.
  shape.back() =
      cast<RankedTensorType>(weight.getType()).getShape().take_back(2)[0];
  return LinearOp::create(builder, weight.getLoc(), xType.clone(shape), x,
                          weight,
                          /*bias=*/Value(), builder.getStringAttr(""), compute);
}

std::optional<SmallVector<TermWeights>>
miura::codegen::getTerms(Value sum, Value x, std::string *reason) {
  SmallVector<TermWeights> terms;
  std::function<bool(Value)> collect = [&](Value value) {
    if (auto add = value.getDefiningOp<arith::AddFOp>())
      return collect(add.getLhs()) && collect(add.getRhs());
    auto leaf = value.getDefiningOp<LinearOp>();
    if (!leaf) {
      *reason = "its expression is not a sum of leaves and products";
      return false;
    }
    TermWeights term{leaf.getWeight(), Value()};
    if (leaf.getInput() != x) {
      auto right = leaf.getInput().getDefiningOp<LinearOp>();
      if (!right || right.getInput() != x) {
        *reason = "its expression is not a sum of leaves and products of two";
        return false;
      }
      term.right = right.getWeight();
    }
    terms.push_back(term);
    return true;
  };
  if (!collect(sum))
    return std::nullopt;
  return terms;
}

std::unique_ptr<LinearSpec> miura::codegen::analyzeLinear(KernelOp kernel,
                                                          std::string *reason) {
  auto decline = [&](const Twine &why) {
    if (reason)
      *reason = why.str();
    return nullptr;
  };
  auto spec = std::make_unique<LinearSpec>();
  spec->owner = std::make_shared<Region>();
  IRMapping mapping;
  kernel.getBody().cloneInto(spec->owner.get(), mapping);
  Block &block = spec->owner->front();
  auto argument = [&](Value value) {
    auto arg = dyn_cast_or_null<BlockArgument>(value);
    return arg ? (int)arg.getArgNumber() : -1;
  };

  auto yield = cast<KernelYieldOp>(block.back());
  if (yield.getValues().size() != 1)
    return decline("it has more than one result");
  Value root = yield.getValues()[0];
  if (auto add = root.getDefiningOp<arith::AddFOp>()) {
    bool left = argument(add.getLhs()) >= 0;
    spec->residual = argument(left ? add.getLhs() : add.getRhs());
    root = left ? add.getRhs() : add.getLhs();
    if (spec->residual < 0)
      return decline("its sum has no operand of the kernel");
  }
  Value input, weight, bias;
  auto read = [&](auto linear) {
    spec->compute = linear.getCompute();
    input = linear.getInput();
    weight = linear.getWeight();
    bias = linear.getBias();
  };
  if (auto linear = root.getDefiningOp<LinearOp>()) {
    read(linear);
  } else if (auto linear = root.getDefiningOp<ExpertLinearOp>()) {
    read(linear);
    spec->experts = argument(linear.getExperts());
    if (spec->experts < 0)
      return decline("the experts are computed in the kernel");
  } else {
    return decline("its root is not a linear");
  }
  bool isBatched = spec->experts >= 0;
  spec->x = argument(input);
  if (spec->x < 0)
    return decline("the linear's input is computed in the kernel");
  if (bias) {
    spec->bias = argument(bias);
    if (spec->bias < 0)
      return decline("the bias is computed in the kernel");
  }
  Type activation = spec->compute.getActivation();
  if (!spec->compute.getAccumulator().isF32() ||
      !(activation.isF32() || activation.isInteger(8)))
    return decline("activations enter neither as f32 nor as i8 or sums are "
                   "not f32");
  if (spec->compute.getBlock() != 0)
    return decline("activations have a scale per block");
  auto isF32 = [&](int position) {
    return position < 0 ||
           getElementTypeOrSelf(block.getArgument(position).getType()).isF32();
  };
  if (!isF32(spec->x) || !isF32(spec->bias) || !isF32(spec->residual) ||
      !getElementTypeOrSelf(root.getType()).isF32())
    return decline("activations are not f32");

  OpBuilder builder(root.getDefiningOp());
  Value sum = expandLinear(builder, input, weight, spec->compute);
  std::string why;
  auto addLeaf = [&](Value weight, bool right, bool isFactor) -> int {
    std::shared_ptr<PanelLeaf> panel = getPanelLeaf(weight, isBatched);
    if (!panel) {
      why = "no panel decodes ";
      if (Operation *op = weight.getDefiningOp())
        why += op->getName().getStringRef();
      else
        why += "a weight of this type";
      return -1;
    }
    // Matrices of a batch are found by their size, and factors by their
    // columns.
    if (isFactor || isBatched)
      if (auto unindexed = panel->getUnindexed())
        panel = unindexed;
    LinearLeaf leaf{panel, right ? panel->getNarrowGroups() : 4u, {}};
    for (Value operand : panel->getOperands())
      leaf.arguments.push_back(argument(operand));
    spec->leaves.push_back(std::move(leaf));
    return spec->leaves.size() - 1;
  };
  std::optional<SmallVector<TermWeights>> terms = getTerms(sum, input, &why);
  if (!terms)
    return decline(why);
  for (const TermWeights &weights : *terms) {
    LinearTerm term;
    int leaf = addLeaf(weights.leaf, /*right=*/false, (bool)weights.right);
    if (leaf < 0)
      return decline(why);
    term.leaf = leaf;
    if (weights.right) {
      term.right = addLeaf(weights.right, /*right=*/true, /*isFactor=*/true);
      if (term.right < 0)
        return decline(why);
    }
    spec->terms.push_back(term);
  }
  return spec;
}

FunctionType miura::codegen::getLinearKernelType(MLIRContext *context,
                                                 const LinearSpec &spec) {
  Builder b(context);
  int64_t dynamic = ShapedType::kDynamic;
  auto rows =
      MemRefType::get({dynamic, dynamic}, b.getF32Type(),
                      StridedLayoutAttr::get(context, dynamic, {dynamic, 1}));
  auto bytes = MemRefType::get({dynamic}, b.getI8Type());
  SmallVector<Type> inputs{rows};
  inputs.append(spec.leaves.size(), bytes);
  bool isBatched = spec.experts >= 0;
  if (spec.bias >= 0)
    inputs.push_back(MemRefType::get(
        SmallVector<int64_t>(isBatched ? 2 : 1, dynamic), b.getF32Type()));
  if (spec.residual >= 0)
    inputs.push_back(rows);
  if (isBatched) {
    Type experts = spec.owner->getArgument(spec.experts).getType();
    inputs.push_back(MemRefType::get({dynamic}, getElementTypeOrSelf(experts)));
    inputs.push_back(b.getIndexType());
  }
  inputs.push_back(rows);
  inputs.push_back(bytes);
  inputs.append(3, b.getIndexType());
  return FunctionType::get(context, inputs, {});
}

void miura::codegen::setLeafShapes(const LinearSpec &spec, int64_t outputs,
                                   int64_t columns) {
  for (const LinearTerm &term : spec.terms) {
    bool isProduct = term.right >= 0;
    spec.leaves[term.leaf].panel->setShape(outputs, isProduct ? 0 : columns);
    if (isProduct)
      spec.leaves[term.right].panel->setShape(0, columns);
  }
}
