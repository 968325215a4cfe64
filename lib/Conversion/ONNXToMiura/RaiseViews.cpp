//===- RaiseViews.cpp - What chains of views are --------------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Reshape, Transpose, Expand and their like move no number. What a chain of
/// them does is read off the indices with which its last value reads its first:
/// heads split off or merged, a change of rank, or nothing.
///
//===----------------------------------------------------------------------===//

#include "Raiser.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace miura;
using namespace miura::symbolic;

/// Runs of the longer shape's dimensions for each dimension of the shorter one.
static std::optional<SmallVector<ReassociationIndices>>
getRuns(Context &context, ArrayRef<Expr> wide, ArrayRef<Expr> narrow) {
  SmallVector<ReassociationIndices> runs;
  size_t next = 0;
  for (size_t i = 0; i < narrow.size(); ++i) {
    ReassociationIndices run;
    Expr product = context.integer(1);
    // Every run has at least one dimension.
    do {
      if (next == wide.size())
        return std::nullopt;
      product = context.mul(product, wide[next]);
      run.push_back(next++);
    } while (product != narrow[i]);
    // Ones behind belong here if what follows does not want them.
    while (next < wide.size() && isConstant(wide[next], 1) &&
           (i + 1 == narrow.size() || !isConstant(narrow[i + 1], 1)))
      run.push_back(next++);
    runs.push_back(std::move(run));
  }
  if (next == wide.size())
    return runs;
  return std::nullopt;
}

OpFoldResult Raiser::makeSize(Expr size, Operation *before) {
  if (std::optional<int64_t> k = getInteger(size))
    return builder.getIndexAttr(*k);
  if (!tokensArgument) {
    BlockArgument tokens;
    findVocabulary(tokens);
    tokensArgument = tokens;
  }
  // Sizes of other arguments are not those of a session's.
  const Shape *shape =
      *tokensArgument ? analysis.getShape(*tokensArgument) : nullptr;
  if (!shape)
    return {};
  for (auto [d, e] : llvm::enumerate(*shape))
    if (e == size)
      return tensor::getMixedSize(builder, before->getLoc(), *tokensArgument,
                                  d);
  // A sum of products of them.
  if (size->kind != Kind::Poly || size->isFloat)
    return {};
  Location loc = before->getLoc();
  Value sum;
  for (const Term &t : size->terms) {
    Value product =
        arith::ConstantIndexOp::create(builder, loc, int64_t(t.coefficient));
    for (Expr atom : t.atoms) {
      auto dim = llvm::find_if(*shape, [&](Expr e) {
        return getScaledAtom(e) == std::pair<double, Expr>{1, atom};
      });
      if (dim == shape->end())
        return {};
      OpFoldResult factor = tensor::getMixedSize(builder, loc, *tokensArgument,
                                                 dim - shape->begin());
      product = arith::MulIOp::create(
          builder, loc, product,
          getValueOrCreateConstantIndexOp(builder, loc, factor));
    }
    sum = sum ? arith::AddIOp::create(builder, loc, sum, product).getResult()
              : product;
  }
  return sum;
}

Value Raiser::makeSizes(Value value, Operation *before) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  if (!type || !type.hasStaticShape() || type.getRank() > 1 ||
      !type.getElementType().isSignlessInteger(64))
    return {};
  if (value.getDefiningOp<arith::ConstantOp>())
    return {};
  std::optional<Shape> sizes = analysis.getElements(value);
  if (!sizes || sizes->empty())
    return {};
  builder.setInsertionPoint(before);
  if (llvm::all_of(*sizes, [](Expr e) { return getInteger(e).has_value(); })) {
    SmallVector<int64_t> numbers;
    for (Expr size : *sizes)
      numbers.push_back(*getInteger(size));
    return arith::ConstantOp::create(
        builder, before->getLoc(),
        DenseElementsAttr::get(type, ArrayRef<int64_t>(numbers)));
  }
  SmallVector<Value> values;
  for (Expr size : *sizes) {
    OpFoldResult known = makeSize(size, before);
    if (!known)
      return {};
    Value index =
        getValueOrCreateConstantIndexOp(builder, before->getLoc(), known);
    values.push_back(arith::IndexCastOp::create(builder, before->getLoc(),
                                                type.getElementType(), index));
  }
  return tensor::FromElementsOp::create(builder, before->getLoc(), type,
                                        values);
}

