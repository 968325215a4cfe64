//===- Passes.td - Passes that factorize --------------------*- tablegen -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MIURA_TRANSFORMS_LOWRANK_PASSES_TD
#define MIURA_TRANSFORMS_LOWRANK_PASSES_TD

include "mlir/Pass/PassBase.td"

class FactorizePass<string mnemonic> : Pass<mnemonic, "mlir::ModuleOp"> {
  let options = [
    Option<"rank", "rank", "int64_t", /*default=*/"0",
           "Rank of the product, below the smaller dimension; 0: energy or bytes say it">,
    Option<"energy", "energy", "double", /*default=*/"0",
           "Share of the squared norm that the product keeps at least, above 0 and below 1: the smallest such rank">,
    Option<"bytes", "bytes", "int64_t", /*default=*/"0",
           "The most bytes that the factors of one weight take: the largest such rank">,
    Option<"type", "type", "::miura::compress::FactorType",
           /*default=*/"::miura::compress::FactorType::F16",
           "The type that factors are stored in", [{::llvm::cl::values(
             clEnumValN(::miura::compress::FactorType::F16, "f16", "2 bytes; its rounding is far below what a low rank leaves"),
             clEnumValN(::miura::compress::FactorType::F32, "f32", "4 bytes"))}]>,
    ListOption<"include", "include", "std::string",
               "Globs of the ids or module paths of layers to factorize; none given means every layer">,
    ListOption<"exclude", "exclude", "std::string",
               "Globs of the ids or module paths of layers to keep; wins over include">
  ];
  let dependentDialects = ["::miura::MiuraDialect", "::mlir::arith::ArithDialect"];
}

def FactorizeSvdPass : FactorizePass<"miura-factorize-svd"> {
  let summary = "Replace weights by products of two thin factors";
  let description = [{
    Replaces a weight by the product of least squared error of a given rank: its
    truncated singular value decomposition. Needs no calibration. By itself it
    ruins most language models, whose weights have no low rank (a decomposition
    under the inputs' Gram does better); it is what such methods are measured
    against, and right for weights that are nearly of low rank.

    ```mlir
    %w = miura.weight @q7 : tensor<288x288xf32>
    %y = miura.linear %x, %w id("q7") compute(f32, f32) : …
    ==>
    %l = miura.weight @q7.left : tensor<288x64xf16>
    %r = miura.weight @q7.right : tensor<64x288xf16>
    %m = miura.matmul %l, %r : … -> tensor<288x288xf32>
    %w = miura.approximate %m of @q7 certificate <error = …> : tensor<288x288xf32>
    %y = miura.linear %x, %w id("q7") compute(f32, f32) : …
    ```

    A weight that is an expression already is factorized by its value, as the
    passes before left it. What comes after may act on the factors:
    `miura-quantize-rtn` gives both codes.

    Contract: model level, as for `miura-quantize-rtn`: weights are found through
    `Compressible`, one with several uses (a tied embedding and head) is factorized
    once, each matrix of a batch (of experts) by itself, at one rank. What does not
    fit is kept, with a remark that says why: a rank that is not below the smaller
    dimension, a layer that no pattern names. It is an error only if no layer fits.

    Numerics: lossy; the certificate of each layer states the relative error,
    computed from what was stored. The decomposition is a sketch of rank + 10
    columns with 4 power iterations, or LAPACK's gesdd where the sketch would have
    half the columns of the weight or more. `energy` is checked on the factors as
    stored. A singular value is split evenly between the factors. The random
    numbers depend on the layer's id alone, so results do not depend on the number
    of threads; they may differ in their last bits between kinds of processors.

    References: Eckart and Young, Psychometrika 1 (1936) 211–218; Halko, Martinsson
    and Tropp, arXiv:0909.4061, algorithms 4.4 and 5.1.
  }];
}

def FactorizeResidualPass : FactorizePass<"miura-factorize-residual"> {
  let summary = "Add a low-rank product for what an expression misses";
  let description = [{
    Adds to a compressed weight the product of least squared error of W − Ŵ, the
    original less the value of its expression: the largest errors of rounding or
    pruning are undone for a few bits per weight, and one kernel computes both.

    ```mlir
    %q = miura.dequantize %c, %s block [1, 32] : … -> tensor<288x288xf32>
    %w = miura.approximate %q of @q7 certificate <error = 8.1e-02> : tensor<288x288xf32>
    ==>
    %q = miura.dequantize %c, %s block [1, 32] : … -> tensor<288x288xf32>
    %l = miura.weight @q7.left : tensor<288x32xf16>
    %r = miura.weight @q7.right : tensor<32x288xf16>
    %m = miura.matmul %l, %r : … -> tensor<288x288xf32>
    %e = miura.add %q, %m : … -> tensor<288x288xf32>
    %w = miura.approximate %e of @q7 certificate <error = 6.9e-02> : tensor<288x288xf32>
    ```

    Contract: model level, after at least one lossy pass, with the originals'
    bytes at hand. What does not fit is kept, with a remark that says why: a weight
    that is the original or equals it, a rank that is not below the smaller
    dimension, a product that does not lower the error, a layer that no pattern
    names. It is an error only if no layer fits.

    Numerics: the certified error never rises; each layer's is computed anew from
    what was stored. `energy` is of what the expression misses. Decomposition,
    factors and random numbers are those of `miura-factorize-svd`. No loop between
    the two terms: the expression is not fitted to the product.

    References: Yao et al. (ZeroQuant-V2), arXiv:2303.08302, section 5 (low-rank
    compensation); Saha et al. (CALDERA), arXiv:2405.18886, section 3, algorithm 1
    with one iteration, without Gram and with unquantized factors.
  }];
}

#endif // MIURA_TRANSFORMS_LOWRANK_PASSES_TD
