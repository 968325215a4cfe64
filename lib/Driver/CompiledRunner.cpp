//===- CompiledRunner.cpp - A session as a function of its file -----------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// A session has a cache of fixed capacity; its file has past keys and values
/// that come in and longer ones that go out. Which input is which is in the
/// library (miura_port): nothing here knows a name. Slots of the cache are
/// counted as the file counts them, padding included, so a row that is padded
/// on the left has hidden slots at its beginning.
///
//===----------------------------------------------------------------------===//

#include "miura/Driver/ModelRunner.h"
#include "mlir/AsmParser/AsmParser.h"

using namespace mlir;
using namespace miura;
using namespace miura::driver;

using llvm::createStringError;
using llvm::Error;
using llvm::Expected;
using llvm::Twine;

namespace {

class CompiledRunner : public ModelRunner {
public:
  CompiledRunner(ModelSignature signature, Artifact &artifact)
      : ModelRunner(std::move(signature)), artifact(artifact) {}

  bool needsInput(unsigned index) const override {
    return signature.inputs[index].role != RoleKind::other;
  }
  std::string whyNoOutput(unsigned index) const override;

private:
  Expected<std::vector<HostArray>>
  runChecked(ArrayRef<std::optional<HostArray>> inputs) override;
  Error fillCaches(ArtifactSession &session,
                   ArrayRef<std::optional<HostArray>> inputs,
                   const Extent &extent) const;
  Expected<HostArray> readCache(ArtifactSession &session,
                                const SignaturePort &port,
                                const Extent &extent) const;

  Artifact &artifact;
};

} // namespace

std::string CompiledRunner::whyNoOutput(unsigned index) const {
  const SignaturePort &port = signature.outputs[index];
  if (port.role == RoleKind::logits || isCache(port))
    return "";
  return describePort("output", index, port) +
         " is neither logits nor a cache, which is all that a compiled session "
         "computes";
}

Error CompiledRunner::fillCaches(ArtifactSession &session,
                                 ArrayRef<std::optional<HostArray>> inputs,
                                 const Extent &extent) const {
  for (auto [i, port] : llvm::enumerate(signature.inputs)) {
    if (!isCache(port))
      continue;
    const HostArray &from = *inputs[i];
    auto view =
        session.getCache(port.layer, port.role == RoleKind::cache_value);
    if (!view)
      return view.takeError();
    auto [batch, heads, capacity, size] = view->shape;
    if (from.getShape()[1] != heads || from.getShape()[3] != size)
      return mismatch(i, from, {batch, heads, extent.past, size},
                      "so the layer's cache is");
    int64_t run = extent.past * size;
    for (int64_t row = 0; row < batch * heads; ++row)
      for (int64_t j = 0; j < run; ++j)
        view->data[row * capacity * size + j] =
            static_cast<float>(from.get(row * run + j));
  }
  return Error::success();
}

Expected<HostArray> CompiledRunner::readCache(ArtifactSession &session,
                                              const SignaturePort &port,
                                              const Extent &extent) const {
  auto view = session.getCache(port.layer, port.role == RoleKind::cache_value);
  if (!view)
    return view.takeError();
  auto [batch, heads, capacity, size] = view->shape;
  int64_t length = extent.past + extent.count, run = length * size;
  HostArray to(RankedTensorType::get(
      {batch, heads, length, size},
      cast<RankedTensorType>(port.type).getElementType()));
  for (int64_t row = 0; row < batch * heads; ++row)
    for (int64_t j = 0; j < run; ++j)
      to.set(row * run + j, view->data[row * capacity * size + j]);
  return to;
}

