/*===- artifact.h - A compiled model as a shared library ------------*- C
 * -*-===*
 *
 * Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
 * SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===------------------------------------------------------------------------===*/
/**
 * \file
 * The interface of what `miura compile MODEL -o OUT.so` writes. Link the
 * library, or load it with dlopen; nothing else has to be installed. Its
 * weights are in OUT.so.weights, which stands beside it and is mapped, not
 * read.
 *
 * A model is opened once; sessions share its weights and its threads. A session
 * holds the keys and values of a batch of sequences, at most `capacity` tokens
 * each, and is stepped: tokens go in, logits come out, the sequences grow.
 *
 * Every function that can fail says so by its result (null or not 0);
 * miura_error() then has the message. A model and its sessions must not be used
 * by two threads at once; different models may.
 */
#ifndef MIURA_C_ARTIFACT_H
#define MIURA_C_ARTIFACT_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define MIURA_EXPORT __attribute__((visibility("default")))
#else
#define MIURA_EXPORT
#endif

typedef struct miura_model miura_model;
typedef struct miura_session miura_session;

/** What an input or output of the model's file is for. */
enum {
  MIURA_ROLE_OTHER = 0,   /**< Nothing that a session takes or gives. */
  MIURA_ROLE_TOKENS = 1,  /**< [batch, n] token ids. */
  MIURA_ROLE_POSITIONS,   /**< [batch, n] position of each token. */
  MIURA_ROLE_MASK,        /**< [batch, past + n], 1 where a key is seen. */
  MIURA_ROLE_CACHE_KEY,   /**< [batch, kv heads, past, size]: keys of a layer
                             that come in, or past + n of them that go out. */
  MIURA_ROLE_CACHE_VALUE, /**< The same of values. */
  MIURA_ROLE_LOGITS       /**< [batch, n, vocabulary]. */
};

/** An input or output of the file that a model was compiled from. A session has
 *  none of these; who has tensors in the file's layout needs them to know which
 *  is which. */
typedef struct miura_port {
  const char *name;
  /** Of the elements: f32, f16, bf16, i64, i32, i8, ui8, i1, … */
  const char *type;
  int64_t role;
  /** Of a cache, as miura_session_cache counts them; else −1. */
  int64_t layer;
  int64_t rank;
  /** −1 where any size goes. */
  const int64_t *shape;
} miura_port;

/** What is known of a model without running it. */
typedef struct miura_model_info {
  /** Entries of a row of logits. */
  int64_t vocabulary;
  /** Attention layers that have a cache. */
  int64_t layers;
  /** Tokens that the model was made for, or 0 where its file does not say. */
  int64_t context;
  /** Kernels in the library: the same for 2 layers and for 80 of one shape. */
  int64_t kernels;
  /** Bytes of the weights file. */
  int64_t weight_bytes;
  /** The cpu that the code was made for, as LLVM calls it. */
  const char *cpu;
  /** Instruction sets that the code needs, separated by commas. */
  const char *features;
  /** The version of the compiler. */
  const char *version;
  /** Tokens per row that one pass over the weights takes; longer inputs of a
   *  step are cut into chunks of this size inside the call. */
  int64_t chunk;
  /** The file's inputs and outputs in their order; none if the model was
   *  compiled from a session, which has no file of its own. */
  int64_t input_count;
  const miura_port *inputs;
  int64_t output_count;
  const miura_port *outputs;
} miura_model_info;

/** The message of the last failure on this thread; empty if there was none.
 *  Valid until the next call on this thread. */
MIURA_EXPORT const char *miura_error(void);

#if defined(__wasm__)
/* Where there are no files: the weights are copied into the module's memory
 * before the model is opened (without a path), and tokens and results pass
 * through memory that the module gives. */

/** Bytes of the weights file. */
MIURA_EXPORT int64_t miura_weights_bytes(void);

/** Memory for as many bytes, the same at every call; null if there is none. */
MIURA_EXPORT void *miura_weights_memory(void);

/** Memory at a multiple of 64 bytes, until it is released; null if there is
 *  none. */
