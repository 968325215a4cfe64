//===- MiuraKernelOps.td - Kernels before they are emitted -*- tablegen -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MIURA_KERNEL_OPS_TD
#define MIURA_KERNEL_OPS_TD

include "miura/Dialect/Miura/IR/MiuraOpBase.td"

def Miura_KernelOp : Miura_Op<"kernel", [
    IsolatedFromAbove, SingleBlock, AttrSizedOperandSegments,
    DeclareOpInterfaceMethods<DestinationStyleOpInterface>,
    DeclareOpInterfaceMethods<MemoryEffectsOpInterface>]> {
  let summary = "A root op with its expression and fused neighbours";
  let description = [{
    What one generated function will compute: the region says it in model ops on
    tensors, with the sizes that a kernel takes as arguments erased to `?`; its
    text is the kernel's key, so that equal kernels are emitted once. The region
    has one argument per input and yields one value per output, which is stored
    to the output of the same position. On tensors the op is in destination
    style; after bufferization the operands are memrefs and the region is as it
    was.

    ```mlir
    %y = miura.kernel ins(%x, %codes, %scales : …) outs(%e : tensor<?x?x1536xf32>) {
    ^bb0(%a: tensor<?x?x?xf32>, %c: tensor<?x?xi4>, %s: tensor<?x?xf16>):
      %w = miura.dequantize %c, %s block [1, 32] : …
      %r = miura.linear %a, %w id("") compute(f32, f32) : …
      miura.kernel_yield %r : tensor<?x?x?xf32>
    } -> tensor<?x?x1536xf32>
    ```
  }];
  let arguments = (ins Variadic<AnyType>:$inputs, Variadic<AnyShaped>:$outputs);
  let results = (outs Variadic<AnyRankedTensor>:$results);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = [{
    (`ins` `(` $inputs^ `:` type($inputs) `)`)? `outs` `(` $outputs `:` type($outputs) `)`
    attr-dict-with-keyword $body (`->` type($results)^)?
  }];
  let hasVerifier = 1;
}

def Miura_KernelYieldOp : Miura_Op<"kernel_yield", [Pure, Terminator, ReturnLike, HasParent<"KernelOp">]> {
  let summary = "What a kernel stores";
  let arguments = (ins Variadic<AnyType>:$values);
  let assemblyFormat = "($values^ `:` type($values))? attr-dict";
  let builders = [OpBuilder<(ins), [{ (void)$_state; }]>];
}

#endif // MIURA_KERNEL_OPS_TD
