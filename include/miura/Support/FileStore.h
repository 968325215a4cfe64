//===- FileStore.h - Mapped files and content-addressed tensors -*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Maps the files that weights lie in and hands out views of them, and writes
/// new tensors once under the digest of their content. Nothing of model size is
/// held on the heap. Safe to use from many threads.
///
//===----------------------------------------------------------------------===//

#ifndef MIURA_SUPPORT_FILESTORE_H
#define MIURA_SUPPORT_FILESTORE_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include <memory>
#include <string>

namespace miura {

class FileStore {
public:
  FileStore();
  ~FileStore();

  /// Appends a folder in which relative names are looked up (folders are tried
  /// in the order of their addition, then the weights folder, then the working
  /// directory).
  void addSearchFolder(llvm::StringRef folder);

  /// Where `put` writes; created when first written to. The default is
  /// $MIURA_WEIGHTS_DIR, else ./miura-weights.
  void setWeightsFolder(llvm::StringRef folder);
  std::string getWeightsFolder() const;

  /// In strict mode a relative name may not leave its folder: `..`, absolute
  /// names and links out are refused (bundles, external data of ONNX files).
  void setStrict(bool strict);

  /// The path that `name` stands for, or an error that lists where it was
  /// looked for.
  llvm::Expected<std::string> resolve(llvm::StringRef name) const;

  /// `length` bytes from `offset` of the file `name`, mapped read-only and
  /// valid as long as the store. `fileSize`, where not 0, must be the file's
  /// size.
  llvm::Expected<llvm::ArrayRef<uint8_t>> map(llvm::StringRef name,
                                              uint64_t offset, uint64_t length,
                                              uint64_t fileSize = 0);

  /// Writes `bytes` into the weights folder as `b3-<digest>` unless they are
  /// there (a temporary name, then a rename) and returns that name.
  llvm::Expected<std::string> put(llvm::ArrayRef<uint8_t> bytes);

  /// The BLAKE3 of a range in hexadecimal, read with pread (pages that were
  /// only hashed do not stay resident) and remembered.
  llvm::Expected<std::string> digest(llvm::StringRef name, uint64_t offset,
                                     uint64_t length);

private:
  struct Impl;
  std::unique_ptr<Impl> impl;
};

/// The BLAKE3 of `bytes`, 64 hexadecimal digits.
std::string blake3Hex(llvm::ArrayRef<uint8_t> bytes);

} // namespace miura

#endif // MIURA_SUPPORT_FILESTORE_H
