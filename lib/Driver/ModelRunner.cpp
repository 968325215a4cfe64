//===- ModelRunner.cpp - A model as a function of its file ----------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// What all runners check, and the oracle's runner. Sizes that the file gives
/// one name must be equal in all inputs: compiled loops trust them.
///
//===----------------------------------------------------------------------===//

#include "miura/Driver/ModelRunner.h"
#include "miura/Dialect/Miura/Transforms/Passes.h"
#include "miura/Target/Reference/Reference.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/Support/raw_ostream.h"

using namespace mlir;
using namespace miura;
using namespace miura::driver;

using llvm::Error;
using llvm::Expected;
using llvm::Twine;

ModelRunner::~ModelRunner() = default;

std::string miura::driver::describePort(StringRef kind, unsigned index,
                                        const SignaturePort &port) {
  std::string result = (kind + " " + Twine(index)).str();
  if (!port.name.empty())
    result += " ('" + port.name + "')";
  return result;
}

std::string miura::driver::describeType(Type type) {
  std::string text;
  llvm::raw_string_ostream os(text);
  auto ranked = dyn_cast<RankedTensorType>(type);
  if (!ranked) {
    os << type;
    return text;
  }
  if (ranked.getRank() == 0)
    os << "a scalar ";
  for (int64_t size : ranked.getShape()) {
    if (ShapedType::isDynamic(size))
      os << "?x";
    else
      os << size << "x";
  }
  os << ranked.getElementType();
  return text;
}

//===----------------------------------------------------------------------===//
// Sizes that have names
//===----------------------------------------------------------------------===//

namespace {
/// A name's size and the input that it was first seen in.
struct NamedSize {
  int64_t size;
  std::string where;
};
using NamedSizes = llvm::StringMap<NamedSize>;
} // namespace

static bool isIdentifier(StringRef text) {
  return !text.empty() && !llvm::isDigit(text.front()) &&
         llvm::all_of(text,
                      [](char c) { return llvm::isAlnum(c) || c == '_'; });
}

/// The value of `a + b + …` over names that are known and numbers; nothing
/// where it is another expression.
static std::optional<int64_t> evaluate(StringRef text,
                                       const NamedSizes &sizes) {
  int64_t sum = 0;
  SmallVector<StringRef> terms;
  text.split(terms, '+');
  for (StringRef term : terms) {
    term = term.trim();
    int64_t number;
    if (!term.getAsInteger(10, number)) {
      sum += number;
      continue;
    }
    auto it = sizes.find(term);
    if (!isIdentifier(term) || it == sizes.end())
      return std::nullopt;
    sum += it->second.size;
  }
  return sum;
}

static StringRef getDimName(Type type, unsigned d) {
  auto ranked = cast<RankedTensorType>(type);
  auto dims = dyn_cast_or_null<DimsAttr>(ranked.getEncoding());
  if (!dims || d >= dims.getNames().size() || !ranked.isDynamicDim(d))
    return "";
  return dims.getNames()[d].getValue().trim();
}

/// Visits the named dimensions of the inputs that are given.
static Error
visitNames(const ModelSignature &signature,
           ArrayRef<std::optional<HostArray>> inputs,
           llvm::function_ref<Error(StringRef, int64_t, std::string)> visit) {
  for (auto [i, port] : llvm::enumerate(signature.inputs)) {
    if (!inputs[i] || !isa<RankedTensorType>(port.type))
      continue;
    for (auto [d, size] : llvm::enumerate(inputs[i]->getShape()))
      if (StringRef name = getDimName(port.type, d); !name.empty())
        if (Error error = visit(name, size,
                                "dimension " + llvm::utostr(d) + " of " +
                                    describePort("input", i, port)))
          return error;
  }
  return Error::success();
}

static Error checkNames(const ModelSignature &signature,
                        ArrayRef<std::optional<HostArray>> inputs) {
  NamedSizes sizes;
  if (Error error = visitNames(
          signature, inputs,
          [&](StringRef name, int64_t size, std::string where) -> Error {
            // An empty tensor stands for an input that this run does not need,
            // such as a past that is not there yet.
            if (!isIdentifier(name) || size == 0)
              return Error::success();
            auto [it, added] = sizes.try_emplace(name, NamedSize{size, where});
            if (!added && it->second.size != size)
              return llvm::createStringError(
                  where + " is " + Twine(size) + ", but " + it->second.where +
                  ", which the model calls '" + name + "' too, is " +
                  Twine(it->second.size));
            return Error::success();
          }))
    return error;
  return visitNames(
      signature, inputs,
      [&](StringRef name, int64_t size, std::string where) -> Error {
        std::optional<int64_t> expected = evaluate(name, sizes);
        if (expected && size != 0 && *expected != size)
          return llvm::createStringError(where + " is " + Twine(size) +
                                         ", but the other inputs make '" +
                                         name + "' " + Twine(*expected));
        return Error::success();
      });
}

