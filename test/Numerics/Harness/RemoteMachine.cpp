//===- RemoteMachine.cpp - Kernels of another architecture ----------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The host's side: which emulator, runner and linker an architecture has, and
/// the pipes.
///
//===----------------------------------------------------------------------===//

#include "RemoteMachine.h"
#include "llvm/ADT/SmallString.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Program.h"
#include "llvm/Support/raw_ostream.h"
#include <csignal>
#include <map>
#include <sys/wait.h>
#include <unistd.h>

using namespace miura::test;

namespace {
struct Emulator {
  llvm::Triple::ArchType arch;
  /// The program and its arguments; the runner comes behind.
  std::vector<std::string> command;
  /// In the folder of runners.
  std::string runner;
  /// The program and its arguments; `-o library object` comes behind.
  std::vector<std::string> linker;
  unsigned mostThreads = 64;
};
} // namespace

static const Emulator *findEmulator(llvm::Triple::ArchType arch) {
  static const Emulator emulators[] = {
      {llvm::Triple::aarch64,
       {"qemu-aarch64", "-L", "/usr/aarch64-linux-gnu"},
       "runner-aarch64",
       {"ld.lld-22", "-shared"}},
      {llvm::Triple::wasm32,
       {"node"},
       "runner-wasm32.mjs",
       {"wasm-ld-22", "--no-entry", "--export=kernel_words",
        "--export=__heap_base", "--allow-undefined", "--stack-first", "-z",
        "stack-size=1048576"},
       /*mostThreads=*/1}};
  for (const Emulator &emulator : emulators)
    if (emulator.arch == arch)
      return &emulator;
  return nullptr;
}

static std::string getRunner(const Emulator &emulator) {
  llvm::SmallString<128> path(MIURA_KERNEL_RUNNERS);
  llvm::sys::path::append(path, emulator.runner);
  return std::string(path);
}

bool RemoteMachine::exists(llvm::Triple::ArchType arch) {
  const Emulator *emulator = findEmulator(arch);
  return emulator && llvm::sys::findProgramByName(emulator->command[0]) &&
         llvm::sys::findProgramByName(emulator->linker[0]) &&
         llvm::sys::fs::exists(getRunner(*emulator));
}

llvm::Expected<RemoteMachine *>
RemoteMachine::get(llvm::Triple::ArchType arch) {
  static std::map<llvm::Triple::ArchType, std::unique_ptr<RemoteMachine>> all;
  std::unique_ptr<RemoteMachine> &machine = all[arch];
  if (machine)
    return machine.get();
  const Emulator *emulator = findEmulator(arch);
  if (!emulator)
    return llvm::createStringError("nothing here runs code for " +
                                   llvm::Triple::getArchTypeName(arch).str());
  if (!exists(arch))
    return llvm::createStringError(
        "code for " + llvm::Triple::getArchTypeName(arch).str() + " needs " +
        emulator->command[0] + ", " + emulator->linker[0] + " and " +
        getRunner(*emulator));
  std::vector<std::string> command = emulator->command;
  command.push_back(getRunner(*emulator));
  int down[2], up[2];
  llvm::SmallString<128> folder;
  if (pipe(down) != 0 || pipe(up) != 0 ||
      llvm::sys::fs::createUniqueDirectory("miura-kernels", folder))
    return llvm::createStringError("no pipe or no temporary folder");
  signal(SIGPIPE, SIG_IGN);
  int process = fork();
  if (process == 0) {
    dup2(down[0], 0);
    dup2(up[1], 1);
    for (int file : {down[0], down[1], up[0], up[1]})
      close(file);
    std::vector<char *> arguments;
    for (std::string &word : command)
      arguments.push_back(word.data());
    arguments.push_back(nullptr);
    execvp(arguments[0], arguments.data());
    _exit(127);
  }
  close(down[0]);
  close(up[1]);
  machine.reset(new RemoteMachine());
  machine->linker = emulator->linker;
  machine->mostThreads = emulator->mostThreads;
  machine->in = up[0];
  machine->out = down[1];
  machine->process = process;
  machine->folder = std::string(folder);
  return machine.get();
}

RemoteMachine::~RemoteMachine() {
  // The runner ends where its input does.
  close(out);
  close(in);
  waitpid(process, nullptr, 0);
  llvm::sys::fs::remove_directories(folder);
}

void RemoteMachine::write(const void *bytes, size_t count) {
  auto *at = static_cast<const char *>(bytes);
  while (count > 0) {
    ssize_t done = ::write(out, at, count);
    // A runner that is gone shows when it should answer.
    if (done <= 0)
      return;
    at += done;
    count -= done;
  }
}

llvm::Error RemoteMachine::read(void *bytes, size_t count) {
  auto *at = static_cast<char *>(bytes);
  while (count > 0) {
    ssize_t done = ::read(in, at, count);
    if (done <= 0)
      return llvm::createStringError(
          "the emulator is gone: the kernel touched memory beside its buffers, "
          "or an instruction is unknown");
    at += done;
    count -= done;
  }
  return llvm::Error::success();
}

llvm::Expected<uint32_t> RemoteMachine::load(llvm::ArrayRef<char> object) {
  std::string base = folder + "/" + std::to_string(libraries++);
  std::string objectPath = base + ".o", library = base + ".so";
  std::error_code error;
  {
    llvm::raw_fd_ostream os(objectPath, error);
    if (!error)
      os.write(object.data(), object.size());
  }
  if (error)
    return llvm::createStringError("cannot write " + objectPath);
  llvm::SmallVector<llvm::StringRef> arguments(linker.begin(), linker.end());
  arguments.append({"-o", library, objectPath});
  auto program = llvm::sys::findProgramByName(linker[0]);
  std::string message;
  if (!program || llvm::sys::ExecuteAndWait(*program, arguments, std::nullopt,
                                            {}, 0, 0, &message) != 0)
    return llvm::createStringError("linking a kernel failed: " + message);
  llvm::sys::fs::remove(objectPath);
  send('L');
  send((uint32_t)library.size());
  write(library.data(), library.size());
  uint32_t number = 0;
  if (llvm::Error failed = read(&number, sizeof number))
    return failed;
  llvm::sys::fs::remove(library);
  if (number == UINT32_MAX)
    return llvm::createStringError("the runner cannot load the kernel");
  return number;
}

llvm::Error
RemoteMachine::prepare(llvm::ArrayRef<llvm::ArrayRef<uint8_t>> buffers) {
  send('P');
  send((uint32_t)buffers.size());
  for (llvm::ArrayRef<uint8_t> buffer : buffers) {
    send((uint64_t)buffer.size());
    write(buffer.data(), buffer.size());
  }
  return llvm::Error::success();
}

llvm::Expected<bool> RemoteMachine::run(uint32_t library, unsigned threads,
                                        unsigned output,
                                        llvm::MutableArrayRef<uint8_t> contents,
                                        llvm::ArrayRef<Word> words) {
  send('R');
  send(library);
  send((uint32_t)threads);
  send((uint32_t)output);
  send((uint64_t)contents.size());
  write(contents.data(), contents.size());
  send((uint32_t)words.size());
  for (const Word &word : words) {
    send(word.value);
    send(word.buffer);
  }
  uint8_t intact = 0;
  if (llvm::Error failed = read(&intact, 1))
    return failed;
  if (llvm::Error failed = read(contents.data(), contents.size()))
    return failed;
  return intact != 0;
}
