/*===- runner.c - Runs kernels where they are at home
 * -----------------------===*
 *
 * Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
 * SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===------------------------------------------------------------------------===*/
/**
 * \file
 * The other side of RemoteMachine.h, whose requests it answers: compiled for
 * another architecture, it loads kernels, keeps their buffers between pages
 * that nothing may touch, and runs a team of threads.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

typedef void (*kernel_function)(int64_t *words);

/* The last bytes of whole pages, which end at a multiple of 64. */
struct buffer {
  uint8_t *base, *data;
  size_t inner, size;
};

struct team {
  int threads;
  atomic_int arrived, generation;
};

enum { MOST_LIBRARIES = 4096, MOST_BUFFERS = 64, MOST_WORDS = 256 };

static kernel_function libraries[MOST_LIBRARIES];
static struct buffer buffers[MOST_BUFFERS];
static uint32_t library_count, buffer_count;

static void receive(void *bytes, size_t count) {
  if (fread(bytes, 1, count, stdin) != count)
    exit(0); /* nobody asks any more */
}

static uint32_t receive32(void) {
  uint32_t value;
  receive(&value, sizeof value);
  return value;
}

static uint64_t receive64(void) {
  uint64_t value;
  receive(&value, sizeof value);
  return value;
}

/* What kernels call. */
void miura_barrier(int64_t handle) {
  struct team *team = (struct team *)(intptr_t)handle;
  int generation = atomic_load(&team->generation);
  if (atomic_fetch_add(&team->arrived, 1) == team->threads - 1) {
    atomic_store(&team->arrived, 0);
    atomic_fetch_add(&team->generation, 1);
    return;
  }
  while (atomic_load(&team->generation) == generation)
    sched_yield();
}

static void take_buffers(void) {
  size_t page = (size_t)sysconf(_SC_PAGESIZE);
  for (uint32_t i = 0; i < buffer_count; ++i)
    munmap(buffers[i].base, buffers[i].inner + 2 * page);
  buffer_count = receive32();
  if (buffer_count > MOST_BUFFERS)
    abort();
  for (uint32_t i = 0; i < buffer_count; ++i) {
    struct buffer *b = &buffers[i];
    b->size = receive64();
    size_t least = b->size ? b->size : 1;
    b->inner = (least + page - 1) / page * page;
    b->base = mmap(NULL, b->inner + 2 * page, PROT_NONE,
                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (b->base == MAP_FAILED ||
        mprotect(b->base + page, b->inner, PROT_READ | PROT_WRITE) != 0)
      abort();
    memset(b->base + page, 0xA5, b->inner);
    b->data = b->base + page + b->inner - (b->size + 63) / 64 * 64;
    receive(b->data, b->size);
  }
}

static int is_intact(const struct buffer *b) {
  const uint8_t *end = b->base + sysconf(_SC_PAGESIZE) + b->inner;
  for (const uint8_t *p = b->base + sysconf(_SC_PAGESIZE); p < end; ++p)
    if ((p < b->data || p >= b->data + b->size) && *p != 0xA5)
      return 0;
  return 1;
}

struct work {
  kernel_function kernel;
  struct team *team;
  const int64_t *words;
  uint32_t count;
  int64_t tid;
};

static void *work(void *opaque) {
  struct work *w = opaque;
  int64_t words[MOST_WORDS];
  memcpy(words, w->words, w->count * sizeof *words);
  words[w->count - 3] = (int64_t)(intptr_t)w->team;
  words[w->count - 2] = w->tid;
  words[w->count - 1] = w->team->threads;
  w->kernel(words);
  return NULL;
}

static void run(void) {
  uint32_t library = receive32(), threads = receive32(), output = receive32();
  uint64_t size = receive64();
  if (library >= library_count || output >= buffer_count || threads > 64 ||
      size != buffers[output].size)
    abort();
  receive(buffers[output].data, size);
  uint32_t count = receive32();
  if (count > MOST_WORDS || count < 3)
    abort();
  int64_t words[MOST_WORDS];
  for (uint32_t i = 0; i < count; ++i) {
    words[i] = (int64_t)receive64();
    int32_t buffer = (int32_t)receive32();
    if (buffer >= 0)
      words[i] += (int64_t)(intptr_t)buffers[buffer].data;
  }
  struct team team = {.threads = (int)threads};
  struct work works[64];
  pthread_t handles[64];
  for (uint32_t t = 0; t < threads; ++t) {
    works[t] = (struct work){libraries[library], &team, words, count, t};
    if (t > 0 && pthread_create(&handles[t], NULL, work, &works[t]) != 0)
      abort();
  }
  work(&works[0]);
  for (uint32_t t = 1; t < threads; ++t)
    pthread_join(handles[t], NULL);
  uint8_t intact = 1;
  for (uint32_t i = 0; i < buffer_count; ++i)
    intact &= (uint8_t)is_intact(&buffers[i]);
  fwrite(&intact, 1, 1, stdout);
  fwrite(buffers[output].data, 1, size, stdout);
  fflush(stdout);
}

static void load(void) {
  char path[4096] = "";
  uint32_t length = receive32();
  if (length >= sizeof path)
    abort();
  receive(path, length);
  uint32_t number = UINT32_MAX;
  void *handle = dlopen(path, RTLD_NOW);
  void *symbol = handle ? dlsym(handle, "kernel_words") : NULL;
  if (!symbol)
    fprintf(stderr, "runner: %s\n", dlerror());
  if (symbol && library_count < MOST_LIBRARIES) {
    number = library_count++;
    memcpy(&libraries[number], &symbol, sizeof symbol);
  }
  fwrite(&number, sizeof number, 1, stdout);
  fflush(stdout);
}

int main(void) {
  for (;;) {
    char request;
    receive(&request, 1);
    if (request == 'L')
      load();
    else if (request == 'P')
      take_buffers();
    else if (request == 'R')
      run();
    else
      abort();
  }
}
