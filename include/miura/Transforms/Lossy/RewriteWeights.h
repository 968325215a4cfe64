//===- RewriteWeights.h - What lossy passes share ---------------*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The shape of every lossy pass: jobs are collected in program order through
/// `Compressible`, computed in parallel as pure functions of stored bytes, and
/// committed in order; every new tree gets a certified root, measured against
/// the original. A pass is the function that computes one layer.
///
/// A layer that does not fit is kept, with a remark that says why; it is an
/// error only if no layer fits.
///
//===----------------------------------------------------------------------===//

#ifndef MIURA_TRANSFORMS_LOSSY_REWRITEWEIGHTS_H
#define MIURA_TRANSFORMS_LOSSY_REWRITEWEIGHTS_H

#include "miura/Dialect/Miura/IR/LayerAttrs.h"
#include "miura/Transforms/Lossy/TreePlan.h"
#include "mlir/IR/BuiltinOps.h"

namespace miura {

/// One weight, with every use of it.
struct Layer {
  llvm::SmallVector<Compressible> uses;
  llvm::SmallVector<mlir::Value> roots; ///< its distinct values, in order
  mlir::RankedTensorType type;          ///< [batch ×] out × in

  /// What the weight is now: of a lossy tree, the expression below its root.
  mlir::Value tree;
  /// The certified root, null where the weight is the original.
  ApproximateOp root;
  /// Of an original: the op that has its bytes, and how it is read.
  mlir::Operation *leaf = nullptr;
  bool transposed = false;
  /// The symbol that new tensors are named after.
  std::string name;

  llvm::StringRef getId() { return uses.front().getId(); }
  int64_t getColumns() const { return type.getShape().back(); }
  /// The rows of all matrices of the batch.
  int64_t getRows() const { return type.getNumElements() / getColumns(); }
};

/// What became of a layer.
struct LayerResult {
  TreePlanPtr plan; ///< the new tree; null where the layer stays as it is
  std::string kept; ///< why it is kept; empty: it is as wanted already

  static LayerResult keep(const llvm::Twine &reason) {
    return {nullptr, reason.str()};
  }
};

struct LossyRewrite {
  llvm::StringRef pass; ///< for messages about the module
  llvm::StringRef verb; ///< "cannot <verb> 'id'"
  /// What no layer fits, if none does.
  std::string scheme;
  /// Globs of ids.
  llvm::ArrayRef<std::string> include, exclude;
  /// Computes one layer from the IR and its bytes, changing neither.
  std::function<llvm::Expected<LayerResult>(Layer &, FileStore &)> compute;
  /// Called on each use of a weight that was rewritten.
  std::function<void(Compressible)> finish;
};

/// Runs a lossy pass over `module`. Errors are diagnostics.
mlir::LogicalResult rewriteWeights(mlir::ModuleOp module,
                                   const LossyRewrite &rewrite);

/// Where a weight's value comes from: data or a constant under transpositions
/// and conversions; no leaf where anything else stands between.
struct WeightSource {
  mlir::Operation *leaf = nullptr;
  bool transposed = false;

  /// The type that its elements are stored in.
  mlir::Type getElementType() const;
};
WeightSource getWeightSource(mlir::Value value);

/// The symbol of the data below `value`, or `name` where it has none.
std::string getLeafName(mlir::Value value, llvm::StringRef name);

/// Plans a weight, named `name`, or gives null where it stays as it is.
using PlanWeight = llvm::function_ref<llvm::Expected<TreePlanPtr>(
    mlir::Value, const std::string &name)>;
/// `op` as `type` over what `plan` makes of its operands that are weights; null
/// where all of them stay, or as soon as `kept` says why the layer does.
llvm::Expected<TreePlanPtr> planOperands(WeightExpression op, mlir::Type type,
                                         llvm::StringRef name,
                                         const std::string &kept,
                                         PlanWeight plan);

/// Calls `function(row, values)` for every row of `value`: of all its
/// dimensions but the last taken together. About a megabyte of numbers is held
/// at a time, or one slice of the first dimension.
llvm::Error forEachRow(
    mlir::Value value,
    llvm::function_ref<llvm::Error(int64_t, llvm::ArrayRef<float>)> function);
/// The same with slices of the first dimension, numbers or codes.
llvm::Error forEachSlice(
    mlir::Value value,
    llvm::function_ref<llvm::Error(int64_t, const HostTensor &)> function);

/// All of `value`'s numbers.
llvm::Expected<std::vector<float>> readNumbers(mlir::Value value);

} // namespace miura

#endif // MIURA_TRANSFORMS_LOSSY_REWRITEWEIGHTS_H
