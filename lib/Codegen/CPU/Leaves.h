//===- Leaves.h - The panel leaves of this library --------------*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The kinds of leaf there are: stored floats, and integer codes with scales,
/// whole, pruned or scaled column by column. Leaves.cpp attaches them to ops.
///
//===----------------------------------------------------------------------===//

#ifndef MIURA_LIB_CODEGEN_CPU_LEAVES_H
#define MIURA_LIB_CODEGEN_CPU_LEAVES_H

#include "miura/Codegen/CPU/PanelLeaf.h"
#include <optional>

namespace miura::codegen {

/// Where the stored values of a pruned weight stand in it: the formats of
/// `miura.unprune`. No format (the default) is a weight stored whole.
struct Placement {
  std::string format;
  llvm::SmallVector<int64_t, 2> group;
  /// The tensor that names the places.
  mlir::Value index;
  /// The weight's columns as stored; 0 where only the bitmap tells.
  int64_t columns = 0;

  explicit operator bool() const { return !format.empty(); }
  /// As PanelLeaf has them.
  int64_t getMatrices(llvm::ArrayRef<PackOperand> sources) const;
  llvm::SmallVector<PackOperand> getMatrix(llvm::ArrayRef<PackOperand> sources,
                                           int64_t matrix,
                                           std::vector<uint8_t> &storage) const;
  bool isGroups() const { return format == "nm"; }
  std::string getKey() const;
  /// The weight's rows and columns as stored. Where `columns` is not set, those
  /// of a bitmap are those of its bytes.
  std::pair<int64_t, int64_t> getShape(const PackOperand &values,
                                       const PackOperand &index) const;
  /// `place(row, column, valueRow, valueColumn)` for every value of the rows
  /// [first, first + count), by rows. Values of a bitmap are one row. Fails
  /// where the index asks for values that there are not.
  mlir::LogicalResult forEach(
      const PackOperand &values, const PackOperand &index, int64_t first,
      int64_t count, mlir::Location loc,
      llvm::function_ref<void(int64_t, int64_t, int64_t, int64_t)> place) const;
};

/// A stored stream of integers whose rows (the last dimension) start at bytes.
struct CodeStream {
  const uint8_t *bytes;
  int64_t rowBytes;
  unsigned bits;

  explicit CodeStream(const PackOperand &operand);
  unsigned at(int64_t row, int64_t column) const {
    const uint8_t *p = bytes + row * rowBytes;
    int64_t bit = column * bits;
    unsigned window = p[bit / 8];
    if (bit % 8 + bits > 8)
      window |= (unsigned)p[bit / 8 + 1] << 8;
    return (window >> (bit % 8)) & ((1u << bits) - 1);
  }
};

/// Fails, with a diagnostic, unless every tensor has the bytes of its type.
mlir::LogicalResult checkBytes(llvm::ArrayRef<PackOperand> sources,
                               mlir::Location loc);

/// Floats stored as they are: f32, f16 or bf16, packed `[column][row]`.
class DenseLeaf : public PanelLeaf {
public:
  /// `value` is a tensor of the stored floats, of pruned ones at its places, of
  /// a weight of `rank` dimensions; null if its type has no panel.
  static std::shared_ptr<PanelLeaf> get(mlir::Value value, int64_t rank,
                                        Placement placement = {});

  int64_t getMatrices(llvm::ArrayRef<PackOperand> sources) const override {
    return placement.getMatrices(sources);
  }
  llvm::SmallVector<PackOperand>
  getMatrix(llvm::ArrayRef<PackOperand> sources, int64_t matrix,
            std::vector<uint8_t> &storage) const override {
    return placement.getMatrix(sources, matrix, storage);
  }
  void setShape(int64_t rows, int64_t columns) override {
    placement.columns = transposed ? rows : columns;
  }
  std::pair<int64_t, int64_t>
  getShape(llvm::ArrayRef<PackOperand> sources) const override;
  PanelLayout getLayout(const IsaRow &row, unsigned groups) const override;
  unsigned getNarrowGroups() const override { return 1; }
  unsigned getPackedBits() const override { return 8 * elementBytes(); }
  bool isScaled() const override { return false; }
  bool isScaledByBlock() const override { return false; }
  bool hasZeros() const override { return false; }
  bool decodesToInt() const override { return false; }
  unsigned getDecodeCost(const IsaRow &row, PanelAs as) const override;
  UnitVectors emitUnit(KernelBuilder &b, const PanelLayout &layout,
                       mlir::Value memory, mlir::Value offset,
                       unsigned firstGroup, unsigned groupCount, PanelAs as,
                       mlir::ValueRange blockVectors,
                       llvm::MutableArrayRef<mlir::Value> state) const override;
  std::shared_ptr<PanelLeaf> transpose() const override;
  std::string getKey() const override;
  mlir::LogicalResult pack(llvm::ArrayRef<PackOperand> sources,
                           const IsaRow &row, unsigned groups, int64_t begin,
                           int64_t end, llvm::MutableArrayRef<uint8_t> out,
                           mlir::Location loc) const override;

private:
  unsigned elementBytes() const { return element.getIntOrFloatBitWidth() / 8; }

