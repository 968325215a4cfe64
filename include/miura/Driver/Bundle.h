//===- Bundle.h - A compressed model as a folder ----------------*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// A bundle is a folder that one can read: `model.mlir`, `weights.safetensors`,
/// the tokenizer under its own name, `report.json`. It is complete and does not
/// depend on where it lies: every `#miura.bytes` names weights.safetensors and
/// has a digest, and the originals of approximations are declarations with
/// theirs.
///
//===----------------------------------------------------------------------===//

#ifndef MIURA_DRIVER_BUNDLE_H
#define MIURA_DRIVER_BUNDLE_H

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"
#include "llvm/Support/JSON.h"
#include <string>

namespace miura::driver {

/// Writes `module` as the bundle `path`: beside its place, then renamed; what
/// was there is replaced only if it is a bundle. `tokenizer` is a file to copy,
/// or empty. `report` is given the bytes of model and weights and returns what
/// goes to report.json. The module is left as it is. Errors are diagnostics.
mlir::LogicalResult
writeBundle(mlir::ModuleOp module, llvm::StringRef path,
            llvm::StringRef tokenizer,
            llvm::function_ref<llvm::json::Object(int64_t)> report);

/// Reads a bundle's module. Every weight must be declared only, or lie in the
/// bundle and have a digest, which is checked when its bytes are first read.
/// The module names weights by absolute paths, so several bundles can be open
/// at once. Null after a diagnostic.
mlir::OwningOpRef<mlir::ModuleOp> readBundle(llvm::StringRef path,
                                             mlir::MLIRContext *context);

/// The bytes of a bundle's model and weights: the artifact, without tokenizer
/// and report.
int64_t getBundleBytes(llvm::StringRef path);

/// The path of a bundle's tokenizer, empty where it has none.
std::string getBundleTokenizer(llvm::StringRef path);

} // namespace miura::driver

#endif // MIURA_DRIVER_BUNDLE_H
