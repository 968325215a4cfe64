//===- TokenizerTest.cpp - Tokenizers of all kinds ------------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Tokenizers that the tests write themselves: what each field of the format
/// does, and what is refused, with what message. That ids equal the Python
/// packages' is tested end to end, where their models are.
///
//===----------------------------------------------------------------------===//

#include "miura/Tokenizer/Tokenizer.h"
#include "PreTokenizer.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"
#include <gtest/gtest.h>

using namespace miura;
using llvm::StringRef;

namespace {
using Ids = std::vector<int64_t>;

class TokenizerFiles : public testing::Test {
protected:
  void SetUp() override {
    ASSERT_FALSE(llvm::sys::fs::createUniqueDirectory("tokenizer", folder));
  }
  void TearDown() override { llvm::sys::fs::remove_directories(folder); }

  std::string write(StringRef name, StringRef content) {
    llvm::SmallString<128> path(folder);
    llvm::sys::path::append(path, name);
    std::error_code error;
    llvm::raw_fd_ostream(path, error) << content;
    return path.str().str();
  }
  std::unique_ptr<Tokenizer> open(StringRef json) {
    auto tokenizer = Tokenizer::open(write("tokenizer.json", json));
    EXPECT_TRUE(!!tokenizer);
    if (tokenizer)
      return std::move(*tokenizer);
    ADD_FAILURE() << llvm::toString(tokenizer.takeError());
    return nullptr;
  }
  /// The message with which a file is refused.
  std::string refuse(StringRef name, StringRef content) {
    auto tokenizer = Tokenizer::open(write(name, content));
    EXPECT_FALSE(!!tokenizer);
    std::string message = llvm::toString(tokenizer.takeError());
    EXPECT_NE(message.find(name.str()), std::string::npos) << message;
    return message;
  }
  llvm::SmallString<128> folder;
};

/// The vocabulary of all 256 bytes by their characters, ids as the bytes, and
/// `more` after them.
std::string makeVocabulary(llvm::ArrayRef<StringRef> more = {}) {
  llvm::json::Object vocabulary;
  int64_t id = 0;
  for (const std::string &character : getByteAlphabet())
    vocabulary[character] = id++;
  for (StringRef token : more)
    vocabulary[token] = id++;
  std::string text;
  llvm::raw_string_ostream(text) << llvm::json::Value(std::move(vocabulary));
  return text;
}

constexpr StringRef kByteLevel =
    R"({"type":"ByteLevel","add_prefix_space":false,"use_regex":true})";

std::string makeJson(StringRef merges = "[]", StringRef more = "",
                     llvm::ArrayRef<StringRef> tokens = {},
                     StringRef pre = kByteLevel) {
  return ("{\"model\":{\"type\":\"BPE\",\"vocab\":" + makeVocabulary(tokens) +
          ",\"merges\":" + merges + "},\"pre_tokenizer\":" + pre + more + "}")
      .str();
}

Ids encode(const Tokenizer &tokenizer, StringRef text) {
  auto ids = tokenizer.encode(text);
  EXPECT_TRUE(!!ids);
  if (ids)
    return *ids;
  ADD_FAILURE() << llvm::toString(ids.takeError());
  return {};
}
} // namespace

TEST_F(TokenizerFiles, Bytes) {
  auto tokenizer = llvm::cantFail(Tokenizer::open("bytes"));
  EXPECT_EQ(tokenizer->getVocabularySize(), 256);
  EXPECT_EQ(tokenizer->getPrefix(), llvm::ArrayRef<int64_t>(0));
  EXPECT_EQ(encode(*tokenizer, StringRef("a\xFF\0", 3)), (Ids{97, 255, 0}));
  EXPECT_EQ(tokenizer->decode({0, 97, 0xC3, 0xA9, 300, -1}), "a\xC3\xA9");
}

TEST_F(TokenizerFiles, MergesInBothSpellings) {
  for (StringRef merges :
       {R"(["h e","l l","he ll"])", R"([["h","e"],["l","l"],["he","ll"]])"}) {
    auto tokenizer = open(makeJson(merges, "", {"he", "ll", "hell"}));
    EXPECT_EQ(encode(*tokenizer, "hello"), (Ids{258, 'o'}));
    EXPECT_EQ(tokenizer->decode({258, 'o'}), "hello");
    EXPECT_TRUE(tokenizer->getPrefix().empty());
    EXPECT_FALSE(tokenizer->getBos().has_value());
  }
}

