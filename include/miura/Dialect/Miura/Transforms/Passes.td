//===- Passes.td - Exact rewrites within the dialect --------*- tablegen -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MIURA_DIALECT_MIURA_TRANSFORMS_PASSES_TD
#define MIURA_DIALECT_MIURA_TRANSFORMS_PASSES_TD

include "mlir/Pass/PassBase.td"

def ExpandEmbeddingsPass : Pass<"miura-expand-embeddings"> {
  let summary = "Take rows of a sum or a product from its parts";
  let description = [{
    Rows of a sum are sums of rows, and rows of a product L · R are rows of L
    times R: an embedding of such an expression becomes embeddings of leaves and
    linears, of which there are kernels, and nothing of the weight's size is
    formed.

    ```mlir
    %m = miura.matmul %l, %r : tensor<32000x16xf16>, tensor<16x288xf16> -> tensor<32000x288xf32>
    %e = miura.add %q, %m : …
    %x = miura.embedding %ids, %e id("e") : …
    ==>
    %0 = miura.embedding %ids, %q id("e") : …
    %1 = miura.embedding %ids, %l id("e") : (tensor<?x?xi64>, tensor<32000x16xf16>) -> tensor<?x?x16xf32>
    %t = miura.transpose %r : tensor<16x288xf16> -> tensor<288x16xf16>
    %2 = miura.linear %1, %t id("e") compute(f32, f32) : …
    %x = arith.addf %0, %2 : …
    ```

    Contract: on the way to kernels, after the last pass that asks for ids: the
    parts share that of the embedding. Embeddings of leaves stay.

    Numerics: exact in real arithmetic; products are summed in f32, as an
    expression's value is.
  }];
  let dependentDialects = ["::miura::MiuraDialect", "::mlir::arith::ArithDialect"];
}

def FormSessionPass : Pass<"miura-form-session", "mlir::ModuleOp"> {
  let summary = "Turn a model into steps over a cache of fixed capacity";
  let description = [{
    A model as imported is functional: past keys and values come in, longer ones
    go out. A session updates a cache in place. The function whose arguments
    have roles (`miura.role`, set by `miura-raise`) is replaced by two:
    `@step_all`, which gives the logits of every new position, and `@step`,
    which gives those of the last one of every row and computes the head for it
    alone. Their arguments are tokens, positions, padding (1 where a slot of the
    cache may be seen), lengths (tokens in the cache, per row), counts (new
    tokens, per row), then key and value cache of every layer.

    ```mlir
    %k = tensor.concat dim(2) %past_k, %new_k : (tensor<?x2x?x8xf32>, tensor<?x2x?x8xf32>) -> tensor<?x2x?x8xf32>
    %y = miura.attention %q, %k, %v padding %mask : tensor<?x?xi64> scale 0.5 causal : …
    ==>
    %k = miura.cache_append %new_k at %lengths into %cache_k : …
    %y = miura.cached_attention %q, %k, %v at %lengths padding %padding : tensor<?x?xi8> scale 0.5 causal : …
    ```

    A causal decoder without a cache gets one. Where positions are looked up in
    a table, the tokens for which it has rows are noted as the module's
    `miura.context`, unless that is set already.

    Contract: model level. Every attention is causal and has its mask in closed
    form; keys are the past and the new ones, in this order; the length of the
    past serves nothing else. What does not hold is an error at the op.

    Numerics: exact; sums over keys may be taken in another order.
  }];
  let dependentDialects = ["::miura::MiuraDialect", "::mlir::arith::ArithDialect"];
}

def RecordSignaturePass : Pass<"miura-record-signature", "mlir::ModuleOp"> {
  let summary = "Note a model's own inputs and outputs on its module";
  let description = [{
    A session has other arguments than the file that it was made from. So that
    what is compiled still knows the file's interface, the arguments and results
    of the function that has the role of tokens are written to the module, in
    their order, before `miura-form-session` takes them away: names, roles,
    layers and types. They end in the compiled library, where `miura run` (and
    anybody else, through `miura_model_info`) reads them.

    ```mlir
    func.func @main_graph(%ids: tensor<?x?xi64> {miura.name = "input_ids", miura.role = #miura.role<tokens>}) -> …
    ==>
    module attributes {
      miura.inputs = [{name = "input_ids", role = #miura.role<tokens>, type = tensor<?x?xi64>} ],
      miura.outputs = […]} …
    ```

    An argument without a role has `#miura.role<other>`. A module without such a
    function, or with several, is left as it is.
  }];
  let dependentDialects = ["::miura::MiuraDialect"];
}

def WidenActivationsPass : Pass<"miura-widen-activations", "mlir::ModuleOp"> {
  let summary = "Carry activations of f16 and bf16 in f32";
  let description = [{
    Kernels compute in f32. In a model whose file computes in f16 or bf16 every
    activation becomes f32, arguments and results too (caches among them: who
    calls converts at the boundary, which is exact on the way in); weights keep
    their bytes and are read through `miura.convert`, so nothing grows. Small
    tables that are no weight of a product (norm scales, cosines) become f32.

    ```mlir
    func.func @main(%x: tensor<?x?x64xf16>) -> tensor<?x?x8xf16> {
      %w = miura.weight @w : tensor<8x64xf16>
      %y = miura.linear %x, %w id("w") compute(f16, f32) : …
    ==>
    func.func @main(%x: tensor<?x?x64xf32>) -> tensor<?x?x8xf32> {
      %w = miura.weight @w : tensor<8x64xf16>
      %v = miura.convert %w : tensor<8x64xf16> -> tensor<8x64xf32>
      %y = miura.linear %x, %v id("w") compute(f32, f32) : …
    ```

    Contract: model level or later, before kernels are formed. Nodes of the file
    that name a type (Cast's `to`) name f32 after it. A model without narrow
    activations is left as it is.

    Numerics: not those of the file, but nearer to the real numbers: no
    activation is rounded to 11 (f16) or 8 (bf16) bits. Results differ from the
    file's arithmetic by what that rounds.
  }];
  let dependentDialects = ["::miura::MiuraDialect", "::mlir::arith::ArithDialect"];
}

#endif // MIURA_DIALECT_MIURA_TRANSFORMS_PASSES_TD
