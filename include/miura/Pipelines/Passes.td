//===- Passes.td - What pipelines check between stages ------*- tablegen -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MIURA_PIPELINES_PASSES_TD
#define MIURA_PIPELINES_PASSES_TD

include "mlir/Pass/PassBase.td"

def VerifyLevelPass : Pass<"miura-verify-level", "::mlir::ModuleOp"> {
  let summary = "Check that a module keeps the contract of a level";
  let description = [{
    A module goes through levels, and each promises to the next what MLIR's own
    verifier does not know. The named pipelines run this pass after each of
    their stages, so that a stage which breaks a promise is named, and not the
    one that stumbles over it later. Alone it tells whether a module of one's own
    may enter a stage. It changes nothing and reads no weights.

    ```mlir
    // miura-opt -miura-verify-level=level=onnx
    %y = miura.silu %x : tensor<4xf32>
    // error: 'miura.silu' op is not of the onnx level: …
    ```

    What is checked, an error at each kind of op that breaks it:

    | level | contract |
    |---|---|
    | `onnx` | nodes of the file, weights and constants, nothing else |
    | `normalized` | as `onnx`; no function of the file is left, and a node of ONNX's own domain whose operands have types has some itself |
    | `model` | ops of miura's and of arith, math, tensor, linalg and scf, on values (ranked tensors without encodings, scalars), free of side effects; no raw `linalg.generic` behind a weight; ids of layers are unique within a function; nodes that are left have a lowering |
    | `compressed` | as `model`, but nodes need no lowering; every `miura.approximate` has a certificate, its digest is that of the original where both are known, and it is the root: nothing that is a weight's expression itself reads it. An expression without a root is taken for exact, as those that files bring are |
    | `kernel` | no value of floating point is computed from weights outside a kernel that is as large as one of them; no `memref.alloc` in a step (they are gone after `miura-plan-workspace`) |

    Views and what a kernel computes in its own region are no values of the
    kernel level. The smallest weight counts as large; inline constants are no
    weights.

    Numerics: none.
  }];
  let options = [
    Option<"level", "level", "::miura::Level", /*default=*/"::miura::Level::Model",
           "The level to check for; by default the one that most passes ask for", [{::llvm::cl::values(
             clEnumValN(::miura::Level::Onnx, "onnx", "As imported"),
             clEnumValN(::miura::Level::Normalized, "normalized", "After miura-onnx-normalize"),
             clEnumValN(::miura::Level::Model, "model", "After miura-raise, and as a session before kernels"),
             clEnumValN(::miura::Level::Compressed, "compressed", "After lossy passes, as in a bundle"),
             clEnumValN(::miura::Level::Kernel, "kernel", "After miura-form-kernels and the lowering of what is outside of kernels"))}]>
  ];
}

#endif // MIURA_PIPELINES_PASSES_TD
