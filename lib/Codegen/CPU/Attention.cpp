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
/// Few queries go through AttentionFew.cpp, many through AttentionMany.cpp.
///
/// Scores carry a factor log2 e from the query on, so that exponentials are
/// powers of two.
///
//===----------------------------------------------------------------------===//

#include "AttentionEmitter.h"

using namespace mlir;
using namespace miura::codegen;
using namespace miura::codegen::attention;

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
  // Weights that are rounded need their sum first, and blocks see all keys.
  if (spec.hasRounding())
    return emitMany();
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

Value AttentionEmitter::round(Value x, const std::optional<Codes> &to) {
  if (!to)
    return x;
  auto all = [&](Value number) {
    auto vector = dyn_cast<VectorType>(x.getType());
    return vector ? b.broadcast(number, vector.getNumElements()) : number;
  };
  Value scale = all(to->scale), zero = all(to->zero);
  Value code = math::RoundEvenOp::create(b, b.divf(x, scale));
  code = b.addf(code, zero);
  code = b.minf(b.maxf(code, b.like(x, to->range.least)),
                b.like(x, to->range.greatest));
  return b.mulf(b.subf(code, zero), scale);
}

Value AttentionEmitter::emitVisibleScores(Value weights, Value weightRow,
                                          const ScoreRow &of, Value begin,
                                          Value end, Range range, Value floor) {
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
        if (spec.scoreRounding) {
          s = b.mulf(s, b.like(s, spec.scale));
          if (spec.softcap > 0)
            s = b.mulf(emitTanh(b, b.divf(s, b.like(s, spec.softcap))),
                       b.like(s, spec.softcap));
          s = b.mulf(round(s, toScore), b.like(s, log2e));
        } else if (spec.softcap > 0) {
          s = b.mulf(emitTanh(b, s), b.like(s, spec.softcap * log2e));
        }
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
  return b.maxf(b.maxLanes(largest[0]), floor);
}

std::pair<Value, Value>
AttentionEmitter::emitSoftmax(Value weights, Value weightRow,
                              const ScoreRow &of, Value begin, Value end,
                              Range range, Value floor) {
  Value maximum =
      emitVisibleScores(weights, weightRow, of, begin, end, range, floor);
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
        loaded.push_back(round(b.loadPart(value,
                                          {row, kvHead, b.add(first, k),
                                           b.index(v * plan.valueLanes)},
                                          spec.valueSize - v * plan.valueLanes,
                                          plan.valueLanes),
                               toValue));
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
// Interface
//===----------------------------------------------------------------------===//

void miura::codegen::emitAttentionKernel(OpBuilder &builder, func::FuncOp func,
                                         const AttentionSpec &spec,
                                         const IsaRow &row) {
  assert(spec.size > 0 && spec.valueSize > 0 &&
         spec.heads % spec.kvHeads == 0 && (spec.causal || !spec.window) &&
         !(spec.hidden && spec.hasRounding()) &&
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
