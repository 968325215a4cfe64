//===- OnnxWriter.cpp - Write an ONNX file with weights spliced in --------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Lays the serialized small model out again as a list of pieces, some of them
/// mapped weights, so that lengths of enclosing messages are known before
/// anything is written. So files over 2 GiB are written with little memory.
///
//===----------------------------------------------------------------------===//

#include "WireFormat.h"
#include "miura/Support/ONNX/OnnxFile.h"
#include "llvm/ADT/Twine.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/raw_ostream.h"
#include <deque>
#include <vector>

using namespace llvm;
using namespace miura;
using namespace miura::wire;

namespace {

/// Pieces of a file in order, and their length together.
struct Rope {
  std::vector<ArrayRef<uint8_t>> pieces;
  uint64_t length = 0;

  void append(ArrayRef<uint8_t> piece) {
    if (piece.empty())
      return;
    length += piece.size();
    // Neighbours of one buffer join, so that small fields cost no piece each.
    if (!pieces.empty() && pieces.back().end() == piece.begin())
      pieces.back() = {pieces.back().data(),
                       pieces.back().size() + piece.size()};
    else
      pieces.push_back(piece);
  }
  void append(const Rope &other) {
    for (ArrayRef<uint8_t> piece : other.pieces)
      append(piece);
  }
};

class Splicer {
public:
  explicit Splicer(ArrayRef<ArrayRef<uint8_t>> payloads) : payloads(payloads) {}

  void splice(Message message, const uint8_t *position, const uint8_t *end,
              Rope &out) {
    Field field;
    while (readField(position, end, field) == Status::Ok) {
      Message nested = field.wireType == Bytes
                           ? getNested(message, field.number)
                           : Message::None;
      if (nested != Message::None) {
        Rope inner;
        splice(nested, field.value, field.end, inner);
        appendHead(field.number, inner.length, out);
        out.append(inner);
        continue;
      }
      if (message == Message::Tensor && field.number == kExternalData) {
        onnx::StringStringEntryProto entry;
        if (entry.ParseFromArray(field.value, field.end - field.value) &&
            entry.key() == kPayloadKey) {
          auto [number, index] = StringRef(entry.value()).split(':');
          ArrayRef<uint8_t> payload = payloads[std::stoul(index.str())];
          appendHead(std::stoul(number.str()), payload.size(), out);
          out.append(payload);
          continue;
        }
      }
      out.append({field.start, (size_t)(field.end - field.start)});
    }
  }

private:
  void appendHead(unsigned field, uint64_t length, Rope &out) {
    std::string head;
    appendTag(head, field, Bytes);
    appendVarint(head, length);
    heads.push_back(std::move(head));
    out.append({(const uint8_t *)heads.back().data(), heads.back().size()});
  }

  ArrayRef<ArrayRef<uint8_t>> payloads;
  std::deque<std::string> heads; // never moves what the ropes point to
};

} // namespace

void miura::setOnnxPayload(onnx::TensorProto &tensor, int field, size_t index) {
  onnx::StringStringEntryProto *entry = tensor.add_external_data();
  entry->set_key(kPayloadKey);
  entry->set_value((Twine(field) + ":" + Twine(index)).str());
}

Error miura::writeOnnxFile(const onnx::ModelProto &model,
                           ArrayRef<ArrayRef<uint8_t>> payloads,
                           StringRef path) {
  std::string small = model.SerializeAsString();
  Splicer splicer(payloads);
  Rope rope;
  const auto *begin = (const uint8_t *)small.data();
  splicer.splice(Message::Model, begin, begin + small.size(), rope);

  if (path == "-") {
    for (ArrayRef<uint8_t> piece : rope.pieces)
      outs().write((const char *)piece.data(), piece.size());
    return Error::success();
  }
  auto temporary = sys::fs::TempFile::create(path + ".%%%%%%");
  if (!temporary)
    return createStringError(
        path + ": cannot be written: " + toString(temporary.takeError()) +
        "; check the folder and its permissions");
  raw_fd_ostream stream(temporary->FD, /*shouldClose=*/false);
  for (ArrayRef<uint8_t> piece : rope.pieces)
    stream.write((const char *)piece.data(), piece.size());
  stream.flush();
  if (std::error_code code = stream.error()) {
    stream.clear_error();
    consumeError(temporary->discard());
    return createStringError(path + ": cannot be written: " + code.message() +
                             "; check the space left");
  }
  // A temporary file is the user's alone; an output is as umask says.
  sys::fs::setPermissions(
      temporary->FD, sys::fs::perms(sys::fs::all_read | sys::fs::all_write) &
                         sys::fs::perms(~sys::fs::getUmask() & 0777));
  if (Error error = temporary->keep(path))
    return createStringError(
        path + ": cannot be written: " + toString(std::move(error)) +
        "; check the folder and its permissions");
  return Error::success();
}
