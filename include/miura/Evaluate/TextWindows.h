//===- TextWindows.h - A text as sequences of tokens ------------*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// How a text is cut before a model sees it: as one stream in windows of equal
/// length, the protocol of GPTQ (Frantar et al., arXiv:2210.17323), or as
/// documents, each of which begins anew. A perplexity is one of a protocol, so
/// everything that measures or calibrates on a text cuts it here.
///
//===----------------------------------------------------------------------===//

#ifndef MIURA_EVALUATE_TEXTWINDOWS_H
#define MIURA_EVALUATE_TEXTWINDOWS_H

#include "miura/Tokenizer/Tokenizer.h"
#include <utility>

namespace miura {

struct TextProtocol {
  /// Tokens of a sequence at most, what it begins with included; at least 2.
  int64_t context = 0;
  /// A stream shorter than one window is a window.
  bool takesShort = false;
  /// Of a stream: only the first so many windows.
  std::optional<int64_t> windows;
  /// Documents: the index of the first and how many.
  std::optional<std::pair<int64_t, int64_t>> documents;
  /// What stands between documents.
  std::string separator = "<|endoftext|>";
  /// What a stream or a document begins with, in place of the tokenizer's.
  std::optional<std::vector<int64_t>> prefix;
};

struct TextWindows {
  /// Each of 2 to `context` tokens, of which all but the first are predicted.
  std::vector<std::vector<int64_t>> sequences;
  /// How many windows or documents the text has.
  int64_t available = 0;
  int64_t getPredictions() const;
};

/// Cuts `text`. A stream: its tokens in windows of `context`, the rest dropped.
/// Documents: separated by `separator`, stripped of surrounding whitespace,
/// empty ones not counted, each cut off at `context`; one of less than two
/// tokens predicts nothing and is left out. Fails where nothing remains.
llvm::Expected<TextWindows> cutText(const Tokenizer &tokenizer,
                                    llvm::StringRef text,
                                    const TextProtocol &protocol);

/// The documents of `text`, as described there.
std::vector<llvm::StringRef> splitDocuments(llvm::StringRef text,
                                            llvm::StringRef separator);

} // namespace miura

#endif // MIURA_EVALUATE_TEXTWINDOWS_H
