//===- Report.cpp - What a model weighs -----------------------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Walks a module's layers and their expressions. A leaf is counted once,
/// however many expressions read it.
///
//===----------------------------------------------------------------------===//

#include "miura/Driver/Report.h"
#include "miura/Dialect/Miura/IR/LayerAttrs.h"
#include "miura/Dialect/Miura/IR/MiuraDialect.h"
#include "llvm/ADT/DenseSet.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/Format.h"

using namespace mlir;
using namespace miura;
using namespace miura::driver;

static std::string getTypeName(Type type) {
  std::string text;
  llvm::raw_string_ostream(text) << getElementTypeOrSelf(type);
  return text;
}

/// `/32`, `/row`, `/tensor`, or the block's sizes.
static std::string describeBlock(DequantizeOp op) {
  ArrayRef<int64_t> block = op.getBlock();
  if (llvm::all_of(block, [](int64_t size) { return size == 0; }))
    return "/tensor";
  if (llvm::all_of(block.drop_back(), [](int64_t size) { return size == 1; }))
    return block.back() == 0 ? "/row" : "/" + std::to_string(block.back());
  std::string text = "/";
  llvm::raw_string_ostream stream(text);
  llvm::interleave(block, stream, "x");
  return text;
}

/// `bitmap`, `2:4`, `block4x8`.
static std::string describePlaces(UnpruneOp op) {
  ArrayRef<int64_t> group = op.getGroup();
  if (op.getFormat() == "nm")
    return std::to_string(group[0]) + ":" + std::to_string(group[1]);
  if (op.getFormat() == "block")
    return "block" + std::to_string(group[0]) + "x" + std::to_string(group[1]);
  return op.getFormat().str();
}

std::string miura::driver::describeExpression(Value value) {
  Operation *op = value.getDefiningOp();
  if (!op || !isa<WeightExpression>(op) || isa<WeightOp>(op))
    return getTypeName(value.getType());
  // What only says how to read its operand has no name of its own.
  if (isa<ApproximateOp, TransposeOp, ConvertOp>(op))
    return describeExpression(op->getOperand(0));
  if (auto dequantize = dyn_cast<DequantizeOp>(op)) {
    auto codes = cast<RankedTensorType>(dequantize.getCodes().getType());
    std::string text = isa<FloatType>(codes.getElementType())
                           ? describeExpression(dequantize.getCodes())
                           : (dequantize.getIsUnsigned() ? "uint" : "int") +
                                 std::to_string(codes.getElementTypeBitWidth());
    text += describeBlock(dequantize);
    // Codes may be placed among zeros.
    if (auto placed = dequantize.getCodes().getDefiningOp<UnpruneOp>())
      if (!isa<FloatType>(codes.getElementType()))
        return describePlaces(placed) + "(" + text + ")";
    return text;
  }
  if (auto lookup = dyn_cast<LookupOp>(op))
    return "lookup" +
           std::to_string(lookup.getCodes().getType().getElementTypeBitWidth());
  if (auto placed = dyn_cast<UnpruneOp>(op))
    return describePlaces(placed) + "(" +
           describeExpression(placed.getValues()) + ")";
  std::string text = op->getName().stripDialect().str() + "(";
  for (auto [i, operand] : llvm::enumerate(op->getOperands()))
    text += (i == 0 ? "" : ", ") + describeExpression(operand);
  return text + ")";
}

namespace {
/// The leaves that were seen, so that each counts once.
struct Leaves {
  llvm::DenseSet<const void *> seen;
  int64_t bytes = 0;

  /// Whether `value`, a leaf, is new.
  bool insert(Value value) {
    Operation *op = value.getDefiningOp();
    const void *key = value.getAsOpaquePointer();
    if (auto weight = dyn_cast<WeightOp>(op))
      key = weight.getDataAttr().getAttr().getAsOpaquePointer();
    return seen.insert(key).second;
  }

  /// Adds the leaves below `value`; whether any was new.
  bool add(Value value) {
    Operation *op = value.getDefiningOp();
    auto type = dyn_cast<RankedTensorType>(value.getType());
    if (!op || !type)
      return false;
    if (isa<WeightOp>(op) || op->hasTrait<OpTrait::ConstantLike>()) {
      if (!insert(value))
        return false;
      bytes += getStoredBytes(type);
      return true;
    }
    bool any = false;
    if (isa<WeightExpression>(op))
      for (Value operand : op->getOperands())
        any |= add(operand);
    return any;
  }
};
} // namespace

/// What identifies the trained weight behind a layer's expression.
static const void *getWeightKey(Value value) {
  while (Operation *op = value.getDefiningOp()) {
    if (auto root = dyn_cast<ApproximateOp>(op))
      return root.getOriginalAttr().getAttr().getAsOpaquePointer();
    if (auto weight = dyn_cast<WeightOp>(op))
      return weight.getDataAttr().getAttr().getAsOpaquePointer();
    if (!isa<TransposeOp, ConvertOp>(op))
      break;
    value = op->getOperand(0);
  }
  return value.getAsOpaquePointer();
}

