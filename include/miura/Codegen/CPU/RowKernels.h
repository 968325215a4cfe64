//===- RowKernels.h - Kernels that move and scale rows ----------*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The small kernels between linears and attention: embedding, norms, rotary
/// embedding with or without the cache, the gate of a feed-forward layer. Each
/// fills a function whose last arguments are `team, tid, nthreads : index`;
/// work is split by rows or columns, every sum is over one row in one order.
/// "rows" is `memref<?x?xf32, strided<[?, 1], offset: ?>>`.
///
//===----------------------------------------------------------------------===//

#ifndef MIURA_CODEGEN_CPU_ROWKERNELS_H
#define MIURA_CODEGEN_CPU_ROWKERNELS_H

#include "miura/Codegen/CPU/PanelLeaf.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace miura::codegen {

/// func(x : rows, scale : memref<?xf32>, out : rows)
void emitRmsNormKernel(mlir::func::FuncOp func, const IsaRow &row,
                       double epsilon);

/// func(x : rows, scale : memref<?xf32>, [bias : memref<?xf32>,] out : rows)
void emitLayerNormKernel(mlir::func::FuncOp func, const IsaRow &row,
                         double epsilon, bool hasBias);

/// func(gate : rows, up : rows, out : rows): silu(gate) · up.
void emitSiluMulKernel(mlir::func::FuncOp func, const IsaRow &row);

/// func(x : memref<B×T×D×f32>, counts : memref<B×i64>, out :
/// memref<B×1×D×f32>). A row that rests gives its first position.
void emitTakeLastKernel(mlir::func::FuncOp func, const IsaRow &row);

/// func(indices : memref<?xi64>, packed : memref<?xi8>, entries : index,
///      out : rows): decodes rows of the packed leaf, of panels of `groups`
/// vectors. A negative index counts from the end.
void emitEmbeddingKernel(mlir::func::FuncOp func, const IsaRow &row,
                         const PanelLeaf &leaf, unsigned groups);

/// What the rotary kernels need to know beside their buffers.
struct RopeSpec {
  /// Entries of a head.
  int64_t size = 0;
  /// Entries that are rotated; 0: none, and no cos and sin among the arguments.
  int64_t rotated = 0;
  bool interleaved = false;
};

/// func(x : memref<B×T×heads·size×f32>, cos, sin : memref<B|1×T×rotated×f32>,
///      out : as x)
void emitRopeKernel(mlir::func::FuncOp func, const IsaRow &row,
                    const RopeSpec &spec);

/// func(x : memref<B×T×heads·size×f32>, [cos, sin,] lengths : memref<B×i64>,
///      cache : memref<B×heads×C×size×f32>): rotates x into the cache, from
/// slot lengths[b] on. Slots beyond the capacity are skipped.
void emitAppendKernel(mlir::func::FuncOp func, const IsaRow &row,
                      const RopeSpec &spec);

} // namespace miura::codegen

#endif // MIURA_CODEGEN_CPU_ROWKERNELS_H
