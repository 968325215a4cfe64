//===- AttentionMany.cpp - Attention of many queries ----------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Many queries: a work item is a block of queries of one key head, which goes
/// through the chunks with a running maximum (Milakov and Gimelshein,
/// arXiv:1805.02867, algorithm 3; Dao et al., arXiv:2205.14135, algorithm 1).
/// The chunk's keys are transposed once per item, so that scores are a matrix
/// product whose lanes are keys.
///
//===----------------------------------------------------------------------===//

#include "AttentionEmitter.h"

using namespace mlir;
using namespace miura::codegen;
using namespace miura::codegen::attention;

void AttentionEmitter::emitMany() {
  Value blocks = b.ceilDiv(sequence, plan.blockQueries);
  Value heads = b.mul(batch, spec.kvHeads);
  // The last queries see most keys: they come first, so that threads that take
  // turns end together.
  b.loop(tid, b.mul(blocks, heads), nthreads, [&](Value item) {
    Value turn = b.div(item, heads);
    Value rest = b.sub(item, b.mul(turn, heads));
    Value row = b.div(rest, spec.kvHeads);
    Value kvHead = b.sub(rest, b.mul(row, spec.kvHeads));
    Value block = b.sub(b.sub(blocks, b.index(1)), turn);
    emitManyItem(row, kvHead, b.mul(block, plan.blockQueries));
  });
}

void AttentionEmitter::emitTransposedKeys(Value row, Value kvHead, Value first,
                                          Value begin, Value end, Value keys) {
  Value last = b.sub(b.add(first, end), b.index(1));
  b.loop(begin, end, plan.keyLanes, [&](Value k) {
    Values slots;
    for (int64_t i = 0; i < plan.keyLanes; ++i)
      slots.push_back(b.min(b.add(b.add(first, k), i), last));
    for (int64_t v = 0; v < keyVectors(); ++v) {
      Values rows;
      for (Value slot : slots)
        rows.push_back(round(loadKey(row, kvHead, slot, v), toKey));
      for (auto [i, column] : llvm::enumerate(b.transpose(rows)))
        b.storeVector(column, keys, {b.index(v * plan.keyLanes + i), k});
    }
  });
}

void AttentionEmitter::forEachTile(
    const Block &block, function_ref<void(Value, Value, Value, Value)> body) {
  Value zero = b.index(0);
  Value chunkBegin = b.mul(b.div(block.first.begin, chunkSlots), chunkSlots);
  b.loop(chunkBegin, block.last.end, chunkSlots, [&](Value first) {
    // All slots from here on are relative to the chunk.
    int64_t wide = plan.tileVectors * plan.lanes;
    Value end = b.min(b.sub(block.last.end, first), b.index(chunkSlots));
    Value begin = alignedStart(block.first.begin, first, wide);
    if (spec.padding)
      emitBias(block.row, first);
    emitTransposedKeys(block.row, block.kvHead, first, begin, end, keyColumns);

    b.loop(zero, block.rowsUp, tileRows, [&](Value r0) {
      Range low = visible(block.row, block.length, block.place(r0).first);
      Range high = visible(block.row, block.length,
                           block.place(b.add(r0, tileRows - 1)).first);
      Value tileEnd =
          b.max(zero, b.min(b.sub(high.end, first), b.index(chunkSlots)));
      Value tileBegin = alignedStart(low.begin, first, wide);

      b.loop(tileBegin, tileEnd, wide, [&](Value k) {
        Values scores(tileRows * plan.tileVectors, b.zeros(plan.lanes));
        scores = b.loop(
            zero, b.index(spec.size), 1, scores,
            [&](Value d, ValueRange state) {
              Values next(state), loaded;
              for (int64_t v = 0; v < plan.tileVectors; ++v)
                loaded.push_back(b.loadVector(
                    keyColumns, {d, b.add(k, v * plan.lanes)}, plan.lanes));
              for (int64_t r = 0; r < tileRows; ++r) {
                Value q = b.broadcast(b.load(queryRows, {b.add(r0, r), d}),
                                      plan.lanes);
                for (int64_t v = 0; v < plan.tileVectors; ++v) {
                  Value &s = next[r * plan.tileVectors + v];
                  s = b.fma(q, loaded[v], s);
                }
              }
              return next;
            });
        for (int64_t r = 0; r < tileRows; ++r)
          for (int64_t v = 0; v < plan.tileVectors; ++v)
            b.storeVector(scores[r * plan.tileVectors + v], weights,
                          {b.index(r), b.add(k, v * plan.lanes)});
      });
      body(r0, first, tileBegin, tileEnd);
    });
  });
}

void AttentionEmitter::emitRunningWeights(const Block &block, Value r0,
                                          Value first, Value begin, Value end) {
  Value zero = b.index(0), one = b.index(1);
  b.loop(zero, b.index(tileRows), 1, [&](Value i) {
    Value r = b.add(r0, i);
    auto [position, head] = block.place(r);
    Range range = visible(block.row, block.length, position);
    Range relative = {b.sub(range.begin, first), b.sub(range.end, first)};
    Value before = b.load(state, {r, zero});
    auto [maximum, total] =
        emitSoftmax(weights, i, {block.row, head, position, first}, begin, end,
                    relative, before);
    Value factor = emitExp2(b, b.subf(before, maximum));
    b.store(maximum, state, {r, zero});
    b.store(b.fma(b.load(state, {r, one}), factor, total), state, {r, one});
    b.store(factor, state, {r, b.index(2)});
  });
}

