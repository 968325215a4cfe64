//===- RowBuilder.h - Emitting kernels over rows ----------------*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// A kernel builder with a function open for its body, whose last arguments are
/// team, tid and nthreads, and loops over the columns of a row: whole vectors
/// first, then one with a mask, as masked stores are slow on AVX2.
///
//===----------------------------------------------------------------------===//

#ifndef MIURA_LIB_CODEGEN_CPU_ROWBUILDER_H
#define MIURA_LIB_CODEGEN_CPU_ROWBUILDER_H

#include "VectorMath.h"
#include "miura/Codegen/CPU/KernelBuilder.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

namespace miura::codegen {

class RowBuilder : public KernelBuilder {
public:
  using ValueRange = mlir::ValueRange;

  RowBuilder(mlir::func::FuncOp func, mlir::OpBuilder &inner, const IsaRow &row)
      : KernelBuilder(func.getLoc(), inner, row), func(func) {
    mlir::Block *entry = func.addEntryBlock();
    setInsertionPointToStart(entry);
    mlir::func::ReturnOp::create(*this);
    setInsertionPoint(entry->getTerminator());
  }

  Value arg(unsigned i) { return func.getArgument(i); }
  Value dim(Value memref, int64_t d) {
    return mlir::memref::DimOp::create(*this, memref, d);
  }
  /// This thread's part of `count` items.
  std::pair<Value, Value> part(Value count) {
    unsigned n = func.getNumArguments();
    return split(count, arg(n - 2), arg(n - 1));
  }
  /// This thread's part of `count` columns, cut at cache lines.
  std::pair<Value, Value> columnPart(Value count) {
    auto [first, last] = part(ceilDiv(count, 16));
    return {mul(first, 16), min(mul(last, 16), count)};
  }

  /// `body(i, mask, state)` for the vectors of the columns [begin, end); the
  /// mask is null but for the last, partial one.
  using ColumnBody = llvm::function_ref<llvm::SmallVector<Value>(
      Value, Value, mlir::ValueRange)>;
  llvm::SmallVector<Value> columns(Value begin, Value end, ValueRange state,
                                   ColumnBody body) {
    Value size = sub(end, begin);
    Value whole = add(begin, mul(div(size, row.lanes()), row.lanes()));
    llvm::SmallVector<Value> next =
        loop(begin, whole, row.lanes(), state,
             [&](Value i, ValueRange s) { return body(i, Value(), s); });
    return loop(whole, end, row.lanes(), next, [&](Value i, ValueRange s) {
      return body(i, mask(sub(end, i)), s);
    });
  }
  void columns(Value begin, Value end,
               llvm::function_ref<void(Value, Value)> body) {
    columns(begin, end, {}, [&](Value i, Value mask, ValueRange) {
      body(i, mask);
      return llvm::SmallVector<Value>();
    });
  }
  /// A vector of f32; lanes outside the mask, if there is one, are zero.
  Value loadLanes(Value memref, ValueRange indices, Value mask) {
    if (mask)
      return loadMasked(memref, indices, mask);
    return mlir::vector::LoadOp::create(*this, floats(), memref, indices);
  }
  void storeLanes(Value vector, Value memref, ValueRange indices, Value mask) {
    if (mask)
      return storeMasked(vector, memref, indices, mask);
    mlir::vector::StoreOp::create(*this, vector, memref, indices);
  }

  Value addf(Value x, Value y) {
    return mlir::arith::AddFOp::create(*this, x, y);
  }
  Value subf(Value x, Value y) {
    return mlir::arith::SubFOp::create(*this, x, y);
  }
  Value mulf(Value x, Value y) {
    return mlir::arith::MulFOp::create(*this, x, y);
  }
  Value divf(Value x, Value y) {
    return mlir::arith::DivFOp::create(*this, x, y);
  }
  Value load(Value memref, ValueRange indices) {
    return mlir::memref::LoadOp::create(*this, memref, indices);
  }
  void store(Value value, Value memref, ValueRange indices) {
    mlir::memref::StoreOp::create(*this, value, memref, indices);
  }
  Value loadIndex(Value memref, ValueRange indices) {
    return mlir::arith::IndexCastOp::create(*this, getIndexType(),
                                            load(memref, indices));
  }
  /// silu of a vector; see VectorMath.h for its error.
  Value silu(Value x) {
    VectorBuilder vectors(getLoc(), *this, row.vectorBytes * 8);
    return emitSilu(vectors, x);
  }

private:
  mlir::func::FuncOp func;
};

} // namespace miura::codegen

#endif // MIURA_LIB_CODEGEN_CPU_ROWBUILDER_H
