/*===- stdlib.h - Memory without a system ---------------------------*- C
 * -*-===*
 *
 * Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
 * SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===------------------------------------------------------------------------===*/
/**
 * \file
 * What the runtime uses of C's stdlib.h, for targets that have no C library;
 * memory.c has it.
 */
#ifndef MIURA_RUNTIME_FREESTANDING_STDLIB_H
#define MIURA_RUNTIME_FREESTANDING_STDLIB_H

#include <stddef.h>

void *aligned_alloc(size_t alignment, size_t size);
void *calloc(size_t count, size_t size);
void free(void *memory);

#endif /* MIURA_RUNTIME_FREESTANDING_STDLIB_H */