Value Raiser::makeReshape(Value value, const Shape &shape, Operation *before) {
  const Shape *found = analysis.getShape(value);
  if (!found)
    return {};
  Shape from = *found;
  if (from == shape)
    return value;
  Type element = getElementTypeOrSelf(value.getType());
  RankedTensorType to = getType(shape, element);
  builder.setInsertionPoint(before);
  Location loc = before->getLoc();
  Value result;
  if (from.size() > shape.size()) {
    auto runs = getRuns(context, from, shape);
    if (!runs)
      return {};
    result = tensor::CollapseShapeOp::create(builder, loc, to, value, *runs);
  } else if (from.size() < shape.size()) {
    auto runs = getRuns(context, shape, from);
    if (!runs)
      return {};
    // One unknown size per run can be told from the operand's.
    bool many = false;
    for (const ReassociationIndices &run : *runs)
      many |= llvm::count_if(run,
                             [&](int64_t d) { return to.isDynamicDim(d); }) > 1;
    if (many) {
      SmallVector<OpFoldResult> sizes;
      for (const auto &[i, run] : llvm::enumerate(*runs))
        for (int64_t d : run) {
          OpFoldResult size = run.size() == 1
                                  ? tensor::getMixedSize(builder, loc, value, i)
                                  : makeSize(shape[d], before);
          if (!size)
            return {};
          sizes.push_back(size);
        }
      result =
          tensor::ExpandShapeOp::create(builder, loc, to, value, *runs, sizes);
    } else {
      result = tensor::ExpandShapeOp::create(builder, loc, to, value, *runs);
    }
  } else {
    return {};
  }
  analysis.setShape(result, shape);
  return result;
}

Value Raiser::makeSplitHeads(Value flat, int64_t heads, Operation *before) {
  Value &cached = splits[{flat, heads}];
  if (cached && (!isa_and_nonnull<OnnxNodeOp>(before) ||
                 cached.getDefiningOp()->isBeforeInBlock(before)))
    return cached;
  const Shape *found = analysis.getShape(flat);
  std::optional<int64_t> width = getInteger(found->back());
  if (!width || *width % heads != 0)
    return {};
  Shape shape{(*found)[0], context.integer(heads), (*found)[1],
              context.integer(*width / heads)};
  builder.setInsertionPoint(before);
  Value split = SplitHeadsOp::create(
      builder, before->getLoc(),
      getType(shape, getElementTypeOrSelf(flat.getType())), flat);
  analysis.setShape(split, shape);
  return splits[{flat, heads}] = split;
}

Value Raiser::makeMergeHeads(Value split, Operation *before) {
  const Shape *found = analysis.getShape(split);
  Shape shape{(*found)[0], (*found)[2], context.mul((*found)[1], (*found)[3])};
  builder.setInsertionPoint(before);
  Value merged = MergeHeadsOp::create(
      builder, before->getLoc(),
      getType(shape, getElementTypeOrSelf(split.getType())), split);
  analysis.setShape(merged, shape);
  return merged;
}

