//===- Pattern.cpp - The patterns of pre-tokenizers -----------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// PCRE2 with its JIT. Oniguruma's \s and \w are Unicode's White_Space and word
/// characters (UTS 18, annex C), PCRE2's are not, so both are spelled out.
///
//===----------------------------------------------------------------------===//

#define PCRE2_CODE_UNIT_WIDTH 8
#include "Pattern.h"
#include "NewerCharacters.h"
#include "Unicode.h"
#include "llvm/ADT/Twine.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/raw_ostream.h"
#include <pcre2.h>

using namespace miura;
using llvm::StringRef;

static llvm::Error makeError(const llvm::Twine &what) {
  return llvm::createStringError(what);
}

/// The members of a class that PCRE2 does not know yet: those of the general
/// categories that `property` stands for (`L`, `Lu`; others: none).
static std::string getNewerMembers(StringRef property) {
  std::string result;
  llvm::raw_string_ostream os(result);
  for (const CharacterRange &range : kNewerCharacters)
    if (!property.empty() && StringRef(range.category).starts_with(property))
      os << llvm::format("\\x{%X}-\\x{%X}", unsigned(range.first),
                         unsigned(range.last));
  return result;
}

/// The pattern in PCRE2's terms.
static llvm::Expected<std::string> translate(StringRef pattern) {
  std::string result;
  bool inClass = false;
  for (size_t i = 0; i < pattern.size(); ++i) {
    char c = pattern[i];
    if (c == '\\' && i + 1 < pattern.size()) {
      char escaped = pattern[++i];
      // Of what is newer than PCRE2, L, M and Nl make up Alphabetic.
      std::string word = "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}";
      for (StringRef category : {"L", "M", "Nd", "Nl", "Pc"})
        word += getNewerMembers(category);
      switch (escaped) {
      case 's':
        result += "\\p{White_Space}";
        continue;
      case 'S':
        result += "\\P{White_Space}";
        continue;
      case 'w':
        result += inClass ? word : "[" + word + "]";
        continue;
      case 'W':
        if (inClass)
          return makeError("\\W inside a class is not supported");
        result += "[^" + word + "]";
        continue;
      case 'b': // Between a character of a word and none.
      case 'B':
        if (inClass) {
          result += "\\x08";
          continue;
        }
        result += escaped == 'b'
                      ? "(?:(?<=[" + word + "])(?![" + word + "])|(?<![" +
                            word + "])(?=[" + word + "]))"
                      : "(?:(?<=[" + word + "])(?=[" + word + "])|(?<![" +
                            word + "])(?![" + word + "]))";
        continue;
      case 'h': // Ruby's hexadecimal digit.
        result += inClass ? "0-9a-fA-F" : "[0-9a-fA-F]";
        continue;
      case 'p':
      case 'P': {
        size_t end = pattern.find('}', i);
        StringRef name = pattern.slice(i + 2, end);
        bool isNegated = (escaped == 'P') != name.consume_front("^");
        std::string newer = getNewerMembers(name);
        // Members cannot be taken out of a class.
        if (!pattern.substr(i + 1).starts_with("{") || end == StringRef::npos ||
            newer.empty() || (inClass && isNegated)) {
          result += c;
          result += escaped;
          continue;
        }
        std::string members = ("\\p{" + name + "}" + newer).str();
        result += inClass     ? members
                  : isNegated ? "[^" + members + "]"
                              : "[" + members + "]";
        i = end;
        continue;
      }
      case 'u':
        if (pattern.size() >= i + 5) {
          result += ("\\x{" + pattern.substr(i + 1, 4) + "}").str();
          i += 4;
          continue;
        }
        [[fallthrough]];
      default:
        result += c;
        result += escaped;
        continue;
      }
    }
    if (!inClass && c == '[') {
      inClass = true;
      result += c;
      // A bracket that closes at once is a member.
      if (i + 1 < pattern.size() && pattern[i + 1] == '^')
        result += pattern[++i];
      if (i + 1 < pattern.size() && pattern[i + 1] == ']')
        result += pattern[++i];
      continue;
    }
    if (inClass && c == ']')
      inClass = false;
    if (inClass && pattern.substr(i).starts_with("&&"))
      return makeError("intersections of classes are not supported");
    // Only in Ruby does an inner bracket open a class; both know POSIX's names.
    if (inClass && c == '[') {
      size_t end = pattern.find(":]", i);
      if (!pattern.substr(i).starts_with("[:") || end == StringRef::npos)
        return makeError("classes inside of classes are not supported");
      result += pattern.slice(i, end + 2);
      i = end + 1;
      continue;
    }
    result += c;
  }
  return result;
}