  mlir::Type element;
  Placement placement;
  bool transposed = false;
};

/// Integer codes, signed or entries of a table, with scales per block of
/// columns, per row or none, and zeros.
class CodeLeaf : public PanelLeaf {
public:
  /// What an op that dequantizes says of itself. Block sizes are of the stored
  /// tensor's rows and columns; 0 is all of them.
  struct Description {
    mlir::Value codes, scales, zeros;
    int64_t rowBlock, columnBlock;
    bool isUnsigned;
    /// Where the codes are those of a pruned weight; places without a code have
    /// that of zero.
    Placement placement = {};
    /// The values of codes, entries × 1; without one, a code is its value.
    mlir::Value table = {};
    /// Dimensions of the weight: 3 are a batch.
    int64_t rank = 2;
  };
  /// Null if no panel fits.
  static std::shared_ptr<PanelLeaf> get(const Description &description);

  int64_t getMatrices(llvm::ArrayRef<PackOperand> sources) const override {
    return placement.getMatrices(sources);
  }
  llvm::SmallVector<PackOperand>
  getMatrix(llvm::ArrayRef<PackOperand> sources, int64_t matrix,
            std::vector<uint8_t> &storage) const override {
    return placement.getMatrix(sources, matrix, storage);
  }
  void setShape(int64_t rows, int64_t columns) override {
    placement.columns = transposed ? rows : columns;
  }
  std::pair<int64_t, int64_t>
  getShape(llvm::ArrayRef<PackOperand> sources) const override;
  PanelLayout getLayout(const IsaRow &row, unsigned groups) const override;
  unsigned getPackedBits() const override { return packedBits; }
  bool isScaled() const override { return (bool)scaleType; }
  bool isScaledByBlock() const override { return columnBlock != 0; }
  bool hasZeros() const override { return (bool)zeroType; }
  bool decodesToInt() const override { return !hasTable; }
  int64_t getBias(const IsaRow &row) const override {
    return (isUnsigned ? 0 : int64_t(1) << (bits - 1)) -
           (isSignedByte(row) ? 128 : 0);
  }
  unsigned getShift(const IsaRow &row, unsigned group) const override;
  unsigned getBound(const IsaRow &row, unsigned group) const override;
  unsigned getDecodeCost(const IsaRow &row, PanelAs as) const override;
  UnitVectors emitUnit(KernelBuilder &b, const PanelLayout &layout,
                       mlir::Value memory, mlir::Value offset,
                       unsigned firstGroup, unsigned groupCount, PanelAs as,
                       mlir::ValueRange blockVectors,
                       llvm::MutableArrayRef<mlir::Value> state) const override;
  mlir::Value emitScale(KernelBuilder &b, mlir::Value memory,
                        mlir::Value offset, unsigned group) const override;
  mlir::Value emitZero(KernelBuilder &b, mlir::Value memory, mlir::Value offset,
                       unsigned group) const override;
  unsigned getConstants(const IsaRow &row) const override {
    return packedBits == 8 ? 0 : packedBits == 3 ? 7 : 8 / packedBits;
  }
  std::shared_ptr<PanelLeaf> transpose() const override;
  std::string getKey() const override;
  mlir::LogicalResult pack(llvm::ArrayRef<PackOperand> sources,
                           const IsaRow &row, unsigned groups, int64_t begin,
                           int64_t end, llvm::MutableArrayRef<uint8_t> out,
                           mlir::Location loc) const override;

