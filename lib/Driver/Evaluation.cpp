//===- Evaluation.cpp - How well a model predicts -------------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Sequences go through a session several at a time where they are short, in
/// steps of as many positions as one pass over the weights takes, so that no
/// more logits than those are held. Each position's numbers are computed on
/// their own and added up in the order of the text.
///
//===----------------------------------------------------------------------===//

#include "Evaluation.h"
#include "miura/Evaluate/Logits.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/ThreadPool.h"
#include <cmath>

using namespace miura;
using namespace miura::driver;

namespace {
/// A position of a step that predicts a token.
struct Task {
  size_t row; ///< Of the logits.
  size_t sequence, position;
  int64_t target;
};

struct Score {
  double nll = 0, divergence = 0;
  bool agrees = false, isFinite = true;
};

class Evaluator {
public:
  Evaluator(Artifact &model, Artifact *reference,
            llvm::ArrayRef<std::vector<int64_t>> sequences, unsigned threads)
      : model(model), reference(reference), sequences(sequences),
        threads(threads), pool(llvm::hardware_concurrency(threads)) {}

  llvm::Expected<Evaluation> run(llvm::function_ref<void(int64_t)> progress);

private:
  llvm::Error step(llvm::ArrayRef<int64_t> tokens,
                   llvm::ArrayRef<int64_t> counts, llvm::ArrayRef<Task> tasks);

  Artifact &model;
  Artifact *reference;
  llvm::ArrayRef<std::vector<int64_t>> sequences;
  unsigned threads;
  llvm::DefaultThreadPool pool;
  std::optional<ArtifactSession> session, referenceSession;
  std::vector<Score> scores; // of a step
  std::vector<std::vector<Score>> kept;
};
} // namespace

llvm::Error Evaluator::step(llvm::ArrayRef<int64_t> tokens,
                            llvm::ArrayRef<int64_t> counts,
                            llvm::ArrayRef<Task> tasks) {
  ArtifactSession::StepOptions options;
  options.counts = counts;
  options.all = true;
  llvm::Expected<llvm::ArrayRef<float>> logits = session->step(tokens, options);
  if (!logits)
    return logits.takeError();
  llvm::ArrayRef<float> others;
  if (referenceSession) {
    llvm::Expected<llvm::ArrayRef<float>> given =
        referenceSession->step(tokens, options);
    if (!given)
      return given.takeError();
    others = *given;
  }

  size_t vocabulary = model.getInfo().vocabulary;
  scores.assign(tasks.size(), Score());
  auto work = [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i) {
      Score &score = scores[i];
      llvm::ArrayRef<float> row =
          logits->slice(tasks[i].row * vocabulary, vocabulary);
      LogitSummary summary = summarize(row);
      score.isFinite = summary.isFinite;
      score.nll = summary.getLogSum() - row[tasks[i].target];
      if (!others.empty()) {
        llvm::ArrayRef<float> other =
            others.slice(tasks[i].row * vocabulary, vocabulary);
        LogitSummary expected = summarize(other);
        score.isFinite &= expected.isFinite;
        score.agrees = summary.best == expected.best;
        if (score.isFinite)
          score.divergence = getDivergence(other, expected, row, summary);
      }
    }
  };
  size_t share = (tasks.size() + threads - 1) / threads;
  for (size_t begin = share; begin < tasks.size(); begin += share)
    pool.async(work, begin, std::min(begin + share, tasks.size()));
  work(0, std::min(share, tasks.size()));
  pool.wait();
  return llvm::Error::success();
}

llvm::Expected<Evaluation>
Evaluator::run(llvm::function_ref<void(int64_t)> progress) {
  size_t longest = 0;
  for (const std::vector<int64_t> &sequence : sequences)
    longest = std::max(longest, sequence.size());
  // The last token predicts nothing.
  int64_t chunk = std::max<int64_t>(model.getInfo().chunk, 1);
  int64_t capacity = std::max<int64_t>(static_cast<int64_t>(longest) - 1, 1);
  int64_t batch = std::clamp<int64_t>(chunk / capacity, 1, sequences.size());
  int64_t width = std::max<int64_t>(chunk / batch, 1);
  auto createSession =
      [&](Artifact &artifact,
          std::optional<ArtifactSession> &into) -> llvm::Error {
    llvm::Expected<ArtifactSession> made =
        artifact.createSession(batch, capacity);
    if (!made)
      return made.takeError();
    into.emplace(std::move(*made));
    return llvm::Error::success();
  };
  if (llvm::Error error = createSession(model, session))
    return std::move(error);
  if (reference)
    if (llvm::Error error = createSession(*reference, referenceSession))
      return std::move(error);

  kept.resize(sequences.size());
  int64_t done = 0;
  std::vector<int64_t> tokens, counts;
  std::vector<Task> tasks;
  for (size_t first = 0; first < sequences.size(); first += batch) {
    for (ArtifactSession *one :
         {&*session, referenceSession ? &*referenceSession : nullptr})
      if (one)
        if (llvm::Error error = one->reset())
          return std::move(error);
    size_t rows = std::min<size_t>(batch, sequences.size() - first);
    size_t length = 0;
    for (size_t row = 0; row < rows; ++row)
      length = std::max(length, sequences[first + row].size() - 1);
    for (size_t start = 0; start < length; start += width) {
      size_t size = std::min<size_t>(width, length - start);
      tokens.assign(batch * size, 0);
      counts.assign(batch, 0);
      tasks.clear();
      for (size_t row = 0; row < rows; ++row) {
        const std::vector<int64_t> &sequence = sequences[first + row];
        for (size_t t = 0; t < size && start + t + 1 < sequence.size(); ++t) {
          tokens[row * size + t] = sequence[start + t];
          ++counts[row];
          tasks.push_back({row * size + t, first + row, start + t,
                           sequence[start + t + 1]});
        }
      }
      if (llvm::Error error = step(tokens, counts, tasks))
        return std::move(error);
      for (auto [task, score] : llvm::zip(tasks, scores)) {
        if (!score.isFinite)
          return llvm::createStringError(
              "a logit after token " + llvm::Twine(task.position) +
              " of sequence " + llvm::Twine(task.sequence) +
              " is not a number: the model overflows or its weights are "
              "damaged");
        kept[task.sequence].push_back(score);
      }
      done += static_cast<int64_t>(tasks.size());
      progress(done);
    }
  }

  Evaluation result;
  double divergence = 0;
  int64_t agreeing = 0;
  for (const std::vector<Score> &sequence : kept)
    for (const Score &score : sequence) {
      ++result.predictions;
      result.nll += score.nll;
      divergence += score.divergence;
      agreeing += score.agrees;
    }
  auto count = static_cast<double>(result.predictions);
  result.nll /= count;
  result.perplexity = std::exp(result.nll);
  if (reference) {
    result.divergence = divergence / count;
    result.agreement = static_cast<double>(agreeing) / count;
  }
  return result;
}

llvm::Expected<Evaluation>
miura::driver::evaluate(Artifact &model, Artifact *reference,
                        llvm::ArrayRef<std::vector<int64_t>> sequences,
                        unsigned threads,
                        llvm::function_ref<void(int64_t)> progress) {
  return Evaluator(model, reference, sequences, threads).run(progress);
}
