//===- Interrupt.h - What to remove when interrupted ------------*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// An interrupted command leaves no unfinished folders behind, as a failed one
/// does not. Files are LLVM's to remove (llvm::sys::RemoveFileOnSignal).
///
//===----------------------------------------------------------------------===//

#ifndef MIURA_LIB_DRIVER_INTERRUPT_H
#define MIURA_LIB_DRIVER_INTERRUPT_H

#include <string>

namespace miura::driver {

/// From here on SIGINT, SIGTERM and SIGHUP remove what is registered and then
/// end the process as they would have. Called once.
void watchInterrupts();

/// Whether a signal came: folders go away under those who still write in them,
/// and what they complain of is no news.
bool isInterrupted();

/// Does not return where a signal came, so that the process ends by it and not
/// with an exit code of its own.
void waitIfInterrupted();

/// A folder that is removed with this object, or by an interrupt; `release`
/// leaves it.
class TemporaryFolder {
public:
  TemporaryFolder() = default;
  explicit TemporaryFolder(std::string path);
  TemporaryFolder(TemporaryFolder &&other) noexcept;
  TemporaryFolder &operator=(TemporaryFolder &&other) noexcept;
  ~TemporaryFolder() { remove(); }

  const std::string &getPath() const { return path; }
  void release();
  void remove();

private:
  std::string path;
};

} // namespace miura::driver

#endif // MIURA_LIB_DRIVER_INTERRUPT_H
