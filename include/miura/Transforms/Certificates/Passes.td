//===- Passes.td - Passes on certificates -------------------*- tablegen -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MIURA_TRANSFORMS_CERTIFICATES_PASSES_TD
#define MIURA_TRANSFORMS_CERTIFICATES_PASSES_TD

include "mlir/Pass/PassBase.td"

def VerifyCertificatesPass : Pass<"miura-verify-certificates", "mlir::ModuleOp"> {
  let summary = "Recompute what certificates claim, and fail on a lie";
  let description = [{
    For every `miura.approximate`: the digest of the tree below it (ops,
    attributes, the bytes of its leaves) and that of the original must be those
    in its certificate, and the relative error must be the stated one. A root
    without a certificate is an error. Nothing is changed.

    ```mlir
    %w = miura.approximate %e of @q7 certificate
           <error = 8.1e-02 : f64, original = "0f…", tree = "a3…"> : tensor<288x288xf32>
    ==> error: 'miura.approximate' op has a certificate of another tree: …
    ```

    Contract: any level that has expressions. The error can be recomputed only
    where the original's bytes are at hand: in a module that still has them, or
    through `original`. Where they are not, digests alone are checked; with
    `strict` that is an error.

    Numerics: the error is computed as when certifying, in one order, and
    compared to 1e-9 of itself, which leaves room for another compiler's
    contraction of products and sums.
  }];
  let options = [
    Option<"original", "original", "std::string", /*default=*/"",
           "A module (.mlir) whose weight_data of the same names are the originals">,
    Option<"strict", "strict", "bool", /*default=*/"false",
           "Fail where an error cannot be recomputed: a check that did not happen should not look like one that passed">
  ];
  let dependentDialects = ["::miura::MiuraDialect"];
}

#endif // MIURA_TRANSFORMS_CERTIFICATES_PASSES_TD
