//===- CompiledModel.cpp - Models as code that runs -----------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// A model's digest is that of its text, in which every weight's place is
/// replaced by the digest of its bytes: a copy elsewhere is the same model, a
/// changed byte another. A library is compiled into a folder of its own that is
/// renamed when it is complete, so two commands at once do not disturb each
/// other.
///
//===----------------------------------------------------------------------===//

#include "miura/Driver/CompiledModel.h"
#include "Interrupt.h"
#include "miura/Codegen/CPU/Isa.h"
#include "miura/Dialect/Miura/IR/MiuraDialect.h"
#include "miura/Driver/Model.h"
#include "miura/Target/Object.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/BLAKE3.h"
#include "llvm/Support/Chrono.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Process.h"
#include "llvm/Support/raw_ostream.h"
#include <algorithm>

using namespace mlir;
using namespace miura;
using namespace miura::driver;

static constexpr int64_t kMostBytes = int64_t(16) << 30;
static constexpr llvm::StringLiteral kLibrary = "model.so";

static std::string joinPath(llvm::StringRef folder, llvm::StringRef name) {
  llvm::SmallString<256> path(folder);
  llvm::sys::path::append(path, name);
  return std::string(path);
}

static std::string getExecutable() {
  return llvm::sys::fs::getMainExecutable(nullptr, nullptr);
}

std::string miura::driver::getCompiledFolder() {
  if (auto folder = llvm::sys::Process::GetEnv("MIURA_COMPILED_DIR");
      folder && !folder->empty())
    return *folder;
  llvm::SmallString<256> folder;
  // A relative XDG_CACHE_HOME is as good as none (XDG Base Directory, 2).
  if (!llvm::sys::path::cache_directory(folder) ||
      !llvm::sys::path::is_absolute(folder)) {
    folder.clear();
    if (llvm::sys::path::home_directory(folder))
      llvm::sys::path::append(folder, ".cache");
    else
      llvm::sys::path::system_temp_directory(/*ErasedOnReboot=*/false, folder);
  }
  llvm::sys::path::append(folder, "miura", "compiled");
  return std::string(folder);
}

FailureOr<CompileResult> miura::driver::compileModule(Invocation &invocation,
                                                      ModuleOp module,
                                                      CompileOptions options,
                                                      llvm::StringRef path,
                                                      ExitCode &code) {
  code = ExitCode::Success;
  if (options.executable.empty())
    options.executable = getExecutable();
  options.runPasses = [&](ModuleOp module,
                          llvm::function_ref<void(OpPassManager &)> build) {
    code = invocation.runPasses(module, build);
    return success(code == ExitCode::Success);
  };
  FailureOr<CompileResult> result = compileModel(module, options);
  if (failed(result) && code == ExitCode::Success)
    code = invocation.failReported("compiling '" + path.str() + "'");
  return result;
}

//===----------------------------------------------------------------------===//
// Names
//===----------------------------------------------------------------------===//

/// Adds what tells one build of a file from another.
static void addStamp(llvm::BLAKE3 &hasher, llvm::StringRef path) {
  llvm::sys::fs::file_status status;
  if (llvm::sys::fs::status(path, status))
    return;
  hasher.update(
      (path + "\n" + llvm::Twine(status.getSize()) + "\n" +
       llvm::Twine(
           status.getLastModificationTime().time_since_epoch().count()) +
       "\n")
          .str());
}

/// The name under which the compiled `module` is kept. Reads every weight once,
/// and checks those whose digest is known.
static FailureOr<std::string> makeName(ModuleOp module,
                                       const codegen::Target &target) {
  MLIRContext *context = module.getContext();
  WeightStore &store =
      context->getOrLoadDialect<MiuraDialect>()->getWeightStore();
  OwningOpRef<ModuleOp> copy = module.clone();
  for (auto data : copy->getOps<WeightDataOp>()) {
    if (!data.getBytes())
      continue;
    BytesAttr bytes = *data.getBytes();
    // This checks the range, and the digest where there is one.
    if (failed(store.getBytes(bytes, data.getLoc())))
      return failure();
    auto digest = store.getDigest(bytes, data.getLoc());
    if (failed(digest))
      return failure();
    data.setBytesAttr(BytesAttr::get(context, "-", 0, bytes.getLength(), 0,
                                     StringAttr::get(context, *digest)));
  }
  std::string text;
  llvm::raw_string_ostream os(text);
  copy->print(os, OpPrintingFlags().printGenericOpForm());
  os << "\n" << target.cpu << "\n" << target.features << "\n";
  llvm::BLAKE3 hasher;
  hasher.update(os.str());
  std::string executable = getExecutable();
  addStamp(hasher, executable);
  if (llvm::Expected<std::string> runtime =
          findRuntime(executable, target.triple))
    addStamp(hasher, *runtime);
  else
    llvm::consumeError(runtime.takeError());
  return llvm::toHex(hasher.final(), /*LowerCase=*/true).substr(0, 32);
}

//===----------------------------------------------------------------------===//
// The folder of compiled models
//===----------------------------------------------------------------------===//

