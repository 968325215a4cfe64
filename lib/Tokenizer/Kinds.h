//===- Kinds.h - The kinds of tokenizers ------------------------*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// How Tokenizer::open makes each kind.
///
//===----------------------------------------------------------------------===//

#ifndef MIURA_LIB_TOKENIZER_KINDS_H
#define MIURA_LIB_TOKENIZER_KINDS_H

#include "miura/Tokenizer/Tokenizer.h"

namespace miura {

llvm::Expected<std::unique_ptr<Tokenizer>>
openTokenizerJson(llvm::StringRef path);

llvm::Expected<std::unique_ptr<Tokenizer>>
openSentencePiece(llvm::StringRef path);

} // namespace miura

#endif // MIURA_LIB_TOKENIZER_KINDS_H
