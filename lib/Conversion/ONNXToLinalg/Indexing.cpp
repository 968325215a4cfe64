//===- Indexing.cpp - Operators that move elements ------------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Transpose, concatenation, slices, gathers and scatters. Indices may be
/// negative, counted from the end; one outside of its dimension reads or
/// writes the nearest element, so that no access leaves a buffer.
///
//===----------------------------------------------------------------------===//

#include "Node.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"

using namespace mlir;
using namespace miura;
using namespace miura::onnxlower;

namespace {

using B = LinalgBuilder;

Results transpose(Node &n) {
  SmallVector<int64_t> permutation;
  if (auto given = n.getInts("perm"))
    permutation = *given;
  else
    for (int64_t d = n.rank(n[0]); d-- > 0;)
      permutation.push_back(d);
  return {{n.transpose(n[0], permutation)}};
}

Results concat(Node &n) {
  SmallVector<Value> parts;
  for (size_t i = 0; i < n.size(); ++i)
    parts.push_back(n[i]);
  int64_t rank = n.rank(parts[0]);
  auto axis = n.axis("axis", 0, rank);
  if (failed(axis))
    return failure();
  Type element = n.resultElement();
  // The other dimensions are equal: one of the parts may know them.
  SmallVector<Value> sizes = n.dims(parts[0]);
  for (int64_t d = 0; d < rank; ++d)
    for (Value part : parts)
      if (d != *axis && !n.type(part).isDynamicDim(d))
        sizes[d] = n.index(n.type(part).getDimSize(d));
  sizes[*axis] = n.index(0);
  SmallVector<Value> starts;
  for (Value part : parts) {
    starts.push_back(sizes[*axis]);
    sizes[*axis] = n.addIndex(sizes[*axis], n.dim(part, *axis));
  }
  if (n.isSmall(element, sizes)) {
    SmallVector<Value> elements;
    for (Value part : parts)
      for (int64_t i = 0; i < n.type(part).getDimSize(0); ++i)
        elements.push_back(n.extract(part, n.index(i)));
    return {{Value(tensor::FromElementsOp::create(n, n.typeOf(element, sizes),
                                                  elements))}};
  }
  Value result = n.empty(element, sizes);
  for (auto [part, start] : llvm::zip_equal(parts, starts)) {
    // An insert_slice of nothing would have to begin inside of the result.
    if (getConstantIntValue(n.dim(part, *axis)) == 0)
      continue;
    SmallVector<OpFoldResult> offsets(rank, n.getIndexAttr(0)),
        strides(rank, n.getIndexAttr(1));
    offsets[*axis] = getAsOpFoldResult(start);
    SmallVector<Value> partSizes(sizes);
    partSizes[*axis] = n.dim(part, *axis);
    part = n.as(part, n.typeOf(element, partSizes));
    result = tensor::InsertSliceOp::create(
        n, part, result, offsets, getAsOpFoldResult(partSizes), strides);
  }
  return {{result}};
}

/// A part of `x`: along each dimension `sizes` elements from `starts` by
/// `steps`.
Value slice(Node &n, Value x, ArrayRef<Value> starts, ArrayRef<Value> sizes,
            ArrayRef<int64_t> steps) {
  Type element = n.element(x);
  // An extract_slice of nothing would have to begin inside of x.
  if (llvm::any_of(sizes,
                   [](Value size) { return getConstantIntValue(size) == 0; }))
    return n.empty(element, sizes);
  bool forward = llvm::all_of(steps, [](int64_t step) { return step > 0; });
  if (!forward || n.isSmall(element, sizes))
    return n.produce(element, sizes, [&](B &b, ValueRange at) {
      SmallVector<Value> place;
      for (auto [d, i] : llvm::enumerate(at))
        place.push_back(
            b.addIndex(starts[d], b.mulIndex(i, b.index(steps[d]))));
      return b.extract(x, place);
    });
  SmallVector<OpFoldResult> strides;
  for (int64_t step : steps)
    strides.push_back(n.getIndexAttr(step));
  return tensor::ExtractSliceOp::create(
      n, n.typeOf(element, sizes), x, getAsOpFoldResult(ValueRange(starts)),
      getAsOpFoldResult(ValueRange(sizes)), strides);
}

Results slice(Node &n) {
  Value x = n[0];
  int64_t rank = n.rank(x);
  auto axes = n.axes("axes", 3, rank);
  if (failed(axes))
    return failure();
  SmallVector<Value> begin, end;
  SmallVector<int64_t> stride;
  if (auto fixed = n.getInts("starts")) { // Opset 1 to 9.
    auto ends = n.getInts("ends");
    if (!ends || ends->size() != fixed->size())
      return n.error() << "has no ends for its starts";
    for (auto [from, to] : llvm::zip_equal(*fixed, *ends)) {
      begin.push_back(n.index(from));
      end.push_back(n.index(to));
    }
  } else {
    if (n.type(n[1]).isDynamicDim(0))
      return n.error() << "has starts of unknown length";
    begin = n.indices(n[1]);
    end = n.indices(n[2]);
  }
  stride.assign(begin.size(), 1);
  if (n.has(4)) {
    auto constant = n.constantInts(4);
    if (!constant)
      return n.error() << "has steps that are not a constant";
    stride = *constant;
  }
  SmallVector<int64_t> which;
  if (*axes)
    which = **axes;
  else
    for (size_t d = 0; d < begin.size(); ++d)
      which.push_back(d);
  if (which.size() != begin.size() || end.size() != begin.size() ||
      stride.size() != begin.size())
    return n.error() << "has " << begin.size() << " starts, " << end.size()
                     << " ends, " << which.size() << " axes and "
                     << stride.size() << " steps";
  Value zero = n.index(0), one = n.index(1);
  SmallVector<Value> starts(rank, zero), sizes = n.dims(x);
  SmallVector<int64_t> steps(rank, 1);
  for (auto [i, axis] : llvm::enumerate(which)) {
    Value size = n.dim(x, axis);
    bool forward = stride[i] > 0;
    if (stride[i] == 0)
      return n.error() << "has a step of 0";
    // From the end where negative, then into the range.
    auto normalize = [&](Value place, Value low, Value high) {
      place = n.selectIndex(arith::CmpIPredicate::slt, place, zero,
                            n.addIndex(place, size), place);
      return n.min(n.max(place, low), high);
    };
    Value last = n.subIndex(size, one);
    Value from = forward ? normalize(begin[i], zero, size)
                         : normalize(begin[i], zero, last);
    Value to = forward ? normalize(end[i], zero, size)
                       : normalize(end[i], n.index(-1), last);
    Value span = forward ? n.subIndex(to, from) : n.subIndex(from, to);
    Value count = n.createOrFold<arith::CeilDivSIOp>(
        n.max(span, zero), n.index(std::abs(stride[i])));
    // Begin inside even where nothing is taken.
    starts[axis] = forward ? n.max(n.min(from, last), zero) : from;
    sizes[axis] = count;
    steps[axis] = stride[i];
  }
  return {{slice(n, x, starts, n.refine(sizes), steps)}};
}

Results split(Node &n) {
  Value x = n[0];
  int64_t rank = n.rank(x);
  auto axis = n.axis("axis", 0, rank);
  if (failed(axis))
    return failure();
  size_t parts = n.numResults();
  SmallVector<Value> lengths;
  if (auto fixed = n.getInts("split")) {
    for (int64_t length : *fixed)
      lengths.push_back(n.index(length));
  } else if (n.has(1)) {
    lengths = n.indices(n[1]);
  } else {
    // Equal parts, the last one shorter.
    Value size = n.dim(x, *axis);
    Value each = n.createOrFold<arith::CeilDivSIOp>(size, n.index(parts));
    for (size_t i = 0; i + 1 < parts; ++i)
      lengths.push_back(each);
    lengths.push_back(n.subIndex(size, n.mulIndex(each, n.index(parts - 1))));
  }
  if (lengths.size() != parts)
    return n.error() << "has " << parts << " results, but " << lengths.size()
                     << " lengths";
  SmallVector<Value> results, starts(rank, n.index(0));
  for (size_t i = 0; i < parts; ++i) {
    SmallVector<Value> sizes = n.dims(x);
    sizes[*axis] = lengths[i];
    results.push_back(
        slice(n, x, starts,
              n.wantsResult(i) ? n.refine(sizes, i) : SmallVector<Value>(sizes),
              SmallVector<int64_t>(rank, 1)));
    starts[*axis] = n.addIndex(starts[*axis], lengths[i]);
  }
  return {results};
}

Results tile(Node &n) {
  Value x = n[0];
  SmallVector<Value> sizes = n.dims(x), own = sizes;
  for (auto [size, times] : llvm::zip_equal(sizes, n.indices(n[1])))
    size = n.mulIndex(size, times);
  return {{n.produce(n.element(x), n.refine(sizes), [&](B &b, ValueRange at) {
    SmallVector<Value> place;
    for (auto [i, size] : llvm::zip_equal(at, own))
      place.push_back(b.createOrFold<arith::RemUIOp>(i, size));
    return b.extract(x, place);
  })}};
}

Results pad(Node &n) {
  Value x = n[0];
  int64_t rank = n.rank(x);
  StringRef mode = n.getString("mode", "constant");
  SmallVector<Value> amounts;
  if (auto fixed = n.getInts("pads")) {
    for (int64_t amount : *fixed)
      amounts.push_back(n.index(amount));
  } else {
    amounts = n.indices(n[1]);
  }
  auto axes = n.axes("axes", 3, rank);
  if (failed(axes))
    return failure();
  SmallVector<int64_t> which;
  if (*axes)
    which = **axes;
  else
    for (int64_t d = 0; d < rank; ++d)
      which.push_back(d);
  if (amounts.size() != 2 * which.size())
    return n.error() << "has " << amounts.size() << " pads for " << which.size()
                     << " axes";
  SmallVector<Value> own = n.dims(x), sizes = own, before(rank, n.index(0));
  for (auto [i, axis] : llvm::enumerate(which)) {
    before[axis] = amounts[i];
    sizes[axis] = n.addIndex(sizes[axis],
                             n.addIndex(amounts[i], amounts[i + which.size()]));
  }
  Type element = n.element(x);
  Value fill =
      n.has(2) ? n.scalar(n[2]) : n.constant(element, n.getFloat("value", 0));
  return {
      {n.generate(element, n.refine(sizes), [&](B &b, ValueRange at) -> Value {
        Value inside = b.constant(b.getI1Type(), 1), zero = b.index(0);
        SmallVector<Value> place;
        for (int64_t d = 0; d < rank; ++d) {
          Value i = b.subIndex(at[d], before[d]);
          Value last = b.subIndex(own[d], b.index(1));
          if (mode == "constant") {
            Value in =
                arith::CmpIOp::create(b, arith::CmpIPredicate::ult, i, own[d]);
            inside = b.createOrFold<arith::AndIOp>(inside, in);
          } else if (mode == "reflect") {
            i = b.selectIndex(arith::CmpIPredicate::slt, i, zero,
                              b.subIndex(zero, i), i);
            i = b.selectIndex(arith::CmpIPredicate::sgt, i, last,
                              b.subIndex(b.addIndex(last, last), i), i);
          } else if (mode == "wrap") {
            Value shifted = b.addIndex(
                i, b.mulIndex(own[d], b.addIndex(before[d], b.index(1))));
            i = b.createOrFold<arith::RemUIOp>(shifted, own[d]);
          }
          place.push_back(b.max(b.min(i, last), zero));
        }
        if (mode != "constant")
          return b.extract(x, place);
        // An empty source has no element to read.
        return b.branch(
            inside, [&](B &b) { return b.extract(x, place); },
            [&](B &) { return fill; });
      })}};
}

/// Keeps the upper or lower triangle of the last two dimensions.
Results trilu(Node &n) {
  Value x = n[0];
  int64_t rank = n.rank(x);
  bool upper = n.getInt("upper", 1);
  Value k = n.has(1) ? n.toIndex(n.scalar(n[1])) : n.index(0);
  Type element = n.element(x);
  return {{n.generate(element, n.dims(x), [&](B &b, ValueRange at) -> Value {
    Value diagonal = b.addIndex(at[rank - 2], k);
    Value keep = arith::CmpIOp::create(
        b, upper ? arith::CmpIPredicate::sge : arith::CmpIPredicate::sle,
        at[rank - 1], diagonal);
    return arith::SelectOp::create(b, keep, b.extract(x, at),
                                   b.constant(element, 0));
  })}};
}

//===----------------------------------------------------------------------===//
// Gathers
//===----------------------------------------------------------------------===//

/// An index of ONNX as a place in a dimension of `size`.
Value toPlace(B &b, Value index, Value size) {
  Value zero = b.index(0);
  Value place = b.toIndex(index);
  place = b.selectIndex(arith::CmpIPredicate::slt, place, zero,
                        b.addIndex(place, size), place);
  return b.max(b.min(place, b.subIndex(size, b.index(1))), zero);
}

Results gather(Node &n) {
  Value x = n[0], which = n[1];
  int64_t rank = n.rank(x), indexRank = n.rank(which);
  auto axis = n.axis("axis", 0, rank);
  if (failed(axis))
    return failure();
  SmallVector<Value> sizes, own = n.dims(x), indexSizes = n.dims(which);
  for (int64_t d = 0; d < *axis; ++d)
    sizes.push_back(own[d]);
  llvm::append_range(sizes, indexSizes);
  for (int64_t d = *axis + 1; d < rank; ++d)
    sizes.push_back(own[d]);
  return {{n.produce(n.element(x), n.refine(sizes), [&](B &b, ValueRange at) {
    SmallVector<Value> place(at.take_front(*axis));
    ValueRange indexAt = at.slice(*axis, indexRank);
    place.push_back(toPlace(b, b.extract(which, indexAt), own[*axis]));
    llvm::append_range(place, at.drop_front(*axis + indexRank));
    return b.extract(x, place);
  })}};
}

/// values[1] where an index names the place along the new axis, else values[0];
/// a negative index counts from the end, one out of range names none. Indices
/// and the axis' length may be floats.
Results oneHot(Node &n) {
  Value which = n[0], values = n[2];
  auto axis = n.axis("axis", -1, n.rank(which) + 1);
  if (failed(axis))
    return failure();
  Type i64 = n.getI64Type();
  Value depth = n.toIndex(n.convert(n.scalar(n[1]), i64));
  SmallVector<Value> sizes = n.dims(which);
  sizes.insert(sizes.begin() + *axis, depth);
  return {
      {n.produce(n.element(values), n.refine(sizes), [&](B &b, ValueRange at) {
        SmallVector<Value> own(at.take_front(*axis));
        llvm::append_range(own, at.drop_front(*axis + 1));
        Value place = b.toIndex(b.convert(b.extract(which, own), i64));
        place = b.selectIndex(arith::CmpIPredicate::slt, place, b.index(0),
                              b.addIndex(place, depth), place);
        Value isHot = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, place,
                                            at[*axis]);
        Value hot = b.extract(values, {b.index(1)});
        Value cold = b.extract(values, {b.index(0)});
        return Value(arith::SelectOp::create(b, isHot, hot, cold));
      })}};
}

