//===- AddedTokens.h - Tokens that are found before all else ----*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The `added_tokens` of a tokenizer.json: strings that are tokens wherever
/// they stand in a text (`<|im_start|>`), found before the text is split and
/// merged.
///
//===----------------------------------------------------------------------===//

#ifndef MIURA_LIB_TOKENIZER_ADDEDTOKENS_H
#define MIURA_LIB_TOKENIZER_ADDEDTOKENS_H

#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/ADT/StringRef.h"
#include <array>
#include <optional>
#include <string>
#include <vector>

namespace miura {

struct AddedToken {
  std::string content;
  uint32_t id = 0;
  bool isSpecial = false;   ///< Not part of a decoded text.
  bool isNormalized = true; ///< Looked for in the normalized text.
  bool isWord = false;      ///< Only where no character of a word is beside it.
  bool takesLeft = false;   ///< Takes whitespace before it.
  bool takesRight = false;  ///< Takes whitespace after it.
};

/// Finds added tokens: the leftmost, of several that begin there the longest.
class AddedTokenSet {
public:
  /// Of two tokens of equal content the first counts.
  void add(AddedToken token);
  bool empty() const { return tokens.empty(); }

  /// Splits `text` (UTF-8): `visit` gets every piece from left to right, with
  /// the id of the token that it is, or none for text between tokens.
  void split(llvm::StringRef text,
             llvm::function_ref<void(llvm::StringRef, std::optional<uint32_t>)>
                 visit) const;

private:
  std::vector<AddedToken> tokens;
  /// Indices of tokens by their first byte, the longest first.
  std::array<std::vector<uint32_t>, 256> byFirstByte;
};

} // namespace miura

#endif // MIURA_LIB_TOKENIZER_ADDEDTOKENS_H
