//===- RaisePositions.cpp - Positions that a model computes itself --------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// A model without an input for positions counts them from the sizes of its
/// inputs, once for all rows of the batch. Rows of a session stand at different
/// places, so what is computed from such positions (angles of rotations, rows
/// of a table) is computed anew from `miura.positions`. The rows are laid end
/// to end on the way, as one long sequence: no node between has to change.
///
//===----------------------------------------------------------------------===//

#include "Raiser.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/IRMapping.h"

using namespace mlir;
using namespace miura;
using namespace miura::symbolic;

/// The integer arguments with a sequence that a value's elements come from.
static SmallVector<BlockArgument> getArguments(Value value) {
  SmallVector<BlockArgument> found;
  walkElementSources(value, [&](Value source) {
    auto argument = dyn_cast<BlockArgument>(source);
    auto type = dyn_cast<RankedTensorType>(source.getType());
    if (argument && type && type.getRank() > 0 &&
        isa<IntegerType>(type.getElementType()))
      found.push_back(argument);
  });
  return found;
}

EmbeddingOp Raiser::findVocabulary(BlockArgument &tokens) {
  // The table that an argument indexes and that has as many entries as the
  // model has outputs per token; else the largest.
  llvm::SmallDenseSet<int64_t> outputs;
  for (Value value : func.getBody().front().getTerminator()->getOperands()) {
    auto type = dyn_cast<RankedTensorType>(value.getType());
    if (type && type.getRank() == 3 && isa<FloatType>(type.getElementType()))
      outputs.insert(type.getShape().back());
  }
  EmbeddingOp vocabulary;
  std::pair<bool, int64_t> best;
  func.walk([&](EmbeddingOp op) {
    SmallVector<BlockArgument> arguments = getArguments(op.getIndices());
    if (arguments.size() != 1)
      return;
    int64_t entries = cast<ShapedType>(op.getWeight().getType()).getDimSize(0);
    std::pair<bool, int64_t> rank{outputs.contains(entries), entries};
    if (vocabulary && rank <= best)
      return;
    best = rank;
    vocabulary = op;
    tokens = arguments[0];
  });
  return vocabulary;
}

SmallVector<BlockArgument> Raiser::findPositions(BlockArgument tokens) {
  SmallVector<BlockArgument> found;
  auto add = [&](Value value) {
    for (BlockArgument argument : getArguments(value))
      if (argument != tokens && !llvm::is_contained(found, argument))
        found.push_back(argument);
  };
  func.walk([&](RopeOp op) {
    add(op.getCos());
    add(op.getSin());
  });
  func.walk([&](EmbeddingOp op) {
    // Choices that a model computes (of experts, say) depend on all that it is
    // given.
    bool isComputed = false;
    walkElementSources(op.getIndices(), [&](Value source) {
      isComputed |= isa_and_nonnull<EmbeddingOp>(source.getDefiningOp());
    });
    if (!isComputed)
      add(op.getIndices());
  });
  return found;
}

/// Whether a value counts tokens: its element at the only index that is not 0
/// (`place`, along the tokens' sequence) is that index, or lies behind `past`.
/// `batched` asks for a dimension of the batch before it.
bool Raiser::countsTokens(Value value, const Shape &tokens, bool batched,
                          Value &past) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  if (!type || type.getRank() == 0 || type.getElementType().isInteger(1) ||
      !isa<FloatType, IntegerType>(type.getElementType()) ||
      value.getDefiningOp<arith::ConstantOp>())
    return false;
  const Shape *found = analysis.getShape(value);
  if (!found)
    return false;
  Shape shape = *found;
  std::optional<size_t> place;
  bool hasBatch = false;
  for (size_t i = 0; i < shape.size(); ++i) {
    if (isConstant(shape[i], 1))
      continue;
    if (batched && !hasBatch && !place && shape[i] == tokens[0] && i == 0)
      hasBatch = true;
    else if (!place && shape[i] == tokens[1])
      place = i;
    else
      return false;
  }
  if (!place || hasBatch != batched)
    return false;
  Indices indices = analysis.makeIndices(value, "p");
  Expr element = analysis.getElement(value, indices);
  if (!element->isNumber())
    return false;
  auto convert = [&](Expr e) {
    return element->isFloat ? context.toFloat(e) : e;
  };
  Expr offset = context.sub(element, convert(indices[*place]));
  if (isConstant(offset, 0)) {
    past = {};
    return true;
  }
  for (BlockArgument argument : func.getArguments()) {
    auto cache = dyn_cast<RankedTensorType>(argument.getType());
    if (cache && cache.getRank() == 4 &&
        isa<FloatType>(cache.getElementType()) &&
        convert((*analysis.getShape(argument))[2]) == offset) {
      past = argument;
      return true;
    }
  }
  return false;
}

Value Raiser::getPositions(BlockArgument tokens, Value past) {
  Value &positions = positionsBehind[past];
  if (!positions) {
    OpBuilder::InsertionGuard guard(builder);
    builder.setInsertionPointToStart(&func.getBody().front());
    Shape shape = *analysis.getShape(tokens);
    positions =
        PositionsOp::create(builder, func.getLoc(),
                            getType(shape, builder.getI64Type()), tokens, past);
    analysis.setShape(positions, shape);
  }
  return positions;
}

