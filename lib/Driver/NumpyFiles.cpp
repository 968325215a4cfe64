//===- NumpyFiles.cpp - NumPy's .npy and .npz -----------------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The format is that of numpy/lib/format.py; an .npz is a ZIP archive whose
/// central directory says where its members are (PKWARE APPNOTE 4.3).
///
//===----------------------------------------------------------------------===//

#include "TensorFileErrors.h"
#include "miura/Driver/TensorFiles.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/ScopeExit.h"
#include "llvm/Support/Endian.h"
#include "llvm/Support/FileUtilities.h"
#include "llvm/Support/FormatVariadic.h"
#include <cstring>
#include <zlib.h>

using namespace mlir;
using namespace miura;

using llvm::Error;
using llvm::Expected;
using llvm::Twine;

/// The bytes that a tensor of `shape` takes; an error where a size is negative
/// or the product does not fit.
static Expected<int64_t> checkedBytes(StringRef path, ArrayRef<int64_t> shape,
                                      int64_t elementBytes) {
  int64_t bytes = elementBytes;
  for (int64_t size : shape)
    if (size < 0 || __builtin_mul_overflow(bytes, size, &bytes))
      return makeError(path, "has a shape that no memory can hold");
  return bytes;
}

//===----------------------------------------------------------------------===//
// .npy
//===----------------------------------------------------------------------===//

namespace {
struct NumpyType {
  StringRef code;
  Type (*make)(MLIRContext *);
};
} // namespace

template <unsigned width, IntegerType::SignednessSemantics signedness>
static Type makeInteger(MLIRContext *context) {
  return IntegerType::get(context, width, signedness);
}
template <typename T> static Type makeFloat(MLIRContext *context) {
  return T::get(context);
}

static const NumpyType numpyTypes[] = {
    {"f2", makeFloat<Float16Type>},
    {"f4", makeFloat<Float32Type>},
    {"f8", makeFloat<Float64Type>},
    {"b1", makeInteger<1, IntegerType::Signless>},
    {"i1", makeInteger<8, IntegerType::Signless>},
    {"i2", makeInteger<16, IntegerType::Signless>},
    {"i4", makeInteger<32, IntegerType::Signless>},
    {"i8", makeInteger<64, IntegerType::Signless>},
    {"u1", makeInteger<8, IntegerType::Unsigned>},
    {"u2", makeInteger<16, IntegerType::Unsigned>},
    {"u4", makeInteger<32, IntegerType::Unsigned>},
    {"u8", makeInteger<64, IntegerType::Unsigned>},
};

/// The text after `'key':` in the header's dictionary.
static std::optional<StringRef> findHeaderValue(StringRef header,
                                                StringRef key) {
  for (char quote : {'\'', '"'}) {
    std::string quoted = std::string(1, quote) + key.str() + quote;
    size_t position = header.find(quoted);
    if (position == StringRef::npos)
      continue;
    StringRef rest = header.substr(position + quoted.size()).ltrim();
    if (rest.consume_front(":"))
      return rest.ltrim();
  }
  return std::nullopt;
}

