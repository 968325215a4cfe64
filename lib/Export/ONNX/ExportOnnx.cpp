//===- ExportOnnx.cpp - The onnx level to ONNX files ----------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Decides for each large tensor where its bytes go (the model's file, or a
/// file of external data beside it, at the place where it was) and writes both
/// from mapped pages.
///
//===----------------------------------------------------------------------===//

#include "miura/Export/ONNX/ExportOnnx.h"
#include "AttributeExporter.h"
#include "miura/Import/ONNX/ImportOnnx.h"
#include "miura/Import/ONNX/OnnxTypes.h"
#include "miura/Support/ONNX/OnnxFile.h"
#include "mlir/IR/Builders.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"
#include <deque>
#include <map>

using namespace mlir;
using namespace miura;

namespace {

class FileExporter {
public:
  FileExporter(ModuleOp module, StringRef path)
      : module(module), path(path), store(module.getContext()
                                              ->getOrLoadDialect<MiuraDialect>()
                                              ->getWeightStore()) {}

  LogicalResult run(const ExportOnnxOptions &options);

private:
  struct Chunk {
    uint64_t offset;
    ArrayRef<uint8_t> bytes;
    std::string source; // the file that has the bytes at this offset, or ""
  };

  LogicalResult setData(const ExportedTensor &tensor, onnx::TensorProto &proto);
  LogicalResult setExternal(const ExportedTensor &tensor, StringRef location,
                            ArrayRef<uint8_t> bytes, BytesAttr source,
                            onnx::TensorProto &proto);
  LogicalResult writeExternal(StringRef location, ArrayRef<Chunk> chunks);
  ArrayRef<uint8_t> keep(std::vector<uint8_t> bytes) {
    owned.push_back(std::move(bytes));
    return owned.back();
  }

  ModuleOp module;
  StringRef path;
  WeightStore &store;
  bool inlineAll = true; // false: the model would be over 2 GiB
  std::vector<ArrayRef<uint8_t>> payloads;
  std::deque<std::vector<uint8_t>> owned;
  std::map<std::string, std::vector<Chunk>> external;
};

} // namespace

LogicalResult FileExporter::setData(const ExportedTensor &tensor,
                                    onnx::TensorProto &proto) {
  if (tensor.inlined) {
    auto place = tensor.op->getAttrOfType<BytesAttr>(kExternalAttrName);
    if (!place)
      return tensor.op->emitOpError("expects '")
             << kExternalAttrName << "' to be #miura.bytes";
    std::string raw = getDenseBytes(tensor.inlined);
    return setExternal(tensor, place.getFile(),
                       keep(std::vector<uint8_t>(raw.begin(), raw.end())),
                       place, proto);
  }
  auto data = cast<WeightDataOp>(tensor.op);
  if (!data.getBytes())
    return data.emitOpError("is only declared: its bytes are not here to be "
                            "exported; give the original model");
  auto mapped = store.getBytes(*data.getBytes(), data.getLoc());
  if (failed(mapped))
    return failure();
  ArrayRef<uint8_t> bytes = *mapped;
  if (!isSamePacking(tensor.type))
    bytes = keep(unpackRows(tensor.type, bytes));

  std::string location;
  if (auto text = data->getAttrOfType<StringAttr>(kLocationAttrName))
    location = text.str();
  else if (!inlineAll)
    location = llvm::sys::path::filename(path).str() + ".data";
  if (!location.empty())
    return setExternal(tensor, location, bytes, *data.getBytes(), proto);

  auto text = data->getAttrOfType<StringAttr>(kFieldAttrName);
  DataField field = text ? getFieldByName(text.getValue()) : DataField::Raw;
  int number =
      field == DataField::Raw      ? onnx::TensorProto::kRawDataFieldNumber
      : field == DataField::Float  ? onnx::TensorProto::kFloatDataFieldNumber
      : field == DataField::Double ? onnx::TensorProto::kDoubleDataFieldNumber
                                   : 0;
  if (number == 0) {
    setRawBytes(proto, field, tensor.type.getElementType(), bytes);
    return success();
  }
  setOnnxPayload(proto, number, payloads.size());
  payloads.push_back(bytes);
  return success();
}

