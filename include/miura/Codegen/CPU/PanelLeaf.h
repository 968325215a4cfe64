//===- PanelLeaf.h - How a kernel packs and decodes a leaf ------*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// What code generation asks of a leaf of a weight expression: the layout of
/// its packed bytes, the packing of stored bytes into it, and IR that decodes a
/// unit of a panel in registers. Leaves are attached to ops as external models
/// of `DecodableLeaf`; schedules ask this class and know no scheme.
///
/// A panel is a number of weight rows: `groups` vectors of lanes, lane = row.
/// Panels follow each other; rows are padded to whole panels. A panel is
///
///   block, block, …, tail
///
/// after a header that all panels share (a codebook). Where the bytes of a
/// block depend on the weights, the header ends with a directory of where each
/// starts.
///
/// where a block is `blockColumns` columns: the codes of its units one after
/// the other, then (where scales are per block) the rows' scales and zeros. A
/// unit is `unitColumns` columns, a multiple of 4. Columns are padded to whole
/// blocks. Where scales are per row they are the tail. One layout serves every
/// number of activations.
///
//===----------------------------------------------------------------------===//

#ifndef MIURA_CODEGEN_CPU_PANELLEAF_H
#define MIURA_CODEGEN_CPU_PANELLEAF_H

#include "miura/Codegen/CPU/KernelBuilder.h"
#include "miura/Dialect/Miura/IR/MiuraInterfaces.h"
#include <memory>

namespace miura::codegen {

/// In what a leaf is decoded.
enum class PanelAs { Int, F32 };

/// The sizes of a leaf's packed panels, in bytes and columns.
struct PanelLayout {
  /// Vectors of lanes in a panel.
  unsigned groups;
  int64_t unitColumns, unitBytes;
  int64_t blockColumns, blockBytes;
  /// What stands behind the last block of a panel.
  int64_t tailBytes;
  /// What stands before the first panel, or before the directory.
  int64_t headerBytes = 0;
  /// Blocks have no fixed size (`blockBytes` is 0): a directory of 32-bit
  /// offsets from the memory's begin, in units of 8 bytes, has one for each
  /// block of a panel and one for its tail. `unitBytes` is then the part of a
  /// unit that has a fixed place in its block.
  bool isIndexed = false;
  /// Codes of a block, the offset of its scales.
  int64_t codeBytes() const { return blockColumns / unitColumns * unitBytes; }
  int64_t panelBytes(int64_t columns) const {
    return llvm::divideCeil(columns, blockColumns) * blockBytes + tailBytes;
  }
};

/// A stored tensor that packing reads: row-major bytes as
/// `miura.weight_data` has them, valid during the call.
struct PackOperand {
  mlir::RankedTensorType type;
  llvm::ArrayRef<uint8_t> bytes;
};

/// The vectors of a unit. Int: `[step][group]` of unsigned bytes, lane = 4
/// columns of a row. F32: `[column][group]` of f32 codes (before scale and
/// zero).
using UnitVectors = llvm::SmallVector<llvm::SmallVector<mlir::Value, 4>>;

class PanelLeaf {
public:
  virtual ~PanelLeaf();

  /// The values whose stored bytes `pack` reads, in this order: values of the
  /// region that the leaf's op stands in.
  llvm::ArrayRef<mlir::Value> getOperands() const { return operands; }

  /// Whether the leaf is a batch of matrices, one per expert: packed one after
  /// the other, behind one header. All else here is of one matrix.
  bool isBatched() const { return batched; }
  /// Of a batch: how many matrices it has, and what one is packed from;
  /// `storage` keeps bytes that have to be made.
  virtual int64_t getMatrices(llvm::ArrayRef<PackOperand> sources) const = 0;
  virtual llvm::SmallVector<PackOperand>
  getMatrix(llvm::ArrayRef<PackOperand> sources, int64_t matrix,
            std::vector<uint8_t> &storage) const = 0;

  /// Tells the leaf its rows and columns, 0 where they are not known, before
  /// getShape and pack: a bitmap's own type tells whole bytes only.
  virtual void setShape(int64_t rows, int64_t columns) {}
  /// [out, in] of the leaf, from the types of its operands.
  virtual std::pair<int64_t, int64_t>
  getShape(llvm::ArrayRef<PackOperand> sources) const = 0;

  /// The layout for panels of `groups` vectors; see getPanelGroups.
  virtual PanelLayout getLayout(const IsaRow &row, unsigned groups) const = 0;

  /// How many vectors the panels of the leaf have where it is the right factor
  /// of a product, with few rows.
  virtual unsigned getNarrowGroups() const { return 4; }

  /// The leaf in a form whose blocks have a fixed size: factors of products are
  /// packed so. Null if this one has.
  virtual std::shared_ptr<PanelLeaf> getUnindexed() const { return nullptr; }

