/*===- stdio.h - Messages without a system --------------------------*- C
 * -*-===*
 *
 * Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
 * SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===------------------------------------------------------------------------===*/
/**
 * \file
 * What the runtime uses of C's stdio.h, for targets that have no C library;
 * string.c has it.
 */
#ifndef MIURA_RUNTIME_FREESTANDING_STDIO_H
#define MIURA_RUNTIME_FREESTANDING_STDIO_H

#include <stdarg.h>
#include <stddef.h>

/** Knows %s, %.*s, %d, %lld and %%: what the runtime's messages have. */
int vsnprintf(char *to, size_t size, const char *format, va_list arguments);

#endif /* MIURA_RUNTIME_FREESTANDING_STDIO_H */
