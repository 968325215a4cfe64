//===- Certify.h - What is known of a lossy expression's error --*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Digests of weights and of expression trees, and the certificate that a
/// `miura.approximate` carries (see #miura.certificate). A pass that made or
/// changed a lossy tree certifies its root; nothing is taken from the pass but
/// the IR and the bytes that it stored.
///
//===----------------------------------------------------------------------===//

#ifndef MIURA_TRANSFORMS_CERTIFICATES_CERTIFY_H
#define MIURA_TRANSFORMS_CERTIFICATES_CERTIFY_H

#include "miura/Dialect/Miura/IR/MiuraDialect.h"

namespace miura {

/// The BLAKE3, in hexadecimal, of the tree under `value`: op names, attributes
/// and types, and the bytes of the leaves. The names of symbols and files are
/// left out, so a weight that moves into a bundle keeps its digest, and so does
/// one that is inline. Emits an error where a leaf cannot be read.
mlir::FailureOr<std::string> getTreeDigest(mlir::Value value);

/// The BLAKE3 of a weight's bytes: of those in the file, or the one that a
/// declaration states.
mlir::FailureOr<std::string> getWeightDigest(WeightDataOp data);

/// The weight_data that `op` approximates; null where there is none.
WeightDataOp getOriginal(ApproximateOp op);

/// ‖W − Ŵ‖ / ‖W‖ in the Frobenius norm, W read from `original`, Ŵ evaluated
/// from the tree. Both go by rows; sums are f64 in one order.
mlir::FailureOr<double> getRelativeError(ApproximateOp op,
                                         WeightDataOp original);

/// The certificate of `op` against its original. Reads the IR only, so many
/// ops can be certified at once.
mlir::FailureOr<CertificateAttr> computeCertificate(ApproximateOp op);

/// Computes and sets the certificates of `ops`, in parallel.
mlir::LogicalResult certify(llvm::ArrayRef<ApproximateOp> ops);

} // namespace miura

#endif // MIURA_TRANSFORMS_CERTIFICATES_CERTIFY_H