Value Raiser::countAnew(Value value, BlockArgument tokens, bool batched,
                        DenseMap<Value, Value> &done) {
  if (auto it = done.find(value); it != done.end())
    return it->second;
  done[value] = {};
  Shape sizes = *analysis.getShape(tokens);
  Value past;
  Operation *op = value.getDefiningOp();
  if (countsTokens(value, sizes, batched, past)) {
    Value counted = getPositions(tokens, past);
    builder.setInsertionPointAfter(counted.getDefiningOp());
    Location loc = value.getLoc();
    auto type = cast<RankedTensorType>(value.getType());
    Shape shape = *analysis.getShape(value);
    if (!batched) {
      Shape flat{context.mul(sizes[0], sizes[1])};
      counted = tensor::CollapseShapeOp::create(
          builder, loc, getType(flat, builder.getI64Type()), counted,
          ArrayRef<ReassociationIndices>{{0, 1}});
      analysis.setShape(counted, flat);
      for (Expr &size : shape)
        if (size == sizes[1])
          size = flat[0];
    }
    if (shape.size() != analysis.getShape(counted)->size()) {
      Operation *next = counted.getDefiningOp()->getNextNode();
      counted = makeReshape(counted, shape, next);
      if (!counted)
        return {};
      builder.setInsertionPointAfter(counted.getDefiningOp());
    }
    Type element = type.getElementType();
    Type converted = cast<RankedTensorType>(counted.getType()).clone(element);
    if (isa<FloatType>(element))
      counted = arith::SIToFPOp::create(builder, loc, converted, counted);
    else if (element.getIntOrFloatBitWidth() < 64)
      counted = arith::TruncIOp::create(builder, loc, converted, counted);
    analysis.setShape(counted, shape);
    return done[value] = counted;
  }
  if (!op || op->getNumRegions() > 0 || isa<PositionsOp>(op))
    return {};
  IRMapping mapping;
  bool changed = false;
  for (Value operand : op->getOperands())
    if (Value anew = countAnew(operand, tokens, batched, done)) {
      mapping.map(operand, anew);
      changed = true;
    }
  if (!changed)
    return {};
  builder.setInsertionPointAfter(op);
  // Of several results each gets a node of its own.
  Operation *clone = builder.clone(*op, mapping);
  Value result = clone->getResult(cast<OpResult>(value).getResultNumber());
  // Of the ops that raising has made the analysis is told the shapes.
  if (!isa<OnnxNodeOp>(op))
    if (const Shape *found = analysis.getShape(value)) {
      Shape shape = *found;
      if (!batched)
        for (Expr &size : shape)
          if (size == sizes[1])
            size = context.mul(sizes[0], sizes[1]);
      analysis.setShape(result, shape);
    }
  return done[value] = result;
}

Value Raiser::perRow(Value value, BlockArgument tokens,
                     DenseMap<Value, Value> &flat,
                     DenseMap<Value, Value> &batched) {
  // `value` is batch|1 × sequence × … (or sequence × …); the result is batch ×
  // sequence × ….
  Shape sizes = *analysis.getShape(tokens);
  Shape shape = *analysis.getShape(value);
  if (shape.size() >= 2 && !isConstant(sizes[0], 1) && shape[0] == sizes[0] &&
      shape[1] == sizes[1])
    return countAnew(value, tokens, /*batched=*/true, batched);
  Value anew = countAnew(value, tokens, /*batched=*/false, flat);
  if (!anew)
    return {};
  auto type = cast<RankedTensorType>(anew.getType());
  builder.setInsertionPointAfter(anew.getDefiningOp());
  Location loc = value.getLoc();
  bool hasOne = shape.size() >= 2 && isConstant(shape[0], 1);
  Shape rows(shape.begin() + hasOne, shape.end());
  if (rows.empty() || rows[0] != sizes[1])
    return {};
  rows[0] = context.mul(sizes[0], sizes[1]);
  if (hasOne) {
    SmallVector<ReassociationIndices> runs{{0, 1}};
    for (int64_t i = 2; i < type.getRank(); ++i)
      runs.push_back({i});
    anew = tensor::CollapseShapeOp::create(
        builder, loc, getType(rows, type.getElementType()), anew, runs);
    analysis.setShape(anew, rows);
  }
  Shape wide = sizes;
  wide.append(rows.begin() + 1, rows.end());
  SmallVector<ReassociationIndices> runs{{0, 1}};
  SmallVector<OpFoldResult> dims{tensor::getMixedSize(builder, loc, tokens, 0),
                                 tensor::getMixedSize(builder, loc, tokens, 1)};
  for (size_t i = 1; i < rows.size(); ++i) {
    runs.push_back({int64_t(i) + 1});
    dims.push_back(tensor::getMixedSize(builder, loc, anew, i));
  }
  anew = tensor::ExpandShapeOp::create(
      builder, loc, getType(wide, type.getElementType()), anew, runs, dims);
  analysis.setShape(anew, wide);
  return anew;
}

