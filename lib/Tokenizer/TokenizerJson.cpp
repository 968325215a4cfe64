//===- TokenizerJson.cpp - Byte-level BPE from a tokenizer.json -----------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The format of the Python package `tokenizers`, of the kind that GPT-2,
/// LLaMA 3, Qwen and SmolLM have: a text is cut at added tokens, normalized,
/// cut into words by patterns, its bytes written as characters, and each word
/// merged. Every other kind is refused with its name.
///
//===----------------------------------------------------------------------===//

#include "AddedTokens.h"
#include "BytePairEncoding.h"
#include "Kinds.h"
#include "PreTokenizer.h"
#include "llvm/ADT/DenseSet.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"

using namespace miura;
using llvm::StringRef;

static llvm::Error makeError(const llvm::Twine &what) {
  return llvm::createStringError(what);
}

namespace {
class JsonTokenizer : public Tokenizer {
public:
  llvm::Error read(const llvm::json::Object &root);
  void findEnds(StringRef path);

  llvm::Expected<std::vector<int64_t>> encode(StringRef text) const override;
  void appendBytes(int64_t id, bool isFirst, std::string &bytes) const override;
  bool isSpecial(int64_t id) const override {
    return id >= 0 && id <= UINT32_MAX && specialIds.contains(id);
  }

private:
  using WordCache = llvm::StringMap<std::vector<uint32_t>>;
  llvm::Error readModel(const llvm::json::Object &model);
  llvm::Error readMerge(const llvm::json::Value &merge, uint32_t rank);
  llvm::Error readAddedTokens(const llvm::json::Array &list);
  llvm::Error readPostProcessor(const llvm::json::Value &field);
  void setToken(uint32_t id, StringRef content);
  std::optional<uint32_t> findToken(StringRef content) const;
  llvm::Error encodePiece(StringRef text, WordCache &cache,
                          std::vector<int64_t> &ids) const;
  void encodeWord(StringRef word, std::vector<uint32_t> &symbols) const;

  llvm::StringMap<uint32_t> vocabulary;
  std::vector<std::string> tokens; // by id
  MergeTable merges;
  bool ignoresMerges = false, fusesUnknown = false;
  std::optional<uint32_t> unknown;
  Normalizer normalizer;
  PreTokenizer preTokenizer;
  AddedTokenSet rawTokens, normalizedTokens;
  llvm::StringMap<uint32_t> addedIds;
  llvm::DenseSet<uint32_t> specialIds;
};
} // namespace

//===----------------------------------------------------------------------===//
// Reading
//===----------------------------------------------------------------------===//

/// No vocabulary is larger; a larger id is damage.
static constexpr int64_t kMaxId = 1 << 26;

void JsonTokenizer::setToken(uint32_t id, StringRef content) {
  if (tokens.size() <= id)
    tokens.resize(id + 1);
  tokens[id] = content.str();
}

std::optional<uint32_t> JsonTokenizer::findToken(StringRef content) const {
  if (auto it = addedIds.find(content); it != addedIds.end())
    return it->second;
  if (auto it = vocabulary.find(content); it != vocabulary.end())
    return it->second;
  return std::nullopt;
}

llvm::Error JsonTokenizer::readMerge(const llvm::json::Value &merge,
                                     uint32_t rank) {
  StringRef left, right;
  std::string where = "model.merges[" + std::to_string(rank) + "]";
  if (auto text = merge.getAsString()) {
    std::tie(left, right) = text->split(' ');
    if (right.empty() || right.contains(' '))
      return makeError(where + " is '" + *text +
                       "', not two tokens with a space between them");
  } else if (const llvm::json::Array *pair = merge.getAsArray();
             pair && pair->size() == 2 && (*pair)[0].getAsString() &&
             (*pair)[1].getAsString()) {
    left = *(*pair)[0].getAsString();
    right = *(*pair)[1].getAsString();
  } else {
    return makeError(where + " is not a pair of tokens");
  }
  uint32_t ids[3];
  std::string joined = (left + right).str();
  StringRef parts[] = {left, right, joined};
  for (unsigned i = 0; i < 3; ++i) {
    auto it = vocabulary.find(parts[i]);
    if (it == vocabulary.end())
      return makeError(where + " needs the token '" + parts[i] +
                       "', which is not in model.vocab");
    ids[i] = it->second;
  }
  merges.add(ids[0], ids[1], {rank, ids[2]});
  return llvm::Error::success();
}

