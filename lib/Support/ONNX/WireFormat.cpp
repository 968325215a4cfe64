//===- WireFormat.cpp - Which ONNX messages nest tensors ------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "WireFormat.h"
#include <algorithm>
#include <google/protobuf/io/coded_stream.h>

using namespace miura::wire;

const char *const miura::wire::kRangeKey = "miura.range";
const char *const miura::wire::kPayloadKey = "miura.payload";

Message miura::wire::getNested(Message message, unsigned field) {
  // Field numbers are those of onnx.proto; they never change.
  switch (message) {
  case Message::Model:
    return field == 7    ? Message::Graph
           : field == 20 ? Message::TrainingInfo
           : field == 25 ? Message::Function
                         : Message::None;
  case Message::Graph:
    return field == 1    ? Message::Node
           : field == 5  ? Message::Tensor
           : field == 15 ? Message::SparseTensor
                         : Message::None;
  case Message::Node:
    return field == 5 ? Message::Attribute : Message::None;
  case Message::Attribute:
    return field == 5 || field == 10    ? Message::Tensor
           : field == 6 || field == 11  ? Message::Graph
           : field == 22 || field == 23 ? Message::SparseTensor
                                        : Message::None;
  case Message::SparseTensor:
    return field == 1 || field == 2 ? Message::Tensor : Message::None;
  case Message::Function:
    return field == 7    ? Message::Node
           : field == 11 ? Message::Attribute
                         : Message::None;
  case Message::TrainingInfo:
    return field == 1 || field == 2 ? Message::Graph : Message::None;
  case Message::Tensor:
  case Message::None:
    return Message::None;
  }
  return Message::None;
}

static bool readVarint(const uint8_t *&position, const uint8_t *end,
                       uint64_t &value) {
  google::protobuf::io::CodedInputStream window(
      position, (int)std::min<ptrdiff_t>(end - position, 10));
  if (!window.ReadVarint64(&value))
    return false;
  position += window.CurrentPosition();
  return true;
}

Status miura::wire::readField(const uint8_t *&position, const uint8_t *end,
                              Field &field) {
  if (position == end)
    return Status::End;
  field.start = position;
  uint64_t tag, length;
  if (!readVarint(position, end, tag))
    return end - position < 10 ? Status::Truncated : Status::Malformed;
  field.number = (unsigned)(tag >> 3);
  field.wireType = (unsigned)(tag & 7);
  if (field.number == 0 || tag >> 32 != 0)
    return Status::Malformed;
  field.value = position;
  switch (field.wireType) {
  case Varint:
    if (!readVarint(position, end, length))
      return end - position < 10 ? Status::Truncated : Status::Malformed;
    break;
  case Fixed64:
  case Fixed32: {
    ptrdiff_t width = field.wireType == Fixed64 ? 8 : 4;
    if (end - position < width)
      return Status::Truncated;
    position += width;
    break;
  }
  case Bytes:
    if (!readVarint(position, end, length))
      return end - position < 10 ? Status::Truncated : Status::Malformed;
    field.value = position;
    if (length > (uint64_t)(end - position))
      return Status::Truncated;
    position += length;
    break;
  default:
    return Status::Malformed;
  }
  field.end = position;
  return Status::Ok;
}

void miura::wire::appendVarint(std::string &out, uint64_t value) {
  for (; value >= 0x80; value >>= 7)
    out.push_back((char)(value | 0x80));
  out.push_back((char)value);
}
