//===- Unicode.cpp - What tokenizers ask about characters -----------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The well-formed byte sequences are those of table 3-7 of the Unicode
/// standard; normal forms are utf8proc's.
///
//===----------------------------------------------------------------------===//

#include "Unicode.h"
#include <cstdlib>
#include <utf8proc.h>

using namespace miura;
using llvm::StringRef;

namespace {
enum class Shape { Whole, Cut, Invalid };
} // namespace

/// Looks at the character that `text` begins with. `length` is its length
/// (Whole), or that of the longest beginning of a character (Cut: the text ends
/// there; Invalid: another byte follows).
static Shape inspect(StringRef text, size_t &length) {
  auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  unsigned char first = byte(0);
  length = 1;
  if (first < 0x80)
    return Shape::Whole;
  if (first < 0xC2 || first > 0xF4)
    return Shape::Invalid;
  size_t needed = first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
  // The second byte excludes overlong forms, surrogates and what lies above
  // U+10FFFF.
  unsigned char low = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
  unsigned char high = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;
  for (; length < needed; ++length) {
    if (length == text.size())
      return Shape::Cut;
    if (byte(length) < low || byte(length) > high)
      return Shape::Invalid;
    low = 0x80;
    high = 0xBF;
  }
  return Shape::Whole;
}

size_t unicode::findInvalid(StringRef text) {
  for (size_t i = 0, length; i < text.size(); i += length)
    if (inspect(text.drop_front(i), length) != Shape::Whole)
      return i;
  return StringRef::npos;
}

void unicode::takeText(std::string &bytes, std::string &text, bool eachByte,
                       bool isEnd) {
  StringRef rest = bytes;
  while (!rest.empty()) {
    size_t length;
    Shape shape = inspect(rest, length);
    if (shape == Shape::Cut && !isEnd)
      break;
    if (shape == Shape::Whole) {
      text += rest.take_front(length);
    } else {
      if (eachByte)
        length = 1;
      text += "\xEF\xBF\xBD";
    }
    rest = rest.drop_front(length);
  }
  bytes.erase(0, bytes.size() - rest.size());
}

void unicode::append(std::string &text, char32_t character) {
  utf8proc_uint8_t bytes[4];
  utf8proc_ssize_t length =
      utf8proc_encode_char(static_cast<utf8proc_int32_t>(character), bytes);
  text.append(reinterpret_cast<const char *>(bytes), length);
}

char32_t unicode::takeFront(StringRef &text) {
  utf8proc_int32_t character;
  utf8proc_ssize_t length =
      utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t *>(text.data()),
                       static_cast<utf8proc_ssize_t>(text.size()), &character);
  text = text.drop_front(length < 1 ? 1 : length);
  return length < 1 ? 0xFFFD : static_cast<char32_t>(character);
}

/// The last character of valid, non-empty UTF-8.
static char32_t lastCharacter(StringRef text, size_t &length) {
  length = 1;
  while (length < text.size() &&
         (static_cast<unsigned char>(text[text.size() - length]) & 0xC0) ==
             0x80)
    ++length;
  StringRef last = text.take_back(length);
  return unicode::takeFront(last);
}

bool unicode::isSpace(char32_t c) {
  return (c >= 0x9 && c <= 0xD) || c == 0x20 || c == 0x85 || c == 0xA0 ||
         c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 ||
         c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

size_t unicode::countLeadingSpace(StringRef text) {
  StringRef rest = text;
  while (!rest.empty()) {
    StringRef next = rest;
    if (!isSpace(takeFront(next)))
      break;
    rest = next;
  }
  return text.size() - rest.size();
}

size_t unicode::countTrailingSpace(StringRef text) {
  size_t count = 0, length;
  while (count < text.size() &&
         isSpace(lastCharacter(text.drop_back(count), length)))
    count += length;
  return count;
}

/// \w of Rust's regex package: Alphabetic, M, Nd, Pc and Join_Control. utf8proc
/// has no Alphabetic; L, Nl and the circled letters are what it consists of
/// beside M.
static bool isWord(char32_t c) {
  if (c == 0x200C || c == 0x200D || (c >= 0x24B6 && c <= 0x24E9) ||
      (c >= 0x1F130 && c <= 0x1F149) || (c >= 0x1F150 && c <= 0x1F169) ||
      (c >= 0x1F170 && c <= 0x1F189))
    return true;
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(c))) {
  case UTF8PROC_CATEGORY_LU:
  case UTF8PROC_CATEGORY_LL:
  case UTF8PROC_CATEGORY_LT:
  case UTF8PROC_CATEGORY_LM:
  case UTF8PROC_CATEGORY_LO:
  case UTF8PROC_CATEGORY_MN:
  case UTF8PROC_CATEGORY_MC:
  case UTF8PROC_CATEGORY_ME:
  case UTF8PROC_CATEGORY_ND:
  case UTF8PROC_CATEGORY_NL:
  case UTF8PROC_CATEGORY_PC:
    return true;
  default:
    return false;
  }
}

bool unicode::startsWithWord(StringRef text) {
  return !text.empty() && isWord(takeFront(text));
}

bool unicode::endsWithWord(StringRef text) {
  size_t length;
  return !text.empty() && isWord(lastCharacter(text, length));
}

std::string unicode::normalize(StringRef text, NormalForm form) {
  // ASCII is in every normal form.
  bool isAscii = true;
  for (char c : text)
    isAscii &= static_cast<unsigned char>(c) < 0x80;
  if (isAscii)
    return text.str();
  unsigned options = UTF8PROC_STABLE;
  options |= form == NormalForm::C || form == NormalForm::KC
                 ? UTF8PROC_COMPOSE
                 : UTF8PROC_DECOMPOSE;
  if (form == NormalForm::KC || form == NormalForm::KD)
    options |= UTF8PROC_COMPAT;
  utf8proc_uint8_t *result = nullptr;
  utf8proc_ssize_t length =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t *>(text.data()),
                   static_cast<utf8proc_ssize_t>(text.size()), &result,
                   static_cast<utf8proc_option_t>(options));
  std::string normalized =
      length < 0 ? text.str()
                 : std::string(reinterpret_cast<const char *>(result), length);
  std::free(result);
  return normalized;
}
