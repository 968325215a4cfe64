//===- KernelRunner.h - Compile and run one kernel --------------*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Lowers a module of kernels to LLVM for a named cpu, runs its functions on a
/// team of real threads with a barrier, and keeps the assembly. Buffers end at
/// a page that cannot be touched, and their front is filled with a pattern that
/// a test checks, so that reads and writes out of bounds show.
///
//===----------------------------------------------------------------------===//

#ifndef MIURA_TEST_UNIT_CODEGEN_KERNELRUNNER_H
#define MIURA_TEST_UNIT_CODEGEN_KERNELRUNNER_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/ExecutionEngine/ExecutionEngine.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/IR/OwningOpRef.h"
#include <cstring>
#include <memory>
#include <string>
#include <vector>

namespace miura::test {

/// Memory between two forbidden pages, its end at the second.
class GuardedMemory {
public:
  explicit GuardedMemory(size_t bytes);
  ~GuardedMemory();
  GuardedMemory(const GuardedMemory &) = delete;
  void *data() const { return begin; }
  /// Whether nothing was written in front of the memory.
  bool isIntact() const;

private:
  unsigned char *base, *begin;
  size_t mapped;
};

template <typename T> class Buffer : public GuardedMemory {
public:
  explicit Buffer(size_t count)
      : GuardedMemory(count * sizeof(T)), count(count) {}
  T *begin() { return static_cast<T *>(data()); }
  T *end() { return begin() + count; }
  T &operator[](size_t i) { return begin()[i]; }
  size_t size() const { return count; }
  std::vector<T> copy() { return std::vector<T>(begin(), end()); }

private:
  size_t count;
};

/// Arguments as the lowered functions take them.
class Arguments {
public:
  template <typename T>
  Arguments &memref(T *data, std::vector<int64_t> sizes,
                    std::vector<int64_t> strides = {}) {
    if (strides.empty()) {
      strides.assign(sizes.size(), 1);
      for (int i = static_cast<int>(sizes.size()) - 2; i >= 0; --i)
        strides[i] = strides[i + 1] * sizes[i + 1];
    }
    auto pointer = static_cast<int64_t>(reinterpret_cast<intptr_t>(data));
    words.insert(words.end(), {pointer, pointer, 0});
    words.insert(words.end(), sizes.begin(), sizes.end());
    words.insert(words.end(), strides.begin(), strides.end());
    return *this;
  }
  Arguments &index(int64_t value) {
    words.push_back(value);
    return *this;
  }
  Arguments &number(float value) {
    uint32_t bits;
    std::memcpy(&bits, &value, 4);
    return index(bits);
  }
  std::vector<int64_t> words;
};

class KernelRunner {
public:
  KernelRunner();
  ~KernelRunner();

  mlir::MLIRContext context;
  mlir::OwningOpRef<mlir::ModuleOp> module;

  /// A function with an empty body, and arguments of these types behind which
  /// come team, tid and nthreads.
  mlir::func::FuncOp addKernel(llvm::StringRef name,
                               llvm::ArrayRef<mlir::Type> types);
  mlir::Type memref(llvm::ArrayRef<int64_t> shape, mlir::Type element);
  mlir::Type f32() { return mlir::Float32Type::get(&context); }
  mlir::Type integer(unsigned bits) {
    return mlir::IntegerType::get(&context, bits);
  }

  /// Verifies, lowers and compiles; reports a failure to GoogleTest and returns
  /// false.
  bool compile(llvm::StringRef cpu);
  /// Runs a kernel on a team of this many threads.
  void run(llvm::StringRef name, const Arguments &arguments, int threads);
  /// Seconds of the fastest of `rounds` runs on threads that stay.
  double time(llvm::StringRef name, const Arguments &arguments, int threads,
              int rounds);

  std::string assembly;
  /// Lines of assembly that call something other than the barrier.
  std::vector<std::string> callsInAssembly() const;

private:
  std::unique_ptr<mlir::ExecutionEngine> engine;
};

} // namespace miura::test

#endif // MIURA_TEST_UNIT_CODEGEN_KERNELRUNNER_H
