//===- SafeTensors.h - Reading and writing safetensors files ----*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The safetensors format: eight bytes of header length, a JSON header that
/// gives every tensor's type, shape and place, then the tensors without gaps.
/// The reader returns places, not bytes; the writer is told sizes first and is
/// then given bytes in pieces, so neither holds a tensor.
/// Source: https://huggingface.co/docs/safetensors, "Format".
///
//===----------------------------------------------------------------------===//

#ifndef MIURA_SUPPORT_SAFETENSORS_H
#define MIURA_SUPPORT_SAFETENSORS_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include "llvm/Support/raw_ostream.h"
#include <map>
#include <string>
#include <vector>

namespace miura {

/// A tensor of a safetensors file.
struct SafeTensor {
  std::string name;
  std::string dtype; ///< as in the header: F32, F16, BF16, I8, U8, …
  llvm::SmallVector<int64_t> shape;
  uint64_t offset = 0; ///< from the start of the file
  uint64_t length = 0; ///< bytes
};

/// A file's header.
struct SafeTensors {
  std::vector<SafeTensor> tensors; ///< in order of their offsets
  std::map<std::string, std::string> metadata;
};

/// The bytes of an element of `dtype`, or 0 where it is not known.
unsigned getSafeTensorElementSize(llvm::StringRef dtype);

/// Reads the header of a file. Checked: the lengths against the file, types and
/// shapes against the lengths, that no tensors overlap and none is missing.
llvm::Expected<SafeTensors> readSafeTensors(llvm::StringRef path);

/// Writes a file: add every tensor, then begin, then write their bytes in the
/// order in which they were added.
class SafeTensorsWriter {
public:
  /// Plans a tensor and returns its index; `length` is in bytes.
  size_t add(llvm::StringRef name, llvm::StringRef dtype,
             llvm::ArrayRef<int64_t> shape, uint64_t length);
  void setMetadata(llvm::StringRef key, llvm::StringRef value);

  /// Creates the file and writes the header. The tensors start at a multiple of
  /// 64 bytes.
  llvm::Error begin(llvm::StringRef path);
  /// The place of a tensor in the file, once begun.
  uint64_t getOffset(size_t index) const { return tensors[index].offset; }
  llvm::Error write(llvm::ArrayRef<uint8_t> bytes);
  /// Fails where fewer or more bytes were written than planned.
  llvm::Error finish();

private:
  std::vector<SafeTensor> tensors;
  std::map<std::string, std::string> metadata;
  std::string path;
  std::unique_ptr<llvm::raw_fd_ostream> stream;
  uint64_t planned = 0, written = 0;
};

} // namespace miura

#endif // MIURA_SUPPORT_SAFETENSORS_H