Results gatherND(Node &n) {
  Value x = n[0], which = n[1];
  int64_t rank = n.rank(x), indexRank = n.rank(which);
  int64_t batch = n.getInt("batch_dims", 0);
  int64_t depth = n.type(which).getDimSize(indexRank - 1);
  if (ShapedType::isDynamic(depth))
    return n.error() << "has index tuples of unknown length";
  if (batch + depth > rank)
    return n.error() << "has index tuples of " << depth
                     << " for a tensor of rank " << rank;
  SmallVector<Value> own = n.dims(x), sizes = n.dims(which);
  sizes.pop_back();
  for (int64_t d = batch + depth; d < rank; ++d)
    sizes.push_back(own[d]);
  return {{n.produce(n.element(x), n.refine(sizes), [&](B &b, ValueRange at) {
    SmallVector<Value> place(at.take_front(batch));
    for (int64_t i = 0; i < depth; ++i) {
      SmallVector<Value> tuple(at.take_front(indexRank - 1));
      tuple.push_back(b.index(i));
      place.push_back(toPlace(b, b.extract(which, tuple), own[batch + i]));
    }
    llvm::append_range(place, at.drop_front(indexRank - 1));
    return b.extract(x, place);
  })}};
}

Results gatherElements(Node &n) {
  Value x = n[0], which = n[1];
  auto axis = n.axis("axis", 0, n.rank(x));
  if (failed(axis))
    return failure();
  Value size = n.dim(x, *axis);
  return {{n.produce(n.element(x), n.dims(which), [&](B &b, ValueRange at) {
    SmallVector<Value> place(at.begin(), at.end());
    place[*axis] = toPlace(b, b.extract(which, at), size);
    return b.extract(x, place);
  })}};
}

