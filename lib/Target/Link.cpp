//===- Link.cpp - Shared libraries ----------------------------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Runs the system's linker. The runtime goes in whole: only its own header's
/// functions leave the library, all else is hidden.
///
//===----------------------------------------------------------------------===//

#include "miura/Target/Object.h"
#include "llvm/ADT/ScopeExit.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Program.h"

using namespace miura;

static llvm::Error makeError(const llvm::Twine &message) {
  return llvm::createStringError(llvm::inconvertibleErrorCode(), message);
}

llvm::Expected<std::string> miura::findRuntime(llvm::StringRef executable) {
  llvm::SmallString<256> path(llvm::sys::path::parent_path(executable));
  llvm::sys::path::append(path, "..", "lib", "libMiuraRuntime.a");
  if (!llvm::sys::fs::exists(path))
    return makeError("the runtime is missing: " + path +
                     " (it is built and installed with Miura)");
  return std::string(path);
}

llvm::Error miura::linkProgram(llvm::StringRef object, llvm::StringRef runtime,
                               llvm::StringRef output, bool relocatable) {
  llvm::ErrorOr<std::string> linker = std::error_code();
  for (const char *name : {"cc", "clang-22", "clang", "gcc"})
    if ((linker = llvm::sys::findProgramByName(name)))
      break;
  if (!linker)
    return makeError("no linker was found: install a C compiler (cc)");
  llvm::SmallVector<llvm::StringRef> arguments = {*linker};
  if (relocatable)
    arguments.append({"-r", "-nostdlib"});
  else
    arguments.append({"-shared", "-Wl,--build-id=none", "-Wl,-z,now",
                      "-Wl,-z,noexecstack", "-Wl,--gc-sections"});
  arguments.append({"-o", output, object, "-Wl,--whole-archive", runtime,
                    "-Wl,--no-whole-archive"});
  if (!relocatable)
    arguments.append({"-lm", "-pthread", "-ldl"});
  // The linker's messages, for the error.
  llvm::SmallString<128> log;
  if (std::error_code error =
          llvm::sys::fs::createTemporaryFile("miura-link", "log", log))
    return makeError("cannot make a temporary file: " + error.message());
  llvm::scope_exit remove([&] { llvm::sys::fs::remove(log); });
  std::optional<llvm::StringRef> redirects[] = {std::nullopt, log.str(),
                                                log.str()};
  std::string message;
  int status = llvm::sys::ExecuteAndWait(*linker, arguments, std::nullopt,
                                         redirects, 0, 0, &message);
  if (status == 0)
    return llvm::Error::success();
  auto text = llvm::MemoryBuffer::getFile(log, /*IsText=*/true);
  return makeError("linking " + output + " failed: " + message +
                   (text ? (*text)->getBuffer() : llvm::StringRef()));
}
