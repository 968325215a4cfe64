//===- Bundle.cpp - A compressed model as a folder ------------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Weights go from the store's mappings to the bundle's file a piece at a time,
/// and are digested on the way. Tensors of larger elements come first, so that
/// each is aligned to its element without gaps, which the format forbids.
///
//===----------------------------------------------------------------------===//

#include "miura/Driver/Bundle.h"
#include "Interrupt.h"
#include "Output.h"
#include "ParseModule.h"
#include "miura/Dialect/Miura/IR/MiuraDialect.h"
#include "miura/Import/ONNX/ImportOnnx.h"
#include "miura/Support/SafeTensors.h"
#include "mlir/IR/Iterators.h"
#include "mlir/IR/Threading.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/BLAKE3.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Process.h"
#include <cstdio>
#include <fcntl.h>

using namespace mlir;
using namespace miura;
using namespace miura::driver;

static constexpr llvm::StringLiteral kModel = "model.mlir";
static constexpr llvm::StringLiteral kWeights = "weights.safetensors";
static constexpr llvm::StringLiteral kReport = "report.json";
/// Keys of the report that are the bundle's own.
static constexpr llvm::StringLiteral kModelDigest = "model_digest";
static constexpr llvm::StringLiteral kTokenizer = "tokenizer";

static std::string joinPath(StringRef folder, StringRef name) {
  SmallString<128> path(folder);
  llvm::sys::path::append(path, name);
  return std::string(path);
}

/// Whether `path` is a bundle, as far as its files' names say.
static bool isBundle(StringRef path) {
  return llvm::sys::fs::is_directory(path) &&
         llvm::sys::fs::exists(joinPath(path, kModel)) &&
         llvm::sys::fs::exists(joinPath(path, kWeights));
}

static LogicalResult report(Location loc, llvm::Error error) {
  if (!error)
    return success();
  return emitError(loc) << llvm::toString(std::move(error));
}

//===----------------------------------------------------------------------===//
// Writing
//===----------------------------------------------------------------------===//

/// The safetensors type and shape of a stored tensor: codes narrower than a
/// byte are rows of bytes there.
static std::pair<StringRef, SmallVector<int64_t>>
getSafeTensorType(RankedTensorType type) {
  Type element = type.getElementType();
  SmallVector<int64_t> shape(type.getShape());
  StringRef name =
      llvm::TypeSwitch<Type, StringRef>(element)
          .Case([](Float64Type) { return "F64"; })
          .Case([](Float32Type) { return "F32"; })
          .Case([](Float16Type) { return "F16"; })
          .Case([](BFloat16Type) { return "BF16"; })
          .Case([](Float8E4M3FNType) { return "F8_E4M3"; })
          .Case([](Float8E5M2Type) { return "F8_E5M2"; })
          .Case([](IntegerType integer) {
            switch (integer.getWidth()) {
            case 1:
              return StringRef("BOOL");
            case 8:
              return StringRef(integer.isUnsigned() ? "U8" : "I8");
            case 16:
              return StringRef(integer.isUnsigned() ? "U16" : "I16");
            case 32:
              return StringRef(integer.isUnsigned() ? "U32" : "I32");
            case 64:
              return StringRef(integer.isUnsigned() ? "U64" : "I64");
            default:
              return StringRef();
            }
          })
          .Default([](Type) { return StringRef(); });
  if (!name.empty())
    return {name, shape};
  int64_t bytes = getStoredBytes(type);
  int64_t rows = 1;
  for (int64_t size : ArrayRef<int64_t>(shape).drop_back(shape.empty() ? 0 : 1))
    rows *= size;
  if (shape.empty())
    shape.push_back(0);
  shape.back() = rows == 0 ? 0 : bytes / rows;
  return {"U8", shape};
}

/// Erases weights that nothing reads, and makes declarations of those that are
/// only the originals of approximations.
static LogicalResult pruneWeights(ModuleOp module) {
  // Users before what they use.
  module.walk<WalkOrder::PostOrder, ReverseIterator>([](Operation *op) {
    if (isOpTriviallyDead(op))
      op->erase();
  });
  llvm::DenseSet<StringAttr> read, approximated;
  module.walk([&](Operation *op) {
    if (auto weight = dyn_cast<WeightOp>(op))
      read.insert(weight.getDataAttr().getAttr());
    else if (auto root = dyn_cast<ApproximateOp>(op))
      approximated.insert(root.getOriginalAttr().getAttr());
  });
  auto *dialect = module.getContext()->getOrLoadDialect<MiuraDialect>();
  for (auto data : llvm::make_early_inc_range(module.getOps<WeightDataOp>())) {
    StringAttr name = data.getSymNameAttr();
    if (read.contains(name)) {
      if (!data.getBytes())
        return data.emitOpError("is read, but only declared: it has no bytes");
      continue;
    }
    if (!approximated.contains(name)) {
      data.erase();
      continue;
    }
    if (!data.getBytes())
      continue;
    auto digest =
        dialect->getWeightStore().getDigest(*data.getBytes(), data.getLoc());
    if (failed(digest))
      return failure();
    data.removeBytesAttr();
    data.setDigest(*digest);
  }
  return success();
}

