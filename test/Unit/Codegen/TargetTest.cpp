//===- TargetTest.cpp - From the name of a target to a row ----------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// What a target's text means on this machine and on others. What is said of
/// text that means nothing is tested with the command that takes it.
///
//===----------------------------------------------------------------------===//

#include "miura/Codegen/CPU/Isa.h"
#include "gtest/gtest.h"

using namespace miura::codegen;

/// The row, or what is wrong.
static std::string getRow(llvm::StringRef text, llvm::StringRef features = "") {
  llvm::Expected<Target> target = chooseTarget(text, features);
  return target ? target->row->name.str() : llvm::toString(target.takeError());
}

TEST(Target, IsTheMostCapableRowOfACpu) {
  EXPECT_EQ(getRow("x86-64=haswell"), "avx2");
  EXPECT_EQ(getRow("x86-64=znver4"), "avx512vnni");
  EXPECT_EQ(getRow("x86-64=znver4", "-avx512vnni"), "avx2");
  EXPECT_EQ(getRow("aarch64=cortex-a53"), "neon");
  EXPECT_EQ(getRow("aarch64=cortex-a76"), "dotprod");
  EXPECT_EQ(getRow("aarch64=cortex-a76", "+i8mm"), "i8mm");
  EXPECT_EQ(getRow("aarch64=neoverse-n2"), "i8mm");
}

TEST(Target, IsTunedForItsCpu) {
  llvm::Expected<Target> zen = chooseTarget("x86-64=znver4");
  llvm::Expected<Target> other = chooseTarget("x86-64=sapphirerapids");
  ASSERT_TRUE(zen && other);
  EXPECT_EQ(zen->row, &tuneRow(*findIsaRow("avx512vnni"), "znver5"));
  EXPECT_NE(zen->row, other->row);
  EXPECT_NE(zen->row->getPrefetch(4).asInt, other->row->getPrefetch(4).asInt);
  EXPECT_EQ(zen->row->dot4, other->row->dot4);
  llvm::Expected<Target> older = chooseTarget("x86-64=znver3");
  ASSERT_TRUE((bool)older);
  EXPECT_EQ(older->row, findIsaRow("avx2"));
}

TEST(Target, WithoutACpuIsTheLeastRowOfAnotherArchitecture) {
  EXPECT_EQ(getRow("wasm32"), "wasm-simd128");
  EXPECT_EQ(getRow("wasm32=generic", "+simd128"),
            "cpu 'generic' has no level that kernels are written for: it needs "
            "at least simd128, bulk-memory, bulk-memory-opt, "
            "nontrapping-fptoint, sign-ext");
  if (!chooseTarget("aarch64")->isHostArchitecture()) {
    EXPECT_EQ(getRow("aarch64"), "neon");
  }
}

TEST(Target, MayBeARow) {
  for (const IsaRow &row : getIsaRows()) {
    EXPECT_EQ(getRow(row.name), row.name);
    llvm::Expected<Target> target = chooseTarget(row.name);
    ASSERT_TRUE((bool)target);
    EXPECT_EQ(llvm::Triple(target->triple).getArch(), row.arch);
    EXPECT_EQ(target->cpu, row.cpu);
  }
}

TEST(Target, OfThisMachineIsTheSameByEveryName) {
  llvm::Expected<Target> target = chooseTarget("");
  if (!target)
    GTEST_SKIP() << llvm::toString(target.takeError());
  EXPECT_TRUE(target->isHostArchitecture());
  EXPECT_TRUE(hostHas(*target->row));
  for (const char *text : {"cpu", "host", "cpu=host", "native"}) {
    llvm::Expected<Target> other = chooseTarget(text);
    ASSERT_TRUE((bool)other) << text;
    EXPECT_EQ(other->row, target->row) << text;
    EXPECT_EQ(other->cpu, target->cpu) << text;
    EXPECT_EQ(other->features, target->features) << text;
  }
}

TEST(Target, FeaturesAreAddedOrTakenAway) {
  EXPECT_EQ(getRow("aarch64=cortex-a53", "dotprod"),
            "expected features as +name or -name, but got 'dotprod'");
}
