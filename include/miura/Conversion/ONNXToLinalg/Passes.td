//===- Passes.td - ONNX nodes as plain linalg ---------------*- tablegen -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MIURA_CONVERSION_ONNXTOLINALG_PASSES_TD
#define MIURA_CONVERSION_ONNXTOLINALG_PASSES_TD

include "mlir/Pass/PassBase.td"

def ONNXToLinalgPass : Pass<"miura-onnx-to-linalg", "::mlir::ModuleOp"> {
  let summary = "Lower ONNX nodes to plain linalg on tensors";
  let description = [{
    Writes each `miura.onnx_node` as loops over tensors, by a table from
    operator to a small emitter that knows every element type, rank, broadcast
    and dynamic shape. It lowers what raise left at the model level, and a whole
    graph that was only normalized: so the oracle can be asked about a file
    without raise's opinion of it.

    ```mlir
    %y = miura.onnx_node "Add"(%a, %b) : (tensor<?x8xf32>, tensor<8xf32>) -> tensor<?x8xf32>
    ```
    becomes
    ```mlir
    %y = linalg.generic … ins(%a, %b) outs(%e) { arith.addf }
    ```

    Integer tensors of up to 8 known elements are computed as scalars, so that
    the shape arithmetic of exporters folds away. Where a dimension's size is
    unknown it may be 1 and broadcast; loops test that at run time, unless the
    symbolic dimensions (`#miura.dims`) say that the sizes are equal.

    Contract: every value has a rank (run `miura-onnx-normalize` before). An
    operator without an emitter, or a form of one that is not covered, is an
    error that names node and operator. Encodings and signedness of element
    types are gone after it.

    Numerics: as the operators' definitions; sums of f16 and bf16 are in f32.
    Indices outside a tensor read its nearest element; integer division by zero
    gives what division by one does.

    Reference: the ONNX operator specifications, opset 7 to 25.
  }];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::linalg::LinalgDialect",
    "::mlir::math::MathDialect", "::mlir::scf::SCFDialect", "::mlir::tensor::TensorDialect"
  ];
}

def CheckOnnxLoweringPass : Pass<"miura-check-onnx-lowering", "::mlir::ModuleOp"> {
  let summary = "Refuse nodes of the file that cannot be lowered, by name";
  let description = [{
    An error for every operator of a `miura.onnx_node` that has no emitter in
    `miura-onnx-to-linalg`, at its first node. Changes nothing.

    ```mlir
    %y = miura.onnx_node "Strange"(%x) domain("elsewhere") : …  // error: node 'odd' is of the operator 'Strange' …
    ```

    Contract: the model level, after `miura-raise`, which takes what it knows.
    Before `miura-form-session` it makes an unknown operator what the user is
    told about, and not what could not be found behind it. The named pipelines
    check the same with `miura-verify-level{level=model}`.

    Numerics: none.
  }];
}

#endif // MIURA_CONVERSION_ONNXTOLINALG_PASSES_TD
