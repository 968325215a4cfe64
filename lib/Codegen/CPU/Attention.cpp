//===- Attention.cpp - Attention over the cache ---------------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Keys are cut into chunks of fixed slots. The query heads of a group are rows
/// that share every load of a key or a value.
///
/// Few queries (T ≤ 4): a work item is a chunk of one key head. Dot products
/// run along the head's entries, several keys at once, and one tree of shuffles
/// sums them all; every item leaves its maximum, sum and weighted values, and
/// after a barrier each row puts its chunks together (Dao et al.,
/// FlashDecoding, 2023).
///
/// Many queries: a work item is a block of queries of one key head, which goes
/// through the chunks with a running maximum (Milakov and Gimelshein,
/// arXiv:1805.02867, algorithm 3; Dao et al., arXiv:2205.14135, algorithm 1).
/// The chunk's keys are transposed once per item, so that scores are a matrix
/// product whose lanes are keys.
///
/// Scores carry a factor log2 e from the query on, so that exponentials are
/// powers of two.
///
//===----------------------------------------------------------------------===//

#include "VectorBuilder.h"
#include "VectorMath.h"
#include "miura/Codegen/CPU/VectorKernels.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "llvm/Support/MathExtras.h"
#include <limits>

using namespace mlir;
using namespace miura::codegen;

namespace {

using Values = VectorBuilder::Values;

/// Slots of a chunk: enough that a chunk's partial result costs little beside
/// it, few enough that a short context feeds several threads.
constexpr int64_t chunkSlots = 128;
/// Up to so many queries per row of the batch, keys are not transposed.
constexpr int64_t fewQueries = 4;
/// Rows of a tile of scores: 6 × 4 vectors fill 32 registers, 6 × 2 fill 16.
constexpr int64_t tileRows = 6;
/// Rows (queries × heads of a group) of a block, about.
constexpr int64_t blockRows = 48;
/// Below every score that is not −∞: the maximum of no scores.
constexpr double noMaximum = -3.3e38;
/// What a finite mask takes no score below: a mask may hide with the lowest
/// number, and scores that are all hidden so are equal.
constexpr double lowestScore = -3.2e38;
constexpr double log2e = 1.4426950408889634;

int64_t align(int64_t bytes) { return llvm::alignTo(bytes, 64); }

/// Numbers that follow from the spec, and offsets in a thread's scratch.
struct Plan {
  int64_t group, lanes;
  /// 32 and not 16.
  bool hasManyRegisters;
  /// Lanes along a key or query, along a value; sizes padded to these.
  int64_t keyLanes, keyPadded, valueLanes, valuePadded;
  /// Rows that share loads when queries are few.
  int64_t fewRows;
  /// Vectors of keys in a tile of scores.
  int64_t tileVectors;
  int64_t blockQueries, rowsPadded;
  // Bytes in a thread's scratch.
  int64_t weightsAt, biasAt, queryAt, keyAt, sumAt, stateAt, perThread;
  /// Columns of the state of a row: maximum, sum, and the factor of the last
  /// chunk.
  static constexpr int64_t stateColumns = 3;

