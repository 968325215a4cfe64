//===- KernelRunner.cpp - Compile and run one kernel ----------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The target machine is built from a cpu's name with no features of the host,
/// so that a test of AVX2 code is one on a machine with AVX-512 too.
///
//===----------------------------------------------------------------------===//

#include "KernelRunner.h"
#include "miura/Codegen/CPU/Isa.h"
#include "miura/Codegen/CPU/KernelToLLVM.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/MemRef/Transforms/Passes.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/UB/IR/UBOps.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/ExecutionEngine/OptUtils.h"
#include "mlir/IR/Verifier.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Target/LLVMIR/Dialect/Builtin/BuiltinToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/LLVMIR/LLVMToLLVMIRTranslation.h"
#include "mlir/Transforms/Passes.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Module.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Target/TargetMachine.h"
#include "llvm/TargetParser/Host.h"
#include "llvm/Transforms/Utils/Cloning.h"
#include "gtest/gtest.h"
#include <atomic>
#include <chrono>
#include <cstring>
#include <sys/mman.h>
#include <thread>

using namespace mlir;
using namespace miura::test;

static constexpr size_t pageBytes = 4096;
static constexpr unsigned char frontPattern = 0xA5;

GuardedMemory::GuardedMemory(size_t bytes) {
  size_t inner = (bytes + 2 * pageBytes - 1) / pageBytes * pageBytes;
  mapped = inner + 2 * pageBytes;
  void *memory = mmap(nullptr, mapped, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED)
    abort();
  base = static_cast<unsigned char *>(memory);
  begin = base + pageBytes + inner - bytes;
  std::memset(base + pageBytes, frontPattern, inner - bytes);
  // All bits set: NaN as a float.
  std::memset(begin, 0xFF, bytes);
  mprotect(base, pageBytes, PROT_NONE);
  mprotect(base + pageBytes + inner, pageBytes, PROT_NONE);
}
GuardedMemory::~GuardedMemory() { munmap(base, mapped); }
bool GuardedMemory::isIntact() const {
  for (unsigned char *p = base + pageBytes; p != begin; ++p)
    if (*p != frontPattern)
      return false;
  return true;
}

namespace {
/// What `team` points to.
struct Team {
  explicit Team(int threads) : threads(threads) {}
  const int threads;
  std::atomic<int> arrived{0}, round{0};
  void wait() {
    int mine = round.load();
    if (arrived.fetch_add(1) + 1 == threads) {
      arrived.store(0);
      round.fetch_add(1);
      return;
    }
    while (round.load() == mine)
      std::this_thread::yield();
  }
};
} // namespace

static void teamBarrier(intptr_t team) {
  reinterpret_cast<Team *>(team)->wait();
}

KernelRunner::KernelRunner() {
  static bool initialized = [] {
    llvm::InitializeNativeTarget();
    llvm::InitializeNativeTargetAsmPrinter();
    return true;
  }();
  (void)initialized;
  DialectRegistry registry;
  registry.insert<arith::ArithDialect, func::FuncDialect, LLVM::LLVMDialect,
                  math::MathDialect, memref::MemRefDialect, scf::SCFDialect,
                  ub::UBDialect, vector::VectorDialect>();
  registerBuiltinDialectTranslation(registry);
  registerLLVMDialectTranslation(registry);
  context.appendDialectRegistry(registry);
  context.loadAllAvailableDialects();
  module = ModuleOp::create(UnknownLoc::get(&context));
}
KernelRunner::~KernelRunner() = default;

Type KernelRunner::memref(ArrayRef<int64_t> shape, Type element) {
  return MemRefType::get(shape, element);
}

func::FuncOp KernelRunner::addKernel(StringRef name, ArrayRef<Type> types) {
  OpBuilder builder(&context);
  builder.setInsertionPointToEnd(module->getBody());
  SmallVector<Type> all(types);
  all.append(3, builder.getIndexType());
  return func::FuncOp::create(builder, module->getLoc(), name,
                              builder.getFunctionType(all, {}));
}

