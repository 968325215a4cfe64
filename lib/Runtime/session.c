/*===- session.c - Models, sessions and steps
 * -------------------------------===*
 *
 * Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
 * SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===------------------------------------------------------------------------===*/
/**
 * \file
 * Owns what a step reads and writes: key and value caches, lengths, the arena,
 * logits. All of it is taken when a session is made; a step only fills in
 * descriptors, cuts a long input into chunks, and runs the generated function
 * on the team. It computes nothing itself.
 */
#include "Abi.h"
#include "Internal.h"
#include "miura-c/artifact.h"
#include <stdlib.h>
#include <string.h>

struct miura_model {
  miura_model_info info;
  miura_weights weights;
  miura_team *team;
};

/* Places of the descriptors that are not caches; see miura_step_function. */
enum { TOKENS, POSITIONS, PADDING, LENGTHS, COUNTS, CACHES };

struct miura_session {
  miura_model *model;
  int64_t batch, capacity, chunk;
  int64_t *lengths;            /* [batch] */
  int64_t *tokens, *positions; /* [batch, chunk] */
  int64_t *taken, *counts;     /* [batch]: of the call, of the chunk */
  int8_t *padding;             /* [batch, capacity] */
  float **caches;              /* 2 × layers */
  float *logits;               /* [batch, vocabulary] */
  float *last;                 /* of the chunk */
  float *all;       /* [batch, n, vocabulary], grown when asked for */
  float *all_chunk; /* [batch, chunk, vocabulary], with more than one row */
  int64_t all_positions;
  void *arena;
  int64_t arena_bytes;
  miura_memref *memrefs;
  miura_memref **arguments;
  miura_step_function function; /* of the job that runs */
};

/*===- Models
 * ---------------------------------------------------------------===*/

miura_model *miura_open(const char *path, int threads) {
  const miura_program_table *program = &miura_program;
  if (program->abi != MIURA_ABI) {
    miura_fail(
        "the code was generated for runtime interface %lld, but this is %d",
        (long long)program->abi, MIURA_ABI);
    return NULL;
  }
  if (miura_check_features(program->cpu, program->features))
    return NULL;
  miura_model *model = calloc(1, sizeof *model);
  if (!model) {
    miura_fail("out of memory");
    return NULL;
  }
  model->info = (miura_model_info){
      .vocabulary = program->vocabulary,
      .layers = program->layers,
      .context = program->context,
      .kernels = program->kernels,
      .weight_bytes = program->weight_bytes,
      .cpu = program->cpu,
      .features = program->features,
      .version = program->version,
      .chunk = program->chunk,
      .input_count = program->input_count,
      .inputs = program->inputs,
      .output_count = program->output_count,
      .outputs = program->outputs,
  };
  if (miura_weights_map(&model->weights, path, program->weight_bytes,
                        program->weight_id) ||
      !(model->team = miura_team_create(threads))) {
    miura_close(model);
    return NULL;
  }
  return model;
}

void miura_close(miura_model *model) {
  if (!model)
    return;
  miura_team_destroy(model->team);
  miura_weights_unmap(&model->weights);
  free(model);
}

const miura_model_info *miura_model_get_info(const miura_model *model) {
  return &model->info;
}

/*===- Sessions
 * -------------------------------------------------------------===*/

/* Of sizes: 1 if the product is too large. Clang's built-in is a call on
 * 32-bit machines. */
static int multiply(int64_t *result, int64_t a, int64_t b) {
  if (b > 0 && a > INT64_MAX / b)
    return 1;
  *result = a * b;
  return 0;
}

/* Zeroed, at a cache line; null on failure or if the size is absurd. */
static void *take(int64_t count, int64_t size) {
  int64_t bytes;
  if (multiply(&bytes, count, size) || bytes > PTRDIFF_MAX - 128)
    return NULL;
  bytes = (bytes + 127) / 64 * 64; /* never empty */
  void *memory = aligned_alloc(64, (size_t)bytes);
  if (memory)
    memset(memory, 0, (size_t)bytes);
  return memory;
}

static void describe(miura_memref *m, void *data, int rank,
                     const int64_t *sizes) {
  m->allocated = m->aligned = data;
  m->offset = 0;
  int64_t stride = 1;
  for (int d = rank - 1; d >= 0; --d) {
    m->sizes_strides[d] = sizes[d];
    m->sizes_strides[rank + d] = stride;
    stride *= sizes[d];
  }
}