void Raiser::takeNewPositions(EmbeddingOp op, BlockArgument tokens) {
  // Somewhere on the way a value over all keys is cut to the last ones.
  Shape sizes = *analysis.getShape(tokens);
  SmallVector<Value> cuts;
  bool counts = false;
  walkElementSources(op.getIndices(), [&](Value value) {
    counts |= static_cast<bool>(getNode(value, "CumSum"));
    if (getNode(value, "Slice"))
      cuts.push_back(value);
  });
  if (!counts)
    return;
  auto take = [&](Value all, Operation *before) -> Value {
    builder.setInsertionPoint(before);
    Value part =
        TakeNewOp::create(builder, before->getLoc(),
                          getType({(*analysis.getShape(all))[0], sizes[1]},
                                  getElementTypeOrSelf(all.getType())),
                          all, tokens, Value());
    analysis.setShape(part, {(*analysis.getShape(all))[0], sizes[1]});
    return part;
  };
  for (Value cut : cuts) {
    auto node = cut.getDefiningOp<OnnxNodeOp>();
    Value all = getInput(node, 0);
    const Shape *from = analysis.getShape(all), *to = analysis.getShape(cut);
    if (!from || !to || from->size() != 2 || to->size() != 2 ||
        (*to)[1] != sizes[1] || (*from)[0] != (*to)[0])
      continue;
    Indices at = analysis.makeIndices(cut, "c");
    Expr element = analysis.getElement(cut, at);
    at[1] = context.add(at[1], context.sub((*from)[1], sizes[1]));
    if (element == analysis.getElement(all, at))
      return replace(cut, take(all, node));
  }
  // Without a past all keys are new.
  const Shape *all = analysis.getShape(op.getIndices());
  if (all->size() == 2 && (*all)[1] == sizes[1])
    op.getIndicesMutable().assign(take(op.getIndices(), op));
}

void Raiser::raisePositions() {
  // A table of angles is no embedding.
  func.walk([&](RopeOp rope) {
    SmallVector<EmbeddingOp> tables;
    walkElementSources({rope.getCos(), rope.getSin()}, [&](Value source) {
      if (auto table = source.getDefiningOp<EmbeddingOp>())
        tables.push_back(table);
    });
    for (EmbeddingOp table : tables) {
      builder.setInsertionPoint(table);
      Value rows = TakeRowsOp::create(builder, table.getLoc(), table.getType(),
                                      table.getIndices(), table.getWeight());
      replace(table, rows);
      table.erase();
    }
  });

  BlockArgument tokens;
  EmbeddingOp vocabulary = findVocabulary(tokens);
  const Shape *sizes = vocabulary ? analysis.getShape(tokens) : nullptr;
  if (!sizes || sizes->size() != 2)
    return;
  DenseMap<Value, Value> flat, batched, rows;
  auto getRows = [&](Value value) -> Value {
    auto [it, isNew] = rows.try_emplace(value, Value());
    if (isNew && getArguments(value).empty())
      it->second = perRow(value, tokens, flat, batched);
    return rows.lookup(value);
  };
  SmallVector<RopeOp> ropes;
  func.walk([&](RopeOp op) { ropes.push_back(op); });
  for (RopeOp rope : ropes) {
    Value cos = getRows(rope.getCos()), sin = getRows(rope.getSin());
    if (!cos || !sin)
      continue;
    rope.getCosMutable().assign(cos);
    rope.getSinMutable().assign(sin);
  }
  SmallVector<EmbeddingOp> embeddings;
  func.walk([&](EmbeddingOp op) { embeddings.push_back(op); });
  for (EmbeddingOp op : embeddings) {
    if (op == vocabulary)
      continue;
    takeNewPositions(op, tokens);
    Value indices = getRows(op.getIndices());
    if (!indices)
      continue;
    // The indices may stand before the table.
    builder.setInsertionPoint(op);
    Shape shape = *analysis.getShape(indices);
    shape.push_back(analysis.getShape(op)->back());
    Type element = op.getResult().getType().getElementType();
    auto table =
        EmbeddingOp::create(builder, op.getLoc(), getType(shape, element),
                            indices, op.getWeight(), op.getIdAttr());
    analysis.setShape(table, shape);
    // Sums broadcast over the batch; now there is nothing to broadcast.
    SmallVector<Value> same{op.getResult()};
    Shape one = *analysis.getShape(op);
    one.insert(one.begin(), context.integer(1));
    for (Operation *user : op->getUsers()) {
      const Shape *found = user->getNumResults() == 1
                               ? analysis.getShape(user->getResult(0))
                               : nullptr;
      auto node = dyn_cast<OnnxNodeOp>(user);
      if (found && *found == one &&
          (isNode(node, "Reshape") || isNode(node, "Unsqueeze") ||
           isa<tensor::ExpandShapeOp>(user)))
        same.push_back(user->getResult(0));
    }
    for (Value value : same)
      value.replaceUsesWithIf(table, [](OpOperand &use) {
        return isNode(dyn_cast<OnnxNodeOp>(use.getOwner()), "Add");
      });
  }
}
