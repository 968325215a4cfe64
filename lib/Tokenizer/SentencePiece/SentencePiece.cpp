//===- SentencePiece.cpp - SentencePiece models ---------------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// SentencePiece's `.model` through its own library. The library may throw and
/// trusts what it parses, so this file is compiled with exceptions, catches all
/// of them, and checks the frame of the file (the protocol buffer's wire format
/// and the table of the normalizer) before the library sees it.
///
//===----------------------------------------------------------------------===//

#include "../Kinds.h"
#include "llvm/Support/Endian.h"
#include "llvm/Support/MemoryBuffer.h"
#include <exception>
#include <sentencepiece_processor.h>

using namespace miura;
using llvm::StringRef;

static llvm::Error makeError(const llvm::Twine &what) {
  return llvm::createStringError(what);
}

//===----------------------------------------------------------------------===//
// Checks
//===----------------------------------------------------------------------===//

namespace {
/// Reads the fields of a protocol buffer's message one after another.
class WireReader {
public:
  explicit WireReader(StringRef message) : rest(message) {}

  /// The next field; false at the end and where the message is broken.
  bool next() {
    uint64_t key, size;
    if (rest.empty())
      return false;
    if (!readNumber(key) || key >> 3 == 0)
      return fail();
    field = key >> 3;
    content = {};
    switch (key & 7) {
    case 0:
      return readNumber(number) || fail();
    case 1:
      return skip(8);
    case 2:
      if (!readNumber(size) || size > rest.size())
        return fail();
      content = rest.take_front(size);
      rest = rest.drop_front(size);
      return true;
    case 5:
      return skip(4);
    default:
      return fail();
    }
  }

  uint64_t field = 0, number = 0;
  StringRef content;
  bool isBroken = false;

private:
  bool fail() {
    isBroken = true;
    return false;
  }
  bool skip(size_t count) {
    if (count > rest.size())
      return fail();
    rest = rest.drop_front(count);
    return true;
  }
  bool readNumber(uint64_t &value) {
    value = 0;
    for (unsigned shift = 0; shift < 64 && !rest.empty(); shift += 7) {
      unsigned char byte = rest.front();
      rest = rest.drop_front();
      value |= uint64_t(byte & 0x7F) << shift;
      if (!(byte & 0x80))
        return true;
    }
    return false;
  }
  StringRef rest;
};
} // namespace

/// The table of the normalizer: the size of a double-array trie, the trie, and
/// the strings that its values point to, each ended by 0. The library follows
/// offsets without looking whether they stay inside.
static bool isSoundCharsMap(StringRef map) {
  using llvm::support::endian::read32le;
  if (map.empty())
    return true;
  if (map.size() < 4)
    return false;
  uint64_t trieBytes = read32le(map.data());
  if (trieBytes % 4 || trieBytes < 4 || trieBytes > map.size() - 4)
    return false;
  StringRef strings = map.drop_front(4 + trieBytes);
  if (!strings.empty() && strings.back() != 0)
    return false;
  uint64_t units = trieBytes / 4;
  for (uint64_t i = 0; i < units; ++i) {
    uint32_t unit = read32le(map.data() + 4 + 4 * i);
    if (unit >> 31) { // A value: an offset into the strings.
      if ((unit & 0x7FFFFFFF) >= strings.size())
        return false;
      continue;
    }
    uint64_t offset = uint64_t(unit >> 10) << ((unit & (1U << 9)) >> 6);
    // A label is a byte, so the children lie in one block of 256.
    if (uint64_t first = (i ^ offset) & ~uint64_t(255);
        unit != 0 && first + 256 > units)
      return false;
  }
  return true;
}

/// Empty, or what is wrong with a serialized ModelProto (its fields: 1 pieces,
/// 2 trainer_spec, 3 normalizer_spec).
static std::string findDamage(StringRef bytes) {
  if (bytes.empty())
    return "the file is empty";
  WireReader model(bytes);
  bool hasPieces = false, hasTrainer = false, hasNormalizer = false;
  while (model.next()) {
    hasPieces |= model.field == 1;
    hasTrainer |= model.field == 2;
    hasNormalizer |= model.field == 3;
    WireReader part(model.content);
    while (model.field <= 3 && part.next())
      if (model.field == 3 && part.field == 2 && !isSoundCharsMap(part.content))
        return "the table of its normalizer is damaged";
    if (part.isBroken)
      return "the file is damaged";
  }
  if (!hasPieces)
    return "is no SentencePiece model";
  if (model.isBroken)
    return "the file is cut off or damaged";
  if (!hasTrainer || !hasNormalizer)
    return "the file is cut off: what follows its pieces is missing";
  return "";
}

