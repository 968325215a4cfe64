//===- Originals.cpp - What approximations approximate --------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Originals are matched by digest, first under their own name, so that of two
/// equal weights each gets its own.
///
//===----------------------------------------------------------------------===//

#include "Originals.h"
#include "miura/Dialect/Miura/IR/MiuraDialect.h"
#include "miura/Driver/Model.h"
#include "miura/Pipelines/Compile.h"
#include "miura/Transforms/Lossy/RewriteWeights.h"
#include "llvm/ADT/StringMap.h"

using namespace mlir;
using namespace miura;
using namespace miura::driver;

static WeightDataOp getOriginal(ApproximateOp root) {
  return SymbolTable::lookupNearestSymbolFrom<WeightDataOp>(
      root, root.getOriginalAttr());
}

bool miura::driver::lacksOriginals(ModuleOp module) {
  return module
      .walk([](ApproximateOp root) {
        WeightDataOp original = getOriginal(root);
        return original && !original.getBytes() ? WalkResult::interrupt()
                                                : WalkResult::advance();
      })
      .wasInterrupted();
}

/// Replaces `root` by its original, read the way `root` is.
static void restore(ApproximateOp root, WeightDataOp original) {
  OpBuilder builder(root);
  Location loc = root.getLoc();
  auto stored = cast<RankedTensorType>(original.getType());
  Value value = WeightOp::create(builder, loc, stored, original.getSymName());
  RankedTensorType type = root.getResult().getType();
  if (root.getTransposed())
    value = TransposeOp::create(
        builder, loc,
        RankedTensorType::get(type.getShape(), stored.getElementType()), value);
  if (value.getType() != type)
    value = ConvertOp::create(builder, loc, type, value);
  root.getResult().replaceAllUsesWith(value);
  // The tree below, as far as nothing else reads it.
  SmallVector<Operation *> dead{root};
  while (!dead.empty()) {
    Operation *op = dead.pop_back_val();
    if (!op->use_empty())
      continue;
    SmallVector<Value> operands(op->getOperands());
    op->erase();
    for (Value operand : operands)
      if (Operation *below = operand.getDefiningOp())
        if (operand.use_empty() && !llvm::is_contained(dead, below))
          dead.push_back(below);
  }
}

ExitCode miura::driver::restoreOriginals(Invocation &invocation,
                                         ModuleOp module,
                                         llvm::StringRef bundle,
                                         llvm::StringRef path) {
  ExitCode code = ExitCode::Success;
  OwningOpRef<ModuleOp> model = loadModule(invocation, path, code);
  if (!model)
    return code;
  // Raising may make new weights of the file's.
  code = invocation.runPasses(
      *model, [&](OpPassManager &pm) { buildModelPipeline(pm, *model); });
  if (code != ExitCode::Success)
    return code;
  invocation.setCurrentFile(bundle);

  WeightStore &store =
      module.getContext()->getOrLoadDialect<MiuraDialect>()->getWeightStore();
  llvm::StringMap<WeightDataOp> byName, byDigest;
  bool allRead = false;
  auto getDigest = [&](WeightDataOp data) {
    return store.getDigest(*data.getBytes(), data.getLoc());
  };
  for (auto data : model->getOps<WeightDataOp>())
    if (data.getBytes())
      byName[data.getSymName()] = data;
  auto find = [&](WeightDataOp wanted) -> FailureOr<WeightDataOp> {
    llvm::StringRef digest = *wanted.getDigest();
    if (WeightDataOp data = byName.lookup(wanted.getSymName())) {
      auto found = getDigest(data);
      if (failed(found))
        return failure();
      if (*found == digest)
        return data;
    }
    if (!allRead) {
      for (auto data : model->getOps<WeightDataOp>()) {
        if (!data.getBytes())
          continue;
        auto found = getDigest(data);
        if (failed(found))
          return failure();
        byDigest.try_emplace(*found, data);
      }
      allRead = true;
    }
    return byDigest.lookup(digest);
  };

  SmallVector<ApproximateOp> roots;
  module.walk([&](ApproximateOp root) { roots.push_back(root); });
  for (ApproximateOp root : roots) {
    WeightDataOp original = getOriginal(root);
    if (!original)
      continue;
    if (!original.getBytes()) {
      FailureOr<WeightDataOp> data = find(original);
      if (failed(data))
        return invocation.failReported("reading '" + path.str() + "'");
      if (!*data || data->getType() != original.getType())
        return invocation.failInput(
            "'" + path + "' is not the model that '" + bundle +
                "' was made from: it has no weight with the digest " +
                original.getDigest()->str() + " of '" + original.getSymName() +
                "'",
            path, original.getSymName());
      original.setBytesAttr(*data->getBytes());
      original.removeDigestAttr();
    }
    restore(root, original);
  }
  // What only approximations read; a pass names its tensors after originals,
  // and finds the names free again.
  llvm::DenseSet<StringAttr> read;
  module.walk([&](WeightOp op) { read.insert(op.getDataAttr().getAttr()); });
  for (auto data : llvm::make_early_inc_range(module.getOps<WeightDataOp>()))
    if (!read.contains(data.getSymNameAttr()))
      data.erase();

  // How a layer computes may have been the scheme's choice, and that it was
  // kept the scheme's fault.
  llvm::StringMap<Attribute> computes;
  model->walk([&](Compressible layer) {
    if (Attribute compute = layer->getAttr("compute"))
      computes[layer.getId()] = compute;
  });
  module.walk([&](Compressible layer) {
    layer->removeAttr(kKeptAttrName);
    if (Attribute compute = computes.lookup(layer.getId()))
      layer->setAttr("compute", compute);
  });
  return ExitCode::Success;
}
