//===- Unicode.h - What tokenizers ask about characters ---------*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// UTF-8, character classes and normal forms. The classes are those of Rust's
/// regex package, which finds added tokens in the Python package `tokenizers`;
/// properties and normal forms come from utf8proc.
///
//===----------------------------------------------------------------------===//

#ifndef MIURA_LIB_TOKENIZER_UNICODE_H
#define MIURA_LIB_TOKENIZER_UNICODE_H

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include <string>

namespace miura::unicode {

/// The place of the first byte that is not UTF-8, or npos.
size_t findInvalid(llvm::StringRef text);

/// Moves what is known of `bytes` to `text`: whole characters, and U+FFFD for
/// what cannot be part of one (each byte, or each maximal part of a character).
/// What may still become a character stays in `bytes`, unless `isEnd`.
void takeText(std::string &bytes, std::string &text, bool eachByte, bool isEnd);

/// Appends a character as UTF-8.
void append(std::string &text, char32_t character);

/// Takes the first character of valid UTF-8.
char32_t takeFront(llvm::StringRef &text);

/// The property White_Space.
bool isSpace(char32_t character);

/// How many bytes of whitespace `text` begins or ends with.
size_t countLeadingSpace(llvm::StringRef text);
size_t countTrailingSpace(llvm::StringRef text);

/// Whether `text`, valid UTF-8, begins or ends with a character of a word (\w).
bool startsWithWord(llvm::StringRef text);
bool endsWithWord(llvm::StringRef text);

enum class NormalForm { C, D, KC, KD };

/// `text`, valid UTF-8, in a normal form of Unicode.
std::string normalize(llvm::StringRef text, NormalForm form);

} // namespace miura::unicode

#endif // MIURA_LIB_TOKENIZER_UNICODE_H
