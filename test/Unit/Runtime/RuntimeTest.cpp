//===- RuntimeTest.cpp - Threads, weights and sessions --------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The runtime around a step that is written here: it computes logits that tell
/// which token stood where, so that chunks, ragged rows and masks can be
/// checked. Allocations are counted: a step makes none.
///
//===----------------------------------------------------------------------===//

#include "../../../lib/Runtime/Abi.h"
#include "../../../lib/Runtime/Internal.h"
#include "miura-c/artifact.h"
#include "gtest/gtest.h"
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>
#include <unistd.h>
#include <vector>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define COUNTS_ALLOCATIONS 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define COUNTS_ALLOCATIONS 0
#endif
#endif
#ifndef COUNTS_ALLOCATIONS
#define COUNTS_ALLOCATIONS 1
#endif

static std::atomic<long> allocations;

#if COUNTS_ALLOCATIONS
extern "C" {
void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);
void *__libc_memalign(size_t, size_t);
void *malloc(size_t size) {
  ++allocations;
  return __libc_malloc(size);
}
void *calloc(size_t count, size_t size) {
  ++allocations;
  return __libc_calloc(count, size);
}
void *realloc(void *memory, size_t size) {
  ++allocations;
  return __libc_realloc(memory, size);
}
void *aligned_alloc(size_t alignment, size_t size) {
  ++allocations;
  return __libc_memalign(alignment, size);
}
}
#endif

//===----------------------------------------------------------------------===//
// A program
//===----------------------------------------------------------------------===//

static constexpr int64_t kVocabulary = 11, kChunk = 8, kWeightBytes = 4160;
static std::vector<int64_t> chunks;

namespace {
struct Step {
  miura_memref *const *arguments;
  int64_t *tokens() const { return data<int64_t>(0); }
  int64_t *positions() const { return data<int64_t>(1); }
  int8_t *padding() const { return data<int8_t>(2); }
  int64_t *lengths() const { return data<int64_t>(3); }
  int64_t *counts() const { return data<int64_t>(4); }
  float *keys() const { return data<float>(5); }
  float *logits() const { return data<float>(7); }
  int64_t batch() const { return arguments[0]->sizes_strides[0]; }
  int64_t sequence() const { return arguments[0]->sizes_strides[1]; }
  int64_t capacity() const { return arguments[2]->sizes_strides[1]; }
  template <typename T> T *data(int i) const {
    return static_cast<T *>(arguments[i]->aligned);
  }
};
} // namespace

/// Writes tokens into the cache, then logits (token, position, sum of all
/// tokens before that can be seen); threads share the rows' work by position.
static void run(miura_memref *const *arguments, int64_t team, int64_t tid,
                int64_t threads, bool all) {
  Step s{arguments};
  int64_t batch = s.batch(), sequence = s.sequence(), capacity = s.capacity();
  if (tid == 0)
    chunks.push_back(sequence);
  for (int64_t b = 0; b < batch; ++b)
    for (int64_t t = tid; t < sequence; t += threads) {
      int64_t slot = s.lengths()[b] + t;
      if (slot < capacity) // heads 2, size 3
        s.keys()[(b * 2 * capacity + slot) * 3] =
            static_cast<float>(s.tokens()[b * sequence + t]);
    }
  miura_barrier(team);
  for (int64_t b = 0; b < batch; ++b)
    for (int64_t t = tid; t < sequence; t += threads) {
      if (!all && t != s.counts()[b] - 1)
        continue;
      float sum = 0;
      for (int64_t i = 0; i <= s.lengths()[b] + t && i < capacity; ++i)
        if (s.padding()[b * capacity + i])
          sum += s.keys()[(b * 2 * capacity + i) * 3];
      float *out = s.logits() + (all ? b * sequence + t : b) * kVocabulary;
      out[0] = static_cast<float>(s.tokens()[b * sequence + t]);
      out[1] = static_cast<float>(s.positions()[b * sequence + t]);
      out[2] = sum;
    }
}
static void step(miura_memref *const *a, int64_t team, int64_t tid, int64_t n) {
  run(a, team, tid, n, false);
}
static void stepAll(miura_memref *const *a, int64_t team, int64_t tid,
                    int64_t n) {
  run(a, team, tid, n, true);
}
static int64_t workspace(int64_t batch, int64_t sequence, int64_t, int64_t) {
  return 64 * batch * sequence;
}

