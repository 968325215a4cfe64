//===- FloatPanel.cpp - f32 products of a panel ---------------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The inner loops of f32 kernels. For one row of activations, codes are
/// decoded in registers and meet broadcast activations; scales are applied to
/// the sums of a block. For more rows, a chunk of columns of a panel is decoded
/// into the L1 cache once, scales applied, and every tile of rows reads it: no
/// more of a weight than that chunk ever exists in f32. Sums of a chunk go
/// through `out`, which stays in the L2 cache.
///
//===----------------------------------------------------------------------===//

#include "Schedules.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace miura::codegen;

Value PanelOperand::panelBytes(KernelBuilder &b, Value columns) const {
  return b.add(b.mul(blocks(b, columns), layout.blockBytes), layout.tailBytes);
}
Value PanelOperand::panelColumns(KernelBuilder &b, Value bytes) const {
  return b.mul(b.div(b.sub(bytes, b.index(layout.tailBytes)),
                     b.index(layout.blockBytes)),
               layout.blockColumns);
}
Value PanelOperand::allPanelBytes(KernelBuilder &b) const {
  Value bytes = memref::DimOp::create(b, memory, 0);
  bytes = b.sub(bytes, b.index(layout.headerBytes));
  return matrices ? b.div(bytes, matrices) : bytes;
}
Value PanelOperand::panelStart(KernelBuilder &b, Value panel, Value columns,
                               Value matrix) const {
  Value bytes = layout.isIndexed ? b.mul(b.add(blocks(b, columns), 1), 4)
                                 : panelBytes(b, columns);
  Value start = b.add(b.mul(panel, bytes), layout.headerBytes);
  return matrix ? b.add(start, b.mul(matrix, allPanelBytes(b))) : start;
}
Value PanelOperand::blockStart(KernelBuilder &b, Value panelStart,
                               Value block) const {
  if (!layout.isIndexed)
    return b.add(panelStart, b.mul(block, layout.blockBytes));
  Value at = b.add(panelStart, b.mul(block, 4));
  // Addresses wait for the directory, which nothing else fetches early enough.
  b.prefetch(memory, b.add(at, 256));
  return b.mul(b.loadIndexAt(memory, at, 32), 8);
}
Value PanelOperand::tailStart(KernelBuilder &b, Value panelStart,
                              Value columns) const {
  return blockStart(b, panelStart, blocks(b, columns));
}

//===----------------------------------------------------------------------===//
// One row
//===----------------------------------------------------------------------===//

