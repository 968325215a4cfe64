//===- RaisePass.cpp - From the onnx level to the model level -------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The pass miura-raise: the order of its phases, what they share, the first
/// phase, which turns encodings into attributes and inferred sizes into types,
/// and the last one, which drops what has no use left and says what stayed.
///
//===----------------------------------------------------------------------===//

#include "Raiser.h"
#include "miura/Conversion/ONNXToMiura/Passes.h"
#include "miura/Dialect/Miura/IR/LayerAttrs.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Matchers.h"

using namespace mlir;
using namespace miura;
using namespace miura::symbolic;

namespace miura {
#define GEN_PASS_DEF_RAISEPASS
#include "miura/Conversion/ONNXToMiura/Passes.h.inc"
} // namespace miura

//===----------------------------------------------------------------------===//
// What the phases share
//===----------------------------------------------------------------------===//

void Raiser::forEachNode(llvm::function_ref<void(OnnxNodeOp)> f) {
  // What only nodes without use need has no use either.
  Block &body = func.getBody().front();
  DenseSet<Operation *> live;
  SmallVector<OnnxNodeOp> nodes;
  for (Operation &op : llvm::reverse(body)) {
    bool used = op.hasTrait<OpTrait::IsTerminator>();
    for (Operation *user : op.getUsers())
      used |= live.contains(body.findAncestorOpInBlock(*user));
    if (!used)
      continue;
    live.insert(&op);
    // Without types nothing can be said of a node.
    auto isTyped = [](Type type) {
      return isa<RankedTensorType, AbsentType>(type);
    };
    auto node = dyn_cast<OnnxNodeOp>(op);
    if (node && node.getNumRegions() == 0 &&
        llvm::all_of(node.getOperandTypes(), isTyped) &&
        llvm::all_of(node.getResultTypes(), isTyped))
      nodes.push_back(node);
  }
  for (OnnxNodeOp op : llvm::reverse(nodes))
    if (!op->use_empty())
      f(op);
}

RankedTensorType Raiser::getType(const Shape &shape, Type elementType) {
  SmallVector<int64_t> sizes;
  for (Expr e : shape) {
    std::optional<int64_t> k = getInteger(e);
    sizes.push_back(k && *k >= 0 ? *k : ShapedType::kDynamic);
  }
  return RankedTensorType::get(sizes, elementType);
}

void Raiser::replace(Value from, Value to) {
  if (const Shape *shape = analysis.getShape(from);
      shape && isa<RankedTensorType>(to.getType()))
    if (shape->size() == size_t(cast<RankedTensorType>(to.getType()).getRank()))
      analysis.setShape(to, *shape);
  from.replaceAllUsesWith(to);
}

bool Raiser::isStored(Value value) {
  Operation *op = value ? value.getDefiningOp() : nullptr;
  return isa_and_nonnull<WeightOp, arith::ConstantOp>(op);
}

OnnxNodeOp Raiser::getOnlyUser(Value value) {
  // A node that lost its uses is still there until the end.
  OpOperand *only = nullptr;
  for (OpOperand &use : value.getUses()) {
    auto node = dyn_cast<OnnxNodeOp>(use.getOwner());
    if (node && node->use_empty())
      continue;
    if (only)
      return {};
    only = &use;
  }
  return only ? dyn_cast<OnnxNodeOp>(only->getOwner()) : OnnxNodeOp();
}

Value Raiser::getOther(OnnxNodeOp op, Value other) {
  if (op.getNumOperands() != 2)
    return {};
  return getInput(op, 0) == other ? getInput(op, 1) : getInput(op, 0);
}

Value Raiser::skipFloatCasts(Value value) {
  while (OnnxNodeOp cast = getNode(value, "Cast")) {
    Value source = getInput(cast, 0);
    if (!isa<FloatType>(getElementTypeOrSelf(source.getType())) ||
        !isa<FloatType>(getElementTypeOrSelf(value.getType())))
      break;
    value = source;
  }
  return value;
}

std::string Raiser::readPath(OnnxNodeOp op) {
  StringRef path = getModulePath(op);
  if (!path.empty())
    return path.str();
  StringRef name = op.getNodeName();
  if (!name.consume_front("/") || !name.contains('/'))
    return "";
  std::string result = name.rsplit('/').first.str();
  llvm::replace(result, '/', '.');
  return result;
}

