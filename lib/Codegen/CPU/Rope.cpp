//===- Rope.cpp - Rotary embedding and the cache's update -----------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The heads of all positions are divided among threads. A head is read from
/// the output of a linear, where heads are not split yet, and written either
/// back in that order or straight into its slot of the cache.
/// Source: Su et al. (RoFormer), arXiv:2104.09864, eq. (34).
///
//===----------------------------------------------------------------------===//

#include "RowBuilder.h"
#include "miura/Codegen/CPU/RowKernels.h"

using namespace mlir;
using namespace miura::codegen;

namespace {

/// Where the entries of one head at one position are read and written.
struct HeadPlace {
  Value memref;
  SmallVector<Value> leading;
  Value start;
};

} // namespace

/// Writes one head, rotated, from `from` to `to`.
static void emitRotation(RowBuilder &b, const RopeSpec &spec,
                         const HeadPlace &from, const HeadPlace &to, Value cos,
                         Value sin, Value cosRow, Value t) {
  auto at = [&](const HeadPlace &place, Value i) {
    SmallVector<Value> indices(place.leading);
    indices.push_back(b.add(i, place.start));
    return indices;
  };
  int64_t half = spec.rotated / 2;
  Value zero = b.index(0);
  if (spec.rotated && !spec.interleaved) {
    Value end = b.index(half);
    b.columns(zero, end, [&](Value i, Value m) {
      Value j = b.add(i, half);
      Value x1 = b.loadLanes(from.memref, at(from, i), m);
      Value x2 = b.loadLanes(from.memref, at(from, j), m);
      Value c1 = b.loadLanes(cos, {cosRow, t, i}, m);
      Value c2 = b.loadLanes(cos, {cosRow, t, j}, m);
      Value s1 = b.loadLanes(sin, {cosRow, t, i}, m);
      Value s2 = b.loadLanes(sin, {cosRow, t, j}, m);
      Value y1 = b.subf(b.mulf(x1, c1), b.mulf(x2, s1));
      Value y2 = b.addf(b.mulf(x2, c2), b.mulf(x1, s2));
      b.storeLanes(y1, to.memref, at(to, i), m);
      b.storeLanes(y2, to.memref, at(to, j), m);
    });
  } else if (spec.rotated) {
    // Pairs stand side by side: a vector with its pairs swapped is the other
    // factor, negative where the first of a pair is written.
    SmallVector<int64_t> swap;
    SmallVector<float> signs;
    for (int64_t i = 0; i < b.row.lanes(); ++i) {
      swap.push_back(i ^ 1);
      signs.push_back(i % 2 ? 1.0f : -1.0f);
    }
    Value sign = arith::ConstantOp::create(
        b, DenseElementsAttr::get(b.floats(), ArrayRef(signs)));
    b.columns(zero, b.index(spec.rotated), [&](Value i, Value m) {
      Value x = b.loadLanes(from.memref, at(from, i), m);
      Value c = b.loadLanes(cos, {cosRow, t, i}, m);
      Value s = b.loadLanes(sin, {cosRow, t, i}, m);
      Value swapped = vector::ShuffleOp::create(b, x, x, swap);
      Value y = b.addf(b.mulf(x, c), b.mulf(b.mulf(swapped, sign), s));
      b.storeLanes(y, to.memref, at(to, i), m);
    });
  }
  if (spec.rotated < spec.size)
    b.columns(b.index(spec.rotated), b.index(spec.size), [&](Value i, Value m) {
      b.storeLanes(b.loadLanes(from.memref, at(from, i), m), to.memref,
                   at(to, i), m);
    });
}

/// Calls `body(batch, position, head)` for this thread's part of all heads.
static void forEachHead(RowBuilder &b, Value x, int64_t size,
                        llvm::function_ref<void(Value, Value, Value)> body) {
  Value batch = b.dim(x, 0), sequence = b.dim(x, 1);
  Value heads = b.div(b.dim(x, 2), size);
  Value rows = b.mul(batch, sequence);
  auto [begin, end] = b.part(b.mul(rows, heads));
  b.loop(begin, end, 1, [&](Value unit) {
    Value r = b.div(unit, heads);
    Value h = b.sub(unit, b.mul(r, heads));
    Value n = b.div(r, sequence);
    body(n, b.sub(r, b.mul(n, sequence)), h);
  });
}

/// A table of one row is for the whole batch.
static Value getTableRow(RowBuilder &b, Value table, Value n) {
  return b.select(b.equal(b.dim(table, 0), 1), b.index(0), n);
}

void miura::codegen::emitRopeKernel(func::FuncOp func, const IsaRow &row,
                                    const RopeSpec &spec) {
  OpBuilder inner(func.getContext());
  RowBuilder b(func, inner, row);
  Value x = b.arg(0), cos = b.arg(1), sin = b.arg(2), out = b.arg(3);
  forEachHead(b, x, spec.size, [&](Value n, Value t, Value h) {
    Value start = b.mul(h, spec.size);
    emitRotation(b, spec, {x, {n, t}, start}, {out, {n, t}, start}, cos, sin,
                 getTableRow(b, cos, n), t);
  });
}

void miura::codegen::emitAppendKernel(func::FuncOp func, const IsaRow &row,
                                      const RopeSpec &spec) {
  OpBuilder inner(func.getContext());
  RowBuilder b(func, inner, row);
  unsigned next = 0;
  Value x = b.arg(next++), cos, sin;
  if (spec.rotated) {
    cos = b.arg(next++);
    sin = b.arg(next++);
  }
  Value lengths = b.arg(next++), cache = b.arg(next);
  Value capacity = b.dim(cache, 2);
  forEachHead(b, x, spec.size, [&](Value n, Value t, Value h) {
    Value slot = b.add(b.loadIndex(lengths, n), t);
    b.ifThen(b.less(slot, capacity), [&] {
      emitRotation(b, spec, {x, {n, t}, b.mul(h, spec.size)},
                   {cache, {n, h, slot}, b.index(0)}, cos, sin,
                   spec.rotated ? getTableRow(b, cos, n) : Value(), t);
    });
  });
}
