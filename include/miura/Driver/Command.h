//===- Command.h - The commands of the miura driver -------------*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The registry of commands. A command is one file of lib/Driver that defines a
/// `Command`; its name, usage and options stand in Options.td.
///
//===----------------------------------------------------------------------===//

#ifndef MIURA_DRIVER_COMMAND_H
#define MIURA_DRIVER_COMMAND_H

#include "miura/Driver/Invocation.h"

namespace miura::driver {

struct Command {
  /// As in Options.td, which has the summary and the usage too.
  llvm::StringLiteral name;
  /// Printed by --help below the options: what one should know, and an
  /// example with what it prints.
  llvm::StringLiteral description;
  ExitCode (*run)(Invocation &);
  /// Left out of the list of commands.
  bool hidden = false;
};

/// All commands, in the order in which `miura --help` lists them.
llvm::ArrayRef<const Command *> getCommands();

/// The driver: parses the command line, runs the command and returns what the
/// process exits with.
int runDriver(int argc, char **argv);

} // namespace miura::driver

#endif // MIURA_DRIVER_COMMAND_H
