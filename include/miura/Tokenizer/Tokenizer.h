//===- Tokenizer.h - Text to token ids and back -----------------*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// One interface to the tokenizers that language models come with:
/// SentencePiece models, byte-level BPE in the format of the Python package
/// `tokenizers`, and plain bytes. Ids equal those of the Python packages.
///
//===----------------------------------------------------------------------===//

#ifndef MIURA_TOKENIZER_TOKENIZER_H
#define MIURA_TOKENIZER_TOKENIZER_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace miura {

/// A tokenizer. Immutable; may be used by several threads at once.
class Tokenizer {
public:
  /// Opens `name`: a SentencePiece `.model`, a `tokenizer.json`, a folder that
  /// has one of the two, or the word `bytes` (ids 0 to 255, byte 0 begins a
  /// text). Fails with a message that names the file: missing, damaged, or of a
  /// kind that is not supported, and what to give instead.
  static llvm::Expected<std::unique_ptr<Tokenizer>> open(llvm::StringRef name);

  virtual ~Tokenizer() = default;

  /// The ids of `text`, without what the tokenizer puts before and after a
  /// text. Added tokens in it (`<|im_start|>`) are found as the Python package
  /// finds them. Fails if `text` is not UTF-8 and the tokenizer is one of
  /// characters; SentencePiece reads U+FFFD there instead, as it always does.
  virtual llvm::Expected<std::vector<int64_t>>
  encode(llvm::StringRef text) const = 0;

  /// The text of `ids`: special tokens have none; what is not UTF-8 becomes
  /// U+FFFD as in the Python package.
  virtual std::string decode(llvm::ArrayRef<int64_t> ids) const;

  /// Appends the bytes of one token of a text, none for a special token or an
  /// id without a token. `isFirst`: nothing came before it (SentencePiece drops
  /// a space there).
  virtual void appendBytes(int64_t id, bool isFirst,
                           std::string &bytes) const = 0;

  /// Whether a token stands for no text: BOS, EOS, `<|im_end|>`.
  virtual bool isSpecial(int64_t id) const = 0;

  /// One more than the largest id.
  int64_t getVocabularySize() const { return vocabularySize; }
  /// What a text begins with: mostly one BOS or nothing.
  llvm::ArrayRef<int64_t> getPrefix() const { return prefix; }
  bool addsBos() const { return !prefix.empty(); }
  /// The token that begins a text, where there is one, added or not.
  std::optional<int64_t> getBos() const { return bos; }
  /// The tokens that end a text; the first is the tokenizer's EOS.
  llvm::ArrayRef<int64_t> getEos() const { return eos; }

protected:
  int64_t vocabularySize = 0;
  std::vector<int64_t> prefix;
  std::optional<int64_t> bos;
  std::vector<int64_t> eos;
  /// SentencePiece writes one U+FFFD for each byte that is not UTF-8, Rust's
  /// lossy conversion one for each maximal part of a character.
  bool replacesEachByte = false;
  friend class StreamDecoder;
};

/// Decodes a text token by token: what it returns, put together, is the text.
/// Bytes of a character that is not complete are held back.
class StreamDecoder {
public:
  /// `tokenizer` must outlive the decoder.
  explicit StreamDecoder(const Tokenizer &tokenizer) : tokenizer(tokenizer) {}
  /// The text that `id` completes.
  std::string push(int64_t id);
  /// What was held back, as U+FFFD.
  std::string finish();

private:
  const Tokenizer &tokenizer;
  std::string held;
  bool started = false;
};

} // namespace miura

#endif // MIURA_TOKENIZER_TOKENIZER_H