  Plan(const AttentionSpec &spec, const IsaRow &row) {
    lanes = row.lanes();
    hasManyRegisters = row.registers >= 32;
    group = spec.heads / spec.kvHeads;
    auto laneCount = [&](int64_t size) {
      return std::clamp<int64_t>(powerBelow(size), 4, lanes);
    };
    keyLanes = laneCount(spec.size);
    keyPadded = llvm::alignTo(spec.size, keyLanes);
    valueLanes = laneCount(spec.valueSize);
    valuePadded = llvm::alignTo(spec.valueSize, valueLanes);
    fewRows = std::min<int64_t>(group, hasManyRegisters ? 4 : 2);
    tileVectors = hasManyRegisters ? 4 : 2;
    blockQueries = std::max<int64_t>(1, blockRows / group);
    rowsPadded = llvm::alignTo(blockQueries * group, tileRows);

    int64_t at = 0;
    auto place = [&](int64_t &offset, int64_t floats) {
      offset = at;
      at += align(4 * floats);
    };
    place(weightsAt, std::max(tileRows, fewRows) * chunkSlots);
    place(biasAt, chunkSlots);
    place(queryAt, rowsPadded * keyPadded);
    place(keyAt, keyPadded * chunkSlots);
    place(sumAt, rowsPadded * valuePadded);
    place(stateAt, rowsPadded * stateColumns);
    perThread = at;
  }
};

class AttentionEmitter {
public:
  AttentionEmitter(VectorBuilder &b, func::FuncOp func,
                   const AttentionSpec &spec, const IsaRow &row)
      : b(b), func(func), spec(spec), plan(spec, row) {
    unsigned next = 0;
    auto take = [&] { return func.getArgument(next++); };
    query = take();
    key = take();
    value = take();
    lengths = take();
    if (spec.padding)
      padding = take();
    if (spec.mask)
      mask = take();
    if (spec.sinks)
      sinks = take();
    out = take();
    scratch = take();
    team = take();
    tid = take();
    nthreads = take();
  }

  void emit();

private:
  /// The slots [begin, end) that a query may see.
  struct Range {
    Value begin, end;
  };
  Range visible(Value row, Value length, Value position);
  /// The first slots of `vectors` lanes that a kernel reads for slots from
  /// `begin` on: relative to the chunk at `first`, a multiple of the lanes.
  Value alignedStart(Value begin, Value first, int64_t multiple);

  void emitFew();
  void emitFewItem(Value row, Value chunk, Value kvHead);
  void emitMerge();
  void emitMany();
  void emitManyItem(Value row, Value kvHead, Value firstQuery);

  void emitBias(Value row, Value first);
  void emitScores(ArrayRef<Values> queries, Value row, Value kvHead,
                  Value first, Value begin, Value end, Value weights);
  void emitTransposedKeys(Value row, Value kvHead, Value first, Value begin,
                          Value end, Value keys);
  /// Whose scores a row has, and the chunk's first slot.
  struct ScoreRow {
    Value row, head, position, first;
  };
  /// What the mask adds to the scores of the lanes `seen` from slot k of the
  /// chunk on.
  Value loadMask(const ScoreRow &of, Value k, Value seen);
  /// Weights of a row of scores in place; returns their maximum (at least
  /// `floor`) and their sum.
  std::pair<Value, Value> emitSoftmax(Value weights, Value weightRow,
                                      const ScoreRow &of, Value begin,
                                      Value end, Range range, Value floor);
  /// The sum of a row's weights, which are relative to `maximum`, with its
  /// head's sink.
  Value addSink(Value total, Value maximum, Value head);
  /// Σ weights[r][k] · value[first + k] for k in [begin, end), `rows` rows from
  /// weight row 0 on. `start(r, v)` gives the first value of vector v (null:
  /// zero).
  void emitWeightedSum(int64_t rows, Value weights, Value row, Value kvHead,
                       Value first, Value begin, Value end,
                       function_ref<Value(int64_t, int64_t)> start,
                       function_ref<void(int64_t, int64_t, Value)> finish);

  double queryFactor() const {
    return spec.softcap > 0 ? spec.scale / spec.softcap : spec.scale * log2e;
  }
  int64_t keyVectors() const { return plan.keyPadded / plan.keyLanes; }
  int64_t valueVectors() const { return plan.valuePadded / plan.valueLanes; }
  /// Vector v of a row of the query, scaled.
  Value loadQuery(Value row, Value position, Value head, int64_t v) {
    Value column = b.add(b.mul(head, spec.size), v * plan.keyLanes);
    Value q = b.loadPart(query, {row, position, column},
                         spec.size - v * plan.keyLanes, plan.keyLanes);
    return b.mulf(q, b.like(q, queryFactor()));
  }
  Value loadKey(Value row, Value kvHead, Value slot, int64_t v) {
    return b.loadPart(key, {row, kvHead, slot, b.index(v * plan.keyLanes)},
                      spec.size - v * plan.keyLanes, plan.keyLanes);
  }
  void storeOut(Value vector, Value row, Value position, Value head,
                int64_t v) {
    Value column = b.add(b.mul(head, spec.valueSize), v * plan.valueLanes);
    b.storePart(vector, out, {row, position, column},
                spec.valueSize - v * plan.valueLanes);
  }
  /// sum / total, or zero where no key was seen.
  Value normalize(Value sum, Value total) {
    Value none = arith::CmpFOp::create(b, arith::CmpFPredicate::OEQ, total,
                                       b.like(total, 0.0));
    Value inverse =
        b.select(none, b.like(total, 0.0), b.divf(b.like(total, 1.0), total));
    return b.mulf(
        sum,
        b.broadcast(inverse, cast<VectorType>(sum.getType()).getNumElements()));
  }

