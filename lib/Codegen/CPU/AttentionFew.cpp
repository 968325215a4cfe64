//===- AttentionFew.cpp - Attention of few queries ------------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Few queries (T ≤ 4): a work item is a chunk of one key head. Dot products
/// run along the head's entries, several keys at once, and one tree of shuffles
/// sums them all; every item leaves its maximum, sum and weighted values, and
/// after a barrier each row puts its chunks together (Dao et al.,
/// FlashDecoding, 2023).
///
//===----------------------------------------------------------------------===//

#include "AttentionEmitter.h"

using namespace mlir;
using namespace miura::codegen;
using namespace miura::codegen::attention;

void AttentionEmitter::emitScores(ArrayRef<Values> queries, Value row,
                                  Value kvHead, Value first, Value begin,
                                  Value end, Value weights) {
  int64_t keys = plan.keyLanes;
  auto block = [&](Value k, bool inside) {
    // [row][four keys] → one vector per row and four keys.
    SmallVector<Values> parts(queries.size());
    for (int64_t quad = 0; quad < keys; quad += 4) {
      Values slots;
      for (int64_t i = 0; i < 4; ++i) {
        Value slot = b.add(b.add(first, k), quad + i);
        // What lies behind the last key is not read, but masked later.
        slots.push_back(
            inside ? slot : b.min(slot, b.sub(b.add(first, end), b.index(1))));
      }
      SmallVector<Values> sums(queries.size(), Values(4));
      for (int64_t v = 0; v < keyVectors(); ++v)
        for (int64_t i = 0; i < 4; ++i) {
          Value loaded = loadKey(row, kvHead, slots[i], v);
          for (auto [r, q] : llvm::enumerate(queries))
            sums[r][i] =
                v == 0 ? b.mulf(q[v], loaded) : b.fma(q[v], loaded, sums[r][i]);
        }
      for (auto [r, four] : llvm::enumerate(sums))
        parts[r].push_back(b.sumQuads(four));
    }
    for (auto [r, part] : llvm::enumerate(parts))
      b.storeVector(b.sumParts(part), weights, {b.index(r), k});
  };
  Value whole = b.add(begin, b.mul(b.div(b.sub(end, begin), keys), keys));
  b.loop(begin, whole, keys, [&](Value k) { block(k, /*inside=*/true); });
  b.ifThen(b.less(whole, end), [&] { block(whole, /*inside=*/false); });
}

void AttentionEmitter::emitFew() {
  Value shared = b.mul(nthreads, plan.perThread);
  Value rows = b.mul(b.mul(batch, sequence), spec.heads);
  partials =
      b.floatRows(scratch, shared, b.mul(rows, chunks), plan.valuePadded);
  shared = b.add(
      shared, b.roundUp(b.mul(b.mul(rows, chunks), 4 * plan.valuePadded), 64));
  Value stats = b.mul(rows, chunksPadded);
  auto flat = [&](Value offset) -> Value {
    return memref::ViewOp::create(
        b, MemRefType::get({ShapedType::kDynamic}, b.getF32Type()), scratch,
        offset, ValueRange{stats});
  };
  maxima = flat(shared);
  totals = flat(b.add(shared, b.mul(stats, 4)));

  b.loop(b.index(0), batch, 1, [&](Value row) {
    // Items of this row: chunk · kvHeads + head. A thread takes every
    // nthreads-th, the same ones in the next step: its part of the cache stays
    // near it.
    Value length = b.loadIndex(lengths, {row});
    Range firstRange = visible(row, length, b.index(0));
    Range lastRange = visible(row, length, b.sub(sequence, b.index(1)));
    Value begin = b.mul(b.div(firstRange.begin, chunkSlots), spec.kvHeads);
    Value end = b.mul(b.ceilDiv(lastRange.end, chunkSlots), spec.kvHeads);
    Value start = b.add(b.sub(begin, b.rem(begin, nthreads)),
                        b.rem(b.add(tid, row), nthreads));
    start = b.select(b.less(start, begin), b.add(start, nthreads), start);
    b.loop(start, end, nthreads, [&](Value item) {
      Value chunk = b.div(item, spec.kvHeads);
      emitFewItem(row, chunk, b.sub(item, b.mul(chunk, spec.kvHeads)));
    });
  });
  b.barrier(func, team);
  emitMerge();
}

