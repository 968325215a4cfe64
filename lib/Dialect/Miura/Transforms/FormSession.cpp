//===- FormSession.cpp - From a model to steps over a cache ---------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Replaces the functional model by its session: caches of fixed capacity that
/// are updated in place, with a length per row. What the model must be like is
/// checked here op by op, since a step that silently meant something else would
/// only show in the text that it writes.
///
//===----------------------------------------------------------------------===//

#include "miura/Dialect/Miura/Transforms/Passes.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

namespace miura {
#define GEN_PASS_DEF_FORMSESSIONPASS
#include "miura/Dialect/Miura/Transforms/Passes.h.inc"
} // namespace miura

using namespace mlir;
using namespace miura;

namespace {

/// Forms the steps of one model.
class SessionBuilder {
public:
  explicit SessionBuilder(func::FuncOp model)
      : model(model), builder(model.getContext()) {}

  LogicalResult form();

private:
  /// What an attention reads, as it will be appended.
  struct Layer {
    AttentionOp attention;
    Value newKey, newValue;
  };

  LogicalResult readRoles();
  LogicalResult readLayers();
  LogicalResult checkMask(AttentionOp attention);
  LogicalResult checkPositions();
  LogicalResult checkCounts(AttentionOp attention);
  FailureOr<Value> getNewPart(AttentionOp attention, Value keys, RoleKind kind);
  func::FuncOp makeStep(StringRef name);
  LogicalResult rewriteStep(func::FuncOp step, bool lastOnly);

  RankedTensorType getCacheType(Value update) {
    auto type = cast<RankedTensorType>(update.getType());
    SmallVector<int64_t> shape(type.getShape());
    shape[0] = shape[2] = ShapedType::kDynamic;
    return RankedTensorType::get(shape, type.getElementType());
  }

  func::FuncOp model;
  OpBuilder builder;
  SmallVector<Layer> layers;
  BlockArgument tokens, positions, mask;
  /// Which result of the model is the logits.
  unsigned logits = 0;
};

} // namespace

static RoleKind getRole(func::FuncOp function, unsigned argument) {
  auto role = function.getArgAttrOfType<RoleAttr>(argument, kRoleAttrName);
  return role ? role.getKind() : RoleKind::other;
}

/// Of a file for texts of one length: what it lacks; empty for others.
static StringRef explainFixedLength(BlockArgument tokens) {
  auto type = tokens ? dyn_cast<RankedTensorType>(tokens.getType())
                     : RankedTensorType();
  if (!type || type.getRank() != 2 || type.isDynamicDim(1) ||
      type.getDimSize(1) == 1)
    return "";
  return "; the tokens have a fixed length, for which an exporter computes "
         "masks and positions in advance: export the model with a dynamic "
         "sequence";
}

/// Says what would have to exist for a model to have logits.
static LogicalResult describeMissingLogits(func::FuncOp model,
                                           BlockArgument tokens) {
  InFlightDiagnostic error = model.emitError(
      "has no result with the role of logits, which a session needs: ");
  SmallVector<OnnxNodeOp> kept;
  bool hasAttention = false, isCausal = true;
  model.walk([&](Operation *op) {
    if (auto attention = dyn_cast<AttentionOp>(op)) {
      hasAttention = true;
      isCausal &= attention.getCausal();
    }
    auto node = dyn_cast<OnnxNodeOp>(op);
    if (node && (node.getOpType() == "Softmax" ||
                 node.getOpType().contains("Attention")))
      kept.push_back(node);
  });
  if (!isCausal)
    return error << "its attention is not causal, as an encoder's is; only a "
                    "causal decoder can be run step by step";
  if (hasAttention)
    return error << "none of its results is over the vocabulary, so what it "
                    "gives are hidden states; export the model with its head";
  if (kept.empty())
    return error << "there is no attention in it; run miura-raise on a decoder";
  error << "node '" << kept.front().getNodeName() << "' ("
        << kept.front().getOpType() << ")";
  if (kept.size() > 1)
    error << ", like " << kept.size() - 1 << " more,";
  return error << " is no attention of a known form: its queries, keys and "
                  "values would have to be heads of linears or of a cache that "
                  "grows at its end, its masks causal, windows or padding"
               << explainFixedLength(tokens);
}

