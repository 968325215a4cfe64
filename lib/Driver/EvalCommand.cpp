//===- EvalCommand.cpp - miura eval ---------------------------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// `miura eval`: perplexity of a text, and the divergence from a reference.
///
//===----------------------------------------------------------------------===//

#include "Commands.h"
#include "Evaluation.h"
#include "TextInput.h"
#include "miura/Driver/CompiledModel.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/Process.h"
#include "llvm/Support/raw_ostream.h"
#include <cmath>

using namespace miura;
using namespace miura::driver;

/// JSON has no infinity.
static llvm::json::Value toJson(std::optional<double> number) {
  if (!number || !std::isfinite(*number))
    return nullptr;
  return *number;
}

static ExitCode run(Invocation &invocation) {
  std::string input;
  if (!invocation.getInput(input, "a model"))
    return ExitCode::Usage;
  if (!invocation.has(OPT_text))
    return invocation.failUsage("needs --text with a file");
  TextProtocol protocol;
  if (!readProtocol(invocation, protocol))
    return ExitCode::Usage;
  ExitCode code = ExitCode::Success;
  std::unique_ptr<Tokenizer> tokenizer = openTokenizer(invocation, input, code);
  if (!tokenizer)
    return code;
  std::unique_ptr<Artifact> model = openModel(invocation, input, code);
  if (!model)
    return code;
  const miura_model_info &info = model->getInfo();
  if (info.context > 0 && protocol.context > info.context)
    return invocation.failInput(
        "the model was made for " + llvm::Twine(info.context) +
            " tokens, but --context asks for " + llvm::Twine(protocol.context),
        input);
  compareVocabularies(invocation, *tokenizer, info.vocabulary, input);
  llvm::Expected<TextWindows> windows =
      readText(invocation, *tokenizer, protocol, info.context, info.vocabulary);
  if (!windows)
    return invocation.failInput(windows.takeError());

  std::unique_ptr<Artifact> reference;
  if (invocation.has(OPT_against)) {
    std::string path = invocation.getString(OPT_against).str();
    reference = openModel(invocation, path, code);
    if (!reference)
      return code;
    int64_t vocabulary = reference->getInfo().vocabulary;
    if (vocabulary != info.vocabulary)
      return invocation.failInput(
          "has a vocabulary of " + llvm::Twine(vocabulary) + ", but '" + input +
              "' has one of " + llvm::Twine(info.vocabulary) +
              ", so they cannot be compared",
          path);
  }

  int64_t total = windows->getPredictions();
  bool showsBar = llvm::sys::Process::StandardErrIsDisplayed();
  auto progress = [&](int64_t done) {
    if (!showsBar)
      return;
    invocation.progress() << llvm::format("\r%lld of %lld tokens",
                                          (long long)done, (long long)total);
    if (done == total)
      invocation.progress() << "\r\033[K";
  };
  llvm::Expected<Evaluation> result =
      evaluate(*model, reference.get(), windows->sequences,
               invocation.getThreads(), progress);
  if (!result)
    return invocation.failInput(result.takeError(), input);

  std::string text;
  llvm::raw_string_ostream os(text);
  os << llvm::format("perplexity %.4f, nll %.6f, over %lld tokens\n",
                     result->perplexity, result->nll,
                     (long long)result->predictions);
  if (result->divergence)
    os << llvm::format("against %s: KL %.6f nats, top-1 agreement %.2f %%\n",
                       invocation.getString(OPT_against).str().c_str(),
                       *result->divergence, 100 * *result->agreement);
  invocation.printText(text);
  invocation.printJson(
      llvm::json::Object{{"perplexity", toJson(result->perplexity)},
                         {"nll", toJson(result->nll)},
                         {"tokens", result->predictions},
                         {"kl", toJson(result->divergence)},
                         {"top1", toJson(result->agreement)}});
  return ExitCode::Success;
}

const Command miura::driver::evalCommand = {"eval",
                                            R"(
Perplexity is exp(nll), nll the mean of -log p(token) over all predicted tokens,
in nats. The text is one stream, cut into windows of --context tokens, each of
which predicts all but its first (the last, shorter one is left out); with
--documents each document stands alone and is cut off at --context tokens. A
stream or document begins with a BOS where the tokenizer adds one. --against
adds KL(REFERENCE || MODEL), a mean in nats, and the share of positions where
both have the same best token; without it, `kl` and `top1` are null.

Example:
  $ miura eval stories15M.onnx --tokenizer tokenizer.model --text stories.txt \
      --documents 0:60 --context 256
  perplexity 2.8215, nll 1.037256, over 11209 tokens
)",
                                            run};
