//===- Isa.cpp - What kernels need to know of a CPU -----------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The rows of the instruction set table, their primitives, and the choice of a
/// row by cpu and features. What a cpu name implies is LLVM's knowledge.
///
//===----------------------------------------------------------------------===//

#include "miura/Codegen/CPU/Isa.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/TargetParser/Host.h"
#include "llvm/TargetParser/X86TargetParser.h"

using namespace mlir;
using namespace miura::codegen;

//===----------------------------------------------------------------------===//
// Primitives
//===----------------------------------------------------------------------===//

static Value callIntrinsic(ImplicitLocOpBuilder &b, Type type, StringRef name,
                           ValueRange operands) {
  return LLVM::CallIntrinsicOp::create(b, type, b.getStringAttr(name), operands)
      .getResult(0);
}

static Value splatConstant(ImplicitLocOpBuilder &b, VectorType type,
                           int64_t value) {
  return arith::ConstantOp::create(
      b, DenseElementsAttr::get(
             type, b.getIntegerAttr(type.getElementType(), value)));
}

/// vpdpbusd: exact, the unsigned operand first.
static Value dot4Vnni512(ImplicitLocOpBuilder &b, Value acc, Value u8, Value s8,
                         unsigned) {
  return callIntrinsic(b, acc.getType(), "llvm.x86.avx512.vpdpbusd.512",
                       {acc, u8, s8});
}

/// vpmaddubsw sums two products in 16 bits with saturation: it is exact for
/// u8 ≤ 127. Beyond that, even and odd bytes are widened to 16
/// bits and go through vpmaddwd, which cannot overflow. The widening of s8 is
/// the same for all groups of a step, and shared by CSE.
static Value dot4Avx2(ImplicitLocOpBuilder &b, Value acc, Value u8, Value s8,
                      unsigned bound) {
  auto words = VectorType::get({16}, b.getI16Type());
  auto ints = cast<VectorType>(acc.getType());
  if (bound <= 127) {
    Value pairs =
        callIntrinsic(b, words, "llvm.x86.avx2.pmadd.ub.sw", {u8, s8});
    Value sums = callIntrinsic(b, ints, "llvm.x86.avx2.pmadd.wd",
                               {pairs, splatConstant(b, words, 1)});
    return arith::AddIOp::create(b, acc, sums);
  }
  Value eight = splatConstant(b, words, 8);
  Value u = vector::BitCastOp::create(b, words, u8);
  Value s = vector::BitCastOp::create(b, words, s8);
  Value evenU = arith::AndIOp::create(b, u, splatConstant(b, words, 0xFF));
  Value oddU = arith::ShRUIOp::create(b, u, eight);
  Value evenS =
      arith::ShRSIOp::create(b, arith::ShLIOp::create(b, s, eight), eight);
  Value oddS = arith::ShRSIOp::create(b, s, eight);
  Value even = callIntrinsic(b, ints, "llvm.x86.avx2.pmadd.wd", {evenU, evenS});
  Value odd = callIntrinsic(b, ints, "llvm.x86.avx2.pmadd.wd", {oddU, oddS});
  return arith::AddIOp::create(b, arith::AddIOp::create(b, acc, even), odd);
}

static Value lookup512(ImplicitLocOpBuilder &b, Value table, Value lanes) {
  return callIntrinsic(b, table.getType(), "llvm.x86.avx512.permvar.sf.512",
                       {table, lanes});
}

static Value lookupAvx2(ImplicitLocOpBuilder &b, Value table, Value lanes) {
  return callIntrinsic(b, table.getType(), "llvm.x86.avx2.permps",
                       {table, lanes});
}

/// vpexpandb.
static Value expand512(ImplicitLocOpBuilder &b, Value bytes, Value fill,
                       Value mask) {
  Value lanes = vector::BroadcastOp::create(
      b, VectorType::get({1}, b.getI64Type()), mask);
  Value bits =
      LLVM::BitcastOp::create(b, VectorType::get({64}, b.getI1Type()), lanes);
  return callIntrinsic(b, bytes.getType(), "llvm.x86.avx512.mask.expand.v64i8",
                       {bytes, fill, bits});
}

/// vcvtph2ps of any length.
static Value widenHalf(ImplicitLocOpBuilder &b, Value half) {
  auto type = cast<VectorType>(half.getType());
  return arith::ExtFOp::create(b, type.clone(b.getF32Type()), half);
}

static Value vectorFma(ImplicitLocOpBuilder &b, Value x, Value y, Value z) {
  return vector::FMAOp::create(b, x, y, z);
}

//===----------------------------------------------------------------------===//
// Rows
//===----------------------------------------------------------------------===//

static constexpr llvm::StringLiteral avx2Features[] = {"avx2", "fma", "f16c"};
static constexpr llvm::StringLiteral vnniFeatures[] = {
    "avx512f",    "avx512bw",   "avx512vl",    "avx512dq",
    "avx512vnni", "avx512vbmi", "avx512vbmi2", "f16c"};

// The distances were measured with benchmarks/kernels at 4096 × 4096 from cold
// memory: below 4 bits, and where a vector of weights costs many instructions,
// the hardware's prefetcher falls behind.
static constexpr PrefetchDistance avx2Prefetch[] = {
    {2, 4096, 4096}, {3, 4096, 4096}, {4, 0, 4096},
    {8, 0, 4096},    {16, 0, 0},      {32, 0, 0}};
