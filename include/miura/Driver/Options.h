//===- Options.h - The options of the miura driver --------------*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The identifiers of the options that Options.td lists, `OPT_<def name>`, and
/// the table that parses them.
///
//===----------------------------------------------------------------------===//

#ifndef MIURA_DRIVER_OPTIONS_H
#define MIURA_DRIVER_OPTIONS_H

#include "llvm/Option/OptTable.h"

namespace miura::driver {

enum OptionId : unsigned {
  OPT_INVALID = 0,
#define OPTION(...) LLVM_MAKE_OPT_ID(__VA_ARGS__),
#include "miura/Driver/Options.inc"
#undef OPTION
};

/// Flags of options, from the first bit that llvm::opt leaves free on.
enum OptionFlags : unsigned { Repeatable = 1 << 4 };

/// The table of all commands and options; immutable.
const llvm::opt::OptTable &getOptionTable();

} // namespace miura::driver

#endif // MIURA_DRIVER_OPTIONS_H