SmallVector<Value> miura::codegen::emitFloatPanel(KernelBuilder &b,
                                                  const PanelOperand &panel,
                                                  Value offset, Value columns,
                                                  Value begin, Value end,
                                                  Value x, Value xRow) {
  const PanelLeaf &leaf = *panel.leaf;
  const PanelLayout &layout = panel.layout;
  unsigned groups = layout.groups;
  int64_t distance = b.row.getPrefetch(leaf.getPackedBits()).asFloat;
  bool byBlock = leaf.isScaledByBlock();
  // Independent chains hide the latency of an FMA, as far as registers go:
  // beside them there are totals and, in flight, a unit's vectors.
  unsigned chains = 1;
  while (chains * groups < 8 &&
         2 * chains * groups + (byBlock ? groups : 0) + 10 <= b.row.registers)
    chains *= 2;

  Value memoryBytes = memref::DimOp::create(b, panel.memory, 0);
  // State: accumulators [chain · group], then the sum of activations where
  // zeros need it.
  auto emitBlock = [&](Value at, Value block, Value parameters,
                       ValueRange state) {
    SmallVector<Value> blockVectors =
        leaf.emitBlockVectors(b, panel.memory, parameters);
    Value column = b.mul(block, layout.blockColumns);
    int64_t piece = getPieceUnits(layout, b.row.floatColumns);
    int64_t pieceColumns = piece * layout.unitColumns;
    int64_t pieceBytes = piece * layout.unitBytes;
    // As in emitDotPanel: LLVM must not make one body of a block again.
    Value codesEnd = b.index(layout.codeBytes());
    if (pieceBytes != layout.codeBytes() && b.row.floatColumns < 32)
      codesEnd = b.select(b.equal(memoryBytes, 0), columns, codesEnd);
    SmallVector<Value> begin(state);
    llvm::append_range(begin, leaf.emitBegin(b, layout, panel.memory, at));
    size_t count = state.size();
    SmallVector<Value> sums = b.loop(
        b.index(0), codesEnd, pieceBytes, begin,
        [&](Value byte, ValueRange state) {
          SmallVector<Value> next(state);
          auto carried = MutableArrayRef(next).drop_front(count);
          Value start = b.add(at, byte);
          BlockPrefetch lines(panel.memory, start, distance);
          Value first = b.add(
              column, b.mul(b.div(byte, layout.unitBytes), layout.unitColumns));
          for (int64_t unit = 0; unit < piece; ++unit) {
            int64_t from = unit * layout.unitBytes;
            lines.upTo(b, from + layout.unitBytes);
            UnitVectors vectors =
                leaf.emitUnit(b, layout, panel.memory, b.add(start, from), 0,
                              groups, PanelAs::F32, blockVectors, carried);
            for (auto [i, weights] : llvm::enumerate(vectors)) {
              Value k = b.add(first, unit * layout.unitColumns + (int64_t)i);
              Value a = b.loadSplat(x, {xRow, k}, b.floats());
              for (unsigned g = 0; g < groups; ++g) {
                Value &sum = next[i % chains * groups + g];
                sum = b.fma(weights[g], a, sum);
              }
            }
          }
          if (leaf.hasZeros()) {
            // Sums of whole vectors where the piece has them.
            int64_t lanes = b.row.lanes();
            int64_t width = pieceColumns % lanes == 0 ? lanes : 4;
            auto type = VectorType::get({width}, b.getF32Type());
            Value sum =
                vector::LoadOp::create(b, type, x, ValueRange{xRow, first});
            for (int64_t i = width; i < pieceColumns; i += width)
              sum = arith::AddFOp::create(
                  b, sum,
                  vector::LoadOp::create(b, type, x,
                                         ValueRange{xRow, b.add(first, i)}));
            Value &total = next[count - 1];
            total = arith::AddFOp::create(b, total, b.sumLanes(sum));
          }
          return next;
        });
    sums.resize(count);
    return sums;
  };
  auto start = [&] {
    SmallVector<Value> state(chains * groups, b.zeroFloats());
    if (leaf.hasZeros())
      state.push_back(b.f32(0));
    return state;
  };
  // The sums of the chains, less zero · Σ activations.
  auto finish = [&](ArrayRef<Value> state, Value at) {
    SmallVector<Value> sums(state.begin(), state.begin() + groups);
    for (unsigned g = 0; g < groups; ++g) {
      for (unsigned c = 1; c < chains; ++c)
        sums[g] = arith::AddFOp::create(b, sums[g], state[c * groups + g]);
      if (leaf.hasZeros()) {
        Value zero = leaf.emitZero(b, panel.memory, at, g);
        Value x = arith::NegFOp::create(b, state.back());
        sums[g] = b.fma(zero, b.splat(x), sums[g]);
      }
    }
    return sums;
  };

  if (byBlock)
    return b.loop(begin, end, 1, SmallVector<Value>(groups, b.zeroFloats()),
                  [&](Value block, ValueRange state) {
                    Value at = panel.blockStart(b, offset, block);
                    Value scalesAt = b.add(at, layout.codeBytes());
                    SmallVector<Value> sums = finish(
                        emitBlock(at, block, scalesAt, start()), scalesAt);
                    SmallVector<Value> next;
                    for (unsigned g = 0; g < groups; ++g)
                      next.push_back(b.fma(
                          sums[g], leaf.emitScale(b, panel.memory, scalesAt, g),
                          state[g]));
                    return next;
                  });

  Value tail = panel.tailStart(b, offset, columns);
  SmallVector<Value> state =
      b.loop(begin, end, 1, start(), [&](Value block, ValueRange state) {
        Value at = panel.blockStart(b, offset, block);
        return emitBlock(at, block, tail, state);
      });
  SmallVector<Value> sums = finish(state, tail);
  if (leaf.isScaled())
    for (unsigned g = 0; g < groups; ++g)
      sums[g] = arith::MulFOp::create(b, sums[g],
                                      leaf.emitScale(b, panel.memory, tail, g));
  return sums;
}