static LogicalResult writeWeights(ModuleOp module, StringRef path) {
  MLIRContext *context = module.getContext();
  WeightStore &store =
      context->getOrLoadDialect<MiuraDialect>()->getWeightStore();
  // Equal bytes are written once.
  llvm::MapVector<BytesAttr, SmallVector<WeightDataOp>> entries;
  for (auto data : module.getOps<WeightDataOp>())
    if (data.getBytes())
      entries[*data.getBytes()].push_back(data);
  auto getType = [](const auto &entry) {
    WeightDataOp data = entry.second.front();
    return getSafeTensorType(cast<RankedTensorType>(data.getType()));
  };
  SmallVector<std::pair<BytesAttr, SmallVector<WeightDataOp>>> ordered;
  for (unsigned size : {8, 4, 2, 1})
    for (auto &entry : entries)
      if (getSafeTensorElementSize(getType(entry).first) == size)
        ordered.push_back(entry);

  SafeTensorsWriter writer;
  writer.setMetadata("format", "miura");
  for (auto &entry : ordered) {
    auto [dtype, shape] = getType(entry);
    writer.add(entry.second.front().getSymName(), dtype, shape,
               entry.first.getLength());
  }
  Location loc = module.getLoc();
  if (failed(report(loc, writer.begin(path))))
    return failure();
  for (auto [i, entry] : llvm::enumerate(ordered)) {
    auto bytes = store.getBytes(entry.first, entry.second.front().getLoc());
    if (failed(bytes))
      return failure();
    llvm::BLAKE3 hasher;
    constexpr size_t kPiece = 1 << 20;
    for (ArrayRef<uint8_t> rest = *bytes; !rest.empty();
         rest = rest.drop_front(std::min(kPiece, rest.size()))) {
      hasher.update(rest.take_front(kPiece));
      if (failed(report(loc, writer.write(rest.take_front(kPiece)))))
        return failure();
    }
    auto attr = BytesAttr::get(
        context, kWeights, (int64_t)writer.getOffset(i),
        entry.first.getLength(), 0,
        StringAttr::get(context,
                        llvm::toHex(hasher.final(), /*LowerCase=*/true)));
    for (WeightDataOp data : entry.second)
      data.setBytesAttr(attr);
  }
  return report(loc, writer.finish());
}

static llvm::Error writeText(const std::string &path,
                             llvm::function_ref<void(raw_ostream &)> write) {
  std::error_code error;
  llvm::raw_fd_ostream stream(path, error);
  if (!error) {
    write(stream);
    stream.flush();
    error = stream.error();
    stream.clear_error();
  }
  if (error)
    return llvm::createStringError(error, "cannot write '" + path +
                                              "': " + error.message());
  return llvm::Error::success();
}

/// Puts the finished folder `from` in the place of `to`.
static llvm::Error replaceFolder(const std::string &from,
                                 const std::string &to) {
  auto rename = [](const Twine &a, const Twine &b) -> llvm::Error {
    if (std::error_code error = llvm::sys::fs::rename(a, b))
      return llvm::createStringError(error, "cannot rename '" + a + "' to '" +
                                                b + "': " + error.message());
    return llvm::Error::success();
  };
  if (!llvm::sys::fs::exists(to))
    return rename(from, to);
  // A folder cannot be renamed over one that has files, but two can change
  // places at once; the old one is then the temporary one, which goes.
  if (::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(),
                  RENAME_EXCHANGE) == 0)
    return llvm::Error::success();
  // Not every file system can.
  std::string old = from + ".old";
  if (llvm::Error error = rename(to, old))
    return error;
  if (llvm::Error error = rename(from, to)) {
    llvm::consumeError(rename(old, to));
    return error;
  }
  llvm::sys::fs::remove_directories(old);
  return llvm::Error::success();
}