TEST_F(TokenizerFiles, MergesStayInsideOfWords) {
  // "Ġ" is the space, which goes with the word after it.
  auto tokenizer = open(makeJson(R"(["a Ġ","Ġ b"])", "", {"aĠ", "Ġb"}));
  EXPECT_EQ(encode(*tokenizer, "a b"), (Ids{'a', 257}));
}

TEST_F(TokenizerFiles, EveryByteComesBack) {
  auto tokenizer = open(makeJson());
  std::string text;
  for (int c = 0; c < 0x800; ++c)
    unicode::append(text, c);
  EXPECT_EQ(tokenizer->decode(encode(*tokenizer, text)), text);
  EXPECT_EQ(encode(*tokenizer, ""), Ids());
}

TEST_F(TokenizerFiles, TextThatIsNotUtf8IsRefused) {
  auto tokenizer = open(makeJson());
  auto ids = tokenizer->encode("abc\xFF");
  ASSERT_FALSE(!!ids);
  EXPECT_NE(llvm::toString(ids.takeError()).find("not UTF-8 at byte 3"),
            std::string::npos);
}

TEST_F(TokenizerFiles, AddedTokens) {
  auto tokenizer = open(makeJson("[]",
                                 R"(,"added_tokens":[
        {"id":256,"content":"<|x|>","special":true,"normalized":false},
        {"id":257,"content":"<|x|>y","special":false,"normalized":false},
        {"id":258,"content":"cat","single_word":true,"normalized":true},
        {"id":259,"content":"<l>","lstrip":true,"normalized":false},
        {"id":260,"content":"<r>","rstrip":true,"normalized":false}])"));
  // The longest of those that begin at one place.
  EXPECT_EQ(encode(*tokenizer, "a<|x|>yb<|x|>"), (Ids{'a', 257, 'b', 256}));
  EXPECT_EQ(encode(*tokenizer, "<|x"), (Ids{'<', '|', 'x'}));
  EXPECT_EQ(encode(*tokenizer, "cat-cats"),
            (Ids{258, '-', 'c', 'a', 't', 's'}));
  EXPECT_EQ(encode(*tokenizer, "a <l> <r> b"), (Ids{'a', 259, ' ', 260, 'b'}));
  // Whitespace that a token has taken can be a token if it takes none itself.
  auto ends = [&](StringRef options) {
    return encode(
        *open(makeJson("[]", (R"(,"added_tokens":[{"id":256,"content":"\n",)" +
                              options + R"("normalized":false}])")
                                 .str())),
        "a \n\n b");
  };
  EXPECT_EQ(ends(R"("lstrip":true,"rstrip":true,)"), (Ids{'a', 256, 'b'}));
  EXPECT_EQ(ends(R"("rstrip":true,)"), (Ids{'a', ' ', 256, 256, 'b'}));
  // Special tokens are no text.
  EXPECT_EQ(tokenizer->decode({256, 257, 258}), "<|x|>ycat");
  EXPECT_TRUE(tokenizer->isSpecial(256));
  EXPECT_FALSE(tokenizer->isSpecial(257));
}

TEST_F(TokenizerFiles, PostProcessorSaysWhatATextBeginsWith) {
  auto tokenizer = open(
      makeJson("[]",
               R"(,"added_tokens":[{"id":256,"content":"<s>","special":true}],
        "post_processor":{"type":"Sequence","processors":[
          {"type":"ByteLevel"},
          {"type":"TemplateProcessing","single":[
            {"SpecialToken":{"id":"<s>","type_id":0}},
            {"Sequence":{"id":"A","type_id":0}}],
           "special_tokens":{"<s>":{"id":"<s>","ids":[256],"tokens":["<s>"]}}}]})"));
  EXPECT_TRUE(tokenizer->addsBos());
  EXPECT_EQ(tokenizer->getPrefix(), llvm::ArrayRef<int64_t>(256));
  EXPECT_EQ(tokenizer->getBos(), 256);
  EXPECT_EQ(encode(*tokenizer, "a"), Ids{'a'});
}

TEST_F(TokenizerFiles, EndsOfText) {
  StringRef added =
      R"(,"added_tokens":[{"id":256,"content":"</s>","special":true},
                         {"id":257,"content":"<end>","special":true}])";
  EXPECT_EQ(open(makeJson("[]", added))->getEos(),
            llvm::ArrayRef<int64_t>(256));
  // The files beside it know better.
  write("tokenizer_config.json", R"({"eos_token":{"content":"<end>"}})");
  write("generation_config.json", R"({"eos_token_id":[257,5]})");
  EXPECT_EQ(open(makeJson("[]", added))->getEos(),
            llvm::ArrayRef<int64_t>({257, 5}));
}