Value Raiser::getHeads(Value tensor, ArrayRef<Expr> indices,
                       const HeadAxes &axes, Operation *before) {
  const Shape *found = analysis.getShape(tensor);
  if (!found)
    return {};
  Shape shape = *found;
  Expr heads = context.integer(axes.heads);
  Expr size = context.integer(axes.headSize);
  if (indices.size() == 4 && indices[0] == axes.batch &&
      indices[3] == axes.size && shape[3] == size) {
    if (indices[1] == axes.head && indices[2] == axes.sequence &&
        shape[1] == heads)
      return tensor;
    if (indices[2] == axes.head && indices[1] == axes.sequence &&
        shape[2] == heads) {
      Value flat = makeReshape(
          tensor, {shape[0], shape[1], context.mul(heads, size)}, before);
      return flat ? makeSplitHeads(flat, axes.heads, before) : Value();
    }
  }
  if (indices.size() == 4 && indices[0] == axes.batch &&
      indices[1] == axes.sequence && getInteger(shape[3])) {
    // A part of every head's entries.
    Expr width = context.mul(shape[2], shape[3]);
    Value flat = makeReshape(tensor, {shape[0], shape[1], width}, before);
    Expr column = context.add(context.mul(indices[2], shape[3]), indices[3]);
    return flat ? getHeads(flat, {indices[0], indices[1], column}, axes, before)
                : Value();
  }
  if (indices.size() != 3 || indices[0] != axes.batch ||
      indices[1] != axes.sequence)
    return {};
  std::optional<int64_t> width = getInteger(shape[2]);
  if (!width)
    return {};
  // Heads side by side or at equal distances, perhaps among others (q, k and v
  // in one product): stride · head + start + d.
  Expr rest = context.sub(indices[2], axes.size);
  // Blocks of heads side by side, with others behind each block.
  for (const Term &t : rest->terms) {
    Expr block = t.atoms.size() == 1 ? t.atoms[0] : nullptr;
    std::optional<int64_t> group = block && block->kind == Kind::FloorDiv &&
                                           block->operands[0] == axes.head
                                       ? getInteger(block->operands[1])
                                       : std::nullopt;
    if (!group || axes.heads % *group != 0 || block == axes.head)
      continue;
    int64_t blocks = axes.heads / *group, inside = *group * axes.headSize;
    std::optional<int64_t> start = getInteger(context.sub(
        rest, context.add(context.scale(axes.head, double(axes.headSize)),
                          context.scale(block, t.coefficient))));
    int64_t distance = inside + int64_t(t.coefficient);
    if (!start || *start < 0 || *start + inside > distance ||
        distance * blocks != *width)
      return {};
    Value split = makeReshape(tensor,
                              {shape[0], shape[1], context.integer(blocks),
                               context.integer(distance)},
                              before);
    if (!split)
      return {};
    // As heads of the size of a block's part.
    Expr blockIndex = context.index("block", context.integer(blocks)),
         place = context.index("place", context.integer(inside));
    Value parts = getHeads(
        split,
        {axes.batch, axes.sequence, blockIndex,
         context.add(place, context.integer(*start))},
        {axes.batch, blockIndex, axes.sequence, place, blocks, inside}, before);
    if (!parts)
      return {};
    return makeSplitHeads(makeMergeHeads(parts, before), axes.heads, before);
  }
  int64_t start = 0, stride = axes.headSize;
  if (axes.heads > 1) {
    Expr headAtom = getScaledAtom(axes.head).second;
    double coefficient = 0;
    for (const Term &t : rest->terms)
      if (t.atoms.size() == 1 && t.atoms[0] == headAtom)
        coefficient = t.coefficient;
    rest = context.sub(rest, context.scale(axes.head, coefficient));
    stride = int64_t(coefficient);
  }
  std::optional<int64_t> first = getInteger(rest);
  if (!first || *first < 0 || stride < axes.headSize)
    return {};
  start = *first;
  int64_t all = axes.heads * axes.headSize;
  builder.setInsertionPoint(before);
  Location loc = before->getLoc();
  Type element = getElementTypeOrSelf(tensor.getType());
  auto cut = [&](int64_t dim, int64_t at, int64_t count) {
    if (getInteger(shape[dim]) == count)
      return;
    SmallVector<OpFoldResult> offsets(shape.size(), builder.getIndexAttr(0)),
        strides(shape.size(), builder.getIndexAttr(1)),
        sizes = tensor::getMixedSizes(builder, loc, tensor);
    offsets[dim] = builder.getIndexAttr(at);
    sizes[dim] = builder.getIndexAttr(count);
    shape[dim] = context.integer(count);
    tensor = tensor::ExtractSliceOp::create(
        builder, loc, getType(shape, element), tensor, offsets, sizes, strides);
    analysis.setShape(tensor, shape);
  };
  if (stride == axes.headSize) {
    if (start + all > *width)
      return {};
    cut(2, start, all);
    return makeSplitHeads(tensor, axes.heads, before);
  }
  // batch × sequence × heads × stride, of which a head is a part.
  int64_t inside = start % stride;
  if (inside + axes.headSize > stride || start != inside ||
      *width != stride * axes.heads)
    return {};
  tensor = makeReshape(
      tensor, {shape[0], shape[1], heads, context.integer(stride)}, before);
  if (!tensor)
    return {};
  builder.setInsertionPoint(before);
  shape = *analysis.getShape(tensor);
  cut(3, inside, axes.headSize);
  tensor =
      makeReshape(tensor, {shape[0], shape[1], context.integer(all)}, before);
  return tensor ? makeSplitHeads(tensor, axes.heads, before) : Value();
}

