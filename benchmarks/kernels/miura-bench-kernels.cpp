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
///   --mode=P    times each, M ≤ 8 from cold memory beside DRAM read
///   --mode=ir   prints the vector IR        --mode=asm   the assembly
///   --mode=loop prints the loop of the assembly that has the most of the
///               instruction --instruction
///   --mode=count prints what that loop has: of the instruction, calls, and
///               vector registers that are spilled or reloaded
///
/// With --mode=P and no problem it times the table of benchmarks/README.md.
///
/// Timing of M ≤ 8: copies of the packed weights, `--cold` MiB in all, are
/// cycled, so that every call reads memory. Behind every call a reader passes
/// over as many bytes of the copy that was used longest ago, with the same
/// barriers; there are three of them (no prefetch, 4 and 8 KiB ahead), of which
/// the best is DRAM read. A round gives the lower quartile of the calls and of
/// the readers, rounds interleave the problems, and printed are medians over
/// the rounds, of ratios the medians of the ratio within a round. M > 8 is
/// timed in CPU seconds per thread.
///
//===----------------------------------------------------------------------===//

#include "KernelProblem.h"
#include "miura/Support/MemoryReader.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/InitLLVM.h"
#include <algorithm>
#include <chrono>
#include <cstring>
#include <ctime>
#include <functional>
#include <sched.h>
#include <sys/mman.h>
#include <thread>

using namespace miura::test;
namespace cl = llvm::cl;

enum class Mode { Check, Time, Ir, Assembly, Loop, Count };

static cl::list<std::string> problems(cl::Positional, cl::desc("problems..."));
static cl::opt<Mode>
    mode("mode", cl::desc("What to do with each problem"),
         cl::init(Mode::Check),
         cl::values(clEnumValN(Mode::Check, "C", "check against the reference"),
                    clEnumValN(Mode::Time, "P", "time"),
                    clEnumValN(Mode::Ir, "ir", "print the vector IR"),
                    clEnumValN(Mode::Assembly, "asm", "print the assembly"),
                    clEnumValN(Mode::Loop, "loop", "print the hot loop"),
                    clEnumValN(Mode::Count, "count", "count in the hot loop")));
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

/// For a part of a call: seconds of computing where one thread does all of it,
/// which other jobs on the machine disturb less; else the clock.
static double lapNow(int threads) {
  if (threads > 1)
    return now();
  timespec time;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
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

/// The calling thread stays on the tid-th of the processors that the process
/// may use: two threads of a team on one would wait for each other.
static void pinThread(int tid) {
  static const cpu_set_t allowed = [] {
    cpu_set_t set;
    sched_getaffinity(0, sizeof(set), &set);
    return set;
  }();
  int left = tid % std::max(1, CPU_COUNT(&allowed));
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu)
    if (CPU_ISSET(cpu, &allowed) && left-- == 0) {
      cpu_set_t one;
      CPU_ZERO(&one);
      CPU_SET(cpu, &one);
      sched_setaffinity(0, sizeof(one), &one);
      return;
    }
}

