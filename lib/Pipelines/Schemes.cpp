//===- Schemes.cpp - Named ways to compress -------------------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// A table of families: a pattern of names, in which N stands for a number, and
/// the pipeline, in which it is put back.
///
//===----------------------------------------------------------------------===//

#include "miura/Pipelines/Schemes.h"
#include "llvm/ADT/StringExtras.h"
#include <string>

using namespace miura;
using llvm::StringRef;

namespace {
struct Entry {
  SchemeFamily family;
  unsigned least, most; ///< of N
  llvm::StringLiteral pipeline;
};
} // namespace

static constexpr Entry kEntries[] = {
    {{"wN", "symmetric N-bit codes (2 to 8) in blocks of 32, f16 scales, "
            "embedding and head included"},
     2,
     8,
     "miura-quantize-rtn{bits=N block-size=32 symmetric=true scale-type=f16}"},
    {{"wNa8", "wN, and activations enter products as int8, one scale per "
              "token"},
     2,
     8,
     "miura-quantize-rtn{bits=N block-size=32 symmetric=true scale-type=f16 "
     "activation=i8}"},
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

/// An option's text: ` include=a,b`.
static std::string listGlobs(StringRef option,
                             llvm::ArrayRef<std::string> globs) {
  std::string text;
  for (const std::string &glob : globs)
    text += (text.empty() ? " " + option.str() + "=" : ",") + glob;
  return text;
}

std::optional<std::string>
miura::getSchemePipeline(StringRef name, llvm::ArrayRef<std::string> include,
                         llvm::ArrayRef<std::string> exclude) {
  for (const Entry &entry : kEntries) {
    auto [before, after] = StringRef(entry.family.pattern).split('N');
    StringRef number = name;
    unsigned n;
    if (!number.consume_front(before) || !number.consume_back(after) ||
        number.empty() || !llvm::all_of(number, llvm::isDigit) ||
        number.starts_with("0") || number.getAsInteger(10, n) ||
        n < entry.least || n > entry.most)
      continue;
    auto [head, tail] = StringRef(entry.pipeline).split("=N ");
    return (head + "=" + number + " " + tail.drop_back() +
            listGlobs("include", include) + listGlobs("exclude", exclude) + "}")
        .str();
  }
  return std::nullopt;
}
