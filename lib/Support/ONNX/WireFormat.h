//===- WireFormat.h - Which ONNX messages nest tensors ----------*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The part of onnx.proto that reader and writer must know to find tensors in
/// a serialized model: which field of which message is a message that can hold
/// one. Tags and varints are read by protobuf's CodedInputStream on a window,
/// since the stream itself counts in 32 bits.
///
//===----------------------------------------------------------------------===//

#ifndef MIURA_LIB_SUPPORT_ONNX_WIREFORMAT_H
#define MIURA_LIB_SUPPORT_ONNX_WIREFORMAT_H

#include <cstdint>
#include <string>

namespace miura::wire {

enum class Message {
  None, // not walked into: copied as it is
  Model,
  Graph,
  Node,
  Attribute,
  Tensor,
  SparseTensor,
  Function,
  TrainingInfo
};

/// The message that field `field` of `message` holds, if it can hold tensors.
Message getNested(Message message, unsigned field);

/// TensorProto's fields of bytes or fixed-width numbers, which a file can be
/// mapped for.
constexpr unsigned kRawData = 9, kFloatData = 4, kDoubleData = 10;
constexpr unsigned kExternalData = 13;
constexpr bool isMappable(unsigned field) {
  return field == kRawData || field == kFloatData || field == kDoubleData;
}

/// The keys of the external_data entries that stand for taken-out bytes.
extern const char *const kRangeKey;
extern const char *const kPayloadKey;

enum WireType { Varint = 0, Fixed64 = 1, Bytes = 2, Fixed32 = 5 };

/// One field of a message: its tag, and the bytes of its value (without the
/// length in front, for Bytes).
struct Field {
  unsigned number = 0;
  unsigned wireType = 0;
  const uint8_t *start = nullptr; // of the tag
  const uint8_t *value = nullptr;
  const uint8_t *end = nullptr; // of the value
};

enum class Status { Ok, End, Malformed, Truncated };

/// Reads the field at `position`, which moves behind it. Truncated: the field
/// says that it is longer than what is left.
Status readField(const uint8_t *&position, const uint8_t *end, Field &field);

void appendVarint(std::string &out, uint64_t value);
inline void appendTag(std::string &out, unsigned field, WireType type) {
  appendVarint(out, (uint64_t)field << 3 | type);
}

} // namespace miura::wire

#endif // MIURA_LIB_SUPPORT_ONNX_WIREFORMAT_H
