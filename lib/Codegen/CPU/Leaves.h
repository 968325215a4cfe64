//===- Leaves.h - The panel leaves of this library --------------*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The two kinds of leaf there are: stored floats, and integer codes with
/// scales. Leaves.cpp attaches them to ops.
///
//===----------------------------------------------------------------------===//

#ifndef MIURA_LIB_CODEGEN_CPU_LEAVES_H
#define MIURA_LIB_CODEGEN_CPU_LEAVES_H

#include "miura/Codegen/CPU/PanelLeaf.h"
#include <optional>

namespace miura::codegen {

/// Floats stored as they are: f32, f16 or bf16, packed `[column][row]`.
class DenseLeaf : public PanelLeaf {
public:
  /// `value` is a tensor of the stored floats; null if its type has no panel.
  static std::shared_ptr<PanelLeaf> get(mlir::Value value);

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
                       unsigned firstGroup, unsigned groupCount,
                       PanelAs as) const override;
  std::shared_ptr<PanelLeaf> transpose() const override;
  mlir::LogicalResult pack(llvm::ArrayRef<PackOperand> sources,
                           const IsaRow &row, unsigned groups, int64_t begin,
                           int64_t end, llvm::MutableArrayRef<uint8_t> out,
                           mlir::Location loc) const override;

private:
  unsigned elementBytes() const { return element.getIntOrFloatBitWidth() / 8; }

  mlir::Type element;
  bool transposed = false;
};

/// Integer codes with scales per block of columns or per row, and zeros.
class CodeLeaf : public PanelLeaf {
public:
  /// What an op that dequantizes says of itself. Block sizes are of the stored
  /// tensor's rows and columns; 0 is all of them.
  struct Description {
    mlir::Value codes, scales, zeros;
    int64_t rowBlock, columnBlock;
    bool isUnsigned;
  };
  /// Null if no panel fits.
  static std::shared_ptr<PanelLeaf> get(const Description &description);

  std::pair<int64_t, int64_t>
  getShape(llvm::ArrayRef<PackOperand> sources) const override;
  PanelLayout getLayout(const IsaRow &row, unsigned groups) const override;
  unsigned getPackedBits() const override { return packedBits; }
  bool isScaled() const override { return true; }
  bool isScaledByBlock() const override { return columnBlock != 0; }
  bool hasZeros() const override { return (bool)zeroType; }
  bool decodesToInt() const override { return true; }
  int64_t getBias() const override {
    return isUnsigned ? 0 : int64_t(1) << (bits - 1);
  }
  unsigned getShift(const IsaRow &row, unsigned group) const override;
  unsigned getBound(const IsaRow &row, unsigned group) const override;
  unsigned getDecodeCost(const IsaRow &row, PanelAs as) const override;
  UnitVectors emitUnit(KernelBuilder &b, const PanelLayout &layout,
                       mlir::Value memory, mlir::Value offset,
                       unsigned firstGroup, unsigned groupCount,
                       PanelAs as) const override;
  mlir::Value emitScale(KernelBuilder &b, mlir::Value memory,
                        mlir::Value offset, unsigned group) const override;
  mlir::Value emitZero(KernelBuilder &b, mlir::Value memory, mlir::Value offset,
                       unsigned group) const override;
  unsigned getConstants(const IsaRow &row) const override {
    return packedBits == 8 ? 0 : packedBits == 3 ? 7 : 8 / packedBits;
  }
  bool fits() const override { return columnBlock % 4 == 0; }
  std::shared_ptr<PanelLeaf> transpose() const override;
  mlir::LogicalResult pack(llvm::ArrayRef<PackOperand> sources,
                           const IsaRow &row, unsigned groups, int64_t begin,
                           int64_t end, llvm::MutableArrayRef<uint8_t> out,
                           mlir::Location loc) const override;

private:
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
  mlir::Value takeColumn(KernelBuilder &b, mlir::Value raw, unsigned bit) const;
  bool usesTable(const IsaRow &row) const;
  unsigned scaleBytes(const IsaRow &row) const;
  unsigned zeroBytes(const IsaRow &row) const;

  unsigned bits = 0, packedBits = 0;
  bool isUnsigned = false;
  int64_t rowBlock = 0, columnBlock = 0;
  /// f16 or f32, as packed; no zeros if null.
  mlir::FloatType scaleType, zeroType;
  bool transposed = false;
};

/// An element of stored floats (f16, bf16 or f32) as f32.
float readFloat(const uint8_t *bytes, mlir::Type element, int64_t index);
/// The bits of the f16 next to `value`, half to even.
uint16_t toHalfBits(float value);

} // namespace miura::codegen

#endif // MIURA_LIB_CODEGEN_CPU_LEAVES_H