llvm::Error JsonTokenizer::readModel(const llvm::json::Object &model) {
  const llvm::json::Object *vocab = model.getObject("vocab");
  const llvm::json::Array *list = model.getArray("merges");
  // Old files do not name the kind of what has merges.
  StringRef type = model.getString("type").value_or(list ? "BPE" : "");
  if (type != "BPE") {
    StringRef remedy = type == "Unigram"
                           ? "give the model's SentencePiece file "
                             "(tokenizer.model or spiece.model)"
                           : "only byte-level BPE is read from this format";
    return makeError("the tokenizer is of the kind '" + type +
                     "', which is not supported: " + remedy);
  }
  if (!vocab)
    return makeError("has no object 'model.vocab'");
  if (!list)
    return makeError("has no list 'model.merges'");
  for (StringRef field : {"continuing_subword_prefix", "end_of_word_suffix"})
    if (!model.getString(field).value_or("").empty())
      return makeError("'model." + field + "' is '" + *model.getString(field) +
                       "', which byte-level BPE does not have; this kind is "
                       "not supported");
  if (model.getNumber("dropout").value_or(0) != 0)
    return makeError("'model.dropout' makes ids random; set it to null");
  ignoresMerges = model.getBoolean("ignore_merges").value_or(false);
  fusesUnknown = model.getBoolean("fuse_unk").value_or(false);

  for (const auto &[content, value] : *vocab) {
    std::optional<int64_t> id = value.getAsInteger();
    if (!id || *id < 0 || *id > kMaxId)
      return makeError("model.vocab has no valid id for '" +
                       StringRef(content) + "'");
    vocabulary[content] = *id;
    setToken(*id, content);
  }
  if (vocabulary.empty())
    return makeError("model.vocab is empty");
  if (auto name = model.getString("unk_token")) {
    auto it = vocabulary.find(*name);
    if (it != vocabulary.end())
      unknown = it->second;
  }
  merges.reserve(list->size());
  for (size_t rank = 0; rank < list->size(); ++rank)
    if (llvm::Error error = readMerge((*list)[rank], rank))
      return error;
  return llvm::Error::success();
}

llvm::Error JsonTokenizer::readAddedTokens(const llvm::json::Array &list) {
  int64_t last = -1;
  for (size_t i = 0; i < list.size(); ++i) {
    std::string where = "added_tokens[" + std::to_string(i) + "]";
    const llvm::json::Object *object = list[i].getAsObject();
    std::optional<StringRef> content;
    if (object)
      content = object->getString("content");
    if (!content || !object->getInteger("id"))
      return makeError(where + " has no 'content' or no 'id'");
    AddedToken token;
    token.content = content->str();
    token.isSpecial = object->getBoolean("special").value_or(false);
    token.isNormalized =
        object->getBoolean("normalized").value_or(!token.isSpecial);
    token.isWord = object->getBoolean("single_word").value_or(false);
    token.takesLeft = object->getBoolean("lstrip").value_or(false);
    token.takesRight = object->getBoolean("rstrip").value_or(false);
    if (token.content.empty())
      continue;
    // The Python package numbers added tokens anew: the id of the file only
    // says in which order.
    if (std::optional<uint32_t> known = findToken(token.content))
      token.id = *known;
    else
      token.id = std::max<int64_t>(last + 1, vocabulary.size());
    last = std::max<int64_t>(last, token.id);
    if (token.id > kMaxId)
      return makeError(where + " has the id " + llvm::Twine(token.id));
    addedIds[token.content] = token.id;
    setToken(token.id, token.content);
    if (token.isSpecial)
      specialIds.insert(token.id);
    if (token.isNormalized && !normalizer.empty()) {
      llvm::Expected<std::string> normalized = normalizer.apply(token.content);
      if (!normalized)
        return normalized.takeError();
      token.content = std::move(*normalized);
    }
    (token.isNormalized ? normalizedTokens : rawTokens).add(std::move(token));
  }
  return llvm::Error::success();
}

