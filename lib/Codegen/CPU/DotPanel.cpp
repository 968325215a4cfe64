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

/// Columns that a loop's body takes unrolled.
static constexpr int64_t unrolledColumns = 128;

Tile miura::codegen::emitDotPanel(KernelBuilder &b, const PanelOperand &panel,
                                  Value offset, Value columns,
                                  const QuantizedRows &x,
                                  const QuantizedRows::Sums &sums,
                                  ArrayRef<Value> rows, unsigned firstGroup,
                                  unsigned groupCount, bool prefetch) {
  const PanelLeaf &leaf = *panel.leaf;
  const PanelLayout &layout = panel.layout;
  size_t count = rows.size();
  int64_t distance =
      prefetch ? b.row.getPrefetch(leaf.getPackedBits()).asInt : 0;
  SmallVector<Value> xBase, sumBase;
  for (Value row : rows) {
    xBase.push_back(b.mul(row, x.rowDwords));
    sumBase.push_back(b.mul(row, sums.perRow));
  }
  auto shift = [&](unsigned g) { return leaf.getShift(b.row, firstGroup + g); };

  // Adds the products of the block at `at` to accumulators [row · group].
  auto emitBlock = [&](Value at, Value block, ValueRange acc) {
    Value column = b.mul(block, layout.blockColumns / 4);
    int64_t piece = getPieceUnits(layout, unrolledColumns);
    int64_t pieceBytes = piece * layout.unitBytes;
    return b.loop(
        b.index(0), b.index(layout.codeBytes()), pieceBytes, acc,
        [&](Value byte, ValueRange state) {
          SmallVector<Value> next(state);
          Value start = b.add(at, byte);
          BlockPrefetch lines(panel.memory, start, distance);
          // Dwords of activations before this piece.
          Value dword = b.add(column, b.mul(b.div(byte, layout.unitBytes),
                                            layout.unitColumns / 4));
          for (int64_t unit = 0; unit < piece; ++unit) {
            int64_t from = unit * layout.unitBytes;
            lines.upTo(b, from + layout.unitBytes);
            UnitVectors vectors =
                leaf.emitUnit(b, layout, panel.memory, b.add(start, from),
                              firstGroup, groupCount, PanelAs::Int);
            for (auto [step, groups] : llvm::enumerate(vectors)) {
              Value d =
                  b.add(dword, unit * layout.unitColumns / 4 + (int64_t)step);
              for (size_t r = 0; r < count; ++r) {
                Value a = b.loadSplat(x.dwords, b.add(xBase[r], d), b.bytes());
                for (unsigned g = 0; g < groupCount; ++g) {
                  Value &sum = next[r * groupCount + g];
                  sum = b.dot4(sum, groups[g], a,
                               leaf.getBound(b.row, firstGroup + g));
                }
              }
            }
          }
          return next;
        });
  };
  // Accumulators of a row whose activations sum to `sum`.
  auto start = [&](Value sum, SmallVectorImpl<Value> &acc) {
    if (leaf.getBias() == 0) {
      acc.append(groupCount, b.splatInts(0));
      return;
    }
    Value correction =
        arith::MulIOp::create(b, sum, b.i32((int32_t)-leaf.getBias()));
    Value splat = b.splat(correction);
    for (unsigned g = 0; g < groupCount; ++g)
      acc.push_back(shift(g) == 0 ? splat
                                  : (Value)arith::ShLIOp::create(
                                        b, splat, b.splatInts(shift(g))));
  };
  // Accumulators as f32, less zero · sum.
  auto finish = [&](Value acc, Value sum, Value at, unsigned g) -> Value {
    Value f = arith::SIToFPOp::create(b, b.floats(), acc);
    if (!leaf.hasZeros())
      return f;
    Value zero = leaf.emitZero(b, panel.memory, at, firstGroup + g);
    Value s = arith::SIToFPOp::create(b, b.getF32Type(), sum);
    s = arith::MulFOp::create(b, s, b.f32(-(float)(1 << shift(g))));
    return b.fma(zero, b.splat(s), f);
  };

  Value blocks = panel.blocks(b, columns);
  SmallVector<Value> total;
  if (leaf.isScaledByBlock()) {
    SmallVector<Value> zeros(count * groupCount, b.zeroFloats());
    total =
        b.loop(b.index(0), blocks, 1, zeros,
               [&](Value block, ValueRange state) -> SmallVector<Value> {
                 Value at = b.add(offset, b.mul(block, layout.blockBytes));
                 SmallVector<Value> acc, rowSums;
                 for (size_t r = 0; r < count; ++r) {
                   rowSums.push_back(memref::LoadOp::create(
                       b, sums.values, ValueRange{b.add(sumBase[r], block)}));
                   start(rowSums.back(), acc);
                 }
                 acc = emitBlock(at, block, acc);
                 Value scalesAt = b.add(at, layout.codeBytes());
                 if (distance)
                   for (int64_t line = llvm::alignTo(layout.codeBytes(), 64);
                        line < layout.blockBytes; line += 64)
                     b.prefetch(panel.memory, b.add(at, line + distance));
                 SmallVector<Value> next(state);
                 for (unsigned g = 0; g < groupCount; ++g) {
                   Value scale = leaf.emitScale(b, panel.memory, scalesAt,
                                                firstGroup + g);
                   for (size_t r = 0; r < count; ++r) {
                     size_t i = r * groupCount + g;
                     next[i] = b.fma(finish(acc[i], rowSums[r], scalesAt, g),
                                     scale, next[i]);
                   }
                 }
                 return next;
               });
  } else {
    SmallVector<Value> acc, rowSums;
    for (size_t r = 0; r < count; ++r) {
      Value sum =
          b.loop(b.index(0), sums.perRow, 1, ValueRange{b.i32(0)},
                 [&](Value i, ValueRange state) -> SmallVector<Value> {
                   Value s = memref::LoadOp::create(
                       b, sums.values, ValueRange{b.add(sumBase[r], i)});
                   return {arith::AddIOp::create(b, state[0], s)};
                 })[0];
      rowSums.push_back(sum);
      start(sum, acc);
    }
    acc =
        b.loop(b.index(0), blocks, 1, acc, [&](Value block, ValueRange state) {
          Value at = b.add(offset, b.mul(block, layout.blockBytes));
          return emitBlock(at, block, state);
        });
    Value tail = b.add(offset, b.mul(blocks, layout.blockBytes));
    total.resize(acc.size());
    for (unsigned g = 0; g < groupCount; ++g) {
      Value scale = leaf.emitScale(b, panel.memory, tail, firstGroup + g);
      for (size_t r = 0; r < count; ++r) {
        size_t i = r * groupCount + g;
        total[i] = arith::MulFOp::create(b, finish(acc[i], rowSums[r], tail, g),
                                         scale);
      }
    }
  }

  Tile tile(count);
  for (size_t r = 0; r < count; ++r)
    for (unsigned g = 0; g < groupCount; ++g) {
      Value f = total[r * groupCount + g];
      if (shift(g))
        f = arith::MulFOp::create(b, f, b.splat(b.f32(1.0f / (1 << shift(g)))));
      tile[r].push_back(f);
    }
  return tile;
}
