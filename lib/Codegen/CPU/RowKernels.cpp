//===- RowKernels.cpp - Kernels that move and scale rows ------------------===//
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
#include "miura/Codegen/CPU/KernelBuilder.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace miura::codegen;

namespace {

/// A kernel's function, open for its body.
class RowBuilder : public KernelBuilder {
public:
  RowBuilder(func::FuncOp func, OpBuilder &inner, const IsaRow &row)
      : KernelBuilder(func.getLoc(), inner, row), func(func) {
    Block *entry = func.addEntryBlock();
    setInsertionPointToStart(entry);
    func::ReturnOp::create(*this);
    setInsertionPoint(entry->getTerminator());
  }

  Value arg(unsigned i) { return func.getArgument(i); }
  Value dim(Value memref, int64_t d) {
    return memref::DimOp::create(*this, memref, d);
  }
  /// This thread's part of `count` items.
  std::pair<Value, Value> part(Value count) {
    unsigned n = func.getNumArguments();
    return split(count, arg(n - 2), arg(n - 1));
  }
  /// `body(i, mask)` for the vectors of `size` columns.
  void columns(Value begin, Value end,
               llvm::function_ref<void(Value, Value)> body) {
    loop(begin, end, row.lanes(), [&](Value i) { body(i, mask(sub(end, i))); });
  }
  Value addf(Value x, Value y) { return arith::AddFOp::create(*this, x, y); }
  Value subf(Value x, Value y) { return arith::SubFOp::create(*this, x, y); }
  Value mulf(Value x, Value y) { return arith::MulFOp::create(*this, x, y); }
  Value divf(Value x, Value y) { return arith::DivFOp::create(*this, x, y); }
  Value load(Value memref, ValueRange indices) {
    return memref::LoadOp::create(*this, memref, indices);
  }
  void store(Value value, Value memref, ValueRange indices) {
    memref::StoreOp::create(*this, value, memref, indices);
  }
  Value loadIndex(Value memref, ValueRange indices) {
    return arith::IndexCastOp::create(*this, getIndexType(),
                                      load(memref, indices));
  }

private:
  func::FuncOp func;
};

} // namespace

void miura::codegen::emitRmsNormKernel(func::FuncOp func, const IsaRow &row,
                                       double epsilon) {
  OpBuilder inner(func.getContext());
  RowBuilder b(func, inner, row);
  Value x = b.arg(0), scale = b.arg(1), out = b.arg(2), zero = b.index(0);
  Value columns = b.dim(x, 1);
  Value count = arith::IndexCastOp::create(b, b.getI64Type(), columns);
  Value inverse =
      b.divf(b.f32(1.0f), arith::SIToFPOp::create(b, b.getF32Type(), count));
  auto [begin, end] = b.part(b.dim(x, 0));
  b.loop(begin, end, 1, [&](Value r) {
    SmallVector<Value> sum =
        b.loop(zero, columns, row.lanes(), ValueRange(b.zeroFloats()),
               [&](Value i, ValueRange state) {
                 Value m = b.mask(b.sub(columns, i));
                 Value v = b.loadMasked(x, {r, i}, m);
                 return SmallVector<Value>{b.fma(v, v, state[0])};
               });
    Value mean = b.mulf(b.sumLanes(sum[0]), inverse);
    Value root = math::SqrtOp::create(
        b, b.addf(mean, b.f32(static_cast<float>(epsilon))));
    Value factor = b.splat(b.divf(b.f32(1.0f), root));
    b.columns(zero, columns, [&](Value i, Value m) {
      Value v = b.mulf(b.loadMasked(x, {r, i}, m), factor);
      b.storeMasked(b.mulf(v, b.loadMasked(scale, {i}, m)), out, {r, i}, m);
    });
  });
}