//===----------------------------------------------------------------------===//
// The tokenizer
//===----------------------------------------------------------------------===//

namespace {
class SentencePieceTokenizer : public Tokenizer {
public:
  llvm::Error load(StringRef bytes);
  llvm::Expected<std::vector<int64_t>> encode(StringRef text) const override;
  std::string decode(llvm::ArrayRef<int64_t> ids) const override;
  void appendBytes(int64_t id, bool isFirst, std::string &bytes) const override;
  bool isSpecial(int64_t id) const override {
    return !hasToken(id) || processor.IsControl(static_cast<int>(id));
  }

private:
  bool hasToken(int64_t id) const { return id >= 0 && id < vocabularySize; }
  sentencepiece::SentencePieceProcessor processor;
};
} // namespace

/// Runs `body`; what it throws becomes an error.
template <typename Body> static llvm::Error guard(Body body) {
  try {
    return body();
  } catch (const std::exception &exception) {
    return makeError(llvm::Twine("SentencePiece failed: ") + exception.what());
  } catch (...) {
    return makeError("SentencePiece failed");
  }
}

llvm::Error SentencePieceTokenizer::load(StringRef bytes) {
  return guard([&]() -> llvm::Error {
    auto status = processor.LoadFromSerializedProto(
        absl::string_view(bytes.data(), bytes.size()));
    if (!status.ok())
      return makeError("SentencePiece cannot read it: " + status.ToString());
    vocabularySize = processor.GetPieceSize();
    replacesEachByte = true;
    if (int id = processor.bos_id(); id >= 0) {
      bos = id;
      prefix = {id};
    }
    if (int id = processor.eos_id(); id >= 0)
      eos = {id};
    return llvm::Error::success();
  });
}

llvm::Expected<std::vector<int64_t>>
SentencePieceTokenizer::encode(StringRef text) const {
  std::vector<int64_t> result;
  if (llvm::Error error = guard([&]() -> llvm::Error {
        std::vector<int> ids;
        auto status =
            processor.Encode(absl::string_view(text.data(), text.size()), &ids);
        if (!status.ok())
          return makeError("SentencePiece: " + status.ToString());
        result.assign(ids.begin(), ids.end());
        return llvm::Error::success();
      }))
    return std::move(error);
  return result;
}

std::string SentencePieceTokenizer::decode(llvm::ArrayRef<int64_t> ids) const {
  std::string text;
  std::vector<int> known;
  for (int64_t id : ids)
    if (hasToken(id))
      known.push_back(static_cast<int>(id));
  llvm::consumeError(guard([&]() -> llvm::Error {
    auto status = processor.Decode(known, &text);
    return status.ok() ? llvm::Error::success() : makeError("");
  }));
  return text;
}

void SentencePieceTokenizer::appendBytes(int64_t id, bool isFirst,
                                         std::string &bytes) const {
  if (!hasToken(id))
    return;
  if (processor.IsByte(static_cast<int>(id))) {
    // Its piece is <0xE2>.
    unsigned byte = 0;
    const std::string &piece = processor.IdToPiece(static_cast<int>(id));
    if (!StringRef(piece).drop_front(3).take_front(2).getAsInteger(16, byte))
      bytes += static_cast<char>(byte);
    return;
  }
  // The library knows what becomes of a space that begins a text; in the middle
  // of one it is kept, which the library does not do for a token alone.
  if (isFirst || processor.IsControl(static_cast<int>(id)) ||
      processor.IsUnknown(static_cast<int>(id))) {
    bytes += decode(id);
    return;
  }
  StringRef rest = processor.IdToPiece(static_cast<int>(id));
  constexpr StringRef space = "\xE2\x96\x81"; // ▁
  while (!rest.empty()) {
    size_t end = rest.find(space);
    bytes += rest.take_front(end);
    if (end == StringRef::npos)
      break;
    bytes += ' ';
    rest = rest.drop_front(end + space.size());
  }
}

llvm::Expected<std::unique_ptr<Tokenizer>>
miura::openSentencePiece(StringRef path) {
  auto buffer = llvm::MemoryBuffer::getFile(path);
  if (!buffer)
    return makeError("cannot read the tokenizer '" + path +
                     "': " + buffer.getError().message());
  StringRef bytes = (*buffer)->getBuffer();
  if (std::string damage = findDamage(bytes); !damage.empty())
    return makeError("tokenizer '" + path + "': " + damage);
  auto tokenizer = std::make_unique<SentencePieceTokenizer>();
  if (llvm::Error error = tokenizer->load(bytes))
    return makeError("tokenizer '" + path +
                     "': " + llvm::toString(std::move(error)));
  return std::unique_ptr<Tokenizer>(std::move(tokenizer));
}