LogicalResult SessionBuilder::readRoles() {
  for (BlockArgument argument : model.getArguments()) {
    BlockArgument *place = nullptr;
    switch (getRole(model, argument.getArgNumber())) {
    case RoleKind::tokens:
      place = &tokens;
      break;
    case RoleKind::positions:
      place = &positions;
      break;
    case RoleKind::mask:
      place = &mask;
      break;
    default:
      continue;
    }
    if (*place)
      return model.emitError("expects one argument of a role, but arguments ")
             << place->getArgNumber() << " and " << argument.getArgNumber()
             << " have the same";
    *place = argument;
  }
  if (!tokens)
    return model.emitError("has no argument with the role of tokens, which a "
                           "session needs; run miura-raise on a decoder");
  std::optional<unsigned> found;
  for (unsigned i = 0; i < model.getNumResults(); ++i) {
    auto role = model.getResultAttrOfType<RoleAttr>(i, kRoleAttrName);
    if (role && role.getKind() == RoleKind::logits)
      found = i;
  }
  if (!found)
    return describeMissingLogits(model, tokens);
  logits = *found;
  return success();
}

/// The new keys or values of what an attention reads: all of it where there is
/// no past.
FailureOr<Value> SessionBuilder::getNewPart(AttentionOp attention, Value keys,
                                            RoleKind kind) {
  auto concat = keys.getDefiningOp<tensor::ConcatOp>();
  if (!concat) {
    if (isa<BlockArgument>(keys))
      return attention.emitOpError("reads an argument as its keys or values; a "
                                   "session needs to know which are new");
    return keys;
  }
  // Codes are numbers in a session's cache.
  Value first = concat.getInputs().front();
  if (auto decoded = first.getDefiningOp<arith::SIToFPOp>())
    first = decoded.getIn();
  auto past = dyn_cast<BlockArgument>(first);
  if (concat.getDim() != 2 || concat.getInputs().size() != 2 || !past ||
      getRole(model, past.getArgNumber()) != kind)
    return attention.emitOpError(
        "expects its keys and values to be a past, which is an argument with "
        "the role of a cache, and the new ones behind it");
  return concat.getInputs()[1];
}

LogicalResult SessionBuilder::readLayers() {
  WalkResult result = model.walk([&](AttentionOp attention) -> WalkResult {
    if (failed(checkMask(attention)) || failed(checkCounts(attention)))
      return WalkResult::interrupt();
    if (!attention.getCausal())
      return attention.emitOpError("is not causal; only a causal decoder can "
                                   "be run step by step");
    if (Value padding = attention.getPadding()) {
      while (Operation *op = padding.getDefiningOp()) {
        if (!op->hasTrait<OpTrait::Elementwise>() || op->getNumOperands() != 1)
          break;
        padding = op->getOperand(0);
      }
      if (padding != mask)
        return attention.emitOpError("has a padding that is not the argument "
                                     "with the role of the mask");
    }
    auto key = getNewPart(attention, attention.getKey(), RoleKind::cache_key);
    if (failed(key))
      return WalkResult::interrupt();
    auto value =
        getNewPart(attention, attention.getValue(), RoleKind::cache_value);
    if (failed(value))
      return WalkResult::interrupt();
    layers.push_back({attention, *key, *value});
    return WalkResult::advance();
  });
  if (result.wasInterrupted())
    return failure();
  if (layers.empty())
    return model.emitError("has no miura.attention; a session needs a decoder");
  return checkPositions();
}

/// A mask that a session can compute over the slots of its cache: one that
/// says of every key the same to all queries, and is computed from nothing but
/// the argument with the role of the mask.
LogicalResult SessionBuilder::checkMask(AttentionOp attention) {
  Value value = attention.getMask();
  if (!value)
    return success();
  auto type = cast<RankedTensorType>(value.getType());
  bool good = type.getDimSize(2) == 1 && type.getElementType().isF32();
  walkElementSources(value, [&](Value source) {
    auto argument = dyn_cast<BlockArgument>(source);
    if ((argument && argument != mask) || source.getDefiningOp<PositionsOp>())
      good = false;
  });
  if (!good)
    return attention.emitOpError("has a mask that is not in closed form "
                                 "(causal, window, padding); a session "
                                 "cannot give it for a cache")
           << explainFixedLength(tokens);
  return success();
}