static int64_t max64(int64_t a, int64_t b) { return a > b ? a : b; }
static int64_t min64(int64_t a, int64_t b) { return a < b ? a : b; }

miura_session *miura_session_create(miura_model *model, int64_t batch,
                                    int64_t capacity) {
  const miura_program_table *program = &miura_program;
  if (batch < 1 || capacity < 1) {
    miura_fail("a session has at least one row and room for one token, but "
               "%lld and %lld were asked for",
               (long long)batch, (long long)capacity);
    return NULL;
  }
  int64_t layers = program->layers, threads = miura_team_threads(model->team);
  int64_t descriptors = CACHES + 2 * layers + 3;
  /* Rows share a chunk's work, so that the arena does not grow with the batch.
   */
  int64_t chunk = max64(1, min64(program->chunk / batch, capacity));
  miura_session *s = calloc(1, sizeof *s);
  if (!s)
    goto fail;
  s->model = model;
  s->batch = batch;
  s->capacity = capacity;
  s->chunk = chunk;
  s->lengths = take(batch, 8);
  s->taken = take(batch, 8);
  s->counts = take(batch, 8);
  s->tokens = take(batch * chunk, 8);
  s->positions = take(batch * chunk, 8);
  int64_t slots = 0;
  s->padding = multiply(&slots, batch, capacity) ? NULL : take(slots, 1);
  s->logits = take(batch, program->vocabulary * 4);
  s->last = take(batch, program->vocabulary * 4);
  s->caches = take(2 * layers, sizeof *s->caches);
  s->memrefs = take(descriptors, sizeof *s->memrefs);
  s->arguments = take(descriptors, sizeof *s->arguments);
  /* Sizes of which there is no memory are none that code computes with. */
  if (!s->lengths || !s->taken || !s->counts || !s->tokens || !s->positions ||
      !s->padding || !s->logits || !s->last || !s->caches || !s->memrefs ||
      !s->arguments)
    goto fail;
  s->arena_bytes = program->workspace(batch, chunk, capacity, threads);
  if (program->workspace_all)
    s->arena_bytes =
        max64(s->arena_bytes,
              program->workspace_all(batch, chunk, capacity, threads));
  s->arena = take(s->arena_bytes, 1);
  if (!s->arena)
    goto fail;
  memset(s->padding, 1, (size_t)slots);
  for (int64_t i = 0; i < descriptors; ++i)
    s->arguments[i] = &s->memrefs[i];
  for (int64_t i = 0; i < 2 * layers; ++i) {
    const miura_cache_shape *shape = &program->caches[i];
    int64_t rows;
    if (multiply(&rows, slots, shape->heads) ||
        !(s->caches[i] = take(rows, shape->size * 4)))
      goto fail;
    describe(&s->memrefs[CACHES + i], s->caches[i], 4,
             (int64_t[]){batch, shape->heads, capacity, shape->size});
  }
  describe(&s->memrefs[PADDING], s->padding, 2, (int64_t[]){batch, capacity});
  describe(&s->memrefs[LENGTHS], s->lengths, 1, &batch);
  describe(&s->memrefs[COUNTS], s->counts, 1, &batch);
  describe(&s->memrefs[descriptors - 2], s->arena, 1, &s->arena_bytes);
  describe(&s->memrefs[descriptors - 1], model->weights.data, 1,
           &model->weights.bytes);
  return s;
fail:
  miura_session_destroy(s);
  miura_fail(
      "out of memory for a session of %lld rows of %lld tokens; ask for less",
      (long long)batch, (long long)capacity);
  return NULL;
}

void miura_session_destroy(miura_session *s) {
  if (!s)
    return;
  for (int64_t i = 0; s->caches && i < 2 * s->model->info.layers; ++i)
    free(s->caches[i]);
  free(s->lengths);
  free(s->taken);
  free(s->counts);
  free(s->tokens);
  free(s->positions);
  free(s->padding);
  free(s->logits);
  free(s->last);
  free(s->all);
  free(s->all_chunk);
  free(s->caches);
  free(s->memrefs);
  free(s->arguments);
  free(s->arena);
  free(s);
}

/*===- Steps
 * ----------------------------------------------------------------===*/

static void run(void *opaque, int64_t team, int64_t tid, int64_t threads) {
  miura_session *s = opaque;
  s->function(s->arguments, team, tid, threads);
}

