//===- RaiseLinears.cpp - Products and look-ups of stored matrices --------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// MatMul and Gemm with a stored right operand are linears; their weight is
/// stored in × out or out × in, and the former is read through miura.transpose,
/// so that no byte moves. Gather of rows of a stored matrix is an embedding.
///
//===----------------------------------------------------------------------===//

#include "Raiser.h"
#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;
using namespace miura;
using namespace miura::symbolic;

Value Raiser::getLinearWeight(Value value, bool outIn, Value &root) {
  // Views of the stored matrix cancel or add up.
  Type type = getElementTypeOrSelf(value.getType());
  Value expression;
  while (auto op = value.getDefiningOp<OnnxNodeOp>()) {
    expression = getDequantized(value, root);
    if (expression)
      break;
    if (isNode(op, "Transpose")) {
      std::optional<SmallVector<int64_t>> perm = getInts(op, "perm");
      if (perm && *perm != SmallVector<int64_t>{1, 0})
        return {};
      outIn = !outIn;
    } else if (isNode(op, "Cast")) {
      if (!isa<FloatType>(getElementTypeOrSelf(getInput(op, 0).getType())))
        return {};
    } else {
      return {};
    }
    value = getInput(op, 0);
  }
  if (!expression) {
    if (!isStored(value))
      return {};
    root = value;
  } else {
    value = expression;
  }
  auto tensor = dyn_cast<RankedTensorType>(value.getType());
  if (!tensor || tensor.getRank() != 2 ||
      !isa<FloatType>(tensor.getElementType()))
    return {};
  Location loc = value.getLoc();
  if (!outIn) {
    tensor = RankedTensorType::get({tensor.getDimSize(1), tensor.getDimSize(0)},
                                   tensor.getElementType());
    value = TransposeOp::create(builder, loc, tensor, value);
  }
  if (tensor.getElementType() != type)
    value = ConvertOp::create(builder, loc, tensor.clone(type), value);
  return value;
}

bool Raiser::raiseProduct(OnnxNodeOp op) {
  bool isGemm = isNode(op, "Gemm");
  if (!isGemm && !isNode(op, "MatMul"))
    return false;
  Value x = getInput(op, 0), result = op.getResult(0);
  const Shape *shape = analysis.getShape(x);
  const Shape *resultShape = analysis.getShape(result);
  if (!shape || !resultShape || shape->size() < 2 ||
      !isa<FloatType>(getElementTypeOrSelf(x.getType())))
    return false;
  if (isGemm && (getInt(op, "transA", 0) || getFloat(op, "alpha", 1) != 1 ||
                 getFloat(op, "beta", 1) != 1))
    return false;
  builder.setInsertionPoint(op);
  Value root;
  Value weight =
      getLinearWeight(getInput(op, 1), isGemm && getInt(op, "transB", 0), root);
  if (!weight)
    return false;
  Value bias = isGemm ? getInput(op, 2) : Value();
  if (bias) {
    bias = isStored(bias) ? getVector(bias, resultShape->back()) : Value();
    if (!bias)
      return false;
  }
  replaceByLinear(op, x, weight, root, bias,
                  ComputeAttr::get(op.getContext(),
                                   getElementTypeOrSelf(result.getType()),
                                   builder.getF32Type(), 0));
  return true;
}

