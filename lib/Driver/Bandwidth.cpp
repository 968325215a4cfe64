//===- Bandwidth.cpp - How fast this machine reads memory -----------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Every thread reads its part of a large block once, from end to end, and sums
/// it, so that nothing can be left out. Three readers (no prefetch, 4 and 8 KiB
/// ahead), because which is fastest depends on the machine.
///
//===----------------------------------------------------------------------===//

#include "Bandwidth.h"
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

static uint64_t readBest(const uint8_t *data, size_t bytes, size_t ahead) {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2"))
    return readAllAvx2(data, bytes, ahead);
#endif
  return readAll(data, bytes, ahead);
}

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
    sink += readBest(memory + tid * part, part, ahead);
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
  for (size_t ahead : {0, 4096, 8192})
    best = std::max(best, measure(ahead));
  return best;
}
