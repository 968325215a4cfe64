//===- VerifyCertificates.cpp - Recompute what certificates claim ---------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Checks each certified root by itself: digests first, since they are cheap
/// and tell what was changed, then the error, where the original is at hand.
///
//===----------------------------------------------------------------------===//

#include "miura/Transforms/Certificates/Certify.h"
#include "miura/Transforms/Certificates/Passes.h"
#include "mlir/IR/Threading.h"
#include "mlir/Parser/Parser.h"
#include "llvm/Support/Path.h"
#include <cmath>

using namespace mlir;
using namespace miura;

namespace miura {
#define GEN_PASS_DEF_VERIFYCERTIFICATESPASS
#include "miura/Transforms/Certificates/Passes.h.inc"
} // namespace miura

namespace {
struct VerifyCertificates
    : miura::impl::VerifyCertificatesPassBase<VerifyCertificates> {
  using VerifyCertificatesPassBase::VerifyCertificatesPassBase;

  void runOnOperation() override {
    OwningOpRef<ModuleOp> originals;
    if (!original.empty()) {
      originals = parseSourceFile<ModuleOp>(original, &getContext());
      if (!originals) {
        getOperation().emitError("cannot read the original '")
            << original << "'; give an .mlir file";
        return signalPassFailure();
      }
    }
    SmallVector<ApproximateOp> roots;
    getOperation().walk([&](ApproximateOp op) { roots.push_back(op); });
    if (failed(failableParallelForEach(
            &getContext(), roots, [&](ApproximateOp op) {
              return verify(op, originals ? *originals : ModuleOp());
            })))
      signalPassFailure();
  }

  /// The weight whose bytes the error is measured against; null where they are
  /// not at hand.
  FailureOr<WeightDataOp> getBytesOfOriginal(ApproximateOp op, WeightDataOp own,
                                             ModuleOp originals) {
    if (own.getBytes())
      return own;
    if (!originals)
      return WeightDataOp();
    auto data = originals.lookupSymbol<WeightDataOp>(op.getOriginal());
    if (!data || !data.getBytes())
      return op.emitOpError("has the original '@")
             << op.getOriginal() << "', of which '" << original
             << "' has no bytes";
    return data;
  }

  LogicalResult verify(ApproximateOp op, ModuleOp originals) {
    if (!op.getCertificate())
      return op.emitOpError("has no certificate");
    CertificateAttr certificate = *op.getCertificate();
    WeightDataOp own = getOriginal(op);
    auto tree = getTreeDigest(op.getExpression());
    FailureOr<std::string> digest = failure();
    if (own)
      digest = getWeightDigest(own);
    if (failed(tree) || failed(digest))
      return failure();
    if (*tree != certificate.getTree().getValue())
      return op.emitOpError("has a certificate of another tree: expects ")
             << certificate.getTree().getValue() << ", but got " << *tree
             << "; the expression or its bytes were changed";
    if (*digest != certificate.getOriginal().getValue())
      return op.emitOpError("has a certificate of another original: expects ")
             << certificate.getOriginal().getValue() << ", but got " << *digest;

    auto data = getBytesOfOriginal(op, own, originals);
    if (failed(data))
      return failure();
    if (!*data) {
      if (strict)
        return op.emitOpError("has an original without bytes, so its error "
                              "cannot be recomputed; give original=");
      return success();
    }
    auto bytesDigest = getWeightDigest(*data);
    if (failed(bytesDigest))
      return failure();
    if (*bytesDigest != certificate.getOriginal().getValue())
      return op.emitOpError("is certified against other bytes of '@")
             << op.getOriginal() << "': expects "
             << certificate.getOriginal().getValue() << ", but got "
             << *bytesDigest;
    if (certificate.getGram()) {
      if (strict)
        return op.emitOpError("is certified under a Gram that was not given");
      return success();
    }
    auto error = getRelativeError(op, *data);
    if (failed(error))
      return failure();
    double stated = certificate.getValue().getValueAsDouble();
    if (!(std::fabs(*error - stated) <= 1e-9 * *error))
      return op.emitOpError("states an error of ")
             << stated << ", but it is " << *error;
    return success();
  }
};
} // namespace