Expected<std::vector<HostArray>>
CompiledRunner::runChecked(ArrayRef<std::optional<HostArray>> inputs) {
  Expected<Extent> extent = getExtent(inputs);
  if (!extent)
    return extent.takeError();
  auto [batch, past, count] = *extent;
  auto session = artifact.createSession(batch, past + count);
  if (!session)
    return session.takeError();
  if (Error error = fillCaches(*session, inputs, *extent))
    return std::move(error);
  for (int64_t row = 0; row < batch; ++row)
    if (Error error = session->setLength(row, past))
      return std::move(error);

  /// Element (row, i) of an input of two dimensions.
  auto read = [&](int64_t input, int64_t row, int64_t i) {
    const HostArray &array = *inputs[input];
    if (array.getShape()[0] == 1)
      row = 0;
    return array.get(row * array.getShape()[1] + i);
  };
  int64_t tokensInput = find(RoleKind::tokens),
          positionsInput = find(RoleKind::positions),
          maskInput = find(RoleKind::mask);
  std::vector<int64_t> tokens, positions;
  std::vector<uint8_t> mask;
  for (int64_t row = 0; row < batch; ++row) {
    for (int64_t i = 0; i < count; ++i) {
      tokens.push_back(read(tokensInput, row, i));
      if (positionsInput >= 0)
        positions.push_back(read(positionsInput, row, i));
      if (maskInput >= 0)
        mask.push_back(read(maskInput, row, past + i) != 0);
    }
    for (int64_t slot = 0; maskInput >= 0 && slot < past; ++slot)
      if (Error error =
              session->setVisible(row, slot, read(maskInput, row, slot) != 0))
        return std::move(error);
  }
  ArtifactSession::StepOptions options;
  options.positions = positions;
  options.mask = mask;
  options.all = true;
  auto logits = session->step(tokens, options);
  if (!logits)
    return logits.takeError();

  std::vector<HostArray> outputs;
  int64_t vocabulary = artifact.getInfo().vocabulary;
  for (const SignaturePort &port : signature.outputs) {
    if (isCache(port)) {
      auto cache = readCache(*session, port, *extent);
      if (!cache)
        return cache.takeError();
      outputs.push_back(std::move(*cache));
    } else if (port.role == RoleKind::logits) {
      HostArray array(RankedTensorType::get(
          {batch, count, vocabulary},
          cast<RankedTensorType>(port.type).getElementType()));
      for (auto [i, value] : llvm::enumerate(*logits))
        array.set(i, value);
      outputs.push_back(std::move(array));
    } else {
      outputs.emplace_back();
    }
  }
  return outputs;
}

//===----------------------------------------------------------------------===//
// From the library's table
//===----------------------------------------------------------------------===//

static RoleKind getRole(int64_t number) {
  switch (number) {
  case MIURA_ROLE_TOKENS:
    return RoleKind::tokens;
  case MIURA_ROLE_POSITIONS:
    return RoleKind::positions;
  case MIURA_ROLE_MASK:
    return RoleKind::mask;
  case MIURA_ROLE_CACHE_KEY:
    return RoleKind::cache_key;
  case MIURA_ROLE_CACHE_VALUE:
    return RoleKind::cache_value;
  case MIURA_ROLE_LOGITS:
    return RoleKind::logits;
  default:
    return RoleKind::other;
  }
}

static Expected<SmallVector<SignaturePort>>
readPorts(const miura_port *ports, int64_t count, MLIRContext *context) {
  SmallVector<SignaturePort> result;
  for (const miura_port &from : ArrayRef<miura_port>(ports, count)) {
    SignaturePort port;
    port.name = from.name;
    port.role = getRole(from.role);
    port.layer = from.layer;
    Type element = parseType(from.type, context);
    if (!element || (from.rank < 0 && port.role != RoleKind::other))
      return createStringError("is compiled from a model whose '" + port.name +
                               "' has the type '" + from.type +
                               "', which cannot be given");
    port.type = element;
    if (from.rank >= 0 && RankedTensorType::isValidElementType(element)) {
      SmallVector<int64_t> shape;
      for (int64_t size : ArrayRef<int64_t>(from.shape, from.rank))
        shape.push_back(size < 0 ? ShapedType::kDynamic : size);
      port.type = RankedTensorType::get(shape, element);
    }
    result.push_back(std::move(port));
  }
  return result;
}

Expected<std::unique_ptr<ModelRunner>>
miura::driver::createCompiledRunner(Artifact &artifact, MLIRContext *context) {
  const miura_model_info &info = artifact.getInfo();
  auto inputs = readPorts(info.inputs, info.input_count, context);
  if (!inputs)
    return inputs.takeError();
  auto outputs = readPorts(info.outputs, info.output_count, context);
  if (!outputs)
    return outputs.takeError();
  ModelSignature signature{std::move(*inputs), std::move(*outputs)};
  auto runner =
      std::make_unique<CompiledRunner>(std::move(signature), artifact);
  if (llvm::none_of(runner->getSignature().inputs,
                    [](const SignaturePort &port) {
                      return port.role == RoleKind::tokens;
                    }))
    return createStringError(
        "does not know the inputs of its model's file, as it was compiled from "
        "a session; compile the model itself");
  return std::move(runner);
}