/// Threads that stay; `run` gives each its number.
template <typename Body> static double timeTeam(int threads, Body body) {
  SpinBarrier barrier(threads);
  double begin = 0;
  std::vector<std::thread> team;
  auto part = [&](int tid) {
    pinThread(tid);
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

static volatile uint64_t sink;

/// The duration below which a quarter of the calls stays: what other jobs on
/// the machine disturb is slower, never faster.
static double quartile(std::vector<double> seconds) {
  auto at = seconds.begin() + (ptrdiff_t)(seconds.size() / 4);
  std::nth_element(seconds.begin(), at, seconds.end());
  return *at;
}

namespace {
struct Timed {
  std::unique_ptr<CompiledKernel> kernel;
  /// A round each: seconds of a call, and the same of reading as many bytes.
  std::vector<double> seconds, limits;

  bool isCold() const { return kernel->problem.m <= 8; }
};

/// Copies of a kernel's packed leaves, at pages, one set after the other.
class Copies {
public:
  Copies(CompiledKernel &kernel, uint8_t *memory, size_t bytes)
      : memory(memory) {
    for (Buffer &leaf : kernel.packed) {
      offsets.push_back(set);
      set += (leaf.size() + 4095) / 4096 * 4096;
    }
    count = bytes / set;
    for (size_t copy = 0; copy < count; ++copy)
      for (size_t i = 0; i < offsets.size(); ++i)
        std::memcpy(memory + copy * set + offsets[i], kernel.packed[i].data(),
                    kernel.packed[i].size());
  }
  uint8_t *begin(size_t copy) const { return memory + copy % count * set; }
  std::vector<uint8_t *> leaves(size_t copy) const {
    std::vector<uint8_t *> result;
    for (size_t offset : offsets)
      result.push_back(begin(copy) + offset);
    return result;
  }
  size_t set = 0, count = 0;

private:
  uint8_t *memory;
  std::vector<size_t> offsets;
};
} // namespace

/// One round of a problem in cold memory: a call on one copy, then a reader on
/// the copy that was used longest ago, and so on through all copies.
static void timeCold(Timed &entry, uint8_t *memory, size_t bytes) {
  CompiledKernel &kernel = *entry.kernel;
  int threads = kernel.problem.threads;
  Copies copies(kernel, memory, bytes);
  std::vector<double> calls, reads[std::size(miura::kPrefetchDistances)];
  timeTeam(threads, [&](int tid, SpinBarrier &barrier) {
    double last = 0;
    auto lap = [&](std::vector<double> &to) {
      barrier.wait();
      double time = lapNow(threads);
      if (tid == 0)
        to.push_back(time - last);
      last = time;
    };
    for (size_t copy = 0; copy < copies.count; ++copy) {
      std::vector<uint8_t *> leaves = copies.leaves(copy);
      barrier.wait();
      last = lapNow(threads);
      kernel.call(tid, threads, &barrier, leaves);
      lap(calls);
      size_t reader = copy % std::size(miura::kPrefetchDistances);
      size_t part = copies.set / threads / 256 * 256;
      barrier.wait();
      last = lapNow(threads);
      sink =
          miura::readMemory(copies.begin(copy + copies.count / 2) + tid * part,
                            part, miura::kPrefetchDistances[reader]);
      lap(reads[reader]);
    }
  });
  double limit = quartile(reads[0]);
  for (auto &seconds : reads)
    limit = std::min(limit, quartile(seconds));
  entry.seconds.push_back(quartile(calls));
  entry.limits.push_back(limit);
}

/// Compute-bound problems are timed in seconds of computing.
static void timeWarm(Timed &entry) {
  CompiledKernel &kernel = *entry.kernel;
  int threads = kernel.problem.threads;
  double cpu = cpuNow();
  int repeats = 2;
  timeTeam(threads, [&](int tid, SpinBarrier &barrier) {
    for (int repeat = 0; repeat < repeats; ++repeat) {
      kernel.call(tid, threads, &barrier);
      barrier.wait();
    }
  });
  entry.seconds.push_back((cpuNow() - cpu) / threads / repeats);
  entry.limits.push_back(0);
}

static int timeAll(std::vector<Timed> &timed) {
  size_t bytes = (size_t)coldMiB << 20;
  auto *memory = (uint8_t *)mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                                 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) {
    llvm::errs() << "error: no " << coldMiB << " MiB of memory\n";
    return 1;
  }
  madvise(memory, bytes, MADV_HUGEPAGE);
  for (Timed &entry : timed)
    if (entry.isCold() && bytes < 6 * (size_t)entry.kernel->weightBytes()) {
      llvm::errs() << "error: " << coldMiB << " MiB hold fewer than 6 copies "
                   << "of " << entry.kernel->problem.str()
                   << ": raise --cold\n";
      return 1;
    }
  for (int round = 0; round < rounds; ++round)
    for (Timed &entry : timed)
      entry.isCold() ? timeCold(entry, memory, bytes) : timeWarm(entry);
  llvm::outs() << "us/call    GB/s  of DRAM  of first    GOP/s  problem\n";
  for (Timed &entry : timed) {
    const KernelProblem &problem = entry.kernel->problem;
    double seconds = median(entry.seconds);
    const Timed &first = *llvm::find_if(timed, [&](const Timed &other) {
      return other.kernel->problem.threads == problem.threads;
    });
    std::vector<double> shares, ratios;
    for (size_t i = 0; i < entry.seconds.size(); ++i) {
      shares.push_back(entry.limits[i] / entry.seconds[i]);
      ratios.push_back(first.seconds[i] / entry.seconds[i]);
    }
    llvm::outs() << llvm::format("%7.0f ", seconds * 1e6);
    if (entry.isCold())
      llvm::outs() << llvm::format("%7.2f  %7.2f",
                                   entry.kernel->weightBytes() / seconds * 1e-9,
                                   median(shares));
    else
      llvm::outs() << "      -        -";
    llvm::outs() << llvm::format("  %8.2f", median(ratios))
                 << llvm::format(" %8.1f", 2e-9 * problem.m * problem.n *
                                               problem.k / seconds)
                 << "  " << problem.str() << "\n";
    llvm::outs().flush();
  }
  munmap(memory, bytes);
  return 0;
}

/// The table: decode of every leaf from cold memory on one and two threads,
/// then a prefill from the same packed bytes. The first problem of a number of
/// threads is what the others are compared with.
static void addStandardProblems() {
  for (const char *threads : {" threads=1", " threads=2"}) {
    for (const char *text :
         {"w=q4b32 act=i8", "w=q4b32+lr32 act=i8", "w=q4b32 act=f32",
          "w=q4b32p50 act=i8", "w=q4b32n2m4 act=i8", "w=q8b32 act=i8",
          "w=q3b32 act=i8", "w=q2b32 act=i8", "w=f16", "w=f32"})
      problems.push_back(std::string(text) + " m=1 n=4096 k=4096" + threads);
    for (const char *text : {"w=q4b32 act=i8", "w=q4b32 act=f32"})
      problems.push_back(std::string(text) + " m=512 n=4096 k=4096" + threads);
  }
}

/// What the hot loop has of the instruction, of calls, and of spill moves of
/// vectors.
static void printCounts(const CompiledKernel &kernel) {
  std::string loop = kernel.hotLoop(instruction);
  llvm::SmallVector<llvm::StringRef> lines;
  llvm::StringRef(loop).split(lines, '\n');
  int found = 0, calls = 0, spills = 0;
  for (llvm::StringRef line : lines) {
    found += line.contains(instruction);
    // x86's and AArch64's.
    for (const char *call : {"call", "bl\t", "blr\t"})
      calls += line.trim().starts_with(call);
    for (llvm::StringRef size : {"16-byte ", "32-byte ", "64-byte "})
      for (llvm::StringRef move : {"Spill", "Reload", "Folded"})
        spills += line.contains((size + move).str());
  }
  llvm::outs() << instruction << "=" << found << " calls=" << calls
               << " spills=" << spills << " " << kernel.problem.str() << "\n";
}

int main(int argc, char **argv) {
  llvm::InitLLVM init(argc, argv);
  cl::ParseCommandLineOptions(argc, argv,
                              "Checks and times generated kernels\n");
  if (problems.empty() && mode == Mode::Time)
    addStandardProblems();
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
    if (mode == Mode::Time && kernel->isRemote()) {
      llvm::errs() << "error: only this machine's instruction sets are timed\n"
                   << "in: " << text << "\n";
      return 1;
    }
    if (mode == Mode::Ir) {
      llvm::outs() << kernel->vectorIr;
    } else if (mode == Mode::Assembly) {
      llvm::outs() << kernel->assembly;
    } else if (mode == Mode::Loop) {
      llvm::outs() << kernel->hotLoop(instruction);
    } else if (mode == Mode::Count) {
      printCounts(*kernel);
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
