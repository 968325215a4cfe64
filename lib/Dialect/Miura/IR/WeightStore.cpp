//===- WeightStore.cpp - Bytes outside the IR -----------------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "miura/Dialect/Miura/IR/WeightStore.h"
#include "miura/Dialect/Miura/IR/MiuraDialect.h"

using namespace mlir;
using namespace miura;

FailureOr<ArrayRef<uint8_t>> WeightStore::getBytes(BytesAttr attr,
                                                   Location loc) {
  auto bytes = files.map(attr.getFile(), attr.getOffset(), attr.getLength(),
                         attr.getFileSize());
  if (!bytes)
    return emitError(loc) << llvm::toString(bytes.takeError());
  if (attr.getDigest()) {
    auto digest = getDigest(attr, loc);
    if (failed(digest))
      return failure();
    if (*digest != attr.getDigest().getValue())
      return emitError(loc)
             << "the bytes of '" << attr.getFile() << "' at "
             << attr.getOffset()
             << " are not those that were written: expects the "
                "digest "
             << attr.getDigest().getValue() << ", but got " << *digest;
  }
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
      memcpy(result.floats.data(), bytes.data(), bytes.size());
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
