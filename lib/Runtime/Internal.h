/*===- Internal.h - Between the parts of the runtime ----------------*- C
 * -*-===*
 *
 * Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
 * SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===------------------------------------------------------------------------===*/
/**
 * \file
 * What the runtime's files tell each other: messages, the thread team, the
 * mapped weights, the machine's instruction sets. Hidden: only miura_* of
 * miura-c/artifact.h leaves the library.
 */
#ifndef MIURA_RUNTIME_INTERNAL_H
#define MIURA_RUNTIME_INTERNAL_H

#include <stddef.h>
#include <stdint.h>

#define MIURA_HIDDEN __attribute__((visibility("hidden")))

#ifdef __cplusplus
extern "C" {
#endif

/** Keeps the message for miura_error() and returns 1, for `return
 * miura_fail(…)`. */
MIURA_HIDDEN __attribute__((format(printf, 1, 2))) int
miura_fail(const char *format, ...);

/** A team of threads that runs one function at a time on all of them. */
typedef struct miura_team miura_team;
typedef void (*miura_team_function)(void *argument, int64_t team, int64_t tid,
                                    int64_t threads);

/** Starts `threads` − 1 threads; the caller of miura_team_run is thread 0. Null
 *  on failure, with a message. */
MIURA_HIDDEN miura_team *miura_team_create(int threads);
MIURA_HIDDEN void miura_team_destroy(miura_team *team);
MIURA_HIDDEN int miura_team_threads(const miura_team *team);
/** Calls `function` on every thread and returns when all have returned. */
MIURA_HIDDEN void miura_team_run(miura_team *team, miura_team_function function,
                                 void *argument);
/** The processors that this process may run on. */
MIURA_HIDDEN int miura_processors(void);

/** A mapped weights file. */
typedef struct miura_weights {
  void *data;
  int64_t bytes;
} miura_weights;

/** Maps the file at `path` (or PATH.weights, if `path` is not a weights file,
 * or beside this library, if null) and checks size and identity. */
MIURA_HIDDEN int miura_weights_map(miura_weights *weights, const char *path,
                                   int64_t bytes, const uint8_t id[32]);
MIURA_HIDDEN void miura_weights_unmap(miura_weights *weights);

/** 0 if this machine has every one of the comma-separated instruction sets;
 *  else a message. */
MIURA_HIDDEN int miura_check_features(const char *cpu, const char *features);

#ifdef __cplusplus
}
#endif

#endif /* MIURA_RUNTIME_INTERNAL_H */
