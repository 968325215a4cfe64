//===- ProgressBar.h - How far passes have come -----------------*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// A line on the terminal while weights are worked on.
///
//===----------------------------------------------------------------------===//

#ifndef MIURA_LIB_DRIVER_PROGRESSBAR_H
#define MIURA_LIB_DRIVER_PROGRESSBAR_H

#include "miura/Driver/Invocation.h"
#include <memory>

namespace miura::driver {

/// Shows, as long as it lives, what the passes of the invocation's context
/// announce as WorkActions; nothing where standard error is no terminal, or
/// under --quiet.
class ProgressBar {
public:
  explicit ProgressBar(Invocation &invocation);
  ~ProgressBar();

private:
  struct State;
  std::unique_ptr<State> state;
};

} // namespace miura::driver

#endif // MIURA_LIB_DRIVER_PROGRESSBAR_H
