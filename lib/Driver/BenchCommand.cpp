//===- BenchCommand.cpp - miura bench -------------------------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// `miura bench`: how fast a model takes a prompt and writes tokens, and what
/// share of the machine's memory bandwidth the writing reaches. Rounds of
/// prefill, decode and the reading of memory alternate, so that all three meet
/// the machine in the same state; medians over the rounds are told.
///
//===----------------------------------------------------------------------===//

#include "Bandwidth.h"
#include "Commands.h"
#include "miura/Driver/CompiledModel.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/raw_ostream.h"
#include "llvm/TargetParser/Host.h"
#include <chrono>
#include <random>

using namespace miura;
using namespace miura::driver;

namespace {
struct Options {
  int64_t promptTokens = 128;
  int64_t newTokens = 64;
  int64_t rounds = 7;
};

/// What one round measured; rates in tokens, bytes per second.
struct Round {
  double prefill = 0, decode = 0, read = 0, share = 0;
};
} // namespace

static double now() {
  return std::chrono::duration<double>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

static double getMedian(llvm::ArrayRef<Round> rounds, double Round::*value) {
  std::vector<double> values;
  for (const Round &round : rounds)
    values.push_back(round.*value);
  llvm::sort(values);
  size_t n = values.size();
  return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

/// Bytes of keys and values that one token has in all layers.
static llvm::Expected<int64_t> getCacheBytes(ArtifactSession &session,
                                             int64_t layers) {
  int64_t bytes = 0;
  for (int64_t layer = 0; layer < layers; ++layer)
    for (bool isValue : {false, true}) {
      auto cache = session.getCache(layer, isValue);
      if (!cache)
        return cache.takeError();
      bytes += cache->shape[1] * cache->shape[3] * int64_t(sizeof(float));
    }
  return bytes;
}

static llvm::Expected<Round> runRound(ArtifactSession &session,
                                      llvm::ArrayRef<int64_t> tokens,
                                      const Options &options) {
  Round round;
  if (llvm::Error error = session.reset())
    return std::move(error);
  double begin = now();
  auto logits = session.step(tokens.take_front(options.promptTokens));
  if (!logits)
    return logits.takeError();
  double middle = now();
  for (int64_t token : tokens.drop_front(options.promptTokens)) {
    logits = session.step({token});
    if (!logits)
      return logits.takeError();
  }
  round.prefill = double(options.promptTokens) / (middle - begin);
  round.decode = double(options.newTokens) / (now() - middle);
  return round;
}

static ExitCode run(Invocation &invocation) {
  std::string input;
  Options options;
  if (!invocation.getInput(input, "a model") ||
      !invocation.getInteger(OPT_prompt_tokens, options.promptTokens, 1,
                             1 << 24) ||
      !invocation.getInteger(OPT_new_tokens, options.newTokens, 1, 1 << 24) ||
      !invocation.getInteger(OPT_rounds, options.rounds, 1, 10000))
    return ExitCode::Usage;
  ExitCode code = ExitCode::Success;
  std::unique_ptr<Artifact> artifact = openModel(invocation, input, code);
  if (!artifact)
    return code;
  const miura_model_info &info = artifact->getInfo();
  if (info.context > 1 && !invocation.has(OPT_prompt_tokens) &&
      !invocation.has(OPT_new_tokens)) {
    // The defaults are for models that have the room.
    const Options defaults;
    options.promptTokens = std::min(options.promptTokens, info.context / 2);
    options.newTokens =
        std::min(options.newTokens, info.context - options.promptTokens);
    if (options.promptTokens + options.newTokens <
        defaults.promptTokens + defaults.newTokens)
      invocation.progress()
          << "miura: the model was made for " << info.context
          << " tokens: " << options.promptTokens << " in and "
          << options.newTokens << " out instead of " << defaults.promptTokens
          << " and " << defaults.newTokens << "\n";
  }
  int64_t length = options.promptTokens + options.newTokens;
  if (info.context > 0 && length > info.context)
    return invocation.failInput(
        "the model was made for " + llvm::Twine(info.context) +
            " tokens, but --prompt-tokens and --new-tokens make " +
            llvm::Twine(length),
        input);
  auto session = artifact->createSession(/*batch=*/1, length);
  if (!session)
    return invocation.failInput(session.takeError(), input);
  auto cacheBytes = getCacheBytes(*session, info.layers);
  if (!cacheBytes)
    return invocation.failInput(cacheBytes.takeError(), input);
  auto probe = BandwidthProbe::create(invocation.getThreads());
  if (!probe)
    return invocation.failInput(probe.takeError());

  // Any tokens cost the same; these are the same every time.
  std::minstd_rand random(1);
  std::vector<int64_t> tokens(length);
  for (int64_t &token : tokens)
    token = int64_t(random() % uint64_t(info.vocabulary));
  // A step reads all weights and the keys and values so far.
  double bytes = double(info.weight_bytes) +
                 double(*cacheBytes) * (double(options.promptTokens) +
                                        0.5 * double(options.newTokens + 1));

  std::vector<Round> rounds;
  // The first is to bring weights and code in, and is not counted.
  for (int64_t i = 0; i <= options.rounds; ++i) {
    auto round = runRound(*session, tokens, options);
    if (!round)
      return invocation.failInput(round.takeError(), input);
    round->read = probe->measure();
    round->share = bytes * round->decode / round->read;
    if (i > 0)
      rounds.push_back(*round);
  }
  double decode = getMedian(rounds, &Round::decode);
  double prefill = getMedian(rounds, &Round::prefill);
  double read = getMedian(rounds, &Round::read);
  double share = getMedian(rounds, &Round::share);
  std::string cpu = llvm::sys::getHostCPUName().str();

  std::string text;
  llvm::raw_string_ostream(text)
      << llvm::format("decode   %10.1f tokens/s, %.2f of memory's %.1f GB/s\n",
                      decode, share, read * 1e-9)
      << llvm::format("prefill  %10.1f tokens/s\n", prefill)
      << options.promptTokens << " tokens in, " << options.newTokens
      << " out; medians of " << options.rounds << " rounds; "
      << invocation.getThreads() << " threads; " << cpu << "\n";
  invocation.printText(text);
  invocation.printJson(
      llvm::json::Object{{"decode_tokens_per_s", decode},
                         {"prefill_tokens_per_s", prefill},
                         {"decode_share_of_dram", share},
                         {"decode_bytes_per_token", bytes},
                         {"dram_bytes_per_s", read},
                         {"prompt_tokens", options.promptTokens},
                         {"new_tokens", options.newTokens},
                         {"rounds", options.rounds},
                         {"threads", int64_t(invocation.getThreads())},
                         {"cpu", cpu}});
  return ExitCode::Success;
}

const Command miura::driver::benchCommand = {"bench",
                                             R"(
Takes a prompt, then single tokens, and prints how many of each per second, with
the memory bandwidth that decoding reaches: the bytes that a token reads (all
weights, and the keys and values so far) times the rate, over the rate at which
as many threads read memory in the same round. A model that fits the caches can
exceed 1. MODEL is compiled first where it is not compiled code, and kept.

Example:
  $ miura bench model.so --threads 2
  decode        747.8 tokens/s, 1.32 of memory's 44.0 GB/s
  prefill     11900.3 tokens/s
)",
                                             run};
