//===- Schedules.h - The loops of linear kernels ----------------*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// What the parts of a linear kernel share: quantizing activations, a panel's
/// integer and f32 products, and the memory that they go through.
///
//===----------------------------------------------------------------------===//

#ifndef MIURA_LIB_CODEGEN_CPU_SCHEDULES_H
#define MIURA_LIB_CODEGEN_CPU_SCHEDULES_H

#include "miura/Codegen/CPU/Kernels.h"
#include <numeric>

namespace miura::codegen {

/// A leaf inside a kernel: its layout and where its packed bytes are.
struct PanelOperand {
  const PanelLeaf *leaf;
  PanelLayout layout;
  mlir::Value memory;
  /// How many matrices of a batch the memory has; null for one that is none.
  mlir::Value matrices = {};

  /// Bytes of a panel of `columns` columns, and how many columns (of whole
  /// blocks) a panel of `bytes` has. Of layouts that are not indexed.
  mlir::Value panelBytes(KernelBuilder &b, mlir::Value columns) const;
  mlir::Value panelColumns(KernelBuilder &b, mlir::Value bytes) const;
  /// Bytes of all panels (of a matrix).
  mlir::Value allPanelBytes(KernelBuilder &b) const;
  /// Where panel number `panel` (of a matrix) is found: what the next two take.
  mlir::Value panelStart(KernelBuilder &b, mlir::Value panel,
                         mlir::Value columns, mlir::Value matrix = {}) const;
  mlir::Value blockStart(KernelBuilder &b, mlir::Value panelStart,
                         mlir::Value block) const;
  mlir::Value tailStart(KernelBuilder &b, mlir::Value panelStart,
                        mlir::Value columns) const;
  mlir::Value blocks(KernelBuilder &b, mlir::Value columns) const {
    return b.ceilDiv(columns, layout.blockColumns);
  }
};

/// Rows of int8 activations, padded with zeros. An f32 row that enters integer
/// dots is three of them, its digits to the base 256: s · (65536 a + 256 b +
/// c).
struct QuantizedRows {
  /// memref<?xi32>, four columns each, and dwords of a row.
  mlir::Value dwords, rowDwords;
  /// A scale per row of x, rows × 1.
  mlir::Value scales;
  /// The row's sums of `sumBlock` columns for a leaf: memref<?xi32>, and how
  /// many there are in a row.
  struct Sums {
    mlir::Value values, perRow;
    int64_t sumBlock;
  };
};

/// Columns that a sum of activations covers for a leaf.
int64_t getSumBlock(const PanelLayout &layout, const PanelLeaf &leaf);

/// Vectors `[row][group]`.
using Tile = llvm::SmallVector<llvm::SmallVector<mlir::Value, 4>, 6>;

/// Σ codes · int8 · scales of a panel for the int8 rows named by their numbers;
/// the activations' own scale is left to the caller. `offset` is the panel's
/// start, here and below. Unless it is `alone`, the
/// code around it holds registers over its loops.
Tile emitDotPanel(KernelBuilder &b, const PanelOperand &panel,
                  mlir::Value offset, mlir::Value columns,
                  const QuantizedRows &x, const QuantizedRows::Sums &sums,
                  llvm::ArrayRef<mlir::Value> rows, bool prefetch, bool alone);

/// Σ values · x over the blocks [begin, end) of a panel for one row of f32
/// activations that may be read to the end of the last block.
llvm::SmallVector<mlir::Value>
emitFloatPanel(KernelBuilder &b, const PanelOperand &panel, mlir::Value offset,
               mlir::Value columns, mlir::Value begin, mlir::Value end,
               mlir::Value x, mlir::Value xRow);

/// Bytes of L1 that emitFloatTiles decodes into for this panel.
int64_t getChunkBytes(const IsaRow &row, const PanelLeaf &leaf,
                      const PanelLayout &layout);

/// out[m, n0 + …] += Σ values · x[m, …] for the rows [begin, end) and the
/// panel's outputs below `outputs`.
void emitFloatTiles(KernelBuilder &b, const PanelOperand &panel,
                    mlir::Value offset, mlir::Value columns, mlir::Value x,
                    mlir::Value out, mlir::Value n0, mlir::Value outputs,
                    mlir::Value begin, mlir::Value end, mlir::Value buffer);

/// Where the quantizer writes.
struct QuantizeTo {
  QuantizedRows rows;
  llvm::SmallVector<QuantizedRows::Sums> sums;
  /// The scratch and the byte in it where the int8 rows start.
  mlir::Value memory, offset;
  /// Columns of a row as stored; a multiple of `unit`, which all sum blocks
  /// and 64 divide.
  mlir::Value stride;
  int64_t unit;
  /// int8 rows per row of x: 1, or 3 digits.
  unsigned digits;
  /// f32 rows that get the rounded values too, or null.
  mlir::Value rounded;
};
/// The scale of row `m` of x, found by reading all of it.
mlir::Value emitRowScale(KernelBuilder &b, mlir::Value x, mlir::Value m,
                         mlir::Value columns, unsigned digits);
/// Rounds the units [begin, end) of row `m`.
void emitQuantize(KernelBuilder &b, mlir::Value x, mlir::Value m,
                  mlir::Value columns, mlir::Value scale, mlir::Value begin,
                  mlir::Value end, const QuantizeTo &to);

/// Weight prefetches of a block: call `at(b, byte)` before the code that loads
/// the block's bytes from `byte` on.
class BlockPrefetch {
public:
  BlockPrefetch(mlir::Value memory, mlir::Value offset, int64_t distance)
      : memory(memory), offset(offset), distance(distance) {}
  /// Prefetches the lines of the block up to `end` that were not yet.
  void upTo(KernelBuilder &b, int64_t end) {
    for (; distance != 0 && line < end; line += 64)
      b.prefetch(memory, b.add(offset, line + distance));
  }

private:
  mlir::Value memory, offset;
  int64_t distance, line = 0;
};

/// The largest number of units that divides a block's and has at most
/// `columns` columns (at least one unit).
int64_t getPieceUnits(const PanelLayout &layout, int64_t columns);

} // namespace miura::codegen

#endif // MIURA_LIB_CODEGEN_CPU_SCHEDULES_H
