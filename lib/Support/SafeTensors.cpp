//===- SafeTensors.cpp - Reading and writing safetensors files ------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// See SafeTensors.h for the format. A header comes from a file that anyone may
/// have written, so every number in it is checked before it is used.
///
//===----------------------------------------------------------------------===//

#include "miura/Support/SafeTensors.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/ADT/StringSwitch.h"
#include "llvm/Support/Endian.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/MathExtras.h"
#include "llvm/Support/MemoryBuffer.h"

using namespace llvm;
using namespace miura;

/// As large a header as other readers accept.
static constexpr uint64_t kMaxHeader = 100'000'000;

unsigned miura::getSafeTensorElementSize(StringRef dtype) {
  return StringSwitch<unsigned>(dtype)
      .Cases({"F64", "I64", "U64", "C64"}, 8)
      .Cases({"F32", "I32", "U32"}, 4)
      .Cases({"F16", "BF16", "I16", "U16"}, 2)
      .Cases({"I8", "U8", "BOOL", "F8_E4M3", "F8_E5M2"}, 1)
      .Default(0);
}

static Error fail(StringRef path, const Twine &what) {
  return createStringError("the safetensors file '" + path + "' " + what);
}

static Error readTensor(StringRef path, StringRef name,
                        const json::Value &value, uint64_t base, uint64_t size,
                        SafeTensor &tensor) {
  const json::Object *object = value.getAsObject();
  const json::Array *shape = object ? object->getArray("shape") : nullptr;
  const json::Array *places =
      object ? object->getArray("data_offsets") : nullptr;
  auto dtype = object ? object->getString("dtype") : std::nullopt;
  if (!shape || !places || places->size() != 2 || !dtype)
    return fail(path, "has an incomplete entry for '" + name + "'");
  tensor.name = name.str();
  tensor.dtype = dtype->str();
  uint64_t elements = 1;
  for (const json::Value &dim : *shape) {
    auto number = dim.getAsInteger();
    bool overflow = true;
    if (number && *number >= 0)
      elements = SaturatingMultiply(elements, (uint64_t)*number, &overflow);
    if (overflow)
      return fail(path, "has a bad shape for '" + name + "'");
    tensor.shape.push_back(*number);
  }
  auto begin = (*places)[0].getAsUINT64(), end = (*places)[1].getAsUINT64();
  if (!begin || !end || *begin > *end || *end > size - base)
    return fail(path, "places '" + name +
                          "' outside itself: it is truncated or damaged");
  tensor.offset = base + *begin;
  tensor.length = *end - *begin;
  uint64_t element = getSafeTensorElementSize(*dtype);
  bool overflow = false;
  if (element != 0 &&
      (SaturatingMultiply(elements, element, &overflow) != tensor.length ||
       overflow))
    return fail(path, "has " + Twine(tensor.length) + " bytes for '" + name +
                          "', which its shape and type contradict");
  return Error::success();
}

Expected<SafeTensors> miura::readSafeTensors(StringRef path) {
  uint64_t size = 0;
  if (std::error_code error = sys::fs::file_size(path, size))
    return createStringError(error,
                             "cannot read '" + path + "': " + error.message());
  if (size < 8)
    return fail(path, "is too short to have a header");
  auto prefix = MemoryBuffer::getFileSlice(path, 8, 0);
  if (!prefix)
    return fail(path, "cannot be read: " + prefix.getError().message());
  uint64_t length = support::endian::read64le((*prefix)->getBufferStart());
  if (length > kMaxHeader || length > size - 8)
    return fail(path, "has a header length of " + Twine(length) + " in " +
                          Twine(size) +
                          " bytes: it is truncated, or no "
                          "safetensors file");
  auto header = MemoryBuffer::getFileSlice(path, length, 8);
  if (!header)
    return fail(path, "cannot be read: " + header.getError().message());
  auto parsed = json::parse((*header)->getBuffer());
  if (!parsed)
    return fail(path, "has a bad header: " + toString(parsed.takeError()));
  const json::Object *object = parsed->getAsObject();
  if (!object)
    return fail(path, "has a header that is not an object");

  SafeTensors result;
  uint64_t base = 8 + length;
  for (const auto &entry : *object) {
    if (entry.first == "__metadata__") {
      if (const json::Object *pairs = entry.second.getAsObject())
        for (const auto &pair : *pairs)
          if (auto text = pair.second.getAsString())
            result.metadata[pair.first.str()] = text->str();
      continue;
    }
    SafeTensor tensor;
    if (Error error =
            readTensor(path, entry.first, entry.second, base, size, tensor))
      return std::move(error);
    result.tensors.push_back(std::move(tensor));
  }
  llvm::sort(result.tensors, [](const SafeTensor &a, const SafeTensor &b) {
    return std::tie(a.offset, a.length, a.name) <
           std::tie(b.offset, b.length, b.name);
  });
  uint64_t next = base;
  for (const SafeTensor &tensor : result.tensors) {
    if (tensor.offset != next)
      return fail(path, "has a gap or an overlap before '" + tensor.name + "'");
    next += tensor.length;
  }
  if (next != size)
    return fail(path, "has " + Twine(size) + " bytes where its header says " +
                          Twine(next));
  return result;
}

size_t SafeTensorsWriter::add(StringRef name, StringRef dtype,
                              ArrayRef<int64_t> shape, uint64_t length) {
  SafeTensor tensor;
  tensor.name = name.str();
  tensor.dtype = dtype.str();
  tensor.shape.assign(shape.begin(), shape.end());
  tensor.offset = planned;
  tensor.length = length;
  planned += length;
  tensors.push_back(std::move(tensor));
  return tensors.size() - 1;
}

void SafeTensorsWriter::setMetadata(StringRef key, StringRef value) {
  metadata[key.str()] = value.str();
}

Error SafeTensorsWriter::begin(StringRef file) {
  path = file.str();
  std::string header;
  raw_string_ostream text(header);
  json::OStream json(text);
  json.object([&] {
    if (!metadata.empty())
      json.attributeObject("__metadata__", [&] {
        for (const auto &pair : metadata)
          json.attribute(pair.first, pair.second);
      });
    for (const SafeTensor &tensor : tensors)
      json.attributeObject(tensor.name, [&] {
        json.attribute("dtype", tensor.dtype);
        json.attributeArray("shape", [&] {
          for (int64_t dim : tensor.shape)
            json.value(dim);
        });
        json.attributeArray("data_offsets", [&] {
          json.value(tensor.offset);
          json.value(tensor.offset + tensor.length);
        });
      });
  });
  header.resize(alignTo(header.size() + 8, 64) - 8, ' ');
  for (SafeTensor &tensor : tensors)
    tensor.offset += 8 + header.size();

  std::error_code error;
  stream = std::make_unique<raw_fd_ostream>(path, error);
  if (error)
    return createStringError(error,
                             "cannot write '" + path + "': " + error.message());
  char length[8];
  support::endian::write64le(length, header.size());
  stream->write(length, 8);
  *stream << header;
  return Error::success();
}

Error SafeTensorsWriter::write(ArrayRef<uint8_t> bytes) {
  stream->write(reinterpret_cast<const char *>(bytes.data()), bytes.size());
  written += bytes.size();
  return Error::success();
}

Error SafeTensorsWriter::finish() {
  stream->flush();
  std::error_code error = stream->error();
  stream->clear_error();
  stream.reset();
  if (error)
    return createStringError(error,
                             "cannot write '" + path + "': " + error.message());
  if (written != planned)
    return createStringError("'" + path + "' got " + Twine(written) +
                             " bytes of tensors, but was planned for " +
                             Twine(planned));
  return Error::success();
}
