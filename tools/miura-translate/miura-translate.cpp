//===- miura-translate.cpp - ONNX to MLIR and back ------------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "miura/Export/ONNX/ExportOnnx.h"
#include "miura/Import/ONNX/ImportOnnx.h"
#include "mlir/Support/LogicalResult.h"
#include "mlir/Tools/mlir-translate/MlirTranslateMain.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/Support/FileSystem.h"

/// `mlirTranslateMain` reads the whole input and copies it, weights and all. An
/// ONNX model is imported from its file, so the driver is given an empty input
/// in its place. Returns the file's name, empty where nothing is imported.
static llvm::StringRef takeOnnxInput(llvm::MutableArrayRef<char *> args) {
  static char empty[] = "/dev/null";
  if (llvm::none_of(args, [](llvm::StringRef arg) {
        return arg.ltrim('-') == "import-onnx" && arg.starts_with("-");
      }))
    return "";
  for (size_t i = 1; i < args.size(); ++i) {
    llvm::StringRef arg = args[i];
    if (arg == "-o" || arg == "--o")
      ++i; // its value
    else if (!arg.starts_with("-") && llvm::sys::fs::is_regular_file(arg)) {
      args[i] = empty;
      return arg;
    }
  }
  return "";
}

int main(int argc, char **argv) {
  llvm::SmallVector<char *> args(argv, argv + argc);
  miura::registerExportOnnxTranslation();
  miura::registerImportOnnxTranslation(takeOnnxInput(args));
  args.push_back(nullptr);
  return mlir::failed(
      mlir::mlirTranslateMain(argc, args.data(), "Miura's translations\n"));
}
