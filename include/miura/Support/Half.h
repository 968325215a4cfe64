//===- Half.h - 16-bit floating point in memory -----------------*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// IEEE binary16 and bfloat16 to and from float, by integer arithmetic: models
/// have billions of them, and neither compiler we support offers a type for
/// both on every machine. Rounding is half to even, subnormals included.
///
//===----------------------------------------------------------------------===//

#ifndef MIURA_SUPPORT_HALF_H
#define MIURA_SUPPORT_HALF_H

#include <cstdint>
#include <cstring>

namespace miura {

inline float bitsToFloat(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

inline uint32_t floatToBits(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return bits;
}

inline float bfloatToFloat(uint16_t bits) {
  return bitsToFloat((uint32_t)bits << 16);
}

inline uint16_t floatToBfloat(float value) {
  uint32_t bits = floatToBits(value);
  if ((bits & 0x7fffffff) > 0x7f800000) // a NaN must not round to infinity
    return (uint16_t)(bits >> 16 | 0x40);
  return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

inline float halfToFloat(uint16_t half) {
  uint32_t sign = (uint32_t)(half & 0x8000) << 16;
  uint32_t rest = half & 0x7fff;
  if (rest >= 0x7c00) // infinity and NaN
    return bitsToFloat(sign | 0x7f800000 | (rest & 0x3ff) << 13);
  if (rest < 0x400) { // zero and subnormals, exact in float
    float value = (float)rest * 0x1p-24f;
    return sign ? -value : value;
  }
  return bitsToFloat(sign | ((rest << 13) + (112u << 23)));
}

/// Rounds half to even; too large a value becomes infinity.
inline uint16_t floatToHalf(float value) {
  uint32_t bits = floatToBits(value);
  uint16_t sign = (uint16_t)(bits >> 16 & 0x8000);
  bits &= 0x7fffffff;
  if (bits > 0x7f800000)
    return sign | 0x7e00;
  if (bits >= 0x477ff000) // 65520, half way to the next power, and above
    return sign | 0x7c00;
  if (bits < 0x38800000) {
    // Below the smallest normal: adding 0.5 leaves the value, in units of
    // 2^-24 and rounded half to even, in the low bits of the sum.
    uint32_t sum = floatToBits(bitsToFloat(bits) + 0.5f);
    return sign | (uint16_t)(sum - 0x3f000000);
  }
  return sign |
         (uint16_t)((bits - (112u << 23) + 0xfff + (bits >> 13 & 1)) >> 13);
}

} // namespace miura

#endif // MIURA_SUPPORT_HALF_H