LogicalResult FileExporter::setExternal(const ExportedTensor &tensor,
                                        StringRef location,
                                        ArrayRef<uint8_t> bytes,
                                        BytesAttr source,
                                        onnx::TensorProto &proto) {
  bool leaves = llvm::sys::path::is_absolute(location);
  for (StringRef part : llvm::make_range(llvm::sys::path::begin(location),
                                         llvm::sys::path::end(location)))
    leaves |= part == "..";
  if (leaves)
    return tensor.op->emitOpError("has its external data in '")
           << location << "', which leaves the model's folder";
  if (path == "-")
    return tensor.op->emitOpError("has its external data in '")
           << location << "', which needs a folder: export to a file with -o";
  std::vector<Chunk> &chunks = external[location.str()];
  // Bytes that lay in this file stay where they were; others follow at its end.
  bool stays = tensor.inlined || source.getFile() == location ||
               source.getFile().ends_with(("/" + location).str());
  uint64_t offset = source.getOffset();
  if (!stays) {
    offset = 0;
    for (const Chunk &chunk : chunks)
      offset = std::max(offset, chunk.offset + chunk.bytes.size());
    offset = llvm::alignTo(offset, 64);
  }
  chunks.push_back(
      {offset, bytes, stays && !tensor.inlined ? source.getFile().str() : ""});
  proto.set_data_location(onnx::TensorProto::EXTERNAL);
  auto add = [&](StringRef key, StringRef value) {
    auto *entry = proto.add_external_data();
    entry->set_key(key.str());
    entry->set_value(value.str());
  };
  auto entries = tensor.op->getAttrOfType<ArrayAttr>(kExternalEntriesAttrName);
  if (entries && stays) {
    for (unsigned i = 0; i + 1 < entries.size(); i += 2)
      add(cast<StringAttr>(entries[i]).getValue(),
          cast<StringAttr>(entries[i + 1]).getValue());
    return success();
  }
  add("location", location);
  add("offset", std::to_string(offset));
  add("length", std::to_string(bytes.size()));
  return success();
}

LogicalResult FileExporter::writeExternal(StringRef location,
                                          ArrayRef<Chunk> chunks) {
  SmallString<256> target(path);
  llvm::sys::path::remove_filename(target);
  llvm::sys::path::append(target, location);
  auto fail = [&](const Twine &message) {
    return module.emitError() << target << ": cannot be written: " << message
                              << "; check the folder and its permissions";
  };
  // Exported beside the data it came from: it is there already.
  if (llvm::all_of(chunks, [&](const Chunk &chunk) {
        bool same = false;
        return !chunk.source.empty() &&
               !llvm::sys::fs::equivalent(chunk.source, target, same) && same;
      }))
    return success();
  if (std::error_code code = llvm::sys::fs::create_directories(
          llvm::sys::path::parent_path(target)))
    if (!llvm::sys::path::parent_path(target).empty())
      return fail(code.message());
  auto temporary = llvm::sys::fs::TempFile::create(target + ".%%%%%%");
  if (!temporary)
    return fail(llvm::toString(temporary.takeError()));
  {
    llvm::raw_fd_ostream stream(temporary->FD, /*shouldClose=*/false);
    for (const Chunk &chunk : chunks) {
      stream.seek(chunk.offset);
      stream.write((const char *)chunk.bytes.data(), chunk.bytes.size());
    }
    stream.flush();
    if (std::error_code code = stream.error()) {
      stream.clear_error();
      llvm::consumeError(temporary->discard());
      return fail(code.message());
    }
  }
  llvm::sys::fs::setPermissions(
      temporary->FD,
      llvm::sys::fs::perms(llvm::sys::fs::all_read | llvm::sys::fs::all_write) &
          llvm::sys::fs::perms(~llvm::sys::fs::getUmask() & 0777));
  if (llvm::Error error = temporary->keep(target))
    return fail(llvm::toString(std::move(error)));
  return success();
}

LogicalResult FileExporter::run(const ExportOnnxOptions &options) {
  uint64_t inlineBytes = 0;
  for (auto data : module.getOps<WeightDataOp>())
    if (data.getBytes() && !data->hasAttr(kLocationAttrName))
      inlineBytes += data.getBytes()->getLength();
  // Readers that use protobuf alone refuse more; a file that had more keeps it.
  bool wasInline =
      llvm::any_of(module.getOps<WeightDataOp>(), [](WeightDataOp data) {
        return data.getBytes() && data.getBytes()->getFile().ends_with(".onnx");
      });
  inlineAll = inlineBytes < (uint64_t(1) << 31) - (1 << 24) || wasInline;

  onnx::ModelProto model;
  if (failed(exportOnnxModel(
          module, model,
          [&](const ExportedTensor &tensor, onnx::TensorProto &proto) {
            return setData(tensor, proto);
          })))
    return failure();
  if (!options.metaPath.empty()) {
    auto meta = readOnnxMeta(options.metaPath);
    if (!meta)
      return module.emitError() << llvm::toString(meta.takeError());
    mergeOnnxMeta(**meta, model);
  }
  for (auto &[location, chunks] : external)
    if (failed(writeExternal(location, chunks)))
      return failure();
  if (llvm::Error error = writeOnnxFile(model, payloads, path))
    return module.emitError() << llvm::toString(std::move(error));
  return success();
}

LogicalResult miura::exportOnnx(ModuleOp module, StringRef path,
                                const ExportOnnxOptions &options) {
  return FileExporter(module, path).run(options);
}
