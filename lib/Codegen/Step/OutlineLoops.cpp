//===- OutlineLoops.cpp - Loops without a schedule ------------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// What has no schedule of its own still runs on all threads: upstream turns a
/// linalg op into parallel loops, and this file gives each thread a part of the
/// outermost ones.
///
//===----------------------------------------------------------------------===//

#include "OutlineLoops.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Linalg/Transforms/Transforms.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/PatternMatch.h"

using namespace mlir;

namespace {

/// Index arithmetic at one place.
struct Indices {
  OpBuilder &b;
  Location loc;
  Value constant(int64_t value) {
    return arith::ConstantIndexOp::create(b, loc, value);
  }
  Value add(Value x, Value y) { return arith::AddIOp::create(b, loc, x, y); }
  Value mul(Value x, Value y) { return arith::MulIOp::create(b, loc, x, y); }
  Value min(Value x, Value y) { return arith::MinUIOp::create(b, loc, x, y); }
  Value div(Value x, Value y) { return arith::DivUIOp::create(b, loc, x, y); }
  Value rem(Value x, Value y) { return arith::RemUIOp::create(b, loc, x, y); }
  Value ceilDiv(Value x, Value y) {
    Value one = constant(1);
    return div(arith::SubIOp::create(b, loc, add(x, y), one), y);
  }
  Value select(Value c, Value x, Value y) {
    return arith::SelectOp::create(b, loc, c, x, y);
  }
};

} // namespace

/// Runs `parallel`, whose loops start at 0 and step by 1, as a loop over this
/// thread's rows and one over its columns.
static void distribute(scf::ParallelOp parallel, Value tid, Value threads) {
  OpBuilder b(parallel);
  Location loc = parallel.getLoc();
  Indices i{b, loc};
  ValueRange bounds = parallel.getUpperBound();
  Value one = i.constant(1), zero = i.constant(0);
  Value rows = one;
  for (Value bound : bounds.drop_back())
    rows = i.mul(rows, bound);
  Value columns = bounds.back();

  // Cut what there is enough of. Columns are cut at lines of 16 numbers.
  Value byRows =
      arith::CmpIOp::create(b, loc, arith::CmpIPredicate::uge, rows, threads);
  auto part = [&](Value count, Value unit) {
    Value size = i.mul(i.ceilDiv(i.ceilDiv(count, unit), threads), unit);
    Value begin = i.min(i.mul(tid, size), count);
    return std::make_pair(begin, i.min(i.add(begin, size), count));
  };
  auto [rowBegin, rowEnd] = part(rows, one);
  auto [columnBegin, columnEnd] = part(columns, i.constant(16));
  Value firstRow = i.select(byRows, rowBegin, zero);
  Value lastRow = i.select(byRows, rowEnd, rows);
  Value firstColumn = i.select(byRows, zero, columnBegin);
  Value lastColumn = i.select(byRows, columns, columnEnd);

  auto outer = scf::ForOp::create(b, loc, firstRow, lastRow, one);
  b.setInsertionPointToStart(outer.getBody());
  // The row's place in each dimension but the last.
  SmallVector<Value> indices(bounds.size());
  Value rest = outer.getInductionVar();
  for (int64_t d = static_cast<int64_t>(bounds.size()) - 2; d >= 0; --d) {
    indices[d] = d == 0 ? rest : i.rem(rest, bounds[d]);
    if (d != 0)
      rest = i.div(rest, bounds[d]);
  }
  auto inner = scf::ForOp::create(b, loc, firstColumn, lastColumn, one);
  indices.back() = inner.getInductionVar();
  IRMapping mapping;
  mapping.map(parallel.getInductionVars(), indices);
  b.setInsertionPointToStart(inner.getBody());
  for (Operation &op : parallel.getBody()->without_terminator())
    b.clone(op, mapping);
  parallel.erase();
}

LogicalResult miura::lowerToThreadLoops(func::FuncOp kernel) {
  Block &body = kernel.getBody().front();
  Value threads = body.getArguments().back();
  Value tid = body.getArgument(body.getNumArguments() - 2);
  auto ops = body.getOps<linalg::LinalgOp>();
  if (ops.empty())
    return success();
  linalg::LinalgOp op = *ops.begin();
  IRRewriter rewriter(op->getContext());
  rewriter.setInsertionPoint(op);
  FailureOr<linalg::LinalgLoops> loops =
      linalg::linalgOpToParallelLoops(rewriter, op);
  if (failed(loops))
    return op.emitError("cannot be turned into loops");
  rewriter.eraseOp(op);
  auto found = body.getOps<scf::ParallelOp>();
  if (!found.empty()) {
    distribute(*found.begin(), tid, threads);
    return success();
  }
  // Nothing is parallel: one thread does it.
  OpBuilder b = OpBuilder::atBlockBegin(&body);
  Location loc = kernel.getLoc();
  Value zero = arith::ConstantIndexOp::create(b, loc, 0);
  Value isFirst =
      arith::CmpIOp::create(b, loc, arith::CmpIPredicate::eq, tid, zero);
  auto guard = scf::IfOp::create(b, loc, isFirst, /*withElseRegion=*/false);
  Block *then = guard.thenBlock();
  then->getOperations().splice(
      then->without_terminator().end(), body.getOperations(),
      std::next(Block::iterator(guard)), Block::iterator(body.getTerminator()));
  return success();
}