bool KernelRunner::compile(StringRef cpu) {
  if (failed(verify(*module))) {
    ADD_FAILURE() << "the kernel does not verify";
    return false;
  }
  PassManager pm(&context);
  auto chosen = miura::codegen::chooseTarget(cpu);
  if (!chosen) {
    ADD_FAILURE() << llvm::toString(chosen.takeError());
    return false;
  }
  miura::codegen::buildKernelToLLVMPipeline(pm, *chosen->row);
  if (failed(pm.run(*module))) {
    ADD_FAILURE() << "lowering failed";
    return false;
  }

  std::string error;
  llvm::Triple triple(llvm::sys::getDefaultTargetTriple());
  const llvm::Target *target =
      llvm::TargetRegistry::lookupTarget(triple, error);
  auto makeMachine = [&](bool jit) {
    return std::unique_ptr<llvm::TargetMachine>(target->createTargetMachine(
        triple, cpu, "", llvm::TargetOptions(), llvm::Reloc::PIC_, std::nullopt,
        llvm::CodeGenOptLevel::Aggressive, jit));
  };
  // Printed as for a library, where a call names what it calls.
  auto machine = makeMachine(true), printer = makeMachine(false);
  auto optimize = makeOptimizingTransformer(3, 0, machine.get());
  auto transformer = [&](llvm::Module *m) -> llvm::Error {
    if (auto failure = optimize(m))
      return failure;
    auto clone = llvm::CloneModule(*m);
    llvm::SmallString<0> text;
    llvm::raw_svector_ostream stream(text);
    llvm::legacy::PassManager passes;
    if (printer->addPassesToEmitFile(passes, stream, nullptr,
                                     llvm::CodeGenFileType::AssemblyFile))
      return llvm::createStringError("cannot print assembly");
    passes.run(*clone);
    assembly = std::string(text);
    return llvm::Error::success();
  };
  ExecutionEngineOptions options;
  options.transformer = transformer;
  options.jitCodeGenOptLevel = llvm::CodeGenOptLevel::Aggressive;
  auto created = ExecutionEngine::create(*module, options, makeMachine(true));
  if (!created) {
    ADD_FAILURE() << llvm::toString(created.takeError());
    return false;
  }
  engine = std::move(*created);
  engine->registerSymbols([&](llvm::orc::MangleAndInterner interner) {
    llvm::orc::SymbolMap map;
    map[interner("miura_barrier")] = {
        llvm::orc::ExecutorAddr::fromPtr(&teamBarrier),
        llvm::JITSymbolFlags::Exported};
    return map;
  });
  return true;
}

static void callKernel(void (*function)(void **), const Arguments &arguments,
                       Team *team, int tid) {
  std::vector<int64_t> words = arguments.words;
  words.insert(words.end(),
               {static_cast<int64_t>(reinterpret_cast<intptr_t>(team)), tid,
                team->threads});
  std::vector<void *> pointers;
  for (int64_t &word : words)
    pointers.push_back(&word);
  function(pointers.data());
}

void KernelRunner::run(StringRef name, const Arguments &arguments,
                       int threads) {
  auto function = engine->lookupPacked(name);
  ASSERT_TRUE(bool(function)) << llvm::toString(function.takeError());
  Team team(threads);
  std::vector<std::thread> others;
  for (int t = 1; t < threads; ++t)
    others.emplace_back([&, t] { callKernel(*function, arguments, &team, t); });
  callKernel(*function, arguments, &team, 0);
  for (std::thread &other : others)
    other.join();
}

double KernelRunner::time(StringRef name, const Arguments &arguments,
                          int threads, int rounds) {
  auto function = engine->lookupPacked(name);
  if (!function)
    return 0;
  using Clock = std::chrono::steady_clock;
  Team team(threads);
  double best = 1e9;
  auto work = [&](int t) {
    for (int i = 0; i < rounds; ++i) {
      team.wait();
      auto start = Clock::now();
      callKernel(*function, arguments, &team, t);
      team.wait();
      if (t == 0)
        best = std::min(
            best, std::chrono::duration<double>(Clock::now() - start).count());
    }
  };
  std::vector<std::thread> others;
  for (int t = 1; t < threads; ++t)
    others.emplace_back(work, t);
  work(0);
  for (std::thread &other : others)
    other.join();
  return best;
}

std::vector<std::string> KernelRunner::callsInAssembly() const {
  std::vector<std::string> calls;
  SmallVector<StringRef> lines;
  StringRef(assembly).split(lines, '\n');
  StringRef function;
  for (StringRef line : lines) {
    if (!line.empty() && !isspace(line.front()) && line.front() != '.')
      function = line;
    // The engine's wrappers call the kernels.
    if (line.trim().starts_with("call") && !line.contains("miura_barrier") &&
        !function.starts_with("_mlir_"))
      calls.push_back(line.trim().str());
  }
  return calls;
}