static const miura_cache_shape caches[] = {{2, 3}, {2, 5}};
static const int64_t anySize[] = {-1, -1};
static const miura_port inputs[] = {
    {"ids", "i64", MIURA_ROLE_TOKENS, -1, 2, anySize}};
extern "C" {

const miura_program_table miura_program = {MIURA_ABI,
                                           kVocabulary,
                                           /*layers=*/1,
                                           /*context=*/64,
                                           /*kernels=*/2,
                                           kChunk,
                                           kWeightBytes,
                                           {1, 2, 3},
                                           "testcpu",
                                           "",
                                           "0",
                                           caches,
                                           step,
                                           stepAll,
                                           workspace,
                                           workspace,
                                           1,
                                           inputs,
                                           0,
                                           nullptr};
}

//===----------------------------------------------------------------------===//
// Tests
//===----------------------------------------------------------------------===//

namespace {

class RuntimeTest : public ::testing::Test {
protected:
  void SetUp() override {
    char name[] = "/tmp/miura-runtime-XXXXXX";
    int file = mkstemp(name);
    ASSERT_GE(file, 0);
    close(file);
    unlink(name);
    path = std::string(name) + ".weights";
    std::vector<char> bytes(kWeightBytes);
    memcpy(bytes.data(), MIURA_WEIGHTS_MAGIC, 8);
    bytes[8] = 1;
    bytes[9] = 2;
    bytes[10] = 3;
    write(bytes);
    chunks.clear();
  }
  void TearDown() override { unlink(path.c_str()); }
  void write(const std::vector<char> &bytes) {
    std::ofstream(path, std::ios::binary).write(bytes.data(), bytes.size());
  }
  std::string path;
};

TEST_F(RuntimeTest, TeamMeetsAtBarriers) {
  for (int threads : {1, 2, 5}) {
    miura_team *team = miura_team_create(threads);
    ASSERT_TRUE(team) << miura_error();
    struct Shared {
      std::vector<int> values;
      std::atomic<int> wrong{0};
    } shared;
    shared.values.resize(threads);
    for (int round = 0; round < 200; ++round)
      miura_team_run(
          team,
          [](void *opaque, int64_t team, int64_t tid, int64_t threads) {
            auto *shared = static_cast<Shared *>(opaque);
            for (int phase = 1; phase <= 4; ++phase) {
              shared->values[tid] = phase;
              miura_barrier(team);
              // Thread 0 may be alone, where others want the processors.
              for (int64_t i = 0; i < threads; ++i)
                shared->wrong += shared->values[i] != phase;
              miura_barrier(team);
            }
          },
          &shared);
    EXPECT_EQ(shared.wrong, 0) << threads << " threads";
    miura_team_destroy(team);
  }
}

TEST_F(RuntimeTest, WeightsMustBelong) {
  miura_model *model = miura_open(path.c_str(), 1);
  ASSERT_TRUE(model) << miura_error();
  EXPECT_EQ(miura_model_get_info(model)->vocabulary, kVocabulary);
  miura_close(model);

  EXPECT_FALSE(miura_open("/nowhere/model.so", 1));
  EXPECT_NE(strstr(miura_error(), "/nowhere/model.so.weights"), nullptr);
  write(std::vector<char>(100));
  EXPECT_FALSE(miura_open(path.c_str(), 1));
  EXPECT_NE(strstr(miura_error(), "has 100 bytes"), nullptr);
  write(std::vector<char>(kWeightBytes));
  EXPECT_FALSE(miura_open(path.c_str(), 1));
  EXPECT_NE(strstr(miura_error(), "is not the one"), nullptr);
}

TEST_F(RuntimeTest, MissingInstructionSetIsNamed) {
  EXPECT_EQ(miura_check_features("x", ""), 0);
  EXPECT_EQ(miura_check_features("somecpu", "telepathy"), 1);
  EXPECT_NE(strstr(miura_error(), "somecpu"), nullptr);
  EXPECT_NE(strstr(miura_error(), "telepathy"), nullptr);
}

class SessionTest : public RuntimeTest,
                    public ::testing::WithParamInterface<int> {
protected:
  void SetUp() override {
    RuntimeTest::SetUp();
    model = miura_open(path.c_str(), GetParam());
    ASSERT_TRUE(model) << miura_error();
  }
  void TearDown() override {
    miura_session_destroy(session);
    miura_close(model);
    RuntimeTest::TearDown();
  }
  void create(int64_t batch, int64_t capacity) {
    session = miura_session_create(model, batch, capacity);
    ASSERT_TRUE(session) << miura_error();
  }
  miura_model *model = nullptr;
  miura_session *session = nullptr;
  const float *logits = nullptr;
};

TEST_P(SessionTest, LongInputIsCutIntoChunks) {
  create(1, 40);
  std::vector<int64_t> tokens(19);
  for (int i = 0; i < 19; ++i)
    tokens[i] = i % kVocabulary;
  ASSERT_EQ(miura_session_step(session, tokens.data(), 19, nullptr, 0, &logits),
            0);
  EXPECT_EQ(chunks, (std::vector<int64_t>{8, 8, 3}));
  EXPECT_EQ(logits[0], 18 % kVocabulary);
  EXPECT_EQ(logits[1], 18);
  EXPECT_EQ(logits[2], 55 + 28);
  EXPECT_EQ(miura_session_length(session, 0), 19);
  ASSERT_EQ(miura_session_step(session, tokens.data(), 10, nullptr, 1, &logits),
            0);
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(logits[i * kVocabulary], i);
    EXPECT_EQ(logits[i * kVocabulary + 1], 19 + i);
  }
}

