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

/// As a tokenizer: each byte is a token; there is no file.
inline constexpr llvm::StringLiteral kBytesTokenizer = "bytes";

/// An error that says why no bundle can be written as `path`: something else is
/// there, or its folder is not there or not to be written to.
llvm::Error checkBundlePlace(llvm::StringRef path);

/// Writes `module` as the bundle `path`: beside its place, then renamed; what
/// was there is replaced only if it is a bundle. `tokenizer` is a file to copy,
/// `bytes`, or empty. `report` is given the bytes of model and weights and
/// returns what goes to report.json. The module is left as it is. Errors are
/// diagnostics.
mlir::LogicalResult
writeBundle(mlir::ModuleOp module, llvm::StringRef path,
            llvm::StringRef tokenizer,
            llvm::function_ref<llvm::json::Object(int64_t)> report);

/// Reads a bundle's module. The text must be the one that report.json has the
/// digest of. Every weight must be declared only, or lie in the bundle and be
/// what its digest says: all are read once.
/// The module names weights by absolute paths, so several bundles can be open
/// at once. Null after a diagnostic.
mlir::OwningOpRef<mlir::ModuleOp> readBundle(llvm::StringRef path,
                                             mlir::MLIRContext *context);

/// The bytes of a bundle's model and weights: the artifact, without tokenizer
/// and report.
int64_t getBundleBytes(llvm::StringRef path);

/// The path of a bundle's tokenizer, or `bytes`; empty where it has none.
std::string getBundleTokenizer(llvm::StringRef path);

} // namespace miura::driver

#endif // MIURA_DRIVER_BUNDLE_H
