//===- RaiseScatters.cpp - Rows that are put in place ---------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// An assignment to a slice, x[a:b] = y, is exported as ScatterND over the
/// places a … b − 1 (of a transposed tensor, for another dimension than the
/// first). It is the rows before, the new ones, and the rows behind.
///
//===----------------------------------------------------------------------===//

#include "Raiser.h"
#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;
using namespace miura;
using namespace miura::symbolic;

/// Stored places are looked at one by one, up to so many.
static constexpr int64_t kMostPlaces = 1024;

bool Raiser::appendRows(Value tensor, int64_t first, Expr last,
                        OnnxNodeOp before, SmallVectorImpl<Value> &rows) {
  Expr start = context.integer(first);
  if (start == last)
    return true;
  if (!context.provesNotNegative(
          context.sub(context.sub(last, start), context.integer(1))))
    return false;
  const Shape *found = analysis.getShape(tensor);
  if (!found)
    return false;
  Shape shape = *found;
  if (first == 0 && last == shape[0]) {
    rows.push_back(tensor);
    return true;
  }
  // What was put there before is read where it comes from.
  if (OnnxNodeOp concat = getNode(tensor, "Concat");
      concat && getInt(concat, "axis", 0) == 0) {
    Expr begin = context.integer(0);
    SmallVector<Value> whole;
    bool inside = false;
    for (Value part : concat.getInputs()) {
      inside |= begin == start;
      if (inside)
        whole.push_back(part);
      const Shape *size = analysis.getShape(part);
      if (!size)
        break;
      begin = context.add(begin, (*size)[0]);
      if (inside && begin == last) {
        rows.append(whole);
        return true;
      }
    }
  }
  std::optional<int64_t> end = getInteger(last);
  if (!end && last != shape[0])
    return false;
  Location loc = before.getLoc();
  Value sliced = makeNode(before, "Slice", 13,
                          {tensor, makeVector(loc, {first}),
                           makeVector(loc, {end ? *end : INT64_MAX}),
                           makeVector(loc, {0})},
                          {}, getElementTypeOrSelf(tensor.getType()));
  if (sliced)
    rows.push_back(sliced);
  return sliced != nullptr;
}

bool Raiser::raiseScatter(OnnxNodeOp op) {
  if (!isNode(op, "ScatterND"))
    return false;
  StringRef reduction = getString(op, "reduction");
  if (!reduction.empty() && reduction != "none")
    return false;
  Value data = getInput(op, 0), updates = getInput(op, 2);
  const Shape *target = analysis.getShape(data);
  const Shape *places = analysis.getShape(getInput(op, 1));
  if (!target || !places || places->size() != 2 ||
      !isConstant((*places)[1], 1) || target->empty())
    return false;
  Expr size = (*target)[0];
  std::optional<int64_t> count = getInteger((*places)[0]);
  if (!count || *count <= 0)
    return false;
  // Places side by side, the first of them known.
  auto placeOf = [&](Expr row) {
    return analysis.getElement(getInput(op, 1), {row, context.integer(0)});
  };
  Expr row = context.index("row", context.integer(*count));
  std::optional<int64_t> start = getInteger(placeOf(context.integer(0)));
  bool isRun =
      start && placeOf(row) == context.add(row, context.integer(*start));
  if (!isRun && *count <= kMostPlaces)
    isRun = start && llvm::all_of(llvm::seq(*count), [&](int64_t k) {
              return getInteger(placeOf(context.integer(k))) == *start + k;
            });
  if (!isRun)
    return false;
  if (*start < 0)
    return false;
  builder.setInsertionPoint(op);
  SmallVector<Value> rows;
  if (!appendRows(data, 0, context.integer(*start), op, rows))
    return false;
  rows.push_back(updates);
  if (!appendRows(data, *start + *count, size, op, rows))
    return false;
  Value result = rows.front();
  if (rows.size() > 1) {
    result = makeNode(op, "Concat", 13, rows, {makeInt("axis", 0)},
                      getElementTypeOrSelf(data.getType()),
                      *analysis.getShape(data));
  }
  if (!result || result.getType() != op.getResult(0).getType())
    return false;
  replace(op.getResult(0), result);
  return true;
}

void Raiser::raiseScatters() {
  forEachNode([&](OnnxNodeOp op) { raiseScatter(op); });
}
