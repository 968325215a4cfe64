//===- Pack.cpp - Codes as row-padded bit streams -------------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Codes go through a window of bits, which is a byte at a time at the packed
/// end and a code at a time at the other; it serves every width alike.
///
//===----------------------------------------------------------------------===//

#include "miura/Compress/Pack.h"
#include <cassert>

using namespace miura;

void compress::packRow(llvm::ArrayRef<uint8_t> codes, unsigned bits,
                       llvm::MutableArrayRef<uint8_t> packed) {
  assert((int64_t)packed.size() == getPackedRowBytes(codes.size(), bits));
  unsigned mask = (1u << bits) - 1, window = 0, have = 0;
  uint8_t *next = packed.data();
  for (uint8_t code : codes) {
    window |= (code & mask) << have;
    have += bits;
    if (have >= 8) {
      *next++ = (uint8_t)window;
      window >>= 8;
      have -= 8;
    }
  }
  if (have != 0)
    *next = (uint8_t)window;
}

void compress::unpackRow(llvm::ArrayRef<uint8_t> packed, unsigned bits,
                         llvm::MutableArrayRef<uint8_t> codes) {
  assert((int64_t)packed.size() == getPackedRowBytes(codes.size(), bits));
  unsigned mask = (1u << bits) - 1, window = 0, have = 0;
  const uint8_t *next = packed.data();
  for (uint8_t &code : codes) {
    if (have < bits) {
      window |= (unsigned)*next++ << have;
      have += 8;
    }
    code = (uint8_t)(window & mask);
    window >>= bits;
    have -= bits;
  }
}
