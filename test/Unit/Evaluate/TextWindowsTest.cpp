//===- TextWindowsTest.cpp - Cutting texts --------------------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The two protocols, with the tokenizer of bytes, whose ids can be read.
///
//===----------------------------------------------------------------------===//

#include "miura/Evaluate/TextWindows.h"
#include <gtest/gtest.h>

using namespace miura;

namespace {
using Sequences = std::vector<std::vector<int64_t>>;

class TextWindowsTest : public testing::Test {
protected:
  TextWindows cut(llvm::StringRef text) {
    llvm::Expected<TextWindows> windows = cutText(*tokenizer, text, protocol);
    EXPECT_TRUE(!!windows);
    if (windows)
      return *windows;
    ADD_FAILURE() << llvm::toString(windows.takeError());
    return {};
  }
  std::string refuse(llvm::StringRef text) {
    llvm::Expected<TextWindows> windows = cutText(*tokenizer, text, protocol);
    EXPECT_FALSE(!!windows);
    return llvm::toString(windows.takeError());
  }
  std::unique_ptr<Tokenizer> tokenizer =
      llvm::cantFail(Tokenizer::open("bytes"));
  TextProtocol protocol;
};
} // namespace

TEST_F(TextWindowsTest, AStreamInWindows) {
  protocol.context = 3;
  TextWindows windows = cut("abcdefg");
  // One BOS at the very beginning; the rest that fills no window is dropped.
  EXPECT_EQ(windows.sequences, (Sequences{{0, 'a', 'b'}, {'c', 'd', 'e'}}));
  EXPECT_EQ(windows.available, 2);
  EXPECT_EQ(windows.getPredictions(), 4);
  protocol.windows = 1;
  EXPECT_EQ(cut("abcdefg").sequences, (Sequences{{0, 'a', 'b'}}));
  protocol.windows = 5;
  EXPECT_EQ(cut("abcdefg").sequences.size(), 2u);
  protocol.prefix.emplace();
  EXPECT_EQ(cut("abc").sequences, (Sequences{{'a', 'b', 'c'}}));
}

TEST_F(TextWindowsTest, ATextShorterThanAWindow) {
  protocol.context = 10;
  EXPECT_NE(refuse("abc").find("has 4 tokens, less than one window of 10"),
            std::string::npos);
  protocol.takesShort = true;
  EXPECT_EQ(cut("abc").sequences, (Sequences{{0, 'a', 'b', 'c'}}));
  protocol.prefix.emplace();
  EXPECT_NE(refuse("a").find("has 1 tokens"), std::string::npos);
}

TEST_F(TextWindowsTest, Documents) {
  protocol.context = 4;
  protocol.documents = {0, 10};
  llvm::StringRef text = "\n ab <|endoftext|>\xC2\xA0<|endoftext|><|endoftext|>"
                         "cdefg\xE3\x80\x80\n<|endoftext|>h";
  TextWindows windows = cut(text);
  EXPECT_EQ(windows.sequences,
            (Sequences{{0, 'a', 'b'}, {0, 'c', 'd', 'e'}, {0, 'h'}}));
  EXPECT_EQ(windows.available, 3);
  EXPECT_EQ(windows.getPredictions(), 6);
  protocol.documents = {1, 1};
  EXPECT_EQ(cut(text).sequences, (Sequences{{0, 'c', 'd', 'e'}}));
  // One token predicts nothing.
  protocol.documents = {1, 2};
  protocol.prefix = std::vector<int64_t>{};
  EXPECT_EQ(cut(text).sequences, (Sequences{{'c', 'd', 'e', 'f'}}));
  protocol.documents = {2, 1};
  EXPECT_NE(refuse(text).find("nothing to predict"), std::string::npos);
  protocol.documents = {3, 1};
  EXPECT_NE(refuse(text).find("has 3 documents, so none from number 3"),
            std::string::npos);
}

TEST_F(TextWindowsTest, OtherSeparatorsAndBeginnings) {
  protocol.context = 8;
  protocol.documents = {0, 2};
  protocol.separator = "--";
  protocol.prefix = std::vector<int64_t>{7};
  EXPECT_EQ(cut("a--b").sequences, (Sequences{{7, 'a'}, {7, 'b'}}));
}

TEST(SplitDocuments, StripsWhatPythonStrips) {
  EXPECT_EQ(splitDocuments("\x1F\xC2\x85x y\x0B\xE2\x80\xA8", "|"),
            std::vector<llvm::StringRef>{"x y"});
  // A zero-width space is none.
  EXPECT_EQ(splitDocuments("\xE2\x80\x8Bx", "|"),
            std::vector<llvm::StringRef>{"\xE2\x80\x8Bx"});
  EXPECT_TRUE(splitDocuments("  ", "|").empty());
}
