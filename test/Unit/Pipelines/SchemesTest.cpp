//===- SchemesTest.cpp - Named ways to compress ---------------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// What names mean, alone and in sums, and which are none.
///
//===----------------------------------------------------------------------===//

#include "miura/Pipelines/Schemes.h"
#include "gtest/gtest.h"

using namespace miura;

/// What getSchemePipeline gives, or the message of its error.
static std::string getPipeline(llvm::StringRef name,
                               llvm::ArrayRef<std::string> include = {},
                               llvm::ArrayRef<std::string> exclude = {}) {
  auto pipeline = getSchemePipeline(name, include, exclude);
  return pipeline ? *pipeline : llvm::toString(pipeline.takeError());
}

TEST(SchemesTest, StepsAndSums) {
  const std::string w4 = "miura-quantize-rtn{bits=4 block-size=32 "
                         "symmetric=true scale-type=f16}";
  EXPECT_EQ(getPipeline("w4"), w4);
  EXPECT_EQ(getPipeline("w3a8"),
            "miura-quantize-rtn{bits=3 block-size=32 symmetric=true "
            "scale-type=f16 activation=i8}");
  EXPECT_EQ(getPipeline("w4+r32"),
            w4 + ",miura-factorize-residual{rank=32 type=f16}");
  EXPECT_EQ(getPipeline("50%+w4"),
            "miura-prune-magnitude{sparsity=0.50}," + w4);
  EXPECT_EQ(getPipeline("5%"), "miura-prune-magnitude{sparsity=0.05}");
  EXPECT_EQ(getPipeline("2:4+w4+r8"),
            "miura-prune-magnitude{n=2 m=4}," + w4 +
                ",miura-factorize-residual{rank=8 type=f16}");
  EXPECT_EQ(getPipeline("svd64"), "miura-factorize-svd{rank=64 type=f16}");
}

TEST(SchemesTest, PatternsGoToEveryStep) {
  EXPECT_EQ(getPipeline("2:4+r8", {"*.q", "*.k"}, {"head"}),
            "miura-prune-magnitude{n=2 m=4 include=*.q,*.k exclude=head},"
            "miura-factorize-residual{rank=8 type=f16 include=*.q,*.k "
            "exclude=head}");
}

TEST(SchemesTest, OthersAreNone) {
  for (const char *name :
       {"",    "+",     "w4+",     "+w4",         "w",  "w1",   "w9",
        "w04", "w4a",   "w4a16",   "x4",          "0%", "100%", "50",
        "4:4", "4:2",   "0:4",     "1:257",       "2:", "r0",   "r",
        "svd", "w4,w3", "w4 + w3", "w99999999999"})
    EXPECT_TRUE(llvm::StringRef(getPipeline(name)).starts_with("there is no '"))
        << name;
}

TEST(SchemesTest, ErrorsSayWhatThereIs) {
  EXPECT_EQ(getPipeline("w9"), "there is no 'w9' in wN, N from 2 to 8");
  EXPECT_EQ(getPipeline("w4+4:4"),
            "there is no '4:4' of 'w4+4:4' in N:M, N from 1 to below M, M to "
            "256");
  EXPECT_EQ(getPipeline("W4"), "there is no 'W4'; is 'w4' meant?");
  EXPECT_EQ(getPipeline("int4"),
            "there is no 'int4'; known are wN (N from 2 to 8), wNa8 (N from 2 "
            "to 8), N% (N from 1 to 99), N:M (N from 1 to below M, M to 256), "
            "svdN (N from 1), rN (N from 1) and sums of them, such as 50%+w4");
}
