//===- Model.cpp - What MODEL on a command line stands for ----------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Recognizes and reads the forms in which a model is given.
///
//===----------------------------------------------------------------------===//

#include "miura/Driver/Model.h"
#include "ParseModule.h"
#include "miura/Dialect/Miura/IR/MiuraDialect.h"
#include "miura/Driver/Bundle.h"
#include "miura/Import/ONNX/ImportOnnx.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"

using namespace mlir;
using namespace miura;
using namespace miura::driver;

llvm::Expected<ModelKind> miura::driver::getModelKind(llvm::StringRef path) {
  llvm::sys::fs::file_status status;
  if (std::error_code error = llvm::sys::fs::status(path, status))
    return llvm::createStringError(error, "cannot open '" + path +
                                              "': " + error.message());
  if (llvm::sys::fs::is_directory(status)) {
    llvm::SmallString<128> inside(path);
    llvm::sys::path::append(inside, "model.mlir");
    if (llvm::sys::fs::exists(inside))
      return ModelKind::Bundle;
    return llvm::createStringError(
        "'" + path + "' is a folder without model.mlir, so no bundle");
  }
  llvm::StringRef extension = llvm::sys::path::extension(path);
  if (extension == ".onnx")
    return ModelKind::Onnx;
  if (extension == ".mlir" || extension == ".mlirbc")
    return ModelKind::Mlir;
  if (extension == ".so")
    return ModelKind::Library;
  if (extension == ".wasm")
    return llvm::createStringError(
        "'" + path +
        "' is code for browsers and Node, not for this machine: compile for "
        "this one (without --target), or see examples/browser");
  return llvm::createStringError(
      "'" + path +
      "' is of no kind that is known here: expected a file .onnx, .mlir or "
      ".so, or a folder written by 'miura compress'");
}

OwningOpRef<ModuleOp> miura::driver::loadModule(Invocation &invocation,
                                                llvm::StringRef path,
                                                ExitCode &code) {
  llvm::Expected<ModelKind> kind = getModelKind(path);
  if (!kind) {
    code = invocation.failInput(kind.takeError(), path);
    return nullptr;
  }
  if (*kind == ModelKind::Library) {
    code = invocation.failInput(
        "this is compiled code, which can be run but not read; give the model "
        "that it was compiled from",
        path);
    return nullptr;
  }
  MLIRContext &context = invocation.getContext();
  invocation.setCurrentFile(path);
  OwningOpRef<ModuleOp> module;
  if (*kind == ModelKind::Onnx) {
    module = importOnnx(path, &context);
  } else if (*kind == ModelKind::Bundle) {
    module = readBundle(path, &context);
  } else {
    context.getOrLoadDialect<MiuraDialect>()
        ->getWeightStore()
        .getFiles()
        .addSearchFolder(llvm::sys::path::parent_path(path));
    module = parseModule(path, &context);
  }
  if (!module)
    code = invocation.failReported("reading '" + path.str() + "'");
  return module;
}
