//===- Passes.td - Passes that prune ------------------------*- tablegen -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MIURA_TRANSFORMS_PRUNE_PASSES_TD
#define MIURA_TRANSFORMS_PRUNE_PASSES_TD

include "mlir/Pass/PassBase.td"

def PruneMagnitudePass : Pass<"miura-prune-magnitude", "mlir::ModuleOp"> {
  let summary = "Drop the smallest weights and store the places of the others";
  let description = [{
    Zeroes the weights of smallest magnitude and stores what is left with a bitmap
    (unstructured), with each one's place in its group (n:m) or with a bitmap of
    blocks. Needs no calibration: the baseline that every other criterion has to
    beat.

    ```mlir
    %w = miura.weight @q7 : tensor<288x288xf32>
    %y = miura.linear %x, %w id("q7") compute(f32, f32) : …
    ==>
    %v = miura.weight @q7.values : tensor<41472xf32>
    %i = miura.weight @q7.index : tensor<288x36xi8>
    %u = miura.unprune %v, %i "bitmap" : … -> tensor<288x288xf32>
    %w = miura.approximate %u of @q7 certificate <error = …> : tensor<288x288xf32>
    %y = miura.linear %x, %w id("q7") compute(f32, f32) : …
    ```

    With `n=2 m=4` it is `miura.unprune %v, %i "nm" group [2, 4]`, with
    `block=4,8` `miura.unprune %v, %i "block" group [4, 8]`.

    A weight that is an expression already is pruned in it. Where zeros can be set
    in an operand they are: codes without zero points are dropped and keep their
    scales, `dequantize(unprune(codes, index), scales)`; a pruned weight is pruned
    to the new number of zeros, those it has included, so that doing it again
    changes nothing. Where they cannot, the weights below are pruned each by
    itself: both factors of a product, both terms of a sum.

    Contract: model level, as for `miura-quantize-rtn`: weights are found through
    `Compressible`, one with several uses (a tied embedding and head) is pruned
    once, and what does not fit is kept, with a remark that says why: a group or
    a block that does not divide the weight, codes with zero points, a layer that
    no pattern names. It is an error only if no layer fits. New tensors go to the
    weights folder; up to 1 KiB of them are inline constants.

    Numerics: lossy; the certificate of each layer states the relative error,
    computed from what was stored. Kept values are stored as they were, bit by
    bit. The number of zeros is exact to one element: round(sparsity · size) of the
    tensor, of which rows have equal shares to within one unless `scope=tensor`;
    the same share of the blocks; m − n of every group. Of equal magnitudes the earlier are dropped. A bitmap costs a bit per
    weight: below a sparsity of 1/32 an f32 weight grows.

    References: Han et al., arXiv:1506.02626, section 3.1; Sun et al. (Wanda),
    arXiv:2306.11695, section 3 (comparing within a row); Mishra et al.,
    arXiv:2104.08378, section 3; Narang et al., arXiv:1711.02782, section 3.1 (we
    rank blocks by their norm in place of their maximum, which is what the error
    sums, and retrain nothing).
  }];
  let options = [
    Option<"sparsity", "sparsity", "double", /*default=*/"0.5",
           "Share of the weights (or blocks) to drop, above 0 and below 1; with a half most models still write text">,
    Option<"scope", "scope", "::miura::PruneScope", /*default=*/"::miura::PruneScope::Row",
           "Among which weights the smallest are sought (blocks: always all of the weight)", [{::llvm::cl::values(
             clEnumValN(::miura::PruneScope::Row, "row", "Each row by itself: every output, and every token of an embedding, keeps as many weights; kernels get even rows"),
             clEnumValN(::miura::PruneScope::Tensor, "tensor", "All of the weight: the smallest error, but rows of small weights vanish"))}]>,
    Option<"n", "n", "int64_t", /*default=*/"0",
           "Weights to keep of every m; 0: unstructured">,
    Option<"m", "m", "int64_t", /*default=*/"0",
           "Size of a group of successive weights of a row, up to 256">,
    ListOption<"block", "block", "int64_t",
               "Rows and columns of a block to keep or drop whole; none given means single weights">,
    ListOption<"include", "include", "std::string",
               "Globs of the ids or module paths of layers to prune; none given means every layer">,
    ListOption<"exclude", "exclude", "std::string",
               "Globs of the ids or module paths of layers to keep; wins over include">
  ];
  let dependentDialects = ["::miura::MiuraDialect", "::mlir::arith::ArithDialect"];
}

#endif // MIURA_TRANSFORMS_PRUNE_PASSES_TD