  /// Stores a row of the result: `sum(v)` / total, or what a query gives that
  /// sees no key, whose weights are all 0.
  void storeRow(Value total, Value row, Value position, Value head,
                function_ref<Value(int64_t)> sum);
  /// The row of a query that sees no key, with `spec.hidden`.
  void storeBlind(Value row, Value position, Value head);

  VectorBuilder &b;
  func::FuncOp func;
  const AttentionSpec &spec;
  const Plan plan;
  Value query, key, value, lengths, padding, mask, sinks, out, scratch, team,
      tid, nthreads;
  Value batch, sequence, capacity, chunks;
  // This thread's scratch.
  Value weights, bias, queryRows, keyColumns, sums, state;
  // Scratch of all threads: per row and chunk the weighted values; per row the
  // chunks' maxima and sums, padded to whole vectors.
  Value partials, maxima, totals, chunksPadded;
};

} // namespace

AttentionEmitter::Range AttentionEmitter::visible(Value row, Value length,
                                                  Value position) {
  Value at = b.add(length, position), zero = b.index(0);
  Value end = spec.causal ? b.add(at, 1) : b.add(length, sequence);
  end = b.min(end, capacity);
  if (spec.window == 0)
    return {zero, end};
  Value begin = b.max(zero, b.sub(b.add(at, 1), b.index(spec.window)));
  return {b.min(begin, end), end};
}

Value AttentionEmitter::alignedStart(Value begin, Value first,
                                     int64_t multiple) {
  if (spec.window == 0)
    return b.index(0);
  Value offset = b.max(b.index(0), b.sub(begin, first));
  return b.mul(b.div(offset, multiple), multiple);
}

void AttentionEmitter::emit() {
  batch = b.dim(query, 0);
  sequence = b.dim(query, 1);
  capacity = b.dim(key, 2);
  chunks = b.ceilDiv(capacity, chunkSlots);
  chunksPadded = b.roundUp(chunks, plan.lanes);

  Value mine = b.mul(tid, plan.perThread);
  auto view = [&](int64_t offset, int64_t rows, int64_t columns) {
    return b.floatRows(scratch, b.add(mine, offset), b.index(rows), columns);
  };
  weights = view(plan.weightsAt, std::max(tileRows, plan.fewRows), chunkSlots);
  bias = view(plan.biasAt, 1, chunkSlots);
  queryRows = view(plan.queryAt, plan.rowsPadded, plan.keyPadded);
  keyColumns = view(plan.keyAt, plan.keyPadded, chunkSlots);
  sums = view(plan.sumAt, plan.rowsPadded, plan.valuePadded);
  state = view(plan.stateAt, plan.rowsPadded, Plan::stateColumns);

  Value few = arith::CmpIOp::create(b, arith::CmpIPredicate::sle, sequence,
                                    b.index(fewQueries));
  b.ifElse(few, [&] { emitFew(); }, [&] { emitMany(); });
}

//===----------------------------------------------------------------------===//
// Parts of both
//===----------------------------------------------------------------------===//