llvm::Error miura::driver::checkBundlePlace(StringRef path) {
  std::string target = path.rtrim('/').str();
  // A link to nothing is something here, and so it is for rename.
  llvm::sys::fs::file_status status;
  if (!llvm::sys::fs::status(target, status, /*follow=*/false) &&
      !isBundle(target))
    return llvm::createStringError(
        "'" + target +
        "' exists and is no bundle, so it is not replaced; remove it or choose "
        "another name");
  return checkParentFolder(target);
}

LogicalResult miura::driver::writeBundle(
    ModuleOp module, StringRef path, StringRef tokenizer,
    llvm::function_ref<llvm::json::Object(int64_t)> makeReport) {
  Location loc = module.getLoc();
  std::string target = path.rtrim('/').str();
  if (failed(report(loc, checkBundlePlace(target))))
    return failure();
  std::string temporary =
      target + ".tmp-" + std::to_string(llvm::sys::Process::getProcessId());
  llvm::sys::fs::remove_directories(temporary);
  TemporaryFolder cleanup(temporary);
  if (std::error_code error = llvm::sys::fs::create_directories(
          temporary, /*IgnoreExisting=*/true, llvm::sys::fs::all_all))
    return emitError(loc) << "cannot make the folder '" << temporary
                          << "': " << error.message();

  OwningOpRef<ModuleOp> copy = module.clone();
  // The side resource of the imported text is not in the bundle.
  (*copy)->removeAttr(kMetaAttrName);
  if (failed(pruneWeights(*copy)) ||
      failed(writeWeights(*copy, joinPath(temporary, kWeights))) ||
      failed(report(
          loc, writeText(joinPath(temporary, kModel), [&](raw_ostream &os) {
            copy->print(os);
            os << "\n";
          }))))
    return failure();
  bool isBytes = tokenizer == kBytesTokenizer;
  if (!tokenizer.empty() && !isBytes) {
    StringRef name = llvm::sys::path::filename(tokenizer);
    if (llvm::is_contained({kModel, kWeights, kReport}, name))
      return emitError(loc) << "the tokenizer '" << tokenizer
                            << "' has the name of a part of the bundle; rename "
                               "it";
    std::string to = joinPath(temporary, name);
    if (std::error_code error = llvm::sys::fs::copy_file(tokenizer, to))
      return emitError(loc) << "cannot copy the tokenizer '" << tokenizer
                            << "': " << error.message();
  }
  int64_t bytes = getBundleBytes(temporary);
  auto text = llvm::MemoryBuffer::getFile(joinPath(temporary, kModel));
  if (!text)
    return emitError(loc) << "cannot read '" << joinPath(temporary, kModel)
                          << "' back: " << text.getError().message();
  std::string digest =
      blake3Hex(llvm::arrayRefFromStringRef((*text)->getBuffer()));
  if (failed(report(
          loc, writeText(joinPath(temporary, kReport), [&](raw_ostream &os) {
            llvm::json::Object object = makeReport(bytes);
            object[kModelDigest] = digest;
            if (isBytes)
              object[kTokenizer] = kBytesTokenizer;
            os << llvm::formatv("{0:2}\n",
                                llvm::json::Value(std::move(object)));
          }))))
    return failure();
  return report(loc, replaceFolder(temporary, target));
}

//===----------------------------------------------------------------------===//
// Reading
//===----------------------------------------------------------------------===//

/// An error about a weight, which is the node at fault.
static InFlightDiagnostic emitWeightError(WeightDataOp data) {
  StringAttr name = data.getSymNameAttr();
  return emitError(NameLoc::get(name, data.getLoc()))
         << "the weight '" << name.getValue() << "' ";
}

static std::optional<llvm::json::Value> readReport(StringRef folder) {
  auto text = llvm::MemoryBuffer::getFile(joinPath(folder, kReport));
  if (!text)
    return std::nullopt;
  llvm::Expected<llvm::json::Value> report =
      llvm::json::parse((*text)->getBuffer());
  if (report)
    return std::move(*report);
  llvm::consumeError(report.takeError());
  return std::nullopt;
}

static std::string readReportString(StringRef folder, StringRef key) {
  std::optional<llvm::json::Value> report = readReport(folder);
  const llvm::json::Object *object = report ? report->getAsObject() : nullptr;
  return object ? object->getString(key).value_or("").str() : "";
}

