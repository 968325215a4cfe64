//===- AddedTokens.cpp - Tokens that are found before all else ------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// As `AddedVocabulary::find_matches` of the Python package's Rust code does: a
/// match that is refused (a part of a word) is passed over as a whole, and what
/// a token takes beside itself does not change which other tokens are found.
///
//===----------------------------------------------------------------------===//

#include "AddedTokens.h"
#include "Unicode.h"
#include "llvm/ADT/STLExtras.h"

using namespace miura;
using llvm::StringRef;

void AddedTokenSet::add(AddedToken token) {
  if (token.content.empty())
    return;
  auto &same = byFirstByte[static_cast<unsigned char>(token.content[0])];
  auto place = llvm::find_if(same, [&](uint32_t index) {
    return tokens[index].content.size() <= token.content.size();
  });
  for (auto it = place; it != same.end(); ++it)
    if (tokens[*it].content == token.content)
      return;
  same.insert(place, tokens.size());
  tokens.push_back(std::move(token));
}

void AddedTokenSet::split(
    StringRef text,
    llvm::function_ref<void(StringRef, std::optional<uint32_t>)> visit) const {
  size_t done = 0;
  for (size_t i = 0; i < text.size();) {
    const AddedToken *match = nullptr;
    for (uint32_t index : byFirstByte[static_cast<unsigned char>(text[i])])
      if (text.substr(i).starts_with(tokens[index].content)) {
        match = &tokens[index];
        break;
      }
    if (!match) {
      ++i;
      continue;
    }
    size_t begin = i, end = i + match->content.size();
    i = end;
    if (match->isWord && (unicode::endsWithWord(text.take_front(begin)) ||
                          unicode::startsWithWord(text.drop_front(end))))
      continue;
    if (match->takesLeft)
      begin = std::max(
          done, begin - unicode::countTrailingSpace(text.slice(0, begin)));
    if (match->takesRight)
      end += unicode::countLeadingSpace(text.drop_front(end));
    if (done < begin)
      visit(text.slice(done, begin), std::nullopt);
    // Nothing is left of whitespace that the token before has taken. Without
    // `takesLeft` a token is found there nonetheless.
    if (begin < end)
      visit(text.slice(begin, end), match->id);
    done = end;
  }
  if (done < text.size())
    visit(text.drop_front(done), std::nullopt);
}
