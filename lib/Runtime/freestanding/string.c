/*===- string.c - Bytes and messages without a system
 * -----------------------===*
 *
 * Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
 * SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===------------------------------------------------------------------------===*/
/**
 * \file
 * The bytes' functions as LLVM's built-in ones, which are instructions on
 * WebAssembly (memory.copy, memory.fill), and the one function of stdio.h that
 * messages need.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void *memcpy(void *restrict to, const void *restrict from, size_t size) {
  return __builtin_memcpy(to, from, size);
}
void *memmove(void *to, const void *from, size_t size) {
  return __builtin_memmove(to, from, size);
}
void *memset(void *to, int byte, size_t size) {
  return __builtin_memset(to, byte, size);
}

int memcmp(const void *a, const void *b, size_t size) {
  const unsigned char *x = a, *y = b;
  for (size_t i = 0; i < size; ++i)
    if (x[i] != y[i])
      return x[i] < y[i] ? -1 : 1;
  return 0;
}

size_t strlen(const char *text) {
  size_t length = 0;
  while (text[length])
    ++length;
  return length;
}

size_t strcspn(const char *text, const char *ends) {
  size_t length = 0;
  for (; text[length]; ++length)
    for (const char *end = ends; *end; ++end)
      if (text[length] == *end)
        return length;
  return length;
}

/* What is written, of which the first size − 1 characters are kept. */
typedef struct {
  char *to;
  size_t size, length;
} sink;

static void put(sink *s, char c) {
  if (s->length + 1 < s->size)
    s->to[s->length] = c;
  ++s->length;
}

static void put_integer(sink *s, long long value) {
  char digits[20];
  int count = 0;
  /* Of the absolute value, which the least number does not have as a signed
   * one. */
  unsigned long long rest =
      value < 0 ? 0ull - (unsigned long long)value : (unsigned long long)value;
  do
    digits[count++] = (char)('0' + rest % 10);
  while (rest /= 10);
  if (value < 0)
    put(s, '-');
  while (count)
    put(s, digits[--count]);
}

int vsnprintf(char *to, size_t size, const char *format, va_list arguments) {
  sink s = {to, size, 0};
  for (const char *p = format; *p; ++p) {
    if (*p != '%') {
      put(&s, *p);
      continue;
    }
    size_t limit = (size_t)-1;
    ++p;
    if (p[0] == '.' && p[1] == '*') {
      limit = (size_t)va_arg(arguments, int);
      p += 2;
    }
    if (*p == 's') {
      const char *text = va_arg(arguments, const char *);
      for (size_t i = 0; i < limit && text[i]; ++i)
        put(&s, text[i]);
    } else if (*p == 'd') {
      put_integer(&s, va_arg(arguments, int));
    } else if (p[0] == 'l' && p[1] == 'l' && p[2] == 'd') {
      put_integer(&s, va_arg(arguments, long long));
      p += 2;
    } else {
      put(&s, *p);
      if (!*p)
        break;
    }
  }
  if (size)
    to[s.length < size ? s.length : size - 1] = '\0';
  return (int)s.length;
}
