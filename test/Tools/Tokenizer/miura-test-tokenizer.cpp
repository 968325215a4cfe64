//===- miura-test-tokenizer.cpp - Token ids of texts ----------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// `miura-test-tokenizer TOKENIZER FILE`: for each text of FILE (they end with
/// the byte 0xFF, which no UTF-8 has) a line of its ids and a line of what they
/// decode to, in hexadecimal. Tests compare these with the Python packages.
///
//===----------------------------------------------------------------------===//

#include "miura/Tokenizer/Tokenizer.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/WithColor.h"
#include "llvm/Support/raw_ostream.h"

using namespace miura;

static int fail(const llvm::Twine &message) {
  llvm::WithColor::error(llvm::errs(), "miura-test-tokenizer")
      << message << "\n";
  return 1;
}

int main(int argc, char **argv) {
  if (argc != 3)
    return fail("expected a tokenizer and a file");
  auto tokenizer = Tokenizer::open(argv[1]);
  if (!tokenizer)
    return fail(llvm::toString(tokenizer.takeError()));
  auto buffer = llvm::MemoryBuffer::getFile(argv[2]);
  if (!buffer)
    return fail(llvm::Twine(argv[2]) + ": " + buffer.getError().message());
  llvm::StringRef rest = (*buffer)->getBuffer();
  while (!rest.empty()) {
    auto [text, after] = rest.split('\xFF');
    rest = after;
    auto ids = (*tokenizer)->encode(text);
    if (!ids)
      return fail(llvm::toString(ids.takeError()));
    llvm::interleave(*ids, llvm::outs(), " ");
    std::string decoded = (*tokenizer)->decode(*ids), streamed;
    StreamDecoder decoder(**tokenizer);
    for (int64_t id : *ids)
      streamed += decoder.push(id);
    streamed += decoder.finish();
    if (decoded != streamed)
      return fail("decoding token by token gives '" + streamed + "', not '" +
                  decoded + "'");
    llvm::outs() << "\n" << llvm::toHex(decoded, /*LowerCase=*/true) << "\n";
  }
  return 0;
}