/// Whatever depends on where a token stands must get it from the session, not
/// from the length of this step's input.
LogicalResult SessionBuilder::checkPositions() {
  auto check = [&](Operation *op, Value value, bool orTokens) -> LogicalResult {
    bool found = false;
    walkElementSources(value, [&](Value source) {
      found |= (positions && source == positions) ||
               (orTokens && source == tokens) ||
               isa_and_nonnull<PositionsOp, TakeNewOp>(source.getDefiningOp());
    });
    if (found)
      return success();
    return op->emitOpError("depends on positions that are computed from the "
                           "input in a way that a session does not have; "
                           "export the model with position_ids")
           << explainFixedLength(tokens);
  };
  WalkResult result = model.walk([&](Operation *op) -> WalkResult {
    if (auto rope = dyn_cast<RopeOp>(op))
      return check(op, rope.getCos(), false);
    if (auto embedding = dyn_cast<EmbeddingOp>(op))
      return check(op, embedding.getIndices(), true);
    return WalkResult::advance();
  });
  return failure(result.wasInterrupted());
}

/// The same for what scales or shifts heads beside a rotation: up to the
/// linears that give them, nothing may count this step's tokens.
LogicalResult SessionBuilder::checkCounts(AttentionOp attention) {
  SmallVector<Value> open(attention->getOperands().take_front(3));
  SmallPtrSet<Operation *, 16> seen;
  while (!open.empty()) {
    Operation *op = open.pop_back_val().getDefiningOp();
    auto node = dyn_cast_or_null<OnnxNodeOp>(op);
    if (!op || !seen.insert(op).second || isa<tensor::DimOp>(op) ||
        (isa<MiuraDialect>(op->getDialect()) && !node))
      continue;
    auto type = dyn_cast<ShapedType>(op->getResult(0).getType());
    if (node && node.hasStandardDomain() && node.getOpType() == "Range" &&
        type && !type.hasStaticShape())
      return node.emitOpError("counts the input's tokens for an attention, "
                              "where a session has more before them; export "
                              "the model with position_ids");
    llvm::append_range(open, op->getOperands());
  }
  return success();
}

/// A copy of the model with the arguments of a session in front of its own.
func::FuncOp SessionBuilder::makeStep(StringRef name) {
  auto i64 = builder.getI64Type();
  int64_t dynamic = ShapedType::kDynamic;
  SmallVector<std::pair<Type, RoleAttr>> arguments;
  auto add = [&](Type type, RoleKind kind, int64_t layer = -1) {
    arguments.push_back(
        {type, RoleAttr::get(builder.getContext(), kind, layer)});
  };
  auto matrix = RankedTensorType::get({dynamic, dynamic}, i64);
  auto vector = RankedTensorType::get({dynamic}, i64);
  add(matrix, RoleKind::tokens);
  add(matrix, RoleKind::positions);
  add(RankedTensorType::get({dynamic, dynamic}, builder.getI8Type()),
      RoleKind::mask);
  add(vector, RoleKind::lengths);
  add(vector, RoleKind::counts);
  for (auto [i, layer] : llvm::enumerate(layers)) {
    add(getCacheType(layer.newKey), RoleKind::cache_key, i);
    add(getCacheType(layer.newValue), RoleKind::cache_value, i);
  }
  builder.setInsertionPoint(model);
  func::FuncOp step = model.clone();
  builder.insert(step);
  step.setName(name);
  // What passes noted of a layer is not for kernels, which would differ by it.
  step.walk([](Compressible layer) {
    for (NamedAttribute note : llvm::to_vector(layer->getDiscardableAttrs()))
      layer->removeDiscardableAttr(note.getName());
  });
  step->setAttr(kSessionAttrName, builder.getUnitAttr());
  Block &body = step.getBody().front();
  SmallVector<DictionaryAttr> attributes;
  for (auto [i, argument] : llvm::enumerate(arguments)) {
    body.insertArgument(i, argument.first, step.getLoc());
    attributes.push_back(builder.getDictionaryAttr(
        builder.getNamedAttr(kRoleAttrName, argument.second)));
  }
  for (unsigned i = 0; i < model.getNumArguments(); ++i)
    attributes.push_back(builder.getDictionaryAttr({}));
  step.setFunctionType(
      builder.getFunctionType(body.getArgumentTypes(), step.getResultTypes()));
  step.setAllArgAttrs(attributes);
  return step;
}

/// How a result of the function that is `value` is rounded; null if it is not.
static RoundingAttr getRoundingOfResult(Value value) {
  for (Operation *user : value.getUsers())
    if (auto rounded = dyn_cast<FakeQuantizeOp>(user))
      if (llvm::any_of(rounded->getUsers(), [](Operation *next) {
            return next->hasTrait<OpTrait::ReturnLike>();
          }))
        return rounded.getRounding();
  return {};
}

