//===- Commands.cpp - The registry of commands and the driver -------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The list of commands, help texts, and the way from a command line to an exit
/// code. Adding a command: its options in Options.td, its file in this folder,
/// its line in the list below.
///
//===----------------------------------------------------------------------===//

#include "Commands.h"
#include "Interrupt.h"
#include "Output.h"
#include "miura/Driver/Command.h"
#include "llvm/ADT/SmallSet.h"
#include "llvm/Config/llvm-config.h"
#include "llvm/Option/Option.h"
#include "llvm/Support/WithColor.h"
#include "llvm/Support/raw_ostream.h"

using namespace miura::driver;
using llvm::StringRef;

llvm::ArrayRef<const Command *> miura::driver::getCommands() {
  static const Command *const commands[] = {
      &importCommand,   //
      &inspectCommand,  //
      &compressCommand, //
      &compileCommand,  //
      &runCommand,      //
      &generateCommand, //
      &evalCommand,     //
      &benchCommand,    //
      &selfTestCommand, //
  };
  return commands;
}

static const Command *findCommand(StringRef name) {
  for (const Command *command : getCommands())
    if (command->name == name)
      return command;
  return nullptr;
}

static const llvm::opt::OptTable::SubCommand *findEntry(StringRef name) {
  for (const auto &entry : getOptionTable().getSubCommands())
    if (name == entry.Name)
      return &entry;
  return nullptr;
}

static void printOverview(llvm::raw_ostream &os) {
  os << "Miura folds language models small: ONNX in, a smaller model or a "
        "shared library that\nruns it out.\n\nUsage: miura COMMAND ...\n\n"
        "Commands:\n";
  for (const Command *command : getCommands())
    if (!command->hidden)
      os << "  " << llvm::left_justify(command->name, 10)
         << findEntry(command->name)->HelpText << "\n";
  os << "\n'miura COMMAND --help' explains a command, with an example.\n";
}

static void printHelp(const Command &command) {
  const auto *entry = findEntry(command.name);
  // The text of the command itself comes behind the title.
  std::string title = ("miura " + StringRef(command.name)).str();
  getOptionTable().printHelp(llvm::outs(), entry->Usage, title.c_str(),
                             /*ShowHidden=*/false, /*ShowAllAliases=*/false,
                             llvm::opt::Visibility(), command.name);
  llvm::outs() << "\n" << command.description.ltrim("\n");
}

/// ", did you mean 'X'?" for the nearest of `candidates`, or nothing.
static std::string suggest(StringRef word,
                           llvm::ArrayRef<std::string> candidates) {
  unsigned best = word.size() / 3 + 1;
  std::string nearest;
  for (const std::string &candidate : candidates) {
    unsigned distance = word.edit_distance(candidate, true, best + 1);
    if (distance <= best && (nearest.empty() || distance < best)) {
      best = distance;
      nearest = candidate;
    }
  }
  return nearest.empty() ? "" : "; did you mean '" + nearest + "'?";
}

/// The options of a command as they are typed, for suggestions.
static std::vector<std::string> getSpellings(StringRef command) {
  std::vector<std::string> spellings;
  const llvm::opt::OptTable &table = getOptionTable();
  for (unsigned id = 1; id <= table.getNumOptions(); ++id) {
    llvm::opt::Option option = table.getOption(id);
    StringRef name = table.getOptionPrefixedName(id);
    if (id != OPT_INPUT && id != OPT_UNKNOWN && !name.ends_with("=") &&
        option.isRegisteredSC(command))
      spellings.push_back(name.str());
  }
  return spellings;
}

/// Unknown options, options of other commands, missing values, and values given
/// twice: which one was meant is not guessed.
static bool checkArguments(Invocation &invocation, const Command &command,
                           unsigned missingIndex, unsigned missingCount) {
  const llvm::opt::InputArgList &arguments = invocation.getArguments();
  if (missingCount) {
    invocation.failUsage(StringRef(arguments.getArgString(missingIndex)) +
                         " expects a value");
    return false;
  }
  llvm::SmallSet<unsigned, 8> given;
  for (const llvm::opt::Arg *arg : arguments) {
    llvm::opt::Option option = arg->getOption();
    if (option.matches(OPT_INPUT))
      continue;
    llvm::opt::Option own = option.getUnaliasedOption();
    if (!option.matches(OPT_UNKNOWN) && own.isRegisteredSC(command.name)) {
      if (given.insert(own.getID()).second || arg->getNumValues() == 0 ||
          own.hasFlag(Repeatable))
        continue;
      std::string values;
      for (const std::string &value : arguments.getAllArgValues(own.getID()))
        values += (values.empty() ? "'" : " and '") + value + "'";
      invocation.failUsage(own.getPrefixedName() +
                           " is given more than once, with " + values +
                           "; it takes one value");
      return false;
    }
    std::string typed = arg->getAsString(arguments);
    StringRef name = StringRef(typed).take_until(
        [](char c) { return c == '=' || c == ' '; });
    invocation.failUsage("'miura " + command.name + "' has no option '" + name +
                         "'" + suggest(name, getSpellings(command.name)));
    return false;
  }
  return invocation.readCommonOptions();
}

int miura::driver::runDriver(int argc, char **argv) {
  llvm::ArrayRef<const char *> words(argv + 1, argc - 1);
  if (words.empty() || StringRef(words[0]) == "--help" ||
      StringRef(words[0]) == "-h" || StringRef(words[0]) == "help") {
    printOverview(words.empty() ? llvm::errs() : llvm::outs());
    return words.empty() ? int(ExitCode::Usage) : 0;
  }
  if (StringRef(words[0]) == "--version") {
    llvm::outs() << "miura " MIURA_VERSION " with LLVM " LLVM_VERSION_STRING
                    "\n";
    return 0;
  }
  watchInterrupts();
  unsigned missingIndex, missingCount;
  llvm::opt::InputArgList arguments = getOptionTable().ParseArgs(
      words.drop_front(), missingIndex, missingCount);
  Invocation invocation(words[0], arguments);

  ExitCode code;
  const Command *command = findCommand(words[0]);
  if (!command) {
    std::vector<std::string> names;
    for (const Command *candidate : getCommands())
      names.push_back(candidate->name.str());
    code = invocation.failUsage("there is no command '" + StringRef(words[0]) +
                                "'" + suggest(words[0], names) +
                                "; see 'miura --help'");
  } else if (invocation.has(OPT_help)) {
    printHelp(*command);
    return 0;
  } else if (!checkArguments(invocation, *command, missingIndex,
                             missingCount)) {
    code = ExitCode::Usage;
  } else if (llvm::Error error =
                 checkWeightsFolder(invocation.getString(OPT_weights_dir))) {
    // Before a pass finds out, which can only name the layer that it was at.
    code = invocation.failInput(std::move(error),
                                invocation.getString(OPT_weights_dir));
  } else {
    code = command->run(invocation);
  }
  waitIfInterrupted();
  if (code != ExitCode::Success)
    invocation.finish();
  llvm::outs().flush();
  if (std::error_code error = llvm::outs().error()) {
    llvm::outs().clear_error();
    llvm::errs() << "miura: error: cannot write to standard output: "
                 << error.message() << "\n";
    return int(ExitCode::Input);
  }
  return int(code);
}
