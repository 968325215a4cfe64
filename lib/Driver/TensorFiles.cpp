//===- TensorFiles.cpp - Inputs and outputs in files ----------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// TensorProtos, parsed by protobuf; the set of tensors of a run; comparison.
/// NumPy's files are in NumpyFiles.cpp.
///
//===----------------------------------------------------------------------===//

#include "miura/Driver/TensorFiles.h"
#include "TensorFileErrors.h"
#include "miura/Import/ONNX/OnnxTypes.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include <cmath>

using namespace mlir;
using namespace miura;

using llvm::Error;
using llvm::Expected;
using llvm::Twine;

//===----------------------------------------------------------------------===//
// TensorProto
//===----------------------------------------------------------------------===//

Expected<HostArray> miura::readTensorProto(StringRef path,
                                           MLIRContext *context) {
  auto buffer = readFile(path);
  if (!buffer)
    return buffer.takeError();
  onnx::TensorProto proto;
  if ((*buffer)->getBufferSize() > INT32_MAX ||
      !proto.ParseFromArray((*buffer)->getBufferStart(),
                            (*buffer)->getBufferSize()))
    return makeError(path, "is no serialized TensorProto");
  auto type = importTensorType(context, proto);
  if (!type)
    return makeError(path, llvm::toString(type.takeError()));
  int64_t size = getHostElementBytes(type->getElementType());
  if (size == 0)
    return makeError(path, "has elements that inputs cannot have (data type " +
                               Twine(proto.data_type()) + ")");
  auto field = getDataField(proto);
  if (!field)
    return makeError(path, llvm::toString(field.takeError()));
  if (*field == DataField::String)
    return makeError(path, "holds strings");
  HostArray result;
  result.type = *type;
  if (*field != DataField::None) {
    std::string raw = getRawBytes(proto, *field, type->getElementType());
    result.bytes.assign(raw.begin(), raw.end());
  }
  if (int64_t(result.bytes.size()) != type->getNumElements() * size)
    return makeError(path, "expects " + Twine(type->getNumElements() * size) +
                               " bytes of data, but has " +
                               Twine(result.bytes.size()));
  return result;
}

//===----------------------------------------------------------------------===//
// TensorSet
//===----------------------------------------------------------------------===//

std::string miura::toFileName(StringRef name) {
  std::string result = name.str();
  for (char &c : result)
    if (!llvm::isAlnum(c) && c != '.' && c != '-' && c != '_')
      c = '_';
  return result;
}

Expected<TensorSet> TensorSet::open(StringRef path, MLIRContext *context) {
  TensorSet set;
  set.path = path.str();
  set.context = context;
  set.isFolder = llvm::sys::fs::is_directory(path);
  if (!set.isFolder && !llvm::sys::fs::exists(path))
    return makeError(path, "is not there; give a folder with input_0.pb, … or "
                           "a .npz file");
  auto load = [&](StringRef file, StringRef stem) -> Error {
    auto arrays = readNpz(file, context);
    if (!arrays)
      return arrays.takeError();
    set.archives[stem.str()] = std::move(*arrays);
    return Error::success();
  };
  if (!set.isFolder) {
    for (StringRef stem : {"input", "output"})
      if (Error error = load(path, stem))
        return error;
    return set;
  }
  for (StringRef stem : {"input", "output"}) {
    SmallString<128> archive(path);
    llvm::sys::path::append(archive, stem + "s.npz");
    if (llvm::sys::fs::exists(archive))
      if (Error error = load(archive, stem))
        return error;
  }
  return set;
}

Expected<std::optional<HostArray>> TensorSet::find(StringRef stem, size_t index,
                                                   StringRef name) const {
  std::string numbered = (stem + "_" + Twine(index)).str();
  if (isFolder) {
    for (auto [file, isProto] : {std::pair{numbered + ".pb", true},
                                 {numbered + ".npy", false},
                                 {toFileName(name) + ".npy", false}}) {
      SmallString<128> full(path);
      llvm::sys::path::append(full, file);
      if (!llvm::sys::fs::exists(full))
        continue;
      auto array =
          isProto ? readTensorProto(full, context) : readNpy(full, context);
      if (!array)
        return array.takeError();
      return std::optional<HostArray>(std::move(*array));
    }
  }
  auto archive = archives.find(stem.str());
  if (archive != archives.end())
    for (const std::string &key : {name.str(), numbered}) {
      auto array = archive->second.find(key);
      if (array != archive->second.end())
        return std::optional<HostArray>(array->second);
    }
  return std::optional<HostArray>();
}

//===----------------------------------------------------------------------===//
// Comparison
//===----------------------------------------------------------------------===//

ArrayDifference miura::compareArrays(const HostArray &actual,
                                     const HostArray &expected) {
  ArrayDifference result;
  double squares = 0, norm = 0;
  for (int64_t i = 0, e = expected.getNumElements(); i < e; ++i) {
    double a = actual.get(i), b = expected.get(i);
    if (a == b || (std::isnan(a) && std::isnan(b))) {
      if (std::isfinite(b))
        norm += b * b;
      continue;
    }
    double difference = std::fabs(a - b);
    if (std::isnan(difference))
      difference = INFINITY;
    result.maxAbsolute = std::max(result.maxAbsolute, difference);
    squares += difference * difference;
    norm += std::isfinite(b) ? b * b : 0;
  }
  result.relative = std::sqrt(norm > 0 ? squares / norm : squares);
  return result;
}