StringAttr Raiser::makeId(Value weight, OnnxNodeOp use) {
  std::string name;
  if (auto op = weight.getDefiningOp<WeightOp>())
    name = op.getData().str();
  else if (auto given = weight.getDefiningOp()
                            ? weight.getDefiningOp()->getAttrOfType<StringAttr>(
                                  kNameAttrName)
                            : StringAttr())
    name = given.str();
  else
    name = use.getNodeName().str();
  if (name.empty())
    name = use.getOpType().str();
  std::string id = name;
  // Another use of the weight is known by its node.
  if (ids.contains(id) && !use.getNodeName().empty())
    id = (name + "@" + use.getNodeName()).str();
  for (unsigned i = 1; !ids.insert(id).second; ++i)
    id = name + "@" + std::to_string(i);
  if (std::string path = readPath(use); !path.empty())
    paths[id] = std::move(path);
  return builder.getStringAttr(id);
}

//===----------------------------------------------------------------------===//
// First and last
//===----------------------------------------------------------------------===//

static Type stripEncoding(Type type) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  return tensor && tensor.getEncoding()
             ? RankedTensorType::get(tensor.getShape(), tensor.getElementType())
             : type;
}

void Raiser::readTypes() {
  Block &body = func.getBody().front();
  auto getDims = [](Type type) {
    auto tensor = dyn_cast<RankedTensorType>(type);
    return tensor ? dyn_cast_or_null<DimsAttr>(tensor.getEncoding())
                  : DimsAttr();
  };
  for (BlockArgument arg : body.getArguments())
    if (DimsAttr dims = getDims(arg.getType()))
      func.setArgAttr(arg.getArgNumber(), kDimsAttrName, dims);
  for (auto [i, type] : llvm::enumerate(func.getResultTypes()))
    if (DimsAttr dims = getDims(type))
      func.setResultAttr(i, kDimsAttrName, dims);

  // Sizes are read off the encodings before these go; a size may be written as
  // a name that is a number.
  for (BlockArgument arg : body.getArguments())
    if (isa<RankedTensorType>(arg.getType()))
      arg.setType(getType(*analysis.getShape(arg),
                          getElementTypeOrSelf(arg.getType())));
  for (OnnxNodeOp op : body.getOps<OnnxNodeOp>()) {
    for (Value result : op.getResults()) {
      if (!isa<TensorType>(result.getType()))
        continue;
      Type elementType = getElementTypeOrSelf(result.getType());
      if (const Shape *shape = analysis.getShape(result))
        result.setType(getType(*shape, elementType));
    }
  }
  func.walk([](Block *block) {
    for (BlockArgument arg : block->getArguments())
      arg.setType(stripEncoding(arg.getType()));
    for (Operation &op : *block)
      for (Value result : op.getResults())
        result.setType(stripEncoding(result.getType()));
  });
}

void Raiser::raiseConstants() {
  for (OnnxNodeOp op : llvm::make_early_inc_range(
           func.getBody().front().getOps<OnnxNodeOp>())) {
    if (op.getNumResults() == 0)
      continue;
    builder.setInsertionPoint(op);
    Value result = op.getResult(0);
    if (isNode(op, "Constant")) {
      auto type = dyn_cast<RankedTensorType>(result.getType());
      DictionaryAttr attributes = op.getOnnxAttributes();
      TypedAttr value = attributes.getAs<DenseElementsAttr>("value");
      if (auto v = attributes.getAs<IntegerAttr>("value_int"))
        value = DenseElementsAttr::get(
            RankedTensorType::get({}, builder.getI64Type()),
            v.getValue().getSExtValue());
      if (auto v = attributes.getAs<FloatAttr>("value_float"))
        value = DenseElementsAttr::get(
            RankedTensorType::get({}, builder.getF32Type()),
            float(v.getValueAsDouble()));
      if (std::optional<SmallVector<int64_t>> v = getInts(op, "value_ints"))
        value = DenseElementsAttr::get(
            RankedTensorType::get({int64_t(v->size())}, builder.getI64Type()),
            ArrayRef<int64_t>(*v));
      if (value && type && value.getType() == type)
        replace(result, arith::ConstantOp::create(builder, op.getLoc(), value));
      continue;
    }
    bool same = isNode(op, "Identity") ||
                (isNode(op, "Dropout") && !getInput(op, 2)) ||
                (isNode(op, "Concat") && op.getNumOperands() == 1);
    if (isNode(op, "Cast") || isNode(op, "CastLike"))
      same = getElementTypeOrSelf(getInput(op, 0).getType()) ==
             getElementTypeOrSelf(result.getType());
    // Before types are read the file may leave them open.
    if (same && (getInput(op, 0).getType() == result.getType() ||
                 !isa<RankedTensorType>(result.getType())))
      replace(result, getInput(op, 0));
  }
}

