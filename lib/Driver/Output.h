//===- Output.h - Where results go ------------------------------*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Whether an output can be written, asked before the work instead of after it.
///
//===----------------------------------------------------------------------===//

#ifndef MIURA_LIB_DRIVER_OUTPUT_H
#define MIURA_LIB_DRIVER_OUTPUT_H

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

namespace miura::driver {

/// An error if the folder that `path` is to stand in is not there or not to be
/// written to.
llvm::Error checkParentFolder(llvm::StringRef path);

/// The same, and an error if `path` is there and no file, so that a file cannot
/// take its place.
llvm::Error checkOutputFile(llvm::StringRef path);

/// An error if `path`, of --weights-dir, is there and no folder to be written
/// to, or cannot be made. Empty is fine.
llvm::Error checkWeightsFolder(llvm::StringRef path);

} // namespace miura::driver

#endif // MIURA_LIB_DRIVER_OUTPUT_H