void AttentionEmitter::emitFewItem(Value row, Value chunk, Value kvHead) {
  Value first = b.mul(chunk, chunkSlots);
  Value length = b.loadIndex(lengths, {row});
  if (spec.padding)
    emitBias(row, first);
  b.loop(b.index(0), sequence, 1, [&](Value position) {
    Range range = visible(row, length, position);
    Value inside = b.both(b.less(first, range.end),
                          b.less(range.begin, b.add(first, chunkSlots)));
    b.ifThen(inside, [&] {
      Value begin = alignedStart(range.begin, first, plan.lanes);
      Value end = b.min(b.sub(range.end, first), b.index(chunkSlots));
      Range relative = {b.sub(range.begin, first), b.sub(range.end, first)};
      Value head0 = b.mul(kvHead, plan.group);
      Value row0 = b.mul(b.add(b.mul(row, sequence), position), spec.heads);
      auto rowsFrom = [&](Value offset, int64_t rows) {
        Value head = b.add(head0, offset);
        SmallVector<Values> queries(rows);
        for (int64_t r = 0; r < rows; ++r)
          for (int64_t v = 0; v < keyVectors(); ++v)
            queries[r].push_back(loadQuery(row, position, b.add(head, r), v));
        emitScores(queries, row, kvHead, first, begin, end, weights);
        b.loop(b.index(0), b.index(rows), 1, [&](Value r) {
          auto [maximum, total] =
              emitSoftmax(weights, r, {row, b.add(head, r), position, first},
                          begin, end, relative, b.f32(noMaximum));
          Value at =
              b.add(b.mul(b.add(b.add(row0, head), r), chunksPadded), chunk);
          b.store(maximum, maxima, {at});
          b.store(total, totals, {at});
        });
        emitWeightedSum(
            rows, weights, row, kvHead, first, begin, end,
            [](int64_t, int64_t) { return Value(); },
            [&](int64_t r, int64_t v, Value sum) {
              Value at =
                  b.add(b.mul(b.add(b.add(row0, head), r), chunks), chunk);
              b.storeVector(sum, partials, {at, b.index(v * plan.valueLanes)});
            });
      };
      int64_t whole = plan.group / plan.fewRows * plan.fewRows;
      if (whole == plan.fewRows)
        rowsFrom(b.index(0), plan.fewRows);
      else
        b.loop(b.index(0), b.index(whole), plan.fewRows,
               [&](Value offset) { rowsFrom(offset, plan.fewRows); });
      if (whole < plan.group)
        rowsFrom(b.index(whole), plan.group - whole);
    });
  });
}

void AttentionEmitter::emitMerge() {
  Value rows = b.mul(b.mul(batch, sequence), spec.heads);
  b.loop(tid, rows, nthreads, [&](Value item) {
    Value query = b.div(item, spec.heads);
    Value head = b.sub(item, b.mul(query, spec.heads));
    Value row = b.div(query, sequence);
    Value position = b.sub(query, b.mul(row, sequence));
    Range range = visible(row, b.loadIndex(lengths, {row}), position);
    Value begin = b.div(range.begin, chunkSlots);
    Value end = b.ceilDiv(range.end, chunkSlots);
    Value base = b.mul(item, chunksPadded);
    // Factors 2^(maximum of the chunk − maximum of all) in place of the maxima.
    // There are few chunks; what is short is one vector.
    Value maximum = b.loop(begin, end, 1, {b.f32(noMaximum)},
                           [&](Value c, ValueRange state) -> Values {
                             Value m = b.load(maxima, {b.add(base, c)});
                             return {b.maxf(m, state[0])};
                           })[0];
    Value shift = b.broadcast(maximum, plan.lanes);
    b.loop(alignedStart(begin, b.index(0), plan.lanes), end, plan.lanes,
           [&](Value c) {
             Value m = b.loadVector(maxima, {b.add(base, c)}, plan.lanes);
             b.storeVector(emitExp2(b, b.subf(m, shift)), maxima,
                           {b.add(base, c)});
           });
    Values sums = {b.f32(0.0)};
    sums.append(valueVectors(), b.zeros(plan.valueLanes));
    sums = b.loop(begin, end, 1, sums, [&](Value c, ValueRange state) {
      Value at = b.add(base, c);
      Value factor = b.load(maxima, {at});
      Values next = {b.fma(factor, b.load(totals, {at}), state[0])};
      Value wide = b.broadcast(factor, plan.valueLanes);
      for (int64_t v = 0; v < valueVectors(); ++v) {
        Value partial = b.loadVector(
            partials,
            {b.add(b.mul(item, chunks), c), b.index(v * plan.valueLanes)},
            plan.valueLanes);
        next.push_back(b.fma(wide, partial, state[1 + v]));
      }
      return next;
    });
    Value total = spec.sinks ? addSink(sums[0], maximum, head) : sums[0];
    storeRow(total, row, position, head,
             [&](int64_t v) { return sums[1 + v]; });
  });
}