llvm::Error JsonTokenizer::readPostProcessor(const llvm::json::Value &field) {
  const llvm::json::Object *object = field.getAsObject();
  StringRef type = object ? object->getString("type").value_or("") : "";
  if (type == "ByteLevel")
    return llvm::Error::success(); // Moves offsets only.
  if (type == "Sequence") {
    const llvm::json::Array *parts = object->getArray("processors");
    if (!parts)
      return makeError("post-processor 'Sequence' has no list 'processors'");
    for (const llvm::json::Value &part : *parts)
      if (llvm::Error error = readPostProcessor(part))
        return error;
    return llvm::Error::success();
  }
  if (type == "RobertaProcessing" || type == "BertProcessing") {
    const llvm::json::Array *cls = object->getArray("cls");
    if (!cls || cls->size() != 2 || !(*cls)[1].getAsInteger())
      return makeError("post-processor '" + type + "' has no 'cls'");
    prefix.push_back(*(*cls)[1].getAsInteger());
    return llvm::Error::success();
  }
  if (type != "TemplateProcessing")
    return makeError("the post-processor '" + type + "' is not supported");

  const llvm::json::Array *single = object->getArray("single");
  if (!single)
    return makeError("post-processor 'TemplateProcessing' has no 'single'");
  for (const llvm::json::Value &part : *single) {
    const llvm::json::Object *special =
        part.getAsObject() ? part.getAsObject()->getObject("SpecialToken")
                           : nullptr;
    if (!special)
      break; // The text; what comes after it ends a text.
    StringRef name = special->getString("id").value_or("");
    const llvm::json::Object *table = object->getObject("special_tokens");
    const llvm::json::Object *entry = table ? table->getObject(name) : nullptr;
    const llvm::json::Array *ids = entry ? entry->getArray("ids") : nullptr;
    if (!ids)
      return makeError("post-processor 'TemplateProcessing' names the token '" +
                       name + "', which its 'special_tokens' lack");
    for (const llvm::json::Value &id : *ids) {
      if (!id.getAsInteger() || *id.getAsInteger() < 0)
        return makeError("post-processor 'TemplateProcessing' has no valid id "
                         "for '" +
                         name + "'");
      prefix.push_back(*id.getAsInteger());
    }
  }
  return llvm::Error::success();
}

llvm::Error JsonTokenizer::read(const llvm::json::Object &root) {
  const llvm::json::Object *model = root.getObject("model");
  if (!model)
    return makeError("has no object 'model', so it is no tokenizer.json");
  if (llvm::Error error = readModel(*model))
    return error;
  llvm::Expected<PreTokenizer> pre =
      PreTokenizer::read(root.get("pre_tokenizer"));
  if (!pre)
    return pre.takeError();
  preTokenizer = std::move(*pre);
  llvm::Expected<Normalizer> norm = Normalizer::read(root.get("normalizer"));
  if (!norm)
    return norm.takeError();
  normalizer = std::move(*norm);
  if (const llvm::json::Array *added = root.getArray("added_tokens"))
    if (llvm::Error error = readAddedTokens(*added))
      return error;
  if (const llvm::json::Value *post = root.get("post_processor");
      post && post->kind() != llvm::json::Value::Null)
    if (llvm::Error error = readPostProcessor(*post))
      return error;
  vocabularySize = tokens.size();
  if (!prefix.empty())
    bos = prefix.front();
  return llvm::Error::success();
}

/// Reads a file as JSON, null if that cannot be done.
static llvm::json::Value readJsonFile(StringRef folder, StringRef name) {
  llvm::SmallString<128> path(folder);
  llvm::sys::path::append(path, name);
  auto buffer = llvm::MemoryBuffer::getFile(path);
  if (!buffer || (*buffer)->getBufferSize() > (1 << 20))
    return nullptr;
  llvm::Expected<llvm::json::Value> value =
      llvm::json::parse((*buffer)->getBuffer());
  if (value)
    return std::move(*value);
  llvm::consumeError(value.takeError());
  return nullptr;
}

/// The format does not say what ends a text: the files that come beside it do,
/// else the names under which it is known.
void JsonTokenizer::findEnds(StringRef path) {
  StringRef folder = llvm::sys::path::parent_path(path);
  auto add = [&](std::optional<int64_t> id) {
    if (id && *id >= 0 && *id < vocabularySize && !llvm::is_contained(eos, *id))
      eos.push_back(*id);
  };
  llvm::json::Value config = readJsonFile(folder, "tokenizer_config.json");
  if (const llvm::json::Object *object = config.getAsObject())
    if (const llvm::json::Value *token = object->get("eos_token")) {
      std::optional<StringRef> name = token->getAsString();
      if (!name && token->getAsObject())
        name = token->getAsObject()->getString("content");
      if (name)
        add(findToken(*name));
    }
  llvm::json::Value generation = readJsonFile(folder, "generation_config.json");
  if (const llvm::json::Object *object = generation.getAsObject())
    if (const llvm::json::Value *id = object->get("eos_token_id")) {
      add(id->getAsInteger());
      if (const llvm::json::Array *several = id->getAsArray())
        for (const llvm::json::Value &one : *several)
          add(one.getAsInteger());
    }
  if (!eos.empty())
    return;
  for (StringRef name :
       {"</s>", "<|im_end|>", "<|eot_id|>", "<|end_of_text|>", "<|endoftext|>",
        "<|end|>", "<|eom_id|>", "<eos>", "<end_of_turn>"})
    if (auto it = addedIds.find(name); it != addedIds.end())
      add(it->second);
}

//===----------------------------------------------------------------------===//
// Encoding
//===----------------------------------------------------------------------===//

