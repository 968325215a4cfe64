//===- VectorBuilder.h - Emitting vector kernels ----------------*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// A builder for kernels on rows of f32: index arithmetic that folds, loops
/// with state, loads of whole and of partial vectors, lane-wise and horizontal
/// arithmetic. It knows nothing of an instruction set but the length of a
/// vector.
///
//===----------------------------------------------------------------------===//

#ifndef MIURA_LIB_CODEGEN_CPU_VECTORBUILDER_H
#define MIURA_LIB_CODEGEN_CPU_VECTORBUILDER_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace miura::codegen {

class VectorBuilder : public mlir::ImplicitLocOpBuilder {
public:
  using Value = mlir::Value;
  using ValueRange = mlir::ValueRange;
  using Values = llvm::SmallVector<Value>;

  /// f32 lanes of a register.
  const unsigned lanes;

  VectorBuilder(mlir::Location loc, mlir::OpBuilder &builder,
                unsigned vectorBits)
      : ImplicitLocOpBuilder(loc, builder), lanes(vectorBits / 32) {}

  mlir::VectorType floats(int64_t count);
  mlir::VectorType ints(int64_t count);

  // Constants; `like` gives the type, a scalar or a vector.
  Value index(int64_t value);
  Value f32(float value);
  Value splat(mlir::Type type, double value);
  Value like(Value model, double value) {
    return splat(model.getType(), value);
  }
  Value likeInt(Value model, int64_t value);
  Value zeros(int64_t count) { return splat(floats(count), 0); }

  // Index arithmetic; constants and neutral elements fold.
  Value add(Value a, Value b);
  Value add(Value a, int64_t b) { return add(a, index(b)); }
  Value sub(Value a, Value b);
  Value mul(Value a, Value b);
  Value mul(Value a, int64_t b) { return mul(a, index(b)); }
  Value div(Value a, int64_t b);
  Value div(Value a, Value b);
  Value rem(Value a, Value b);
  Value ceilDiv(Value a, int64_t b) { return div(add(a, b - 1), b); }
  Value roundUp(Value a, int64_t b) { return mul(ceilDiv(a, b), b); }
  Value min(Value a, Value b);
  Value max(Value a, Value b);
  Value less(Value a, Value b);
  Value equal(Value a, Value b);
  Value select(Value condition, Value a, Value b);
  Value both(Value a, Value b);

  // f32, scalars or vectors.
  Value addf(Value a, Value b);
  Value subf(Value a, Value b);
  Value mulf(Value a, Value b);
  Value divf(Value a, Value b);
  Value fma(Value a, Value b, Value c);
  /// The greater one; b where one of them is NaN (one instruction on x86).
  Value maxf(Value a, Value b);
  Value minf(Value a, Value b);
  Value broadcast(Value scalar, int64_t count);
  Value shuffle(Value a, Value b, llvm::ArrayRef<int64_t> mask);
  /// All lanes in one, as a tree: the upper half on the lower half.
  Value sumLanes(Value vector);
  Value maxLanes(Value vector);
  /// 4, 8 or 16 vectors of as many lanes to the vector of their sums.
  Value sumEach(Values vectors);
  /// The first half of sumEach: four vectors to one whose 128-bit parts hold a
  /// partial sum of each.
  Value sumQuads(ValueRange four);
  /// The second half: lanes/4 such vectors to the vector of sums.
  Value sumParts(Values parts);
  /// Transposes `count` vectors of `count` lanes, a power of two.
  Values transpose(Values rows);

  // Memory. The last index runs along the lanes, whose stride is one.
  Value load(Value memory, ValueRange indices);
  void store(Value scalar, Value memory, ValueRange indices);
  Value loadIndex(Value memory, ValueRange indices);
  Value loadVector(Value memory, ValueRange indices, int64_t count);
  void storeVector(Value vector, Value memory, ValueRange indices);
  /// The lanes [0, count).
  Value mask(Value count, int64_t width);
  /// Lanes that the mask leaves out are zero.
  Value loadMasked(Value memory, ValueRange indices, Value mask);
  void storeMasked(Value vector, Value memory, ValueRange indices, Value mask);
  /// `valid` of `width` lanes are there; a static number.
  Value loadPart(Value memory, ValueRange indices, int64_t valid,
                 int64_t width);
  void storePart(Value vector, Value memory, ValueRange indices, int64_t valid);
  /// Part of a memref<?xi8> as memref<rows × columns>, row-major f32; `offset`
  /// is in bytes and a multiple of 4.
  Value floatRows(Value bytes, Value offset, Value rows, int64_t columns);
  /// Size of a dimension; the static one where it is known.
  Value dim(Value memory, int64_t dimension);

  // Control.
  using Body = llvm::function_ref<Values(Value, ValueRange)>;
  Values loop(Value begin, Value end, int64_t step, ValueRange state,
              Body body);
  void loop(Value begin, Value end, int64_t step,
            llvm::function_ref<void(Value)> body);
  void loop(Value begin, Value end, Value step,
            llvm::function_ref<void(Value)> body);
  void ifThen(Value condition, llvm::function_ref<void()> body);
  void ifElse(Value condition, llvm::function_ref<void()> then,
              llvm::function_ref<void()> otherwise);
  /// The part [begin, end) of `count` items that belongs to thread tid: whole
  /// multiples of `grain`, as even as these allow.
  std::pair<Value, Value> split(Value count, int64_t grain, Value tid,
                                Value nthreads);
  /// Waits for the team: calls @miura_barrier, which is declared in the module
  /// if it is not yet.
  void barrier(mlir::func::FuncOp func, Value team);
};

/// The greatest power of two that is at most n (n ≥ 1).
int64_t powerBelow(int64_t n);

} // namespace miura::codegen

#endif // MIURA_LIB_CODEGEN_CPU_VECTORBUILDER_H
