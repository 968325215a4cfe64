//===- WeightStore.cpp - Bytes outside the IR -----------------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "miura/Dialect/Miura/IR/WeightStore.h"
#include "miura/Dialect/Miura/IR/MiuraDialect.h"
#include "miura/Support/Half.h"
#include "llvm/Support/Path.h"

using namespace mlir;
using namespace miura;

void WeightStore::searchFolderOf(Location loc) {
  auto file = loc->findInstanceOf<FileLineColLoc>();
  if (!file)
    return;
  StringRef name = file.getFilename().getValue();
  files.addSearchFolder(llvm::sys::path::parent_path(name));
  // Where the tool that wrote the file put new tensors by default.
  files.addSearchFolder((name + ".weights").str());
}

FailureOr<ArrayRef<uint8_t>> WeightStore::getBytes(BytesAttr attr,
                                                   Location loc) {
  searchFolderOf(loc);
  auto bytes = files.map(attr.getFile(), attr.getOffset(), attr.getLength(),
                         attr.getFileSize());
  if (!bytes)
    return emitError(loc) << llvm::toString(bytes.takeError());
  if (!attr.getDigest())
    return *bytes;
  {
    std::lock_guard<std::mutex> lock(mutex);
    if (checked.contains(attr))
      return *bytes;
  }
  auto digest = getDigest(attr, loc);
  if (failed(digest))
    return failure();
  if (*digest != attr.getDigest().getValue())
    return emitError(loc) << "the bytes of '" << attr.getFile()
                          << "' at offset " << attr.getOffset()
                          << " are not those that were written: expects the "
                             "digest "
                          << attr.getDigest().getValue() << ", but got "
                          << *digest << "; the file was changed or damaged";
  std::lock_guard<std::mutex> lock(mutex);
  checked.insert(attr);
  return *bytes;
}

FailureOr<BytesAttr> WeightStore::putBytes(ArrayRef<uint8_t> bytes,
                                           Location loc) {
  auto name = files.put(bytes);
  if (!name)
    return emitError(loc) << llvm::toString(name.takeError());
  return BytesAttr::get(loc.getContext(), *name, 0, bytes.size(), 0, {});
}

FailureOr<std::string> WeightStore::getDigest(BytesAttr attr, Location loc) {
  searchFolderOf(loc);
  auto digest =
      files.digest(attr.getFile(), attr.getOffset(), attr.getLength());
  if (!digest)
    return emitError(loc) << llvm::toString(digest.takeError());
  return *digest;
}

/// The width of an element in a file; a boolean takes a byte in ONNX files and
/// in ours.
static int64_t getElementBits(Type type) {
  if (type.isInteger(1))
    return 8;
  if (isa<IndexType>(type))
    return 64;
  if (auto complex = dyn_cast<ComplexType>(type))
    return 2 * getElementBits(complex.getElementType());
  return type.isIntOrFloat() ? type.getIntOrFloatBitWidth() : 0;
}

int64_t miura::getStoredBytes(RankedTensorType type) {
  int64_t bits = getElementBits(type.getElementType());
  if (bits >= 8)
    return type.getNumElements() * (bits / 8);
  int64_t columns = type.getRank() == 0 ? 1 : type.getShape().back();
  int64_t rows = columns == 0 ? 0 : type.getNumElements() / columns;
  return rows * llvm::divideCeil(columns * bits, 8);
}

