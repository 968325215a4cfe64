/*===- string.h - Bytes without a system ----------------------------*- C
 * -*-===*
 *
 * Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
 * SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===------------------------------------------------------------------------===*/
/**
 * \file
 * What the runtime, and code that LLVM generates, use of C's string.h, for
 * targets that have no C library; string.c has it.
 */
#ifndef MIURA_RUNTIME_FREESTANDING_STRING_H
#define MIURA_RUNTIME_FREESTANDING_STRING_H

#include <stddef.h>

void *memcpy(void *restrict to, const void *restrict from, size_t size);
void *memmove(void *to, const void *from, size_t size);
void *memset(void *to, int byte, size_t size);
int memcmp(const void *a, const void *b, size_t size);
size_t strlen(const char *text);
size_t strcspn(const char *text, const char *ends);

#endif /* MIURA_RUNTIME_FREESTANDING_STRING_H */
