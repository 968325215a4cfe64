//===- PreTokenizer.cpp - From a text to words of bytes -------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The meaning of each kind and option is that of the Python package
/// `tokenizers` (its pre_tokenizers and `NormalizedString::split`). Ranges
/// stand for pieces, so that splitting copies no text.
///
//===----------------------------------------------------------------------===//

#include "PreTokenizer.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/StringSwitch.h"

using namespace miura;
using llvm::StringRef;

static llvm::Error makeError(const llvm::Twine &what) {
  return llvm::createStringError(what);
}

/// The `type` of a field, empty if it has none.
static StringRef getType(const llvm::json::Value &field) {
  const llvm::json::Object *object = field.getAsObject();
  return object ? object->getString("type").value_or("") : "";
}

//===----------------------------------------------------------------------===//
// The alphabet of bytes
//===----------------------------------------------------------------------===//

static bool isPrintable(unsigned byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte != 0xAD);
}

llvm::ArrayRef<std::string> miura::getByteAlphabet() {
  static const std::vector<std::string> alphabet = [] {
    std::vector<std::string> result(256);
    char32_t next = 256;
    for (unsigned byte = 0; byte < 256; ++byte)
      unicode::append(result[byte], isPrintable(byte) ? byte : next++);
    return result;
  }();
  return alphabet;
}

void miura::appendBytesOfToken(StringRef token, std::string &bytes) {
  static const std::vector<int> byteOf = [] {
    std::vector<int> result(512, -1);
    char32_t next = 256;
    for (unsigned byte = 0; byte < 256; ++byte)
      result[isPrintable(byte) ? byte : next++] = int(byte);
    return result;
  }();
  size_t size = bytes.size();
  for (StringRef rest = token; !rest.empty();) {
    char32_t character = unicode::takeFront(rest);
    if (character >= byteOf.size() || byteOf[character] < 0) {
      bytes.resize(size);
      bytes += token;
      return;
    }
    bytes += static_cast<char>(byteOf[character]);
  }
}

//===----------------------------------------------------------------------===//
// Normalizers
//===----------------------------------------------------------------------===//

/// A field {"String": …} or {"Regex": …}.
static llvm::Expected<Pattern> readPattern(const llvm::json::Object &object) {
  if (const llvm::json::Object *pattern = object.getObject("pattern")) {
    if (auto literal = pattern->getString("String"))
      return Pattern::compile(*literal, /*isLiteral=*/true);
    if (auto regex = pattern->getString("Regex"))
      return Pattern::compile(*regex);
  }
  return makeError("expects a field 'pattern' with 'String' or 'Regex'");
}

llvm::Expected<Normalizer> Normalizer::read(const llvm::json::Value *field) {
  Normalizer result;
  if (field && field->kind() != llvm::json::Value::Null)
    if (llvm::Error error = result.add(*field))
      return std::move(error);
  return result;
}

llvm::Error Normalizer::add(const llvm::json::Value &field) {
  using unicode::NormalForm;
  StringRef type = getType(field);
  if (type == "Sequence") {
    const llvm::json::Array *parts =
        field.getAsObject()->getArray("normalizers");
    if (!parts)
      return makeError("normalizer 'Sequence' has no list 'normalizers'");
    for (const llvm::json::Value &part : *parts)
      if (llvm::Error error = add(part))
        return error;
    return llvm::Error::success();
  }
  Step step;
  if (type == "Replace") {
    const llvm::json::Object &object = *field.getAsObject();
    llvm::Expected<Pattern> pattern = readPattern(object);
    if (!pattern)
      return makeError("normalizer 'Replace': " +
                       llvm::toString(pattern.takeError()));
    step.isReplacement = true;
    step.pattern = std::move(*pattern);
    step.content = object.getString("content").value_or("").str();
  } else {
    int form = llvm::StringSwitch<int>(type)
                   .Case("NFC", int(NormalForm::C))
                   .Case("NFD", int(NormalForm::D))
                   .Case("NFKC", int(NormalForm::KC))
                   .Case("NFKD", int(NormalForm::KD))
                   .Default(-1);
    if (form < 0)
      return makeError("the normalizer '" + type +
                       "' is not supported: byte-level tokenizers have NFC, "
                       "NFD, NFKC, NFKD, Replace or a Sequence of these");
    step.form = NormalForm(form);
  }
  steps.push_back(std::move(step));
  return llvm::Error::success();
}

llvm::Expected<std::string> Normalizer::apply(StringRef text) const {
  std::string result = text.str();
  for (const Step &step : steps) {
    if (!step.isReplacement) {
      result = unicode::normalize(result, step.form);
      continue;
    }
    std::string replaced;
    size_t done = 0;
    if (llvm::Error error =
            step.pattern.forEachMatch(result, [&](size_t begin, size_t end) {
              replaced.append(result, done, begin - done);
              replaced += step.content;
              done = end;
            }))
      return std::move(error);
    replaced.append(result, done);
    result = std::move(replaced);
  }
  return result;
}

