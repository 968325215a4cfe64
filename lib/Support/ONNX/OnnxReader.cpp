//===- OnnxReader.cpp - Parse an ONNX file without its weights ------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Walks the mapped file once, copies all but large tensor data into a small
/// serialized model and parses that with protobuf. The pages of the weights are
/// not touched.
///
//===----------------------------------------------------------------------===//

#include "WireFormat.h"
#include "miura/Support/ONNX/OnnxFile.h"
#include "llvm/ADT/ScopeExit.h"
#include "llvm/ADT/Twine.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include <fcntl.h>
#include <google/protobuf/io/coded_stream.h>
#include <sys/mman.h>
#include <unistd.h>

using namespace llvm;
using namespace miura;
using namespace miura::wire;

namespace {

/// Copies messages without their large tensor data.
class Stripper {
public:
  Stripper(StringRef path, const uint8_t *file, uint64_t size)
      : path(path), file(file), size(size) {}

  Error stripModel(std::string &out) {
    return strip(Message::Model, file, file + size, /*depth=*/0, out);
  }

private:
  Error fail(const Twine &problem, const Twine &remedy) {
    return createStringError(path + ": " + problem + "; " + remedy);
  }

  Error failAt(Status status, Message message, const uint8_t *position,
               const Field &field) {
    uint64_t offset = (uint64_t)(position - file);
    if (message != Message::Model || status != Status::Truncated)
      return fail("not an ONNX model: malformed protobuf data at byte " +
                      Twine(offset),
                  "give a file that an exporter wrote as .onnx");
    // The outermost message ends with the file, so a field that is longer than
    // the rest was cut off.
    return fail("the file is truncated: its field " + Twine(field.number) +
                    " at byte " + Twine(offset) +
                    " is longer than the rest of the file (" +
                    Twine(size - offset) + " bytes)",
                "copy or download it again");
  }

  /// A file that starts otherwise is of another kind.
  Error checkFirstField(Status status, const Field &field) {
    StringRef head((const char *)file, std::min<uint64_t>(size, 64));
    StringRef kind;
    if (head.starts_with("version https://git-lfs"))
      return fail("a Git LFS pointer, not the model itself",
                  "run 'git lfs pull' in its folder");
    if (head.starts_with("PK"))
      kind = " (it is a zip archive)";
    else if (head.starts_with("GGUF"))
      kind = " (it is a GGUF file)";
    bool plausible =
        status != Status::Malformed &&
        (field.number <= 26 && field.number != 0) &&
        (field.number == 1 || field.number == 5 ? field.wireType == Varint
                                                : field.wireType == Bytes);
    if (plausible && kind.empty())
      return Error::success();
    return fail("not an ONNX model" + kind + ": wrong first bytes",
                "give a file that an exporter wrote as .onnx");
  }

  Error strip(Message message, const uint8_t *begin, const uint8_t *end,
              int depth, std::string &out) {
    if (message == Message::Graph && ++depth > kMaxOnnxNesting + 1)
      return fail("subgraphs nest deeper than " + Twine(kMaxOnnxNesting) +
                      " levels",
                  "flatten the model's nested control flow");
    int mappable = 0;
    if (message == Message::Tensor)
      mappable = countMappable(begin, end);
    Field field;
    for (const uint8_t *position = begin;;) {
      const uint8_t *start = position;
      Status status = readField(position, end, field);
      if (message == Message::Model && start == begin)
        if (Error error = checkFirstField(status, field))
          return error;
      if (status == Status::End)
        return Error::success();
      if (status != Status::Ok)
        return failAt(status, message, start, field);
      Message nested = field.wireType == Bytes
                           ? getNested(message, field.number)
                           : Message::None;
      if (nested != Message::None) {
        std::string inner;
        if (Error error = strip(nested, field.value, field.end, depth, inner))
          return error;
        appendTag(out, field.number, Bytes);
        appendVarint(out, inner.size());
        out += inner;
        continue;
      }
      // A tensor whose data comes in pieces (which protobuf allows and nobody
      // writes) is left to protobuf.
      if (message == Message::Tensor && mappable == 1 &&
          field.wireType == Bytes && isMappable(field.number) &&
          field.end - field.value > kInlineTensorBytes) {
        appendRange(field, out);
        continue;
      }
      out.append((const char *)field.start, field.end - field.start);
    }
  }

  static int countMappable(const uint8_t *position, const uint8_t *end) {
    int count = 0;
    Field field;
    while (readField(position, end, field) == Status::Ok)
      count += isMappable(field.number);
    return count;
  }

  void appendRange(const Field &field, std::string &out) {
    onnx::StringStringEntryProto entry;
    entry.set_key(kRangeKey);
    entry.set_value((Twine(field.number) + ":" + Twine(field.value - file) +
                     ":" + Twine(field.end - field.value))
                        .str());
    std::string text = entry.SerializeAsString();
    appendTag(out, kExternalData, Bytes);
    appendVarint(out, text.size());
    out += text;
  }

  StringRef path;
  const uint8_t *file;
  uint64_t size;
};

} // namespace

std::optional<OnnxRange> miura::getOnnxRange(const onnx::TensorProto &tensor) {
  // The reader appends its entry where the data was; nothing else may have
  // the same key, as values that point outside the file are refused.
  for (const auto &entry : tensor.external_data()) {
    if (entry.key() != kRangeKey)
      continue;
    auto [number, rest] = StringRef(entry.value()).split(':');
    auto [offset, length] = rest.split(':');
    OnnxRange range;
    if (number.getAsInteger(10, range.field) ||
        offset.getAsInteger(10, range.offset) ||
        length.getAsInteger(10, range.length))
      return std::nullopt;
    return range;
  }
  return std::nullopt;
}

