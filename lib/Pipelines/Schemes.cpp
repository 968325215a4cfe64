//===- Schemes.cpp - Named ways to compress -------------------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// A table of steps: a pattern of names, in which N and M stand for numbers,
/// and the pass, in which they are put back. A scheme is a sum of steps, in the
/// order in which they run.
///
//===----------------------------------------------------------------------===//

#include "miura/Pipelines/Schemes.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringExtras.h"
#include <string>

using namespace miura;
using llvm::StringRef;

namespace {
struct Entry {
  SchemeFamily family;
  unsigned least, most; ///< of N
  /// $N and $M are the numbers, $P is N with two digits.
  llvm::StringLiteral pipeline;
};
} // namespace

static constexpr Entry kEntries[] = {
    {{"wN", "N from 2 to 8",
      "symmetric N-bit codes (2 to 8) in blocks of 32, f16 scales, "
      "embedding and head included"},
     2,
     8,
     "miura-quantize-rtn{bits=$N block-size=32 symmetric=true scale-type=f16}"},
    {{"wNa8", "N from 2 to 8",
      "wN, and activations enter products as int8, one scale per "
      "token"},
     2,
     8,
     "miura-quantize-rtn{bits=$N block-size=32 symmetric=true scale-type=f16 "
     "activation=i8}"},
    {{"N%", "N from 1 to 99",
      "the N percent of each weight that are smallest are dropped"},
     1,
     99,
     "miura-prune-magnitude{sparsity=0.$P}"},
    {{"N:M", "N from 1 to below M, M to 256",
      "of every M successive weights of a row the N largest are kept"},
     1,
     255,
     "miura-prune-magnitude{n=$N m=$M}"},
    {{"svdN", "N from 1", "products of rank N, factors in f16"},
     1,
     65535,
     "miura-factorize-svd{rank=$N type=f16}"},
    {{"rN", "N from 1",
      "what the steps before miss is added back as a product of rank N, "
      "factors in f16"},
     1,
     65535,
     "miura-factorize-residual{rank=$N type=f16}"},
};

llvm::ArrayRef<SchemeFamily> miura::getSchemeFamilies() {
  static const std::vector<SchemeFamily> families = [] {
    std::vector<SchemeFamily> result;
    for (const Entry &entry : kEntries)
      result.push_back(entry.family);
    return result;
  }();
  return families;
}

/// Takes a number without leading zeros off the front of `text`.
static std::optional<unsigned> takeNumber(StringRef &text) {
  StringRef digits = text.take_while(llvm::isDigit);
  unsigned number;
  if (digits.empty() || digits.starts_with("0") ||
      digits.getAsInteger(10, number))
    return std::nullopt;
  text = text.drop_front(digits.size());
  return number;
}

static std::string replaceAll(std::string text, StringRef from,
                              const std::string &to) {
  for (size_t at;
       (at = text.find(from.data(), 0, from.size())) != std::string::npos;)
    text.replace(at, from.size(), to);
  return text;
}

/// The pass of `step` where `entry` is its family. `isOfFamily` says whether it
/// is, though its numbers may be out of range.
static std::optional<std::string> match(const Entry &entry, StringRef step,
                                        bool &isOfFamily) {
  isOfFamily = false;
  std::optional<unsigned> n, m;
  for (char c : entry.family.pattern) {
    if (c != 'N' && c != 'M') {
      if (!step.consume_front(StringRef(&c, 1)))
        return std::nullopt;
      continue;
    }
    std::optional<unsigned> &number = c == 'N' ? n : m;
    if (!(number = takeNumber(step)))
      return std::nullopt;
  }
  isOfFamily = step.empty();
  if (!isOfFamily || *n < entry.least || *n > entry.most)
    return std::nullopt;
  // Some of a group, of at most 256.
  if (m && (*n >= *m || *m > 256))
    return std::nullopt;
  std::string percent = std::to_string(*n);
  if (percent.size() < 2)
    percent.insert(0, "0");
  std::string text = replaceAll(entry.pipeline.str(), "$N", std::to_string(*n));
  text = replaceAll(text, "$P", percent);
  return m ? replaceAll(text, "$M", std::to_string(*m)) : text;
}

/// What is wrong with a step that is none.
static std::string explain(StringRef step) {
  bool isOfFamily;
  for (const Entry &entry : kEntries) {
    match(entry, step, isOfFamily);
    if (isOfFamily)
      return (" in " + entry.family.pattern + ", " + entry.family.numbers)
          .str();
  }
  for (const Entry &entry : kEntries)
    if (match(entry, step.lower(), isOfFamily))
      return "; is '" + step.lower() + "' meant?";
  std::string text = "; known are";
  for (const Entry &entry : kEntries)
    text += (&entry == kEntries ? " " : ", ") + entry.family.pattern.str() +
            " (" + entry.family.numbers.str() + ")";
  return text + " and sums of them, such as 50%+w4";
}

/// An option's text: ` include=a,b`.
static std::string listGlobs(StringRef option,
                             llvm::ArrayRef<std::string> globs) {
  std::string text;
  for (const std::string &glob : globs)
    text += (text.empty() ? " " + option.str() + "=" : ",") + glob;
  return text;
}

llvm::Expected<std::string>
miura::getSchemePipeline(StringRef name, llvm::ArrayRef<std::string> include,
                         llvm::ArrayRef<std::string> exclude) {
  llvm::SmallVector<StringRef> steps;
  name.split(steps, '+');
  std::string pipeline;
  for (StringRef step : steps) {
    std::optional<std::string> pass;
    bool isOfFamily;
    for (const Entry &entry : kEntries)
      if ((pass = match(entry, step, isOfFamily)))
        break;
    if (!pass)
      return llvm::createStringError("there is no '" + step +
                                     (step == name ? "" : "' of '" + name) +
                                     "'" + explain(step));
    if (!pipeline.empty())
      pipeline += ',';
    pass->insert(pass->size() - 1,
                 listGlobs("include", include) + listGlobs("exclude", exclude));
    pipeline += *pass;
  }
  return pipeline;
}