//===----------------------------------------------------------------------===//
// Tiles of rows
//===----------------------------------------------------------------------===//

/// Columns that a chunk has: whole pieces.
static int64_t getChunkColumns(const IsaRow &row, const PanelLayout &layout) {
  int64_t piece = getPieceUnits(layout, row.floatColumns) * layout.unitColumns;
  return std::max<int64_t>(1, row.chunkColumns / piece) * piece;
}

int64_t miura::codegen::getChunkBytes(const IsaRow &row, const PanelLeaf &,
                                      const PanelLayout &layout) {
  return getChunkColumns(row, layout) * layout.groups * row.vectorBytes;
}

/// Decodes the pieces of the chunk at column c0 into `buffer`, [column][row].
/// `carried` is what decoding carried to the chunk, and carries from it.
static void emitDecodeChunk(KernelBuilder &b, const PanelOperand &panel,
                            Value offset, Value tail, Value c0, Value count,
                            Value buffer, SmallVector<Value> &carried) {
  const PanelLeaf &leaf = *panel.leaf;
  const PanelLayout &layout = panel.layout;
  int64_t units = getPieceUnits(layout, b.row.floatColumns);
  int64_t piece = units * layout.unitColumns;
  int64_t columnBytes = (int64_t)layout.groups * b.row.vectorBytes;
  carried =
      b.loop(b.index(0), count, piece, carried, [&](Value i, ValueRange state) {
        Value column = b.add(c0, i);
        Value block = b.div(column, layout.blockColumns);
        Value at = panel.blockStart(b, offset, block);
        Value inBlock = b.rem(column, layout.blockColumns);
        Value within =
            b.mul(b.div(inBlock, layout.unitColumns), layout.unitBytes);
        SmallVector<Value> before(state), after(state);
        if (!before.empty()) {
          Value isBegin = b.equal(inBlock, 0);
          for (auto [value, first] :
               llvm::zip(before, leaf.emitBegin(b, layout, panel.memory, at)))
            value = b.select(isBegin, first, value);
        }
        Value parameters =
            leaf.isScaledByBlock() ? b.add(at, layout.codeBytes()) : tail;
        SmallVector<Value> blockVectors =
            leaf.emitBlockVectors(b, panel.memory, parameters);
        Value to = b.mul(i, columnBytes);
        // Scales of some groups and the vectors of a column have to fit into
        // registers together; the codes of other groups are read again.
        unsigned slice =
            b.row.registers < 32 ? std::min(2u, layout.groups) : layout.groups;
        for (unsigned g0 = 0; g0 < layout.groups; g0 += slice) {
          after = before;
          SmallVector<Value> scales, starts;
          if (leaf.isScaled())
            for (unsigned g = g0; g < g0 + slice; ++g) {
              scales.push_back(leaf.emitScale(b, panel.memory, parameters, g));
              if (leaf.hasZeros()) {
                Value zero = leaf.emitZero(b, panel.memory, parameters, g);
                starts.push_back(arith::NegFOp::create(
                    b, arith::MulFOp::create(b, zero, scales.back())));
              }
            }
          for (int64_t unit = 0; unit < units; ++unit) {
            UnitVectors vectors =
                leaf.emitUnit(b, layout, panel.memory,
                              b.add(b.add(at, within), unit * layout.unitBytes),
                              g0, slice, PanelAs::F32, blockVectors, after);
            for (auto [k, weights] : llvm::enumerate(vectors))
              for (unsigned g = 0; g < slice; ++g) {
                Value w = weights[g];
                if (!starts.empty())
                  w = b.fma(w, scales[g], starts[g]);
                else if (!scales.empty())
                  w = arith::MulFOp::create(b, w, scales[g]);
                int64_t byte =
                    (unit * layout.unitColumns + (int64_t)k) * columnBytes +
                    (int64_t)(g0 + g) * b.row.vectorBytes;
                vector::StoreOp::create(b, b.bitcast(w, b.bytes()), buffer,
                                        ValueRange{b.add(to, byte)});
              }
          }
        }
        return after;
      });
}