static constexpr PrefetchDistance vnniPrefetch[] = {
    {1, 1792, 1792}, {2, 4096, 16384}, {3, 4096, 16384}, {4, 0, 16384},
    {8, 0, 8192},    {16, 0, 0},       {32, 0, 0}};

static const IsaRow rows[] = {
    {"avx2", "haswell", avx2Features,
     /*vectorBytes=*/32, /*registers=*/16,
     // Twelve accumulators, two vectors of weights and a broadcast.
     /*floatTileRows=*/6, /*floatTileGroups=*/2,
     // Six accumulators; what a block is scaled with stands outside the loop.
     /*dotTileRows=*/3, /*dotTileGroups=*/2, /*dotColumns=*/8,
     /*chunkColumns=*/128, /*tableEntries=*/8,
     /*dotLimit=*/127, /*dotCost=*/3, /*longDotCost=*/6, avx2Prefetch, dot4Avx2,
     lookupAvx2, /*expand=*/nullptr,
     /*wholeVectors=*/0, widenHalf, vectorFma},
    {"avx512vnni", "icelake-client", vnniFeatures,
     /*vectorBytes=*/64, /*registers=*/32,
     // 24 accumulators, four vectors of weights; 12 + 12 in the integer tile.
     /*floatTileRows=*/6, /*floatTileGroups=*/4,
     /*dotTileRows=*/3, /*dotTileGroups=*/4, /*dotColumns=*/32,
     /*chunkColumns=*/64, /*tableEntries=*/16,
     /*dotLimit=*/255, /*dotCost=*/1, /*longDotCost=*/1, vnniPrefetch,
     dot4Vnni512, lookup512, expand512,
     // Measured on Zen 4.
     /*wholeVectors=*/1, widenHalf, vectorFma},
};

const PrefetchDistance &IsaRow::getPrefetch(unsigned bits) const {
  for (const PrefetchDistance &distance : prefetch)
    if (distance.bits == bits)
      return distance;
  return prefetch.back();
}

ArrayRef<IsaRow> miura::codegen::getIsaRows() { return rows; }

const IsaRow *miura::codegen::findIsaRow(StringRef name) {
  for (const IsaRow &row : rows)
    if (row.name == name)
      return &row;
  return nullptr;
}

//===----------------------------------------------------------------------===//
// Choice
//===----------------------------------------------------------------------===//

bool miura::codegen::hostHas(const IsaRow &row) {
  llvm::StringMap<bool> host = llvm::sys::getHostCPUFeatures();
  return llvm::all_of(row.features,
                      [&](StringRef feature) { return host.lookup(feature); });
}

llvm::Expected<miura::codegen::Target>
miura::codegen::chooseTarget(StringRef cpu, StringRef features) {
  Target target;
  target.features = features.str();
  llvm::StringSet<> has;
  if (const IsaRow *row = findIsaRow(cpu)) {
    cpu = row->cpu;
    for (StringRef feature : row->features)
      has.insert(feature);
    // The row's own features, and no more than its oldest cpu.
    std::string own;
    for (StringRef feature : row->features)
      own += (own.empty() ? "+" : ",+") + feature.str();
    target.features = features.empty() ? own : own + "," + features.str();
  }
  bool host = cpu.empty() || cpu == "host" || cpu == "native";
  target.cpu = host ? llvm::sys::getHostCPUName().str() : cpu.str();

  SmallVector<StringRef> implied;
  if (llvm::X86::parseArchX86(target.cpu, /*Only64Bit=*/true) ==
      llvm::X86::CK_None) {
    SmallVector<StringRef> known;
    llvm::X86::fillValidCPUArchList(known, /*Only64Bit=*/true);
    return llvm::createStringError(
        "unknown cpu '" + target.cpu + "': expected host, a level (" +
        llvm::join(llvm::map_range(
                       rows, [](const IsaRow &row) { return row.name.str(); }),
                   ", ") +
        ") or one of " + llvm::join(known, ", "));
  }
  llvm::X86::getFeaturesForCPU(target.cpu, implied, /*NeedPlus=*/false);
  for (StringRef feature : implied)
    has.insert(feature);
  if (host) {
    // A virtual machine may hide what its cpu's name promises, and show more
    // than it: what the machine says goes.
    for (const auto &entry : llvm::sys::getHostCPUFeatures()) {
      StringRef name = entry.getKey();
      if (entry.getValue()) {
        has.insert(name);
      } else if (has.erase(name)) {
        target.features += (target.features.empty() ? "-" : ",-") + name.str();
      }
    }
  }
  for (StringRef change : llvm::split(features, ',')) {
    if (change.consume_front("+"))
      has.insert(change);
    else if (change.consume_front("-"))
      has.erase(change);
    else if (!change.empty())
      return llvm::createStringError("expected features as +name or -name, "
                                     "but got '" +
                                     change.str() + "'");
  }
  for (const IsaRow &row : llvm::reverse(rows))
    if (llvm::all_of(row.features, [&](StringRef feature) {
          return has.contains(feature);
        })) {
      target.row = &row;
      return target;
    }
  return llvm::createStringError(
      "cpu '" + target.cpu + "' has no level that kernels are written for: " +
      "it needs at least avx2, fma and f16c (x86-64-v3)");
}