FailureOr<HostTensor> miura::readHostTensor(RankedTensorType type,
                                            ArrayRef<uint8_t> bytes) {
  HostTensor result;
  result.type = type;
  int64_t bits = getElementBits(type.getElementType());
  int64_t count = type.getNumElements();
  if (bits == 0 || (int64_t)bytes.size() != getStoredBytes(type))
    return failure();
  int64_t columns = type.getRank() == 0 ? 1 : type.getShape().back();
  int64_t rowBytes = llvm::divideCeil(columns * bits, 8);
  // Element i as its raw bits.
  auto raw = [&](int64_t i) -> uint64_t {
    int64_t bit = i / columns * rowBytes * 8 + i % columns * bits;
    uint64_t word = 0;
    memcpy(&word, &bytes[bit / 8], std::min<size_t>(8, bytes.size() - bit / 8));
    return (word >> (bit % 8)) & llvm::maskTrailingOnes<uint64_t>(bits);
  };
  if (auto floatType = dyn_cast<FloatType>(type.getElementType())) {
    result.floats.resize(count);
    if (floatType.isF32()) {
      if (count != 0)
        memcpy(result.floats.data(), bytes.data(), bytes.size());
      return result;
    }
    if (floatType.isF16() || floatType.isBF16()) {
      for (int64_t i = 0; i < count; ++i) {
        uint16_t half;
        memcpy(&half, &bytes[2 * i], 2);
        result.floats[i] =
            floatType.isF16() ? halfToFloat(half) : bfloatToFloat(half);
      }
      return result;
    }
    for (int64_t i = 0; i < count; ++i) {
      APFloat value(floatType.getFloatSemantics(), APInt(bits, raw(i)));
      bool lossy;
      value.convert(APFloat::IEEEsingle(), APFloat::rmNearestTiesToEven,
                    &lossy);
      result.floats[i] = value.convertToFloat();
    }
    return result;
  }
  if (!type.getElementType().isIntOrIndex())
    return failure();
  result.ints.resize(count);
  bool isSigned = !type.getElementType().isUnsignedInteger() && bits < 64 &&
                  !type.getElementType().isInteger(1);
  if (bits < 8) {
    // A row at a time, its bits through a 64-bit window.
    int64_t mask = (1 << bits) - 1, sign = isSigned ? 1 << (bits - 1) : 0;
    for (int64_t i = 0; i < count; i += columns) {
      const uint8_t *next = &bytes[i / columns * rowBytes];
      uint64_t window = 0;
      int64_t have = 0;
      for (int64_t c = 0; c < columns; ++c) {
        if (have < bits) {
          window |= (uint64_t)*next++ << have;
          have += 8;
        }
        result.ints[i + c] =
            (int32_t)((((int64_t)window & mask) ^ sign) - sign);
        window >>= bits;
        have -= bits;
      }
    }
    return result;
  }
  for (int64_t i = 0; i < count; ++i)
    result.ints[i] =
        isSigned ? (int32_t)llvm::SignExtend64(raw(i), bits) : (int32_t)raw(i);
  return result;
}

std::vector<uint8_t> miura::writeHostTensor(const HostTensor &tensor) {
  std::vector<uint8_t> bytes(getStoredBytes(tensor.type));
  int64_t bits = getElementBits(tensor.type.getElementType());
  int64_t columns = tensor.type.getRank() == 0 ? 1 : tensor.getShape().back();
  int64_t rowBytes = llvm::divideCeil(columns * bits, 8);
  auto floatType = dyn_cast<FloatType>(tensor.type.getElementType());
  if (floatType && floatType.isF32() && !bytes.empty()) {
    memcpy(bytes.data(), tensor.floats.data(), bytes.size());
    return bytes;
  }
  if (floatType && floatType.isF16()) {
    for (int64_t i = 0, e = tensor.getNumElements(); i < e; ++i) {
      uint16_t half = floatToHalf(tensor.floats[i]);
      memcpy(&bytes[2 * i], &half, 2);
    }
    return bytes;
  }
  for (int64_t i = 0, e = tensor.getNumElements(); i < e; ++i) {
    uint64_t raw;
    if (floatType) {
      APFloat value(tensor.floats[i]);
      bool lossy;
      value.convert(floatType.getFloatSemantics(), APFloat::rmNearestTiesToEven,
                    &lossy);
      raw = value.bitcastToAPInt().getZExtValue();
    } else {
      raw = (uint64_t)(int64_t)tensor.ints[i] &
            llvm::maskTrailingOnes<uint64_t>(bits);
    }
    int64_t bit = i / columns * rowBytes * 8 + i % columns * bits;
    for (int64_t b = 0; b < bits; b += 8 - (bit + b) % 8)
      bytes[(bit + b) / 8] |= (uint8_t)((raw >> b) << ((bit + b) % 8));
  }
  return bytes;
}
