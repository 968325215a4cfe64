//===- EinsumEquation.cpp - The equation of ONNX's Einsum -----------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "miura/Support/EinsumEquation.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"

using namespace llvm;
using namespace miura;

/// What `...` stands for, the last of them for the last dimension.
static constexpr StringLiteral kEllipsis = "0123456789";

/// The characters of a term for a tensor of `rank` (−1: as many as there are),
/// whose `...` are the last `hidden` of kEllipsis. Nothing where they do not
/// fit.
static std::optional<std::string> readTerm(StringRef term, int64_t rank,
                                           int64_t hidden) {
  auto [before, after] = term.split("...");
  bool hasEllipsis = before.size() != term.size();
  std::string letters = before.str();
  if (hasEllipsis)
    letters += kEllipsis.take_back(hidden);
  letters += after;
  bool isGood = all_of(before, isAlpha) && all_of(after, isAlpha) &&
                (rank < 0 || (int64_t)letters.size() == rank);
  return isGood ? std::optional(letters) : std::nullopt;
}

std::optional<EinsumEquation> EinsumEquation::parse(StringRef text,
                                                    ArrayRef<int64_t> ranks) {
  std::string plain;
  copy_if(text, std::back_inserter(plain), [](char c) { return c != ' '; });
  auto [left, right] = StringRef(plain).split("->");
  bool hasArrow = left.size() != plain.size();
  SmallVector<StringRef> terms;
  left.split(terms, ',');
  if (terms.size() != ranks.size())
    return std::nullopt;

  EinsumEquation equation;
  int64_t most = 0;
  for (auto [term, rank] : zip(terms, ranks)) {
    int64_t hidden = term.contains("...") ? rank - (int64_t)term.size() + 3 : 0;
    if (hidden < 0 || hidden > (int64_t)kEllipsis.size())
      return std::nullopt;
    most = std::max(most, hidden);
    std::optional<std::string> letters = readTerm(term, rank, hidden);
    if (!letters)
      return std::nullopt;
    equation.operands.push_back(*letters);
  }
  std::string all = join(equation.operands, "");
  if (hasArrow) {
    std::optional<std::string> letters = readTerm(right, -1, most);
    if (!letters)
      return std::nullopt;
    equation.result = *letters;
  } else {
    equation.result = kEllipsis.take_back(most).str();
    std::string once;
    copy_if(all, std::back_inserter(once),
            [&](char c) { return isAlpha(c) && StringRef(all).count(c) == 1; });
    llvm::sort(once);
    equation.result += once;
  }
  for (char c : equation.result)
    if (!StringRef(all).contains(c) || StringRef(equation.result).count(c) > 1)
      return std::nullopt;
  for (char c : all)
    if (!StringRef(equation.result + equation.summed).contains(c))
      equation.summed += c;
  return equation;
}
