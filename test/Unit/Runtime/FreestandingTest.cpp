//===- FreestandingTest.cpp - Functions without a system ------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// What stands in for the C library where there is none, against the system's:
/// functions of f32 are computed in f64, so they are the nearest float but for
/// cases that lie close to the middle between two.
///
//===----------------------------------------------------------------------===//

#include "gtest/gtest.h"
#include <cmath>
#include <cstdarg>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>

extern "C" {
float own_sinf(float);
float own_cosf(float);
float own_tanf(float);
float own_powf(float, float);
float own_fmodf(float, float);
float own___extendhfsf2(uint16_t);
uint16_t own___truncsfhf2(float);
int own_vsnprintf(char *, size_t, const char *, va_list);
int own_memcmp(const void *, const void *, size_t);
size_t own_strcspn(const char *, const char *);
}

static uint32_t bitsOf(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  return bits;
}
static float floatOf(uint32_t bits) {
  float x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

/// Floats between two that are next to each other: 0 if they are the same.
static int64_t distance(float a, float b) {
  if (std::isnan(a) || std::isnan(b))
    return std::isnan(a) == std::isnan(b) ? 0 : 1 << 30;
  auto ordered = [](float x) {
    int32_t bits = (int32_t)bitsOf(x);
    return bits < 0 ? -(int64_t)(bits & 0x7FFFFFFF) : (int64_t)bits;
  };
  return std::abs(ordered(a) - ordered(b));
}

TEST(Freestanding, AnglesAreWithinOneUnit) {
  std::mt19937 random(1);
  for (int i = 0; i < 300000; ++i) {
    // Positions and small angles, and all magnitudes up to 2^28.
    float scale = std::ldexp(1.0f, (int)(random() % 48) - 20);
    float x = ((float)(random() >> 8) * 0x1p-23f - 1) * scale;
    EXPECT_LE(distance(own_sinf(x), (float)std::sin((double)x)), 1) << x;
    EXPECT_LE(distance(own_cosf(x), (float)std::cos((double)x)), 1) << x;
    EXPECT_LE(distance(own_tanf(x), (float)std::tan((double)x)), 1) << x;
  }
  float inf = std::numeric_limits<float>::infinity();
  EXPECT_TRUE(std::isnan(own_sinf(inf)) && std::isnan(own_cosf(-inf)));
  EXPECT_TRUE(std::isnan(own_sinf(std::nanf(""))));
  EXPECT_TRUE(std::signbit(own_sinf(-0.0f)));
}

TEST(Freestanding, PowersAreWithinOneUnit) {
  std::mt19937 random(2);
  for (int i = 0; i < 300000; ++i) {
    float x = floatOf(random()), y = floatOf(random());
    if (i % 2) {
      x = (float)(random() >> 8) * 0x1p-20f;
      y = (float)((int)(random() % 41) - 20) * 0.5f;
    }
    EXPECT_LE(distance(own_powf(x, y), (float)std::pow((double)x, (double)y)),
              1)
        << x << " " << y;
  }
  float inf = std::numeric_limits<float>::infinity(), nan = std::nanf("");
  const float special[] = {0.0f, -0.0f, 1,  -1,  2,    -2,  0.5f,
                           -0.5, 3,     -3, inf, -inf, nan, 1e30f};
  for (float x : special)
    for (float y : special) {
      float expected = std::pow(x, y), got = own_powf(x, y);
      EXPECT_LE(distance(got, expected), 1) << x << " " << y;
      if (!std::isnan(expected)) {
        EXPECT_EQ(std::signbit(got), std::signbit(expected)) << x << " " << y;
      }
    }
}

TEST(Freestanding, RemaindersAreExact) {
  std::mt19937 random(3);
  for (int i = 0; i < 100000; ++i) {
    float x = floatOf(random()), y = floatOf(random());
    if (i % 2)
      y = x * (float)(random() >> 8) * 0x1p-30f;
    EXPECT_EQ(distance(own_fmodf(x, y), std::fmod(x, y)), 0) << x << " " << y;
  }
}

/// All of f16, and all floats near one of its halfway points.
TEST(Freestanding, HalvesAreExact) {
  for (uint32_t i = 0; i < 0x10000; ++i) {
    auto half = (uint16_t)i;
    _Float16 native;
    std::memcpy(&native, &half, 2);
    float widened = own___extendhfsf2(half);
    EXPECT_EQ(distance(widened, (float)native), 0) << i;
    for (uint32_t step : {0u, 0x800u, 0xFFFu, 0x1000u, 0x1001u, 0x1FFFu}) {
      float x = floatOf(bitsOf((float)native) + step);
      if (std::isnan(x))
        continue;
      auto narrow = (_Float16)x;
      uint16_t expected;
      std::memcpy(&expected, &narrow, 2);
      EXPECT_EQ(own___truncsfhf2(x), expected) << x;
    }
  }
  std::mt19937 random(4);
  for (int i = 0; i < 200000; ++i) {
    float x =
        (float)(random() >> 8) * std::ldexp(1.0f, -24 - (int)(random() % 32));
    auto narrow = (_Float16)x;
    uint16_t expected;
    std::memcpy(&expected, &narrow, 2);
    EXPECT_EQ(own___truncsfhf2(x), expected) << x;
  }
}

static std::string print(size_t size, const char *format, ...) {
  char text[64];
  std::memset(text, '#', sizeof text);
  va_list arguments;
  va_start(arguments, format);
  int length = own_vsnprintf(text, size, format, arguments);
  va_end(arguments);
  EXPECT_EQ(text[size], '#');
  return std::string(text) + "|" + std::to_string(length);
}

TEST(Freestanding, MessagesArePrinted) {
  EXPECT_EQ(print(40, "row %lld of %d: %s, %.*s%%", -12345678901234ll, 7, "ok",
                  3, "abcdef"),
            "row -12345678901234 of 7: ok, abc%|34");
  EXPECT_EQ(print(40, "%lld %lld", INT64_MIN, (long long)0),
            "-9223372036854775808 0|22");
  EXPECT_EQ(print(5, "%s", "longer"), "long|6");
  EXPECT_EQ(print(1, "x"), "|1");
}

TEST(Freestanding, BytesAreCompared) {
  EXPECT_LT(own_memcmp("a\x01", "a\xFF", 2), 0);
  EXPECT_EQ(own_memcmp("ab", "ac", 1), 0);
  EXPECT_EQ(own_strcspn("avx2,fma", ","), 4u);
  EXPECT_EQ(own_strcspn("fma", ","), 3u);
}