void AttentionEmitter::emitRoundedWeights(const Block &block, Value r0,
                                          Value first, Value begin, Value end) {
  b.loop(b.index(0), b.index(tileRows), 1, [&](Value i) {
    Value r = b.add(r0, i);
    auto [position, head] = block.place(r);
    Range range = visible(block.row, block.length, position);
    Range relative = {b.sub(range.begin, first), b.sub(range.end, first)};
    Value maximum = b.load(state, {r, b.index(0)});
    emitVisibleScores(weights, i, {block.row, head, position, first}, begin,
                      end, relative, maximum);
    Value shift = b.broadcast(maximum, plan.lanes);
    // No weight is seen where the sum is 0: all stay 0.
    Value total = b.load(state, {r, b.index(1)});
    Value none = arith::CmpFOp::create(b, arith::CmpFPredicate::OEQ, total,
                                       b.like(total, 0.0));
    Value divisor =
        b.broadcast(b.select(none, b.like(total, 1.0), total), plan.lanes);
    b.loop(begin, end, plan.lanes, [&](Value k) {
      Value s = b.loadVector(weights, {i, k}, plan.lanes);
      Value weight = b.divf(emitExp2(b, b.subf(s, shift)), divisor);
      b.storeVector(round(weight, toWeight), weights, {i, k});
    });
    b.store(b.f32(1.0), state, {r, b.index(2)});
  });
}

void AttentionEmitter::emitManyItem(Value row, Value kvHead, Value firstQuery) {
  Value zero = b.index(0), one = b.index(1);
  Value queries =
      b.min(b.index(plan.blockQueries), b.sub(sequence, firstQuery));
  Value rows = b.mul(queries, plan.group);
  Value rowsUp = b.roundUp(rows, tileRows);
  Value length = b.loadIndex(lengths, {row});
  Value lastQuery = b.sub(b.add(firstQuery, queries), one);
  Range firstRange = visible(row, length, firstQuery);
  Range lastRange = visible(row, length, lastQuery);
  Value head0 = b.mul(kvHead, plan.group);
  // Row r of the block: query r / group, head r % group. Rows that only fill a
  // tile repeat the last query.
  auto place = [&](Value r) -> std::pair<Value, Value> {
    Value q = b.div(r, plan.group);
    Value head = b.add(head0, b.sub(r, b.mul(q, plan.group)));
    return {b.min(b.add(firstQuery, q), lastQuery), head};
  };

  b.loop(zero, rowsUp, 1, [&](Value r) {
    auto [position, head] = place(r);
    for (int64_t v = 0; v < keyVectors(); ++v)
      b.storeVector(loadQuery(row, position, head, v), queryRows,
                    {r, b.index(v * plan.keyLanes)});
    for (int64_t v = 0; v < valueVectors(); ++v)
      b.storeVector(b.zeros(plan.valueLanes), sums,
                    {r, b.index(v * plan.valueLanes)});
    b.store(b.f32(noMaximum), state, {r, zero});
    b.store(b.f32(0.0), state, {r, one});
  });

  Block block{row, kvHead, length, rowsUp, firstRange, lastRange, place};
  // The sums of a tile's rows go on with its weights.
  auto addWeighted = [&](Value r0, Value first, Value begin, Value end) {
    emitWeightedSum(
        tileRows, weights, row, kvHead, first, begin, end,
        [&](int64_t r, int64_t v) {
          Value at = b.add(r0, r);
          Value sum = b.loadVector(sums, {at, b.index(v * plan.valueLanes)},
                                   plan.valueLanes);
          return b.mulf(sum, b.broadcast(b.load(state, {at, b.index(2)}),
                                         plan.valueLanes));
        },
        [&](int64_t r, int64_t v, Value sum) {
          b.storeVector(sum, sums,
                        {b.add(r0, r), b.index(v * plan.valueLanes)});
        });
  };
  forEachTile(block, [&](Value r0, Value first, Value begin, Value end) {
    emitRunningWeights(block, r0, first, begin, end);
    if (!spec.weightRounding)
      addWeighted(r0, first, begin, end);
  });
  if (spec.weightRounding) {
    if (spec.sinks)
      b.loop(zero, rowsUp, 1, [&](Value r) {
        Value total = addSink(b.load(state, {r, one}), b.load(state, {r, zero}),
                              place(r).second);
        b.store(total, state, {r, one});
      });
    forEachTile(block, [&](Value r0, Value first, Value begin, Value end) {
      emitRoundedWeights(block, r0, first, begin, end);
      addWeighted(r0, first, begin, end);
    });
  }

  b.loop(zero, rows, 1, [&](Value r) {
    auto [position, head] = place(r);
    Value total = b.load(state, {r, one});
    if (spec.weightRounding) {
      // Its weights were divided; a row that sees nothing stays one.
      Value none = arith::CmpFOp::create(b, arith::CmpFPredicate::OEQ, total,
                                         b.like(total, 0.0));
      total = b.select(none, total, b.like(total, 1.0));
    } else if (spec.sinks) {
      total = addSink(total, b.load(state, {r, zero}), head);
    }
    storeRow(total, row, position, head, [&](int64_t v) {
      return b.loadVector(sums, {r, b.index(v * plan.valueLanes)},
                          plan.valueLanes);
    });
  });
}
