/*===- alone.c - One thread and weights in memory
 * ---------------------------===*
 *
 * Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
 * SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===------------------------------------------------------------------------===*/
/**
 * \file
 * In place of threads.c and weights.c where there are neither threads nor
 * files: a team of one, and weights that whoever loads the module copies into
 * its memory before it is opened. Also the memory through which tokens and
 * results pass.
 */
#include "Abi.h"
#include "Internal.h"
#include "miura-c/artifact.h"
#include <stdlib.h>
#include <string.h>

/*===- The team
 * -------------------------------------------------------------===*/

struct miura_team {
  int threads;
};

static miura_team alone = {1};

miura_team *miura_team_create(int threads) {
  if (threads > 1) {
    miura_fail("this library computes on one thread, but %d were asked for",
               threads);
    return NULL;
  }
  return &alone;
}
void miura_team_destroy(miura_team *team) { (void)team; }
int miura_team_threads(const miura_team *team) { return team->threads; }
void miura_team_run(miura_team *team, miura_team_function function,
                    void *argument) {
  function(argument, (int64_t)(intptr_t)team, 0, 1);
}
int miura_processors(void) { return 1; }
void miura_barrier(int64_t team) { (void)team; }

/*===- Weights
 * --------------------------------------------------------------===*/

static uint8_t *weights_memory;

int64_t miura_weights_bytes(void) { return miura_program.weight_bytes; }

void *miura_weights_memory(void) {
  if (!weights_memory) {
    int64_t bytes = miura_program.weight_bytes;
    if (bytes <= PTRDIFF_MAX)
      weights_memory = aligned_alloc(64, (size_t)bytes);
    if (!weights_memory)
      miura_fail("no memory for %lld bytes of weights", (long long)bytes);
  }
  return weights_memory;
}

int miura_weights_map(miura_weights *weights, const char *path, int64_t bytes,
                      const uint8_t id[32]) {
  if (path)
    return miura_fail("this library reads no files; copy the weights to "
                      "miura_weights_memory() and open it without a path");
  if (!weights_memory)
    return miura_fail("the weights were not loaded: copy them to "
                      "miura_weights_memory() first");
  if (memcmp(weights_memory, MIURA_WEIGHTS_MAGIC, 8) != 0 ||
      memcmp(weights_memory + 8, id, 32) != 0)
    return miura_fail("the weights are not those that the library was compiled "
                      "with; compile again");
  weights->data = weights_memory;
  weights->bytes = bytes;
  return 0;
}

/* They stay for the next model to open. */
void miura_weights_unmap(miura_weights *weights) { weights->data = NULL; }

/*===- Memory
 * ---------------------------------------------------------------===*/

void *miura_allocate(int64_t bytes) {
  void *memory = bytes < 0 || bytes > PTRDIFF_MAX
                     ? NULL
                     : aligned_alloc(64, (size_t)bytes);
  if (!memory)
    miura_fail("no memory for %lld bytes", (long long)bytes);
  return memory;
}
void miura_release(void *memory) { free(memory); }
