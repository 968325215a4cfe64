//===- Kernels.h - Emitting the kernels of linears --------------*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Turns a `miura.kernel` whose root is a linear into a function of vector IR
/// that every thread of a team runs.
///
/// The region of the kernel, with sizes erased, is the whole specification:
///
///   ^bb0(%x: tensor<?x?x?xf32>, %codes: tensor<?x?xi4>, %scales:
///   tensor<?x?xf16>, %l: tensor<?x?xf16>, …):
///     %q = miura.dequantize %codes, %scales block [1, 32] : …
///     %p = miura.matmul %l, %r : …
///     %w = miura.add %q, %p : …
///     %y = miura.linear %x, %w[, %bias] id("") compute(i8, f32) : …
///    [%z = arith.addf %residual, %y : …]
///     miura.kernel_yield %z : …
///
/// The function, the same for both shape classes:
///
///   func(x : memref<?x?xf32, strided<[?, 1], offset: ?>>     M × K, leading
///   dimensions flattened
///        packed : memref<?xi8> per leaf LinearSpec::leaves in order [bias :
///        memref<?xf32>]                              N [residual :
///        memref<?x?xf32, strided<[?, 1], offset: ?>>]   M × N; may be the
///        memory of out [experts : memref<?xi64 or i32>, matrices : index] out
///        : memref<?x?xf32, strided<[?, 1], offset: ?>>   M × N scratch :
///        memref<?xi8>                              shared by the team, 64-byte
///        aligned; getLinearScratch team, tid, nthreads : index)
///
/// It calls `@miura_barrier(team)` an equal number of times on every thread;
/// the caller puts a barrier behind the kernel. Sums are in an order that does
/// not depend on nthreads.
///
//===----------------------------------------------------------------------===//

#ifndef MIURA_CODEGEN_CPU_KERNELS_H
#define MIURA_CODEGEN_CPU_KERNELS_H

#include "miura/Codegen/CPU/Isa.h"
#include "miura/Codegen/CPU/PanelLeaf.h"
#include "miura/Dialect/Miura/IR/MiuraDialect.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Region.h"

namespace miura::codegen {

/// Which schedule: one row of x (decode), a few or any number of rows one after
/// the other (small; see getSmallRows), or tiles of rows (tiled). A step
/// branches between the functions on M.
enum class ShapeClass { Decode, Small, Tiled };

/// A leaf of a linear kernel and the operands of the kernel that it is packed
/// from.
struct LinearLeaf {
  std::shared_ptr<PanelLeaf> panel;
  /// Vectors of lanes in its panels: pass it to getLayout and pack.
  unsigned groups;
  /// The region arguments (= positions among the kernel's inputs) of
  /// panel->getOperands(), in order; −1 for a value that is not an argument
  /// (a small constant).
  llvm::SmallVector<int> arguments;
};

/// A summand of y: leaf · x, or left · (right · x).
struct LinearTerm {
  unsigned leaf;
  /// The leaf of the right factor, −1 if there is none.
  int right = -1;
};

/// The weights of a summand: of leaf · x, or of leaf · (right · x).
struct TermWeights {
  mlir::Value leaf, right;
};

/// x · weightᵀ as linears of leaves: WeightExpression::applyTo all the way
/// down.
mlir::Value expandLinear(mlir::OpBuilder &builder, mlir::Value x,
                         mlir::Value weight, ComputeAttr compute);

/// The summands of what expandLinear has made with `x`; nothing, and a reason,
/// where it is not a sum of leaves and of products of two.
std::optional<llvm::SmallVector<TermWeights>>
getTerms(mlir::Value sum, mlir::Value x, std::string *reason);

/// What a linear kernel computes: y = Σ terms (+ bias) (+ residual).
struct LinearSpec {
  llvm::SmallVector<LinearLeaf> leaves;
  llvm::SmallVector<LinearTerm> terms;
  /// Positions among the kernel's inputs; −1 if there is none. Where there are
  /// `experts`, leaves are batched, each row of x meets the matrix of the
  /// expert that it chose, and the bias is experts × N.
  int x = -1, bias = -1, residual = -1, experts = -1;
  ComputeAttr compute;
  /// The clone of the kernel's region whose values the leaves refer to.
  std::shared_ptr<mlir::Region> owner;
};

/// Reads the region of `kernel`; null with no diagnostic if it is not a linear
/// that these schedules know, and then `reason` (if given) says why.
std::unique_ptr<LinearSpec> analyzeLinear(KernelOp kernel,
                                          std::string *reason = nullptr);

/// The type of the function that emitLinearKernel fills.
mlir::FunctionType getLinearKernelType(mlir::MLIRContext *context,
                                       const LinearSpec &spec);

/// The most rows of x that ShapeClass::Small is better for than tiles; 0 for
/// none. Where f32 activations enter integer dots as digits, tiles would decode
/// the weights to f32 for few rows; and where three dots cost less than four
/// FMAs, digits are better for any number.
int64_t getSmallRows(const LinearSpec &spec, const IsaRow &row);

/// Bytes of scratch for M rows: fixed + M · perRow.
struct ScratchSize {
  int64_t fixed = 0, perRow = 0;
  int64_t get(int64_t rows) const { return fixed + rows * perRow; }
};
/// For x of `columns` columns. `ranks` has the rows of every leaf that is a
/// right factor, at the leaf's position (other positions are not read).
ScratchSize getLinearScratch(const LinearSpec &spec, const IsaRow &row,
                             ShapeClass shape, int64_t columns,
                             llvm::ArrayRef<int64_t> ranks);

/// Tells the leaves of a spec their sizes: outputs × columns of the linear.
void setLeafShapes(const LinearSpec &spec, int64_t outputs, int64_t columns);

/// Fills the empty `func`, of type getLinearKernelType, whose module must have
/// (or gets) the declaration of @miura_barrier. Fails, with a diagnostic, where
/// the kernel has no schedule.
mlir::LogicalResult emitLinearKernel(mlir::OpBuilder &builder,
                                     mlir::func::FuncOp func, KernelOp kernel,
                                     const IsaRow &row, ShapeClass shape);

} // namespace miura::codegen

#endif // MIURA_CODEGEN_CPU_KERNELS_H
