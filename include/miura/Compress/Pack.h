//===- Pack.h - Codes as row-padded bit streams -----------------*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// How codes of 1 to 8 bits lie in a file: a bit stream, lowest bits first, in
/// which every row starts at a byte. The bits that pad a row are zero, so equal
/// codes are equal bytes.
///
//===----------------------------------------------------------------------===//

#ifndef MIURA_COMPRESS_PACK_H
#define MIURA_COMPRESS_PACK_H

#include "llvm/ADT/ArrayRef.h"
#include <cstdint>

namespace miura::compress {

/// The bytes of a row of `columns` codes of `bits` bits.
inline int64_t getPackedRowBytes(int64_t columns, unsigned bits) {
  return (columns * bits + 7) / 8;
}

/// Packs the low `bits` bits of each code; `packed` has getPackedRowBytes
/// bytes.
void packRow(llvm::ArrayRef<uint8_t> codes, unsigned bits,
             llvm::MutableArrayRef<uint8_t> packed);

/// Undoes packRow: codes come back in the low bits, the others are zero.
void unpackRow(llvm::ArrayRef<uint8_t> packed, unsigned bits,
               llvm::MutableArrayRef<uint8_t> codes);

} // namespace miura::compress

#endif // MIURA_COMPRESS_PACK_H
