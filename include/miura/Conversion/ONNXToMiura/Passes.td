//===- Passes.td - From the onnx level to the model level ---*- tablegen -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MIURA_CONVERSION_ONNXTOMIURA_PASSES_TD
#define MIURA_CONVERSION_ONNXTOMIURA_PASSES_TD

include "mlir/Pass/PassBase.td"

def RaisePass : Pass<"miura-raise", "mlir::ModuleOp"> {
  let summary = "Recognize a language model in a graph of ONNX nodes";
  let description = [{
    Replaces nodes of the file by model ops: `miura.linear`, `miura.embedding`,
    `miura.rms_norm`, `miura.layer_norm`, `miura.rope`, `miura.attention`,
    `miura.silu`, `miura.gelu`, `miura.split_heads`, `miura.merge_heads`; past
    and new keys become `tensor.concat`, arithmetic on equal shapes `arith`.

    ```mlir
    %r = miura.onnx_node "Reciprocal"(%root) : …
    %n = miura.onnx_node "Mul"(%x, %r) : …
    %y = miura.onnx_node "Mul"(%scale, %n) : …
    %z = miura.onnx_node "MatMul"(%y, %w) : …
    ==>
    %y = miura.rms_norm %x, %scale epsilon 1.0e-05 : …
    %t = miura.transpose %w : tensor<288x768xf32> -> tensor<768x288xf32>
    %z = miura.linear %y, %t id("w") compute(f32, f32) : …
    ```

    Matchers begin at what carries the meaning (a softmax, the inverse of a
    root, a sum of two products) and ask a symbolic analysis what elements of
    tensors are: where an operand comes from through reshapes, transpositions
    and repeats, what a shape tensor holds, what a mask lets a query see. So
    they know no exporter. A mask becomes `causal`, a window or a padding
    operand where its condition is a conjunction of these; otherwise it stays an
    operand.

    Weights that come quantized become expressions of the file's own codes. The
    spellings of static quantization are one: an operator from codes to codes
    (QLinearMatMul, QGemm, QLinearAdd, …) is read as that operator between a
    DequantizeLinear and a QuantizeLinear, a stored matrix that a QuantizeLinear
    rounds as its codes, and what is rounded already is not rounded again.

    Contract: the onnx level, best after `miura-onnx-normalize`. After it,
    encodings are gone from types (symbolic sizes of arguments and results are
    the attribute `miura.dims`), every linear and embedding has a unique `id`,
    arguments and results have a `miura.role`. A node that no matcher knows
    stays, with a remark.

    Numerics: equal in real arithmetic; norms and softmax are computed in f32.

    Reference: Su et al., arXiv:2104.09864 (RoPE); Ainslie et al.,
    arXiv:2305.13245 (grouped heads).
  }];
  let dependentDialects = [
    "::miura::MiuraDialect", "::mlir::arith::ArithDialect",
    "::mlir::math::MathDialect", "::mlir::tensor::TensorDialect"
  ];
}

#endif // MIURA_CONVERSION_ONNXTOMIURA_PASSES_TD
