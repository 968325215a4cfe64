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

  /// A tensor that is written piece by piece (see `put`). Dropped without
  /// `finish`, it leaves nothing behind. One thread at a time.
  class Writer {
  public:
    Writer(Writer &&) noexcept;
    ~Writer();
    llvm::Error write(llvm::ArrayRef<uint8_t> bytes);
    /// Names the tensor by its digest and returns the name.
    llvm::Expected<std::string> finish();

  private:
    friend class FileStore;
    struct Impl;
    explicit Writer(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl;
  };

  /// Begins a tensor that is too large to hold; the same bytes get the same
  /// name as from `put`.
  llvm::Expected<Writer> startPut();

  /// The BLAKE3 of a range in hexadecimal, read with pread (pages that were
  /// only hashed do not stay resident) and remembered.
  llvm::Expected<std::string> digest(llvm::StringRef name, uint64_t offset,
                                     uint64_t length);

private:
  struct Impl;
  std::unique_ptr<Impl> impl;
};

/// The path of `name` in `folder`, or an error where it is absolute, has `..`,
/// or leads out of the folder through a symbolic link. For names that come from
/// a file that was not written here.
llvm::Expected<std::string> resolveInside(llvm::StringRef folder,
                                          llvm::StringRef name);

/// The BLAKE3 of `bytes`, 64 hexadecimal digits.
std::string blake3Hex(llvm::ArrayRef<uint8_t> bytes);

} // namespace miura

#endif // MIURA_SUPPORT_FILESTORE_H