//===----------------------------------------------------------------------===//
// Pre-tokenizers
//===----------------------------------------------------------------------===//

/// GPT-2's pattern, which ByteLevel brings along.
static constexpr StringRef kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

/// Punctuation as the Python package has it: ASCII's and that of Unicode 8, so
/// without what came later (and two characters that are no punctuation since).
static constexpr llvm::StringLiteral kPunctuation =
    R"((?![)"
    R"(\x{61D}\x{9FD}\x{A76}\x{C77}\x{C84}\x{1B4E}-\x{1B4F})"
    R"(\x{1B7D}-\x{1B7F}\x{2E43}-\x{2E4F}\x{2E52}-\x{2E5D}\x{10D6E})"
    R"(\x{10EAD}\x{10F55}-\x{10F59}\x{10F86}-\x{10F89}\x{113D4}-\x{113D5})"
    R"(\x{113D7}-\x{113D8}\x{1144B}-\x{1144F}\x{1145A}-\x{1145B}\x{1145D})"
    R"(\x{11660}-\x{1166C}\x{116B9}\x{1183B}\x{11944}-\x{11946}\x{119E2})"
    R"(\x{11A3F}-\x{11A46}\x{11A9A}-\x{11A9C}\x{11A9E}-\x{11AA2})"
    R"(\x{11B00}-\x{11B09}\x{11BE1}\x{11C41}-\x{11C45}\x{11C70}-\x{11C71})"
    R"(\x{11EF7}-\x{11EF8}\x{11F43}-\x{11F4F}\x{11FFF}\x{12FF1}-\x{12FF2})"
    R"(\x{16D6D}-\x{16D6F}\x{16E97}-\x{16E9A}\x{16FE2}\x{1E5FF})"
    R"(\x{1E95E}-\x{1E95F})"
    R"(])[!-/:-@\[-`{-~\p{P}\x{166D}\x{111C9}])";

llvm::Expected<PreTokenizer>
PreTokenizer::read(const llvm::json::Value *field) {
  PreTokenizer result;
  if (field && field->kind() != llvm::json::Value::Null)
    if (llvm::Error error = result.add(*field))
      return std::move(error);
  for (const Step &step : result.steps)
    if (step.kind == Step::MapBytes)
      return result;
  return makeError(
      "its merges are over characters, not bytes (no pre-tokenizer "
      "'ByteLevel'), which is not supported: if it was converted "
      "from SentencePiece, give the model's tokenizer.model");
}

llvm::Error PreTokenizer::addSplit(StringRef pattern, Behavior behavior) {
  llvm::Expected<Pattern> compiled = Pattern::compile(pattern);
  if (!compiled)
    return compiled.takeError();
  Step step;
  step.pattern = std::move(*compiled);
  step.behavior = behavior;
  steps.push_back(std::move(step));
  return llvm::Error::success();
}

llvm::Error PreTokenizer::add(const llvm::json::Value &field) {
  StringRef type = getType(field);
  const llvm::json::Object *object = field.getAsObject();
  auto behaviorOf = [](StringRef name) -> std::optional<Behavior> {
    return llvm::StringSwitch<std::optional<Behavior>>(name)
        .Case("Removed", Behavior::Removed)
        .Case("Isolated", Behavior::Isolated)
        .Case("MergedWithPrevious", Behavior::MergedWithPrevious)
        .Case("MergedWithNext", Behavior::MergedWithNext)
        .Case("Contiguous", Behavior::Contiguous)
        .Default(std::nullopt);
  };
  if (type == "Sequence") {
    const llvm::json::Array *parts = object->getArray("pretokenizers");
    if (!parts)
      return makeError("pre-tokenizer 'Sequence' has no list 'pretokenizers'");
    for (const llvm::json::Value &part : *parts)
      if (llvm::Error error = add(part))
        return error;
    return llvm::Error::success();
  }
  if (type == "ByteLevel") {
    // The space comes before the split, the mapping after it.
    if (object->getBoolean("add_prefix_space").value_or(true))
      steps.emplace_back().kind = Step::AddSpace;
    if (object->getBoolean("use_regex").value_or(true))
      if (llvm::Error error = addSplit(kGpt2Pattern, Behavior::Isolated))
        return error;
    steps.emplace_back().kind = Step::MapBytes;
    return llvm::Error::success();
  }
  if (type == "Split") {
    llvm::Expected<Pattern> pattern = readPattern(*object);
    if (!pattern)
      return makeError("pre-tokenizer 'Split': " +
                       llvm::toString(pattern.takeError()));
    StringRef name = object->getString("behavior").value_or("");
    std::optional<Behavior> behavior = behaviorOf(name);
    if (!behavior)
      return makeError("pre-tokenizer 'Split' has the unknown behavior '" +
                       name + "'");
    Step step;
    step.pattern = std::move(*pattern);
    step.behavior = *behavior;
    step.isInverted = object->getBoolean("invert").value_or(false);
    steps.push_back(std::move(step));
    return llvm::Error::success();
  }
  if (type == "Digits")
    return addSplit(R"(\p{N})",
                    object->getBoolean("individual_digits").value_or(false)
                        ? Behavior::Isolated
                        : Behavior::Contiguous);
  if (type == "Punctuation") {
    StringRef name = object->getString("behavior").value_or("Isolated");
    std::optional<Behavior> behavior = behaviorOf(name);
    if (!behavior)
      return makeError(
          "pre-tokenizer 'Punctuation' has the unknown behavior '" + name +
          "'");
    return addSplit(kPunctuation, *behavior);
  }
  if (type == "Metaspace")
    return makeError(
        "its pre-tokenizer 'Metaspace' is SentencePiece's, which is not "
        "supported in this format: give the model's tokenizer.model");
  return makeError("the pre-tokenizer '" + type +
                   "' is not supported: byte-level tokenizers have ByteLevel, "
                   "Split, Digits, Punctuation or a Sequence of these");
}