void AttentionEmitter::emitBias(Value row, Value first) {
  // 0 or −∞ per slot of the chunk. Whole vectors while they are inside the
  // mask's row, single slots behind.
  Value count = b.min(b.sub(capacity, first), b.index(chunkSlots));
  Value whole = b.mul(b.div(count, plan.lanes), plan.lanes);
  auto biasOf = [&](Value seen) {
    Value zero = arith::ConstantOp::create(b, b.getZeroAttr(seen.getType()));
    Value hidden =
        arith::CmpIOp::create(b, arith::CmpIPredicate::eq, seen, zero);
    Type type = b.getF32Type();
    if (auto vector = dyn_cast<VectorType>(seen.getType()))
      type = b.floats(vector.getNumElements());
    return b.select(hidden,
                    b.splat(type, -std::numeric_limits<double>::infinity()),
                    b.splat(type, 0.0));
  };
  b.loop(b.index(0), whole, plan.lanes, [&](Value k) {
    Value seen = b.loadVector(padding, {row, b.add(first, k)}, plan.lanes);
    b.storeVector(biasOf(seen), bias, {b.index(0), k});
  });
  b.loop(whole, count, 1, [&](Value k) {
    Value seen = b.load(padding, {row, b.add(first, k)});
    b.store(biasOf(seen), bias, {b.index(0), k});
  });
}

Value AttentionEmitter::loadMask(const ScoreRow &of, Value k, Value seen) {
  Value indices[] = {of.row, of.head, of.position, b.add(of.first, k)};
  for (unsigned d = 0; d < 4; ++d)
    if (spec.isShared[d])
      indices[d] = b.index(0);
  if (spec.isShared[3])
    return b.broadcast(b.load(mask, indices), plan.lanes);
  return b.loadMasked(mask, indices, seen);
}

Value AttentionEmitter::addSink(Value total, Value maximum, Value head) {
  Value sink = b.mulf(b.load(sinks, {head}), b.f32(log2e));
  // The vector exponential, of one number.
  Value shift = b.broadcast(b.subf(sink, maximum), plan.lanes);
  Value weight = vector::ExtractOp::create(b, emitExp2(b, shift), 0);
  // A query that sees no key stays one.
  Value none = arith::CmpFOp::create(b, arith::CmpFPredicate::OEQ, total,
                                     b.like(total, 0.0));
  return b.select(none, total, b.addf(total, weight));
}

std::pair<Value, Value>
AttentionEmitter::emitSoftmax(Value weights, Value weightRow,
                              const ScoreRow &of, Value begin, Value end,
                              Range range, Value floor) {
  // `range` is relative to the chunk; lanes outside it become −∞.
  SmallVector<int32_t> steps;
  for (int32_t i = 0; i < plan.lanes; ++i)
    steps.push_back(i);
  Value iota = arith::ConstantOp::create(
      b, DenseElementsAttr::get(b.ints(plan.lanes), ArrayRef(steps)));
  auto splatIndex = [&](Value index) {
    return b.broadcast(arith::IndexCastOp::create(b, b.getI32Type(), index),
                       plan.lanes);
  };
  Value hidden =
      b.splat(b.floats(plan.lanes), -std::numeric_limits<double>::infinity());
  Value limit = splatIndex(range.end);
  Value low = spec.window ? splatIndex(range.begin) : Value();

  Values largest = b.loop(
      begin, end, plan.lanes, {b.splat(hidden.getType(), noMaximum)},
      [&](Value k, ValueRange state) -> Values {
        Value s = b.loadVector(weights, {weightRow, k}, plan.lanes);
        if (spec.softcap > 0)
          s = b.mulf(emitTanh(b, s), b.like(s, spec.softcap * log2e));
        Value at = arith::AddIOp::create(b, splatIndex(k), iota);
        Value seen =
            arith::CmpIOp::create(b, arith::CmpIPredicate::slt, at, limit);
        if (spec.mask) {
          Value m = loadMask(of, k, seen);
          Value shown =
              arith::CmpFOp::create(b, arith::CmpFPredicate::OGT, m, hidden);
          s = b.fma(m, b.like(m, log2e), s);
          s = b.select(shown, b.maxf(s, b.like(s, lowestScore)), hidden);
        }
        if (spec.padding)
          s = b.addf(s, b.loadVector(bias, {b.index(0), k}, plan.lanes));
        if (low)
          seen = b.both(seen, arith::CmpIOp::create(
                                  b, arith::CmpIPredicate::sge, at, low));
        s = b.select(seen, s, hidden);
        b.storeVector(s, weights, {weightRow, k});
        return {b.maxf(s, state[0])};
      });
  Value maximum = b.maxf(b.maxLanes(largest[0]), floor);
  Value shift = b.broadcast(maximum, plan.lanes);
  Values total = b.loop(begin, end, plan.lanes, {b.zeros(plan.lanes)},
                        [&](Value k, ValueRange state) -> Values {
                          Value s =
                              b.loadVector(weights, {weightRow, k}, plan.lanes);
                          Value p = emitExp2(b, b.subf(s, shift));
                          b.storeVector(p, weights, {weightRow, k});
                          return {b.addf(state[0], p)};
                        });
  return {maximum, b.sumLanes(total[0])};
}