MIURA_EXPORT void *miura_allocate(int64_t bytes);
MIURA_EXPORT void miura_release(void *memory);
#endif

/** Maps the weights and starts `threads` − 1 threads (the caller is the first;
 *  0 or less: as many as the process may run on). `path` names the weights file
 *  or the library beside it; null: beside the library that this code is in.
 *  Fails if the machine lacks an instruction set that the code needs, or if the
 *  weights file is missing, too short or another model's. Its contents are not
 *  read for that; `miura inspect` compares them with their digest. */
MIURA_EXPORT miura_model *miura_open(const char *path, int threads);

/** Frees what miura_open made. Its sessions must be destroyed before. Null is
 *  ignored. */
MIURA_EXPORT void miura_close(miura_model *model);

/** Lives as long as the model. */
MIURA_EXPORT const miura_model_info *
miura_model_get_info(const miura_model *model);

/** A session of `batch` ≥ 1 rows with room for `capacity` ≥ 1 tokens each. All
 *  memory of later steps is taken here. */
MIURA_EXPORT miura_session *
miura_session_create(miura_model *model, int64_t batch, int64_t capacity);
MIURA_EXPORT void miura_session_destroy(miura_session *session);

/** Appends tokens and computes logits.
 *
 *  `tokens` is [batch, n], row-major; of row b the first counts[b] ≤ n are
 *  taken (`counts` null: all n; 0: the row rests). With `all` = 0, `*logits` is
 *  [batch, vocabulary], the logits after the last token of each row (of rows
 *  that rest, what it was before); else [batch, n, vocabulary], of every
 *  position (unspecified at positions that are not taken). They belong to the
 *  session and are valid until its next step. `logits` may be null.
 *
 *  Fails, with nothing changed, if a row has no room, a token is not in the
 *  vocabulary, or a row grows beyond the model's context. A step with `all` = 0
 * allocates no memory; one with `all` = 1 does so only when it has more
 * positions than any before. */
MIURA_EXPORT int miura_session_step(miura_session *session,
                                    const int64_t *tokens, int64_t n,
                                    const int64_t *counts, int all,
                                    const float **logits);

/** As miura_session_step, with the position of each token given ([batch, n];
 *  null: its place in the row) and `mask` ([batch, n]; null: all 1): where it
 * is 0, the token's slot is hidden from every later query, as padding is. Fails
 *  as that does, and where a position is not below the model's context. */
MIURA_EXPORT int miura_session_step_masked(miura_session *session,
                                           const int64_t *tokens,
                                           const int64_t *positions,
                                           const uint8_t *mask, int64_t n,
                                           const int64_t *counts, int all,
                                           const float **logits);

MIURA_EXPORT int64_t miura_session_batch(const miura_session *session);
MIURA_EXPORT int64_t miura_session_capacity(const miura_session *session);

/** Tokens in row `row`; −1 if there is no such row. */
MIURA_EXPORT int64_t miura_session_length(const miura_session *session,
                                          int64_t row);

/** Cuts row `row` to `length` tokens, or declares that so many were written
 *  through miura_session_cache. */
MIURA_EXPORT int miura_session_set_length(miura_session *session, int64_t row,
                                          int64_t length);

/** Empties row `row` (−1: all) and shows its hidden slots again. */
MIURA_EXPORT int miura_session_reset(miura_session *session, int64_t row);

/** Hides (0) or shows (1) a slot of a row. */
MIURA_EXPORT int miura_session_set_visible(miura_session *session, int64_t row,
                                           int64_t slot, int visible);

/** The keys (`is_value` = 0) or values of a layer, in place: f32, row-major,
 *  [batch, kv heads, capacity, size]. Slots at and after a row's length are
 *  unspecified. */
MIURA_EXPORT int miura_session_cache(miura_session *session, int64_t layer,
                                     int is_value, float **data,
                                     int64_t shape[4]);

#ifdef __cplusplus
}
#endif

#endif /* MIURA_C_ARTIFACT_H */