/// Makes the place of `data` absolute, after a look whether it can be there.
static LogicalResult locate(WeightDataOp data, const std::string &folder) {
  BytesAttr bytes = *data.getBytes();
  if (!bytes.getDigest())
    return emitWeightError(data)
           << "has no digest, which every weight in a bundle must have: the "
              "bundle was changed";
  auto inside = resolveInside(folder, bytes.getFile());
  if (!inside)
    return emitWeightError(data)
           << "is not in the bundle: " << llvm::toString(inside.takeError());
  SmallString<128> absolute(*inside);
  llvm::sys::fs::make_absolute(absolute);
  uint64_t size = 0;
  llvm::sys::fs::file_size(absolute, size);
  if ((uint64_t)bytes.getOffset() > size ||
      (uint64_t)bytes.getLength() > size - (uint64_t)bytes.getOffset())
    return emitWeightError(data)
           << "lies beyond the end of '" << absolute << "', which has " << size
           << " bytes: the bundle is truncated; copy or "
              "write it again";
  data.setBytesAttr(BytesAttr::get(data.getContext(), absolute,
                                   bytes.getOffset(), bytes.getLength(),
                                   bytes.getFileSize(), bytes.getDigest()));
  return success();
}

OwningOpRef<ModuleOp> miura::driver::readBundle(StringRef path,
                                                MLIRContext *context) {
  std::string folder = path.rtrim('/').str();
  std::string file = joinPath(folder, kModel);
  Location loc = FileLineColLoc::get(context, file, 0, 0);
  WeightStore &store =
      context->getOrLoadDialect<MiuraDialect>()->getWeightStore();
  uint64_t size = 0;
  if (llvm::sys::fs::file_size(file, size)) {
    emitError(loc) << "'" << folder << "' is no bundle: it has no " << kModel;
    return {};
  }
  std::string expected = readReportString(folder, kModelDigest);
  if (expected.empty()) {
    emitError(loc) << "'" << folder << "' is no whole bundle: it has no "
                   << kReport << " with the digest of " << kModel
                   << "; copy or write it again";
    return {};
  }
  llvm::Expected<std::string> digest = store.getFiles().digest(file, 0, size);
  if (!digest) {
    emitError(loc) << llvm::toString(digest.takeError());
    return {};
  }
  if (*digest != expected) {
    emitError(loc) << "'" << file
                   << "' is not what was written: expects the digest "
                   << expected << ", but got " << *digest
                   << "; write the bundle again, or give this file itself as "
                      "the model if it was changed on purpose";
    return {};
  }
  auto module = parseModule(file, context);
  if (!module)
    return {};
  SmallVector<WeightDataOp> weights;
  for (auto data : module->getOps<WeightDataOp>())
    if (data.getBytes()) {
      if (failed(locate(data, folder)))
        return {};
      weights.push_back(data);
    }
  // All at once: errors that are told of it are only as true as its bytes.
  std::vector<std::string> digests(weights.size());
  if (failed(
          failableParallelForEachN(context, 0, weights.size(), [&](size_t i) {
            WeightDataOp data = weights[i];
            auto found = store.getDigest(*data.getBytes(), data.getLoc());
            if (succeeded(found))
              digests[i] = *found;
            return LogicalResult(found);
          })))
    return {};
  for (auto [data, found] : llvm::zip_equal(weights, digests)) {
    BytesAttr bytes = *data.getBytes();
    if (found == bytes.getDigest().getValue())
      continue;
    emitWeightError(data) << "is not what was written: its bytes in '"
                          << bytes.getFile() << "' at offset "
                          << bytes.getOffset() << " have the digest " << found
                          << ", but " << bytes.getDigest().getValue()
                          << " is expected; the file was changed or damaged, "
                             "copy or write the bundle again";
    return {};
  }
  return module;
}

int64_t miura::driver::getBundleBytes(StringRef path) {
  int64_t total = 0;
  for (StringRef name : {kModel, kWeights}) {
    uint64_t size = 0;
    if (!llvm::sys::fs::file_size(joinPath(path, name), size))
      total += (int64_t)size;
  }
  return total;
}

std::string miura::driver::getBundleTokenizer(StringRef path) {
  std::error_code error;
  std::string found;
  for (llvm::sys::fs::directory_iterator it(path, error), end;
       it != end && !error; it.increment(error)) {
    StringRef name = llvm::sys::path::filename(it->path());
    if (name != kModel && name != kWeights && name != kReport &&
        (found.empty() || it->path() < found))
      found = it->path();
  }
  if (!found.empty())
    return found;
  // A tokenizer without a file is named in the report.
  found = readReportString(path, kTokenizer);
  return found == StringRef(kBytesTokenizer) ? found : "";
}
