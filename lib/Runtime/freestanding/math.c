/*===- math.c - Functions of floats without a system
 * ------------------------===*
 *
 * Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
 * SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===------------------------------------------------------------------------===*/
/**
 * \file
 * What generated code calls of C's math.h and of the compiler's own library,
 * for targets that have neither: angles of RoPE, powers, remainders, f16.
 * Functions of f32 are computed in f64 by series that are cut where f64's
 * rounding begins, after a reduction in two parts (Cody and Waite, Software
 * Manual for the Elementary Functions, 1980); no hot loop has them, so they are
 * written to be short. What is not here is an undefined symbol when a model is
 * linked.
 */
#include <stdint.h>

static uint32_t bits_of(float x) {
  uint32_t bits;
  __builtin_memcpy(&bits, &x, sizeof bits);
  return bits;
}
static float float_of(uint32_t bits) {
  float x;
  __builtin_memcpy(&x, &bits, sizeof x);
  return x;
}
static uint64_t bits_of_double(double x) {
  uint64_t bits;
  __builtin_memcpy(&bits, &x, sizeof bits);
  return bits;
}
static double double_of(uint64_t bits) {
  double x;
  __builtin_memcpy(&x, &bits, sizeof x);
  return x;
}

/*===- Angles
 * ---------------------------------------------------------------===*/

/* x as quarter turns and a rest of at most half a quarter, up to 2^28; beyond,
 * neighbouring floats are more than a turn apart and the rest has no meaning.
 */
static int reduce(float x, double *rest) {
  /* π/2 in three parts: n times the first or the second is exact. */
  double n = __builtin_rint((double)x * 0.63661977236758134);
  *rest = (((double)x - n * 0x1.921fb50000000p+0) - n * 0x1.110b460000000p-26) -
          n * 0x1.1a62633145c07p-54;
  /* NaN and what no integer holds go anywhere. */
  return n >= -0x1p30 && n <= 0x1p30 ? (int)n & 3 : 0;
}

/* Taylor's series: |r| ≤ π/4, so the first term left out is below 2^-44. */
static double sine(double r) {
  double s = r * r;
  return r + r * s *
                 (-1.0 / 6 +
                  s * (1.0 / 120 +
                       s * (-1.0 / 5040 +
                            s * (1.0 / 362880 +
                                 s * (-1.0 / 39916800 + s / 6227020800.0)))));
}
static double cosine(double r) {
  double s = r * r;
  return 1 +
         s * (-1.0 / 2 +
              s * (1.0 / 24 + s * (-1.0 / 720 +
                                   s * (1.0 / 40320 + s * (-1.0 / 3628800 +
                                                           s / 479001600.0)))));
}

float sinf(float x) {
  if (x == 0) /* Of either sign. */
    return x;
  double r;
  int quarter = reduce(x, &r);
  double y = quarter & 1 ? cosine(r) : sine(r);
  return (float)(quarter & 2 ? -y : y);
}

float cosf(float x) {
  double r;
  int quarter = reduce(x, &r);
  double y = quarter & 1 ? sine(r) : cosine(r);
  return (float)((quarter == 1 || quarter == 2) ? -y : y);
}

float tanf(float x) {
  if (x == 0)
    return x;
  double r;
  int quarter = reduce(x, &r);
  return (float)(quarter & 1 ? -cosine(r) / sine(r) : sine(r) / cosine(r));
}

/*===- Powers
 * ---------------------------------------------------------------===*/

/* Of a positive, finite float. */
static double log2_of(float x) {
  uint64_t bits = bits_of_double(x);
  int exponent = (int)(bits >> 52) - 1023;
  double m = double_of((bits & 0xFFFFFFFFFFFFFull) | 0x3FF0000000000000ull);
  if (m > 1.4142135623730951) {
    m *= 0.5;
    ++exponent;
  }
  /* ln m = 2 artanh((m − 1) / (m + 1)), |s| < 0.172. */
  double s = (m - 1) / (m + 1), square = s * s, sum = 0;
  for (int i = 21; i >= 1; i -= 2)
    sum = sum * square + 1.0 / i;
  return exponent + 2 * s * sum * 1.4426950408889634;
}

