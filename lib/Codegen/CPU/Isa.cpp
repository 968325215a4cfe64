//===- Isa.cpp - What kernels need to know of a CPU -----------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The rows of the instruction set table. A number that is tuned says on what
/// it was measured.
///
//===----------------------------------------------------------------------===//

#include "miura/Codegen/CPU/Isa.h"
#include "Primitives.h"

using namespace miura::codegen;

static constexpr llvm::StringLiteral avx2Features[] = {"avx2", "fma", "f16c"};
static constexpr llvm::StringLiteral vnniFeatures[] = {
    "avx512f",    "avx512bw",   "avx512vl",    "avx512dq",
    "avx512vnni", "avx512vbmi", "avx512vbmi2", "f16c"};

// What every browser with SIMD has.
static constexpr llvm::StringLiteral wasmFeatures[] = {
    "simd128", "bulk-memory", "bulk-memory-opt", "nontrapping-fptoint",
    "sign-ext"};

// The distances were measured with benchmarks/kernels at 4096 × 4096 from cold
// memory: below 4 bits, and where a vector of weights costs many instructions,
// the hardware's prefetcher falls behind.
static constexpr PrefetchDistance avx2Prefetch[] = {
    {2, 4096, 4096}, {3, 4096, 4096}, {4, 0, 4096},
    {8, 0, 4096},    {16, 0, 0},      {32, 0, 0}};
// On Zen the hardware keeps up with whole codes of 4 bits and more; a Xeon
// (family 6, model 167) reads them at 0.72 of DRAM without.
static constexpr PrefetchDistance zenPrefetch[] = {
    {1, 1792, 1792}, {2, 4096, 16384}, {3, 4096, 16384}, {4, 0, 16384},
    {8, 0, 8192},    {16, 0, 0},       {32, 0, 0}};
static constexpr PrefetchDistance vnniPrefetch[] = {
    {1, 1792, 1792}, {2, 2048, 16384}, {3, 2048, 16384}, {4, 2048, 16384},
    {8, 2048, 8192}, {16, 0, 0},       {32, 0, 0}};

static constexpr llvm::StringLiteral neonFeatures[] = {"neon"};
static constexpr llvm::StringLiteral dotprodFeatures[] = {"neon", "dotprod"};
static constexpr llvm::StringLiteral i8mmFeatures[] = {"neon", "dotprod",
                                                       "i8mm"};
// Nothing was measured, or there is no such instruction.
static constexpr PrefetchDistance noPrefetch[] = {{32, 0, 0}};

/// AArch64: registers of 16 bytes, and as many as AVX-512 has, so that its
/// tiles have as many vectors.
static constexpr IsaRow makeNeon(llvm::StringLiteral name,
                                 llvm::StringLiteral cpu,
                                 llvm::ArrayRef<llvm::StringLiteral> features) {
  return {name, llvm::Triple::aarch64, cpu, features,
          /*vectorBytes=*/16,
          /*registers=*/32,
          /*floatTileRows=*/6,
          /*floatTileGroups=*/4,
          /*dotTileRows=*/3,
          /*dotTileGroups=*/4,
          // Fewer than AVX-512, whose operands may be in memory.
          /*dotColumns=*/16,
          /*floatColumns=*/8,
          /*chunkColumns=*/128,
          /*tableEntries=*/16,
          /*lookupCost=*/4,
          /*dotIsSigned=*/true,
          /*dotLimit=*/127,
          /*dotCost=*/1,
          /*longDotCost=*/1, noPrefetch, aarch64::dot4Sdot, aarch64::lookupTbl4,
          /*expand=*/nullptr,
          /*wholeVectors=*/0, widenHalf,
          /*hasMasks=*/false, /*hasFma=*/true, vectorFma};
}

/// Two smull, addp and sadalp in place of sdot; their products take registers.
static constexpr IsaRow makePlainNeon() {
  IsaRow row = makeNeon("neon", "generic", neonFeatures);
  row.dotTileRows = 2;
  row.dotColumns = 8;
  row.dotCost = 4;
  row.longDotCost = 6;
  row.dot4 = aarch64::dot4Neon;
  return row;
}

