//===- MiuraOnnxOps.td - The onnx level: one to one with the file -*- tablegen -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MIURA_ONNX_OPS_TD
#define MIURA_ONNX_OPS_TD

include "miura/Dialect/Miura/IR/MiuraOpBase.td"

def Miura_OnnxNodeOp : Miura_Op<"onnx_node"> {
  let summary = "One node of an ONNX graph, uninterpreted";
  let description = [{
    A NodeProto as the file has it: operator, domain, name, attributes, operands
    and results in the file's order, an omitted operand as the value of
    `miura.absent`. `version` is the version of the node's domain that the graph
    imports. Subgraph attributes are the regions, in the order of `region_names`.
    `onnx_attributes` holds the others under their ONNX names.
    Result names stand in `outputs`, "" for an omitted result, whose type is
    `!miura.absent`.

    ```mlir
    %3 = miura.onnx_node "Gather"(%table, %ids) {axis = 0 : si64} name("node_embedding") outputs(["embedding"])
           : (tensor<32000x288xf32>, tensor<?x?xi64>) -> tensor<?x?x288xf32>
    ```
  }];
  let arguments = (ins StrAttr:$op_type,
                       DefaultValuedStrAttr<StrAttr, "">:$domain,
                       DefaultValuedStrAttr<StrAttr, "">:$overload,
                       DefaultValuedAttr<I64Attr, "0">:$version,
                       DefaultValuedStrAttr<StrAttr, "">:$node_name,
                       DictionaryAttr:$onnx_attributes,
                       OptionalAttr<StrArrayAttr>:$region_names,
                       OptionalAttr<StrArrayAttr>:$outputs,
                       Variadic<AnyType>:$inputs);
  let results = (outs Variadic<AnyType>:$values);
  let regions = (region VariadicRegion<AnyRegion>:$bodies);
  let hasCustomAssemblyFormat = 1;
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    /// Whether the operator is of ONNX's own domain, by either of its names.
    bool hasStandardDomain() {
      return getDomain().empty() || getDomain() == "ai.onnx";
    }
  }];
}

def Miura_OnnxYieldOp : Miura_Op<"onnx_yield", [Terminator, Pure, ReturnLike]> {
  let summary = "The outputs of an ONNX subgraph or function body";
  let arguments = (ins Variadic<AnyType>:$values);
  let assemblyFormat = "($values^ `:` type($values))? attr-dict";
  let builders = [OpBuilder<(ins), [{ (void)$_state; }]>];
}

def Miura_AbsentOp : Miura_Op<"absent", [Pure]> {
  let summary = "An operand that a node leaves out";
  let results = (outs Miura_AbsentType:$result);
  let assemblyFormat = "attr-dict";
}

#endif // MIURA_ONNX_OPS_TD
