//===- Certify.cpp - What is known of a lossy expression's error ----------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// A tree's digest is that of a text with one line per op: its name, its
/// attributes, its type and the digests of its operands. The leaves' lines have
/// the digest of their bytes in place of a symbol.
///
//===----------------------------------------------------------------------===//

#include "miura/Transforms/Certificates/Certify.h"
#include "miura/Compress/Quantize.h"
#include "miura/Dialect/Miura/Transforms/WorkAction.h"
#include "mlir/IR/Threading.h"
#include "llvm/Support/raw_ostream.h"

using namespace mlir;
using namespace miura;

FailureOr<std::string> miura::getWeightDigest(WeightDataOp data) {
  if (!data.getBytes()) {
    if (data.getDigest())
      return data.getDigest()->str();
    return data.emitOpError("has neither bytes nor a digest");
  }
  auto *dialect = data.getContext()->getOrLoadDialect<MiuraDialect>();
  return dialect->getWeightStore().getDigest(*data.getBytes(), data.getLoc());
}

WeightDataOp miura::getOriginal(ApproximateOp op) {
  return SymbolTable::lookupNearestSymbolFrom<WeightDataOp>(
      op, op.getOriginalAttr());
}

static std::string digestText(StringRef text) {
  return blake3Hex({text.bytes_begin(), text.bytes_end()});
}

static FailureOr<std::string>
digestTree(Value value, llvm::DenseMap<Value, std::string> &known) {
  if (auto it = known.find(value); it != known.end())
    return it->second;
  Operation *op = value.getDefiningOp();
  std::string text;
  llvm::raw_string_ostream stream(text);
  auto leaf = [&](StringRef bytesDigest) {
    stream << "leaf " << value.getType() << ' ' << bytesDigest;
    return known[value] = digestText(text);
  };
  if (auto weight = dyn_cast_or_null<WeightOp>(op)) {
    auto data = SymbolTable::lookupNearestSymbolFrom<WeightDataOp>(
        weight, weight.getDataAttr());
    if (!data)
      return failure();
    auto digest = getWeightDigest(data);
    if (failed(digest))
      return failure();
    return leaf(*digest);
  }
  if (!op || !isa<WeightExpression>(op)) {
    // An inline constant digests as the file that would hold it.
    auto constant = evaluateExpression(value);
    if (failed(constant))
      return failure();
    return leaf(blake3Hex(writeHostTensor(*constant)));
  }
  stream << op->getName() << ' ' << op->getAttrDictionary() << ' '
         << value.getType();
  for (Value operand : op->getOperands()) {
    auto digest = digestTree(operand, known);
    if (failed(digest))
      return failure();
    stream << ' ' << *digest;
  }
  return known[value] = digestText(text);
}

FailureOr<std::string> miura::getTreeDigest(Value value) {
  llvm::DenseMap<Value, std::string> known;
  return digestTree(value, known);
}

FailureOr<double> miura::getRelativeError(ApproximateOp op,
                                          WeightDataOp original) {
  RankedTensorType type = op.getResult().getType();
  if (type.getRank() == 0 || type.getNumElements() == 0)
    return 0.0;
  // A chunk of about a megabyte of floats.
  int64_t rows = type.getDimSize(0), columns = type.getNumElements() / rows;
  int64_t chunk = std::max<int64_t>(1, (1 << 18) / columns);
  compress::ErrorSums sums;
  for (int64_t first = 0; first < rows; first += chunk) {
    int64_t count = std::min(chunk, rows - first);
    auto exact = readWeightRows(original, op.getTransposed(), first, count);
    auto value = evaluateExpressionRows(op.getExpression(), first, count);
    if (failed(exact) || failed(value))
      return failure();
    if (exact->floats.size() != value->floats.size())
      return op.emitOpError("does not have the shape of its original '@")
             << original.getSymName() << "'";
    sums.add(exact->floats, value->floats);
  }
  return sums.getRelativeError();
}

FailureOr<CertificateAttr> miura::computeCertificate(ApproximateOp op) {
  WeightDataOp data = getOriginal(op);
  if (!data)
    return op.emitOpError("has no original '@") << op.getOriginal() << "'";
  auto error = getRelativeError(op, data);
  auto original = getWeightDigest(data);
  auto tree = getTreeDigest(op.getExpression());
  if (failed(error) || failed(original) || failed(tree))
    return failure();
  Builder builder(op.getContext());
  return CertificateAttr::get(op.getContext(), builder.getF64FloatAttr(*error),
                              builder.getStringAttr(*original),
                              builder.getStringAttr(*tree), {});
}

LogicalResult miura::certify(ArrayRef<ApproximateOp> ops) {
  if (ops.empty())
    return success();
  std::vector<CertificateAttr> certificates(ops.size());
  MLIRContext *context = ops.front()->getContext();
  int64_t total = 0;
  for (ApproximateOp op : ops)
    total += op.getType().getNumElements();
  auto result = failableParallelForEachN(context, 0, ops.size(), [&](size_t i) {
    FailureOr<CertificateAttr> certificate = failure();
    ApproximateOp op = ops[i];
    context->executeAction<WorkAction>(
        [&] { certificate = computeCertificate(op); }, {op.getOperation()},
        "certify", op.getOriginal(), op.getType().getNumElements(), total);
    if (succeeded(certificate))
      certificates[i] = *certificate;
    return LogicalResult(certificate);
  });
  if (failed(result))
    return failure();
  for (auto [op, certificate] : llvm::zip_equal(ops, certificates)) {
    ApproximateOp root = op;
    root.setCertificateAttr(certificate);
  }
  return success();
}
