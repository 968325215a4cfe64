//===- KernelBuilder.h - Emitting kernel IR ---------------------*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// A builder that knows the instruction set row it emits for: vector types,
/// constants, index arithmetic that folds, loads of bytes as vectors, loops.
/// What schedules and panels are written with.
///
//===----------------------------------------------------------------------===//

#ifndef MIURA_CODEGEN_CPU_KERNELBUILDER_H
#define MIURA_CODEGEN_CPU_KERNELBUILDER_H

#include "miura/Codegen/CPU/Isa.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace miura::codegen {

class KernelBuilder : public mlir::ImplicitLocOpBuilder {
public:
  using Value = mlir::Value;

  KernelBuilder(mlir::Location loc, mlir::OpBuilder &builder, const IsaRow &row)
      : ImplicitLocOpBuilder(loc, builder), row(row) {}

  const IsaRow &row;

  // Types: one register of f32, of i32, of bytes.
  mlir::VectorType floats();
  mlir::VectorType ints();
  mlir::VectorType bytes();

  // Constants.
  Value index(int64_t value);
  Value i32(int32_t value);
  Value f32(float value);
  Value zeroFloats();
  Value splatInts(int32_t value);
  Value splatBytes(uint8_t value);

  // Index arithmetic; constants fold.
  Value add(Value a, Value b);
  Value add(Value a, int64_t b);
  Value sub(Value a, Value b);
  Value mul(Value a, Value b);
  Value mul(Value a, int64_t b);
  Value div(Value a, Value b);
  Value div(Value a, int64_t b);
  Value rem(Value a, int64_t b);
  Value ceilDiv(Value a, int64_t b);
  Value roundUp(Value a, int64_t b) { return mul(ceilDiv(a, b), b); }
  Value min(Value a, Value b);
  Value less(Value a, Value b);
  Value equal(Value a, int64_t b);
  Value select(Value condition, Value a, Value b);
  /// The part [begin, end) of `count` items that is thread tid's of nthreads.
  std::pair<Value, Value> split(Value count, Value tid, Value nthreads);

  /// `count` bytes at byte `offset` of a rank-1 memref of i8, as a vector.
  Value loadBytes(Value memory, Value offset, unsigned count);
  /// One register's bytes at `offset`, as bytes, i32 or f32 lanes.
  Value loadRegister(Value memory, Value offset, mlir::VectorType as);
  /// A register of f32 lanes from as many f16 at byte `offset`.
  Value loadHalves(Value memory, Value offset);
  /// The integer of `bits` bits at `offset`, zero-extended, as an index or (64)
  /// as it is.
  Value loadIndexAt(Value memory, Value offset, unsigned bits);
  Value loadBits(Value memory, Value offset, unsigned bits);
  /// A scalar of a memref in every lane; i32 scalars may be asked for as bytes.
  Value loadSplat(Value memory, mlir::ValueRange indices, mlir::VectorType as);
  void prefetch(Value memory, Value offset);

  Value splat(Value scalar);
  Value bitcast(Value vector, mlir::VectorType as);
  Value fma(Value x, Value y, Value z) { return row.fma(*this, x, y, z); }
  Value dot4(Value acc, Value u8, Value s8, unsigned bound) {
    return row.dot4(*this, acc, u8, s8, bound);
  }
  /// The sum of a vector's lanes, as a tree.
  Value sumLanes(Value vector);
  /// The lanes below `count` (an index, may be negative or beyond the lanes).
  Value mask(Value count);
  Value loadMasked(Value memory, mlir::ValueRange indices, Value mask);
  void storeMasked(Value vector, Value memory, mlir::ValueRange indices,
                   Value mask);

  /// `body(i, state)` for i = begin, begin + step, … below end; returns the
  /// last state. A state may be empty.
  using Body =
      llvm::function_ref<llvm::SmallVector<Value>(Value i, mlir::ValueRange)>;
  llvm::SmallVector<Value> loop(Value begin, Value end, int64_t step,
                                mlir::ValueRange state, Body body);
  void loop(Value begin, Value end, int64_t step,
            llvm::function_ref<void(Value)> body);
  void ifThen(Value condition, llvm::function_ref<void()> body);

  /// Bytes of the stack, at a multiple of 64; call it at a function's entry.
  Value stackBytes(int64_t count);
  /// A part of a rank-1 memref of i8 as rank-1 or rank-2 elements, with the
  /// strides left open as in `rowsType`.
  Value viewRows(Value memory, Value byteOffset, Value rows, Value columns);
  Value viewInts(Value memory, Value byteOffset, Value count);
  /// memref<?x?xf32, strided<[?, 1], offset: ?>>: x, out and their like.
  mlir::MemRefType rowsType();
};

} // namespace miura::codegen

#endif // MIURA_CODEGEN_CPU_KERNELBUILDER_H