//===----------------------------------------------------------------------===//
// Scatters
//===----------------------------------------------------------------------===//

/// `target` after body(indices, target) for all indices below `sizes`, one
/// after another.
Value forEach(B &b, ArrayRef<Value> sizes, Value target,
              function_ref<Value(B &, ValueRange, Value)> body,
              SmallVector<Value> outer = {}) {
  if (outer.size() == sizes.size())
    return body(b, outer, target);
  auto loop = scf::ForOp::create(
      b, b.index(0), sizes[outer.size()], b.index(1), ValueRange{target},
      [&](OpBuilder &nested, Location loc, Value i, ValueRange carried) {
        B inner(loc, nested);
        SmallVector<Value> indices(outer);
        indices.push_back(i);
        scf::YieldOp::create(inner,
                             forEach(inner, sizes, carried[0], body, indices));
      });
  return loop.getResult(0);
}

Value combine(Node &n, B &b, Value old, Value update) {
  StringRef how = n.getString("reduction", "none");
  bool isUnsigned = n.isUnsigned(0);
  if (how == "add")
    return b.add(old, update);
  if (how == "mul")
    return b.mul(old, update);
  if (how == "max")
    return b.max(old, update, isUnsigned);
  if (how == "min")
    return b.min(old, update, isUnsigned);
  return update;
}