ModelReport miura::driver::makeReport(ModuleOp module,
                                      std::optional<int64_t> bytes) {
  ModelReport report;
  Leaves leaves;
  llvm::DenseMap<const void *, std::string> owners;
  module.walk([&](Compressible layer) {
    Value weight = layer.getWeightOperand().get();
    auto type = dyn_cast<RankedTensorType>(weight.getType());
    if (!type || !type.hasStaticShape() || !isWeightExpression(weight))
      return;
    LayerReport entry;
    entry.name = layer.getId().str();
    entry.path = getModulePath(layer).str();
    entry.scheme = describeExpression(weight);
    for (int64_t size : layer.getWeightShape())
      entry.shape.push_back(size);
    entry.bytes = getFileBytes(weight);
    if (int64_t count = type.getNumElements())
      entry.bits = 8.0 * (double)entry.bytes / (double)count;
    if (auto root = weight.getDefiningOp<ApproximateOp>())
      if (root.getCertificate())
        entry.error = root.getCertificate()->getValue().getValueAsDouble();
    if (auto reasons = layer->getAttrOfType<ArrayAttr>(kKeptAttrName))
      for (auto reason : reasons.getAsRange<StringAttr>())
        entry.kept.push_back(reason.str());
    std::string &owner = owners[getWeightKey(weight)];
    if (owner.empty()) {
      owner = entry.name;
      report.parameters += type.getNumElements();
    } else {
      entry.sharedWith = owner;
    }
    leaves.add(weight);
    report.layers.push_back(std::move(entry));
  });

  // Norms, biases and whatever else the model's ops take as numbers; the rest,
  // such as tables of rotary angles, takes bytes but was not trained.
  auto *dialect = module.getContext()->getLoadedDialect<MiuraDialect>();
  module.walk([&](Operation *op) {
    bool isModelOp = op->getDialect() == dialect && !isa<WeightExpression>(op);
    for (Value operand : op->getOperands()) {
      auto type = dyn_cast<RankedTensorType>(operand.getType());
      if (!type || !type.hasStaticShape() || !isWeightExpression(operand))
        continue;
      bool isNew = leaves.add(operand);
      if (isNew && isModelOp && isa<FloatType>(type.getElementType()) &&
          !isa<WeightExpression>(op))
        report.parameters += type.getNumElements();
    }
  });
  report.residentBytes = leaves.bytes;
  report.bytes = bytes.value_or(leaves.bytes);
  return report;
}

llvm::json::Object miura::driver::toJson(const ModelReport &report) {
  llvm::json::Array layers;
  for (const LayerReport &layer : report.layers) {
    llvm::json::Object object{{"name", layer.name},
                              {"scheme", layer.scheme},
                              {"shape", llvm::json::Array(layer.shape)},
                              {"bits", layer.bits},
                              {"bytes", layer.bytes},
                              {"error", nullptr}};
    if (layer.error)
      object["error"] = *layer.error;
    if (!layer.path.empty())
      object["path"] = layer.path;
    if (!layer.sharedWith.empty())
      object["shared_with"] = layer.sharedWith;
    if (!layer.kept.empty())
      object["kept"] = llvm::json::Array(layer.kept);
    layers.push_back(std::move(object));
  }
  return llvm::json::Object{{"bytes", report.bytes},
                            {"resident_bytes", report.residentBytes},
                            {"parameters", report.parameters},
                            {"bits_per_weight", report.getBitsPerWeight()},
                            {"layers", std::move(layers)}};
}

void miura::driver::printReport(const ModelReport &report,
                                llvm::raw_ostream &os) {
  size_t nameWidth = 5, schemeWidth = 6;
  for (const LayerReport &layer : report.layers) {
    nameWidth = std::max(nameWidth, layer.name.size());
    schemeWidth = std::max(schemeWidth, layer.scheme.size());
  }
  // A name that begins with the path says as much.
  auto saysMore = [](const LayerReport &layer) {
    return !layer.path.empty() &&
           !llvm::StringRef(layer.name).starts_with(layer.path);
  };
  os << llvm::left_justify("layer", nameWidth) << "  "
     << llvm::left_justify("scheme", schemeWidth)
     << "         shape    bits       bytes     error"
     << (llvm::any_of(report.layers, saysMore) ? "  module\n" : "\n");
  for (const LayerReport &layer : report.layers) {
    std::string shape;
    for (int64_t size : layer.shape)
      shape += (shape.empty() ? "" : "x") + std::to_string(size);
    os << llvm::left_justify(layer.name, nameWidth) << "  "
       << llvm::left_justify(layer.scheme, schemeWidth) << "  "
       << llvm::right_justify(shape, 12)
       << llvm::format("  %6.3f  %10lld", layer.bits, (long long)layer.bytes);
    if (layer.error)
      os << llvm::format("  %8.5f", *layer.error);
    if (saysMore(layer))
      os << (layer.error ? "  " : "            ") << layer.path;
    if (!layer.sharedWith.empty())
      os << "  (the weight of " << layer.sharedWith << ")";
    os << "\n";
    for (const std::string &reason : layer.kept)
      os << "  kept by " << reason << "\n";
  }
  os << llvm::format("\n%lld parameters in %lld bytes, %lld of them resident: "
                     "%.3f bits per weight\n",
                     (long long)report.parameters, (long long)report.bytes,
                     (long long)report.residentBytes,
                     report.getBitsPerWeight());
}