static int check_step(const miura_session *s, const int64_t *tokens, int64_t n,
                      const int64_t *counts, int all) {
  if (n < 1)
    return miura_fail("a step takes at least one token per row, but got %lld",
                      (long long)n);
  if (all && !miura_program.step_all)
    return miura_fail(
        "this library computes the logits of the last position only");
  for (int64_t b = 0; b < s->batch; ++b) {
    int64_t count = counts ? counts[b] : n;
    if (count < 0 || count > n)
      return miura_fail("row %lld takes %lld of %lld tokens", (long long)b,
                        (long long)count, (long long)n);
    if (count > s->capacity - s->lengths[b])
      return miura_fail("row %lld has %lld tokens and room for %lld, but %lld "
                        "more were given; make a session "
                        "of larger capacity",
                        (long long)b, (long long)s->lengths[b],
                        (long long)s->capacity, (long long)count);
    for (int64_t t = 0; t < count; ++t) {
      int64_t token = tokens[b * n + t];
      if (token < 0 || token >= miura_program.vocabulary)
        return miura_fail(
            "token %lld of row %lld is %lld, but the vocabulary has %lld",
            (long long)t, (long long)b, (long long)token,
            (long long)miura_program.vocabulary);
    }
  }
  return 0;
}

/* Tables by position have a row for each of `context` positions, whether these
 * are given, are the lengths, or count what is visible. */
static int check_positions(const miura_session *s, const int64_t *positions,
                           const uint8_t *mask, int64_t n,
                           const int64_t *counts) {
  int64_t context = miura_program.context;
  for (int64_t b = 0; context > 0 && b < s->batch; ++b) {
    int64_t count = counts ? counts[b] : n, visible = 0;
    for (int64_t t = 0; positions && t < count; ++t) {
      int64_t position = positions[b * n + t];
      if (position < 0 || position >= context)
        return miura_fail("token %lld of row %lld stands at position %lld, but "
                          "the model was made for %lld",
                          (long long)t, (long long)b, (long long)position,
                          (long long)context);
    }
    for (int64_t slot = 0; slot < s->lengths[b]; ++slot)
      visible += s->padding[b * s->capacity + slot] != 0;
    for (int64_t t = 0; t < count; ++t)
      visible += !mask || mask[b * n + t];
    int64_t length = positions ? visible : s->lengths[b] + count;
    if (length > context && count > 0)
      return miura_fail("row %lld would have %lld tokens, but the model was "
                        "made for %lld",
                        (long long)b, (long long)length, (long long)context);
  }
  return 0;
}

/* Room for the logits of n positions. */
static int grow_all(miura_session *s, int64_t n) {
  int64_t vocabulary = miura_program.vocabulary;
  if (s->batch > 1 && !s->all_chunk &&
      !(s->all_chunk = take(s->batch * s->chunk, vocabulary * 4)))
    return miura_fail("out of memory for the logits of %lld positions",
                      (long long)s->chunk);
  if (n <= s->all_positions)
    return 0;
  int64_t rows;
  float *grown =
      multiply(&rows, s->batch, n) ? NULL : take(rows, vocabulary * 4);
  if (!grown)
    return miura_fail(
        "out of memory for the logits of %lld positions; take fewer in a step",
        (long long)n);
  free(s->all);
  s->all = grown;
  s->all_positions = n;
  return 0;
}