/// `value` with the element type and static sizes of `type`.
static Value convertTo(OpBuilder &builder, Location loc, Value value,
                       Type type) {
  auto from = cast<RankedTensorType>(value.getType());
  auto to = cast<RankedTensorType>(type);
  Type middle = from.clone(to.getElementType());
  unsigned width = from.getElementTypeBitWidth();
  if (isa<FloatType>(to.getElementType()))
    value = arith::UIToFPOp::create(builder, loc, middle, value);
  else if (width > to.getElementTypeBitWidth())
    value = arith::TruncIOp::create(builder, loc, middle, value);
  else if (width < to.getElementTypeBitWidth())
    value = arith::ExtUIOp::create(builder, loc, middle, value);
  if (value.getType() != to)
    value = tensor::CastOp::create(builder, loc, to, value);
  return value;
}

LogicalResult SessionBuilder::rewriteStep(func::FuncOp step, bool lastOnly) {
  Block &body = step.getBody().front();
  unsigned added = body.getNumArguments() - model.getNumArguments();
  auto argument = [&](unsigned i) { return body.getArgument(i); };
  Value padding = argument(2), lengths = argument(3), counts = argument(4);
  builder.setInsertionPointToStart(&body);
  for (auto [old, place] : {std::pair{tokens, 0u}, {positions, 1u}})
    if (old) {
      Value from = body.getArgument(added + old.getArgNumber());
      from.replaceAllUsesWith(
          convertTo(builder, step.getLoc(), argument(place), from.getType()));
    }

  step.walk([&](PositionsOp op) {
    builder.setInsertionPoint(op);
    op.replaceAllUsesWith(
        convertTo(builder, op.getLoc(), argument(1), op.getType()));
    op.erase();
  });
  step.walk([&](TakeNewOp op) { op.getLengthsMutable().assign(lengths); });
  // Caches are equally long, so one bias serves all layers.
  step.walk([&](LinearBiasOp op) {
    Value cache = argument(5);
    builder.setInsertionPoint(op);
    SmallVector<int64_t> shape(op.getResult().getType().getShape());
    shape.back() = cast<RankedTensorType>(cache.getType()).getDimSize(2);
    auto bias = LinearBiasOp::create(builder, op.getLoc(),
                                     op.getResult().getType().clone(shape),
                                     cache, op.getSlopesAttr());
    op.replaceAllUsesWith(bias.getResult());
    op.erase();
  });

  // The layers of the copy, in the order of the model's.
  SmallVector<AttentionOp> attentions;
  step.walk([&](AttentionOp op) { attentions.push_back(op); });
  SmallVector<Value> caches;
  for (auto [i, attention] : llvm::enumerate(attentions)) {
    builder.setInsertionPoint(attention);
    Location loc = attention.getLoc();
    auto append = [&](Value keys, BlockArgument cache) -> Value {
      if (auto concat = keys.getDefiningOp<tensor::ConcatOp>()) {
        // A cache that leaves the model rounded is kept so: what comes back as
        // a past has been rounded already.
        RoundingAttr rounding = getRoundingOfResult(concat);
        keys = concat.getInputs()[1];
        if (rounding)
          keys = FakeQuantizeOp::create(builder, loc, keys, rounding);
      }
      auto type = cast<RankedTensorType>(cache.getType());
      Value result =
          CacheAppendOp::create(builder, loc, type, keys, lengths, cache);
      caches.push_back(result);
      return result;
    };
    Value key = append(attention.getKey(), body.getArgument(5 + 2 * i));
    Value value = append(attention.getValue(), body.getArgument(6 + 2 * i));
    auto cached = CachedAttentionOp::create(
        builder, loc, attention.getResult().getType(), attention.getQuery(),
        key, value, lengths, attention.getMask(),
        attention.getPadding() ? padding : Value(), attention.getSinks(),
        attention.getScaleAttr(), attention.getCausalAttr(),
        attention.getWindowAttr(), attention.getSoftcapAttr(),
        attention.getHiddenAttr(), attention.getHiddenOnceAttr(),
        attention.getKeyRoundingAttr(), attention.getValueRoundingAttr(),
        attention.getScoreRoundingAttr(), attention.getWeightRoundingAttr());
    attention.replaceAllUsesWith(cached.getResult());
    attention.erase();
  }

  // What is left of the mask's uses says something of every slot of the cache.
  if (mask) {
    Value old = body.getArgument(added + mask.getArgNumber());
    auto type = cast<RankedTensorType>(old.getType());
    if (!old.use_empty()) {
      builder.setInsertionPointToStart(&body);
      old.replaceAllUsesWith(convertTo(builder, step.getLoc(), padding, type));
    }
  }

  // Logits and caches are the results, all else goes.
  auto ret = cast<func::ReturnOp>(body.getTerminator());
  builder.setInsertionPoint(ret);
  Value result = ret.getOperand(logits);
  auto type = dyn_cast<RankedTensorType>(result.getType());
  if (!type || type.getRank() != 3)
    return step.emitError(
               "expects logits of batch x sequence x vocabulary, but got ")
           << result.getType();
  if (lastOnly) {
    // The same for both steps; noted once.
    auto module = step->getParentOfType<ModuleOp>();
    std::optional<int64_t> limit = getContextLimit(step, argument(1), padding);
    if (limit && !module->hasAttr(kContextAttrName))
      module->setAttr(kContextAttrName, builder.getI64IntegerAttr(*limit));
    auto last = RankedTensorType::get(
        {type.getDimSize(0), 1, type.getDimSize(2)}, type.getElementType());
    result = TakeLastOp::create(builder, step.getLoc(), last, result, counts);
  }
  SmallVector<Value> results{result};
  llvm::append_range(results, caches);
  SmallVector<DictionaryAttr> attributes{
      builder.getDictionaryAttr(builder.getNamedAttr(
          kRoleAttrName,
          RoleAttr::get(builder.getContext(), RoleKind::logits, -1)))};
  for (unsigned i = 0; i < caches.size(); ++i)
    attributes.push_back(step.getArgAttrDict(5 + i));
  func::ReturnOp::create(builder, step.getLoc(), results);
  ret.erase();
  step.setFunctionType(builder.getFunctionType(body.getArgumentTypes(),
                                               ValueRange(results).getTypes()));
  step.setAllResultAttrs(attributes);

  RewritePatternSet patterns(builder.getContext());
  populateSinkTakeLastPatterns(patterns);
  // A sweep may only get past an op whose other user died in the one before; a
  // take_last moves up each time, so this ends.
  GreedyRewriteConfig config;
  config.setMaxIterations(GreedyRewriteConfig::kNoLimit);
  if (failed(applyPatternsGreedily(step, std::move(patterns), config)))
    return step.emitError("did not come to rest");

  // What the old arguments served must be gone now.
  for (unsigned i = added; i < body.getNumArguments(); ++i)
    for (Operation *user : body.getArgument(i).getUsers())
      return user->emitOpError("uses argument ")
             << i - added << " of the model ("
             << stringifyRoleKind(getRole(model, i - added))
             << ") in a way that a session does not have";
  body.eraseArguments(added, body.getNumArguments() - added);
  SmallVector<DictionaryAttr> kept;
  for (unsigned i = 0; i < added; ++i)
    kept.push_back(step.getArgAttrDict(i));
  step.setFunctionType(
      builder.getFunctionType(body.getArgumentTypes(), step.getResultTypes()));
  step.setAllArgAttrs(kept);
  return success();
}