void Raiser::replaceByLinear(OnnxNodeOp op, Value x, Value weight, Value root,
                             Value bias, ComputeAttr compute) {
  Value result = op.getResult(0);
  const Shape *shape = analysis.getShape(x);
  const Shape *resultShape = analysis.getShape(result);
  // Rows that were flattened for the product keep their own dimensions: the
  // result is flattened instead.
  Indices indices = analysis.makeIndices(x, "x");
  Expr column = indices.back(), size = shape->back();
  Value source = x;
  for (Value next = x; (next = analysis.stepThroughView(next, indices));) {
    const Shape *s = analysis.getShape(next);
    if (s->empty() || s->back() != size || indices.back() != column)
      break;
    // Only a change of rank, no transposition.
    Indices check = indices;
    if (s->size() == 3 && shape->size() == 2 && makeReshape(next, *shape, op))
      source = next;
  }
  // So do rows of heads that were flattened with them.
  if (OnnxNodeOp view = getNode(x, "Reshape"); source == x && view) {
    const Shape *s = analysis.getShape(getInput(view, 0));
    if (s && s->size() == 4 && shape->size() == 2 &&
        (*shape)[0] == context.mul((*s)[0], (*s)[1]) &&
        size == context.mul((*s)[2], (*s)[3]))
      if (Value rows =
              makeReshape(getInput(view, 0), {(*s)[0], (*s)[1], size}, op))
        source = rows;
  }
  Shape wide = *analysis.getShape(source);
  wide.back() = resultShape->back();
  Type element = getElementTypeOrSelf(result.getType());
  auto linear =
      LinearOp::create(builder, op.getLoc(), getType(wide, element), source,
                       weight, bias, makeId(root, op), compute);
  analysis.setShape(linear, wide);
  Value value = linear;
  if (source != x)
    value = makeReshape(linear, *resultShape, op);
  // A result whose sizes are not known to be those of x.
  if (!value) {
    linear.getInputMutable().assign(x);
    linear.getResult().setType(getType(*resultShape, element));
    analysis.setShape(linear, *resultShape);
    value = linear;
  }
  replace(result, value);
}

Value Raiser::addVector(Value x, Value vector, Operation *before) {
  // Only a linear takes one along.
  auto linear = x.getDefiningOp<LinearOp>();
  if (!linear || linear.getBias() || !isStored(vector))
    return {};
  for (Operation *user : linear->getUsers())
    if (user != before && (!isa<OnnxNodeOp>(user) || !user->use_empty()))
      return {};
  builder.setInsertionPoint(before);
  vector = getVector(vector, analysis.getShape(linear)->back());
  if (!vector)
    return {};
  auto fused = LinearOp::create(builder, linear.getLoc(), linear.getType(),
                                linear.getInput(), linear.getWeight(), vector,
                                linear.getIdAttr(), linear.getComputeAttr());
  analysis.setShape(fused, *analysis.getShape(linear));
  return fused;
}

void Raiser::foldBias(OnnxNodeOp add) {
  if (!isNode(add, "Add"))
    return;
  for (Value a : add.getInputs()) {
    // Through the flattening that raiseProduct left.
    auto linear = a.getDefiningOp<LinearOp>();
    Value bias = getOther(add, a);
    if (!linear || getOnlyUser(a) != add || !isStored(bias) ||
        linear.getResult().getType() != add.getResult(0).getType())
      continue;
    builder.setInsertionPoint(add);
    bias = getVector(bias, analysis.getShape(linear)->back());
    if (!bias)
      continue;
    // A product that has a bias of its own takes the sum, if it is a constant.
    if (Value own = linear.getBias()) {
      if (own.getType() != bias.getType())
        continue;
      bias = builder.createOrFold<arith::AddFOp>(linear.getLoc(), own, bias);
      if (!isStored(bias)) {
        bias.getDefiningOp()->erase();
        continue;
      }
    }
    auto fused =
        LinearOp::create(builder, linear.getLoc(), linear.getResult().getType(),
                         linear.getInput(), linear.getWeight(), bias,
                         linear.getIdAttr(), linear.getComputeAttr());
    replace(add.getResult(0), fused);
    return;
  }
}

/// Whether the model computes indices, as it does those of experts: what they
/// take is no look-up of tokens or positions.
static bool isChosen(Value indices) {
  bool result = false;
  walkElementSources(indices, [&](Value source) {
    result |= isa<FloatType>(getElementTypeOrSelf(source.getType()));
  });
  return result;
}

