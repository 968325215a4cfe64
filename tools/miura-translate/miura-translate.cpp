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

int main(int argc, char **argv) {
  miura::registerExportOnnxTranslation();
  miura::registerImportOnnxTranslation();
  return mlir::failed(
      mlir::mlirTranslateMain(argc, argv, "Miura's translations\n"));
}