void AttentionEmitter::emitWeightedSum(
    int64_t rows, Value weights, Value row, Value kvHead, Value first,
    Value begin, Value end, function_ref<Value(int64_t, int64_t)> start,
    function_ref<void(int64_t, int64_t, Value)> finish) {
  // As many vectors at once as registers hold; where these are few, several
  // keys at once hide the latency of the sum.
  int64_t budget = plan.hasManyRegisters ? 24 : 12;
  int64_t width = std::clamp<int64_t>(budget / rows, 1, valueVectors());
  for (int64_t v0 = 0; v0 < valueVectors(); v0 += width) {
    int64_t vectors = std::min(width, valueVectors() - v0);
    int64_t sets =
        std::clamp<int64_t>(8 / (rows * vectors), 1, budget / (rows * vectors));
    auto step = [&](Value k, int64_t set, MutableArrayRef<Value> sum) {
      Values loaded;
      for (int64_t v = v0; v < v0 + vectors; ++v)
        loaded.push_back(b.loadPart(
            value, {row, kvHead, b.add(first, k), b.index(v * plan.valueLanes)},
            spec.valueSize - v * plan.valueLanes, plan.valueLanes));
      for (int64_t r = 0; r < rows; ++r) {
        Value p =
            b.broadcast(b.load(weights, {b.index(r), k}), plan.valueLanes);
        for (int64_t v = 0; v < vectors; ++v) {
          Value &s = sum[(set * rows + r) * vectors + v];
          s = b.fma(p, loaded[v], s);
        }
      }
    };
    Values sum;
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t v = v0; v < v0 + vectors; ++v) {
        Value s = start(r, v);
        sum.push_back(s ? s : b.zeros(plan.valueLanes));
      }
    sum.resize(sets * rows * vectors, b.zeros(plan.valueLanes));
    Value whole = end;
    if (sets > 1)
      whole = b.add(begin, b.mul(b.div(b.sub(end, begin), sets), sets));
    sum = b.loop(begin, whole, sets, sum, [&](Value k, ValueRange state) {
      Values next(state);
      for (int64_t s = 0; s < sets; ++s)
        step(b.add(k, s), s, next);
      return next;
    });
    if (sets > 1)
      sum = b.loop(whole, end, 1, sum, [&](Value k, ValueRange state) {
        Values next(state);
        step(k, 0, next);
        return next;
      });
    int64_t count = rows * vectors;
    for (int64_t i = 0; i < count; ++i) {
      Value s = sum[i];
      for (int64_t set = 1; set < sets; ++set)
        s = b.addf(s, sum[set * count + i]);
      finish(i / vectors, v0 + i % vectors, s);
    }
  }
}

void AttentionEmitter::storeRow(Value total, Value row, Value position,
                                Value head, function_ref<Value(int64_t)> sum) {
  auto store = [&] {
    for (int64_t v = 0; v < valueVectors(); ++v)
      storeOut(normalize(sum(v), total), row, position, head, v);
  };
  if (!spec.hidden)
    return store();
  // A branch that text without padding never takes.
  Value blind = arith::CmpFOp::create(b, arith::CmpFPredicate::OEQ, total,
                                      b.like(total, 0.0));
  b.ifElse(blind, [&] { storeBlind(row, position, head); }, store);
}

