//===- MemoryReader.cpp - Reads memory as fast as it goes -----------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "miura/Support/MemoryReader.h"

static inline __attribute__((always_inline)) uint64_t
readAll(const uint8_t *data, size_t bytes, size_t ahead) {
  typedef uint64_t Words __attribute__((vector_size(32)));
  Words sums[8] = {};
  for (size_t i = 0; i + 256 <= bytes; i += 256) {
    if (ahead)
      for (size_t line = 0; line < 256; line += 64)
        __builtin_prefetch(data + i + ahead + line);
    for (size_t j = 0; j < 8; ++j)
      sums[j] ^= *reinterpret_cast<const Words *>(data + i + 32 * j);
  }
  for (size_t j = 1; j < 8; ++j)
    sums[0] ^= sums[j];
  return sums[0][0] ^ sums[0][1] ^ sums[0][2] ^ sums[0][3];
}

#if defined(__x86_64__)
__attribute__((target("avx2"))) static uint64_t
readAllAvx2(const uint8_t *data, size_t bytes, size_t ahead) {
  return readAll(data, bytes, ahead);
}
#endif

uint64_t miura::readMemory(const uint8_t *data, size_t bytes, size_t ahead) {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2"))
    return readAllAvx2(data, bytes, ahead);
#endif
  return readAll(data, bytes, ahead);
}
