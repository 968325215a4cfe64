/*===- threads.c - The thread team
 * ------------------------------------------===*
 *
 * Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
 * SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===------------------------------------------------------------------------===*/
/**
 * \file
 * A step runs on every thread of a persistent team, with barriers between its
 * kernels: hundreds per token, a few microseconds apart. So waiting spins
 * first, yields for a while and sleeps on a futex after that: a wait that is
 * met while spinning costs no system call. How long it spins is learnt: a wait
 * that had to sleep after all halves it, one that did not lets it grow again;
 * so a team whose processors are taken by others does not burn what they leave.
 *
 * Where others take the processors, a thread that has to be waited for may be
 * away for a whole time slice, at every barrier anew. Thread 0 measures what it
 * waits beyond spinning; where running everything itself would have taken less,
 * it does so for a number of runs, and then tries the team again. What a step
 * computes does not depend on the number of threads.
 *
 * The barrier counts arrivals and has a generation, after Mellor-Crummey and
 * Scott, "Algorithms for Scalable Synchronization on Shared-Memory
 * Multiprocessors" (1991), section 3.1.
 */
#define _GNU_SOURCE
#include "Abi.h"
#include "Internal.h"
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum {
  /* About a microsecond: what a futex costs anyway. */
  FEWEST_SPINS = 64,
  /* About 0.1 ms where nobody else wants the processor; else each gives it to
   * them. Without these a team whose spins had shrunk stayed slow for ever:
   * waking a thread from its sleep takes longer than a kernel does, so its wait
   * made the next ones sleep too. */
  YIELDS = 256,
  /* Runs of thread 0 alone before the team is tried again, the first time and
   * at most. */
  FEWEST_ALONE = 32,
  MOST_ALONE = 256,
  /* Nanoseconds between two runs after which the others sleep, and waking them
   * takes longer than a small model's step: that says nothing. */
  STILL_AWAKE = 200000
};

/* A line each, so that a thread that spins on one does not disturb the other.
 */
struct signal {
  _Alignas(64) atomic_uint value;
  atomic_uint sleepers;
};

struct miura_team {
  struct signal generation; /* of the barrier */
  struct signal job;        /* counts jobs */
  _Alignas(64) atomic_int arrived;
  int threads;
  int active; /* that take part in this run: all, or thread 0 alone */
  int alone;  /* runs that are left to thread 0 */
  int next_alone;
  int64_t waited; /* by thread 0 in this run, beyond spinning, in ns */
  int64_t ended;  /* when the team's last run did */
  int most_spins;
  atomic_int spins;
  atomic_int stop;
  miura_team_function function;
  void *argument;
  pthread_t *handles;
};

struct worker {
  miura_team *team;
  int tid;
};

/* Whether this thread is one of a team's, not the caller of its runs. */
static _Thread_local int is_worker;

int miura_processors(void) {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) {
    int count = CPU_COUNT(&set);
    if (count > 0)
      return count;
  }
  return 1;
}

