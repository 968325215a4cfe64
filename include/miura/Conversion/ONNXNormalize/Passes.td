//===- Passes.td - The onnx level, normalized ---------------*- tablegen -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MIURA_CONVERSION_ONNXNORMALIZE_PASSES_TD
#define MIURA_CONVERSION_ONNXNORMALIZE_PASSES_TD

include "mlir/Pass/PassBase.td"

def OnnxNormalizePass : Pass<"miura-onnx-normalize", "::mlir::ModuleOp"> {
  let summary = "Inline the functions of an ONNX model and infer its shapes";
  let description = [{
    Takes the module through the ONNX library as a model without weights, and
    back: model-local functions are inlined, as are the standard's definitions of
    operators that have one and no lowering here (Celu, SwiGLU, GroupNormalization
    and others), and every value gets the type and shape that the library's shape
    inference finds. So the passes that follow
    see one function whose values are ranked tensors wherever the file lets that
    be known.

    ```mlir
    %0 = miura.onnx_node "MatMul"(%x, %w) version(18) outputs(["y"])
           : (tensor<?x?x8xf32, #miura.dims<"batch", "sequence", "">>, tensor<8x4xf32>) -> !miura.unknown
    ```
    becomes
    ```mlir
    %0 = miura.onnx_node "MatMul"(%x, %w) version(18) outputs(["y"])
           : (tensor<?x?x8xf32, #miura.dims<"batch", "sequence", "">>, tensor<8x4xf32>)
           -> tensor<?x?x4xf32, #miura.dims<"batch", "sequence", "">>
    ```

    The module must be of the onnx level. Weights stay as they are: neither their
    bytes nor their names in the file are touched. A Constant whose value is a
    weight_data becomes a `miura.weight`. Versions of operators are not
    converted: the library cannot do that where operators without a standard
    schema occur, so `miura-raise` reads every version. Inference is not strict:
    where a file's types contradict its nodes, what was inferred is kept. It
    runs through the operators of com.microsoft for which schemas of ours are
    registered; behind operators that nobody knows, values stay
    `!miura.unknown`.

    Exact: no value changes.

    Reference: ONNX's ShapeInference.md and FunctionProto in IR.md.
  }];
  let dependentDialects = [
    "::miura::MiuraDialect", "::mlir::arith::ArithDialect",
    "::mlir::func::FuncDialect"
  ];
}

#endif // MIURA_CONVERSION_ONNXNORMALIZE_PASSES_TD
