//===- Link.cpp - Shared libraries ----------------------------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Runs the system's linker, or, for another architecture, Clang with LLD and
/// the C library of Debian's cross packages. The runtime goes in whole: only
/// its own header's functions leave the library, all else is hidden.
///
//===----------------------------------------------------------------------===//

#include "miura/Target/Object.h"
#include "llvm/ADT/ScopeExit.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Program.h"
#include "llvm/TargetParser/Host.h"
#include "llvm/TargetParser/Triple.h"

using namespace miura;

static llvm::Error makeError(const llvm::Twine &message) {
  return llvm::createStringError(llvm::inconvertibleErrorCode(), message);
}

/// Debian's packages with the C library of another architecture.
static llvm::StringRef getPackages(const llvm::Triple &triple) {
  return triple.isAArch64()
             ? "libc6-dev-arm64-cross and libgcc-12-dev-arm64-cross"
             : "clang-22 and lld-22";
}

static bool isHost(const llvm::Triple &triple) {
  return triple.getArch() ==
         llvm::Triple(llvm::sys::getProcessTriple()).getArch();
}

llvm::Expected<std::string> miura::findRuntime(llvm::StringRef executable,
                                               llvm::StringRef triple) {
  llvm::Triple parsed(triple);
  llvm::SmallString<256> path(llvm::sys::path::parent_path(executable));
  llvm::sys::path::append(path, "..", "lib");
  if (!isHost(parsed))
    llvm::sys::path::append(path, parsed.getArchName());
  llvm::sys::path::append(path, "libMiuraRuntime.a");
  if (llvm::sys::fs::exists(path))
    return std::string(path);
  if (isHost(parsed))
    return makeError("the runtime is missing: " + path +
                     " (it is built and installed with Miura)");
  return makeError("the runtime for " + parsed.getArchName() +
                   " is missing: " + path + " (it is built with Miura where " +
                   getPackages(parsed) + " are installed)");
}

/// The program and its first arguments that link code of `triple`.
static llvm::Expected<std::vector<std::string>>
findLinker(const llvm::Triple &triple) {
  if (triple.isWasm()) {
    for (const char *name : {"wasm-ld-22", "wasm-ld"})
      if (auto linker = llvm::sys::findProgramByName(name))
        return std::vector<std::string>{*linker};
    return makeError("no linker for " + triple.getArchName() +
                     " was found: install Debian's package lld-22");
  }
  if (isHost(triple)) {
    for (const char *name : {"cc", "clang-22", "clang", "gcc"})
      if (auto linker = llvm::sys::findProgramByName(name))
        return std::vector<std::string>{*linker};
    return makeError("no linker was found: install a C compiler (cc)");
  }
  if (!triple.isAArch64())
    return makeError("no linker is known for " + triple.str());
  auto clang = llvm::sys::findProgramByName("clang-22");
  if (!clang || !llvm::sys::findProgramByName("ld.lld-22"))
    return makeError(
        "no linker for " + triple.getArchName() +
        " was found: install Debian's packages clang-22, lld-22, " +
        getPackages(triple));
  return std::vector<std::string>{*clang, "--target=aarch64-linux-gnu",
                                  "-fuse-ld=lld"};
}

/// As a C compiler takes them.
static void addArguments(llvm::SmallVectorImpl<llvm::StringRef> &arguments,
                         llvm::StringRef object, llvm::StringRef runtime,
                         bool relocatable) {
  if (relocatable)
    arguments.append({"-r", "-nostdlib"});
  else
    arguments.append({"-shared", "-Wl,--build-id=none", "-Wl,-z,now",
                      "-Wl,-z,noexecstack", "-Wl,--gc-sections"});
  arguments.append(
      {object, "-Wl,--whole-archive", runtime, "-Wl,--no-whole-archive"});
  if (!relocatable)
    arguments.append({"-lm", "-pthread", "-ldl"});
}

/// As wasm-ld takes them: the module imports nothing, so what is undefined is
/// an error here. A stack that is too small ends in a trap, as it begins at
/// address 0 and grows down.
static void addWasmArguments(llvm::SmallVectorImpl<llvm::StringRef> &arguments,
                             llvm::StringRef object, llvm::StringRef runtime,
                             bool relocatable) {
  if (relocatable)
    arguments.push_back("--relocatable");
  else
    arguments.append({"--no-entry", "--export-dynamic", "--stack-first", "-z",
                      "stack-size=1048576", "--gc-sections", "--strip-debug"});
  arguments.append({object, "--whole-archive", runtime, "--no-whole-archive"});
}

llvm::Error miura::linkProgram(llvm::StringRef object, llvm::StringRef runtime,
                               llvm::StringRef triple, llvm::StringRef output,
                               bool relocatable) {
  auto linker = findLinker(llvm::Triple(triple));
  if (!linker)
    return linker.takeError();
  llvm::SmallVector<llvm::StringRef> arguments(linker->begin(), linker->end());
  if (llvm::Triple(triple).isWasm())
    addWasmArguments(arguments, object, runtime, relocatable);
  else
    addArguments(arguments, object, runtime, relocatable);
  arguments.append({"-o", output});
  // The linker's messages, for the error.
  llvm::SmallString<128> log;
  if (std::error_code error =
          llvm::sys::fs::createTemporaryFile("miura-link", "log", log))
    return makeError("cannot make a temporary file: " + error.message());
  llvm::scope_exit remove([&] { llvm::sys::fs::remove(log); });
  std::optional<llvm::StringRef> redirects[] = {std::nullopt, log.str(),
                                                log.str()};
  std::string message;
  int status = llvm::sys::ExecuteAndWait(
      linker->front(), arguments, std::nullopt, redirects, 0, 0, &message);
  if (status == 0)
    return llvm::Error::success();
  auto text = llvm::MemoryBuffer::getFile(log, /*IsText=*/true);
  return makeError("linking " + output + " failed: " + message +
                   (text ? (*text)->getBuffer() : llvm::StringRef()));
}