TEST_F(TokenizerFiles, Normalizers) {
  auto tokenizer = open(makeJson(
      "[]",
      R"(,"normalizer":{"type":"Sequence","normalizers":[{"type":"NFC"},
        {"type":"Replace","pattern":{"String":"q"},"content":"k"}]})"));
  EXPECT_EQ(encode(*tokenizer, "e\xCC\x81q"), (Ids{0xC3, 0xA9, 'k'}));
}

TEST_F(TokenizerFiles, PreTokenizers) {
  // Everything merges that is in one word.
  StringRef merges = R"(["1 2","12 3","a 1","a .",". .","Ġ a"])";
  StringRef tokens[] = {"12", "123", "a1", "a.", "..", "Ġa"};
  auto ids = [&](StringRef pre, StringRef text) {
    std::string sequence =
        (R"({"type":"Sequence","pretokenizers":[)" + pre +
         R"(,{"type":"ByteLevel","add_prefix_space":false,"use_regex":false}]})")
            .str();
    return encode(*open(makeJson(merges, "", tokens, sequence)), text);
  };
  StringRef digits = R"({"type":"Digits","individual_digits":false})";
  EXPECT_EQ(ids(digits, "a123"), (Ids{'a', 257}));
  StringRef each = R"({"type":"Digits","individual_digits":true})";
  EXPECT_EQ(ids(each, "a12"), (Ids{'a', '1', '2'}));
  auto split = [](StringRef behavior, StringRef invert = "false") {
    return (R"({"type":"Split","pattern":{"Regex":"\\."},"behavior":")" +
            behavior + R"(","invert":)" + invert + "}")
        .str();
  };
  EXPECT_EQ(ids(split("Isolated"), "a..a1"), (Ids{'a', '.', '.', 258}));
  EXPECT_EQ(ids(split("Removed"), "a..a1"), (Ids{'a', 258}));
  EXPECT_EQ(ids(split("Removed", "true"), "a..a1"), (Ids{'.', '.'}));
  EXPECT_EQ(ids(split("Contiguous"), "a..a1"), (Ids{'a', 260, 258}));
  EXPECT_EQ(ids(split("MergedWithPrevious"), "a..a1"), (Ids{259, '.', 258}));
  EXPECT_EQ(ids(split("MergedWithNext"), "a..a1"), (Ids{'a', '.', '.', 258}));
  // A space is added before the text, not twice.
  StringRef spaces = R"({"type":"ByteLevel","add_prefix_space":true})";
  for (StringRef text : {"a", " a"})
    EXPECT_EQ(encode(*open(makeJson(merges, "", tokens, spaces)), text),
              Ids{261});
}

TEST_F(TokenizerFiles, UnknownCharacters) {
  std::string start = R"({"model":{"type":"BPE","vocab":{"a":0,"?":1},)"
                      R"("merges":[])";
  std::string end = ("},\"pre_tokenizer\":" + kByteLevel + "}").str();
  EXPECT_EQ(encode(*open(start + end), "axxa"), (Ids{0, 0}));
  EXPECT_EQ(encode(*open(start + R"(,"unk_token":"?")" + end), "axxa"),
            (Ids{0, 1, 1, 0}));
  EXPECT_EQ(encode(*open(start + R"(,"unk_token":"?","fuse_unk":true)" + end),
                   "axxa"),
            (Ids{0, 1, 0}));
}

TEST_F(TokenizerFiles, StreamsWholeCharacters) {
  auto tokenizer = open(makeJson());
  StreamDecoder decoder(*tokenizer);
  EXPECT_EQ(decoder.push('a'), "a");
  EXPECT_EQ(decoder.push(0xE2), "");
  EXPECT_EQ(decoder.push(0x82), "");
  EXPECT_EQ(decoder.push(0xAC), "\xE2\x82\xAC");
  EXPECT_EQ(decoder.push(0xE2), "");
  EXPECT_EQ(decoder.push('b'), "\xEF\xBF\xBD"
                               "b");
  EXPECT_EQ(decoder.push(0xF0), "");
  EXPECT_EQ(decoder.finish(), "\xEF\xBF\xBD");
}