void JsonTokenizer::encodeWord(StringRef word,
                               std::vector<uint32_t> &symbols) const {
  symbols.clear();
  if (ignoresMerges)
    if (auto it = vocabulary.find(word); it != vocabulary.end()) {
      symbols.push_back(it->second);
      return;
    }
  bool afterUnknown = false;
  for (StringRef rest = word; !rest.empty();) {
    StringRef start = rest;
    unicode::takeFront(rest);
    StringRef character = start.drop_back(rest.size());
    auto it = vocabulary.find(character);
    bool isUnknown = it == vocabulary.end();
    if (!isUnknown)
      symbols.push_back(it->second);
    else if (unknown && !(afterUnknown && fusesUnknown))
      symbols.push_back(*unknown);
    afterUnknown = isUnknown && (unknown || afterUnknown);
  }
  merges.apply(symbols);
}

llvm::Error JsonTokenizer::encodePiece(StringRef text, WordCache &cache,
                                       std::vector<int64_t> &ids) const {
  llvm::Expected<Pieces> pieces = preTokenizer.apply(text.str());
  if (!pieces)
    return pieces.takeError();
  std::vector<uint32_t> symbols;
  // Longer words do not come again.
  constexpr size_t longest = 64;
  for (auto [begin, end] : pieces->ranges) {
    StringRef word = StringRef(pieces->text).slice(begin, end);
    if (word.size() > longest) {
      encodeWord(word, symbols);
      ids.insert(ids.end(), symbols.begin(), symbols.end());
      continue;
    }
    auto [it, isNew] = cache.try_emplace(word);
    if (isNew)
      encodeWord(word, it->second);
    ids.insert(ids.end(), it->second.begin(), it->second.end());
  }
  return llvm::Error::success();
}

llvm::Expected<std::vector<int64_t>>
JsonTokenizer::encode(StringRef text) const {
  size_t invalid = unicode::findInvalid(text);
  if (invalid != StringRef::npos)
    return makeError("the text is not UTF-8 at byte " + llvm::Twine(invalid) +
                     ", and this tokenizer is one of characters; convert the "
                     "text or replace what is broken");
  std::vector<int64_t> ids;
  WordCache cache;
  llvm::Error failure = llvm::Error::success();
  auto fail = [&](llvm::Error error) {
    failure = llvm::joinErrors(std::move(failure), std::move(error));
  };
  rawTokens.split(text, [&](StringRef piece, std::optional<uint32_t> id) {
    if (id) {
      ids.push_back(*id);
      return;
    }
    llvm::Expected<std::string> normalized = normalizer.apply(piece);
    if (!normalized)
      return fail(normalized.takeError());
    normalizedTokens.split(
        *normalized, [&](StringRef part, std::optional<uint32_t> id) {
          if (id)
            ids.push_back(*id);
          else if (llvm::Error error = encodePiece(part, cache, ids))
            fail(std::move(error));
        });
  });
  if (failure)
    return std::move(failure);
  return ids;
}

void JsonTokenizer::appendBytes(int64_t id, bool, std::string &bytes) const {
  if (id >= 0 && id < vocabularySize && !isSpecial(id))
    appendBytesOfToken(tokens[id], bytes);
}

//===----------------------------------------------------------------------===//
// Opening
//===----------------------------------------------------------------------===//

/// Whether brackets nest deeper than any tokenizer's; LLVM's parser is
/// recursive.
static bool isTooDeep(StringRef text) {
  int64_t depth = 0;
  bool inString = false;
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (inString && c == '\\')
      ++i;
    else if (c == '"')
      inString = !inString;
    else if (!inString && (c == '[' || c == '{') && ++depth > 256)
      return true;
    else if (!inString && (c == ']' || c == '}'))
      --depth;
  }
  return false;
}

llvm::Expected<std::unique_ptr<Tokenizer>>
miura::openTokenizerJson(StringRef path) {
  auto buffer = llvm::MemoryBuffer::getFile(path);
  if (!buffer)
    return makeError("cannot read the tokenizer '" + path +
                     "': " + buffer.getError().message());
  auto refuse = [&](const llvm::Twine &why) {
    return makeError("tokenizer '" + path + "': " + why);
  };
  StringRef text = (*buffer)->getBuffer();
  if (text.trim().empty())
    return refuse("the file is empty");
  if (isTooDeep(text))
    return refuse("is not a tokenizer.json: it nests too deeply");
  llvm::Expected<llvm::json::Value> root = llvm::json::parse(text);
  if (!root)
    return refuse("is not JSON, or cut off: " +
                  llvm::toString(root.takeError()));
  if (!root->getAsObject())
    return refuse("is not a tokenizer.json: it holds no object");
  auto tokenizer = std::make_unique<JsonTokenizer>();
  if (llvm::Error error = tokenizer->read(*root->getAsObject()))
    return refuse(llvm::toString(std::move(error)));
  tokenizer->findEnds(path);
  return std::unique_ptr<Tokenizer>(std::move(tokenizer));
}