/// Every element of x looks for its own updates along a short axis: then all
/// elements can be computed side by side.
Value scatterBySearch(Node &n, int64_t axis, Value which) {
  Value x = n[0], updates = n[2];
  Value size = n.dim(x, axis), count = n.dim(which, axis);
  return n.generate(n.element(x), n.dims(x), [&](B &b, ValueRange at) -> Value {
    Value old = b.extract(x, at);
    auto search = [&](B &b) -> Value {
      auto loop = scf::ForOp::create(
          b, b.index(0), count, b.index(1), ValueRange{old},
          [&](OpBuilder &nested, Location loc, Value i, ValueRange carried) {
            B inner(loc, nested);
            SmallVector<Value> place(at.begin(), at.end());
            place[axis] = i;
            Value here = toPlace(inner, inner.extract(which, place), size);
            Value isHere = arith::CmpIOp::create(
                inner, arith::CmpIPredicate::eq, here, at[axis]);
            Value updated =
                combine(n, inner, carried[0], inner.extract(updates, place));
            scf::YieldOp::create(inner, arith::SelectOp::create(
                                            inner, isHere, updated, carried[0])
                                            .getResult());
          });
      return loop.getResult(0);
    };
    // There may be fewer updates than elements in other dimensions.
    Value inside;
    for (int64_t d = 0; d < n.rank(x); ++d) {
      int64_t own = n.type(x).getDimSize(d);
      if (d == axis ||
          (!ShapedType::isDynamic(own) && own == n.type(which).getDimSize(d)))
        continue;
      Value below = arith::CmpIOp::create(b, arith::CmpIPredicate::ult, at[d],
                                          n.dim(which, d));
      inside = inside ? b.createOrFold<arith::AndIOp>(inside, below) : below;
    }
    return inside ? b.branch(inside, search, [&](B &) { return old; })
                  : search(b);
  });
}