void Raiser::raiseView(Operation *op) {
  Value value = op->getNumResults() == 1 ? op->getResult(0) : Value();
  const Shape *found = value ? analysis.getShape(value) : nullptr;
  if (!found)
    return;
  auto node = dyn_cast<OnnxNodeOp>(op);
  Shape shape = *found;
  Indices own = analysis.makeIndices(value, "v"), indices = own;
  // The deepest value of the chain that explains this one.
  Value best;
  for (Value next = value; (next = analysis.stepThroughView(next, indices));) {
    Shape from = *analysis.getShape(next);
    if (next.getType() == value.getType() && indices == own) {
      best = next;
      continue;
    }
    if (shape.size() == 3 && from.size() == 4 && getInteger(from[3]) &&
        getInteger(from[1])) {
      Expr head = context.floorDiv(own[2], from[3]);
      if (indices == Indices{own[0], head, own[1],
                             context.sub(own[2], context.mul(head, from[3]))} &&
          shape[2] == context.mul(from[1], from[3]))
        best = makeMergeHeads(next, op);
    }
    if (shape.size() == 4 && from.size() == 3 && getInteger(shape[1]) &&
        getInteger(shape[3]) &&
        indices ==
            Indices{own[0], own[2],
                    context.add(context.mul(own[1], shape[3]), own[3])} &&
        from[2] == context.mul(shape[1], shape[3]))
      best = makeSplitHeads(next, *getInteger(shape[1]), op);
  }
  // A lone change of rank.
  if (!best && node && !isNode(node, "Transpose") && !isNode(node, "Expand")) {
    indices = own;
    if (Value source = analysis.stepThroughView(value, indices))
      best = makeReshape(source, shape, op);
  }
  if (best && best.getType() == value.getType())
    replace(value, best);
}

void Raiser::raiseViews() {
  forEachNode([&](OnnxNodeOp op) { raiseView(op); });
  // Linears that keep their rows read through views of raising's own.
  SmallVector<Operation *> views;
  func.walk([&](tensor::CollapseShapeOp op) { views.push_back(op); });
  for (Operation *op : views)
    raiseView(op);
}

void Raiser::raiseSizes() {
  forEachNode([&](OnnxNodeOp op) {
    foldPlaces(op);
    // A size that a node is told may come a long way.
    for (auto [type, operand] :
         std::initializer_list<std::pair<StringRef, unsigned>>{
             {"Range", 0},
             {"Range", 1},
             {"TopK", 1},
             {"Expand", 1},
             {"Tile", 1},
             {"ConstantOfShape", 0}})
      if (isNode(op, type))
        if (Value size = makeSizes(getInput(op, operand), op))
          op.setOperand(operand, size);
    Value source = isNode(op, "Shape") ? getInput(op, 0) : Value();
    if (!source || (tokensArgument && source == *tokensArgument))
      return;
    if (Value sizes = makeSizes(op.getResult(0), op))
      replace(op.getResult(0), sizes);
  });
}