/// Removes the least recently used models, but not `keep`, until the rest fits.
static void trim(llvm::StringRef folder, llvm::StringRef keep) {
  struct Entry {
    std::string path;
    llvm::sys::TimePoint<> used;
    int64_t bytes = 0;
  };
  std::vector<Entry> entries;
  int64_t total = 0;
  std::error_code error;
  for (llvm::sys::fs::directory_iterator it(folder, error), end;
       it != end && !error; it.increment(error)) {
    Entry entry;
    entry.path = it->path();
    llvm::sys::fs::file_status status;
    if (llvm::sys::fs::status(joinPath(entry.path, kLibrary), status))
      continue; // being written
    entry.used = status.getLastModificationTime();
    for (llvm::StringRef suffix : {"", ".weights"}) {
      uint64_t size = 0;
      if (!llvm::sys::fs::file_size(
              joinPath(entry.path, (kLibrary + suffix).str()), size))
        entry.bytes += int64_t(size);
    }
    total += entry.bytes;
    if (entry.path != keep)
      entries.push_back(std::move(entry));
  }
  llvm::sort(entries, [](const Entry &a, const Entry &b) {
    return a.used != b.used ? a.used < b.used : a.path < b.path;
  });
  for (const Entry &entry : entries) {
    if (total <= kMostBytes)
      return;
    // Whoever has it open keeps it open.
    llvm::sys::fs::remove_directories(entry.path);
    total -= entry.bytes;
  }
}

/// Marks `library` as just used.
static void touch(const std::string &library) {
  int fd;
  if (llvm::sys::fs::openFileForReadWrite(
          library, fd, llvm::sys::fs::CD_OpenExisting, llvm::sys::fs::OF_None))
    return;
  (void)llvm::sys::fs::setLastAccessAndModificationTime(
      fd, std::chrono::system_clock::now());
  (void)llvm::sys::Process::SafelyCloseFileDescriptor(fd);
}

static std::unique_ptr<Artifact>
openLibrary(Invocation &invocation, llvm::StringRef path, ExitCode &code) {
  llvm::Expected<std::unique_ptr<Artifact>> artifact =
      Artifact::open(path, int(invocation.getThreads()));
  if (!artifact) {
    code = invocation.failInput(artifact.takeError(), path);
    return nullptr;
  }
  return std::move(*artifact);
}

std::unique_ptr<Artifact> miura::driver::openModel(Invocation &invocation,
                                                   llvm::StringRef path,
                                                   ExitCode &code) {
  llvm::Expected<ModelKind> kind = getModelKind(path);
  if (!kind) {
    code = invocation.failInput(kind.takeError(), path);
    return nullptr;
  }
  if (*kind == ModelKind::Library) {
    std::unique_ptr<Artifact> artifact = openLibrary(invocation, path, code);
    if (!artifact)
      return nullptr;
    if (llvm::Error error = verifyWeightsFile(path)) {
      code = invocation.failInput(std::move(error), path);
      return nullptr;
    }
    return artifact;
  }
  invocation.setScratchFolder(joinPath(getCompiledFolder(), "scratch"));
  OwningOpRef<ModuleOp> module = loadModule(invocation, path, code);
  if (!module)
    return nullptr;
  return openModule(invocation, *module, path, code);
}

std::unique_ptr<Artifact> miura::driver::openModule(Invocation &invocation,
                                                    ModuleOp module,
                                                    llvm::StringRef path,
                                                    ExitCode &code) {
  llvm::Expected<codegen::Target> target = codegen::chooseTarget("");
  if (!target) {
    code = invocation.failInput(target.takeError());
    return nullptr;
  }
  FailureOr<std::string> name = makeName(module, *target);
  if (failed(name)) {
    code = invocation.failReported("reading '" + path.str() + "'");
    return nullptr;
  }
  std::string folder = getCompiledFolder();
  std::string place = joinPath(folder, *name);
  std::string library = joinPath(place, kLibrary);
  if (llvm::sys::fs::exists(library)) {
    // What was damaged since is made again.
    if (llvm::Error error = verifyWeightsFile(library)) {
      llvm::consumeError(std::move(error));
      llvm::sys::fs::remove_directories(place);
    } else {
      touch(library);
      return openLibrary(invocation, library, code);
    }
  }

  std::string unfinished =
      place + ".tmp-" + std::to_string(llvm::sys::Process::getProcessId());
  llvm::sys::fs::remove_directories(unfinished);
  TemporaryFolder cleanup(unfinished);
  if (std::error_code error = llvm::sys::fs::create_directories(
          unfinished, /*IgnoreExisting=*/true, llvm::sys::fs::all_all)) {
    code = invocation.failInput(
        "cannot make the folder '" + unfinished + "': " + error.message() +
        "; the environment variable MIURA_COMPILED_DIR names another place");
    return nullptr;
  }
  invocation.progress() << path << ": compiling for this machine\n";
  CompileOptions options;
  options.output = joinPath(unfinished, kLibrary);
  FailureOr<CompileResult> result =
      compileModule(invocation, module, options, path, code);
  if (failed(result))
    return nullptr;
  invocation.progress() << path << ": " << result->kernels
                        << " kernels, kept in " << place << "\n";
  std::error_code error = llvm::sys::fs::rename(unfinished, place);
  if (error && !llvm::sys::fs::exists(library)) {
    code = invocation.failInput("cannot rename '" + unfinished + "' to '" +
                                place + "': " + error.message());
    return nullptr;
  }
  std::unique_ptr<Artifact> artifact = openLibrary(invocation, library, code);
  trim(folder, place);
  return artifact;
}