void AttentionEmitter::storeBlind(Value row, Value position, Value head) {
  Value length = b.loadIndex(lengths, {row});
  Range range = visible(row, length, position);
  Value end =
      spec.hiddenOnce ? range.end : b.min(b.add(length, sequence), capacity);
  Value kvHead = b.div(head, plan.group);
  Values queries;
  for (int64_t v = 0; v < keyVectors(); ++v)
    queries.push_back(loadQuery(row, position, head, v));
  // Maximum, sum and weighted values so far; the number is added to the score
  // itself, in f32 as the file's softmax sees it.
  Values start = {b.f32(-std::numeric_limits<double>::infinity()), b.f32(0.0)};
  start.append(valueVectors(), b.zeros(plan.valueLanes));
  Values sums =
      b.loop(b.index(0), end, 1, start, [&](Value slot, ValueRange state) {
        Value dot = b.zeros(plan.keyLanes);
        for (int64_t v = 0; v < keyVectors(); ++v)
          dot = b.fma(queries[v], loadKey(row, kvHead, slot, v), dot);
        Value score = b.broadcast(b.sumLanes(dot), plan.lanes);
        score = spec.softcap > 0
                    ? b.mulf(emitTanh(b, score), b.like(score, spec.softcap))
                    : b.mulf(score, b.like(score, 1 / log2e));
        score = b.addf(score, b.like(score, *spec.hidden));
        if (spec.hiddenOnce && spec.window != 0) {
          Value shown = b.load(padding, {row, slot});
          Value zero =
              arith::ConstantOp::create(b, b.getZeroAttr(shown.getType()));
          Value isPadding =
              arith::CmpIOp::create(b, arith::CmpIPredicate::eq, shown, zero);
          score = b.select(
              b.both(isPadding, b.less(slot, range.begin)),
              b.like(score, -std::numeric_limits<double>::infinity()), score);
        }
        Value before = b.broadcast(state[0], plan.lanes);
        // Not −∞, from which −∞ could not be taken.
        Value maximum =
            b.maxf(b.maxf(score, before),
                   b.like(score, std::numeric_limits<float>::lowest()));
        auto weigh = [&](Value s) -> Value {
          Value shifted = b.mulf(b.subf(s, maximum), b.like(maximum, log2e));
          return vector::ExtractOp::create(b, emitExp2(b, shifted), 0);
        };
        Value factor = weigh(before), weight = weigh(score);
        Values next = {vector::ExtractOp::create(b, maximum, 0),
                       b.fma(state[1], factor, weight)};
        Value wideFactor = b.broadcast(factor, plan.valueLanes);
        Value wideWeight = b.broadcast(weight, plan.valueLanes);
        for (int64_t v = 0; v < valueVectors(); ++v) {
          Value loaded = b.loadPart(
              value, {row, kvHead, slot, b.index(v * plan.valueLanes)},
              spec.valueSize - v * plan.valueLanes, plan.valueLanes);
          next.push_back(
              b.fma(wideWeight, loaded, b.mulf(wideFactor, state[2 + v])));
        }
        return next;
      });
  for (int64_t v = 0; v < valueVectors(); ++v)
    storeOut(normalize(sums[2 + v], sums[1]), row, position, head, v);
}

//===----------------------------------------------------------------------===//
// Few queries
//===----------------------------------------------------------------------===//

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

