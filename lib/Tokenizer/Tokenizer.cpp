//===- Tokenizer.cpp - Text to token ids and back -------------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// What all kinds share: opening by name, decoding token by token; and the
/// tokenizer of bytes.
///
//===----------------------------------------------------------------------===//

#include "miura/Tokenizer/Tokenizer.h"
#include "Kinds.h"
#include "Unicode.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"

using namespace miura;
using llvm::StringRef;

//===----------------------------------------------------------------------===//
// Decoding
//===----------------------------------------------------------------------===//

std::string StreamDecoder::push(int64_t id) {
  tokenizer.appendBytes(id, !started, held);
  // SentencePiece's first space is dropped once, even if nothing else came.
  started |= !tokenizer.isSpecial(id);
  std::string text;
  unicode::takeText(held, text, tokenizer.replacesEachByte, /*isEnd=*/false);
  return text;
}

std::string StreamDecoder::finish() {
  std::string text;
  unicode::takeText(held, text, tokenizer.replacesEachByte, /*isEnd=*/true);
  return text;
}

std::string Tokenizer::decode(llvm::ArrayRef<int64_t> ids) const {
  StreamDecoder decoder(*this);
  std::string text;
  for (int64_t id : ids)
    text += decoder.push(id);
  return text + decoder.finish();
}

//===----------------------------------------------------------------------===//
// Bytes
//===----------------------------------------------------------------------===//

namespace {
class ByteTokenizer : public Tokenizer {
public:
  ByteTokenizer() {
    vocabularySize = 256;
    prefix = {0};
    bos = 0;
    // The next text would begin.
    eos = {0};
  }
  llvm::Expected<std::vector<int64_t>> encode(StringRef text) const override {
    std::vector<int64_t> ids;
    ids.reserve(text.size());
    for (unsigned char byte : text)
      ids.push_back(byte);
    return ids;
  }
  void appendBytes(int64_t id, bool, std::string &bytes) const override {
    if (id > 0 && id < 256)
      bytes += static_cast<char>(id);
  }
  bool isSpecial(int64_t id) const override { return id == 0; }
};
} // namespace

//===----------------------------------------------------------------------===//
// Opening
//===----------------------------------------------------------------------===//

llvm::Expected<std::unique_ptr<Tokenizer>> Tokenizer::open(StringRef name) {
  if (name == "bytes")
    return std::make_unique<ByteTokenizer>();
  llvm::sys::fs::file_status status;
  if (std::error_code error = llvm::sys::fs::status(name, status))
    return llvm::createStringError(error, "cannot open the tokenizer '" + name +
                                              "': " + error.message());
  if (llvm::sys::fs::is_directory(status)) {
    for (StringRef file : {"tokenizer.model", "tokenizer.json"}) {
      llvm::SmallString<128> path(name);
      llvm::sys::path::append(path, file);
      if (llvm::sys::fs::exists(path))
        return open(path);
    }
    return llvm::createStringError("the folder '" + name +
                                   "' has neither tokenizer.model nor "
                                   "tokenizer.json");
  }
  StringRef extension = llvm::sys::path::extension(name);
  if (extension == ".model")
    return openSentencePiece(name);
  if (extension == ".json")
    return openTokenizerJson(name);
  return llvm::createStringError(
      "'" + name +
      "' is of no kind of tokenizer that is known here: expected a "
      "SentencePiece file .model, a tokenizer.json, or the word bytes");
}