/// `path` is for messages.
static Expected<HostArray> parseNpy(StringRef data, StringRef path,
                                    MLIRContext *context) {
  if (!data.starts_with("\x93NUMPY") || data.size() < 10)
    return makeError(path, "is no .npy file (it does not begin with "
                           "\\x93NUMPY)");
  unsigned version = data[6];
  if (version < 1 || version > 3)
    return makeError(path, "has .npy format version " + Twine(version) +
                               ", not 1 to 3");
  size_t lengthBytes = version == 1 ? 2 : 4;
  if (data.size() < 8 + lengthBytes)
    return makeError(path, "is cut short in its header");
  size_t length = version == 1
                      ? llvm::support::endian::read16le(data.data() + 8)
                      : llvm::support::endian::read32le(data.data() + 8);
  size_t begin = 8 + lengthBytes;
  if (data.size() < begin + length)
    return makeError(path, "is cut short in its header");
  StringRef header = data.substr(begin, length);

  auto descr = findHeaderValue(header, "descr");
  auto order = findHeaderValue(header, "fortran_order");
  auto shapeText = findHeaderValue(header, "shape");
  if (!descr || !order || !shapeText || !shapeText->consume_front("("))
    return makeError(path, "has a header without descr, fortran_order and "
                           "shape");
  StringRef code = descr->drop_front().take_until(
      [](char c) { return c == '\'' || c == '"'; });
  if (code.starts_with(">"))
    return makeError(path, "is big-endian; save it in native order");
  code = code.ltrim("<|=");
  auto *entry = llvm::find_if(
      numpyTypes, [&](const NumpyType &type) { return type.code == code; });
  if (entry == std::end(numpyTypes))
    return makeError(path, "has elements of NumPy type '" + code +
                               "', which models do not take");
  Type element = entry->make(context);
  SmallVector<int64_t> shape;
  StringRef inside = shapeText->take_until([](char c) { return c == ')'; });
  SmallVector<StringRef> parts;
  inside.split(parts, ',');
  for (StringRef part : parts) {
    part = part.trim();
    if (part.empty())
      continue;
    int64_t size;
    if (part.getAsInteger(10, size))
      return makeError(path, "has a shape with the size '" + part + "'");
    shape.push_back(size);
  }
  int64_t elementBytes = getHostElementBytes(element);
  auto bytes = checkedBytes(path, shape, elementBytes);
  if (!bytes)
    return bytes.takeError();
  StringRef content = data.substr(begin + length);
  if (int64_t(content.size()) < *bytes)
    return makeError(path, "expects " + Twine(*bytes) +
                               " bytes of data, but has " +
                               Twine(content.size()));
  HostArray result(RankedTensorType::get(shape, element));
  if (!order->starts_with("True")) {
    std::memcpy(result.bytes.data(), content.data(), *bytes);
    return result;
  }
  // Fortran order: the first index runs fastest.
  std::vector<int64_t> index(shape.size(), 0);
  for (int64_t i = 0, e = result.getNumElements(); i < e; ++i) {
    int64_t flat = 0;
    for (size_t d = 0; d < shape.size(); ++d)
      flat = flat * shape[d] + index[d];
    std::memcpy(result.bytes.data() + flat * elementBytes,
                content.data() + i * elementBytes, elementBytes);
    for (size_t d = 0; d < shape.size(); ++d) {
      if (++index[d] < shape[d])
        break;
      index[d] = 0;
    }
  }
  return result;
}

Expected<HostArray> miura::readNpy(StringRef path, MLIRContext *context) {
  auto buffer = readFile(path);
  if (!buffer)
    return buffer.takeError();
  return parseNpy((*buffer)->getBuffer(), path, context);
}

Error miura::writeNpy(const HostArray &array, StringRef path) {
  Type element = array.type.getElementType();
  HostArray converted;
  const HostArray *source = &array;
  if (element.isBF16()) {
    converted = HostArray(RankedTensorType::get(
        array.getShape(), Float32Type::get(element.getContext())));
    for (int64_t i = 0, e = array.getNumElements(); i < e; ++i)
      converted.set(i, array.get(i));
    source = &converted;
    element = converted.type.getElementType();
  }
  auto *entry = llvm::find_if(numpyTypes, [&](const NumpyType &type) {
    return type.make(element.getContext()) == element;
  });
  if (entry == std::end(numpyTypes))
    return makeError(path, "NumPy has no type for the elements");
  std::string shape;
  for (int64_t size : source->getShape())
    shape += llvm::formatv("{0}, ", size).str();
  if (source->type.getRank() > 1)
    shape.resize(shape.size() - 2);
  std::string header =
      llvm::formatv("{{'descr': '{0}{1}', 'fortran_order': False, 'shape': "
                    "({2}), }",
                    getHostElementBytes(element) == 1 ? "|" : "<", entry->code,
                    StringRef(shape).rtrim(' '));
  // The data begins at a multiple of 64.
  size_t padded = llvm::alignTo(10 + header.size() + 1, 64);
  header.append(padded - 10 - header.size() - 1, ' ');
  header += '\n';
  return llvm::writeToOutput(path, [&](llvm::raw_ostream &os) {
    os << StringRef("\x93NUMPY\x01\x00", 8) << char(header.size() & 255)
       << char(header.size() >> 8) << header;
    os.write(reinterpret_cast<const char *>(source->bytes.data()),
             source->bytes.size());
    return Error::success();
  });
}

//===----------------------------------------------------------------------===//
// .npz
//===----------------------------------------------------------------------===//

