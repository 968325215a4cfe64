//===- Artifact.h - A compiled model, loaded --------------------*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The one way in which run, generate, eval and bench run code: a shared
/// library written by `miura compile`, loaded with dlopen, behind the C
/// functions of miura-c/artifact.h. A model owns the library; its sessions must
/// go first.
///
//===----------------------------------------------------------------------===//

#ifndef MIURA_DRIVER_ARTIFACT_H
#define MIURA_DRIVER_ARTIFACT_H

#include "miura-c/artifact.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include <array>
#include <memory>
#include <utility>

namespace miura {

/// The functions of one loaded library.
struct ArtifactFunctions {
  decltype(&miura_error) error;
  decltype(&miura_open) open;
  decltype(&miura_close) close;
  decltype(&miura_model_get_info) getInfo;
  decltype(&miura_session_create) createSession;
  decltype(&miura_session_destroy) destroySession;
  decltype(&miura_session_step) step;
  decltype(&miura_session_step_masked) stepMasked;
  decltype(&miura_session_batch) batch;
  decltype(&miura_session_capacity) capacity;
  decltype(&miura_session_length) length;
  decltype(&miura_session_set_length) setLength;
  decltype(&miura_session_reset) reset;
  decltype(&miura_session_set_visible) setVisible;
  decltype(&miura_session_cache) cache;
};

/// A row-major view of a key or value cache, `batch × heads × capacity × size`.
struct CacheView {
  float *data;
  std::array<int64_t, 4> shape;
};

/// A batch of sequences. Errors carry the runtime's message.
class ArtifactSession {
public:
  ArtifactSession(ArtifactSession &&other) noexcept
      : functions(other.functions),
        session(std::exchange(other.session, nullptr)),
        vocabulary(other.vocabulary) {}
  ArtifactSession &operator=(ArtifactSession &&) = delete;
  ~ArtifactSession();

  /// What a step is given beside its tokens; see miura_session_step_masked.
  struct StepOptions {
    llvm::ArrayRef<int64_t> positions; ///< batch × n, or empty.
    llvm::ArrayRef<uint8_t> mask;      ///< batch × n, or empty.
    llvm::ArrayRef<int64_t> counts;    ///< batch, or empty.
    bool all = false;                  ///< Logits of every position.
  };

  /// Appends `tokens`, batch × n row-major, and returns the logits: batch ×
  /// vocabulary, or batch × n × vocabulary with `all`. The view is valid until
  /// the next step.
  llvm::Expected<llvm::ArrayRef<float>> step(llvm::ArrayRef<int64_t> tokens,
                                             const StepOptions &options);
  llvm::Expected<llvm::ArrayRef<float>> step(llvm::ArrayRef<int64_t> tokens) {
    return step(tokens, StepOptions());
  }

  int64_t getBatch() const { return functions->batch(session); }
  int64_t getCapacity() const { return functions->capacity(session); }
  int64_t getLength(int64_t row) const {
    return functions->length(session, row);
  }
  llvm::Error setLength(int64_t row, int64_t length);
  /// Empties `row`, or every row if it is −1.
  llvm::Error reset(int64_t row = -1);
  llvm::Error setVisible(int64_t row, int64_t slot, bool visible);
  /// The keys or values of a layer, in place.
  llvm::Expected<CacheView> getCache(int64_t layer, bool isValue);

private:
  friend class Artifact;
  ArtifactSession(const ArtifactFunctions *functions, miura_session *session,
                  int64_t vocabulary)
      : functions(functions), session(session), vocabulary(vocabulary) {}
  llvm::Error check(int status) const;

  const ArtifactFunctions *functions;
  miura_session *session;
  int64_t vocabulary = 0;
};

/// A loaded library with its weights mapped and its threads running.
class Artifact {
public:
  /// Loads `path`, a .so written by `miura compile`, with its weights beside
  /// it. `threads` ≤ 0: as many as the process may run on. Fails with a message
  /// that names the file: not a library, not one of ours, made for another
  /// machine, its weights missing.
  static llvm::Expected<std::unique_ptr<Artifact>> open(llvm::StringRef path,
                                                        int threads);
  ~Artifact();
  Artifact(const Artifact &) = delete;
  Artifact &operator=(const Artifact &) = delete;

  const miura_model_info &getInfo() const { return *functions.getInfo(model); }
  llvm::Expected<ArtifactSession> createSession(int64_t batch,
                                                int64_t capacity);

private:
  Artifact() = default;

  void *library = nullptr;
  ArtifactFunctions functions = {};
  miura_model *model = nullptr;
};

/// Whether the contents of `path`.weights are those that were written: reads
/// the file once, in pieces, and compares with the identity in its header,
/// which is their digest. Opening compares the identities of code and weights
/// alone, so that a program that loads a model does not wait for this.
llvm::Error verifyWeightsFile(llvm::StringRef path);

} // namespace miura

#endif // MIURA_DRIVER_ARTIFACT_H
