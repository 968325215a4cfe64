//===- AttentionEmitter.h - Parts of the attention kernel -----*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// What the schedules of attention for few and for many queries share: sizes,
/// the scratch, and the parts of a row's scores and sums.
///
//===----------------------------------------------------------------------===//

#ifndef MIURA_LIB_CODEGEN_CPU_ATTENTIONEMITTER_H
#define MIURA_LIB_CODEGEN_CPU_ATTENTIONEMITTER_H

#include "VectorBuilder.h"
#include "VectorMath.h"
#include "miura/Codegen/CPU/VectorKernels.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "llvm/Support/MathExtras.h"
#include <limits>

namespace miura::codegen::attention {

using namespace mlir;
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

inline int64_t align(int64_t bytes) { return llvm::alignTo(bytes, 64); }

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
    for (auto [rounding, to] : {std::pair(&spec.keyRounding, &toKey),
                                std::pair(&spec.valueRounding, &toValue),
                                std::pair(&spec.scoreRounding, &toScore),
                                std::pair(&spec.weightRounding, &toWeight)})
      if (*rounding) {
        Value scale = take(), zero = take();
        *to = Codes{scale, zero, **rounding};
      }
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
  /// Of a block of queries: weights that are rounded have to be divided by
  /// their sum before, so the chunks are gone through for the sums first.
  struct Block {
    Value row, kvHead, length, rowsUp;
    Range first, last;
    function_ref<std::pair<Value, Value>(Value)> place;
  };
  /// `body(r0, first, begin, end)` for every tile of rows, from r0 on, with the
  /// scores of the slots [begin, end) of the chunk at `first` in `weights`.
  void forEachTile(const Block &block,
                   function_ref<void(Value, Value, Value, Value)> body);
  void emitRunningWeights(const Block &block, Value r0, Value first,
                          Value begin, Value end);
  void emitRoundedWeights(const Block &block, Value r0, Value first,
                          Value begin, Value end);
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
  /// The first half of it: what is not seen becomes −∞; returns the maximum.
  Value emitVisibleScores(Value weights, Value weightRow, const ScoreRow &of,
                          Value begin, Value end, Range range, Value floor);
  /// The codes next to x, as numbers; x itself without a rounding.
  struct Codes {
    Value scale, zero;
    AttentionSpec::Rounding range;
  };
  Value round(Value x, const std::optional<Codes> &to);
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
    // Scores are rounded as the file has them.
    if (spec.scoreRounding)
      return 1;
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
  std::optional<Codes> toKey, toValue, toScore, toWeight;
  Value batch, sequence, capacity, chunks;
  // This thread's scratch.
  Value weights, bias, queryRows, keyColumns, sums, state;
  // Scratch of all threads: per row and chunk the weighted values; per row the
  // chunks' maxima and sums, padded to whole vectors.
  Value partials, maxima, totals, chunksPadded;
};

} // namespace miura::codegen::attention

#endif // MIURA_LIB_CODEGEN_CPU_ATTENTIONEMITTER_H