TEST_F(TokenizerFiles, WhatIsNotThereIsRefused) {
  auto tokenizer = Tokenizer::open("/nowhere/tokenizer.model");
  ASSERT_FALSE(!!tokenizer);
  EXPECT_NE(llvm::toString(tokenizer.takeError()).find("No such file"),
            std::string::npos);
  auto folderOnly = Tokenizer::open(folder);
  ASSERT_FALSE(!!folderOnly);
  EXPECT_NE(llvm::toString(folderOnly.takeError()).find("has neither"),
            std::string::npos);
}

TEST_F(TokenizerFiles, OtherKindsAreRefusedByName) {
  struct {
    std::string json;
    const char *message;
  } cases[] = {
      {R"({"model":{"type":"Unigram","vocab":[]}})", "kind 'Unigram'"},
      {R"({"model":{"type":"WordPiece","vocab":{}}})", "kind 'WordPiece'"},
      {makeJson("[]", "", {}, R"({"type":"Metaspace"})"), "tokenizer.model"},
      {makeJson("[]", "", {}, "null"), "not bytes"},
      {makeJson("[]", "", {}, R"({"type":"BertPreTokenizer"})"),
       "pre-tokenizer 'BertPreTokenizer' is not supported"},
      {makeJson("[]", R"(,"normalizer":{"type":"Lowercase"})"),
       "normalizer 'Lowercase' is not supported"},
      {makeJson("[]", R"(,"post_processor":{"type":"New"})"),
       "post-processor 'New' is not supported"},
  };
  for (const auto &test : cases)
    EXPECT_NE(refuse("tokenizer.json", test.json).find(test.message),
              std::string::npos)
        << test.message;
  EXPECT_NE(refuse("vocab.txt", "a").find("no kind"), std::string::npos);
}

TEST_F(TokenizerFiles, DamagedJsonIsRefused) {
  std::string whole = makeJson();
  std::string deep(100000, '[');
  struct {
    std::string json;
    const char *message;
  } cases[] = {
      {"", "empty"},
      {"[]", "no object"},
      {"{}", "no object 'model'"},
      {deep, "nests too deeply"},
      {whole.substr(0, whole.size() / 2), "not JSON, or cut off"},
      {R"({"model":{"type":"BPE","merges":[]}})", "'model.vocab'"},
      {R"({"model":{"type":"BPE","vocab":{"a":0}}})", "'model.merges'"},
      {R"({"model":{"type":"BPE","vocab":{"a":-1},"merges":[]}})", "valid id"},
      {R"({"model":{"type":"BPE","vocab":{"a":99999999999},"merges":[]}})",
       "valid id"},
      {makeJson(R"(["a b"])"), "needs the token 'ab'"},
      {makeJson(R"(["ab"])"), "two tokens with a space"},
      {makeJson(R"([["a"]])"), "not a pair"},
      {makeJson(
           "[]", "", {},
           R"({"type":"Split","pattern":{"Regex":"(a"},"behavior":"Isolated"})"),
       "pattern '(a'"},
      {makeJson("[]", R"(,"added_tokens":[{"content":"x"}])"), "no 'id'"},
      {makeJson(
           "[]",
           R"(,"post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<s>"}}],"special_tokens":{}})"),
       "'special_tokens' lack"},
  };
  for (const auto &test : cases)
    EXPECT_NE(refuse("tokenizer.json", test.json).find(test.message),
              std::string::npos)
        << test.message;
}

TEST_F(TokenizerFiles, DamagedSentencePieceIsRefused) {
  EXPECT_NE(refuse("tokenizer.model", "").find("empty"), std::string::npos);
  EXPECT_NE(refuse("tokenizer.model", "hello").find("no SentencePiece model"),
            std::string::npos);
  // One piece, "<unk>" with score 0 and type 2, and nothing after it.
  std::string piece("\x0A\x0E\x0A\x05<unk>\x15\0\0\0\0\x18\x02", 16);
  EXPECT_NE(refuse("tokenizer.model", piece).find("cut off"),
            std::string::npos);
  // A normalizer whose table claims to be longer than it is.
  std::string table("\x12\x00\x1A\x06\x12\x04\xFF\xFF\x00\x00", 10);
  EXPECT_NE(refuse("tokenizer.model", piece + table).find("table"),
            std::string::npos);
}
