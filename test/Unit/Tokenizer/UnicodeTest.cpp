//===- UnicodeTest.cpp - Characters of texts ------------------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// UTF-8 that arrives in pieces and broken, classes of characters, normal
/// forms.
///
//===----------------------------------------------------------------------===//

#include "Unicode.h"
#include <gtest/gtest.h>

using namespace miura;

static const char kReplacement[] = "\xEF\xBF\xBD";

static std::string take(std::string bytes, bool eachByte, bool isEnd = true) {
  std::string text;
  unicode::takeText(bytes, text, eachByte, isEnd);
  return text;
}

TEST(Unicode, FindsWhatIsNotUtf8) {
  EXPECT_EQ(unicode::findInvalid("a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80"),
            llvm::StringRef::npos);
  EXPECT_EQ(unicode::findInvalid(""), llvm::StringRef::npos);
  EXPECT_EQ(unicode::findInvalid("ab\xFF"), 2u);
  EXPECT_EQ(unicode::findInvalid("\xC0\x80"), 0u);         // Overlong.
  EXPECT_EQ(unicode::findInvalid("x\xED\xA0\x80"), 1u);    // A surrogate.
  EXPECT_EQ(unicode::findInvalid("\xF4\x90\x80\x80"), 0u); // Above U+10FFFF.
  EXPECT_EQ(unicode::findInvalid("ab\xE2\x82"), 2u);       // Cut off.
}

TEST(Unicode, HoldsBackWhatIsNotComplete) {
  std::string bytes = "a\xF0\x9F\x98", text;
  unicode::takeText(bytes, text, false, /*isEnd=*/false);
  EXPECT_EQ(text, "a");
  EXPECT_EQ(bytes, "\xF0\x9F\x98");
  bytes += "\x80";
  unicode::takeText(bytes, text, false, /*isEnd=*/false);
  EXPECT_EQ(text, "a\xF0\x9F\x98\x80");
  EXPECT_EQ(bytes, "");
}

TEST(Unicode, ReplacesBytesOrMaximalParts) {
  EXPECT_EQ(take("\xF0\x9F\x98", false), kReplacement);
  EXPECT_EQ(take("\xF0\x9F\x98", true),
            std::string(kReplacement) + kReplacement + kReplacement);
  EXPECT_EQ(take("\xE2\x82"
                 "A",
                 false),
            std::string(kReplacement) + "A");
  EXPECT_EQ(take("\xED\xA0\x80", false),
            std::string(kReplacement) + kReplacement + kReplacement);
}

TEST(Unicode, CountsSpaceAtBothEnds) {
  EXPECT_EQ(unicode::countLeadingSpace(" \t\xE3\x80\x80x "), 5u);
  EXPECT_EQ(unicode::countTrailingSpace(" x\xC2\xA0\n"), 3u);
  EXPECT_EQ(unicode::countTrailingSpace("  "), 2u);
  EXPECT_EQ(unicode::countLeadingSpace(""), 0u);
  // A zero-width space is none.
  EXPECT_EQ(unicode::countLeadingSpace("\xE2\x80\x8B"), 0u);
}

TEST(Unicode, KnowsWords) {
  EXPECT_TRUE(unicode::startsWithWord("\xC3\xA9!"));
  EXPECT_TRUE(unicode::endsWithWord("!_"));
  EXPECT_FALSE(unicode::endsWithWord("a-"));
  EXPECT_FALSE(unicode::startsWithWord(""));
}

TEST(Unicode, ComposesAndDecomposes) {
  EXPECT_EQ(unicode::normalize("e\xCC\x81", unicode::NormalForm::C),
            "\xC3\xA9");
  EXPECT_EQ(unicode::normalize("\xC3\xA9", unicode::NormalForm::D),
            "e\xCC\x81");
  EXPECT_EQ(unicode::normalize("\xEF\xAC\x81", unicode::NormalForm::KC), "fi");
  EXPECT_EQ(unicode::normalize("\xEF\xAC\x81", unicode::NormalForm::C),
            "\xEF\xAC\x81");
  // What Unicode 10 and later decompose stands for itself, as in the Python
  // package, and what is around it does not.
  EXPECT_EQ(unicode::normalize("e\xCC\x81\xF0\x9E\x80\xB0\xC2\xB2",
                               unicode::NormalForm::KC),
            "\xC3\xA9\xF0\x9E\x80\xB0"
            "2");
  // A zero is a character like others.
  EXPECT_EQ(unicode::normalize(llvm::StringRef("\xC3\xA9\0x", 4),
                               unicode::NormalForm::C),
            std::string("\xC3\xA9\0x", 4));
}
