//===- StoredCodes.h - Stored integers in the dialect's layout --*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Files store quantized weights in layouts of their operators; the dialect has
/// one: signless integers in rows that start at a byte. Where the bytes agree
/// only the type changes; where they do not, a new tensor is written row by row
/// into the weight store, once per content, so that a model is never on the
/// heap.
///
//===----------------------------------------------------------------------===//

#ifndef MIURA_LIB_CONVERSION_ONNXTOMIURA_STOREDCODES_H
#define MIURA_LIB_CONVERSION_ONNXTOMIURA_STOREDCODES_H

#include "miura/Dialect/Miura/IR/MiuraDialect.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/StringMap.h"

namespace miura {

class StoredCodes {
public:
  explicit StoredCodes(mlir::ModuleOp module)
      : module(module), symbols(module) {}

  /// The stored bytes of a weight or a constant, as `miura.weight_data`
  /// describes them. `storage` holds those of a constant.
  mlir::FailureOr<llvm::ArrayRef<uint8_t>> read(mlir::Value stored,
                                                std::vector<uint8_t> &storage);

  /// The bytes of `stored` as a tensor of `type`, which needs as many.
  mlir::Value view(mlir::Value stored, mlir::RankedTensorType type);

  /// A tensor of `type` whose rows `fill` computes from those of `stored`.
  /// `how` tells what is done apart from anything else done to `stored`: what
  /// was made already is not made again.
  using Fill =
      llvm::function_ref<void(llvm::ArrayRef<uint8_t> from, int64_t row,
                              llvm::MutableArrayRef<uint8_t> to)>;
  mlir::FailureOr<mlir::Value> rewrite(mlir::Value stored,
                                       mlir::RankedTensorType type,
                                       llvm::StringRef how, Fill fill);

  /// Equally shaped tensors as one, with a first dimension that counts them.
  mlir::FailureOr<mlir::Value> stack(llvm::ArrayRef<mlir::Value> tensors);

private:
  /// A weight of `bytes` that stands just behind `stored`.
  mlir::Value makeWeight(mlir::Value stored, mlir::RankedTensorType type,
                         BytesAttr bytes);

  mlir::ModuleOp module;
  mlir::SymbolTable symbols;
  llvm::DenseMap<std::pair<mlir::Attribute, mlir::Type>, WeightDataOp> data;
  llvm::StringMap<BytesAttr> made;
};

/// Element `index` of a bit stream of elements of `bits` (at most 16).
inline unsigned getCode(llvm::ArrayRef<uint8_t> bytes, int64_t index,
                        unsigned bits) {
  int64_t bit = index * bits;
  unsigned window = bytes[bit / 8];
  for (unsigned have = 8; have < bit % 8 + bits; have += 8)
    window |= (unsigned)bytes[bit / 8 + have / 8] << have;
  return (window >> (bit % 8)) & ((1u << bits) - 1);
}

/// Sets an element of a bit stream that is zero there; its bits lie within a
/// byte.
inline void setCode(llvm::MutableArrayRef<uint8_t> bytes, int64_t index,
                    unsigned bits, unsigned code) {
  bytes[index * bits / 8] |= (uint8_t)(code << (index * bits % 8));
}

} // namespace miura

#endif // MIURA_LIB_CONVERSION_ONNXTOMIURA_STOREDCODES_H
