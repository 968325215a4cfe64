//===- GenerateCommand.cpp - miura generate -------------------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// `miura generate`: a model continues a text, token by token, as it comes.
///
//===----------------------------------------------------------------------===//

#include "Commands.h"
#include "TextInput.h"
#include "miura/Driver/CompiledModel.h"
#include "miura/Evaluate/Sampler.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/raw_ostream.h"
#include <chrono>
#include <cmath>

using namespace miura;
using namespace miura::driver;

namespace {
struct GenerateOptions {
  int64_t tokens = 256;
  SamplerOptions sampler;
  std::vector<int64_t> stops;
};
} // namespace

static bool readOptions(Invocation &invocation, GenerateOptions &options) {
  SamplerOptions &sampler = options.sampler;
  if (invocation.has(OPT_top_k) || invocation.has(OPT_top_p) ||
      invocation.has(OPT_seed))
    sampler.temperature = 1;
  int64_t seed = 0;
  if (!invocation.getInteger(OPT_tokens, options.tokens, 1, 1 << 24) ||
      !invocation.getNumber(OPT_temperature, sampler.temperature, 0, 1e6) ||
      !invocation.getInteger(OPT_top_k, sampler.topK, 1) ||
      !invocation.getNumber(OPT_top_p, sampler.topP, 0, 1) ||
      !invocation.getInteger(OPT_seed, seed, 0))
    return false;
  sampler.seed = static_cast<uint64_t>(seed);
  for (const std::string &text :
       invocation.getArguments().getAllArgValues(OPT_stop)) {
    int64_t id;
    if (llvm::StringRef(text).getAsInteger(10, id) || id < 0) {
      invocation.failUsage("--stop expects a token's id, but got '" + text +
                           "'");
      return false;
    }
    options.stops.push_back(id);
  }
  return true;
}

static double secondsSince(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin)
      .count();
}

static ExitCode run(Invocation &invocation) {
  std::string input;
  if (!invocation.getInput(input, "a model"))
    return ExitCode::Usage;
  if (!invocation.has(OPT_prompt))
    return invocation.failUsage("needs --prompt with a text");
  GenerateOptions options;
  if (!readOptions(invocation, options))
    return ExitCode::Usage;
  ExitCode code = ExitCode::Success;
  std::unique_ptr<Tokenizer> tokenizer = openTokenizer(invocation, input, code);
  if (!tokenizer)
    return code;
  std::vector<int64_t> prompt = tokenizer->getPrefix().vec();
  llvm::Expected<std::vector<int64_t>> ids =
      tokenizer->encode(invocation.getString(OPT_prompt));
  if (!ids)
    return invocation.failInput("in --prompt, " +
                                llvm::toString(ids.takeError()));
  llvm::append_range(prompt, *ids);
  if (prompt.empty())
    return invocation.failInput("the prompt has no token, and the tokenizer "
                                "adds none; give a longer --prompt");

  std::unique_ptr<Artifact> model = openModel(invocation, input, code);
  if (!model)
    return code;
  const miura_model_info &info = model->getInfo();
  compareVocabularies(invocation, *tokenizer, info.vocabulary, input);
  for (int64_t token : prompt)
    if (token >= info.vocabulary)
      return invocation.failInput(
          "the tokenizer gives the token " + llvm::Twine(token) +
          ", but the vocabulary of '" + input + "' has " +
          llvm::Twine(info.vocabulary) + "; this is another model's tokenizer");

  for (int64_t token : options.stops)
    if (token >= info.vocabulary)
      return invocation.failUsage("--stop " + llvm::Twine(token) +
                                  " never comes: the vocabulary of '" + input +
                                  "' has " + llvm::Twine(info.vocabulary));
  llvm::append_range(options.stops, tokenizer->getEos());

  // A sequence has no room beyond what the model was made for.
  int64_t length = static_cast<int64_t>(prompt.size());
  if (info.context > 0 && length > info.context)
    return invocation.failInput("the prompt has " + llvm::Twine(length) +
                                " tokens, but the model was made for " +
                                llvm::Twine(info.context) +
                                "; give a shorter --prompt");
  int64_t capacity = length + options.tokens - 1;
  if (info.context > 0)
    capacity = std::min<int64_t>(capacity, info.context);
  llvm::Expected<ArtifactSession> session = model->createSession(1, capacity);
  if (!session)
    return invocation.failInput(session.takeError(), input);

  StreamDecoder decoder(*tokenizer);
  for (int64_t token : prompt)
    decoder.push(token);
  Sampler sampler(options.sampler);
  std::vector<int64_t> tokens;
  std::string text;
  auto write = [&](const std::string &piece) {
    text += piece;
    if (invocation.isJson())
      return;
    llvm::outs() << piece;
    llvm::outs().flush();
  };
  llvm::StringRef reason = "tokens";
  auto begin = std::chrono::steady_clock::now();
  double prefillSeconds = 0;
  llvm::Expected<llvm::ArrayRef<float>> logits = session->step(prompt);
  while (true) {
    if (!logits)
      return invocation.failInput(logits.takeError(), input);
    if (tokens.empty()) {
      prefillSeconds = secondsSince(begin);
      begin = std::chrono::steady_clock::now();
    }
    int64_t token = sampler.choose(*logits);
    if (!std::isfinite((*logits)[token]))
      return invocation.failInput("the logits after token " +
                                      llvm::Twine(length + tokens.size() - 1) +
                                      " are not numbers: the model overflows "
                                      "or its weights are damaged",
                                  input);
    if (llvm::is_contained(options.stops, token)) {
      reason = "stop";
      break;
    }
    tokens.push_back(token);
    write(decoder.push(token));
    if (static_cast<int64_t>(tokens.size()) == options.tokens)
      break;
    if (session->getLength(0) == capacity) {
      reason = "capacity";
      break;
    }
    logits = session->step(token);
  }
  double decodeSeconds = secondsSince(begin);
  write(decoder.finish());
  invocation.printText("\n");
  // What follows on standard error comes after the text.
  llvm::outs().flush();
  if (reason == "capacity")
    invocation.progress() << "miura: stopped: the sequence has the "
                          << info.context
                          << " tokens that the model was made for\n";
  // The first token comes of the prompt's step.
  int64_t steps = static_cast<int64_t>(tokens.size()) - (reason != "stop");
  invocation.progress() << llvm::format(
      "miura: %lld prompt tokens at %.1f tokens/s, %lld new ones at %.1f "
      "tokens/s\n",
      (long long)length, (double)length / std::max(prefillSeconds, 1e-9),
      (long long)tokens.size(),
      (double)std::max<int64_t>(steps, 0) / std::max(decodeSeconds, 1e-9));
  invocation.printJson(llvm::json::Object{{"text", text},
                                          {"tokens", llvm::json::Array(tokens)},
                                          {"stopped", reason}});
  return ExitCode::Success;
}

const Command miura::driver::generateCommand = {"generate",
                                                R"(
The text goes to standard output as it comes, without the prompt. Added tokens
in the prompt (<|im_start|>) count as such, and a BOS is put before it where the
tokenizer adds one. Ends after --tokens tokens, before a token of --stop or the
tokenizer's end of text, or where the model's context is full; --json says which
as `stopped`: tokens, stop or capacity. The same --seed gives the same text.

Example:
  $ miura generate stories15M.onnx --tokenizer tokenizer.model --tokens 16 \
      --prompt "Once upon a time"
  , there was a little girl named Lily. She loved to play outside in
)",
                                                run};
