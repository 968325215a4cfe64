/*===- memory.c - Memory without a system
 * -----------------------------------===*
 *
 * Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
 * SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===------------------------------------------------------------------------===*/
/**
 * \file
 * An allocator over a WebAssembly module's linear memory, which only grows.
 * Free blocks stand in a list by address; the first that is large enough is
 * cut, and neighbours are joined when one is freed. The runtime takes a few
 * large blocks when a session is made and none in a step, so nothing finer is
 * needed. After Knuth, The Art of Computer Programming, volume 1, section 2.5,
 * algorithms A and B.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* In front of every block: all of them begin at a cache line. */
typedef struct header {
  size_t size; /* Bytes of the block, this included. */
  struct header *next;
} header;

enum { LINE = 64, PAGE = 65536 };

/* Where the linker's own data ends. */
extern char __heap_base;

static header *free_blocks;
static uintptr_t end; /* Of the memory that was ever taken. */

static void insert(header *block) {
  header **place = &free_blocks;
  header *before = NULL;
  while (*place && *place < block) {
    before = *place;
    place = &before->next;
  }
  block->next = *place;
  *place = block;
  if (block->next && (char *)block + block->size == (char *)block->next) {
    block->size += block->next->size;
    block->next = block->next->next;
  }
  if (before && (char *)before + before->size == (char *)block) {
    before->size += block->size;
    before->next = block->next;
  }
}

/* Gives the list at least `size` bytes in one piece; 0 if there are none. */
static int grow(size_t size) {
  if (!end)
    end = ((uintptr_t)&__heap_base + LINE - 1) / LINE * LINE;
  uintptr_t limit = (uintptr_t)__builtin_wasm_memory_size(0) * PAGE;
  /* At the very end of the address space the limit is 0. */
  size_t left = limit - end;
  if (left < size) {
    size_t pages = (size - left + PAGE - 1) / PAGE;
    if (__builtin_wasm_memory_grow(0, pages) == (size_t)-1)
      return 0;
    left += pages * PAGE;
  }
  header *block = (header *)end;
  block->size = left;
  end += left;
  insert(block);
  return 1;
}

void *aligned_alloc(size_t alignment, size_t size) {
  if (alignment > LINE || size > SIZE_MAX - 2 * PAGE)
    return NULL;
  size = (size + 2 * LINE - 1) / LINE * LINE;
  do {
    for (header **place = &free_blocks; *place; place = &(*place)->next) {
      header *block = *place;
      if (block->size < size)
        continue;
      if (block->size > size) {
        header *rest = (header *)((char *)block + size);
        rest->size = block->size - size;
        rest->next = block->next;
        *place = rest;
        block->size = size;
      } else {
        *place = block->next;
      }
      return (char *)block + LINE;
    }
  } while (grow(size));
  return NULL;
}

void *calloc(size_t count, size_t size) {
  size_t bytes;
  if (__builtin_mul_overflow(count, size, &bytes))
    return NULL;
  void *memory = aligned_alloc(LINE, bytes);
  if (memory)
    memset(memory, 0, bytes);
  return memory;
}

void free(void *memory) {
  if (memory)
    insert((header *)((char *)memory - LINE));
}
