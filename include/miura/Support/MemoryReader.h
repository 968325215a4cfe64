//===- MemoryReader.h - Reads memory as fast as it goes ---------*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The limit that kernels and decode steps are measured against: a loop that
/// does nothing but read. How many bytes, from where and on which threads is
/// the caller's, who takes the best of several prefetch distances, because
/// which is fastest depends on the machine.
///
//===----------------------------------------------------------------------===//

#ifndef MIURA_SUPPORT_MEMORYREADER_H
#define MIURA_SUPPORT_MEMORYREADER_H

#include <cstddef>
#include <cstdint>

namespace miura {

/// Bytes ahead that are worth trying; 0: no prefetch.
inline constexpr size_t kPrefetchDistances[] = {0, 4096, 8192};

/// Reads `bytes` from end to end, whole pieces of 256 of them, and returns
/// their sum, so that nothing can be left out; eight independent sums, so that
/// none waits for another.
uint64_t readMemory(const uint8_t *data, size_t bytes, size_t ahead);

} // namespace miura

#endif // MIURA_SUPPORT_MEMORYREADER_H
