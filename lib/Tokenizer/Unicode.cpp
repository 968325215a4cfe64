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
#include "NewerCharacters.h"
#include <algorithm>
#include <cstdlib>
#include <iterator>
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
  case UTF8PROC_CATEGORY_CN: {
    const CharacterRange *range = std::find_if(
        std::begin(kNewerCharacters), std::end(kNewerCharacters),
        [&](const CharacterRange &r) { return r.first <= c && c <= r.last; });
    return range != std::end(kNewerCharacters) &&
           (range->category[0] == 'L' || range->category[0] == 'M' ||
            llvm::StringRef(range->category) == "Nd");
  }
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

/// Whether a normal form treats `c` otherwise since Unicode 10 than before: it
/// decomposes, composes or is reordered. The Python package `tokenizers` has
/// the tables of Unicode 9, in which these stand for themselves; ids are equal
/// only if they do so here.
static bool isNewerThanTables(char32_t c) {
  struct Range {
    char32_t first, last;
  };
  static constexpr Range ranges[] = {
      {0x7FD, 0x7FD},     {0x898, 0x89F},     {0x8CA, 0x8D3},
      {0x9FE, 0x9FE},     {0xC3C, 0xC3C},     {0xD3B, 0xD3C},
      {0xEBA, 0xEBA},     {0x1715, 0x1715},   {0x1ABF, 0x1ACE},
      {0x1DF6, 0x1DFA},   {0x32FF, 0x32FF},   {0xA7F2, 0xA7F4},
      {0xA82C, 0xA82C},   {0xAB69, 0xAB69},   {0x10781, 0x10785},
      {0x10787, 0x107B0}, {0x107B2, 0x107BA}, {0x10D24, 0x10D27},
      {0x10EAB, 0x10EAC}, {0x10EFD, 0x10EFF}, {0x10F46, 0x10F50},
      {0x10F82, 0x10F85}, {0x11070, 0x11070}, {0x1133B, 0x1133B},
      {0x1145E, 0x1145E}, {0x11839, 0x1183A}, {0x11930, 0x11930},
      {0x11938, 0x11938}, {0x1193D, 0x1193E}, {0x11943, 0x11943},
      {0x119E0, 0x119E0}, {0x11A34, 0x11A34}, {0x11A47, 0x11A47},
      {0x11A99, 0x11A99}, {0x11D42, 0x11D42}, {0x11D44, 0x11D45},
      {0x11D97, 0x11D97}, {0x11F41, 0x11F42}, {0x16FF0, 0x16FF1},
      {0x1E030, 0x1E06D}, {0x1E08F, 0x1E08F}, {0x1E130, 0x1E136},
      {0x1E2AE, 0x1E2AE}, {0x1E2EC, 0x1E2EF}, {0x1E4EC, 0x1E4EF},
      {0x1F16C, 0x1F16C}, {0x1FBF0, 0x1FBF9}};
  const Range *range =
      std::lower_bound(std::begin(ranges), std::end(ranges), c,
                       [](const Range &r, char32_t c) { return r.last < c; });
  return range != std::end(ranges) && range->first <= c;
}

/// Appends a normal form of `text`, in which no such character is.
static void appendNormalized(StringRef text, unicode::NormalForm form,
                             std::string &result) {
  using unicode::NormalForm;
  if (text.empty())
    return;
  unsigned options = UTF8PROC_STABLE;
  options |= form == NormalForm::C || form == NormalForm::KC
                 ? UTF8PROC_COMPOSE
                 : UTF8PROC_DECOMPOSE;
  if (form == NormalForm::KC || form == NormalForm::KD)
    options |= UTF8PROC_COMPAT;
  utf8proc_uint8_t *normalized = nullptr;
  utf8proc_ssize_t length =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t *>(text.data()),
                   static_cast<utf8proc_ssize_t>(text.size()), &normalized,
                   static_cast<utf8proc_option_t>(options));
  if (length < 0)
    result += text;
  else
    result.append(reinterpret_cast<const char *>(normalized), length);
  std::free(normalized);
}

std::string unicode::normalize(StringRef text, NormalForm form) {
  // ASCII is in every normal form.
  bool isAscii = true;
  for (char c : text)
    isAscii &= static_cast<unsigned char>(c) < 0x80;
  if (isAscii)
    return text.str();
  std::string result;
  StringRef start = text;
  for (StringRef rest = text; !rest.empty();) {
    StringRef here = rest;
    if (!isNewerThanTables(takeFront(rest)))
      continue;
    appendNormalized(start.drop_back(here.size()), form, result);
    result += here.drop_back(rest.size());
    start = rest;
  }
  appendNormalized(start, form, result);
  return result;
}
