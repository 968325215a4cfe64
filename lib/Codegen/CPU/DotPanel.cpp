//===- DotPanel.cpp - Integer products of a panel -------------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The inner loop of int8 kernels, for one row of activations (decode) and for
/// a tile of rows alike: codes are masked out of a vector and go into four-way
/// dots with broadcast activations; no lane moves. The bias of the codes costs
/// nothing, since a block's accumulator starts at −bias · Σ activations; the
/// power of two of a group's field is taken out at the end.
///
//===----------------------------------------------------------------------===//

#include "Schedules.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"

using namespace mlir;
using namespace miura::codegen;

int64_t miura::codegen::getPieceUnits(const PanelLayout &layout,
                                      int64_t columns) {
  int64_t units = layout.blockColumns / layout.unitColumns;
  for (int64_t piece = units; piece > 1; --piece)
    if (units % piece == 0 && piece * layout.unitColumns <= columns)
      return piece;
  return 1;
}

Tile miura::codegen::emitDotPanel(KernelBuilder &b, const PanelOperand &panel,
                                  Value offset, Value columns,
                                  const QuantizedRows &x,
                                  const QuantizedRows::Sums &sums,
                                  ArrayRef<Value> rows, bool prefetch,
                                  bool alone) {
  const PanelLeaf &leaf = *panel.leaf;
  const PanelLayout &layout = panel.layout;
  unsigned count = rows.size(), groups = layout.groups;
  int64_t distance =
      prefetch ? b.row.getPrefetch(leaf.getPackedBits()).asInt : 0;
  // Groups that are accumulated at a time: as many as the tile's registers
  // hold. The others read a block again, from the L1 cache.
  unsigned slice =
      std::clamp(b.row.dotTileRows * b.row.dotTileGroups / count, 1u, groups);
  slice = 1u << llvm::Log2_32(slice);
  // Where a block's totals do not fit beside its accumulators, constants,
  // weights and a broadcast, its steps are a loop of their own.
  int64_t pieceColumns = b.row.dotColumns;
  if (leaf.isScaledByBlock() && 2 * count * slice + leaf.getConstants(b.row) +
                                        (alone ? 5 : 7) +
                                        (leaf.hasZeros() ? 4 : 0) >
                                    b.row.registers)
    pieceColumns = std::min(pieceColumns, layout.blockColumns / 2);
  // There always are packed bytes.
  Value memoryBytes = memref::DimOp::create(b, panel.memory, 0);
  SmallVector<Value> xBase, sumBase;
  for (Value row : rows) {
    xBase.push_back(b.mul(row, x.rowDwords));
    sumBase.push_back(b.mul(row, sums.perRow));
  }
  auto shift = [&](unsigned g) { return leaf.getShift(b.row, g); };

  // Adds the products of the block at `at` and the slice of groups from g0 to
  // accumulators [row · slice].
  auto emitBlock = [&](Value at, Value block, Value parameters, unsigned g0,
                       ValueRange acc) {
    SmallVector<Value> blockVectors =
        leaf.emitBlockVectors(b, panel.memory, parameters);
    Value column = b.mul(block, layout.blockColumns / 4);
    int64_t piece = getPieceUnits(layout, pieceColumns);
    int64_t pieceBytes = piece * layout.unitBytes;
    // LLVM must not know how long the loop is: it would unroll it and reorder
    // the integer sums of its many steps until registers run out.
    Value end = b.index(layout.codeBytes());
    if (pieceBytes != layout.codeBytes())
      end = b.select(b.equal(memoryBytes, 0), columns, end);
    // Behind the accumulators: what decoding carries.
    SmallVector<Value> begin(acc);
    llvm::append_range(begin, leaf.emitBegin(b, layout, panel.memory, at));
    SmallVector<Value> sums = b.loop(
        b.index(0), end, pieceBytes, begin, [&](Value byte, ValueRange state) {
          SmallVector<Value> next(state);
          auto carried = MutableArrayRef(next).drop_front(acc.size());
          Value start = b.add(at, byte);
          BlockPrefetch lines(panel.memory, start, g0 == 0 ? distance : 0);
          // Dwords of activations before this piece.
          Value dword = b.add(column, b.mul(b.div(byte, layout.unitBytes),
                                            layout.unitColumns / 4));
          for (int64_t unit = 0; unit < piece; ++unit) {
            int64_t from = unit * layout.unitBytes;
            lines.upTo(b, from + layout.unitBytes);
            UnitVectors vectors =
                leaf.emitUnit(b, layout, panel.memory, b.add(start, from), g0,
                              slice, PanelAs::Int, blockVectors, carried);
            for (auto [step, weights] : llvm::enumerate(vectors)) {
              Value d =
                  b.add(dword, unit * layout.unitColumns / 4 + (int64_t)step);
              for (unsigned r = 0; r < count; ++r) {
                Value a = b.loadSplat(x.dwords, b.add(xBase[r], d), b.bytes());
                for (unsigned g = 0; g < slice; ++g) {
                  Value &sum = next[r * slice + g];
                  sum =
                      b.dot4(sum, weights[g], a, leaf.getBound(b.row, g0 + g));
                }
              }
            }
          }
          return next;
        });
    sums.resize(acc.size());
    return sums;
  };
  // Accumulators of a slice for rows whose activations sum to `rowSums`.
  auto start = [&](ArrayRef<Value> rowSums, unsigned g0) {
    SmallVector<Value> acc;
    for (Value sum : rowSums) {
      if (leaf.getBias(b.row) == 0) {
        acc.append(slice, b.splatInts(0));
        continue;
      }
      Value correction =
          arith::MulIOp::create(b, sum, b.i32((int32_t)-leaf.getBias(b.row)));
      Value splat = b.splat(correction);
      for (unsigned g = g0; g < g0 + slice; ++g)
        acc.push_back(shift(g) == 0 ? splat
                                    : (Value)arith::ShLIOp::create(
                                          b, splat, b.splatInts(shift(g))));
    }
    return acc;
  };
  // Accumulators as f32, less zero · sum.
  auto finish = [&](Value acc, Value sum, Value at, unsigned g) -> Value {
    Value f = arith::SIToFPOp::create(b, b.floats(), acc);
    if (!leaf.hasZeros())
      return f;
    Value zero = leaf.emitZero(b, panel.memory, at, g);
    Value s = arith::SIToFPOp::create(b, b.getF32Type(), sum);
    s = arith::MulFOp::create(b, s, b.f32(-(float)(1 << shift(g))));
    return b.fma(zero, b.splat(s), f);
  };

  Value blocks = panel.blocks(b, columns);
  SmallVector<Value> total(count * groups, b.zeroFloats());
  if (leaf.isScaledByBlock()) {
    total = b.loop(
        b.index(0), blocks, 1, total,
        [&](Value block, ValueRange state) -> SmallVector<Value> {
          Value at = panel.blockStart(b, offset, block);
          Value scalesAt = b.add(at, layout.codeBytes());
          SmallVector<Value> rowSums;
          for (unsigned r = 0; r < count; ++r)
            rowSums.push_back(memref::LoadOp::create(
                b, sums.values, ValueRange{b.add(sumBase[r], block)}));
          SmallVector<Value> next(state);
          for (unsigned g0 = 0; g0 < groups; g0 += slice) {
            SmallVector<Value> acc =
                emitBlock(at, block, scalesAt, g0, start(rowSums, g0));
            if (g0 == 0 && distance && !layout.isIndexed)
              for (int64_t line = llvm::alignTo(layout.codeBytes(), 64);
                   line < layout.blockBytes; line += 64)
                b.prefetch(panel.memory, b.add(at, line + distance));
            for (unsigned g = 0; g < slice; ++g) {
              Value scale = leaf.emitScale(b, panel.memory, scalesAt, g0 + g);
              for (unsigned r = 0; r < count; ++r) {
                Value &sum = next[r * groups + g0 + g];
                sum = b.fma(
                    finish(acc[r * slice + g], rowSums[r], scalesAt, g0 + g),
                    scale, sum);
              }
            }
          }
          return next;
        });
  } else {
    SmallVector<Value> rowSums;
    for (unsigned r = 0; r < count; ++r)
      rowSums.push_back(
          b.loop(b.index(0), sums.perRow, 1, ValueRange{b.i32(0)},
                 [&](Value i, ValueRange state) -> SmallVector<Value> {
                   Value s = memref::LoadOp::create(
                       b, sums.values, ValueRange{b.add(sumBase[r], i)});
                   return {arith::AddIOp::create(b, state[0], s)};
                 })[0]);
    Value tail = panel.tailStart(b, offset, columns);
    for (unsigned g0 = 0; g0 < groups; g0 += slice) {
      SmallVector<Value> acc =
          b.loop(b.index(0), blocks, 1, start(rowSums, g0),
                 [&](Value block, ValueRange state) {
                   Value at = panel.blockStart(b, offset, block);
                   return emitBlock(at, block, tail, g0, state);
                 });
      for (unsigned g = 0; g < slice; ++g) {
        Value scale = leaf.emitScale(b, panel.memory, tail, g0 + g);
        for (unsigned r = 0; r < count; ++r)
          total[r * groups + g0 + g] = arith::MulFOp::create(
              b, finish(acc[r * slice + g], rowSums[r], tail, g0 + g), scale);
      }
    }
  }

  Tile tile(count);
  for (unsigned r = 0; r < count; ++r)
    for (unsigned g = 0; g < groups; ++g) {
      Value f = total[r * groups + g];
      if (shift(g))
        f = arith::MulFOp::create(b, f, b.splat(b.f32(1.0f / (1 << shift(g)))));
      tile[r].push_back(f);
    }
  return tile;
}
