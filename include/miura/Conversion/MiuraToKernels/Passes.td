//===- Passes.td - Forming kernels --------------------------*- tablegen -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MIURA_CONVERSION_MIURATOKERNELS_PASSES_TD
#define MIURA_CONVERSION_MIURATOKERNELS_PASSES_TD

include "mlir/Pass/PassBase.td"

def FormKernelsPass : Pass<"miura-form-kernels", "mlir::ModuleOp"> {
  let summary = "Gather a root op, its expression and its neighbours into a kernel";
  let description = [{
    Decides what one generated function will compute. Around every root op of a
    session's steps it makes a `miura.kernel` in destination style, whose region
    holds the root and what is fused with it, with sizes erased: kernels of
    equal text are emitted once, so that 80 layers need no more of them than 2.

    | root | taken along |
    |---|---|
    | `linear` | the weight's expression; the addition of a residual that is the only use of its result |
    | `expert_linear` | the weight's expression |
    | `cached_attention` | the query's `split_heads`, the result's `merge_heads`; a mask keeps the sizes of 1 that say what shares it |
    | `rope` of a query | its `split_heads`; the result is merged again |
    | `cache_append` | the update's `split_heads` and `rope` |
    | `mulf` of a `silu` | the `silu` |
    | `rms_norm`, `embedding`, `take_last` | (the embedding's expression) |

    ```mlir
    %y = miura.rms_norm %x, %s epsilon 1.0e-05 : tensor<?x?x576xf32>, tensor<576xf32>
    ```
    ==>
    ```mlir
    %e = tensor.empty(%b, %t) : tensor<?x?x576xf32>
    %y = miura.kernel ins(%x, %s : …) outs(%e : …) {
    ^bb0(%0: tensor<?x?x?xf32>, %1: tensor<?xf32>):
      %2 = miura.rms_norm %0, %1 epsilon 1.0e-05 : tensor<?x?x?xf32>, tensor<?xf32>
      miura.kernel_yield %2 : tensor<?x?x?xf32>
    } -> tensor<?x?x576xf32>
    ```

    Contract: runs on functions with the attribute `miura.session`. Any other op
    is left alone; it must have a lowering to linalg (`miura-to-linalg`). Numbers
    and sizes of heads stay in the region's types: schedules keep a head in registers.

    Numerics: exact; nothing is reordered.
  }];
  let dependentDialects = ["::mlir::tensor::TensorDialect", "::mlir::arith::ArithDialect"];
}

#endif // MIURA_CONVERSION_MIURATOKERNELS_PASSES_TD
