//===- TextWindows.cpp - A text as sequences of tokens --------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Whitespace around a document is what Python's str.strip takes away, as the
/// published figures were computed with it.
///
//===----------------------------------------------------------------------===//

#include "miura/Evaluate/TextWindows.h"

using namespace miura;
using llvm::StringRef;

/// The length of the whitespace character at the front of `text`, or 0.
static size_t getSpaceLength(StringRef text) {
  unsigned char first = text.front();
  if ((first >= 0x09 && first <= 0x0D) || (first >= 0x1C && first <= 0x20))
    return 1;
  for (StringRef space :
       {"\xC2\x85", "\xC2\xA0", "\xE1\x9A\x80", "\xE2\x80\x80", "\xE2\x80\x81",
        "\xE2\x80\x82", "\xE2\x80\x83", "\xE2\x80\x84", "\xE2\x80\x85",
        "\xE2\x80\x86", "\xE2\x80\x87", "\xE2\x80\x88", "\xE2\x80\x89",
        "\xE2\x80\x8A", "\xE2\x80\xA8", "\xE2\x80\xA9", "\xE2\x80\xAF",
        "\xE2\x81\x9F", "\xE3\x80\x80"})
    if (text.starts_with(space))
      return space.size();
  return 0;
}

static StringRef strip(StringRef text) {
  while (!text.empty()) {
    size_t length = getSpaceLength(text);
    if (length == 0)
      break;
    text = text.drop_front(length);
  }
  while (!text.empty()) {
    size_t length = 1;
    while (length < text.size() && length < 3 &&
           (static_cast<unsigned char>(text[text.size() - length]) & 0xC0) ==
               0x80)
      ++length;
    if (getSpaceLength(text.take_back(length)) != length)
      break;
    text = text.drop_back(length);
  }
  return text;
}

std::vector<StringRef> miura::splitDocuments(StringRef text,
                                             StringRef separator) {
  std::vector<StringRef> documents;
  while (true) {
    size_t end = text.find(separator);
    StringRef document = strip(text.take_front(end));
    if (!document.empty())
      documents.push_back(document);
    if (end == StringRef::npos)
      return documents;
    text = text.drop_front(end + separator.size());
  }
}

int64_t TextWindows::getPredictions() const {
  int64_t count = 0;
  for (const std::vector<int64_t> &sequence : sequences)
    count += static_cast<int64_t>(sequence.size()) - 1;
  return count;
}

static llvm::Expected<std::vector<int64_t>>
encode(const Tokenizer &tokenizer, StringRef text,
       const TextProtocol &protocol) {
  std::vector<int64_t> tokens =
      protocol.prefix ? *protocol.prefix : tokenizer.getPrefix().vec();
  llvm::Expected<std::vector<int64_t>> ids = tokenizer.encode(text);
  if (!ids)
    return ids.takeError();
  tokens.insert(tokens.end(), ids->begin(), ids->end());
  return tokens;
}

llvm::Expected<TextWindows> miura::cutText(const Tokenizer &tokenizer,
                                           StringRef text,
                                           const TextProtocol &protocol) {
  TextWindows result;
  size_t context = protocol.context;
  if (protocol.documents) {
    std::vector<StringRef> documents = splitDocuments(text, protocol.separator);
    result.available = static_cast<int64_t>(documents.size());
    auto [first, count] = *protocol.documents;
    if (first >= result.available)
      return llvm::createStringError(
          "has " + llvm::Twine(result.available) +
          " documents, so none from number " + llvm::Twine(first) +
          " on; the first is number 0, and --separator says what stands "
          "between them");
    size_t end = first + std::min(count, result.available - first);
    for (size_t i = first; i < end; ++i) {
      llvm::Expected<std::vector<int64_t>> tokens =
          encode(tokenizer, documents[i], protocol);
      if (!tokens)
        return llvm::createStringError("document " + llvm::Twine(i) + ": " +
                                       llvm::toString(tokens.takeError()));
      if (tokens->size() > context)
        tokens->resize(context);
      if (tokens->size() >= 2)
        result.sequences.push_back(std::move(*tokens));
    }
    if (result.sequences.empty())
      return llvm::createStringError("no document has two tokens, so there is "
                                     "nothing to predict");
    return result;
  }

  llvm::Expected<std::vector<int64_t>> tokens =
      encode(tokenizer, text, protocol);
  if (!tokens)
    return tokens.takeError();
  if (protocol.takesShort && tokens->size() >= 2)
    context = std::min(context, tokens->size());
  result.available = static_cast<int64_t>(tokens->size() / context);
  if (result.available == 0)
    return llvm::createStringError(
        "has " + llvm::Twine(tokens->size()) +
        " tokens, less than one window of " + llvm::Twine(context) +
        "; give a longer text or a smaller --context");
  int64_t count =
      std::min(result.available, protocol.windows.value_or(result.available));
  for (int64_t i = 0; i < count; ++i)
    result.sequences.emplace_back(tokens->begin() + i * context,
                                  tokens->begin() + (i + 1) * context);
  return result;
}