//===----------------------------------------------------------------------===//
// Many queries
//===----------------------------------------------------------------------===//

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
        rows.push_back(loadKey(row, kvHead, slot, v));
      for (auto [i, column] : llvm::enumerate(b.transpose(rows)))
        b.storeVector(column, keys, {b.index(v * plan.keyLanes + i), k});
    }
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

  Value chunkBegin = b.mul(b.div(firstRange.begin, chunkSlots), chunkSlots);
  b.loop(chunkBegin, lastRange.end, chunkSlots, [&](Value first) {
    // All slots from here on are relative to the chunk.
    int64_t wide = plan.tileVectors * plan.lanes;
    Value end = b.min(b.sub(lastRange.end, first), b.index(chunkSlots));
    Value begin = alignedStart(firstRange.begin, first, wide);
    if (spec.padding)
      emitBias(row, first);
    emitTransposedKeys(row, kvHead, first, begin, end, keyColumns);

    b.loop(zero, rowsUp, tileRows, [&](Value r0) {
      Range low = visible(row, length, place(r0).first);
      Range high = visible(row, length, place(b.add(r0, tileRows - 1)).first);
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

      b.loop(zero, b.index(tileRows), 1, [&](Value i) {
        Value r = b.add(r0, i);
        auto [position, head] = place(r);
        Range range = visible(row, length, position);
        Range relative = {b.sub(range.begin, first), b.sub(range.end, first)};
        Value before = b.load(state, {r, zero});
        auto [maximum, total] =
            emitSoftmax(weights, i, {row, head, position, first}, tileBegin,
                        tileEnd, relative, before);
        Value factor = emitExp2(b, b.subf(before, maximum));
        b.store(maximum, state, {r, zero});
        b.store(b.fma(b.load(state, {r, one}), factor, total), state, {r, one});
        b.store(factor, state, {r, b.index(2)});
      });

      emitWeightedSum(
          tileRows, weights, row, kvHead, first, tileBegin, tileEnd,
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
    });
  });

  b.loop(zero, rows, 1, [&](Value r) {
    auto [position, head] = place(r);
    Value total = b.load(state, {r, one});
    if (spec.sinks)
      total = addSink(total, b.load(state, {r, zero}), head);
    storeRow(total, row, position, head, [&](int64_t v) {
      return b.loadVector(sums, {r, b.index(v * plan.valueLanes)},
                          plan.valueLanes);
    });
  });
}

//===----------------------------------------------------------------------===//
// Interface
//===----------------------------------------------------------------------===//

void miura::codegen::emitAttentionKernel(OpBuilder &builder, func::FuncOp func,
                                         const AttentionSpec &spec,
                                         const IsaRow &row) {
  assert(spec.size > 0 && spec.valueSize > 0 &&
         spec.heads % spec.kvHeads == 0 && (spec.causal || !spec.window) &&
         "an attention spec that the op's verifier accepts");
  OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPointToStart(func.empty() ? func.addEntryBlock()
                                                : &func.front());
  VectorBuilder b(func.getLoc(), builder, row.vectorBytes * 8);
  AttentionEmitter(b, func, spec, row).emit();
  func::ReturnOp::create(b);
}

int64_t miura::codegen::getAttentionScratchBytes(
    const AttentionSpec &spec, const IsaRow &row, int64_t batch,
    int64_t sequence, int64_t capacity, int64_t threads) {
  Plan plan(spec, row);
  int64_t rows = batch * std::min(sequence, fewQueries) * spec.heads;
  int64_t chunks = llvm::divideCeil(capacity, chunkSlots);
  return threads * plan.perThread +
         align(4 * rows * chunks * plan.valuePadded) +
         8 * rows * static_cast<int64_t>(llvm::alignTo(chunks, plan.lanes));
}

Value miura::codegen::emitAttentionScratchBytes(OpBuilder &builder,
                                                Location loc,
                                                const AttentionSpec &spec,
                                                const IsaRow &row, Value batch,
                                                Value sequence, Value capacity,
                                                Value threads) {
  VectorBuilder b(loc, builder, row.vectorBytes * 8);
  Plan plan(spec, row);
  Value rows =
      b.mul(b.mul(batch, b.min(sequence, b.index(fewQueries))), spec.heads);
  Value chunks = b.ceilDiv(capacity, chunkSlots);
  Value partials =
      b.roundUp(b.mul(b.mul(rows, chunks), 4 * plan.valuePadded), 64);
  Value stats = b.mul(b.mul(rows, b.roundUp(chunks, plan.lanes)), 8);
  Value bytes = b.add(b.add(b.mul(threads, plan.perThread), partials), stats);
  builder.restoreInsertionPoint(b.saveInsertionPoint());
  return bytes;
}
