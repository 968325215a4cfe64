//===- Object.h - Object files and shared libraries -------------*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// From a lowered step to what is linked: an object file with the kernels, the
/// steps and the table that the runtime reads, and a shared library of it with
/// the runtime inside.
///
//===----------------------------------------------------------------------===//

#ifndef MIURA_TARGET_OBJECT_H
#define MIURA_TARGET_OBJECT_H

#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/Support/Error.h"
#include <string>

namespace miura {

/// What object code is made for. Nothing is taken from this machine.
struct ObjectTarget {
  std::string triple;
  std::string cpu;
  std::string features; ///< As LLVM writes them: "+avx2,-avx512f".
};

/// Translates `module`, the LLVM dialect that `miura-lower-step` leaves, adds
/// the runtime's `miura_program` from the module's attributes, optimizes, and
/// appends the object file to `object`. With `assembly`, assembly instead.
llvm::Error emitObject(mlir::ModuleOp module, const ObjectTarget &target,
                       llvm::SmallVectorImpl<char> &object,
                       bool assembly = false);

/// Links object files and the runtime archive at `runtime`, both of `triple`,
/// into a shared library, or, with `relocatable`, into one object file. The
/// linker is a child process; its messages are in the error. Without the tools
/// or the C library of another machine's code, the error says what to install.
llvm::Error linkProgram(llvm::StringRef object, llvm::StringRef runtime,
                        llvm::StringRef triple, llvm::StringRef output,
                        bool relocatable);

/// The runtime's archive for `triple`: beside the library that `executable`
/// belongs to, in a folder of the architecture's name where it is not this
/// machine's.
llvm::Expected<std::string> findRuntime(llvm::StringRef executable,
                                        llvm::StringRef triple);

} // namespace miura

#endif // MIURA_TARGET_OBJECT_H