/// The content of an archive's member.
static Expected<std::string> inflateMember(StringRef packed, uint64_t size,
                                           unsigned method,
                                           const std::string &where) {
  if (method == 0)
    return packed.str();
  if (method != 8)
    return makeError(where, "is compressed by method " + Twine(method) +
                                "; only stored and deflated members are read");
  // A deflated stream holds at most about 1032 times its size.
  if (size / 1100 > packed.size())
    return makeError(where, "claims a size that its data cannot have");
  std::string result(size, '\0');
  z_stream stream = {};
  if (inflateInit2(&stream, /*raw deflate=*/-15) != Z_OK)
    return makeError(where, "cannot start zlib");
  llvm::scope_exit cleanup([&] { inflateEnd(&stream); });
  uint64_t taken = 0, made = 0;
  int status = Z_OK;
  // zlib counts in 32 bits.
  while (status == Z_OK) {
    uint64_t in = std::min<uint64_t>(packed.size() - taken, 1u << 30);
    uint64_t out = std::min<uint64_t>(size - made, 1u << 30);
    stream.next_in =
        reinterpret_cast<Bytef *>(const_cast<char *>(packed.data() + taken));
    stream.avail_in = in;
    stream.next_out = reinterpret_cast<Bytef *>(result.data() + made);
    stream.avail_out = out;
    status = inflate(&stream, Z_NO_FLUSH);
    uint64_t used = in - stream.avail_in, written = out - stream.avail_out;
    taken += used;
    made += written;
    if (status == Z_OK && used == 0 && written == 0)
      break;
  }
  if (status != Z_STREAM_END || made != size)
    return makeError(where, "is damaged: its data does not inflate to " +
                                Twine(size) + " bytes");
  return result;
}

Expected<std::map<std::string, HostArray>>
miura::readNpz(StringRef path, MLIRContext *context) {
  using namespace llvm::support::endian;
  auto buffer = readFile(path);
  if (!buffer)
    return buffer.takeError();
  StringRef data = (*buffer)->getBuffer();
  // The end record is the last thing but a comment.
  size_t end = data.rfind(StringRef("PK\x05\x06", 4));
  if (end == StringRef::npos || data.size() - end < 22)
    return makeError(path, "is no .npz file (it has no ZIP directory)");
  uint64_t count = read16le(data.data() + end + 10);
  uint64_t position = read32le(data.data() + end + 16);
  if (end >= 20 && data.substr(end - 20, 4) == StringRef("PK\x06\x07", 4)) {
    uint64_t record = read64le(data.data() + end - 12);
    if (record + 56 > data.size() ||
        data.substr(record, 4) != StringRef("PK\x06\x06", 4))
      return makeError(path, "has a damaged ZIP64 directory");
    count = read64le(data.data() + record + 32);
    position = read64le(data.data() + record + 48);
  }
  std::map<std::string, HostArray> result;
  for (uint64_t i = 0; i < count; ++i) {
    if (position > data.size() || data.size() - position < 46 ||
        data.substr(position, 4) != StringRef("PK\x01\x02", 4))
      return makeError(path, "has a damaged ZIP directory");
    const char *entry = data.data() + position;
    unsigned method = read16le(entry + 10);
    uint64_t packedSize = read32le(entry + 20), size = read32le(entry + 24);
    uint64_t nameLength = read16le(entry + 28), extra = read16le(entry + 30),
             comment = read16le(entry + 32);
    uint64_t offset = read32le(entry + 42);
    if (data.size() - position < 46 + nameLength + extra + comment)
      return makeError(path, "has a damaged ZIP directory");
    StringRef name(entry + 46, nameLength);
    // Sizes beyond 32 bits are in the extra field 1, in this order.
    StringRef fields(entry + 46 + nameLength, extra);
    while (fields.size() >= 4) {
      uint16_t kind = read16le(fields.data()),
               length = read16le(fields.data() + 2);
      StringRef body = fields.substr(4, length);
      fields = fields.substr(std::min<size_t>(fields.size(), 4 + length));
      if (kind != 1)
        continue;
      for (uint64_t *value : {&size, &packedSize, &offset})
        if (*value == UINT32_MAX && body.size() >= 8) {
          *value = read64le(body.data());
          body = body.drop_front(8);
        }
    }
    position += 46 + nameLength + extra + comment;
    std::string where = (path + "(" + name + ")").str();
    if (offset > data.size() || data.size() - offset < 30 ||
        data.substr(offset, 4) != StringRef("PK\x03\x04", 4))
      return makeError(where, "has no local ZIP header");
    uint64_t content = offset + 30 + read16le(data.data() + offset + 26) +
                       read16le(data.data() + offset + 28);
    if (content > data.size() || data.size() - content < packedSize)
      return makeError(where, "is cut short");
    auto member =
        inflateMember(data.substr(content, packedSize), size, method, where);
    if (!member)
      return member.takeError();
    name.consume_back(".npy");
    auto array = parseNpy(*member, where, context);
    if (!array)
      return array.takeError();
    result[name.str()] = std::move(*array);
  }
  return result;
}
