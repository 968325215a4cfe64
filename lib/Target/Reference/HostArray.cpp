//===- HostArray.cpp - A tensor that goes in or comes out -----------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Elements as numbers, through APFloat and integers of up to 64 bits.
///
//===----------------------------------------------------------------------===//

#include "miura/Target/Reference/HostArray.h"
#include "llvm/ADT/APFloat.h"
#include <cmath>
#include <cstring>

using namespace mlir;
using namespace miura;

int64_t miura::getHostElementBytes(Type type) {
  if (type.isInteger(1))
    return 1;
  if (type.isIndex())
    return 8;
  if (!type.isIntOrFloat() || type.getIntOrFloatBitWidth() % 8 != 0 ||
      type.getIntOrFloatBitWidth() > 64)
    return 0;
  return type.getIntOrFloatBitWidth() / 8;
}

HostArray::HostArray(RankedTensorType type)
    : type(type), bytes(type.getNumElements() *
                        getHostElementBytes(type.getElementType())) {}

double HostArray::get(int64_t i) const {
  Type element = type.getElementType();
  int64_t size = getHostElementBytes(element);
  uint64_t bits = 0;
  std::memcpy(&bits, bytes.data() + i * size, size);
  if (element.isF32()) {
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
  }
  if (auto floatType = dyn_cast<FloatType>(element)) {
    APFloat value(floatType.getFloatSemantics(),
                  APInt(floatType.getWidth(), bits));
    bool inexact;
    value.convert(APFloat::IEEEdouble(), APFloat::rmNearestTiesToEven,
                  &inexact);
    return value.convertToDouble();
  }
  if (element.isInteger(1))
    return bits != 0;
  if (element.isUnsignedInteger())
    return static_cast<double>(bits);
  unsigned shift = 64 - 8 * size;
  return static_cast<double>(static_cast<int64_t>(bits << shift) >> shift);
}

void HostArray::set(int64_t i, double number) {
  Type element = type.getElementType();
  int64_t size = getHostElementBytes(element);
  uint64_t bits;
  if (auto floatType = dyn_cast<FloatType>(element)) {
    APFloat value(number);
    bool inexact;
    value.convert(floatType.getFloatSemantics(), APFloat::rmNearestTiesToEven,
                  &inexact);
    bits = value.bitcastToAPInt().getZExtValue();
  } else if (element.isInteger(1)) {
    bits = number != 0;
  } else if (element.isUnsignedInteger()) {
    bits = static_cast<uint64_t>(number);
  } else {
    bits = static_cast<uint64_t>(static_cast<int64_t>(number));
  }
  std::memcpy(bytes.data() + i * size, &bits, size);
}