  mlir::FailureOr<std::vector<uint8_t>>
  packAll(llvm::ArrayRef<PackOperand> sources, const IsaRow &row,
          unsigned groups, mlir::Location loc) const override;

protected:
  /// `codes` in the orientation that is asked for, as the class whose panels
  /// hold its scales and places.
  static std::shared_ptr<CodeLeaf> orient(const CodeLeaf &codes,
                                          bool isTransposed);
  /// Decides packedBits.
  void choosePacking();
  /// Where a group's codes stand in the bytes of its vector: their mask, and
  /// log2 of the factor that comes with it. Where the mask exceeds what the
  /// row's dot product takes, `move` says by how much it is shifted down.
  struct Field {
    unsigned mask, shift, move;
  };
  Field getField(const IsaRow &row, unsigned group) const;
  mlir::Value takeField(KernelBuilder &b, mlir::Value raw, Field field) const;
  /// Group 2 of 3-bit codes: two bits of z and one of z2, as code · 32.
  mlir::Value joinSplitGroup(KernelBuilder &b, mlir::Value z, mlir::Value z2,
                             unsigned step) const;
  /// The codes of one column from lanes of 4 columns: `bit` is the code's
  /// lowest.
  mlir::Value takeColumn(KernelBuilder &b, mlir::Value memory, mlir::Value raw,
                         unsigned bit) const;
  /// The values of the codes at `bit` of lanes, from the table.
  mlir::Value lookupColumn(KernelBuilder &b, mlir::Value memory,
                           mlir::Value lanes, unsigned bit) const;
  /// Entries of the table in the header: at least 16, repeated.
  int64_t tableEntries() const {
    return std::max<int64_t>(16, int64_t(1) << bits);
  }
  bool usesTable(const IsaRow &row) const;
  /// Whether codes are packed as signed bytes, 128 less than unsigned ones.
  bool isSignedByte(const IsaRow &row) const {
    return bits == 8 && !hasTable && row.dotIsSigned;
  }
  unsigned scaleBytes(const IsaRow &row) const;
  unsigned zeroBytes(const IsaRow &row) const;
  /// Bytes of a block's or of a row's scales and zeros.
  int64_t parameterBytes(const IsaRow &row) const {
    return (int64_t)scaleBytes(row) + zeroBytes(row);
  }

  /// Where in the tensors of scales and zeros those of a row and a block are.
  std::pair<int64_t, int64_t> locateParameter(int64_t row, int64_t block) const;
  /// Unsigned codes of the rows [first, first + count), `stride` apart, and
  /// (unless null) which of them are kept. Both are zero before.
  mlir::LogicalResult readRows(llvm::ArrayRef<PackOperand> sources,
                               int64_t first, int64_t count, int64_t stride,
                               uint8_t *codes, uint8_t *kept,
                               mlir::Location loc) const;
  /// Packs the codes of a panel, in the units of `layout` that start every
  /// block, to `to`; the parts of its bytes that hold them are zero before.
  mlir::LogicalResult packCodes(llvm::ArrayRef<PackOperand> sources,
                                const IsaRow &row, const PanelLayout &layout,
                                int64_t panel, uint8_t *to,
                                mlir::Location loc) const;
  /// The scale and the zero, in units of codes, of a row and a block.
  float readScale(llvm::ArrayRef<PackOperand> sources, int64_t row,
                  int64_t block) const;
  float readZero(llvm::ArrayRef<PackOperand> sources, int64_t row,
                 int64_t block) const;
  /// Scales and zeros of the rows [first, first + count) for a block.
  void storeParameters(llvm::ArrayRef<PackOperand> sources, const IsaRow &row,
                       uint8_t *to, int64_t first, int64_t count,
                       int64_t block) const;
  mlir::LogicalResult checkSources(llvm::ArrayRef<PackOperand> sources,
                                   mlir::Location loc) const;

