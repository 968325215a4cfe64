//===- Artifact.cpp - A compiled model, loaded ----------------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Loads a compiled model. Libraries are opened with RTLD_LOCAL, so that two
/// models in one process keep their own functions of the same names.
///
//===----------------------------------------------------------------------===//

#include "miura/Driver/Artifact.h"
#include "llvm/ADT/SmallString.h"
#include "llvm/ADT/Twine.h"
#include "llvm/BinaryFormat/ELF.h"
#include "llvm/Support/BLAKE3.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/TargetParser/Host.h"
#include "llvm/TargetParser/Triple.h"
#include <cstring>
#include <dlfcn.h>

using namespace miura;
using namespace llvm;

/// The weights file begins with this many bytes of header: a magic of 8, the
/// identity of 32, zeros (Runtime/Abi.h, which is for C alone).
static constexpr size_t kWeightsHeaderBytes = 4096;

static Error makeError(const Twine &message) {
  return createStringError(inconvertibleErrorCode(), message);
}

//===----------------------------------------------------------------------===//
// ArtifactSession
//===----------------------------------------------------------------------===//

ArtifactSession::~ArtifactSession() {
  if (session)
    functions->destroySession(session);
}

Error ArtifactSession::check(int status) const {
  return status == 0 ? Error::success() : makeError(functions->error());
}

Expected<ArrayRef<float>> ArtifactSession::step(ArrayRef<int64_t> tokens,
                                                const StepOptions &options) {
  int64_t batch = getBatch();
  int64_t n = static_cast<int64_t>(tokens.size()) / batch;
  auto isShaped = [](size_t size, int64_t expected) {
    return size == 0 || static_cast<int64_t>(size) == expected;
  };
  if (static_cast<int64_t>(tokens.size()) != n * batch ||
      !isShaped(options.positions.size(), n * batch) ||
      !isShaped(options.mask.size(), n * batch) ||
      !isShaped(options.counts.size(), batch))
    return makeError("the shapes of tokens, positions, mask and counts differ "
                     "from the session's batch");
  auto orNull = [](auto array) {
    return array.empty() ? nullptr : array.data();
  };
  const float *logits = nullptr;
  if (Error error = check(functions->stepMasked(
          session, tokens.data(), orNull(options.positions),
          orNull(options.mask), n, orNull(options.counts), options.all,
          &logits)))
    return std::move(error);
  return ArrayRef<float>(logits, batch * (options.all ? n : 1) * vocabulary);
}

Error ArtifactSession::setLength(int64_t row, int64_t length) {
  return check(functions->setLength(session, row, length));
}

Error ArtifactSession::reset(int64_t row) {
  return check(functions->reset(session, row));
}

Error ArtifactSession::setVisible(int64_t row, int64_t slot, bool visible) {
  return check(functions->setVisible(session, row, slot, visible));
}

Expected<CacheView> ArtifactSession::getCache(int64_t layer, bool isValue) {
  CacheView view;
  if (Error error = check(functions->cache(session, layer, isValue, &view.data,
                                           view.shape.data())))
    return std::move(error);
  return view;
}

//===----------------------------------------------------------------------===//
// Artifact
//===----------------------------------------------------------------------===//

Artifact::~Artifact() {
  if (model)
    functions.close(model);
  if (library)
    dlclose(library);
}

/// The architecture of a library that is another one's, else nothing.
static std::string getOtherMachine(StringRef path) {
  auto header = MemoryBuffer::getFileSlice(path, sizeof(ELF::Elf64_Ehdr), 0);
  if (!header || !(*header)->getBuffer().starts_with(ELF::ElfMagic))
    return "";
  ELF::Elf64_Ehdr elf;
  std::memcpy(&elf, (*header)->getBufferStart(), sizeof elf);
  StringRef name = ELF::convertEMachineToArchName(elf.e_machine);
  Triple host(sys::getProcessTriple());
  return Triple(name.lower(), "", "").getArch() == host.getArch() ? ""
                                                                  : name.str();
}

