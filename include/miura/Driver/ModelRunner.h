//===- ModelRunner.h - A model as a function of its file --------*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Runs a model on the inputs of its file and gives the outputs of its file,
/// whatever is behind it: a compiled library, whose session takes tokens and
/// keeps caches, or the oracle. Inputs are checked against the model's
/// interface and against each other before anything runs.
///
//===----------------------------------------------------------------------===//

#ifndef MIURA_DRIVER_MODELRUNNER_H
#define MIURA_DRIVER_MODELRUNNER_H

#include "miura/Dialect/Miura/Transforms/Signature.h"
#include "miura/Driver/Artifact.h"
#include "miura/Target/Reference/HostArray.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/Support/Error.h"
#include <memory>
#include <optional>
#include <vector>

namespace miura::driver {

class ModelRunner {
public:
  virtual ~ModelRunner();

  const ModelSignature &getSignature() const { return signature; }

  /// Whether the model reads input `index`; the others need not be given.
  virtual bool needsInput(unsigned index) const { return true; }
  /// Why output `index` cannot be computed; empty if it can.
  virtual std::string whyNoOutput(unsigned index) const { return ""; }

  /// One array per input of the signature (empty where it is not needed) to one
  /// per output (empty where it cannot be computed). Inputs of another type,
  /// rank or size than the model's, or that do not agree with each other, are
  /// errors that name them.
  llvm::Expected<std::vector<HostArray>>
  run(llvm::ArrayRef<std::optional<HostArray>> inputs);

protected:
  /// What the inputs of a decoder say about the run.
  struct Extent {
    int64_t batch = 0, past = 0, count = 0;
  };

  explicit ModelRunner(ModelSignature signature)
      : signature(std::move(signature)) {}
  /// The inputs were checked one by one.
  virtual llvm::Expected<std::vector<HostArray>>
  runChecked(llvm::ArrayRef<std::optional<HostArray>> inputs) = 0;

  /// The input of `role`, −1 if there is none.
  int64_t find(RoleKind role) const;
  /// Of a model that has tokens. That masks, positions and pasts do not go
  /// together with the tokens is an error.
  llvm::Expected<Extent>
  getExtent(llvm::ArrayRef<std::optional<HostArray>> inputs) const;
  /// Input `index` is not of the size that it should be, and why.
  llvm::Error mismatch(unsigned index, const HostArray &given,
                       llvm::ArrayRef<int64_t> expected,
                       const llvm::Twine &why) const;

  ModelSignature signature;
};

/// Whether it is the keys or values of a layer.
inline bool isCache(const SignaturePort &port) {
  return port.role == RoleKind::cache_key || port.role == RoleKind::cache_value;
}

/// A compiled library: past keys and values are copied into a session's caches,
/// masked slots are hidden, present keys and values are copied out. Fails where
/// the library does not know its file's interface. `artifact` and `context`
/// must outlive the runner.
llvm::Expected<std::unique_ptr<ModelRunner>>
createCompiledRunner(Artifact &artifact, mlir::MLIRContext *context);

/// The function of `module`, of the onnx or the model level, through the
/// oracle. Errors of compilation are diagnostics; then it is null.
std::unique_ptr<ModelRunner> createReferenceRunner(mlir::ModuleOp module);

/// `input 3 ('past_key_values.0.key')`.
std::string describePort(llvm::StringRef kind, unsigned index,
                         const SignaturePort &port);

/// The sizes, such as `2x3x?xf32`.
std::string describeType(mlir::Type type);

} // namespace miura::driver

#endif // MIURA_DRIVER_MODELRUNNER_H
