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
    %r = miura.dequantize %codes, %scales block [1, 8] : … -> tensor<64x288xf32>
    %t = miura.transpose %r : tensor<64x288xf32> -> tensor<288x64xf32>
    %y = miura.linear %x, %t … // another scale in every column, every 8 rows
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

    ```mlir
    func.func @step(%tokens: tensor<?x?xi64> {miura.role = #miura.role<tokens>}, …, %k: tensor<?x2x?x64xf32> {miura.role = …<cache_key, layer = 0>}, …)
        -> (tensor<?x1x256xf32> {miura.role = …<logits>}, tensor<?x2x?x64xf32> {…})
    ==>
    func.func @step(%tokens: memref<?x?xi64> {…}, …, %k: memref<?x2x?x64xf32> {…}, …, %logits: memref<?x1x256xf32> {…},
                    %arena: memref<?xi8>, %weights: memref<?xi8>, %team: index, %thread: index, %threads: index)
    ```

    Contract: runs after `miura-form-session`. An argument whose role a session
    does not have is an error.

    Numerics: no number changes.
  }];
  let dependentDialects = ["::mlir::bufferization::BufferizationDialect", "::mlir::memref::MemRefDialect"];
}

def PackWeightsPass : Pass<"miura-pack-weights", "mlir::ModuleOp"> {
  let summary = "Write weights in the order in which kernels read them";
  let description = [{
    Every leaf of a kernel's weight expression is packed for the target and
    written to the weights file; the kernel then has its bytes, a view into the
    weights argument, in place of each of the leaf's tensors. Its region stays: it
    says what the bytes mean. A weight that no kernel takes, and a constant of
    more than one number, is written as it is. What is used twice is written once:
    a tied embedding and head share their bytes.

    ```mlir
    %codes = miura.weight @q.codes : tensor<256x256xi4>
    %scales = miura.weight @q.scales : tensor<256x8xf16>
    miura.kernel ins(%codes, %scales, %x : tensor<256x256xi4>, tensor<256x8xf16>, …) outs(%y : …) { … }
    ==>
    %q = memref.view %weights[%c40960][] : memref<?xi8> to memref<36864xi8>
    miura.kernel ins(%q, %q, %x : memref<?xi8>, memref<?xi8>, …) outs(%y : …) { … }
    ```

    The module gets `miura.weight_bytes` and `miura.weight_id` (the BLAKE3 of
    the file's contents), which code and file are matched by.

    Contract: runs after `miura-form-step`, whose weights argument it reads.

    Numerics: codes and scales are moved, not changed; rows and columns are
    padded with codes that stand for zero.
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

    ```mlir
    %e = tensor.empty(%b, %t) : tensor<?x?x256xf32>
    %y = miura.kernel ins(%q, %q, %x : …) outs(%e : tensor<?x?x256xf32>) { … } -> tensor<?x?x256xf32>
    ==>
    %y = memref.alloc(%b, %t) {alignment = 64 : i64} : memref<?x?x256xf32>
    miura.kernel ins(%q, %q, %x : …) outs(%y : memref<?x?x256xf32>) { … }
    ```

    Contract: runs after `miura-form-step`; every op outside kernels must be
    bufferizable.

    Numerics: no number changes.
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
    threads. Numbers in its body (a scale, a zero point) are arguments, so loops
    that differ in these only are one function.

    ```mlir
    miura.kernel ins(%q, %q, %x : …) outs(%y : memref<?x?x256xf32>) attributes {miura.id = "val_96"} { … miura.linear … }
    ==>
    func.func private @miura_kernel_3_linear(%x: memref<?x?xf32, …>, %w: memref<?xi8>, %y: memref<?x?xf32, …> {miura.writes}, %scratch: memref<?xi8> {miura.writes},
                                             %team: index, %thread: index, %threads: index) { scf.for … vector.fma … }
    …
    call @miura_kernel_3_linear(%x2, %q, %y2, %scratch, %team, %thread, %threads)
    ```

    Contract: runs after `miura-bufferize-step`. No op on whole buffers is left
    in a step. Barriers are placed by `miura-place-barriers`.

    Numerics: sums are in the accumulator's type, in an order that the shape
    decides and the number of threads does not. With int8 activations the
    products within a block are summed exactly.
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

    ```mlir
    call @norm(%x, %n, …) : … // writes %n
    call @linear(%n, %q, …) : …
    call @linear(%n, %k, …) : …
    ==>
    call @norm(%x, %n, …) : …
    call @miura_barrier(%team) : (index) -> ()
    call @linear(%n, %q, …) : …
    call @linear(%n, %k, …) : …
    ```

    Contract: runs after `miura-emit-kernels`; reads `miura.writes`. Two buffers
    are one where they are views of one.

    Numerics: no number changes.
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

    ```mlir
    %x = memref.alloc(%b, %t) : memref<?x?x256xf32>
    ==>
    %x = memref.view %arena[%offset][%b, %t] : memref<?xi8> to memref<?x?x256xf32>
    ```

    Contract: runs after `miura-place-barriers`. A size that depends on data is an
    error. After it no step has a `memref.alloc`.

    Numerics: no number changes.
  }];
  let dependentDialects = ["::mlir::memref::MemRefDialect", "::mlir::arith::ArithDialect"];
}

def LowerStepPass : Pass<"miura-lower-step", "mlir::ModuleOp"> {
  let summary = "From vector, scf and memref to the LLVM dialect";
  let description = [{
    Runs upstream's conversions in the order that works, with exponentials and
    their kin expanded into polynomials (sine and cosine, which no hot loop has,
    stay calls), and gives every step an entry `<step>_entry` that takes its
    descriptors as an array of pointers (lib/Runtime/Abi.h).

    ```mlir
    func.func @step(%tokens: memref<?x?xi64>, …, %threads: index)
    ==>
    llvm.func @step(%p: !llvm.ptr, …) …                      // memrefs as descriptors
    llvm.func @step_entry(%descriptors: !llvm.ptr, %team: i64, %thread: i64, %threads: i64)
    ```

    Contract: runs last; what is left of other dialects is an error.

    Numerics: exponential, tanh and erf are polynomials of f32. Where the target
    has no fused multiply-add, products are rounded before they are added.
  }];
  let options = [
    Option<"target", "target", "std::string", /*default=*/"\"\"",
           "What to lower for, as `miura compile --target` takes it; empty: this machine">,
    Option<"features", "features", "std::string", /*default=*/"\"\"", "Its features, as LLVM writes them">
  ];
  let dependentDialects = ["::mlir::LLVM::LLVMDialect", "::mlir::cf::ControlFlowDialect"];
}

#endif // MIURA_CODEGEN_STEP_PASSES_TD