static inline void relax(void) {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

static int64_t now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* Returns when `s->value` is no longer `seen`. */
static void wait_for_change(miura_team *team, struct signal *s, unsigned seen) {
  int spins = atomic_load_explicit(&team->spins, memory_order_relaxed);
  for (int i = 0; i < spins; ++i) {
    if (atomic_load_explicit(&s->value, memory_order_acquire) != seen) {
      if (spins < team->most_spins)
        atomic_store_explicit(&team->spins, spins + spins / 16 + 1,
                              memory_order_relaxed);
      return;
    }
    relax();
  }
  int is_leader = s == &team->generation && !is_worker;
  int64_t begin = is_leader ? now() : 0;
  for (int i = 0; i < YIELDS; ++i) {
    if (atomic_load_explicit(&s->value, memory_order_acquire) != seen) {
      if (is_leader)
        team->waited += now() - begin;
      return;
    }
    sched_yield();
  }
  /* The order of `sleepers` and `value` here and in `change` must be total: one
   * of the two sides has to see the other. */
  atomic_fetch_add(&s->sleepers, 1);
  while (atomic_load(&s->value) == seen)
    syscall(SYS_futex, &s->value, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
  atomic_fetch_sub(&s->sleepers, 1);
  if (is_leader)
    team->waited += now() - begin;
  if (spins > FEWEST_SPINS)
    atomic_store_explicit(&team->spins, spins / 2, memory_order_relaxed);
}

static void change(struct signal *s) {
  atomic_fetch_add(&s->value, 1);
  if (atomic_load(&s->sleepers) != 0)
    syscall(SYS_futex, &s->value, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

static void barrier(miura_team *team) {
  if (team->active == 1)
    return;
  unsigned generation =
      atomic_load_explicit(&team->generation.value, memory_order_acquire);
  if (atomic_fetch_add_explicit(&team->arrived, 1, memory_order_acq_rel) ==
      team->threads - 1) {
    atomic_store_explicit(&team->arrived, 0, memory_order_relaxed);
    change(&team->generation);
    return;
  }
  wait_for_change(team, &team->generation, generation);
}

void miura_barrier(int64_t team) { barrier((miura_team *)(intptr_t)team); }

static void *work(void *opaque) {
  struct worker self = *(struct worker *)opaque;
  free(opaque);
  is_worker = 1;
  miura_team *team = self.team;
  for (unsigned seen = 0;; ++seen) {
    wait_for_change(team, &team->job, seen);
    if (atomic_load_explicit(&team->stop, memory_order_relaxed))
      return NULL;
    team->function(team->argument, (int64_t)(intptr_t)team, self.tid,
                   team->threads);
    barrier(team);
  }
}

miura_team *miura_team_create(int threads) {
  if (threads < 1)
    threads = miura_processors();
  miura_team *team = aligned_alloc(64, sizeof *team);
  if (!team) {
    miura_fail("out of memory for a team of %d threads", threads);
    return NULL;
  }
  *team = (miura_team){.threads = threads, .next_alone = FEWEST_ALONE};
  /* About 0.2 ms, which is longer than sampling a token takes and shorter than
   * a time slice; next to nothing where threads must share processors. */
  team->most_spins = threads <= miura_processors() ? 20000 : FEWEST_SPINS;
  team->spins = team->most_spins;
  team->handles = calloc((size_t)threads, sizeof *team->handles);
  if (!team->handles) {
    free(team);
    miura_fail("out of memory for a team of %d threads", threads);
    return NULL;
  }
  for (int tid = 1; tid < threads; ++tid) {
    struct worker *self = malloc(sizeof *self);
    if (self)
      *self = (struct worker){team, tid};
    if (!self || pthread_create(&team->handles[tid], NULL, work, self) != 0) {
      free(self);
      /* Those that run wait for a job and never enter the barrier. */
      team->threads = tid;
      miura_team_destroy(team);
      miura_fail("cannot start thread %d of %d; ask for fewer", tid + 1,
                 threads);
      return NULL;
    }
  }
  return team;
}

void miura_team_destroy(miura_team *team) {
  if (!team)
    return;
  atomic_store(&team->stop, 1);
  change(&team->job);
  for (int tid = 1; tid < team->threads; ++tid)
    pthread_join(team->handles[tid], NULL);
  free(team->handles);
  free(team);
}

int miura_team_threads(const miura_team *team) { return team->threads; }

void miura_team_run(miura_team *team, miura_team_function function,
                    void *argument) {
  team->function = function;
  team->argument = argument;
  if (team->threads == 1 || team->alone > 0) {
    team->active = 1;
    team->alone -= team->alone > 0;
    function(argument, (int64_t)(intptr_t)team, 0, 1);
    return;
  }
  team->active = team->threads;
  team->waited = 0;
  int64_t begin = now();
  change(&team->job);
  function(argument, (int64_t)(intptr_t)team, 0, team->threads);
  barrier(team);
  /* Its own part of the work took what it did not wait; alone it has all. */
  int64_t end = now(), took = end - begin;
  int were_awake = begin - team->ended < STILL_AWAKE;
  team->ended = end;
  if (!were_awake)
    return;
  if (team->waited * team->threads > took * (team->threads - 1)) {
    team->alone = team->next_alone;
    team->next_alone =
        2 * team->next_alone < MOST_ALONE ? 2 * team->next_alone : MOST_ALONE;
  } else {
    team->next_alone = FEWEST_ALONE;
  }
}
