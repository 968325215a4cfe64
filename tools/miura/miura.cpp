//===- miura.cpp - The driver ---------------------------------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// `miura COMMAND …`; everything is in lib/Driver.
///
//===----------------------------------------------------------------------===//

#include "miura/Driver/Command.h"
#include "llvm/Support/InitLLVM.h"

int main(int argc, char **argv) {
  llvm::InitLLVM init(argc, argv);
  return miura::driver::runDriver(argc, argv);
}