TEST_P(SessionTest, RowsMayTakeFewerTokens) {
  create(2, 16);
  // Rows share a chunk: 4 positions each.
  std::vector<int64_t> tokens = {1, 2, 3, 4, 5, 6, 7, 0, 0, 0, 0, 0};
  int64_t counts[] = {6, 1};
  ASSERT_EQ(miura_session_step(session, tokens.data(), 6, counts, 0, &logits),
            0);
  EXPECT_EQ(chunks, (std::vector<int64_t>{4, 2}));
  EXPECT_EQ(logits[0], 6);
  EXPECT_EQ(logits[2], 21);
  EXPECT_EQ(logits[kVocabulary], 7);
  EXPECT_EQ(logits[kVocabulary + 2], 7);
  EXPECT_EQ(miura_session_length(session, 0), 6);
  EXPECT_EQ(miura_session_length(session, 1), 1);
  // A row that rests keeps its logits.
  int64_t rest[] = {0, 1};
  int64_t next[] = {0, 2};
  ASSERT_EQ(miura_session_step(session, next, 1, rest, 0, &logits), 0);
  EXPECT_EQ(logits[0], 6);
  EXPECT_EQ(logits[kVocabulary + 2], 9);
  // Logits of all positions keep their places.
  ASSERT_EQ(miura_session_step(session, tokens.data(), 6, nullptr, 1, &logits),
            0);
  EXPECT_EQ(logits[5 * kVocabulary], 6);
  EXPECT_EQ(logits[6 * kVocabulary], 7);
  EXPECT_EQ(logits[6 * kVocabulary + 1], 2);
}

TEST_P(SessionTest, HiddenSlotsStayHidden) {
  create(1, 16);
  int64_t tokens[] = {1, 2, 3}, positions[] = {0, 0, 1};
  uint8_t mask[] = {0, 1, 1};
  ASSERT_EQ(miura_session_step_masked(session, tokens, positions, mask, 3,
                                      nullptr, 0, &logits),
            0);
  EXPECT_EQ(logits[1], 1);
  EXPECT_EQ(logits[2], 5);
  ASSERT_EQ(miura_session_step(session, tokens, 1, nullptr, 0, &logits), 0);
  EXPECT_EQ(logits[2], 6);
  ASSERT_EQ(miura_session_set_visible(session, 0, 0, 1), 0);
  ASSERT_EQ(miura_session_step(session, tokens, 1, nullptr, 0, &logits), 0);
  EXPECT_EQ(logits[2], 8);
  ASSERT_EQ(miura_session_reset(session, -1), 0);
  EXPECT_EQ(miura_session_length(session, 0), 0);
}