//===----------------------------------------------------------------------===//
// Decoders
//===----------------------------------------------------------------------===//

int64_t ModelRunner::find(RoleKind role) const {
  for (auto [i, port] : llvm::enumerate(signature.inputs))
    if (port.role == role)
      return i;
  return -1;
}

Error ModelRunner::mismatch(unsigned index, const HostArray &given,
                            ArrayRef<int64_t> expected,
                            const Twine &why) const {
  return llvm::createStringError(
      describePort("input", index, signature.inputs[index]) + " is " +
      describeType(given.type) + ", but should be " +
      describeType(
          RankedTensorType::get(expected, given.type.getElementType())) +
      ": " + why);
}

Expected<ModelRunner::Extent>
ModelRunner::getExtent(ArrayRef<std::optional<HostArray>> inputs) const {
  int64_t tokens = find(RoleKind::tokens);
  const HostArray &ids = *inputs[tokens];
  if (ids.type.getRank() != 2)
    return llvm::createStringError(
        describePort("input", tokens, signature.inputs[tokens]) +
        " should have the two dimensions batch and sequence, but is " +
        describeType(ids.type));
  Extent extent;
  extent.batch = ids.getShape()[0];
  extent.count = ids.getShape()[1];
  if (extent.batch == 0 || extent.count == 0)
    return llvm::createStringError(
        describePort("input", tokens, signature.inputs[tokens]) + " is " +
        describeType(ids.type) + ": there is nothing to run");
  // The first cache says how long the past is.
  int64_t first = -1;
  for (auto [i, port] : llvm::enumerate(signature.inputs)) {
    if (!isCache(port))
      continue;
    const HostArray &cache = *inputs[i];
    if (cache.type.getRank() != 4)
      return llvm::createStringError(
          describePort("input", i, port) +
          " should have the four dimensions batch, heads, past and size, but "
          "is " +
          describeType(cache.type));
    if (first < 0) {
      first = i;
      extent.past = cache.getShape()[2];
    }
    SmallVector<int64_t> expected(cache.getShape());
    expected[0] = extent.batch;
    expected[2] = extent.past;
    if (cache.getShape()[0] != extent.batch)
      return mismatch(i, cache, expected,
                      "the tokens have " + std::to_string(extent.batch) +
                          " rows");
    if (cache.getShape()[2] != extent.past)
      return mismatch(i, cache, expected,
                      describePort("input", first, signature.inputs[first]) +
                          " has a past of " + std::to_string(extent.past));
  }
  auto check = [&](RoleKind role, int64_t length) -> Error {
    int64_t i = find(role);
    if (i < 0)
      return Error::success();
    const HostArray &given = *inputs[i];
    // One row may stand for all.
    if (given.type.getRank() == 2 && given.getShape()[1] == length &&
        (given.getShape()[0] == extent.batch || given.getShape()[0] == 1))
      return Error::success();
    return mismatch(i, given, {extent.batch, length},
                    "there are " + std::to_string(extent.count) +
                        " tokens per row behind a past of " +
                        std::to_string(extent.past));
  };
  if (Error error = check(RoleKind::positions, extent.count))
    return std::move(error);
  if (Error error = check(RoleKind::mask, extent.past + extent.count))
    return std::move(error);
  return extent;
}

//===----------------------------------------------------------------------===//
// ModelRunner
//===----------------------------------------------------------------------===//

static bool fits(RankedTensorType given, RankedTensorType expected) {
  if (given.getElementType() != expected.getElementType())
    return false;
  // NumPy tends to save a scalar as an array of one element.
  if (expected.getRank() == 0)
    return given.getNumElements() == 1;
  return given.getRank() == expected.getRank() &&
         llvm::all_of(llvm::zip(given.getShape(), expected.getShape()),
                      [](auto sizes) {
                        auto [a, b] = sizes;
                        return ShapedType::isDynamic(b) || a == b;
                      });
}

