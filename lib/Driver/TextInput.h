//===- TextInput.h - Texts and tokenizers of commands -----------*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The options --text, --tokenizer, --context, --windows, --documents, --bos
/// and
/// --separator, which mean the same for every command that has them.
///
//===----------------------------------------------------------------------===//

#ifndef MIURA_LIB_DRIVER_TEXTINPUT_H
#define MIURA_LIB_DRIVER_TEXTINPUT_H

#include "miura/Driver/Invocation.h"
#include "miura/Evaluate/TextWindows.h"

namespace miura::driver {

/// The tokenizer of --tokenizer, or the one that the bundle `model` has. Null
/// after a report, with `code` set: neither is there, or it cannot be read.
std::unique_ptr<Tokenizer> openTokenizer(Invocation &invocation,
                                         llvm::StringRef model, ExitCode &code);

/// Warns where `model` has at least twice as many tokens as the tokenizer:
/// vocabularies are padded, but never that far. No error, as any text can be
/// measured on any model.
void compareVocabularies(Invocation &invocation, const Tokenizer &tokenizer,
                         int64_t vocabulary, llvm::StringRef model);

/// Reads the options that say how a text is cut; `context` stays 0 where it is
/// not given. False after a usage error.
bool readProtocol(Invocation &invocation, TextProtocol &protocol);

/// Reads the file of --text and cuts it. A context that was not given is
/// the model's (`modelContext`, 0: not known) but at most 2048, and shorter
/// where the text is. Fails, with `code` set, also where a token is not in a
/// vocabulary of `vocabulary` entries.
llvm::Expected<TextWindows> readText(Invocation &invocation,
                                     const Tokenizer &tokenizer,
                                     TextProtocol protocol,
                                     int64_t modelContext, int64_t vocabulary);

} // namespace miura::driver

#endif // MIURA_LIB_DRIVER_TEXTINPUT_H