void Raiser::foldPlaces(OnnxNodeOp op) {
  auto type = dyn_cast<RankedTensorType>(op.getResult(0).getType());
  if (!isNode(op, "NonZero") || !type || !type.hasStaticShape() ||
      type.getNumElements() > 1 << 16)
    return;
  SmallVector<int64_t> places;
  for (int64_t row = 0; row < type.getDimSize(0); ++row)
    for (int64_t i = 0; i < type.getDimSize(1); ++i) {
      Expr at[] = {context.integer(row), context.integer(i)};
      std::optional<int64_t> k =
          getInteger(analysis.getElement(op.getResult(0), at));
      if (!k)
        return;
      places.push_back(*k);
    }
  builder.setInsertionPoint(op);
  replace(op.getResult(0),
          arith::ConstantOp::create(
              builder, op.getLoc(),
              DenseElementsAttr::get(type, ArrayRef<int64_t>(places))));
}

void Raiser::expandFused() {
  forEachNode([&](OnnxNodeOp op) {
    (void)(expandAttention(op) || expandEinsum(op) || expandQuantized(op));
  });
  forEachNode([&](OnnxNodeOp op) { decodeBeforeMoves(op); });
}

void Raiser::setFunctionType() {
  func.setType(FunctionType::get(
      func.getContext(), func.getBody().front().getArgumentTypes(),
      func.getBody().front().getTerminator()->getOperandTypes()));
}

void Raiser::finish() {
  Block &body = func.getBody().front();
  for (Operation &op : llvm::make_early_inc_range(llvm::reverse(body)))
    if (op.use_empty() && (isa<OnnxNodeOp>(op) || isMemoryEffectFree(&op)) &&
        !op.hasTrait<OpTrait::IsTerminator>())
      op.erase();

  setFunctionType();
  func.walk([&](Compressible use) {
    if (auto path = paths.find(use.getId()); path != paths.end())
      use->setAttr(kPathAttrName, builder.getStringAttr(path->second));
  });
  func.walk([](OnnxNodeOp op) {
    if (isa<OnnxNodeOp>(op->getParentOp()))
      return; // said of the node that holds it
    op.emitRemark("node '")
        << op.getNodeName() << "' (" << op.getOpType()
        << ") is kept as a node of the file: no model op was found for it";
  });
}

LogicalResult Raiser::run() {
  // Sizes are computed from constants; casts to the same type are known by
  // types.
  raiseConstants();
  readTables();
  analysis.learnEqualSizes(func.getBody().front());
  readTypes();
  raiseConstants();
  raiseScatters();
  expandFused();
  // Products and norms first: what they make is opaque to the analysis, which
  // keeps the expressions of rotations and masks small.
  raiseStoredCodes();
  raiseRoundings();
  raiseExpertLoops();
  raiseLinears();
  // What a node contradicts is said once; later phases would only add that
  // they miss its result.
  if (hasFailed) {
    setFunctionType();
    return failure();
  }
  raiseExperts();
  raiseNorms();
  raiseActivations();
  raiseCaches();
  // An attention asks for rotated heads, so rotations come before.
  raiseRopes();
  raisePositions();
  raiseAttentions();
  raiseViews();
  raiseSizes();
  raiseElementwise();
  if (hasFailed) {
    setFunctionType();
    return failure();
  }
  setRoles();
  finish();
  return success();
}

namespace {
struct RaisePass : public miura::impl::RaisePassBase<RaisePass> {
  void runOnOperation() override {
    ModuleOp module = getOperation();
    for (auto func : module.getOps<func::FuncOp>()) {
      if (func.isExternal())
        continue;
      if (!func.getBody().hasOneBlock())
        continue;
      if (failed(Raiser(module, func).run())) {
        // What is at fault is the file, so the module is left in order.
        Block &body = func.getBody().front();
        func.setType(
            FunctionType::get(func.getContext(), body.getArgumentTypes(),
                              body.getTerminator()->getOperandTypes()));
        return signalPassFailure();
      }
    }
  }
};
} // namespace
