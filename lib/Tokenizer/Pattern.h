//===- Pattern.h - The patterns of pre-tokenizers ---------------*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Regular expressions as tokenizer.json has them, matched by PCRE2. They are
/// written for Oniguruma with Ruby's syntax, whose classes differ from PCRE2's
/// in places; these are rewritten.
///
//===----------------------------------------------------------------------===//

#ifndef MIURA_LIB_TOKENIZER_PATTERN_H
#define MIURA_LIB_TOKENIZER_PATTERN_H

#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include <memory>

namespace miura {

/// A compiled pattern. Immutable; may be used by several threads at once.
class Pattern {
public:
  /// Fails if PCRE2 cannot read `pattern`. `isLiteral`: it is a plain string.
  static llvm::Expected<Pattern> compile(llvm::StringRef pattern,
                                         bool isLiteral = false);

  /// Calls `visit` with begin and end of every match from left to right, which
  /// do not overlap. `text` must be UTF-8. Fails if matching needs more
  /// memory or steps than PCRE2 grants.
  llvm::Error
  forEachMatch(llvm::StringRef text,
               llvm::function_ref<void(size_t begin, size_t end)> visit) const;

private:
  std::shared_ptr<void> code;
};

} // namespace miura

#endif // MIURA_LIB_TOKENIZER_PATTERN_H
