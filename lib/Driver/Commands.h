//===- Commands.h - The commands that there are -----------------*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// One declaration per command; each is defined in a file of its own.
///
//===----------------------------------------------------------------------===//

#ifndef MIURA_LIB_DRIVER_COMMANDS_H
#define MIURA_LIB_DRIVER_COMMANDS_H

#include "miura/Driver/Command.h"

namespace miura::driver {

extern const Command benchCommand;
extern const Command compileCommand;
extern const Command compressCommand;
extern const Command evalCommand;
extern const Command generateCommand;
extern const Command importCommand;
extern const Command inspectCommand;
extern const Command runCommand;
extern const Command selfTestCommand;

} // namespace miura::driver

#endif // MIURA_LIB_DRIVER_COMMANDS_H
