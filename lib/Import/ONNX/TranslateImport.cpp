//===- TranslateImport.cpp - miura-translate --import-onnx ----------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The import as a translation of miura-translate.
///
//===----------------------------------------------------------------------===//

#include "miura/Dialect/Miura/IR/MiuraDialect.h"
#include "miura/Import/ONNX/ImportOnnx.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Tools/mlir-translate/Translation.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/SourceMgr.h"
#include <cstdlib>

using namespace mlir;
using namespace miura;

/// `mlirTranslateMain` keeps its `-o` to itself; the side resource lies beside
/// the output.
static std::string getOutputName() {
  auto &options = llvm::cl::getRegisteredOptions();
  auto output = options.find("o");
  if (output == options.end())
    return "-";
  return *static_cast<llvm::cl::opt<std::string> *>(output->second);
}

void miura::registerImportOnnxTranslation(StringRef path) {
  static TranslateToMLIRRegistration registration(
      "import-onnx", "import an ONNX model as miura.onnx_node ops",
      [input = path.str()](llvm::SourceMgr &sources,
                           MLIRContext *context) -> OwningOpRef<Operation *> {
        StringRef path = input;
        if (path.empty())
          path = sources.getMemoryBuffer(sources.getMainFileID())
                     ->getBufferIdentifier();
        if (path == "-" || path == "<stdin>") {
          emitError(UnknownLoc::get(context))
              << "an ONNX model cannot be read from standard input: its "
                 "weights stay in its file; give the file's name";
          return {};
        }
        ImportOnnxOptions options;
        std::string output = getOutputName();
        if (output != "-")
          options.metaPath = output + ".meta";
        // Tensors that no file holds as they are needed are written beside
        // the output.
        if (output != "-" && !std::getenv("MIURA_WEIGHTS_DIR"))
          context->getOrLoadDialect<MiuraDialect>()
              ->getWeightStore()
              .getFiles()
              .setWeightsFolder(output + ".weights");
        OwningOpRef<ModuleOp> module = importOnnx(path, context, options);
        return OwningOpRef<Operation *>(module.release().getOperation());
      },
      [](DialectRegistry &registry) {
        registry.insert<MiuraDialect, func::FuncDialect, arith::ArithDialect>();
      });
}
