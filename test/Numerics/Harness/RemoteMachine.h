//===- RemoteMachine.h - Kernels of another architecture --------*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Runs kernels of an instruction set that this machine does not have: a
/// runner, which is compiled for it and runs in an emulator, loads them and
/// keeps their buffers; requests and answers go through pipes. So the same
/// problems are checked in the same way on every row of the table.
///
/// Requests, integers of the machine's own order (little-endian):
///
///   'L' u32 length, path          load the library; answers u32 its number
///   'P' u32 count, {u64 size, bytes}   the buffers from now on
///   'R' u32 library, u32 threads, u32 output, u64 size, its bytes,
///       u32 words, {i64 value, i32 buffer or −1}
///                                 run; answers u8 whether the borders are
///                                 intact, then the output's bytes
///
/// A library exports `kernel_words(int64_t *words)`; its last three words,
/// which are the runner's to set, are team, thread and threads.
///
//===----------------------------------------------------------------------===//

#ifndef MIURA_TEST_NUMERICS_REMOTEMACHINE_H
#define MIURA_TEST_NUMERICS_REMOTEMACHINE_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/Support/Error.h"
#include "llvm/TargetParser/Triple.h"
#include <memory>
#include <string>
#include <vector>

namespace miura::test {

class RemoteMachine {
public:
  /// The one of this architecture, started when it is first asked for. An error
  /// says what is missing.
  static llvm::Expected<RemoteMachine *> get(llvm::Triple::ArchType arch);

  /// Whether there is an emulator with a runner.
  static bool exists(llvm::Triple::ArchType arch);

  ~RemoteMachine();

  /// The largest team that a kernel can have there.
  unsigned getMostThreads() const { return mostThreads; }

  /// Links the object file and loads it.
  llvm::Expected<uint32_t> load(llvm::ArrayRef<char> object);

  /// Sends the buffers that words may point into.
  llvm::Error prepare(llvm::ArrayRef<llvm::ArrayRef<uint8_t>> buffers);

  /// A word of a kernel's arguments: a number, or a buffer and a byte of it.
  struct Word {
    int64_t value;
    int32_t buffer = -1;
  };
  /// Runs the library on `threads` threads; the contents of the buffer `output`
  /// go there and come back. Returns whether the borders of all are intact.
  llvm::Expected<bool> run(uint32_t library, unsigned threads, unsigned output,
                           llvm::MutableArrayRef<uint8_t> contents,
                           llvm::ArrayRef<Word> words);

private:
  RemoteMachine() = default;
  void write(const void *bytes, size_t count);
  llvm::Error read(void *bytes, size_t count);
  template <typename T> void send(T value) { write(&value, sizeof value); }

  std::vector<std::string> linker;
  unsigned mostThreads = 1;
  int in = -1, out = -1, process = -1;
  std::string folder;
  unsigned libraries = 0;
};

} // namespace miura::test

#endif // MIURA_TEST_NUMERICS_REMOTEMACHINE_H
