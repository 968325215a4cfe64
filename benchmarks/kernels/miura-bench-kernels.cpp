//===- miura-bench-kernels.cpp - Check and time linear kernels ------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// One driver for correctness and speed of generated kernels. Problems are the
/// strings of test/Numerics/KernelProblem.h.
///
///   --mode=C    checks each against the reference
///   --mode=P    times each, M = 1 from cold memory beside DRAM read
///   --mode=ir   prints the vector IR        --mode=asm   the assembly
///   --mode=loop prints the loop of the assembly that has the most of the
///               instruction --instruction
///
/// Timing of M = 1: copies of the packed weights, `--cold` MiB in all, are
/// cycled, so that every call reads memory; a barrier stands behind every call.
/// Rounds interleave the problems and three readers of the same memory (no
/// prefetch, 4 and 8 KiB ahead), of which the best is DRAM read. Printed are
/// medians over the rounds, and of the ratio within a round. M > 1 is timed in
/// CPU seconds per thread.
///
//===----------------------------------------------------------------------===//

#include "KernelProblem.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/InitLLVM.h"
#include <algorithm>
#include <chrono>
#include <cstring>
#include <ctime>
#include <functional>
#include <sys/mman.h>
#include <thread>

using namespace miura::test;
namespace cl = llvm::cl;

enum class Mode { Check, Time, Ir, Assembly, Loop };

static cl::list<std::string> problems(cl::Positional, cl::desc("problems..."));
static cl::opt<Mode>
    mode("mode", cl::desc("What to do with each problem"),
         cl::init(Mode::Check),
         cl::values(clEnumValN(Mode::Check, "C", "check against the reference"),
                    clEnumValN(Mode::Time, "P", "time"),
                    clEnumValN(Mode::Ir, "ir", "print the vector IR"),
                    clEnumValN(Mode::Assembly, "asm", "print the assembly"),
                    clEnumValN(Mode::Loop, "loop", "print the hot loop")));
static cl::opt<std::string>
    instruction("instruction", cl::desc("What the hot loop has the most of"),
                cl::init("vpdpbusd"));
static cl::opt<int> rounds("rounds", cl::desc("Interleaved rounds"),
                           cl::init(7));
static cl::opt<int64_t> coldMiB("cold", cl::desc("MiB of weights to cycle"),
                                cl::init(512));