llvm::Expected<Pattern> Pattern::compile(StringRef pattern, bool isLiteral) {
  std::string text = pattern.str();
  // Ruby's ^ and $ stand at every line.
  uint32_t options = PCRE2_UTF;
  if (isLiteral) {
    options |= PCRE2_LITERAL;
  } else {
    options |= PCRE2_UCP | PCRE2_MULTILINE;
    llvm::Expected<std::string> translated = translate(pattern);
    if (!translated)
      return makeError("pattern '" + pattern +
                       "': " + llvm::toString(translated.takeError()));
    text = std::move(*translated);
  }
  int error;
  size_t where;
  pcre2_code *compiled =
      pcre2_compile(reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(),
                    options, &error, &where, nullptr);
  if (!compiled) {
    PCRE2_UCHAR message[256] = {};
    pcre2_get_error_message(error, message, sizeof message);
    return makeError("pattern '" + pattern +
                     "': " + reinterpret_cast<const char *>(message));
  }
  // Without the JIT (no support, no executable memory) the interpreter matches.
  pcre2_jit_compile(compiled, PCRE2_JIT_COMPLETE);
  Pattern result;
  result.code = std::shared_ptr<void>(compiled, [](void *code) {
    pcre2_code_free(static_cast<pcre2_code *>(code));
  });
  return result;
}

llvm::Error
Pattern::forEachMatch(StringRef text,
                      llvm::function_ref<void(size_t, size_t)> visit) const {
  auto *compiled = static_cast<const pcre2_code *>(code.get());
  std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)> data(
      pcre2_match_data_create_from_pattern(compiled, nullptr),
      pcre2_match_data_free);
  std::unique_ptr<pcre2_match_context, decltype(&pcre2_match_context_free)>
      context(pcre2_match_context_create(nullptr), pcre2_match_context_free);
  std::unique_ptr<pcre2_jit_stack, decltype(&pcre2_jit_stack_free)> stack(
      pcre2_jit_stack_create(32 << 10, 16 << 20, nullptr),
      pcre2_jit_stack_free);
  if (!data || !context)
    return makeError("out of memory");
  if (stack)
    pcre2_jit_stack_assign(context.get(), nullptr, stack.get());

  // An empty StringRef may point nowhere, which PCRE2 does not take.
  auto *subject = reinterpret_cast<PCRE2_SPTR>(text.empty() ? "" : text.data());
  size_t start = 0, lastEnd = StringRef::npos;
  while (start <= text.size()) {
    int count = pcre2_match(compiled, subject, text.size(), start,
                            PCRE2_NO_UTF_CHECK, data.get(), context.get());
    if (count == PCRE2_ERROR_NOMATCH)
      return llvm::Error::success();
    if (count < 0) {
      PCRE2_UCHAR message[256] = {};
      pcre2_get_error_message(count, message, sizeof message);
      return makeError(llvm::Twine("cannot match the pattern: ") +
                       reinterpret_cast<const char *>(message));
    }
    const size_t *range = pcre2_get_ovector_pointer(data.get());
    // An empty match right after another one counts as part of it.
    if (range[1] > range[0] || range[0] != lastEnd)
      visit(range[0], range[1]);
    lastEnd = start = range[1];
    if (range[1] == range[0]) {
      if (start == text.size())
        break;
      StringRef rest = text.drop_front(start);
      unicode::takeFront(rest);
      start = text.size() - rest.size();
    }
  }
  return llvm::Error::success();
}