  unsigned bits = 0, packedBits = 0;
  bool isUnsigned = false;
  int64_t rowBlock = 0, columnBlock = 0;
  /// f16 or f32, as packed; no zeros if null.
  mlir::FloatType scaleType, zeroType;
  bool hasTable = false, transposed = false;
  Placement placement;
};

/// Codes of a pruned weight: a bit per place, and the codes of those that are
/// kept, which a row of the table with `expand` puts to their places in
/// registers. On a row without it they are packed as those of a whole weight.
class SparseLeaf : public CodeLeaf {
public:
  PanelLayout getLayout(const IsaRow &row, unsigned groups) const override;
  std::shared_ptr<PanelLeaf> getUnindexed() const override;
  unsigned getDecodeCost(const IsaRow &row, PanelAs as) const override;
  unsigned getConstants(const IsaRow &row) const override;
  unsigned getStateCount(const IsaRow &row) const override;
  llvm::SmallVector<mlir::Value> emitBegin(KernelBuilder &b,
                                           const PanelLayout &layout,
                                           mlir::Value memory,
                                           mlir::Value offset) const override;
  llvm::SmallVector<mlir::Value>
  emitBlockVectors(KernelBuilder &b, mlir::Value memory,
                   mlir::Value parameters) const override;
  UnitVectors emitUnit(KernelBuilder &b, const PanelLayout &layout,
                       mlir::Value memory, mlir::Value offset,
                       unsigned firstGroup, unsigned groupCount, PanelAs as,
                       mlir::ValueRange blockVectors,
                       llvm::MutableArrayRef<mlir::Value> state) const override;
  std::string getKey() const override;
  mlir::LogicalResult pack(llvm::ArrayRef<PackOperand> sources,
                           const IsaRow &row, unsigned groups, int64_t begin,
                           int64_t end, llvm::MutableArrayRef<uint8_t> out,
                           mlir::Location loc) const override;
  mlir::FailureOr<std::vector<uint8_t>>
  packAll(llvm::ArrayRef<PackOperand> sources, const IsaRow &row,
          unsigned groups, mlir::Location loc) const override;

private:
  bool isExpanded(const IsaRow &row) const { return row.expand && !isWhole; }
  /// Groups of rows whose codes share bytes, a field each.
  unsigned fields() const { return 8 / packedBits; }
  /// What stands for the code of zero in a field, where all rows have one.
  unsigned zeroCode(const IsaRow &row) const;
  /// Codes of every expanded vector, where there are as many in each; else 0.
  int64_t getCount(const IsaRow &row) const;
  /// Steps of a unit; where there are two, a vector of each is stored whole.
  int64_t getSteps() const { return columnBlock % 8 == 0 ? 2 : 1; }
  bool isWholeVector(const IsaRow &row, unsigned step, unsigned group) const;
  int64_t unitCodeBytes(const IsaRow &row, unsigned groups,
                        int64_t count) const;
  /// Appends the blocks of a panel to `out`; `starts` gets where each and the
  /// tail begin.
  mlir::LogicalResult packPanel(llvm::ArrayRef<PackOperand> sources,
                                const IsaRow &row, const PanelLayout &layout,
                                int64_t panel, std::vector<uint8_t> &out,
                                llvm::SmallVectorImpl<size_t> &starts,
                                mlir::Location loc) const;

  /// Packed as a whole weight on every row of the table.
  bool isWhole = false;
};

/// Codes whose scales change from column to column and are those of many rows:
/// what a weight with scales per block of a row is when it is transposed.
class ColumnScaledLeaf : public CodeLeaf {
public:
  PanelLayout getLayout(const IsaRow &row, unsigned groups) const override;
  // To who asks, decoded values are numbers.
  bool isScaled() const override { return false; }
  bool isScaledByBlock() const override { return false; }
  bool hasZeros() const override { return false; }
  bool decodesToInt() const override { return false; }
  bool fits() const override { return rowBlock % mostLanes == 0; }
  unsigned getDecodeCost(const IsaRow &row, PanelAs as) const override;
  unsigned getStateCount(const IsaRow &row) const override { return 1; }
  llvm::SmallVector<mlir::Value> emitBegin(KernelBuilder &b,
                                           const PanelLayout &layout,
                                           mlir::Value memory,
                                           mlir::Value offset) const override;
  UnitVectors emitUnit(KernelBuilder &b, const PanelLayout &layout,
                       mlir::Value memory, mlir::Value offset,
                       unsigned firstGroup, unsigned groupCount, PanelAs as,
                       mlir::ValueRange blockVectors,
                       llvm::MutableArrayRef<mlir::Value> state) const override;
  mlir::LogicalResult pack(llvm::ArrayRef<PackOperand> sources,
                           const IsaRow &row, unsigned groups, int64_t begin,
                           int64_t end, llvm::MutableArrayRef<uint8_t> out,
                           mlir::Location loc) const override;

private:
  /// Lanes of the widest vectors: a scale is that of a whole vector's rows.
  static constexpr int64_t mostLanes = 16;
  /// Groups of rows that have a scale together.
  int64_t sharedGroups(const IsaRow &row, unsigned groups) const;
  /// Bytes of a column's scales and zeros: all scales, then all zeros.
  int64_t columnBytes(const IsaRow &row, unsigned groups) const;
};

/// An element of stored floats (f16, bf16 or f32) as f32.
float readFloat(const uint8_t *bytes, mlir::Type element, int64_t index);
/// Writes element i of f16 or f32.
void writeFloat(uint8_t *to, mlir::FloatType type, int64_t i, float value);
/// The bits of the f16 next to `value`, half to even.
uint16_t toHalfBits(float value);

} // namespace miura::codegen

#endif // MIURA_LIB_CODEGEN_CPU_LEAVES_H
