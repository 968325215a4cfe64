//===- Bandwidth.cpp - How fast this machine reads memory -----------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Every thread reads its part of a large block once, from end to end.
///
//===----------------------------------------------------------------------===//

#include "Bandwidth.h"
#include "miura/Support/MemoryReader.h"
#include <algorithm>
#include <atomic>
#include <chrono>
#include <sys/mman.h>
#include <thread>
#include <vector>

using namespace miura::driver;

/// More than the caches of any socket that reads at memory's speed.
static constexpr size_t kBytes = size_t(512) << 20;

/// Where sums go.
static std::atomic<uint64_t> sink;

llvm::Expected<BandwidthProbe> BandwidthProbe::create(unsigned threads) {
  void *memory = ::mmap(nullptr, kBytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED)
    return llvm::createStringError("there is no memory for " +
                                   llvm::Twine(kBytes >> 20) +
                                   " MiB that are to be read");
  (void)::madvise(memory, kBytes, MADV_HUGEPAGE);
  auto *bytes = static_cast<uint8_t *>(memory);
  // Untouched pages would all be the one page of zeros.
  for (size_t i = 0; i < kBytes; i += 64)
    bytes[i] = uint8_t(i >> 6);
  return BandwidthProbe(bytes, kBytes, threads);
}

BandwidthProbe::BandwidthProbe(BandwidthProbe &&other) noexcept
    : memory(other.memory), bytes(other.bytes), threads(other.threads) {
  other.memory = nullptr;
}

BandwidthProbe::~BandwidthProbe() {
  if (memory)
    ::munmap(memory, bytes);
}

double BandwidthProbe::measure(size_t ahead) {
  size_t part = bytes / threads / 4096 * 4096;
  std::atomic<unsigned> ready = 0;
  std::chrono::steady_clock::time_point begin;
  auto read = [&](unsigned tid) {
    // All begin at once.
    ++ready;
    while (ready.load() < threads)
      std::this_thread::yield();
    if (tid == 0)
      begin = std::chrono::steady_clock::now();
    sink += miura::readMemory(memory + tid * part, part, ahead);
  };
  std::vector<std::thread> team;
  for (unsigned tid = 1; tid < threads; ++tid)
    team.emplace_back(read, tid);
  read(0);
  for (std::thread &thread : team)
    thread.join();
  std::chrono::duration<double> seconds =
      std::chrono::steady_clock::now() - begin;
  return double(part * threads) / seconds.count();
}

double BandwidthProbe::measure() {
  double best = 0;
  for (size_t ahead : miura::kPrefetchDistances)
    best = std::max(best, measure(ahead));
  return best;
}