/// usdot is vpdpbusd of 16 bytes.
static constexpr IsaRow makeI8mm() {
  IsaRow row = makeNeon("i8mm", "ampere1", i8mmFeatures);
  row.dotIsSigned = false;
  row.dotLimit = 255;
  row.dot4 = aarch64::dot4Usdot;
  return row;
}

static const IsaRow rows[] = {
    {"avx2", llvm::Triple::x86_64, "haswell", avx2Features,
     /*vectorBytes=*/32, /*registers=*/16,
     // Twelve accumulators, two vectors of weights and a broadcast.
     /*floatTileRows=*/6, /*floatTileGroups=*/2,
     // Six accumulators; what a block is scaled with stands outside the loop.
     /*dotTileRows=*/3, /*dotTileGroups=*/2, /*dotColumns=*/8,
     /*floatColumns=*/32, /*chunkColumns=*/128, /*tableEntries=*/8,
     /*lookupCost=*/1,
     /*dotIsSigned=*/false,
     /*dotLimit=*/127, /*dotCost=*/3, /*longDotCost=*/6, avx2Prefetch,
     x86::dot4Avx2, x86::lookupAvx2, /*expand=*/nullptr,
     /*wholeVectors=*/0, widenHalf, /*hasMasks=*/true, /*hasFma=*/true,
     vectorFma},
    {"avx512vnni", llvm::Triple::x86_64, "icelake-client", vnniFeatures,
     /*vectorBytes=*/64, /*registers=*/32,
     // 24 accumulators, four vectors of weights; 12 + 12 in the integer tile.
     /*floatTileRows=*/6, /*floatTileGroups=*/4,
     /*dotTileRows=*/3, /*dotTileGroups=*/4, /*dotColumns=*/32,
     /*floatColumns=*/32, /*chunkColumns=*/64, /*tableEntries=*/16,
     /*lookupCost=*/1,
     /*dotIsSigned=*/false,
     /*dotLimit=*/255, /*dotCost=*/1, /*longDotCost=*/1, vnniPrefetch,
     x86::dot4Vnni512, x86::lookup512, x86::expand512,
     /*wholeVectors=*/0, widenHalf, /*hasMasks=*/true, /*hasFma=*/true,
     vectorFma},
    makePlainNeon(),
    makeNeon("dotprod", "cortex-a75", dotprodFeatures),
    makeI8mm(),
    {"wasm-simd128", llvm::Triple::wasm32, "generic", wasmFeatures,
     // Registers are the engine's to give; x86-64 has 16 of this length.
     /*vectorBytes=*/16, /*registers=*/16,
     // A product needs one of its own beside eight accumulators, two vectors of
     // weights and a broadcast.
     /*floatTileRows=*/4, /*floatTileGroups=*/2,
     // Four accumulators: the odd and even bytes of both operands take four.
     /*dotTileRows=*/2, /*dotTileGroups=*/2, /*dotColumns=*/8,
     /*floatColumns=*/8, /*chunkColumns=*/128, /*tableEntries=*/4,
     /*lookupCost=*/4,
     /*dotIsSigned=*/false,
     /*dotLimit=*/255, /*dotCost=*/6, /*longDotCost=*/6, noPrefetch, wasm::dot4,
     wasm::lookup, /*expand=*/nullptr, /*wholeVectors=*/0, wasm::widenHalf,
     /*hasMasks=*/false, /*hasFma=*/false, wasm::multiplyAdd},
};

const PrefetchDistance &IsaRow::getPrefetch(unsigned bits) const {
  for (const PrefetchDistance &distance : prefetch)
    if (distance.bits == bits)
      return distance;
  return prefetch.back();
}

llvm::ArrayRef<IsaRow> miura::codegen::getIsaRows() { return rows; }

/// Measured on Zen 4: two halves of a vector take their turns.
static constexpr IsaRow makeZen(IsaRow row) {
  row.prefetch = zenPrefetch;
  row.wholeVectors = 1;
  return row;
}

const IsaRow &miura::codegen::tuneRow(const IsaRow &row, llvm::StringRef cpu) {
  static const IsaRow zen = makeZen(*findIsaRow("avx512vnni"));
  return cpu.starts_with("znver") && row.name == zen.name ? zen : row;
}

const IsaRow *miura::codegen::findIsaRow(llvm::StringRef name) {
  for (const IsaRow &row : rows)
    if (row.name == name)
      return &row;
  return nullptr;
}
