//===- Options.cpp - The options of the miura driver ----------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The tables that TableGen makes of Options.td, as llvm::opt wants them.
///
//===----------------------------------------------------------------------===//

#include "miura/Driver/Options.h"
#include "llvm/Option/Option.h"

using namespace llvm::opt;

#define OPTTABLE_STR_TABLE_CODE
#include "miura/Driver/Options.inc"
#undef OPTTABLE_STR_TABLE_CODE

#define OPTTABLE_PREFIXES_TABLE_CODE
#include "miura/Driver/Options.inc"
#undef OPTTABLE_PREFIXES_TABLE_CODE

#define OPTTABLE_SUBCOMMAND_IDS_TABLE_CODE
#include "miura/Driver/Options.inc"
#undef OPTTABLE_SUBCOMMAND_IDS_TABLE_CODE

#define OPTTABLE_SUBCOMMANDS_CODE
#include "miura/Driver/Options.inc"
#undef OPTTABLE_SUBCOMMANDS_CODE

using namespace miura::driver;

static constexpr OptTable::Info optionInfos[] = {
#define OPTION(...) LLVM_CONSTRUCT_OPT_INFO(__VA_ARGS__),
#include "miura/Driver/Options.inc"
#undef OPTION
};

namespace {
class DriverOptTable : public GenericOptTable {
public:
  DriverOptTable()
      : GenericOptTable(OptionStrTable, OptionPrefixesTable, optionInfos,
                        /*IgnoreCase=*/false, OptionSubCommands,
                        OptionSubCommandIDsTable) {
    setDashDashParsing(true);
  }
};
} // namespace

const OptTable &miura::driver::getOptionTable() {
  static const DriverOptTable table;
  return table;
}