Expected<std::unique_ptr<Artifact>> Artifact::open(StringRef path,
                                                   int threads) {
  std::unique_ptr<Artifact> artifact(new Artifact());
  // A name without a slash would be searched for in the system's folders.
  SmallString<256> absolute(path);
  if (std::error_code error = sys::fs::make_absolute(absolute))
    return makeError(path + ": " + error.message());
  artifact->library = dlopen(absolute.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!artifact->library) {
    const char *reason = dlerror();
    // The loader says "No such file" of another machine's library.
    if (std::string other = getOtherMachine(absolute); !other.empty())
      return makeError(path + ": is code for " + other +
                       ", not for this machine: compile for this one (without "
                       "--target), or run it there");
    return makeError(
        path + ": cannot be loaded: " + (reason ? reason : "unknown reason"));
  }
  const char *missing = nullptr;
  auto find = [&](auto &function, const char *name) {
    void *symbol = dlsym(artifact->library, name);
    if (!symbol && !missing)
      missing = name;
    function = reinterpret_cast<std::decay_t<decltype(function)>>(symbol);
  };
  ArtifactFunctions &f = artifact->functions;
  find(f.error, "miura_error");
  find(f.open, "miura_open");
  find(f.close, "miura_close");
  find(f.getInfo, "miura_model_get_info");
  find(f.createSession, "miura_session_create");
  find(f.destroySession, "miura_session_destroy");
  find(f.step, "miura_session_step");
  find(f.stepMasked, "miura_session_step_masked");
  find(f.batch, "miura_session_batch");
  find(f.capacity, "miura_session_capacity");
  find(f.length, "miura_session_length");
  find(f.setLength, "miura_session_set_length");
  find(f.reset, "miura_session_reset");
  find(f.setVisible, "miura_session_set_visible");
  find(f.cache, "miura_session_cache");
  if (missing)
    return makeError(path + ": is not a compiled model: it has no function " +
                     missing + " (write one with miura compile)");
  artifact->model = f.open(absolute.c_str(), threads);
  if (!artifact->model)
    return makeError(path + ": " + f.error());
  return artifact;
}

Expected<ArtifactSession> Artifact::createSession(int64_t batch,
                                                  int64_t capacity) {
  miura_session *session = functions.createSession(model, batch, capacity);
  if (!session)
    return makeError(functions.error());
  return ArtifactSession(&functions, session, getInfo().vocabulary);
}

Error miura::verifyWeightsFile(StringRef path) {
  std::string name = (path + ".weights").str();
  Expected<sys::fs::file_t> file = sys::fs::openNativeFileForRead(name);
  if (!file)
    return makeError("cannot open the weights file '" + name +
                     "': " + toString(file.takeError()));
  std::vector<char> piece(1 << 20);
  BLAKE3 hasher;
  std::string identity;
  Error failure = Error::success();
  for (int64_t offset = 0;;) {
    // The header is a piece of its own.
    size_t wanted = offset == 0 ? kWeightsHeaderBytes : piece.size();
    Expected<size_t> count = sys::fs::readNativeFileSlice(
        *file, MutableArrayRef(piece.data(), wanted), offset);
    if (!count) {
      failure = joinErrors(std::move(failure), count.takeError());
      break;
    }
    if (*count == 0)
      break;
    if (offset == 0)
      identity = StringRef(piece.data(), *count).substr(8, 32).str();
    else
      hasher.update(StringRef(piece.data(), *count));
    offset += int64_t(*count);
  }
  (void)sys::fs::closeFile(*file);
  if (failure)
    return failure;
  BLAKE3Result<32> digest = hasher.final<32>();
  if (StringRef(reinterpret_cast<const char *>(digest.data()), 32) == identity)
    return Error::success();
  return makeError("the weights file '" + name +
                   "' is not what was written: it was changed or damaged; copy "
                   "it again, or compile again");
}