  /// Bits of a packed code; 16 and 32 for floats.
  virtual unsigned getPackedBits() const = 0;
  /// Whether values are codes times scales, and whether a scale belongs to a
  /// block of columns or to a whole row.
  virtual bool isScaled() const = 0;
  virtual bool isScaledByBlock() const = 0;
  virtual bool hasZeros() const = 0;
  /// Whether `PanelAs::Int` is offered.
  virtual bool decodesToInt() const = 0;
  /// Int: what a byte exceeds its code by.
  virtual int64_t getBias(const IsaRow &row) const { return 0; }
  /// Int: log2 of the factor that group g's bytes carry beside the code.
  virtual unsigned getShift(const IsaRow &row, unsigned group) const {
    return 0;
  }
  /// Int: the largest byte of group g in magnitude, factor included.
  virtual unsigned getBound(const IsaRow &row, unsigned group) const {
    return 255;
  }
  /// Instructions per vector of weights, beside loads: up to 2 a GEMM decodes
  /// in its tile.
  virtual unsigned getDecodeCost(const IsaRow &row, PanelAs as) const = 0;

  /// Registers that constants of the integer decoding hold.
  virtual unsigned getConstants(const IsaRow &row) const { return 0; }

  /// How many values emitBegin has.
  virtual unsigned getStateCount(const IsaRow &row) const { return 0; }
  /// What decoding carries from a unit of a block to the next, at the first
  /// unit of the block at byte `offset`: index values, often none.
  virtual llvm::SmallVector<mlir::Value> emitBegin(KernelBuilder &b,
                                                   const PanelLayout &layout,
                                                   mlir::Value memory,
                                                   mlir::Value offset) const {
    return {};
  }
  /// Vectors that decoding needs of a block's scales and zeros, or of its
  /// rows', which start at `parameters`: often none.
  virtual llvm::SmallVector<mlir::Value>
  emitBlockVectors(KernelBuilder &b, mlir::Value memory,
                   mlir::Value parameters) const {
    return {};
  }
  /// Decodes the groups [firstGroup, firstGroup + groupCount) of the unit at
  /// byte `offset` of `memory`, and moves `state` on to the next unit.
  /// `blockVectors` are those of its block.
  virtual UnitVectors
  emitUnit(KernelBuilder &b, const PanelLayout &layout, mlir::Value memory,
           mlir::Value offset, unsigned firstGroup, unsigned groupCount,
           PanelAs as, mlir::ValueRange blockVectors,
           llvm::MutableArrayRef<mlir::Value> state) const = 0;
  /// The scales (f32) of group g whose scale bytes start at `offset` (a
  /// block's or a panel's tail's).
  virtual mlir::Value emitScale(KernelBuilder &b, mlir::Value memory,
                                mlir::Value offset, unsigned group) const {
    return {};
  }
  /// The zeros (f32) of group g, in units of codes.
  virtual mlir::Value emitZero(KernelBuilder &b, mlir::Value memory,
                               mlir::Value offset, unsigned group) const {
    return {};
  }

  /// Whether panels can hold the leaf as it is oriented: a transposed leaf may
  /// fit where its stored form does not. getPanelLeaf returns none that does
  /// not.
  virtual bool fits() const { return true; }
  /// This leaf read with its rows and columns exchanged: only packing differs.
  virtual std::shared_ptr<PanelLeaf> transpose() const = 0;

  /// What tells packed bytes of equal sources apart, beside their sizes.
  virtual std::string getKey() const = 0;

  /// Packs the panels [begin, end) into `out`, which holds exactly these.
  /// Fails with a diagnostic at `loc` where the stored bytes do not fit. Only
  /// where neither header nor directory stand before panels.
  virtual mlir::LogicalResult pack(llvm::ArrayRef<PackOperand> sources,
                                   const IsaRow &row, unsigned groups,
                                   int64_t begin, int64_t end,
                                   llvm::MutableArrayRef<uint8_t> out,
                                   mlir::Location loc) const = 0;

  /// Packs everything, header and directory included.
  virtual mlir::FailureOr<std::vector<uint8_t>>
  packAll(llvm::ArrayRef<PackOperand> sources, const IsaRow &row,
          unsigned groups, mlir::Location loc) const;

  /// Panels of a leaf of `rows` rows.
  static int64_t getPanels(int64_t rows, const IsaRow &row, unsigned groups) {
    return llvm::divideCeil(rows, row.lanes() * groups);
  }

protected:
  llvm::SmallVector<mlir::Value> operands;
  bool batched = false;
};

/// The leaf that `value`, the root of an expression or a stored float tensor
/// (a region's argument or a miura.weight), is; null if kernels cannot decode
/// it.
std::shared_ptr<PanelLeaf> getPanelLeaf(mlir::Value value,
                                        bool isBatched = false);

/// Attaches the panel leaves of this library to the dialect's ops.
void registerPanelLeaves(mlir::DialectRegistry &registry);

} // namespace miura::codegen

#endif // MIURA_CODEGEN_CPU_PANELLEAF_H