Expected<std::vector<HostArray>>
ModelRunner::run(ArrayRef<std::optional<HostArray>> inputs) {
  assert(inputs.size() == signature.inputs.size() && "one per input");
  for (auto [i, port] : llvm::enumerate(signature.inputs)) {
    if (!inputs[i]) {
      if (needsInput(i))
        return llvm::createStringError(describePort("input", i, port) +
                                       " is missing");
      continue;
    }
    auto expected = dyn_cast<RankedTensorType>(port.type);
    if (expected && !fits(inputs[i]->type, expected))
      return llvm::createStringError(describePort("input", i, port) + " is " +
                                     describeType(inputs[i]->type) +
                                     ", but the model takes " +
                                     describeType(port.type));
  }
  if (Error error = checkNames(signature, inputs))
    return std::move(error);
  return runChecked(inputs);
}

//===----------------------------------------------------------------------===//
// The oracle
//===----------------------------------------------------------------------===//

namespace {
class ReferenceRunner : public ModelRunner {
public:
  /// `limits`: of each input whose elements are places in tables, the rows of
  /// the smallest one.
  ReferenceRunner(ModelSignature signature, Location loc,
                  std::unique_ptr<ReferenceFunction> function,
                  SmallVector<std::optional<int64_t>> limits)
      : ModelRunner(std::move(signature)), loc(loc),
        function(std::move(function)), limits(std::move(limits)) {}

private:
  Error checkPlaces(ArrayRef<std::optional<HostArray>> inputs) const {
    for (auto [i, limit] : llvm::enumerate(limits)) {
      int64_t count = limit ? inputs[i]->getNumElements() : 0;
      for (int64_t at = 0; at < count; ++at) {
        auto place = static_cast<int64_t>(inputs[i]->get(at));
        // As in ONNX, negative ones count from the end.
        if (place < -*limit || place >= *limit)
          return llvm::createStringError(
              describePort("input", i, signature.inputs[i]) + " has " +
              Twine(place) + " as element " + Twine(at) +
              ", but it is a place in a table of " + Twine(*limit) + " rows");
      }
    }
    return Error::success();
  }

  Expected<std::vector<HostArray>>
  runChecked(ArrayRef<std::optional<HostArray>> inputs) override {
    // A mask that is too short would be read beyond its end.
    if (find(RoleKind::tokens) >= 0)
      if (auto extent = getExtent(inputs); !extent)
        return extent.takeError();
    if (Error error = checkPlaces(inputs))
      return std::move(error);
    std::vector<HostArray> arrays;
    for (const std::optional<HostArray> &input : inputs)
      arrays.push_back(*input);
    std::string message;
    ScopedDiagnosticHandler handler(loc.getContext(), [&](Diagnostic &d) {
      message += (message.empty() ? "" : "; ") + d.str();
      return success();
    });
    auto outputs = function->run(arrays, loc);
    if (failed(outputs))
      return llvm::createStringError(message);
    return std::move(*outputs);
  }

  Location loc;
  std::unique_ptr<ReferenceFunction> function;
  SmallVector<std::optional<int64_t>> limits;
};
} // namespace

std::unique_ptr<ModelRunner>
miura::driver::createReferenceRunner(ModuleOp module) {
  func::FuncOp model;
  for (auto function : module.getOps<func::FuncOp>()) {
    if (function.isPrivate() || function.isExternal())
      continue;
    if (function->hasAttr(kSessionAttrName)) {
      function.emitError("is the step of a session; the reference runs the "
                         "model that it was formed from");
      return nullptr;
    }
    if (model) {
      function.emitError("is a second public function, beside '")
          << model.getSymName() << "'; expects one, which is the model";
      return nullptr;
    }
    model = function;
  }
  if (!model) {
    module.emitError("has no public function, so no model to run");
    return nullptr;
  }
  SmallVector<std::optional<int64_t>> limits;
  for (BlockArgument argument : model.getArguments())
    limits.push_back(getElementTypeOrSelf(argument.getType()).isIntOrIndex()
                         ? getContextLimit(model, argument, Value())
                         : std::nullopt);
  auto function = ReferenceFunction::compile(module, model.getSymName());
  if (failed(function))
    return nullptr;
  // Normalized types may say more than the file's, never less.
  return std::make_unique<ReferenceRunner>(getSignature(model), model.getLoc(),
                                           std::move(*function),
                                           std::move(limits));
}
