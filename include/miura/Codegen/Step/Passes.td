//===- Passes.td - From a session's step to straight-line code -*- tablegen -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MIURA_CODEGEN_STEP_PASSES_TD
#define MIURA_CODEGEN_STEP_PASSES_TD

include "mlir/Pass/PassBase.td"

def EvaluateLeavesPass : Pass<"miura-evaluate-leaves", "mlir::ModuleOp"> {
  let summary = "Give weights that no kernel decodes as numbers";
  let description = [{
    A linear's weight is a sum of leaves and of products of two; an embedding's
    is a leaf. A leaf that has no panel, or a weight of another structure, is
    replaced by its value, stored as f16 where that holds every number and else
    as f32, with a remark:

    ```mlir
    %r = miura.dequantize %codes, %scales block [1, 32] : … -> tensor<64x288xf32>
    %t = miura.transpose %r : tensor<64x288xf32> -> tensor<288x64xf32>
    %y = miura.linear %x, %t … // its scales lie along rows
    ==>
    %t = miura.weight @id : tensor<288x64xf32>
    ```

    Contract: runs after `miura-expand-embeddings`, before kernels are formed.

    Numerics: exact.
  }];
  let dependentDialects = ["::miura::MiuraDialect", "::mlir::arith::ArithDialect"];
}

def FormStepPass : Pass<"miura-form-step", "mlir::ModuleOp"> {
  let summary = "Give a session's steps the signature that the runtime calls";
  let description = [{
    A function with the attribute `miura.session` gets memrefs for tensors, its
    results become arguments, and what only compiled code needs is added. The
    arguments are then, whatever the order before (roles tell):

    tokens, positions, padding, lengths, counts, key and value cache of every
    layer, logits, arena `memref<?xi8>`, weights `memref<?xi8>`, team, thread,
    threads (`index`)

    as lib/Runtime/Abi.h says. A result with a cache's role is written into that
    cache; bufferization finds that it is there already.

    Contract: runs after `miura-form-session`. An argument whose role a session
    does not have is an error.
  }];
  let dependentDialects = ["::mlir::bufferization::BufferizationDialect", "::mlir::memref::MemRefDialect"];
}

def PackWeightsPass : Pass<"miura-pack-weights", "mlir::ModuleOp"> {
  let summary = "Write weights in the order in which kernels read them";
  let description = [{
    Every leaf of a kernel's weight expression is packed for the target and
    written to the weights file; the kernel then has one operand of bytes in
    place of the leaf's tensors, and a `miura.unpack` in its region. A weight that
    no kernel takes, and a constant of more than one number, is written as it is.
    What is used twice is written once: a tied embedding and head share their
    bytes.

    The module gets `miura.weight_bytes` and `miura.weight_id` (the BLAKE3 of
    the file's contents), which code and file are matched by.

    Contract: runs after `miura-form-step`, whose weights argument it reads.
  }];
  let options = [
    Option<"output", "output", "std::string", /*default=*/"",
           "The weights file to write; without one, offsets are computed and nothing is written">,
    Option<"target", "target", "std::string", /*default=*/"\"\"",
           "What to pack for, as `miura compile --target` takes it; empty: this machine">,
    Option<"features", "features", "std::string", /*default=*/"\"\"", "Its features, as LLVM writes them">
  ];
  let dependentDialects = ["::mlir::bufferization::BufferizationDialect", "::mlir::memref::MemRefDialect"];
}

def BufferizeStepPass : Pass<"miura-bufferize-step", "mlir::ModuleOp"> {
  let summary = "From tensors to memrefs, in place where nothing is lost";
  let description = [{
    One-shot bufferization of the steps: caches are updated in place, logits are
    computed where the caller wants them, every other value becomes a
    `memref.alloc`. The regions of kernels stay as they are.

    Contract: runs after `miura-form-step`; every op outside kernels must be
    bufferizable.
  }];
  let dependentDialects = ["::mlir::bufferization::BufferizationDialect", "::mlir::memref::MemRefDialect"];
}

def EmitKernelsPass : Pass<"miura-emit-kernels", "mlir::ModuleOp"> {
  let summary = "One function per distinct kernel, and calls";
  let description = [{
    Every `miura.kernel` and every linalg op of a step becomes a call of a private
    function `miura_kernel_<n>_<root>`, emitted once per key: region text with
    sizes erased, operand types, target. A function takes buffers and sizes (in
    the memrefs), then team, thread and threads; it does its thread's share.
    Arguments that it writes have the attribute `miura.writes`.

    A linalg op is turned into loops; rows (all parallel dimensions but the
    innermost) are split over the threads, or columns where rows are fewer than
    threads.

    Contract: runs after `miura-bufferize-step`. No op on whole buffers is left
    in a step. Barriers are placed by `miura-place-barriers`.
  }];
  let options = [
    Option<"target", "target", "std::string", /*default=*/"\"\"",
           "What to emit for, as `miura compile --target` takes it; empty: this machine">,
    Option<"features", "features", "std::string", /*default=*/"\"\"", "Its features, as LLVM writes them">
  ];
  let dependentDialects = ["::mlir::func::FuncDialect", "::mlir::memref::MemRefDialect", "::mlir::scf::SCFDialect",
                           "::mlir::vector::VectorDialect", "::mlir::math::MathDialect", "::mlir::arith::ArithDialect",
                           "::mlir::linalg::LinalgDialect", "::mlir::LLVM::LLVMDialect"];
}

def PlaceBarriersPass : Pass<"miura-place-barriers", "mlir::ModuleOp"> {
  let summary = "A barrier wherever a kernel needs what another thread wrote";
  let description = [{
    Walks a step and calls `miura_barrier` before an op that reads what was
    written, or writes what was read or written, since the last barrier. Kernels
    that do not depend on each other, as the projections of one layer, run
    without one between them.
  }];
}

def PlanWorkspacePass : Pass<"miura-plan-workspace", "mlir::ModuleOp"> {
  let summary = "All buffers of a step in one arena";
  let description = [{
    Replaces every `memref.alloc` of a step by a view into its arena argument.
    Buffers whose uses lie between different barriers share their place. Sizes
    are computed from the sizes of the arguments, so offsets are values; a
    function `<step>_workspace(batch, sequence, capacity, threads)` returns the
    bytes that are needed, which grow with each of the four.

    Contract: runs after `miura-place-barriers`. A size that depends on data is an
    error. After it no step has a `memref.alloc`.
  }];
  let dependentDialects = ["::mlir::memref::MemRefDialect", "::mlir::arith::ArithDialect"];
}

def LowerStepPass : Pass<"miura-lower-step", "mlir::ModuleOp"> {
  let summary = "From vector, scf and memref to the LLVM dialect";
  let description = [{
    Runs upstream's conversions in the order that works, with exponentials and
    their kin expanded into polynomials (sine and cosine, which no hot loop has,
    stay calls), and gives every step an entry `<step>_entry` that takes its
    descriptors as an array of pointers (lib/Runtime/Abi.h). Where the target has
    no fused multiply-add, products are rounded before they are added.
  }];
  let options = [
    Option<"target", "target", "std::string", /*default=*/"\"\"",
           "What to lower for, as `miura compile --target` takes it; empty: this machine">,
    Option<"features", "features", "std::string", /*default=*/"\"\"", "Its features, as LLVM writes them">
  ];
  let dependentDialects = ["::mlir::LLVM::LLVMDialect", "::mlir::cf::ControlFlowDialect"];
}

#endif // MIURA_CODEGEN_STEP_PASSES_TD