int miura_session_step_masked(miura_session *s, const int64_t *tokens,
                              const int64_t *positions, const uint8_t *mask,
                              int64_t n, const int64_t *counts, int all,
                              const float **logits) {
  if (check_step(s, tokens, n, counts, all) ||
      check_positions(s, positions, mask, n, counts) || (all && grow_all(s, n)))
    return 1;
  int64_t batch = s->batch, vocabulary = miura_program.vocabulary;
  int64_t longest = 0;
  for (int64_t b = 0; b < batch; ++b) {
    s->taken[b] = counts ? counts[b] : n;
    longest = max64(longest, s->taken[b]);
  }
  miura_memref *output = &s->memrefs[CACHES + 2 * s->model->info.layers];
  s->function = all ? miura_program.step_all : miura_program.step;
  for (int64_t start = 0; start < longest; start += s->chunk) {
    int64_t size = min64(s->chunk, longest - start);
    for (int64_t b = 0; b < batch; ++b) {
      int64_t count = max64(0, min64(size, s->taken[b] - start));
      s->counts[b] = count;
      for (int64_t t = 0; t < size; ++t) {
        int64_t from = b * n + start + t, to = b * size + t;
        int taken = t < count;
        s->tokens[to] = taken ? tokens[from] : 0;
        s->positions[to] = !taken      ? 0
                           : positions ? positions[from]
                                       : s->lengths[b] + t;
        if (taken && mask)
          s->padding[b * s->capacity + s->lengths[b] + t] = mask[from] != 0;
      }
    }
    describe(&s->memrefs[TOKENS], s->tokens, 2, (int64_t[]){batch, size});
    describe(&s->memrefs[POSITIONS], s->positions, 2, (int64_t[]){batch, size});
    float *into = !all         ? s->last
                  : batch == 1 ? s->all + start * vocabulary
                               : s->all_chunk;
    describe(output, into, 3, (int64_t[]){batch, all ? size : 1, vocabulary});
    miura_team_run(s->model->team, run, s);
    for (int64_t b = 0; b < batch; ++b) {
      int64_t count = s->counts[b];
      size_t row = (size_t)vocabulary * sizeof(float);
      if (!all && count > 0)
        memcpy(s->logits + b * vocabulary, s->last + b * vocabulary, row);
      else if (all && batch > 1)
        memcpy(s->all + (b * n + start) * vocabulary,
               s->all_chunk + b * size * vocabulary, (size_t)count * row);
      s->lengths[b] += count;
    }
  }
  if (logits)
    *logits = all ? s->all : s->logits;
  return 0;
}

int miura_session_step(miura_session *s, const int64_t *tokens, int64_t n,
                       const int64_t *counts, int all, const float **logits) {
  return miura_session_step_masked(s, tokens, NULL, NULL, n, counts, all,
                                   logits);
}

/*===- State
 * ----------------------------------------------------------------===*/

int64_t miura_session_batch(const miura_session *s) { return s->batch; }
int64_t miura_session_capacity(const miura_session *s) { return s->capacity; }

static int check_row(const miura_session *s, int64_t row) {
  if (row < 0 || row >= s->batch)
    return miura_fail("there is no row %lld: the session has %lld",
                      (long long)row, (long long)s->batch);
  return 0;
}

int64_t miura_session_length(const miura_session *s, int64_t row) {
  return check_row(s, row) ? -1 : s->lengths[row];
}

int miura_session_set_length(miura_session *s, int64_t row, int64_t length) {
  if (check_row(s, row))
    return 1;
  if (length < 0 || length > s->capacity)
    return miura_fail(
        "a length is from 0 to the capacity of %lld, but got %lld",
        (long long)s->capacity, (long long)length);
  /* What is cut off leaves its slots visible for what comes next. */
  if (length < s->lengths[row])
    memset(s->padding + row * s->capacity + length, 1,
           (size_t)(s->lengths[row] - length));
  s->lengths[row] = length;
  return 0;
}

int miura_session_reset(miura_session *s, int64_t row) {
  if (row != -1 && check_row(s, row))
    return 1;
  for (int64_t b = row == -1 ? 0 : row; b < (row == -1 ? s->batch : row + 1);
       ++b) {
    s->lengths[b] = 0;
    memset(s->padding + b * s->capacity, 1, (size_t)s->capacity);
  }
  return 0;
}

int miura_session_set_visible(miura_session *s, int64_t row, int64_t slot,
                              int visible) {
  if (check_row(s, row))
    return 1;
  if (slot < 0 || slot >= s->capacity)
    return miura_fail("there is no slot %lld: the session has %lld",
                      (long long)slot, (long long)s->capacity);
  s->padding[row * s->capacity + slot] = visible != 0;
  return 0;
}

int miura_session_cache(miura_session *s, int64_t layer, int is_value,
                        float **data, int64_t shape[4]) {
  if (layer < 0 || layer >= s->model->info.layers)
    return miura_fail("there is no layer %lld: the model has %lld",
                      (long long)layer, (long long)s->model->info.layers);
  const miura_cache_shape *cache =
      &miura_program.caches[2 * layer + (is_value != 0)];
  if (data)
    *data = s->caches[2 * layer + (is_value != 0)];
  if (shape) {
    shape[0] = s->batch;
    shape[1] = cache->heads;
    shape[2] = s->capacity;
    shape[3] = cache->size;
  }
  return 0;
}
