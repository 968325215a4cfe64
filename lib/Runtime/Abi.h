/*===- Abi.h - Between generated code and the runtime ---------------*- C
 * -*-===*
 *
 * Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
 * SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===------------------------------------------------------------------------===*/
/**
 * \file
 * What `miura compile` generates beside the kernels, and what the runtime gives
 * it. lib/Target writes `miura_program` with exactly these fields: a change
 * here is a change there and of MIURA_ABI.
 */
#ifndef MIURA_RUNTIME_ABI_H
#define MIURA_RUNTIME_ABI_H

#include "miura-c/artifact.h"
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MIURA_ABI 2

/** A memref as MLIR lowers it, of any rank up to 4 (sizes and strides are
 * packed one after the other, so the fields after `sizes` move with the rank).
 * `index` has 64 bits on every target, where pointers have 32 too: code and
 * runtime have one interface.
 */
typedef struct miura_memref {
  void *allocated, *aligned;
  int64_t offset;
  int64_t sizes_strides[8];
} miura_memref;

/** A generated step. Every thread of the team calls it with the same
 *  descriptors; `team` is what it hands to miura_barrier. The descriptors, in
 *  order: tokens [B, T] i64, positions [B, T] i64, padding [B, C] i8, lengths
 *  [B] i64, counts [B] i64, then key and value cache of every layer
 *  [B, H, C, D] f32, logits [B, 1 or T, V] f32, arena [bytes] i8, weights
 *  [bytes] i8. */
typedef void (*miura_step_function)(miura_memref *const *arguments,
                                    int64_t team, int64_t tid, int64_t threads);

/** Bytes of arena that a step needs; grows with every argument. */
typedef int64_t (*miura_workspace_function)(int64_t batch, int64_t sequence,
                                            int64_t capacity, int64_t threads);

/** A cache: [B, heads, C, size] of f32. */
typedef struct miura_cache_shape {
  int64_t heads, size;
} miura_cache_shape;

typedef struct miura_program_table {
  int64_t abi;
  int64_t vocabulary;
  int64_t layers;
  int64_t context;
  int64_t kernels;
  int64_t chunk;
  int64_t weight_bytes;
  /** The first bytes of the weights file after its magic: what was compiled
   *  together stays together. */
  uint8_t weight_id[32];
  const char *cpu;
  const char *features;
  const char *version;
  /** Key and value of every layer in turn. */
  const miura_cache_shape *caches;
  /** For the logits of the last position, and of all (null if there is none).
   */
  miura_step_function step, step_all;
  miura_workspace_function workspace, workspace_all;
  /** The inputs and outputs of the model's file. */
  int64_t input_count;
  const miura_port *inputs;
  int64_t output_count;
  const miura_port *outputs;
} miura_program_table;

/** The one of this library. */
extern const miura_program_table miura_program
    __attribute__((visibility("hidden")));

/** The weights file: magic, identity, then blobs at multiples of 64 bytes. */
#define MIURA_WEIGHTS_MAGIC "MIURAWTS"
#define MIURA_WEIGHTS_HEADER 4096

/** Waits until every thread of the team has come here. Generated code calls it.
 */
__attribute__((visibility("hidden"))) void miura_barrier(int64_t team);

#ifdef __cplusplus
}
#endif

#endif /* MIURA_RUNTIME_ABI_H */