TEST_P(SessionTest, CachesAreInPlace) {
  create(2, 8);
  float *data = nullptr;
  int64_t shape[4];
  ASSERT_EQ(miura_session_cache(session, 0, 1, &data, shape), 0);
  EXPECT_EQ(shape[0], 2);
  EXPECT_EQ(shape[1], 2);
  EXPECT_EQ(shape[2], 8);
  EXPECT_EQ(shape[3], 5);
  ASSERT_EQ(miura_session_cache(session, 0, 0, &data, shape), 0);
  data[0] = 4; // row 0, head 0, slot 0
  ASSERT_EQ(miura_session_set_length(session, 0, 1), 0);
  int64_t tokens[] = {3, 1};
  ASSERT_EQ(miura_session_step(session, tokens, 1, nullptr, 0, &logits), 0);
  EXPECT_EQ(logits[2], 7);
  EXPECT_NE(miura_session_cache(session, 1, 0, &data, shape), 0);
}

TEST_P(SessionTest, BadCallsSayWhy) {
  create(1, 4);
  int64_t tokens[] = {1, 2, 3, 4, 5}, beyond[] = {kVocabulary}, minus[] = {-1};
  int64_t counts[] = {9};
  auto message = [](const char *part) {
    return strstr(miura_error(), part) != nullptr;
  };
  EXPECT_NE(miura_session_step(session, tokens, 5, nullptr, 0, nullptr), 0);
  EXPECT_TRUE(message("room for 4")) << miura_error();
  EXPECT_NE(miura_session_step(session, beyond, 1, nullptr, 0, nullptr), 0);
  EXPECT_TRUE(message("vocabulary has 11")) << miura_error();
  EXPECT_NE(miura_session_step(session, minus, 1, nullptr, 0, nullptr), 0);
  EXPECT_NE(miura_session_step(session, tokens, 2, counts, 0, nullptr), 0);
  EXPECT_TRUE(message("9 of 2")) << miura_error();
  EXPECT_NE(miura_session_step(session, tokens, 0, nullptr, 0, nullptr), 0);
  EXPECT_EQ(miura_session_length(session, 0), 0);
  EXPECT_EQ(miura_session_length(session, 1), -1);
  EXPECT_NE(miura_session_set_length(session, 0, 5), 0);
  EXPECT_FALSE(miura_session_create(model, 0, 4));
  EXPECT_FALSE(miura_session_create(model, INT64_MAX / 2, INT64_MAX / 2));
  EXPECT_TRUE(message("out of memory")) << miura_error();
}

TEST_P(SessionTest, NoPositionIsBeyondTheContext) {
  create(1, 128); // of a context of 64
  auto message = [](const char *part) {
    return strstr(miura_error(), part) != nullptr;
  };
  std::vector<int64_t> tokens(65, 1);
  int64_t beyond[] = {64}, minus[] = {-1}, last[] = {63};
  EXPECT_NE(miura_session_step(session, tokens.data(), 65, nullptr, 0, nullptr),
            0);
  EXPECT_TRUE(message("65 tokens, but the model was made for 64"))
      << miura_error();
  for (int64_t *position : {beyond, minus}) {
    EXPECT_NE(miura_session_step_masked(session, tokens.data(), position,
                                        nullptr, 1, nullptr, 0, nullptr),
              0);
    EXPECT_TRUE(message("made for 64")) << miura_error();
  }
  EXPECT_EQ(miura_session_length(session, 0), 0);
  ASSERT_EQ(miura_session_step_masked(session, tokens.data(), last, nullptr, 1,
                                      nullptr, 0, &logits),
            0);
  // Padding takes slots of the cache, but no position that is given.
  std::vector<int64_t> positions(64, 0);
  std::vector<uint8_t> mask(64, 0);
  EXPECT_EQ(miura_session_step_masked(session, tokens.data(), positions.data(),
                                      mask.data(), 64, nullptr, 0, nullptr),
            0);
}

TEST_P(SessionTest, StepsDoNotAllocate) {
#if !COUNTS_ALLOCATIONS
  GTEST_SKIP() << "the sanitizer has malloc";
#endif
  create(2, 64);
  chunks.reserve(100);
  std::vector<int64_t> tokens(40, 1);
  long before = allocations;
  for (int i = 0; i < 3; ++i)
    miura_session_step(session, tokens.data(), 20, nullptr, 0, &logits);
  EXPECT_EQ(allocations, before);
}

INSTANTIATE_TEST_SUITE_P(Threads, SessionTest, ::testing::Values(1, 2, 3));

} // namespace
