//===- TranslateExport.cpp - miura-translate --export-onnx ----------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The export as a translation of miura-translate.
///
//===----------------------------------------------------------------------===//

#include "miura/Export/ONNX/ExportOnnx.h"
#include "miura/Import/ONNX/ImportOnnx.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Tools/mlir-translate/Translation.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"

using namespace mlir;
using namespace miura;

void miura::registerExportOnnxTranslation() {
  static TranslateFromMLIRRegistration registration(
      "export-onnx", "export miura.onnx_node ops as an ONNX model",
      [](ModuleOp module, raw_ostream &) -> LogicalResult {
        // The stream that mlirTranslateMain opened is not used: weights are
        // written beside the model and the model is renamed into its place.
        auto &registered = llvm::cl::getRegisteredOptions();
        auto output = registered.find("o");
        std::string path = "-";
        if (output != registered.end())
          path = *static_cast<llvm::cl::opt<std::string> *>(output->second);
        ExportOnnxOptions options;
        auto meta = module->getAttrOfType<StringAttr>(kMetaAttrName);
        if (auto file = dyn_cast<FileLineColLoc>(module.getLoc())) {
          // Relative names of bytes and the side resource are beside the file.
          StringRef folder =
              llvm::sys::path::parent_path(file.getFilename().getValue());
          module.getContext()
              ->getOrLoadDialect<MiuraDialect>()
              ->getWeightStore()
              .getFiles()
              .addSearchFolder(folder.empty() ? "." : folder);
          if (meta) {
            SmallString<256> name(folder);
            llvm::sys::path::append(name, meta.getValue());
            if (llvm::sys::fs::exists(name))
              options.metaPath = std::string(name);
            else
              module.emitWarning()
                  << "'" << name
                  << "' is missing: doc strings and metadata are not exported";
          }
        }
        return exportOnnx(module, path, options);
      },
      [](DialectRegistry &registry) {
        registry.insert<MiuraDialect, func::FuncDialect, arith::ArithDialect>();
      });
}
