//===- ModulePath.cpp - Where in the trained model a node is from ---------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "miura/Support/ONNX/ModulePath.h"
#include "llvm/ADT/SmallVector.h"
#include <onnx/onnx_pb.h>

using namespace miura;
using llvm::StringRef;

static constexpr llvm::StringLiteral kScopesKey = "pkg.torch.onnx.name_scopes";

/// The strings of a Python list of strings; what is none gives no strings.
static llvm::SmallVector<std::string> readPythonList(StringRef text) {
  llvm::SmallVector<std::string> result;
  if (!text.consume_front("[") || !text.consume_back("]"))
    return result;
  while (true) {
    text = text.ltrim(", ");
    if (text.empty())
      return result;
    char quote = text.front();
    if (quote != '\'' && quote != '"')
      return {};
    std::string item;
    size_t i = 1;
    for (; i < text.size() && text[i] != quote; ++i) {
      if (text[i] == '\\' && i + 1 < text.size())
        ++i;
      item += text[i];
    }
    if (i >= text.size())
      return {};
    result.push_back(std::move(item));
    text = text.drop_front(i + 1);
  }
}

std::string miura::readModulePath(const onnx::NodeProto &node) {
  for (const auto &entry : node.metadata_props()) {
    if (entry.key() != kScopesKey)
      continue;
    llvm::SmallVector<std::string> scopes = readPythonList(entry.value());
    if (scopes.size() >= 2)
      return scopes[scopes.size() - 2];
  }
  return "";
}

void miura::writeModulePath(StringRef path, onnx::NodeProto &node) {
  auto quote = [](StringRef text) {
    std::string result = "'";
    for (char c : text) {
      if (c == '\'' || c == '\\')
        result += '\\';
      result += c;
    }
    return result + "'";
  };
  auto *entry = node.add_metadata_props();
  entry->set_key(kScopesKey.str());
  entry->set_value("[" + quote(path) + ", " + quote(node.name()) + "]");
}
