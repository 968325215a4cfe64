//===- PreTokenizer.h - From a text to words of bytes -----------*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The normalizers and pre-tokenizers of a byte-level tokenizer.json: normal
/// forms and replacements, splits by pattern, and the mapping of bytes to
/// printable characters (GPT-2's) in which vocabulary and merges are written.
///
//===----------------------------------------------------------------------===//

#ifndef MIURA_LIB_TOKENIZER_PRETOKENIZER_H
#define MIURA_LIB_TOKENIZER_PRETOKENIZER_H

#include "Pattern.h"
#include "Unicode.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/Support/JSON.h"
#include <string>
#include <utility>
#include <vector>

namespace miura {

/// GPT-2's alphabet: the character for each byte.
llvm::ArrayRef<std::string> getByteAlphabet();

/// Appends the bytes that `token`, UTF-8 in that alphabet, stands for; its own
/// bytes if a character of it is not in the alphabet.
void appendBytesOfToken(llvm::StringRef token, std::string &bytes);

/// The field `normalizer` of a tokenizer.json.
class Normalizer {
public:
  static llvm::Expected<Normalizer> read(const llvm::json::Value *field);
  bool empty() const { return steps.empty(); }
  llvm::Expected<std::string> apply(llvm::StringRef text) const;

private:
  struct Step {
    bool isReplacement = false;
    unicode::NormalForm form = unicode::NormalForm::C;
    Pattern pattern;
    std::string content;
  };
  llvm::Error add(const llvm::json::Value &field);
  std::vector<Step> steps;
};

/// A text and the pieces that it is cut into.
struct Pieces {
  std::string text;
  std::vector<std::pair<size_t, size_t>> ranges; ///< Begin and end, not empty.
};

/// The field `pre_tokenizer` of a tokenizer.json.
class PreTokenizer {
public:
  /// Fails if the field is of a kind that byte-level tokenizers do not have, or
  /// maps no bytes.
  static llvm::Expected<PreTokenizer> read(const llvm::json::Value *field);
  /// The words of `text` in the alphabet of bytes.
  llvm::Expected<Pieces> apply(std::string text) const;

private:
  enum class Behavior {
    Removed,
    Isolated,
    MergedWithPrevious,
    MergedWithNext,
    Contiguous
  };
  struct Step {
    enum { AddSpace, Split, MapBytes } kind = Split;
    // Of a split.
    Pattern pattern;
    Behavior behavior = Behavior::Isolated;
    bool isInverted = false;
  };
  llvm::Error add(const llvm::json::Value &field);
  llvm::Error addSplit(llvm::StringRef pattern, Behavior behavior);
  static llvm::Error split(Pieces &pieces, const Step &step);
  static void mapBytes(Pieces &pieces);
  static void addSpaces(Pieces &pieces);

  std::vector<Step> steps;
};

} // namespace miura

#endif // MIURA_LIB_TOKENIZER_PRETOKENIZER_H