Value Raiser::getRowIndices(OnnxNodeOp op) {
  Value indices = getInput(op, 1);
  const Shape *found = analysis.getShape(indices);
  if (isNode(op, "Gather") && getInt(op, "axis", 0) == 0)
    return indices;
  // Tuples of one index each.
  if (!isNode(op, "GatherND") || getInt(op, "batch_dims", 0) != 0 || !found ||
      found->size() < 2 || !isConstant(found->back(), 1))
    return {};
  if (isChosen(indices))
    return {};
  Shape shape(found->begin(), found->end() - 1);
  Indices at = analysis.makeIndices(indices, "g");
  Indices own(at.begin(), at.end() - 1);
  Value source = analysis.stepThroughView(indices, at);
  if (source && at == own && *analysis.getShape(source) == shape)
    return source;
  return makeReshape(indices, shape, op);
}

bool Raiser::raiseEmbedding(OnnxNodeOp op) {
  if (!isNode(op, "Gather") && !isNode(op, "GatherND"))
    return false;
  builder.setInsertionPoint(op);
  Value root;
  Value data = getInput(op, 0);
  if (!analysis.getShape(data) || analysis.getShape(data)->size() != 2)
    return false;
  Value indices = getRowIndices(op);
  if (!indices || !analysis.getShape(indices) ||
      analysis.getShape(indices)->empty())
    return false;
  builder.setInsertionPoint(op);
  Value weight = getLinearWeight(data, /*outIn=*/true, root);
  if (!weight)
    return false;
  replace(op.getResult(0),
          EmbeddingOp::create(builder, op.getLoc(), op.getResult(0).getType(),
                              indices, weight, makeId(root, op)));
  return true;
}

bool Raiser::raiseGatheredRows(OnnxNodeOp op) {
  if (!isNode(op, "GatherElements"))
    return false;
  Value data = getInput(op, 0), places = getInput(op, 1);
  const Shape *found = analysis.getShape(data);
  const Shape *wanted = analysis.getShape(places);
  int64_t axis = getInt(op, "axis", 0);
  if (!found || !wanted || found->size() != 3 || wanted->size() != 3 ||
      (axis != 1 && axis != -2) || found->back() != wanted->back())
    return false;
  // Rows of a stored table, whatever repeats it for the batch …
  Indices at = analysis.makeIndices(data, "d");
  Expr element = analysis.getElement(data, at);
  if (!element)
    return false;
  auto [factor, atom] = getScaledAtom(element);
  if (!atom || factor != 1 || atom->kind != Kind::Element ||
      !isStored(atom->tensor) || atom->operands.size() < 2 ||
      atom->operands.back() != at[2] ||
      atom->operands[atom->operands.size() - 2] != at[1])
    return false;
  auto type = cast<RankedTensorType>(atom->tensor.getType());
  if (!isa<FloatType>(type.getElementType()) ||
      type.getElementType() != getElementTypeOrSelf(data.getType()) ||
      type.getNumElements() !=
          type.getShape().back() * type.getDimSize(type.getRank() - 2))
    return false;
  // … by indices that are the same for all columns.
  Indices own = analysis.makeIndices(places, "p");
  Value rows = places;
  Indices place = own;
  while ((rows = analysis.stepThroughView(rows, place)))
    if (place.size() == 2 && place[0] == own[0] && place[1] == own[1])
      break;
  if (!rows || isChosen(rows))
    return false;
  builder.setInsertionPoint(op);
  Value table = stored.view(atom->tensor,
                            RankedTensorType::get(type.getShape().take_back(2),
                                                  type.getElementType()));
  replace(op.getResult(0),
          EmbeddingOp::create(builder, op.getLoc(), op.getResult(0).getType(),
                              rows, table, makeId(atom->tensor, op)));
  return true;
}

void Raiser::raiseLinears() {
  forEachNode([&](OnnxNodeOp op) {
    (void)(raiseProduct(op) || raiseEmbedding(op) || raiseGatheredRows(op) ||
           raiseQuantizedGather(op) || raiseMatMulNBits(op) ||
           raiseMatMulBnb4(op) || raiseGatherBlockQuantized(op) ||
           raiseIntegerProduct(op));
  });
  forEachNode([&](OnnxNodeOp op) { foldBias(op); });
}
