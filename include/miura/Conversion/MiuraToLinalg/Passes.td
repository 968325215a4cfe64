//===- Passes.td - The reference lowering of model ops ------*- tablegen -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MIURA_CONVERSION_MIURATOLINALG_PASSES_TD
#define MIURA_CONVERSION_MIURATOLINALG_PASSES_TD

include "mlir/Pass/PassBase.td"

def MiuraToLinalgPass : Pass<"miura-to-linalg", "::mlir::ModuleOp"> {
  let summary = "Lower model and session ops to plain linalg on tensors";
  let description = [{
    Writes every model op (`miura.linear`, `miura.attention`, `miura.rms_norm`, …)
    and every session op (`miura.cache_append`, `miura.cached_attention`,
    `miura.take_last`) as the loops of its definition, one `linalg.generic` per
    sum or elementwise step: the reference that kernels are compared with.

    ```mlir
    %y = miura.silu %x : tensor<?x8xf32>
    ```
    becomes
    ```mlir
    %d = tensor.dim %x, %c0 : tensor<?x8xf32>
    %e = tensor.empty(%d) : tensor<?x8xf32>
    %y = linalg.generic … ins(%x) outs(%e) { x / (1 + exp(−x)) }
    ```

    Weight expressions stay: run `miura-outline-expressions` before, so that they
    are arguments. Batch and sequence may be dynamic everywhere. Tensors with
    symbolic dimensions as encodings get plain types.

    Numerics: sums are in f32 (a linear's in its accumulator type) and may be
    reassociated. `compute(i8, f32)` rounds activations as `#miura.compute`
    says and multiplies them by the weight's values, which equals the integer
    products within f32 rounding. An index of an embedding that is outside the
    table reads its nearest row: whoever calls checks the indices.
  }];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::linalg::LinalgDialect",
    "::mlir::math::MathDialect", "::mlir::scf::SCFDialect", "::mlir::tensor::TensorDialect"
  ];
}

def OutlineExpressionsPass : Pass<"miura-outline-expressions", "::mlir::ModuleOp"> {
  let summary = "Make the values of weight expressions arguments of a function";
  let description = [{
    Moves every weight expression of a public function `@f` into a private
    function `@f.weights`, whose results are the expressions' values; `@f` gets
    one argument more for each of them, in the same order, with the attribute
    `miura.weight`. So `@f` can be compiled without a weight in its code, and
    the expressions can be evaluated on the host.

    ```mlir
    func.func @f(%x: tensor<?x8xf32>) -> tensor<?x4xf32> {
      %w = miura.weight @w : tensor<4x8xf32>
      %y = miura.linear %x, %w id("w") compute(f32, f32) : …
      return %y : tensor<?x4xf32>
    }
    ```
    becomes
    ```mlir
    func.func @f(%x: tensor<?x8xf32>, %w: tensor<4x8xf32> {miura.weight}) -> tensor<?x4xf32> {
      %y = miura.linear %x, %w id("w") compute(f32, f32) : …
      return %y : tensor<?x4xf32>
    }
    func.func private @f.weights() -> tensor<4x8xf32> {
      %w = miura.weight @w : tensor<4x8xf32>
      return %w : tensor<4x8xf32>
    }
    ```
    Exact. Small inline constants stay where they are.
  }];
}

def RoundActivationsPass : Pass<"miura-round-activations", "::mlir::ModuleOp"> {
  let summary = "Take the rounding of activations in blocks out of linears";
  let description = [{
    A linear with `compute(i8, f32, block = n)` rounds its input to int8 with a
    scale per n columns, which files ask for that were quantized for such
    products (`accuracy_level` 4 of MatMulNBits). Kernels of linears know one
    scale per row, so the rounding becomes elementwise code before the linear,
    once for all linears of an input, and the linear computes in f32.

    ```mlir
    %y = miura.linear %x, %w id("q") compute(i8, f32, 32) : (tensor<?x?x288xf32>, tensor<288x288xf32>) -> tensor<?x?x288xf32>
    ```
    becomes
    ```mlir
    %m = …             // the largest magnitude of each 32 columns, by linalg
    %r = …             // round(x · 127 / m) · m / 127
    %y = miura.linear %r, %w id("q") compute(f32, f32) : …
    ```

    Contract: any level with linears. Linears with a scale per row are left to
    their kernels.

    Numerics: the same products, summed in f32 where `#miura.compute` sums them
    in i32 within a block: equal to f32 rounding.
  }];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::linalg::LinalgDialect",
    "::mlir::math::MathDialect", "::mlir::tensor::TensorDialect"
  ];
}

def ExpandUnknownSizesPass : Pass<"miura-expand-unknown-sizes", "::mlir::ModuleOp"> {
  let summary = "Make views of several unknown sizes of one";
  let description = [{
    A flattened batch and sequence that become two dimensions again have two
    sizes that only run time knows. Upstream's `expand-strided-metadata` computes
    one unknown size of a group from the others and fails on two, so such
    expansions become views of the sizes that the op says, before it.

    ```mlir
    %y = memref.expand_shape %x [[0, 1], [2]] output_shape [%b, %t, 8] : memref<?x8xf32> into memref<?x?x8xf32>
    ==>
    %y = memref.reinterpret_cast %x to offset: [0], sizes: [%b, %t, 8], strides: [%n, 8, 1] : …
    ```

    Contract: after bufferization, before strided metadata is expanded. Buffers
    with another layout than the identity stay.

    Numerics: none.
  }];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::memref::MemRefDialect"
  ];
}

#endif // MIURA_CONVERSION_MIURATOLINALG_PASSES_TD