Results scatterND(Node &n) {
  Value x = n[0], which = n[1], updates = n[2];
  int64_t indexRank = n.rank(which);
  int64_t depth = n.type(which).getDimSize(indexRank - 1);
  if (ShapedType::isDynamic(depth))
    return n.error() << "has index tuples of unknown length";
  // Into a vector, as an inverse of a permutation is made.
  if (n.rank(x) == 1 && indexRank == 2 && depth == 1)
    return {{scatterBySearch(
        n, 0, n.reshape(which, ArrayRef<Value>{n.dim(which, 0)}))}};
  SmallVector<Value> own = n.dims(x);
  return {{forEach(
      n, n.dims(updates), x, [&](B &b, ValueRange at, Value target) -> Value {
        SmallVector<Value> place;
        for (int64_t i = 0; i < depth; ++i) {
          SmallVector<Value> tuple(at.take_front(indexRank - 1));
          tuple.push_back(b.index(i));
          place.push_back(toPlace(b, b.extract(which, tuple), own[i]));
        }
        llvm::append_range(place, at.drop_front(indexRank - 1));
        Value value =
            combine(n, b, b.extract(target, place), b.extract(updates, at));
        return tensor::InsertOp::create(b, value, target, place);
      })}};
}

Results scatterElements(Node &n) {
  Value x = n[0], which = n[1], updates = n[2];
  auto axis = n.axis("axis", 0, n.rank(x));
  if (failed(axis))
    return failure();
  Value size = n.dim(x, *axis);
  int64_t length = n.type(x).getDimSize(*axis);
  if (!ShapedType::isDynamic(length) && length <= 1024)
    return {{scatterBySearch(n, *axis, which)}};
  return {{forEach(
      n, n.dims(which), x, [&](B &b, ValueRange at, Value target) -> Value {
        SmallVector<Value> place(at.begin(), at.end());
        place[*axis] = toPlace(b, b.extract(which, at), size);
        Value value =
            combine(n, b, b.extract(target, place), b.extract(updates, at));
        return tensor::InsertOp::create(b, value, target, place);
      })}};
}

} // namespace

void miura::onnxlower::addIndexing(Table &t) {
  t["Transpose"] = transpose;
  t["Concat"] = concat;
  t["Slice"] = slice;
  t["Split"] = split;
  t["Tile"] = tile;
  t["Pad"] = pad;
  t["Trilu"] = trilu;
  t["Gather"] = gather;
  t["OneHot"] = oneHot;
  t["GatherND"] = gatherND;
  t["GatherElements"] = gatherElements;
  t["ScatterND"] = scatterND;
  t["ScatterElements"] = scatterElements;
}
