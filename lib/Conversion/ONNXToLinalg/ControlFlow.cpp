//===- ControlFlow.cpp - If, Loop and Scan --------------------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Nodes that own subgraphs become scf ops. A subgraph's nodes are copied into
/// the new region as they are and lowered there by the conversion that runs;
/// what crosses its border is cast between the file's types and plain ones.
/// What Loop and Scan collect grows by one slice in each turn, since a body may
/// give slices of a size that only it knows.
///
//===----------------------------------------------------------------------===//

#include "Node.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace miura;
using namespace miura::onnxlower;

namespace {

using B = LinalgBuilder;

Region *findBody(Node &n, StringRef name) {
  auto names = n.op.getRegionNamesAttr();
  for (auto [i, region] : llvm::enumerate(n.op.getBodies()))
    if (names && i < names.size() &&
        cast<StringAttr>(names[i]).getValue() == name)
      return &region;
  return nullptr;
}

Value castTo(OpBuilder &b, Location loc, Value value, Type type) {
  if (value.getType() == type)
    return value;
  return UnrealizedConversionCastOp::create(b, loc, type, value).getResult(0);
}

/// The plain type of a value of the file; null where it has no rank.
RankedTensorType plainType(Type type) {
  return dyn_cast_or_null<RankedTensorType>(
      PlainTensorConverter().convertType(type));
}

/// The results of `body`, copied to where `b` is and called with `arguments`,
/// which are plain. Null values where the body has no rank to tell.
SmallVector<Value> copyBody(B &b, Region &body, ValueRange arguments) {
  Block &block = body.front();
  IRMapping mapping;
  for (auto [own, given] : llvm::zip_equal(block.getArguments(), arguments)) {
    RankedTensorType plain = plainType(own.getType());
    Value value = plain ? b.as(given, plain) : given;
    mapping.map(own, castTo(b, b.getLoc(), value, own.getType()));
  }
  for (Operation &op : block.without_terminator())
    b.clone(op, mapping);
  SmallVector<Value> results;
  for (Value value : block.getTerminator()->getOperands()) {
    RankedTensorType plain = plainType(value.getType());
    results.push_back(
        plain ? castTo(b, b.getLoc(), mapping.lookupOrDefault(value), plain)
              : Value());
  }
  return results;
}

/// Whether every value that crosses the border of `body` has a rank.
LogicalResult checkBody(Node &n, Region *body, size_t arguments,
                        size_t results) {
  if (!body || !llvm::hasSingleElement(*body))
    return n.error() << "has no body";
  Block &block = body->front();
  if (block.getNumArguments() != arguments ||
      block.getTerminator()->getNumOperands() != results)
    return n.error() << "has a body of " << block.getNumArguments()
                     << " inputs and "
                     << block.getTerminator()->getNumOperands()
                     << " outputs, not " << arguments << " and " << results;
  for (Type type : llvm::concat<Type>(
           llvm::to_vector(block.getArgumentTypes()),
           llvm::to_vector(block.getTerminator()->getOperandTypes())))
    if (!plainType(type))
      return n.error() << "has a body with a value of type " << type
                       << "; only tensors of known rank are lowered";
  return success();
}

/// The plain type of result `i`, or, where nobody wants it, `otherwise`.
RankedTensorType getResult(Node &n, size_t i, Type otherwise) {
  return n.wantsResult(i) ? n.resultType(i) : plainType(otherwise);
}

Results ifNode(Node &n) {
  Region *bodies[] = {findBody(n, "then_branch"), findBody(n, "else_branch")};
  for (Region *body : bodies)
    if (failed(checkBody(n, body, 0, n.numResults())))
      return failure();
  SmallVector<Type> types;
  for (size_t i = 0; i < n.numResults(); ++i)
    types.push_back(getResult(
        n, i, bodies[0]->front().getTerminator()->getOperand(i).getType()));
  auto branch = scf::IfOp::create(n, types, n.scalar(n[0]),
                                  /*withElseRegion=*/true);
  for (auto [body, region] : llvm::zip_equal(bodies, branch->getRegions())) {
    OpBuilder::InsertionGuard guard(n);
    if (region.empty())
      region.emplaceBlock();
    n.setInsertionPointToStart(&region.front());
    B inner(n.getLoc(), n);
    SmallVector<Value> results = copyBody(inner, *body, {});
    for (auto [value, type] : llvm::zip_equal(results, types))
      value = inner.as(value, type);
    scf::YieldOp::create(inner, results);
  }
  return {SmallVector<Value>(branch.getResults())};
}

//===----------------------------------------------------------------------===//
// Loops
//===----------------------------------------------------------------------===//

/// Any number of `slice`.
RankedTensorType spread(RankedTensorType slice) {
  SmallVector<int64_t> shape{ShapedType::kDynamic};
  llvm::append_range(shape, slice.getShape());
  return RankedTensorType::get(shape, slice.getElementType());
}

/// The type of all slices that result `i` is.
RankedTensorType getCollected(Node &n, size_t i, Type slice) {
  return n.wantsResult(i) ? n.resultType(i) : spread(plainType(slice));
}

/// What a loop collects: `type` is that of all slices, `slice` of one. Where
/// the file says how many there will be, a tensor that they are written into;
/// else one that has none yet.
Value startCollecting(Node &n, RankedTensorType type, RankedTensorType slice) {
  Type element = slice.getElementType();
  SmallVector<Value> sizes;
  if (type.hasStaticShape() && slice.hasStaticShape()) {
    for (int64_t size : type.getShape())
      sizes.push_back(n.index(size));
    return n.empty(element, sizes);
  }
  sizes.push_back(n.index(0));
  SmallVector<int64_t> shape{ShapedType::kDynamic};
  for (int64_t size : slice.getShape()) {
    sizes.push_back(n.index(ShapedType::isDynamic(size) ? 0 : size));
    shape.push_back(size);
  }
  return n.as(n.empty(element, sizes), RankedTensorType::get(shape, element));
}

/// `slices` and one more, which is the one of turn `turn`.
Value collect(B &b, Value slices, Value slice, Value turn) {
  RankedTensorType type = b.type(slices);
  if (type.hasStaticShape()) {
    SmallVector<OpFoldResult> offsets(type.getRank(), b.getIndexAttr(0)),
        extents{b.getIndexAttr(1)}, strides(type.getRank(), b.getIndexAttr(1));
    offsets[0] = turn;
    for (int64_t size : type.getShape().drop_front())
      extents.push_back(b.getIndexAttr(size));
    slice = b.as(slice, RankedTensorType::get(type.getShape().drop_front(),
                                              type.getElementType()));
    return tensor::InsertSliceOp::create(b, slice, slices, offsets, extents,
                                         strides);
  }
  Value count = b.dim(slices, 0);
  SmallVector<Value> sizes{b.addIndex(count, b.index(1))};
  llvm::append_range(sizes, b.dims(slice));
  Type element = b.element(slice);
  Value all = b.generate(element, sizes, [&](B &b, ValueRange at) {
    Value isOld =
        b.createOrFold<arith::CmpIOp>(arith::CmpIPredicate::ult, at[0], count);
    return b.branch(
        isOld, [&](B &b) { return b.extract(slices, at); },
        [&](B &b) { return b.extract(slice, at.drop_front()); });
  });
  return b.as(all, slices.getType());
}

Results loop(Node &n) {
  Region *body = findBody(n, "body");
  size_t carried = n.size() < 2 ? 0 : n.size() - 2;
  size_t results = n.numResults();
  if (results < carried)
    return n.error() << "carries " << carried << " values, but has only "
                     << results << " results";
  if (failed(checkBody(n, body, carried + 2, results + 1)))
    return failure();
  Operation *yield = body->front().getTerminator();
  for (size_t i = 0; i < carried; ++i)
    if (!n.has(i + 2))
      return n.error() << "carries a value that is not given";
  Type i1 = n.getI1Type();
  SmallVector<Value> init{n.index(0),
                          n.has(1) ? n.scalar(n[1]) : n.constant(i1, 1)};
  for (size_t i = 0; i < results; ++i) {
    if (i < carried) {
      RankedTensorType type =
          getResult(n, i, body->front().getArgument(i + 2).getType());
      init.push_back(n.as(n[i + 2], type));
      continue;
    }
    Type slice = yield->getOperand(i + 1).getType();
    init.push_back(
        startCollecting(n, getCollected(n, i, slice), plainType(slice)));
  }
  Value most = n.has(0) ? n.toIndex(n.scalar(n[0])) : Value();
  SmallVector<Type> types(ValueRange(init).getTypes());
  auto turns = scf::WhileOp::create(
      n, types, init,
      [&](OpBuilder &nested, Location loc, ValueRange state) {
        B b(loc, nested);
        Value go = state[1];
        if (most)
          go = b.createOrFold<arith::AndIOp>(
              go, b.createOrFold<arith::CmpIOp>(arith::CmpIPredicate::slt,
                                                state[0], most));
        scf::ConditionOp::create(b, go, state);
      },
      [&](OpBuilder &nested, Location loc, ValueRange state) {
        B b(loc, nested);
        auto asTensor = [&](Value scalar, Type argument) -> Value {
          RankedTensorType type = plainType(argument);
          Value value = b.convert(scalar, type.getElementType());
          SmallVector<Value> ones(type.getRank(), b.index(1));
          return b.as(b.filled(value, ones), type);
        };
        SmallVector<Value> arguments{
            asTensor(state[0], body->getArgument(0).getType()),
            asTensor(state[1], body->getArgument(1).getType())};
        llvm::append_range(arguments, state.slice(2, carried));
        SmallVector<Value> given = copyBody(b, *body, arguments);
        SmallVector<Value> next{b.addIndex(state[0], b.index(1)),
                                b.scalar(given[0])};
        for (size_t i = 0; i < results; ++i)
          next.push_back(
              i < carried ? b.as(given[i + 1], types[i + 2])
                          : collect(b, state[i + 2], given[i + 1], state[0]));
        scf::YieldOp::create(b, next);
      });
  SmallVector<Value> values(turns.getResults().drop_front(2));
  for (size_t i = carried; i < results; ++i)
    if (n.wantsResult(i))
      values[i] = n.as(values[i], n.resultType(i));
  return {values};
}

/// Slices of inputs in, states carried, slices out.
Results scan(Node &n) {
  Region *body = findBody(n, "body");
  int64_t inputs = n.getInt("num_scan_inputs", 0);
  int64_t states = int64_t(n.size()) - inputs;
  size_t results = n.numResults();
  if (inputs < 1 || states < 0 || int64_t(results) < states)
    return n.error() << "has " << inputs << " inputs to scan of " << n.size();
  if (failed(checkBody(n, body, n.size(), results)))
    return failure();
  size_t outputs = results - states;
  auto zeros = [](size_t count) { return SmallVector<int64_t>(count, 0); };
  auto inputAxes = n.getInts("scan_input_axes").value_or(zeros(inputs));
  auto outputAxes = n.getInts("scan_output_axes").value_or(zeros(outputs));
  auto inputWays = n.getInts("scan_input_directions").value_or(zeros(inputs));
  auto outputWays =
      n.getInts("scan_output_directions").value_or(zeros(outputs));
  if (inputAxes.size() != size_t(inputs) || outputAxes.size() != outputs ||
      inputWays.size() != size_t(inputs) || outputWays.size() != outputs)
    return n.error() << "has axes or directions for another number of values";
  if (llvm::any_of(outputWays, [](int64_t way) { return way != 0; }))
    return n.error() << "collects from the end, which is not lowered";
  for (int64_t i = 0; i < inputs; ++i)
    if (inputAxes[i] < 0)
      inputAxes[i] += n.rank(n[states + i]);
  Operation *yield = body->front().getTerminator();
  SmallVector<Value> init;
  for (int64_t i = 0; i < states; ++i)
    init.push_back(
        n.as(n[i], getResult(n, i, body->front().getArgument(i).getType())));
  for (size_t i = states; i < results; ++i) {
    Type slice = yield->getOperand(i).getType();
    // Along another axis they are moved there at the end.
    RankedTensorType all = getCollected(n, i, slice);
    if (outputAxes[i - states] != 0)
      all = spread(plainType(slice));
    init.push_back(startCollecting(n, all, plainType(slice)));
  }
  SmallVector<Type> types(ValueRange(init).getTypes());
  Value length = n.dim(n[states], inputAxes[0]);
  // Not scf.for: its canonicalization takes an initial tensor of no slices for
  // a tensor that has none in every turn.
  init.push_back(n.index(0));
  types.push_back(n.getIndexType());
  auto turns = scf::WhileOp::create(
      n, types, init,
      [&](OpBuilder &nested, Location loc, ValueRange state) {
        B b(loc, nested);
        Value go = b.createOrFold<arith::CmpIOp>(arith::CmpIPredicate::slt,
                                                 state.back(), length);
        scf::ConditionOp::create(b, go, state);
      },
      [&](OpBuilder &nested, Location loc, ValueRange state) {
        B b(loc, nested);
        Value turn = state.back();
        SmallVector<Value> arguments(state.take_front(states));
        for (int64_t i = 0; i < inputs; ++i) {
          Value x = n[states + i];
          int64_t axis = inputAxes[i];
          SmallVector<Value> sizes = b.dims(x);
          Value place =
              inputWays[i]
                  ? b.subIndex(b.subIndex(sizes[axis], b.index(1)), turn)
                  : turn;
          sizes.erase(sizes.begin() + axis);
          arguments.push_back(
              b.generate(b.element(x), sizes, [&](B &b, ValueRange at) {
                SmallVector<Value> where(at.begin(), at.end());
                where.insert(where.begin() + axis, place);
                return b.extract(x, where);
              }));
        }
        SmallVector<Value> given = copyBody(b, *body, arguments);
        SmallVector<Value> next;
        for (size_t i = 0; i < results; ++i)
          next.push_back(int64_t(i) < states
                             ? b.as(given[i], types[i])
                             : collect(b, state[i], given[i], turn));
        next.push_back(b.addIndex(turn, b.index(1)));
        scf::YieldOp::create(b, next);
      });
  SmallVector<Value> values(turns.getResults().drop_back());
  for (size_t i = states; i < results; ++i) {
    int64_t axis = outputAxes[i - states];
    if (axis < 0)
      axis += n.rank(values[i]);
    if (axis != 0) {
      // The slices' dimension goes where it belongs.
      SmallVector<int64_t> permutation;
      for (int64_t d = 1; d < n.rank(values[i]); ++d)
        permutation.push_back(d);
      permutation.insert(permutation.begin() + axis, 0);
      values[i] = n.transpose(values[i], permutation);
    }
    if (n.wantsResult(i))
      values[i] = n.as(values[i], n.resultType(i));
  }
  return {values};
}

} // namespace

void miura::onnxlower::addControlFlow(Table &t) {
  t["If"] = ifNode;
  t["Loop"] = loop;
  t["Scan"] = scan;
}
