//===- MiuraDialect.td - The Miura dialect ------------------*- tablegen -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MIURA_DIALECT_TD
#define MIURA_DIALECT_TD

include "mlir/IR/OpBase.td"

def Miura_Dialect : Dialect {
  let name = "miura";
  let cppNamespace = "::miura";
  let summary = "Language models whose weights are expressions";
  let description = [{
    The dialect has one set of ops per level of the pipeline:

    | level | ops |
    |---|---|
    | onnx | `miura.onnx_node`, `miura.onnx_yield`, `miura.absent`: one to one with the file |
    | model | `miura.linear`, `miura.attention`, `miura.rms_norm`, …: pure, on ranked tensors |
    | compressed | the same, with weights that are expressions: `miura.dequantize`, `miura.lookup`, `miura.unprune`, `miura.matmul`, … under a `miura.approximate` that certifies their error |
    | kernel | `miura.kernel`: a root op with its expression and fused neighbours |

    Weights are never in the IR: `miura.weight_data` names bytes in a file and
    `miura.weight` is their value.
  }];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::func::FuncDialect",
    "::mlir::tensor::TensorDialect"
  ];
  let useDefaultAttributePrinterParser = 1;
  let useDefaultTypePrinterParser = 1;
  let hasOperationAttrVerify = 0;
  let extraClassDeclaration = [{
    /// The bytes behind `#miura.bytes`: one store per dialect instance, so
    /// that a foreign tool that loads the dialect has it too.
    WeightStore &getWeightStore() { return *weightStore; }

  private:
    std::unique_ptr<WeightStore> weightStore;
    void registerAttributes();
    void registerTypes();
    void registerOps();

  public:
  }];
  let hasNonDefaultDestructor = 1;
}

#endif // MIURA_DIALECT_TD
