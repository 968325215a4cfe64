/*===- core.c - Messages and instruction sets
 * -------------------------------===*
 *
 * Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
 * SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===------------------------------------------------------------------------===*/
/**
 * \file
 * The message of the last failure, and the check that this machine has the
 * instruction sets that the code was compiled for: without it, the first
 * instruction that it lacks would end the process. CPUID leaves and XCR0 bits
 * are those of Intel's Software Developer's Manual, volume 2A, CPUID; AArch64's
 * features are those that Linux shows in the auxiliary vector.
 */
#include "Abi.h"
#include "Internal.h"
#include "miura-c/artifact.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static _Thread_local char message[512];

const char *miura_error(void) { return message; }

int miura_fail(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(message, sizeof message, format, arguments);
  va_end(arguments);
  return 1;
}

#if defined(__x86_64__) || defined(__i386__)
#include <cpuid.h>

enum { EAX, EBX, ECX, EDX };
/* State that the system must save, as bits of XCR0. */
enum {
  NO_STATE = 0,
  AVX_STATE = 0x6,
  AVX512_STATE = 0xe6,
  AMX_STATE = 0x60000
};

static const struct {
  const char *name;
  unsigned leaf, subleaf, reg, bit, state;
} known[] = {
    {"sse4.2", 1, 0, ECX, 20, NO_STATE},
    {"popcnt", 1, 0, ECX, 23, NO_STATE},
    {"avx", 1, 0, ECX, 28, AVX_STATE},
    {"f16c", 1, 0, ECX, 29, AVX_STATE},
    {"fma", 1, 0, ECX, 12, AVX_STATE},
    {"avx2", 7, 0, EBX, 5, AVX_STATE},
    {"bmi", 7, 0, EBX, 3, NO_STATE},
    {"bmi2", 7, 0, EBX, 8, NO_STATE},
    {"avx512f", 7, 0, EBX, 16, AVX512_STATE},
    {"avx512dq", 7, 0, EBX, 17, AVX512_STATE},
    {"avx512bw", 7, 0, EBX, 30, AVX512_STATE},
    {"avx512vl", 7, 0, EBX, 31, AVX512_STATE},
    {"avx512cd", 7, 0, EBX, 28, AVX512_STATE},
    {"avx512vbmi", 7, 0, ECX, 1, AVX512_STATE},
    {"avx512vbmi2", 7, 0, ECX, 6, AVX512_STATE},
    {"avx512vnni", 7, 0, ECX, 11, AVX512_STATE},
    {"avx512bf16", 7, 1, EAX, 5, AVX512_STATE},
    {"avxvnni", 7, 1, EAX, 4, AVX_STATE},
    {"avxvnniint8", 7, 1, EDX, 4, AVX_STATE},
    {"amx-int8", 7, 0, EDX, 25, AMX_STATE},
    {"amx-bf16", 7, 0, EDX, 22, AMX_STATE},
    {"amx-tile", 7, 0, EDX, 24, AMX_STATE},
};

static unsigned saved_state(void) {
  unsigned r[4];
  if (!__get_cpuid(1, &r[EAX], &r[EBX], &r[ECX], &r[EDX]) ||
      !(r[ECX] >> 27 & 1))
    return 0;
  unsigned low, high;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return low;
}

/* 1 if the machine has it, 0 if not, -1 if the name is unknown. */
static int has_feature(const char *name, size_t length) {
  for (size_t i = 0; i < sizeof known / sizeof known[0]; ++i) {
    if (strlen(known[i].name) != length ||
        memcmp(known[i].name, name, length) != 0)
      continue;
    unsigned r[4] = {0, 0, 0, 0};
    if (!__get_cpuid_count(known[i].leaf, known[i].subleaf, &r[EAX], &r[EBX],
                           &r[ECX], &r[EDX]))
      return 0;
    return (r[known[i].reg] >> known[i].bit & 1) &&
           (saved_state() & known[i].state) == known[i].state;
  }
  return -1;
}
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>

/* Bits of AT_HWCAP and AT_HWCAP2 as in Linux's <asm/hwcap.h>, by number: the
 * headers of an older system do not name all of them. */
static const struct {
  const char *name;
  unsigned long vector, bit;
} known[] = {
    {"neon", AT_HWCAP, 1},      {"lse", AT_HWCAP, 8},
    {"fullfp16", AT_HWCAP, 10}, {"rdm", AT_HWCAP, 12},
    {"jsconv", AT_HWCAP, 13},   {"rcpc", AT_HWCAP, 15},
    {"dotprod", AT_HWCAP, 20},  {"sve", AT_HWCAP, 22},
    {"fp16fml", AT_HWCAP, 23},  {"sve2", AT_HWCAP2, 1},
    {"i8mm", AT_HWCAP2, 13},    {"bf16", AT_HWCAP2, 14},
};

/* 1 if the machine has it, 0 if not, -1 if the name is unknown. */
static int has_feature(const char *name, size_t length) {
  for (size_t i = 0; i < sizeof known / sizeof known[0]; ++i)
    if (strlen(known[i].name) == length &&
        memcmp(known[i].name, name, length) == 0)
      return getauxval(known[i].vector) >> known[i].bit & 1;
  return -1;
}
#else
static int has_feature(const char *name, size_t length) {
  (void)name;
  (void)length;
  return -1;
}
#endif

int miura_check_features(const char *cpu, const char *features) {
  for (const char *name = features; *name;) {
    size_t length = strcspn(name, ",");
    int has = length ? has_feature(name, length) : 1;
    if (has <= 0)
      return miura_fail(
          "this library was compiled for %s and needs the instruction set "
          "%.*s, which this "
          "machine %s; compile it for this machine (miura compile --target)",
          cpu, (int)length, name, has < 0 ? "cannot be asked for" : "lacks");
    name += length;
    if (*name == ',')
      ++name;
  }
  return 0;
}
