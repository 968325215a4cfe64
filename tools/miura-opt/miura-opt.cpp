//===- miura-opt.cpp - Passes and pipelines on IR -------------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "miura/Pipelines/Registry.h"
#include "mlir/InitAllPasses.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/FileSystem.h"
#include <cstdlib>

/// Where stores put new tensors is asked of the environment, when the first is
/// put; the dialect belongs to a context that is made later.
static constexpr char kFolderVariable[] = "MIURA_WEIGHTS_DIR";

static llvm::cl::opt<std::string> weightsFolder(
    "weights-dir",
    llvm::cl::desc("Put tensors that passes make into this folder (default: "
                   "$MIURA_WEIGHTS_DIR, or OUT.weights beside the output)"),
    llvm::cl::value_desc("folder"),
    llvm::cl::cb<void, std::string>([](const std::string &folder) {
      ::setenv(kFolderVariable, folder.c_str(), /*overwrite=*/1);
    }));

/// The default: beside the output, where it is a file. Whoever reads that file
/// looks there.
static void setDefaultFolder(llvm::ArrayRef<char *> args) {
  std::string output;
  for (size_t i = 1; i < args.size(); ++i) {
    llvm::StringRef arg = args[i];
    if (arg == "--")
      break;
    if (!arg.starts_with("-"))
      continue;
    arg = arg.ltrim('-');
    if (arg == "o" && i + 1 < args.size())
      output = args[++i];
    else if (arg.consume_front("o="))
      output = arg.str();
  }
  llvm::sys::fs::file_status status;
  bool isThere = !output.empty() && !llvm::sys::fs::status(output, status);
  if (output.empty() || output == "-" ||
      (isThere && !llvm::sys::fs::is_regular_file(status)))
    return;
  ::setenv(kFolderVariable, (output + ".weights").c_str(), /*overwrite=*/0);
}

int main(int argc, char **argv) {
  setDefaultFolder(llvm::ArrayRef<char *>(argv, argc));
  mlir::DialectRegistry registry;
  mlir::registerAllPasses();
  miura::registerAllMiura(registry);
  return mlir::asMainReturnCode(
      mlir::MlirOptMain(argc, argv, "Miura's pass driver\n", registry));
}