void miura::codegen::emitFloatTiles(KernelBuilder &b, const PanelOperand &panel,
                                    Value offset, Value columns, Value x,
                                    Value out, Value n0, Value outputs,
                                    Value begin, Value end, Value buffer) {
  const PanelLayout &layout = panel.layout;
  int64_t lanes = b.row.lanes();
  int64_t columnBytes = (int64_t)layout.groups * b.row.vectorBytes;
  // f32 panels are what a chunk would be.
  bool direct = panel.leaf->getDecodeCost(b.row, PanelAs::F32) == 0;
  int64_t chunk = getChunkColumns(b.row, layout);
  Value tail = panel.tailStart(b, offset, columns);
  SmallVector<Value> masks;
  for (unsigned g = 0; g < layout.groups; ++g)
    masks.push_back(b.mask(b.sub(outputs, b.add(n0, (int64_t)g * lanes))));

  // A chunk begins where the one before it ended: only the types of what
  // decoding carries matter here.
  SmallVector<Value> atBegin;
  if (!direct)
    atBegin.assign(panel.leaf->getStateCount(b.row), b.index(0));
  b.loop(b.index(0), columns, chunk, atBegin, [&](Value c0, ValueRange state) {
    SmallVector<Value> carried(state);
    Value count = b.min(b.index(chunk), b.sub(columns, c0));
    Value memory = panel.memory, base;
    if (direct) {
      base = b.add(offset, b.mul(c0, columnBytes));
    } else {
      memory = buffer;
      base = b.index(0);
      emitDecodeChunk(b, panel, offset, tail, c0, count, buffer, carried);
    }
    b.loop(begin, end, b.row.floatTileRows, [&](Value m0) {
      // Rows beyond the last compute it again and store nothing.
      SmallVector<Value> rows, valid;
      Value lastRow = b.add(end, -1);
      for (unsigned i = 0; i < b.row.floatTileRows; ++i) {
        rows.push_back(i == 0 ? m0 : b.min(b.add(m0, i), lastRow));
        valid.push_back(i == 0 ? Value() : b.less(b.add(m0, i), end));
      }
      for (unsigned g0 = 0; g0 < layout.groups; g0 += b.row.floatTileGroups) {
        unsigned groups = std::min(b.row.floatTileGroups, layout.groups - g0);
        auto at = [&](unsigned r, unsigned g) {
          return SmallVector<Value, 2>{rows[r],
                                       b.add(n0, (int64_t)(g0 + g) * lanes)};
        };
        SmallVector<Value> acc;
        for (unsigned r = 0; r < rows.size(); ++r)
          for (unsigned g = 0; g < groups; ++g)
            acc.push_back(b.loadMasked(out, at(r, g), masks[g0 + g]));
        acc = b.loop(b.index(0), count, 1, acc, [&](Value k, ValueRange state) {
          SmallVector<Value> next(state), weights;
          Value byte = b.add(base, b.mul(k, columnBytes));
          for (unsigned g = 0; g < groups; ++g)
            weights.push_back(b.loadRegister(
                memory, b.add(byte, (int64_t)(g0 + g) * b.row.vectorBytes),
                b.floats()));
          Value column = b.add(c0, k);
          for (unsigned r = 0; r < rows.size(); ++r) {
            Value a = b.loadSplat(x, {rows[r], column}, b.floats());
            for (unsigned g = 0; g < groups; ++g)
              next[r * groups + g] = b.fma(weights[g], a, next[r * groups + g]);
          }
          return next;
        });
        for (unsigned r = 0; r < rows.size(); ++r) {
          auto store = [&] {
            for (unsigned g = 0; g < groups; ++g)
              b.storeMasked(acc[r * groups + g], out, at(r, g), masks[g0 + g]);
          };
          if (valid[r])
            b.ifThen(valid[r], store);
          else
            store();
        }
      }
    });
    return carried;
  });
}
