//===- KernelToLLVM.h - From kernels to the LLVM dialect --------*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The one way in which kernels are lowered: what is compiled into a model and
/// what the tests run and measure go through the same passes.
///
//===----------------------------------------------------------------------===//

#ifndef MIURA_CODEGEN_CPU_KERNELTOLLVM_H
#define MIURA_CODEGEN_CPU_KERNELTOLLVM_H

namespace mlir {
class OpPassManager;
}

namespace miura::codegen {

struct IsaRow;

/// Adds to `pm`, on a module, the passes from vector, scf, arith, math and
/// memref to the LLVM dialect, for a machine with what `row` says.
void buildKernelToLLVMPipeline(mlir::OpPassManager &pm, const IsaRow &row);

} // namespace miura::codegen

#endif // MIURA_CODEGEN_CPU_KERNELTOLLVM_H