void miura::codegen::emitSiluMulKernel(func::FuncOp func, const IsaRow &row) {
  OpBuilder inner(func.getContext());
  RowBuilder b(func, inner, row);
  Value gate = b.arg(0), up = b.arg(1), out = b.arg(2);
  // Columns are cut, at cache lines, so that one row feeds all threads.
  Value columns = b.dim(gate, 1);
  auto [firstLine, lastLine] = b.part(b.ceilDiv(columns, 16));
  Value begin = b.mul(firstLine, 16);
  Value end = b.min(b.mul(lastLine, 16), columns);
  Value one = b.splat(b.f32(1.0f));
  b.loop(b.index(0), b.dim(gate, 0), 1, [&](Value r) {
    b.columns(begin, end, [&](Value i, Value m) {
      Value g = b.loadMasked(gate, {r, i}, m);
      Value u = b.loadMasked(up, {r, i}, m);
      Value e = math::ExpOp::create(b, arith::NegFOp::create(b, g));
      b.storeMasked(b.mulf(b.divf(g, b.addf(one, e)), u), out, {r, i}, m);
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
      b.storeMasked(b.loadMasked(x, {r, last, i}, m), out, {r, zero, i}, m);
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
  PanelLayout layout = leaf.getLayout(row, groups);
  int64_t lanes = row.lanes();
  Value columns = b.dim(out, 1);
  Value panelBytes =
      b.add(b.mul(b.ceilDiv(columns, layout.blockColumns), layout.blockBytes),
            layout.tailBytes);
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
    Value panelOffset = b.mul(panel, panelBytes);
    // The group is known at run time only; a branch for each, as decoding is
    // straight-line code.
    for (unsigned g = 0; g < groups; ++g)
      b.ifThen(b.equal(group, g), [&] {
        auto loadLane = [&](Value vector) -> Value {
          return vector::ExtractOp::create(b, vector,
                                           ArrayRef<OpFoldResult>{lane});
        };
        b.loop(first, last, 1, [&](Value block) {
          Value offset = b.add(panelOffset, b.mul(block, layout.blockBytes));
          Value scale, zero;
          if (leaf.isScaled()) {
            Value at =
                leaf.isScaledByBlock()
                    ? b.add(offset, layout.codeBytes())
                    : b.add(panelOffset,
                            b.sub(panelBytes, b.index(layout.tailBytes)));
            scale = loadLane(leaf.emitScale(b, packed, at, g));
            if (leaf.hasZeros())
              zero = loadLane(leaf.emitZero(b, packed, at, g));
          }
          int64_t units = layout.blockColumns / layout.unitColumns;
          b.loop(zeroIndex, b.index(units), 1, [&](Value unit) {
            UnitVectors vectors =
                leaf.emitUnit(b, layout, packed,
                              b.add(offset, b.mul(unit, layout.unitBytes)), g,
                              /*groupCount=*/1, PanelAs::F32);
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
              b.ifThen(b.less(at, columns), [&] { b.store(v, out, {t, at}); });
            }
          });
        });
      });
  });
}

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
      Value x1 = b.loadMasked(from.memref, at(from, i), m);
      Value x2 = b.loadMasked(from.memref, at(from, j), m);
      Value c1 = b.loadMasked(cos, {cosRow, t, i}, m);
      Value c2 = b.loadMasked(cos, {cosRow, t, j}, m);
      Value s1 = b.loadMasked(sin, {cosRow, t, i}, m);
      Value s2 = b.loadMasked(sin, {cosRow, t, j}, m);
      Value y1 = b.subf(b.mulf(x1, c1), b.mulf(x2, s1));
      Value y2 = b.addf(b.mulf(x2, c2), b.mulf(x1, s2));
      b.storeMasked(y1, to.memref, at(to, i), m);
      b.storeMasked(y2, to.memref, at(to, j), m);
    });
  } else if (spec.rotated) {
    b.loop(zero, b.index(spec.rotated), 2, [&](Value i) {
      Value j = b.add(i, 1);
      Value x1 = b.load(from.memref, at(from, i));
      Value x2 = b.load(from.memref, at(from, j));
      auto table = [&](Value memref, Value k) {
        return b.load(memref, {cosRow, t, k});
      };
      Value y1 = b.subf(b.mulf(x1, table(cos, i)), b.mulf(x2, table(sin, i)));
      Value y2 = b.addf(b.mulf(x2, table(cos, j)), b.mulf(x1, table(sin, j)));
      b.store(y1, to.memref, at(to, i));
      b.store(y2, to.memref, at(to, j));
    });
  }
  if (spec.rotated < spec.size)
    b.columns(b.index(spec.rotated), b.index(spec.size), [&](Value i, Value m) {
      b.storeMasked(b.loadMasked(from.memref, at(from, i), m), to.memref,
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
