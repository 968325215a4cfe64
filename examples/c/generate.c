/*===- generate.c - Tokens from a compiled model
 * ----------------------------===*
 *
 * Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
 * SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===------------------------------------------------------------------------===*/
/**
 * \file
 * Greedy generation with nothing but the library that `miura compile` wrote:
 *
 *   miura compile model.onnx -o libmodel.so
 *   cc -I include examples/c/generate.c libmodel.so -Wl,-rpath,. -o generate
 *   ./generate 20 1 403 407        # 20 tokens after the tokens 1, 403, 407
 */
#include "miura-c/artifact.h"
#include <stdio.h>
#include <stdlib.h>

static int fail(void) {
  fprintf(stderr, "generate: %s\n", miura_error());
  return 1;
}

int main(int argc, char **argv) {
  if (argc < 3) {
    fprintf(stderr, "usage: generate COUNT TOKEN...\n");
    return 2;
  }
  int64_t count = atoll(argv[1]), given = argc - 2;
  int64_t *tokens = malloc((size_t)given * sizeof *tokens);
  if (!tokens)
    return 1;
  for (int64_t i = 0; i < given; ++i)
    tokens[i] = atoll(argv[i + 2]);

  /* Weights beside the library, as many threads as there are processors. */
  miura_model *model = miura_open(NULL, 0);
  if (!model)
    return fail();
  miura_session *session =
      miura_session_create(model, /*batch=*/1, /*capacity=*/given + count);
  if (!session)
    return fail();

  int64_t vocabulary = miura_model_get_info(model)->vocabulary;
  const float *logits;
  if (miura_session_step(session, tokens, given, NULL, /*all=*/0, &logits) != 0)
    return fail();
  for (int64_t i = 0; i < count; ++i) {
    int64_t best = 0;
    for (int64_t v = 1; v < vocabulary; ++v)
      if (logits[v] > logits[best])
        best = v;
    printf("%lld%c", (long long)best, i + 1 < count ? ' ' : '\n');
    if (i + 1 < count &&
        miura_session_step(session, &best, 1, NULL, 0, &logits) != 0)
      return fail();
  }

  miura_session_destroy(session);
  miura_close(model);
  free(tokens);
  return 0;
}