LogicalResult SessionBuilder::form() {
  if (!llvm::hasSingleElement(model.getBody()))
    return model.emitError("expects a model without control flow");
  if (failed(readRoles()) || failed(readLayers()))
    return failure();
  for (auto [name, lastOnly] : {std::pair{"step_all", false}, {"step", true}})
    if (failed(rewriteStep(makeStep(name), lastOnly)))
      return failure();
  model.erase();
  return success();
}

namespace {

struct FormSession : public miura::impl::FormSessionPassBase<FormSession> {
  void runOnOperation() override {
    SmallVector<func::FuncOp> models;
    for (auto function : getOperation().getOps<func::FuncOp>())
      for (unsigned i = 0; i < function.getNumArguments(); ++i)
        if (getRole(function, i) == RoleKind::tokens &&
            !function->hasAttr(kSessionAttrName)) {
          models.push_back(function);
          break;
        }
    if (models.empty()) {
      getOperation().emitError(
          "is no decoder that runs token by token: no function has an argument "
          "with the role of tokens, which miura-raise gives to a decoder's; "
          "encoders, encoder-decoders and other models run with 'miura run "
          "--reference'");
      return signalPassFailure();
    }
    if (models.size() > 1) {
      getOperation().emitError("expects one decoder, but ")
          << models.size()
          << " functions have an argument with the role of tokens";
      return signalPassFailure();
    }
    if (failed(SessionBuilder(models.front()).form()))
      signalPassFailure();
  }
};

} // namespace