static double now() {
  return std::chrono::duration<double>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

/// Seconds that this process computed, on all threads.
static double cpuNow() {
  timespec time;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

/// Threads that stay; `run` gives each its number.
template <typename Body> static double timeTeam(int threads, Body body) {
  SpinBarrier barrier(threads);
  double begin = 0;
  std::vector<std::thread> team;
  auto part = [&](int tid) {
    barrier.wait();
    if (tid == 0)
      begin = now();
    body(tid, barrier);
    barrier.wait();
  };
  for (int tid = 1; tid < threads; ++tid)
    team.emplace_back(part, tid);
  part(0);
  double seconds = now() - begin;
  for (std::thread &thread : team)
    thread.join();
  return seconds;
}

/// Sums all words, so that nothing is left out; eight independent sums.
__attribute__((target("avx2"))) static uint64_t
readMemory(const uint8_t *data, size_t bytes, size_t ahead) {
  typedef uint64_t Words __attribute__((vector_size(32)));
  Words sums[8] = {};
  for (size_t i = 0; i + 256 <= bytes; i += 256) {
    if (ahead)
      for (size_t line = 0; line < 256; line += 64)
        __builtin_prefetch(data + i + ahead + line);
    for (int j = 0; j < 8; ++j)
      sums[j] ^= *reinterpret_cast<const Words *>(data + i + 32 * j);
  }
  for (int j = 1; j < 8; ++j)
    sums[0] ^= sums[j];
  return sums[0][0] ^ sums[0][1] ^ sums[0][2] ^ sums[0][3];
}

static volatile uint64_t sink;

/// Bytes per second of the best of three readers.
static double readBandwidth(const uint8_t *memory, size_t bytes, int threads) {
  double best = 0;
  for (size_t ahead : {0, 4096, 8192}) {
    double seconds = timeTeam(threads, [&](int tid, SpinBarrier &) {
      size_t part = bytes / threads / 4096 * 4096;
      sink = readMemory(memory + tid * part, part, ahead);
    });
    best = std::max(best, bytes / seconds);
  }
  return best;
}

namespace {
struct Timed {
  std::unique_ptr<CompiledKernel> kernel;
  std::vector<double> rates, shares;
};
} // namespace

static int timeAll(std::vector<Timed> &timed) {
  size_t bytes = (size_t)coldMiB << 20;
  auto *memory = (uint8_t *)mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                                 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) {
    llvm::errs() << "error: no " << coldMiB << " MiB of memory\n";
    return 1;
  }
  madvise(memory, bytes, MADV_HUGEPAGE);
  for (int round = -1; round < rounds; ++round) {
    for (Timed &entry : timed) {
      CompiledKernel &kernel = *entry.kernel;
      const KernelProblem &problem = kernel.problem;
      // Copies of all leaves, one set after the other, at cache lines.
      std::vector<size_t> offsets;
      size_t set = 0;
      for (Buffer &leaf : kernel.packed) {
        offsets.push_back(set);
        set += (leaf.size() + 4095) / 4096 * 4096;
      }
      bool cold = problem.m == 1;
      size_t copies = cold ? bytes / set : 1;
      for (size_t copy = 0; copy < copies; ++copy)
        for (size_t i = 0; i < offsets.size(); ++i)
          std::memcpy(memory + copy * set + offsets[i], kernel.packed[i].data(),
                      kernel.packed[i].size());
      auto call = [&](int tid, SpinBarrier &barrier, size_t copy) {
        std::vector<uint8_t *> leaves;
        for (size_t offset : offsets)
          leaves.push_back(memory + copy * set + offset);
        kernel.call(tid, problem.threads, &barrier, leaves);
        barrier.wait();
      };
      int repeats = cold ? 1 : 3;
      // Compute-bound problems are timed in seconds of computing, which other
      // jobs on the machine disturb less.
      double cpu = cpuNow();
      double seconds =
          timeTeam(problem.threads, [&](int tid, SpinBarrier &barrier) {
            for (int repeat = 0; repeat < repeats; ++repeat)
              for (size_t copy = 0; copy < copies; ++copy)
                call(tid, barrier, copy);
          });
      if (!cold)
        seconds = (cpuNow() - cpu) / problem.threads;
      seconds /= copies * repeats;
      double limit = cold ? readBandwidth(memory, bytes, problem.threads) : 0;
      if (round < 0)
        continue;
      double rate = cold ? kernel.weightBytes() / seconds
                         : 2.0 * problem.m * problem.n * problem.k / seconds;
      entry.rates.push_back(rate);
      entry.shares.push_back(cold ? rate / limit : 0);
    }
  }
  for (Timed &entry : timed) {
    llvm::outs() << llvm::format(entry.kernel->problem.m == 1 ? "%7.2f GB/s  "
                                                              : "%7.1f GOP/s ",
                                 median(entry.rates) * 1e-9);
    if (entry.kernel->problem.m == 1)
      llvm::outs() << llvm::format("%.2f of DRAM read ", median(entry.shares));
    // Against the first problem, round by round: time per call.
    std::vector<double> ratios;
    for (size_t i = 0; i < entry.rates.size(); ++i) {
      double first = timed[0].rates[i], own = entry.rates[i];
      if (entry.kernel->problem.m == 1) {
        first /= timed[0].kernel->weightBytes();
        own /= entry.kernel->weightBytes();
      }
      ratios.push_back(own / first);
    }
    llvm::outs() << llvm::format("%.2f of the first  ", median(ratios))
                 << entry.kernel->problem.str() << "\n";
    llvm::outs().flush();
  }
  munmap(memory, bytes);
  return 0;
}

int main(int argc, char **argv) {
  llvm::InitLLVM init(argc, argv);
  cl::ParseCommandLineOptions(argc, argv,
                              "Checks and times generated kernels\n");
  std::vector<Timed> timed;
  int failures = 0;
  for (const std::string &text : problems) {
    auto problem = KernelProblem::parse(text);
    if (!problem) {
      llvm::errs() << "error: " << llvm::toString(problem.takeError()) << "\n";
      return 1;
    }
    std::string error;
    bool run = mode == Mode::Check || mode == Mode::Time;
    auto kernel =
        CompiledKernel::get(*problem, error, run, mode == Mode::Check);
    if (!kernel) {
      llvm::errs() << "error: " << error << "\nin: " << text << "\n";
      return 1;
    }
    if (mode == Mode::Ir) {
      llvm::outs() << kernel->vectorIr;
    } else if (mode == Mode::Assembly) {
      llvm::outs() << kernel->assembly;
    } else if (mode == Mode::Loop) {
      llvm::outs() << kernel->hotLoop(instruction);
    } else if (mode == Mode::Check) {
      kernel->run(problem->threads);
      double difference = kernel->relativeError();
      bool good = difference < 1e-5 && kernel->bordersIntact();
      failures += !good;
      llvm::outs() << (good ? "passed " : "FAILED ")
                   << llvm::format("%.1e ", difference) << problem->str()
                   << "\n";
    } else {
      timed.push_back({std::move(kernel), {}, {}});
    }
  }
  if (mode == Mode::Time)
    return timeAll(timed);
  return failures != 0;
}
