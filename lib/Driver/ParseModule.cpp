//===- ParseModule.cpp - MLIR text from files not written here ------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// MLIR's parser goes down one call per bracket and ends with the stack. So
/// brackets are counted first, as the lexer sees them: not in strings, not in
/// comments.
///
//===----------------------------------------------------------------------===//

#include "ParseModule.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/Parser/Parser.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/SourceMgr.h"

using namespace mlir;

/// Imported graphs nest 64 levels of subgraphs at most, with a region and a few
/// attributes each.
static constexpr int kMostLevels = 1000;

/// The place where brackets nest too deep, or null.
static const char *findDeepBracket(llvm::StringRef text) {
  int depth = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    switch (text[i]) {
    case '"':
      for (++i; i < text.size() && text[i] != '"' && text[i] != '\n'; ++i)
        if (text[i] == '\\')
          ++i;
      break;
    case '/':
      if (text.substr(i).starts_with("//"))
        i = std::min(text.find('\n', i), text.size());
      break;
    case '-':
      // An arrow closes nothing.
      if (text.substr(i).starts_with("->"))
        ++i;
      break;
    case '(':
    case '[':
    case '{':
    case '<':
      if (++depth > kMostLevels)
        return text.data() + i;
      break;
    case ')':
    case ']':
    case '}':
    case '>':
      depth = std::max(depth - 1, 0);
      break;
    default:
      break;
    }
  }
  return nullptr;
}

OwningOpRef<ModuleOp> miura::driver::parseModule(llvm::StringRef path,
                                                 MLIRContext *context) {
  auto buffer = llvm::MemoryBuffer::getFile(path);
  if (!buffer) {
    emitError(FileLineColLoc::get(context, path, 0, 0))
        << "cannot read '" << path << "': " << buffer.getError().message();
    return {};
  }
  llvm::StringRef text = (*buffer)->getBuffer();
  llvm::SourceMgr sources;
  unsigned id = sources.AddNewSourceBuffer(std::move(*buffer), llvm::SMLoc());
  bool isBytecode = text.starts_with("ML\xefR");
  if (const char *deep = isBytecode ? nullptr : findDeepBracket(text)) {
    auto [line, column] =
        sources.getLineAndColumn(llvm::SMLoc::getFromPointer(deep), id);
    emitError(FileLineColLoc::get(context, path, line, column))
        << "brackets nest deeper than " << kMostLevels
        << " levels, which no model's do";
    return {};
  }
  return parseSourceFile<ModuleOp>(sources, ParserConfig(context));
}
