//===- KernelProblem.h - A linear kernel to check or time -------*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// One string names a kernel problem; the same string is checked by the tests
/// and timed by the benchmark. Its words:
///
///   w=EXPR      the weight: leaves joined by `+`
///                 f32 f16 bf16       stored floats
///                 q4b32              4-bit signed codes, a f16 scale per block
///                                    of 32 columns (b0: per row)
///                   u                unsigned codes
///                   s                f32 scales
///                   z, f             integer, f16 zeros
///                   p50              pruned: 50 % kept, by a bitmap (k a
///                   multiple
///                                    of 8); f16p50, q4b32p50
///                   n2m4             pruned: 2 of 4 kept
///                   x4x8             pruned in blocks of 4 x 8, half of them
///                 l4, l4b32          entries of a table of 16, with scales
///                   t                stored [in, out] (also f32t, f16t)
///                   r8               a scale for 8 rows (with b0: per tensor
///                                    where it is the rows)
///                 lr32               L·R of rank 32 in f16; lr32:f32 or
///                                    lr32:q4b32 in another leaf
///   m= n= k=    sizes            act=f32|i8     activations
///   isa=ROW     threads=N        seed=N
///   cpu=NAME                     the row as it is tuned for it; this machine's
///                                without
///   experts=E                    each row times one of E matrices; those that
///                                no row chose may not be read
///   bias, residual, inplace      what is added; residual in the memory of y
///   outlier                      one activation is 1000 times the others
///
/// Source of the idea: oneDNN's benchdnn, one driver for correctness and speed.
///
//===----------------------------------------------------------------------===//

#ifndef MIURA_TEST_NUMERICS_KERNELPROBLEM_H
#define MIURA_TEST_NUMERICS_KERNELPROBLEM_H

#include "miura/Codegen/CPU/Kernels.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/IR/OwningOpRef.h"
#include <memory>
#include <string>
#include <vector>

namespace mlir {
class ExecutionEngine;
}

namespace miura::test {

class RemoteMachine;

struct KernelProblem {
  std::string weight = "f32";
  int64_t m = 1, n = 64, k = 64;
  bool int8 = false, bias = false, residual = false, inplace = false;
  bool outlier = false;
  std::string isa = "avx512vnni", cpu;
  int threads = 1;
  /// Matrices of a batch; 0: one weight.
  int64_t experts = 0;
  uint32_t seed = 1;
  /// What str() gave, kept for the message of a fault.
  std::string command;

  /// The class of m, whether or not the kernel has a schedule of its own for
  /// it.
  codegen::ShapeClass getRowClass() const {
    return m == 1   ? codegen::ShapeClass::Decode
           : m <= 8 ? codegen::ShapeClass::Small
                    : codegen::ShapeClass::Tiled;
  }
  /// Whether one compiled kernel serves both: sizes, seed, threads and
  /// activations are its arguments.
  bool hasKernelOf(const KernelProblem &other) const;

  /// The row of `isa`, tuned.
  const codegen::IsaRow &getRow() const;

  /// Fails with a message that names the word.
  static llvm::Expected<KernelProblem> parse(llvm::StringRef text);
  std::string str() const;
};

/// Memory between two pages that may not be touched, which ends at a multiple
/// of 64 bytes before the second; the rest of its pages is checked for writes.
class Buffer {
public:
  Buffer() = default;
  explicit Buffer(size_t bytes, int fill = 0xEE);
  Buffer(Buffer &&other) { *this = std::move(other); }
  Buffer &operator=(Buffer &&other) {
    std::swap(base, other.base);
    std::swap(pages, other.pages);
    std::swap(offset, other.offset);
    std::swap(bytes, other.bytes);
    return *this;
  }
  ~Buffer();
  uint8_t *data() { return base + offset; }
  const uint8_t *data() const { return base + offset; }
  size_t size() const { return bytes; }
  template <typename T> T *as() { return reinterpret_cast<T *>(data()); }
  bool bordersIntact() const;
  /// Makes the bytes [first, last) unfit for any use: 0xFF, and, if `protect`,
  /// out of bounds where they fill pages.
  void forbid(size_t first, size_t last, bool protect);

private:
  uint8_t *base = nullptr;
  size_t pages = 0, offset = 0, bytes = 0;
};

/// A problem with its weights packed and its kernel compiled.
class CompiledKernel {
public:
  ~CompiledKernel();
  /// Null, with a message in `error`, where it does not compile. Without
  /// `generateCode` only the texts are made; without `withReference` there is
  /// nothing to compare with.
  static std::unique_ptr<CompiledKernel> get(const KernelProblem &problem,
                                             std::string &error,
                                             bool generateCode = true,
                                             bool withReference = true);

  /// Draws weights and activations of another problem with this kernel. False,
  /// with a message in `error`, where that fails.
  bool prepare(const KernelProblem &problem, std::string &error,
               bool withReference = true);

  /// Runs the kernel on `threads` threads, each of which calls it once.
  void run(int threads);
  /// One thread's part: with other memory for the first leaves if `packed`.
  void call(int tid, int threads, void *team,
            llvm::ArrayRef<uint8_t *> packed = {});

  /// y in double from evaluate()'s weight, ‖y − ŷ‖₂ / ‖y‖₂; where products
  /// cancel, as in the only element of a y, over the norm of all products,
  /// since their roundings do not.
  double relativeError() const;
  /// Whether everything around the buffers is as it was.
  bool bordersIntact() const;

  /// Whether it runs in an emulator, as its instruction set is not here.
  bool isRemote() const { return remote != nullptr; }

  KernelProblem problem;
  std::unique_ptr<codegen::LinearSpec> spec;
  std::vector<Buffer> packed;
  Buffer x, bias, residual, out, scratch, experts;
  /// y without the padding of its rows.
  std::vector<float> result() const;
  /// Bytes of the packed leaves.
  int64_t weightBytes() const;

  /// The kernel as vector IR and (without generateCode) as assembly.
  std::string vectorIr, assembly;
  /// The innermost loop of the assembly with the most of an instruction.
  std::string hotLoop(llvm::StringRef mnemonic) const;

private:
  explicit CompiledKernel(const KernelProblem &problem);
  /// All there are; the output first.
  std::vector<Buffer *> getBuffers();
  /// The kernel's arguments without the last three.
  std::vector<int64_t> getFields(llvm::ArrayRef<uint8_t *> packed);
  void runRemotely(int threads);

  std::unique_ptr<mlir::MLIRContext> context;
  std::unique_ptr<mlir::ExecutionEngine> engine;
  void (*function)(void **) = nullptr;
  /// Where this machine does not have the instruction set: another that does,
  /// the kernel's number there, and how its buffers were after the last run.
  RemoteMachine *remote = nullptr;
  uint32_t library = 0;
  bool remoteIsIntact = true;
  std::vector<double> expected;
  double squares = 0;
  int64_t xStride = 0, outStride = 0;
};

/// A barrier for `miura_barrier`: spins.
struct SpinBarrier {
  explicit SpinBarrier(int count) : count(count) {}
  void wait();
  int count;
  int arrived = 0, generation = 0;
};

} // namespace miura::test

#endif // MIURA_TEST_NUMERICS_KERNELPROBLEM_H