void PreTokenizer::addSpaces(Pieces &pieces) {
  Pieces result;
  result.text.reserve(pieces.text.size() + pieces.ranges.size());
  for (auto [begin, end] : pieces.ranges) {
    size_t start = result.text.size();
    if (pieces.text[begin] != ' ')
      result.text += ' ';
    result.text.append(pieces.text, begin, end - begin);
    result.ranges.push_back({start, result.text.size()});
  }
  pieces = std::move(result);
}

void PreTokenizer::mapBytes(Pieces &pieces) {
  llvm::ArrayRef<std::string> alphabet = getByteAlphabet();
  Pieces result;
  result.text.reserve(pieces.text.size() * 5 / 4);
  result.ranges.reserve(pieces.ranges.size());
  for (auto [begin, end] : pieces.ranges) {
    size_t start = result.text.size();
    for (size_t i = begin; i < end; ++i)
      result.text += alphabet[static_cast<unsigned char>(pieces.text[i])];
    result.ranges.push_back({start, result.text.size()});
  }
  pieces = std::move(result);
}

llvm::Error PreTokenizer::split(Pieces &pieces, const Step &step) {
  struct Part {
    size_t begin, end;
    bool isMatch;
  };
  std::vector<std::pair<size_t, size_t>> result;
  std::vector<Part> parts;
  for (const auto &range : pieces.ranges) {
    size_t begin = range.first;
    StringRef text = StringRef(pieces.text).slice(begin, range.second);
    parts.clear();
    size_t done = 0;
    auto add = [&](size_t from, size_t to, bool isMatch) {
      parts.push_back({begin + from, begin + to, isMatch != step.isInverted});
    };
    if (llvm::Error error =
            step.pattern.forEachMatch(text, [&](size_t from, size_t to) {
              if (from > done)
                add(done, from, false);
              add(from, to, true);
              done = to;
            }))
      return error;
    if (done < text.size())
      add(done, text.size(), false);

    size_t first = result.size();
    bool previous = false;
    switch (step.behavior) {
    case Behavior::Isolated:
      for (const Part &part : parts)
        result.push_back({part.begin, part.end});
      break;
    case Behavior::Removed:
      for (const Part &part : parts)
        if (!part.isMatch)
          result.push_back({part.begin, part.end});
      break;
    case Behavior::Contiguous:
      for (const Part &part : parts) {
        if (part.isMatch == previous && result.size() > first)
          result.back().second = part.end;
        else
          result.push_back({part.begin, part.end});
        previous = part.isMatch;
      }
      break;
    case Behavior::MergedWithPrevious:
      for (const Part &part : parts) {
        if (part.isMatch && !previous && result.size() > first)
          result.back().second = part.end;
        else
          result.push_back({part.begin, part.end});
        previous = part.isMatch;
      }
      break;
    case Behavior::MergedWithNext:
      for (const Part &part : llvm::reverse(parts)) {
        if (part.isMatch && !previous && result.size() > first)
          result.back().first = part.begin;
        else
          result.push_back({part.begin, part.end});
        previous = part.isMatch;
      }
      std::reverse(result.begin() + first, result.end());
      break;
    }
  }
  llvm::erase_if(result,
                 [](auto range) { return range.first == range.second; });
  pieces.ranges = std::move(result);
  return llvm::Error::success();
}

llvm::Expected<Pieces> PreTokenizer::apply(std::string text) const {
  Pieces pieces;
  pieces.text = std::move(text);
  if (pieces.text.empty())
    return pieces;
  pieces.ranges.push_back({0, pieces.text.size()});
  for (const Step &step : steps) {
    if (step.kind == Step::AddSpace)
      addSpaces(pieces);
    else if (step.kind == Step::MapBytes)
      mapBytes(pieces);
    else if (llvm::Error error = split(pieces, step))
      return std::move(error);
  }
  return pieces;
}