Expected<std::unique_ptr<OnnxFile>> miura::readOnnxFile(StringRef path) {
  auto result = std::make_unique<OnnxFile>();
  result->path = path.str();
  SmallString<256> folder(path), real;
  std::error_code code = sys::fs::real_path(path, real);
  if (code)
    return createStringError(path + ": " + code.message() +
                             "; check the file's name");
  result->realPath = std::string(real);
  sys::fs::make_absolute(folder);
  sys::path::remove_filename(folder);
  result->folder = std::string(folder);

  sys::fs::file_status status;
  if (!sys::fs::status(real, status) &&
      status.type() != sys::fs::file_type::regular_file)
    return createStringError(path + ": not a regular file; give the .onnx file "
                                    "itself");
  int descriptor = open(real.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0)
    return createStringError(path + ": " +
                             std::generic_category().message(errno) +
                             "; check its permissions");
  scope_exit close([&] { ::close(descriptor); });
  result->size = status.getSize();
  if (result->size == 0)
    return createStringError(path + ": the file is empty; copy or download it "
                                    "again");
  void *mapped = mmap(nullptr, result->size, PROT_READ, MAP_PRIVATE, descriptor,
                      /*offset=*/0);
  if (mapped == MAP_FAILED)
    return createStringError(
        path + ": cannot be mapped: " + std::generic_category().message(errno) +
        "; copy it to a local disk");
  scope_exit unmap([mapped, size = result->size] { munmap(mapped, size); });

  std::string small;
  Stripper stripper(path, (const uint8_t *)mapped, result->size);
  if (Error error = stripper.stripModel(small))
    return std::move(error);
  if (small.size() > INT32_MAX)
    return createStringError(
        path + ": over 2 GiB of data beside the tensors' raw_data; store the "
               "tensors as raw_data or external data");
  google::protobuf::io::CodedInputStream stream((const uint8_t *)small.data(),
                                                (int)small.size());
  // Graph, node and attribute take a level each; types nest as deep as graphs.
  stream.SetRecursionLimit(16 * kMaxOnnxNesting);
  if (!result->model.ParseFromCodedStream(&stream) ||
      !stream.ConsumedEntireMessage())
    return createStringError(
        path + ": not an ONNX model: malformed protobuf data, or messages "
               "nested too deep; give a file that an exporter wrote as .onnx");
  if (!result->model.has_graph() || !result->model.has_ir_version())
    return createStringError(
        path + ": not an ONNX model: it has no " +
        (result->model.has_graph() ? "ir_version" : "graph") +
        "; give a file that an exporter wrote as .onnx");
  return std::move(result);
}

Expected<std::unique_ptr<onnx::ModelProto>>
miura::readOnnxMeta(StringRef path) {
  auto buffer = MemoryBuffer::getFile(path, /*IsText=*/false,
                                      /*RequiresNullTerminator=*/false);
  if (!buffer)
    return createStringError(path + ": " + buffer.getError().message() +
                             "; it lies beside the .mlir that import wrote");
  auto meta = std::make_unique<onnx::ModelProto>();
  google::protobuf::io::CodedInputStream stream(
      (const uint8_t *)(*buffer)->getBufferStart(),
      (int)(*buffer)->getBufferSize());
  stream.SetRecursionLimit(16 * kMaxOnnxNesting);
  if ((*buffer)->getBufferSize() > INT32_MAX ||
      !meta->ParseFromCodedStream(&stream) || !stream.ConsumedEntireMessage())
    return createStringError(path + ": not a side resource that import wrote; "
                                    "import the model again");
  return std::move(meta);
}

Expected<std::string> miura::resolveExternalData(StringRef folder,
                                                 StringRef location) {
  auto refuse = [&](const Twine &problem) {
    return createStringError("external data '" + location + "' " + problem +
                             "; external data must lie in the model's folder");
  };
  if (location.empty())
    return createStringError("external data has no location; export the model "
                             "again");
  if (location.contains('\0'))
    return refuse("has a NUL in its name");
  if (sys::path::is_absolute(location))
    return refuse("is an absolute path");
  for (StringRef part :
       make_range(sys::path::begin(location), sys::path::end(location)))
    if (part == "..")
      return refuse("leaves the model's folder");
  SmallString<256> path(folder), real, realFolder;
  sys::path::append(path, location);
  if (std::error_code code = sys::fs::real_path(path, real))
    return createStringError("external data '" + location + "' is missing (" +
                             code.message() + "): looked for '" + path +
                             "'; put the file beside the model");
  if (std::error_code code = sys::fs::real_path(folder, realFolder))
    return createStringError("cannot resolve '" + folder + "': " +
                             code.message() + "; check its permissions");
  SmallString<256> prefix(realFolder);
  if (!prefix.ends_with("/"))
    prefix += "/";
  if (!StringRef(real).starts_with(prefix))
    return refuse("is a link out of the model's folder");
  sys::fs::file_status status;
  if (!sys::fs::status(real, status) &&
      status.type() != sys::fs::file_type::regular_file)
    return refuse("is not a regular file");
  return std::string(real);
}