/* Of what is between −1074 and 1024. */
static double exp2_of(double x) {
  double n = __builtin_rint(x), r = (x - n) * 0.69314718055994531, sum = 1;
  for (int i = 14; i >= 1; --i)
    sum = 1 + sum * r / i;
  /* In two steps: a power may be too small for one. */
  int half = (int)n / 2;
  return sum * double_of((uint64_t)(1023 + half) << 52) *
         double_of((uint64_t)(1023 + (int)n - half) << 52);
}

float powf(float x, float y) {
  if (y == 0 || x == 1)
    return 1;
  if (x != x || y != y)
    return x + y;
  float magnitude = __builtin_fabsf(x);
  int is_integer = __builtin_truncf(y) == y;
  /* Every float from 2^24 on is even. */
  int is_odd = is_integer && __builtin_fabsf(y) < 0x1p24f && ((int)y & 1);
  float sign = (bits_of(x) >> 31) && is_odd ? -1.0f : 1.0f;
  if (magnitude == 0)
    return y > 0 ? sign * 0.0f : sign * __builtin_inff();
  if (magnitude == 1 && __builtin_isinf(y))
    return 1;
  if (__builtin_isinf(magnitude))
    return y > 0 ? sign * __builtin_inff() : sign * 0.0f;
  if (x < 0 && !is_integer && !__builtin_isinf(y))
    return __builtin_nanf("");
  double power = (double)y * log2_of(magnitude);
  if (power > 200)
    return sign * __builtin_inff();
  if (power < -200)
    return sign * 0.0f;
  return sign * (float)exp2_of(power);
}

/*===- Remainders
 * -----------------------------------------------------------===*/

/* Long division of the significands, which is exact. */
float fmodf(float x, float y) {
  uint32_t sign = bits_of(x) & 0x80000000u;
  float a = __builtin_fabsf(x), b = __builtin_fabsf(y);
  if (!(a < __builtin_inff()) || b == 0 || b != b)
    return __builtin_nanf("");
  if (a < b)
    return x;
  /* As f64, in which every f32 is normal. */
  uint64_t p = bits_of_double(a), q = bits_of_double(b);
  int steps = (int)(p >> 52) - (int)(q >> 52);
  uint64_t one = 0x10000000000000ull;
  uint64_t m = (p & (one - 1)) | one, n = (q & (one - 1)) | one;
  for (; steps >= 0; --steps) {
    if (m >= n)
      m -= n;
    if (steps)
      m <<= 1;
  }
  if (!m)
    return float_of(sign);
  double rest = (double)m * double_of((q >> 52 << 52)) * 0x1p-52;
  return float_of(bits_of((float)rest) | sign);
}

/*===- f16
 * ------------------------------------------------------------------===*/

/* Scalars that generated code widens and narrows; vectors of weights are
 * widened in place. */
float __extendhfsf2(uint16_t half) {
  uint32_t bits = (uint32_t)(half & 0x7FFF) << 13;
  float magnitude = float_of(bits) * 0x1p112f;
  if (bits >= 0x0F800000u) /* Infinities and NaN. */
    magnitude = float_of(bits | 0x7F800000u);
  return float_of(bits_of(magnitude) | (uint32_t)(half & 0x8000) << 16);
}

uint16_t __truncsfhf2(float x) {
  uint32_t bits = bits_of(x), sign = bits >> 16 & 0x8000;
  bits &= 0x7FFFFFFF;
  if (bits > 0x7F800000u)
    return (uint16_t)(sign | 0x7E00 | (bits >> 13 & 0x3FF));
  if (bits >= 0x477FF000u) /* 65520 and above round to infinity. */
    return (uint16_t)(sign | 0x7C00);
  if (bits < 0x38800000u) {
    /* A multiple of 2^-24: the addition rounds it, to even where it is halfway.
     */
    return (uint16_t)(sign | (bits_of(float_of(bits) + 0.5f) - 0x3F000000u));
  }
  uint32_t rounded = bits + 0xFFF + (bits >> 13 & 1) - (112u << 23);
  return (uint16_t)(sign | rounded >> 13);
}
