//===- TextInput.cpp - Texts and tokenizers of commands -------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// From the command line to sequences of tokens.
///
//===----------------------------------------------------------------------===//

#include "TextInput.h"
#include "miura/Driver/Bundle.h"
#include "miura/Driver/Model.h"
#include "llvm/Support/MemoryBuffer.h"

using namespace miura;
using namespace miura::driver;
using llvm::StringRef;

std::unique_ptr<Tokenizer> miura::driver::openTokenizer(Invocation &invocation,
                                                        StringRef model,
                                                        ExitCode &code) {
  std::string name = invocation.getString(OPT_tokenizer).str();
  if (!invocation.has(OPT_tokenizer)) {
    llvm::Expected<ModelKind> kind = getModelKind(model);
    if (!kind) {
      code = invocation.failInput(kind.takeError(), model);
      return nullptr;
    }
    if (*kind == ModelKind::Bundle)
      name = getBundleTokenizer(model);
    if (name.empty()) {
      code = invocation.failUsage(
          *kind == ModelKind::Bundle
              ? "the bundle '" + model + "' has no tokenizer; give --tokenizer"
              : llvm::Twine("needs --tokenizer: a SentencePiece file .model, a "
                            "tokenizer.json, or the word bytes"));
      return nullptr;
    }
  }
  llvm::Expected<std::unique_ptr<Tokenizer>> tokenizer = Tokenizer::open(name);
  if (tokenizer)
    return std::move(*tokenizer);
  code = invocation.failInput(tokenizer.takeError(), name);
  return nullptr;
}

void miura::driver::compareVocabularies(Invocation &invocation,
                                        const Tokenizer &tokenizer,
                                        int64_t vocabulary, StringRef model) {
  int64_t known = tokenizer.getVocabularySize();
  if (known > 0 && vocabulary >= 2 * known)
    invocation.progress() << "miura: warning: the tokenizer knows " << known
                          << " tokens, but the vocabulary of '" << model
                          << "' has " << vocabulary
                          << "; it may be another model's tokenizer\n";
}

bool miura::driver::readProtocol(Invocation &invocation,
                                 TextProtocol &protocol) {
  if (!invocation.getInteger(OPT_context, protocol.context, 2, 1 << 24))
    return false;
  if (invocation.has(OPT_windows)) {
    int64_t count = 0;
    if (!invocation.getInteger(OPT_windows, count, 1))
      return false;
    protocol.windows = count;
  }
  if (invocation.has(OPT_documents)) {
    StringRef text = invocation.getString(OPT_documents);
    int64_t first = 0, count = 0;
    auto [left, right] = text.split(':');
    bool isRange = text.contains(':');
    if ((isRange && left.getAsInteger(10, first)) ||
        (isRange ? right : left).getAsInteger(10, count) || first < 0 ||
        count < 1) {
      invocation.failUsage("--documents expects N or A:N, the number of "
                           "documents and the first one, but got '" +
                           text + "'");
      return false;
    }
    protocol.documents = {first, count};
    if (protocol.windows) {
      invocation.failUsage("--windows cuts a stream and --documents does not "
                           "make one; give one of the two");
      return false;
    }
  }
  if (invocation.has(OPT_separator)) {
    protocol.separator = invocation.getString(OPT_separator).str();
    if (!protocol.documents) {
      invocation.failUsage("--separator stands between documents; give "
                           "--documents as well");
      return false;
    }
    if (protocol.separator.empty()) {
      invocation.failUsage("--separator is empty");
      return false;
    }
  }
  if (invocation.has(OPT_bos)) {
    StringRef text = invocation.getString(OPT_bos);
    int64_t id = 0;
    if (text == "none") {
      protocol.prefix.emplace();
    } else if (!text.getAsInteger(10, id) && id >= 0) {
      protocol.prefix = std::vector<int64_t>{id};
    } else {
      invocation.failUsage("--bos expects a token's id or none, but got '" +
                           text + "'");
      return false;
    }
  }
  return true;
}

llvm::Expected<TextWindows> miura::driver::readText(Invocation &invocation,
                                                    const Tokenizer &tokenizer,
                                                    TextProtocol protocol,
                                                    int64_t modelContext,
                                                    int64_t vocabulary) {
  StringRef path = invocation.getString(OPT_text);
  auto buffer = llvm::MemoryBuffer::getFileOrSTDIN(path);
  if (!buffer)
    return llvm::createStringError("cannot read the text '" + path +
                                   "': " + buffer.getError().message());
  StringRef text = (*buffer)->getBuffer();
  if (protocol.context == 0) {
    protocol.context =
        modelContext > 1 ? std::min<int64_t>(modelContext, 2048) : 2048;
    protocol.takesShort = true;
  }
  llvm::Expected<TextWindows> windows = cutText(tokenizer, text, protocol);
  if (!windows)
    return llvm::createStringError("text '" + path + "' " +
                                   llvm::toString(windows.takeError()));
  int64_t asked = protocol.documents ? protocol.documents->second
                                     : protocol.windows.value_or(0);
  int64_t left =
      windows->available - (protocol.documents ? protocol.documents->first : 0);
  if (asked > left)
    invocation.progress() << "miura: only " << left << " of " << asked
                          << (protocol.documents ? " documents" : " windows")
                          << " are there\n";
  for (const std::vector<int64_t> &sequence : windows->sequences)
    for (int64_t token : sequence)
      if (token >= vocabulary)
        return llvm::createStringError(
            "the tokenizer gives the token " + llvm::Twine(token) +
            ", but the model's vocabulary has " + llvm::Twine(vocabulary) +
            "; this is another model's tokenizer, or --bos is too large");
  return windows;
}
