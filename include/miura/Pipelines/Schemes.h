//===- Schemes.h - Named ways to compress -----------------------*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// A scheme is a short name for a textual pass pipeline, and nothing else: what
/// `miura compress --scheme NAME` does, `miura-opt` can do with the text that
/// `--print-pipeline` shows.
///
//===----------------------------------------------------------------------===//

#ifndef MIURA_PIPELINES_SCHEMES_H
#define MIURA_PIPELINES_SCHEMES_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include <string>
#include <vector>

namespace miura {

/// A step of a scheme, as `--help` lists them. A scheme is a step or a sum of
/// steps, `50%+w4`, which run in the order in which they are written.
struct SchemeFamily {
  llvm::StringLiteral pattern; ///< with N and M for numbers
  llvm::StringLiteral numbers; ///< what these may be
  llvm::StringLiteral summary;
};

llvm::ArrayRef<SchemeFamily> getSchemeFamilies();

/// The passes of a scheme, to run on a module of the model level, as
/// --pass-pipeline takes them inside `builtin.module(…)`; an error where there
/// is no such scheme, which says what there is. `include` and `exclude` are
/// globs of the layers' names, as the passes take them.
llvm::Expected<std::string>
getSchemePipeline(llvm::StringRef name,
                  llvm::ArrayRef<std::string> include = {},
                  llvm::ArrayRef<std::string> exclude = {});

} // namespace miura

#endif // MIURA_PIPELINES_SCHEMES_H
