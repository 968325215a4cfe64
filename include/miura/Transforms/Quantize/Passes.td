//===- Passes.td - Passes that quantize ---------------------*- tablegen -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MIURA_TRANSFORMS_QUANTIZE_PASSES_TD
#define MIURA_TRANSFORMS_QUANTIZE_PASSES_TD

include "mlir/Pass/PassBase.td"

def QuantizeRtnPass : Pass<"miura-quantize-rtn", "mlir::ModuleOp"> {
  let summary = "Round weights to the nearest of a few levels per block";
  let description = [{
    Replaces the weights of linears, embeddings and whatever else is
    `Compressible` by integer codes and a scale per block. Needs no calibration:
    the baseline that every other scheme has to beat.

    ```mlir
    %w = miura.weight @q7 : tensor<288x288xf32>
    %y = miura.linear %x, %w id("q7") compute(f32, f32) : …
    ==>
    %c = miura.weight @q7.codes : tensor<288x288xi4>
    %s = miura.weight @q7.scales : tensor<288x9xf16>
    %d = miura.dequantize %c, %s block [1, 32] : … -> tensor<288x288xf32>
    %w = miura.approximate %d of @q7 certificate <error = …> : tensor<288x288xf32>
    %y = miura.linear %x, %w id("q7") compute(f32, f32) : …
    ```

    A weight that is an expression already is quantized in it, at every
    floating-point weight that it has: both factors of a product (`matmul`), both
    terms of a sum, the kept values of a pruned weight. Without zero points the
    codes of kept values are placed as the values were, and scales stay those of
    blocks of the row: `dequantize(unprune(codes, index), scales)`; with zero
    points the values are quantized as they lie. Codes are not quantized again.

    Contract: model level. A weight is a `miura.weight` or a constant, under
    `miura.transpose` and `miura.convert`, or an expression under a
    `miura.approximate`. One that is stored `in × out` is quantized along `in` and
    written `out × in`. A weight with several uses (a tied embedding and head) is
    quantized once. What does not fit is kept, with a remark that says why: a
    block that does not divide the row (of a factor, the last block is shorter), a
    weight that came as an expression, a layer that no pattern names. It is an
    error only if no layer fits. New tensors go to the weights folder; results of
    up to 1 KiB, codes and scales together, are inline constants.

    Numerics: lossy; the certificate of each layer states the relative error,
    computed from what was stored. Scales are rounded to `scale-type` before
    codes are chosen. Within a block the scale is searched by squared error (see
    `miura/Compress/Quantize.h`); per tensor it is the one that clips nothing.
    Where codes of a pruned weight would raise its error by more than `max-growth`
    its blocks are halved: of weights with many small and a few large entries
    pruning costs little and coarse codes much. Results do not depend on the number
    of threads.

    References: Jacob et al., arXiv:1712.05877, section 2.1; blocks of scales as
    in Dettmers et al., arXiv:2110.02861, section 2.1. We search the scale, which
    they do not.
  }];
  let options = [
    Option<"bits", "bits", "unsigned", /*default=*/"4",
           "Bits of a code, 2 to 8; 4 keeps most models' text at a seventh of the bytes">,
    Option<"blockSize", "block-size", "int64_t", /*default=*/"32",
           "Columns per scale; 0: one scale per row (channel), -1: one for the tensor; 32 with f16 scales costs half a bit per weight">,
    Option<"symmetric", "symmetric", "bool", /*default=*/"true",
           "No zero points: kernels need no correction, and most weights are centred">,
    Option<"scaleType", "scale-type", "::miura::compress::ScaleType",
           /*default=*/"::miura::compress::ScaleType::F16",
           "The type that scales are stored in", [{::llvm::cl::values(
             clEnumValN(::miura::compress::ScaleType::F16, "f16", "2 bytes; enough for weights below 65504 levels"),
             clEnumValN(::miura::compress::ScaleType::F32, "f32", "4 bytes"))}]>,
    Option<"maxGrowth", "max-growth", "double", /*default=*/"1.1",
           "The factor by which codes may raise the certified error of a pruned weight before its blocks are halved, down to 8 columns, if that suffices; 0: any. A tenth is hardly seen behind what pruning cost">,
    Option<"activation", "activation", "::miura::ActivationType",
           /*default=*/"::miura::ActivationType::Keep",
           "In what type the activations of the quantized linears enter", [{::llvm::cl::values(
             clEnumValN(::miura::ActivationType::Keep, "keep", "As the linear says (f32 as imported)"),
             clEnumValN(::miura::ActivationType::I8, "i8", "Rounded to int8 with one scale per token (#miura.compute)"))}]>,
    ListOption<"include", "include", "std::string",
               "Globs of the ids or module paths of layers to quantize; none given means every layer">,
    ListOption<"exclude", "exclude", "std::string",
               "Globs of the ids or module paths of layers to keep; wins over include">
  ];
  let dependentDialects = ["::miura::MiuraDialect", "::mlir::arith::ArithDialect"];
}

#endif // MIURA_TRANSFORMS_QUANTIZE_PASSES_TD
