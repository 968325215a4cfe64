//===- Interrupt.cpp - What to remove when interrupted --------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// A signal handler may not walk folders, so it wakes a thread that may,
/// through a pipe.
///
//===----------------------------------------------------------------------===//

#include "Interrupt.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Signals.h"
#include <atomic>
#include <cerrno>
#include <csignal>
#include <fcntl.h>
#include <mutex>
#include <thread>
#include <unistd.h>
#include <utility>

using namespace miura::driver;

namespace {
struct Folders {
  std::mutex mutex;
  llvm::StringSet<> paths;
};
} // namespace

/// Never destroyed: the waiting thread may outlive main.
static Folders &getFolders() {
  static auto *folders = new Folders();
  return *folders;
}

/// Tells the thread below; as much as a handler may do. Some libraries have
/// threads from before main, so the signals cannot be blocked everywhere.
static int pipeEnds[2] = {-1, -1};
static std::atomic<bool> interrupted = false;
static void tell(int signal) {
  int before = errno;
  interrupted = true;
  auto number = static_cast<unsigned char>(signal);
  (void)!::write(pipeEnds[1], &number, 1);
  errno = before;
}

static void removeAndDie(int signal) {
  // Held to the end: nothing new is begun.
  Folders &folders = getFolders();
  folders.mutex.lock();
  llvm::sys::RunInterruptHandlers();
  // Other threads still write; what they put back goes in the next turn.
  auto removeAll = [&] {
    bool isLeft = false;
    for (const auto &path : folders.paths) {
      llvm::sys::fs::remove_directories(path.getKey());
      isLeft |= llvm::sys::fs::exists(path.getKey());
    }
    return !isLeft;
  };
  for (int turn = 0; turn < 10000 && !removeAll(); ++turn)
    std::this_thread::yield();
  std::signal(signal, SIG_DFL);
  raise(signal);
}

bool miura::driver::isInterrupted() { return interrupted; }

void miura::driver::waitIfInterrupted() {
  while (interrupted)
    ::pause();
}

void miura::driver::watchInterrupts() {
  if (::pipe2(pipeEnds, O_CLOEXEC) != 0)
    return;
  std::thread([] {
    unsigned char signal;
    ssize_t count;
    do
      count = ::read(pipeEnds[0], &signal, 1);
    while (count < 0 && errno == EINTR);
    if (count == 1)
      removeAndDie(signal);
  }).detach();
  for (int signal : {SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction action = {};
    // One that is ignored (nohup) stays so.
    if (::sigaction(signal, nullptr, &action) != 0 ||
        action.sa_handler == SIG_IGN)
      continue;
    action = {};
    action.sa_handler = tell;
    action.sa_flags = SA_RESTART;
    ::sigaction(signal, &action, nullptr);
  }
}

TemporaryFolder::TemporaryFolder(std::string path) : path(std::move(path)) {
  Folders &folders = getFolders();
  std::lock_guard<std::mutex> lock(folders.mutex);
  folders.paths.insert(this->path);
}

TemporaryFolder::TemporaryFolder(TemporaryFolder &&other) noexcept
    : path(std::exchange(other.path, {})) {}

TemporaryFolder &TemporaryFolder::operator=(TemporaryFolder &&other) noexcept {
  remove();
  path = std::exchange(other.path, {});
  return *this;
}

void TemporaryFolder::release() {
  Folders &folders = getFolders();
  std::lock_guard<std::mutex> lock(folders.mutex);
  folders.paths.erase(path);
  path.clear();
}

void TemporaryFolder::remove() {
  if (path.empty())
    return;
  llvm::sys::fs::remove_directories(path);
  release();
}
