//===- Bandwidth.h - How fast this machine reads memory ---------*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The limit of a decode step, which reads every weight once: the rate at which
/// as many threads read memory that no cache holds.
///
//===----------------------------------------------------------------------===//

#ifndef MIURA_LIB_DRIVER_BANDWIDTH_H
#define MIURA_LIB_DRIVER_BANDWIDTH_H

#include "llvm/Support/Error.h"
#include <cstddef>
#include <cstdint>

namespace miura::driver {

/// Memory to be read. Kept over the rounds of a benchmark, so that its pages
/// are there.
class BandwidthProbe {
public:
  static llvm::Expected<BandwidthProbe> create(unsigned threads);
  BandwidthProbe(BandwidthProbe &&other) noexcept;
  BandwidthProbe &operator=(BandwidthProbe &&) = delete;
  ~BandwidthProbe();

  /// Bytes per second, the best of readers with different prefetch distances.
  double measure();

private:
  BandwidthProbe(uint8_t *memory, size_t bytes, unsigned threads)
      : memory(memory), bytes(bytes), threads(threads) {}
  double measure(size_t ahead);

  uint8_t *memory;
  size_t bytes;
  unsigned threads;
};

} // namespace miura::driver

#endif // MIURA_LIB_DRIVER_BANDWIDTH_H
