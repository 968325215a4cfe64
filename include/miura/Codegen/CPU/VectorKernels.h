//===- VectorKernels.h - Emitting the kernels beside linears ----*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Functions that fill a function with the vector IR of one kernel: attention
/// over the cache, norms, rotary embedding with cache update, elementwise
/// neighbours, embedding. They take the facts that do not change between calls
/// in a struct and the length of a vector, and the function with its arguments
/// already made.
///
/// Common to all:
///  - The last arguments are `team, tid, nthreads : index`. Every thread of a
///    team calls the function with the same other arguments. Work is divided by
///    shape, tid and nthreads only, and every sum has an order that does not
///    depend on nthreads: so results do not either.
///  - Memrefs may have any strides but a last one of 1, and static or dynamic
///    sizes; static ones where a spec names the size give better code.
///  - Nothing is written but the outputs named (and scratch); the caller puts a
///    barrier behind the kernel. Only where said does a kernel call
///    `@miura_barrier(team)` itself (it declares it), equally often on every
///    thread.
///  - No calls but that one, no allocation: exp and tanh are polynomials.
///  - Vectors have the row's length, 128, 256 or 512 bits; tiles fill its
///    registers.
///
//===----------------------------------------------------------------------===//

#ifndef MIURA_CODEGEN_CPU_VECTORKERNELS_H
#define MIURA_CODEGEN_CPU_VECTORKERNELS_H

#include "miura/Codegen/CPU/Isa.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Builders.h"

namespace miura::codegen {

/// What does not change between calls of an attention kernel; the fields are
/// those of `miura.cached_attention` and the shapes of its operands.
struct AttentionSpec {
  int64_t heads = 1, kvHeads = 1;
  /// Entries of a query or key, and of a value, per head.
  int64_t size = 0, valueSize = 0;
  double scale = 1.0;
  bool causal = true;
  /// The last so many keys are seen; 0: all. Only with causal.
  int64_t window = 0;
  double softcap = 0.0;
  /// Whether there is a padding operand.
  bool padding = false;
  /// Whether there is a mask operand, added to the scores, and which of its
  /// dimensions (batch, heads, queries, keys) are 1 for all.
  bool mask = false;
  bool isShared[4] = {false, false, false, false};
  /// Whether there is a sinks operand: scores that take part in the sum only.
  bool sinks = false;
  /// A query that sees no key gives not zeros, but what the softmax makes of
  /// all scores up to the last new key after this number was added.
  std::optional<double> hidden;
  /// That softmax is of keys up to the query only, and of these not of any that
  /// window and padding both hide.
  bool hiddenOnce = false;

  /// Codes that something is rounded to on its way, as `#miura.rounding` says;
  /// their scale and zero are arguments.
  struct Rounding {
    int64_t least = 0, greatest = 0;
  };
  /// Of keys and values as they are read, of scores before masks, of weights
  /// after their sum has divided them. Not with `hidden`.
  std::optional<Rounding> keyRounding, valueRounding, scoreRounding,
      weightRounding;
  bool hasRounding() const {
    return keyRounding || valueRounding || scoreRounding || weightRounding;
  }
};

/// Attention over a cache of fixed capacity.
///
///   func(query   : memref<B × T × heads·size × f32>     heads not yet split
///        key     : memref<B × kvHeads × C × size × f32>
///        value   : memref<B × kvHeads × C × valueSize × f32>
///        lengths : memref<B × i64>
///       [padding : memref<B × C × i8>]                  only with spec.padding
///       [mask    : memref<B|1 × heads|1 × T|1 × C|1 × f32>]  with spec.mask
///       [sinks   : memref<heads × f32>]                 only with spec.sinks
///       [scale, zero : f32]   for each rounding, in the order of their fields
///        out     : memref<B × T × heads·valueSize × f32>  heads merged
///        scratch : memref<? × i8>                       64-byte aligned
///        team, tid, nthreads : index)
///
/// Query (b, t) sees the slots j ≤ lengths[b] + t (causal; otherwise
/// j < lengths[b] + T), of these the last `window`, and of these the ones whose
/// padding is not 0 and whose mask is not −∞; none beyond the capacity. One
/// that sees nothing gives zeros. Slots below min(C, lengths[b] + T) must hold
/// finite numbers even where they are hidden. Calls the barrier once where T
/// ≤ 4.
///
/// Error against exact arithmetic: that of f32 sums over `size` and over the
/// keys, plus 1.4 · 2⁻²⁴ relative per exponential and |score| · 2⁻²⁴ absolute
/// in its argument. Where something is rounded, what lies that near to the
/// middle of two codes may become either.
void emitAttentionKernel(mlir::OpBuilder &builder, mlir::func::FuncOp func,
                         const AttentionSpec &spec, const IsaRow &row);

/// Bytes of scratch that the attention kernel needs; grows with every argument.
int64_t getAttentionScratchBytes(const AttentionSpec &spec, const IsaRow &row,
                                 int64_t batch, int64_t sequence,
                                 int64_t capacity, int64_t threads);
/// The same as IR, on index values.
mlir::Value
emitAttentionScratchBytes(mlir::OpBuilder &builder, mlir::Location loc,
                          const AttentionSpec &spec, const IsaRow &row,
                          mlir::Value batch, mlir::Value sequence,
                          mlir::Value capacity, mlir::Value threads);

} // namespace miura::codegen

#endif // MIURA_CODEGEN_CPU_VECTORKERNELS_H
