//===- WeightStore.h - Bytes outside the IR ---------------------*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Where `#miura.bytes` are found and new tensors are kept. One store belongs
/// to each instance of the dialect; it is safe to use from many threads.
///
//===----------------------------------------------------------------------===//

#ifndef MIURA_DIALECT_MIURA_IR_WEIGHTSTORE_H
#define MIURA_DIALECT_MIURA_IR_WEIGHTSTORE_H

#include "miura/Support/FileStore.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/Support/LLVM.h"
#include "llvm/ADT/DenseSet.h"
#include <mutex>

namespace miura {

class BytesAttr;
class WeightDataOp;
struct HostTensor;

class WeightStore {
public:
  /// The files behind the store.
  FileStore &getFiles() { return files; }

  /// The bytes of `attr`, mapped: valid as long as the store. Checks the
  /// range against the file, and the digest where `attr` has one (once per
  /// attribute). Where `loc` is a place in a file, that file's folder is
  /// searched too: the folder of the parsed module, in every tool. Emits an
  /// error at `loc` that names file, range and remedy.
  mlir::FailureOr<llvm::ArrayRef<uint8_t>> getBytes(BytesAttr attr,
                                                    mlir::Location loc);

  /// Writes `bytes` once under their digest into the weights folder and returns
  /// their name. The same bytes give the same attribute.
  mlir::FailureOr<BytesAttr> putBytes(llvm::ArrayRef<uint8_t> bytes,
                                      mlir::Location loc);

  /// The BLAKE3 of the bytes of `attr` in hexadecimal, remembered.
  mlir::FailureOr<std::string> getDigest(BytesAttr attr, mlir::Location loc);

private:
  void searchFolderOf(mlir::Location loc);

  FileStore files;
  std::mutex mutex; // guards `checked`
  llvm::DenseSet<mlir::Attribute> checked;
};

/// The number of bytes of a stored tensor of `type`: elements narrower than a
/// byte form a bit stream whose rows start at a byte (see miura.weight_data).
int64_t getStoredBytes(mlir::RankedTensorType type);

/// The numbers stored as `bytes`; fails for element types without numbers.
mlir::FailureOr<HostTensor> readHostTensor(mlir::RankedTensorType type,
                                           llvm::ArrayRef<uint8_t> bytes);

/// The bytes that store `tensor` as its type says (rounding half to even).
std::vector<uint8_t> writeHostTensor(const HostTensor &tensor);

} // namespace miura

#endif // MIURA_DIALECT_MIURA_IR_WEIGHTSTORE_H
