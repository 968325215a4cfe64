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
#include "miura/Dialect/Miura/IR/MiuraDialect.h"
#include "miura/Support/SafeTensors.h"
#include "mlir/Parser/Parser.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/ScopeExit.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/BLAKE3.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Process.h"

using namespace mlir;
using namespace miura;
using namespace miura::driver;

static constexpr llvm::StringLiteral kModel = "model.mlir";
static constexpr llvm::StringLiteral kWeights = "weights.safetensors";
static constexpr llvm::StringLiteral kReport = "report.json";

static std::string joinPath(StringRef folder, StringRef name) {
  SmallString<128> path(folder);
  llvm::sys::path::append(path, name);
  return std::string(path);
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
  // A folder cannot be renamed over one that has files.
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

LogicalResult miura::driver::writeBundle(
    ModuleOp module, StringRef path, StringRef tokenizer,
    llvm::function_ref<llvm::json::Object(int64_t)> makeReport) {
  Location loc = module.getLoc();
  std::string target = path.rtrim('/').str();
  if (llvm::sys::fs::exists(target) &&
      !llvm::sys::fs::exists(joinPath(target, kModel)))
    return emitError(loc) << "'" << target
                          << "' exists and is no bundle, so it is not "
                             "replaced; remove it or choose another name";
  std::string temporary =
      target + ".tmp-" + std::to_string(llvm::sys::Process::getProcessId());
  llvm::sys::fs::remove_directories(temporary);
  if (std::error_code error = llvm::sys::fs::create_directories(temporary))
    return emitError(loc) << "cannot make the folder '" << temporary
                          << "': " << error.message();
  llvm::scope_exit cleanup(
      [&] { llvm::sys::fs::remove_directories(temporary); });

  OwningOpRef<ModuleOp> copy = module.clone();
  if (failed(pruneWeights(*copy)) ||
      failed(writeWeights(*copy, joinPath(temporary, kWeights))) ||
      failed(report(
          loc, writeText(joinPath(temporary, kModel), [&](raw_ostream &os) {
            copy->print(os);
            os << "\n";
          }))))
    return failure();
  if (!tokenizer.empty()) {
    std::string to = joinPath(temporary, llvm::sys::path::filename(tokenizer));
    if (std::error_code error = llvm::sys::fs::copy_file(tokenizer, to))
      return emitError(loc) << "cannot copy the tokenizer '" << tokenizer
                            << "': " << error.message();
  }
  int64_t bytes = getBundleBytes(temporary);
  if (failed(report(
          loc, writeText(joinPath(temporary, kReport), [&](raw_ostream &os) {
            os << llvm::formatv("{0:2}\n",
                                llvm::json::Value(makeReport(bytes)));
          }))))
    return failure();
  return report(loc, replaceFolder(temporary, target));
}

//===----------------------------------------------------------------------===//
// Reading
//===----------------------------------------------------------------------===//

OwningOpRef<ModuleOp> miura::driver::readBundle(StringRef path,
                                                MLIRContext *context) {
  std::string folder = path.rtrim('/').str();
  std::string file = joinPath(folder, kModel);
  if (!llvm::sys::fs::exists(file)) {
    emitError(UnknownLoc::get(context))
        << "'" << folder << "' is no bundle: it has no " << kModel;
    return {};
  }
  auto module = parseSourceFile<ModuleOp>(file, context);
  if (!module)
    return {};
  for (auto data : module->getOps<WeightDataOp>()) {
    if (!data.getBytes())
      continue;
    BytesAttr bytes = *data.getBytes();
    if (!bytes.getDigest()) {
      data.emitOpError("has no digest, which every weight in a bundle must "
                       "have: the bundle was changed");
      return {};
    }
    auto inside = resolveInside(folder, bytes.getFile());
    if (!inside) {
      data.emitOpError(llvm::toString(inside.takeError()));
      return {};
    }
    SmallString<128> absolute(*inside);
    llvm::sys::fs::make_absolute(absolute);
    // Short files are told now; digests are checked when bytes are read.
    uint64_t size = 0;
    llvm::sys::fs::file_size(absolute, size);
    if ((uint64_t)bytes.getOffset() > size ||
        (uint64_t)bytes.getLength() > size - (uint64_t)bytes.getOffset()) {
      data.emitOpError("lies beyond the end of '")
          << absolute << "', which has " << size
          << " bytes: the bundle is truncated";
      return {};
    }
    data.setBytesAttr(BytesAttr::get(context, absolute, bytes.getOffset(),
                                     bytes.getLength(), bytes.getFileSize(),
                                     bytes.getDigest()));
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
  return found;
}
