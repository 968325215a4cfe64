//===- RowKernels.cpp - Gates, last rows, embedding -----------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Small kernels over rows of activations. They move little beside the linears;
/// what matters is that each is one pass, in whole vectors, with no call.
///
//===----------------------------------------------------------------------===//

#include "miura/Codegen/CPU/RowKernels.h"
#include "RowBuilder.h"
#include "Schedules.h"

using namespace mlir;
using namespace miura::codegen;

void miura::codegen::emitSiluMulKernel(func::FuncOp func, const IsaRow &row) {
  OpBuilder inner(func.getContext());
  RowBuilder b(func, inner, row);
  Value gate = b.arg(0), up = b.arg(1), out = b.arg(2);
  // Columns are cut, at cache lines, so that one row feeds all threads.
  Value columns = b.dim(gate, 1);
  auto [first, last] = b.columnPart(columns);
  Value begin = first, end = last;
  b.loop(b.index(0), b.dim(gate, 0), 1, [&](Value r) {
    b.columns(begin, end, [&](Value i, Value m) {
      Value g = b.loadLanes(gate, {r, i}, m);
      Value u = b.loadLanes(up, {r, i}, m);
      b.storeLanes(b.mulf(b.silu(g), u), out, {r, i}, m);
    });
  });
}

void miura::codegen::emitTakeLastKernel(func::FuncOp func, const IsaRow &row) {
  OpBuilder inner(func.getContext());
  RowBuilder b(func, inner, row);
  Value x = b.arg(0), counts = b.arg(1), out = b.arg(2), zero = b.index(0);
  auto [begin, end] = b.part(b.dim(x, 0));
  b.loop(begin, end, 1, [&](Value r) {
    Value last = b.sub(b.loadIndex(counts, r), b.index(1));
    last = arith::MaxSIOp::create(b, last, zero);
    b.columns(zero, b.dim(x, 2), [&](Value i, Value m) {
      b.storeLanes(b.loadLanes(x, {r, last, i}, m), out, {r, zero, i}, m);
    });
  });
}

void miura::codegen::emitEmbeddingKernel(func::FuncOp func, const IsaRow &row,
                                         const PanelLeaf &leaf,
                                         unsigned groups) {
  OpBuilder inner(func.getContext());
  RowBuilder b(func, inner, row);
  Value indices = b.arg(0), packed = b.arg(1), entries = b.arg(2),
        out = b.arg(3);
  PanelOperand operand{&leaf, leaf.getLayout(row, groups), packed};
  const PanelLayout &layout = operand.layout;
  int64_t lanes = row.lanes();
  Value columns = b.dim(out, 1);
  Value zeroIndex = b.index(0);
  // Columns are cut at blocks, so that one token is decoded by all threads.
  auto [begin, end] = b.part(b.ceilDiv(columns, layout.blockColumns));
  Value first = begin, last = end;
  b.loop(zeroIndex, b.dim(indices, 0), 1, [&](Value t) {
    Value token = b.loadIndex(indices, t);
    Value wrapped =
        b.select(b.less(token, zeroIndex), b.add(token, entries), token);
    Value panel = b.div(wrapped, groups * lanes);
    Value inPanel = b.rem(wrapped, groups * lanes);
    Value lane = b.rem(inPanel, lanes);
    Value group = b.div(inPanel, lanes);
    Value panelStart = operand.panelStart(b, panel, columns);
    // The group is known at run time only; a branch for each, as decoding is
    // straight-line code.
    for (unsigned g = 0; g < groups; ++g)
      b.ifThen(b.equal(group, g), [&] {
        auto loadLane = [&](Value vector) -> Value {
          return vector::ExtractOp::create(b, vector,
                                           ArrayRef<OpFoldResult>{lane});
        };
        b.loop(first, last, 1, [&](Value block) {
          Value offset = operand.blockStart(b, panelStart, block);
          Value scale, zero;
          SmallVector<Value> blockVectors;
          if (leaf.isScaled()) {
            Value at = leaf.isScaledByBlock()
                           ? b.add(offset, layout.codeBytes())
                           : operand.tailStart(b, panelStart, columns);
            scale = loadLane(leaf.emitScale(b, packed, at, g));
            if (leaf.hasZeros())
              zero = loadLane(leaf.emitZero(b, packed, at, g));
            blockVectors = leaf.emitBlockVectors(b, packed, at);
          }
          int64_t units = layout.blockColumns / layout.unitColumns;
          SmallVector<Value> begin = leaf.emitBegin(b, layout, packed, offset);
          b.loop(zeroIndex, b.index(units), 1, begin,
                 [&](Value unit, ValueRange state) {
                   SmallVector<Value> carried(state);
                   UnitVectors vectors = leaf.emitUnit(
                       b, layout, packed,
                       b.add(offset, b.mul(unit, layout.unitBytes)), g,
                       /*groupCount=*/1, PanelAs::F32, blockVectors, carried);
                   Value column = b.add(b.mul(block, layout.blockColumns),
                                        b.mul(unit, layout.unitColumns));
                   for (auto [k, vector] : llvm::enumerate(vectors)) {
                     Value v = loadLane(vector[0]);
                     if (zero)
                       v = b.subf(v, zero);
                     if (scale)
                       v = b.mulf(v, scale);
                     Value at = b.add(column, k);
                     // Columns are padded to whole blocks.
                     b.ifThen(b.less(at, columns),
                              [&] { b.store(v, out, {t, at}); });
                   }
                   return carried;
                 });
        });
      });
  });
}
