//===- Isa.h - What kernels need to know of a CPU ---------------*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The table of instruction sets: one row per level, with the vector length,
/// tiles, prefetch distances and the primitives that schedules emit. Schedules
/// and panels read numbers from a row and call its primitives; a new row
/// changes neither.
///
//===----------------------------------------------------------------------===//

#ifndef MIURA_CODEGEN_CPU_ISA_H
#define MIURA_CODEGEN_CPU_ISA_H

#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/IR/Value.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include "llvm/TargetParser/Triple.h"

namespace miura::codegen {

/// How far ahead of a load, in bytes, a kernel prefetches its weights; 0 leaves
/// it to the hardware. By the bits of a code as it is packed (1: codes of
/// pruned weights), and by the type in which activations enter.
struct PrefetchDistance {
  unsigned bits;
  unsigned asInt;
  unsigned asFloat;
};

/// One instruction set level.
struct IsaRow {
  /// The row's name, as `isa=` takes it.
  llvm::StringLiteral name;
  llvm::Triple::ArchType arch;
  /// The oldest cpu of the level: what code is compiled for where no cpu is
  /// asked for.
  llvm::StringLiteral cpu;
  /// LLVM's names of the features that the row's instructions need.
  llvm::ArrayRef<llvm::StringLiteral> features;

  /// Bytes of a vector register, and how many of them there are.
  unsigned vectorBytes;
  unsigned registers;
  /// f32 GEMM: rows of x and vectors of outputs per tile.
  unsigned floatTileRows, floatTileGroups;
  /// Integer products: rows of x and vectors of outputs per tile.
  unsigned dotTileRows, dotTileGroups;
  /// Columns that the loop of an integer product takes unrolled, at most.
  unsigned dotColumns;
  /// The same of an f32 product.
  unsigned floatColumns;
  /// Columns of a panel that an f32 GEMM decodes into the L1 cache at a time.
  unsigned chunkColumns;
  /// Entries of a table of 32-bit lanes that one permutation looks up, and the
  /// instructions that it takes with what it needs.
  unsigned tableEntries, lookupCost;
  /// Whether `dot4` multiplies signed bytes: codes of 8 bits are then packed as
  /// such.
  bool dotIsSigned;
  /// The largest first operand for which `dot4` takes its short form.
  unsigned dotLimit;
  /// Instructions of the short and of the long form.
  unsigned dotCost, longDotCost;
  llvm::ArrayRef<PrefetchDistance> prefetch;

  /// acc + the sum of four products of bytes, in every 32-bit lane, exactly.
  /// The second operand's are signed. The first's are unsigned and at most
  /// `bound`, or, where `dotIsSigned` and `bound` is 128, signed.
  mlir::Value (*dot4)(mlir::ImplicitLocOpBuilder &b, mlir::Value acc,
                      mlir::Value weights, mlir::Value signedBytes,
                      unsigned bound);
  /// table[lane mod tableEntries] of f32 lanes; the table is as many registers
  /// as its entries need.
  mlir::Value (*lookup)(mlir::ImplicitLocOpBuilder &b, mlir::ValueRange table,
                        mlir::Value lanes);
  /// The first bytes of `bytes`, in order, where the integer `mask` has bits
  /// that are set, and zeros elsewhere. Null where there is no such
  /// instruction.
  mlir::Value (*expand)(mlir::ImplicitLocOpBuilder &b, mlir::Value bytes,
                        mlir::Value mask);
  /// Of four vectors of pruned codes, how many are stored whole: those that
  /// would take longer to expand than to read from memory.
  unsigned wholeVectors;
  /// A vector of f16 as f32.
  mlir::Value (*widenHalf)(mlir::ImplicitLocOpBuilder &b, mlir::Value half);
  /// Whether a part of a vector is loaded and stored by one instruction; else
  /// it goes lane by lane, behind a branch.
  bool hasMasks;
  /// Whether a product is added with one rounding, everywhere in a kernel.
  bool hasFma;
  /// a · b + c, with one rounding where the row has that.
  mlir::Value (*fma)(mlir::ImplicitLocOpBuilder &b, mlir::Value x,
                     mlir::Value y, mlir::Value z);

  /// 32-bit lanes of a vector.
  unsigned lanes() const { return vectorBytes / 4; }
  /// Rows of a panel: four vectors of lanes.
  unsigned panelRows() const { return 4 * lanes(); }
  const PrefetchDistance &getPrefetch(unsigned bits) const;
};

/// All rows; those of an architecture from the least to the most capable.
llvm::ArrayRef<IsaRow> getIsaRows();

/// The row of this name, or null.
const IsaRow *findIsaRow(llvm::StringRef name);

/// `row` with the numbers that were measured on cpus like `cpu` (LLVM's name):
/// what one maker's memory system likes slows another's down.
const IsaRow &tuneRow(const IsaRow &row, llvm::StringRef cpu);

/// What to compile for: a row, and LLVM's triple, cpu and features for the
/// target machine.
struct Target {
  const IsaRow *row = nullptr;
  std::string triple;
  std::string cpu;
  std::string features;

  /// Whether this machine runs such code natively.
  bool isHostArchitecture() const;
};

/// The target that `text` names: `cpu[=NAME]` for this machine's architecture,
/// `x86-64[=NAME]`, `aarch64[=NAME]` or `wasm32[=NAME]`, or NAME alone: a row
/// of any architecture or a cpu of this machine's. NAME is a row of the table,
/// which stands for the oldest cpu of its level, or a cpu as LLVM calls it, or,
/// of this machine's architecture, "host". Without a name it is this machine's
/// cpu, or the least row of another architecture. The row is the most capable
/// one whose features the cpu with `features` (LLVM's form, "+avx2,-avx512f")
/// has, tuned for it. What is unknown, or a cpu below every row, is an error
/// that lists what is known.
llvm::Expected<Target> chooseTarget(llvm::StringRef text,
                                    llvm::StringRef features = "");

/// Whether this machine executes the code of `row`.
bool hostHas(const IsaRow &row);

} // namespace miura::codegen

#endif // MIURA_CODEGEN_CPU_ISA_H
