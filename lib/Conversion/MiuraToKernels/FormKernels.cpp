//===- FormKernels.cpp - Gather roots and neighbours into kernels ---------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Makes a `miura.kernel` around every root op of a step, with the ops that are
/// fused with it. A group is found by walking from the root to its neighbours;
/// one function then builds the kernel of any group. Types in the region are
/// erased to `?`, so that a kernel's text does not depend on a layer's sizes.
///
//===----------------------------------------------------------------------===//

#include "miura/Conversion/MiuraToKernels/Passes.h"
#include "miura/Dialect/Miura/IR/LayerAttrs.h"
#include "miura/Dialect/Miura/IR/MiuraDialect.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/IRMapping.h"
#include "llvm/ADT/SetVector.h"

namespace miura {
#define GEN_PASS_DEF_FORMKERNELSPASS
#include "miura/Conversion/MiuraToKernels/Passes.h.inc"
} // namespace miura

using namespace mlir;
using namespace miura;

namespace {

/// The ops of a kernel in program order; the last one's result is what it
/// stores.
struct Group {
  SmallVector<Operation *> ops;
  /// The value that the result is written over (a cache), or null.
  Value destination;
  /// The result's dynamic sizes, by dimension of `shaped`: the result's
  /// dimension d has the size of dimension `sizes[d].second` of the value
  /// `sizes[d].first`.
  SmallVector<std::pair<Value, int64_t>> sizes;
  /// Whether numbers and sizes of heads stay in the region's types.
  bool keepHeads = false;
};

/// The two sides of an addition or a product of tensors of one type.
struct Binary {
  Value lhs, rhs;
};

} // namespace

/// One op uses it; as a destination too, perhaps, which elementwise ops on
/// tensors name for its shape.
static bool hasOneUser(Value value) {
  return !value.use_empty() && llvm::all_equal(value.getUsers());
}

/// `op` as the elementwise `arith` op `T` on tensors, spelled as the op itself
/// or as a linalg.generic with identity maps.
template <typename T> static std::optional<Binary> matchBinary(Operation *op) {
  if (auto binary = dyn_cast<T>(op)) {
    if (isa<RankedTensorType>(binary.getType()))
      return Binary{binary.getLhs(), binary.getRhs()};
    return std::nullopt;
  }
  auto generic = dyn_cast<linalg::GenericOp>(op);
  if (!generic || generic.getNumDpsInputs() != 2 ||
      generic.getNumDpsInits() != 1 || op->getNumResults() != 1 ||
      generic.getNumParallelLoops() != generic.getNumLoops())
    return std::nullopt;
  for (AffineMap map : generic.getIndexingMapsArray())
    if (!map.isIdentity())
      return std::nullopt;
  Block *body = generic.getBody();
  auto yield = cast<linalg::YieldOp>(body->getTerminator());
  auto binary = yield.getValues()[0].template getDefiningOp<T>();
  if (!binary || &body->front() != binary.getOperation() ||
      binary->getNextNode() != yield.getOperation())
    return std::nullopt;
  Value lhs = generic.getDpsInputs()[0], rhs = generic.getDpsInputs()[1];
  if (lhs.getType() != op->getResult(0).getType() ||
      rhs.getType() != op->getResult(0).getType())
    return std::nullopt;
  if (binary.getLhs() == body->getArgument(0) &&
      binary.getRhs() == body->getArgument(1))
    return Binary{lhs, rhs};
  if (binary.getLhs() == body->getArgument(1) &&
      binary.getRhs() == body->getArgument(0))
    return Binary{rhs, lhs};
  return std::nullopt;
}

/// Adds the expression of a weight in program order, without the
/// `miura.weight`s at its leaves: those are the kernel's operands.
static void addExpression(Value weight, llvm::SetVector<Operation *> &ops) {
  Operation *op = weight.getDefiningOp();
  if (!op || !isa<WeightExpression>(op) || isa<WeightOp>(op))
    return;
  for (Value operand : op->getOperands())
    addExpression(operand, ops);
  ops.insert(op);
}

/// Adds the `split_heads` (and `rope`) before a [batch, heads, sequence, size]
/// value, if nothing else uses what stands between. Returns the value before.
static Value addHeads(Value heads, bool withRope,
                      SmallVectorImpl<Operation *> &ops) {
  Value from = heads;
  SmallVector<Operation *> found;
  if (auto rope = from.getDefiningOp<RopeOp>();
      rope && withRope && hasOneUser(from)) {
    found.push_back(rope);
    from = rope.getInput();
  }
  if (auto split = from.getDefiningOp<SplitHeadsOp>();
      split && hasOneUser(from)) {
    found.push_back(split);
    from = split.getInput();
  }
  ops.append(found.rbegin(), found.rend());
  return from;
}

/// The sizes of a result that has the shape of `value`.
static SmallVector<std::pair<Value, int64_t>> sizesOf(Value value) {
  SmallVector<std::pair<Value, int64_t>> sizes;
  for (int64_t d = 0, e = cast<RankedTensorType>(value.getType()).getRank();
       d < e; ++d)
    sizes.push_back({value, d});
  return sizes;
}

/// The kernel whose root is `op`, or nothing.
static std::optional<Group> formGroup(Operation *op) {
  Group group;
  if (auto linear = dyn_cast<LinearOp>(op)) {
    llvm::SetVector<Operation *> expression;
    addExpression(linear.getWeight(), expression);
    group.ops.append(expression.begin(), expression.end());
    group.ops.push_back(op);
    group.sizes = sizesOf(linear.getInput());
    Value result = linear.getResult();
    if (hasOneUser(result)) {
      Operation *user = *result.user_begin();
      if (auto add = matchBinary<arith::AddFOp>(user);
          add && add->lhs != add->rhs &&
          add->lhs.getType() == add->rhs.getType())
        group.ops.push_back(user);
    }
    return group;
  }
  if (auto linear = dyn_cast<ExpertLinearOp>(op)) {
    llvm::SetVector<Operation *> expression;
    addExpression(linear.getWeight(), expression);
    group.ops.append(expression.begin(), expression.end());
    group.ops.push_back(op);
    group.sizes = sizesOf(linear.getInput());
    return group;
  }
  if (auto attention = dyn_cast<CachedAttentionOp>(op)) {
    // What queries give that see nothing is not rounded by the kernel.
    if (attention.hasRounding() && attention.getHidden())
      return std::nullopt;
    // The kernel takes and stores [batch, sequence, heads · size].
    Value from = addHeads(attention.getQuery(), /*withRope=*/false, group.ops);
    if (group.ops.empty() || !hasOneUser(attention.getResult()))
      return std::nullopt;
    auto merge = dyn_cast<MergeHeadsOp>(*attention->user_begin());
    if (!merge)
      return std::nullopt;
    group.ops.push_back(op);
    group.ops.push_back(merge);
    group.keepHeads = true;
    group.sizes = {{from, 0}, {from, 1}, {Value(), 0}};
    return group;
  }
  if (auto append = dyn_cast<CacheAppendOp>(op)) {
    addHeads(append.getUpdate(), /*withRope=*/true, group.ops);
    if (group.ops.empty())
      return std::nullopt;
    group.ops.push_back(op);
    group.keepHeads = true;
    group.destination = append.getCache();
    return group;
  }
  if (auto merge = dyn_cast<MergeHeadsOp>(op)) {
    // What separateHeads leaves: split, rope, merge.
    auto rope = merge.getInput().getDefiningOp<RopeOp>();
    if (!rope || !hasOneUser(rope))
      return std::nullopt;
    Value from = addHeads(rope, /*withRope=*/true, group.ops);
    if (group.ops.size() != 2)
      return std::nullopt;
    group.ops.push_back(op);
    group.keepHeads = true;
    group.sizes = {{from, 0}, {from, 1}, {Value(), 0}};
    return group;
  }
  if (isa<RmsNormOp, LayerNormOp>(op)) {
    group.ops.push_back(op);
    group.sizes = sizesOf(op->getOperand(0));
    return group;
  }
  if (auto embedding = dyn_cast<EmbeddingOp>(op)) {
    llvm::SetVector<Operation *> expression;
    addExpression(embedding.getWeight(), expression);
    group.ops.append(expression.begin(), expression.end());
    group.ops.push_back(op);
    group.sizes = sizesOf(embedding.getIndices());
    group.sizes.push_back({Value(), 0});
    return group;
  }
  if (auto last = dyn_cast<TakeLastOp>(op)) {
    if (last.getInput().getType().getRank() != 3)
      return std::nullopt;
    group.ops.push_back(op);
    group.sizes = sizesOf(last.getInput());
    return group;
  }
  if (auto silu = dyn_cast<SiluOp>(op)) {
    if (!hasOneUser(silu.getResult()) || silu.getAlpha().convertToDouble() != 1)
      return std::nullopt;
    Operation *user = *silu->user_begin();
    auto product = matchBinary<arith::MulFOp>(user);
    if (!product)
      return std::nullopt;
    group.ops = {op, user};
    group.sizes = sizesOf(silu.getInput());
    return group;
  }
  return std::nullopt;
}

/// A value's type with its sizes erased. Where heads are kept, rank-4 values
/// keep their number and size, which the schedules of attention need, and cos
/// and sin the number of rotated entries; [batch, sequence, heads · size]
/// values do not.
static Type eraseSizes(Value value, const Group &group) {
  auto tensor = dyn_cast<RankedTensorType>(value.getType());
  if (!tensor || tensor.getRank() == 0)
    return value.getType();
  SmallVector<int64_t> shape(tensor.getRank(), ShapedType::kDynamic);
  if (group.keepHeads && tensor.getRank() == 4) {
    shape[1] = tensor.getDimSize(1);
    shape[3] = tensor.getDimSize(3);
  }
  // A mask is shared by what its sizes of 1 say.
  if (llvm::any_of(value.getUsers(), [&](Operation *user) {
        auto attention = dyn_cast<CachedAttentionOp>(user);
        return attention && value == attention.getMask();
      }))
    for (auto [size, known] : llvm::zip_equal(shape, tensor.getShape()))
      size = known == 1 ? 1 : ShapedType::kDynamic;
  if (llvm::any_of(value.getUsers(), [&](Operation *user) {
        auto rope = dyn_cast<RopeOp>(user);
        return rope && value != rope.getInput();
      }))
    shape.back() = tensor.getShape().back();
  return RankedTensorType::get(shape, tensor.getElementType());
}

/// Whether what a kernel computes on is f32, as schedules are; weights and
/// their parts may be of any type.
static bool isF32(const Group &group) {
  auto isOther = [](Type type) {
    auto tensor = dyn_cast<RankedTensorType>(type);
    return tensor && isa<FloatType>(tensor.getElementType()) &&
           !tensor.getElementType().isF32();
  };
  for (Operation *op : group.ops) {
    if (isa<WeightExpression>(op))
      continue;
    if (isOther(op->getResult(0).getType()))
      return false;
    for (Value operand : op->getOperands())
      if (isOther(operand.getType()) && !isWeightExpression(operand))
        return false;
  }
  return true;
}

static void buildKernel(const Group &group) {
  Operation *last = group.ops.back();
  OpBuilder builder(last);
  Location loc = group.ops.back()->getLoc();
  for (Operation *op : group.ops)
    if (isa<LinearOp, ExpertLinearOp>(op))
      loc = op->getLoc();

  llvm::SmallPtrSet<Operation *, 8> inside(group.ops.begin(), group.ops.end());
  llvm::SetVector<Value> inputs;
  for (Operation *op : group.ops)
    for (Value operand : isa<linalg::GenericOp>(op)
                             ? ValueRange(op->getOperands()).drop_back()
                             : ValueRange(op->getOperands()))
      if (!operand.getDefiningOp() || !inside.contains(operand.getDefiningOp()))
        inputs.insert(operand);

  auto resultType = cast<RankedTensorType>(last->getResult(0).getType());
  Value destination = group.destination;
  if (!destination) {
    SmallVector<Value> sizes;
    for (int64_t d = 0; d < resultType.getRank(); ++d)
      if (resultType.isDynamicDim(d))
        sizes.push_back(tensor::DimOp::create(
            builder, loc, group.sizes[d].first, group.sizes[d].second));
    destination = tensor::EmptyOp::create(builder, loc, resultType, sizes);
  }

  auto kernel = KernelOp::create(builder, loc, TypeRange(resultType),
                                 inputs.getArrayRef(), ValueRange(destination));
  Block *body = &kernel.getBody().emplaceBlock();
  IRMapping mapping;
  for (Value input : inputs)
    mapping.map(input, body->addArgument(eraseSizes(input, group), loc));
  OpBuilder inner = OpBuilder::atBlockEnd(body);
  for (Operation *op : group.ops) {
    Value result = op->getResult(0), copied;
    // A certificate is of a weight, not of how it is computed.
    if (auto approximate = dyn_cast<ApproximateOp>(op)) {
      mapping.map(result, mapping.lookup(approximate.getExpression()));
      continue;
    }
    Type type = eraseSizes(result, group);
    if (auto add = matchBinary<arith::AddFOp>(op)) {
      copied = arith::AddFOp::create(inner, loc, mapping.lookup(add->lhs),
                                     mapping.lookup(add->rhs));
    } else if (auto product = matchBinary<arith::MulFOp>(op)) {
      copied = arith::MulFOp::create(inner, loc, mapping.lookup(product->lhs),
                                     mapping.lookup(product->rhs));
    } else {
      Operation *copy = inner.clone(*op, mapping);
      copy->getResult(0).setType(type);
      // What tells uses apart must not tell kernels apart; it is kept for
      // messages.
      if (auto use = dyn_cast<Compressible>(copy)) {
        kernel->setAttr("miura.id", inner.getStringAttr(use.getId()));
        copy->removeDiscardableAttr(kPathAttrName);
        copy->removeDiscardableAttr(kKeptAttrName);
      }
      if (auto linear = dyn_cast<LinearOp>(copy))
        linear.setId("");
      if (auto linear = dyn_cast<ExpertLinearOp>(copy))
        linear.setId("");
      if (auto embedding = dyn_cast<EmbeddingOp>(copy))
        embedding.setId("");
      copied = copy->getResult(0);
    }
    mapping.map(result, copied);
  }
  KernelYieldOp::create(inner, loc, mapping.lookup(last->getResult(0)));
  last->getResult(0).replaceAllUsesWith(kernel.getResult(0));
  for (Operation *op : llvm::reverse(group.ops))
    if (op->use_empty())
      op->erase();
}

namespace {

/// `heads`, [batch, heads, sequence, size], merged.
Value mergeHeads(OpBuilder &b, Location loc, Value heads) {
  auto type = cast<RankedTensorType>(heads.getType());
  int64_t number = type.getDimSize(1), size = type.getDimSize(3);
  bool isKnown = !type.isDynamicDim(1) && !type.isDynamicDim(3);
  auto merged =
      RankedTensorType::get({type.getDimSize(0), type.getDimSize(2),
                             isKnown ? number * size : ShapedType::kDynamic},
                            type.getElementType());
  return MergeHeadsOp::create(b, loc, merged, heads);
}

/// Whether `heads` comes from a `split_heads` (through a `rope`, if allowed)
/// that nothing else uses.
bool isSplit(Value heads, bool withRope) {
  if (!hasOneUser(heads))
    return false;
  if (auto rope = heads.getDefiningOp<RopeOp>())
    return withRope && isSplit(rope.getInput(), /*withRope=*/false);
  return heads.getDefiningOp<SplitHeadsOp>() != nullptr;
}

/// Puts a merge and a split before a value with heads, unless it is split from
/// one without just before; the two are where a kernel ends and the next
/// begins.
void separate(Operation *op, OpOperand &operand, bool withRope) {
  Value heads = operand.get();
  if (isSplit(heads, withRope))
    return;
  OpBuilder b(op);
  operand.set(SplitHeadsOp::create(b, op->getLoc(), heads.getType(),
                                   mergeHeads(b, op->getLoc(), heads)));
}

/// Kernels of attention and caches work on [batch, sequence, heads · size]:
/// makes values of this form where the model has others, as between a query's
/// rope and its attention, or where a norm follows the split.
void separateHeads(func::FuncOp function) {
  function.walk([](Operation *op) {
    if (auto attention = dyn_cast<CachedAttentionOp>(op)) {
      separate(op, attention.getQueryMutable(), /*withRope=*/false);
      Value result = attention.getResult();
      if (!hasOneUser(result) || !isa<MergeHeadsOp>(*result.user_begin())) {
        OpBuilder b(op->getContext());
        b.setInsertionPointAfter(op);
        Value merged = mergeHeads(b, op->getLoc(), result);
        Value split =
            SplitHeadsOp::create(b, op->getLoc(), result.getType(), merged);
        result.replaceAllUsesExcept(split, merged.getDefiningOp());
      }
    } else if (auto append = dyn_cast<CacheAppendOp>(op)) {
      separate(op, append.getUpdateMutable(), /*withRope=*/true);
    }
  });
}

struct FormKernels : public miura::impl::FormKernelsPassBase<FormKernels> {
  void runOnOperation() override {
    for (auto function : getOperation().getOps<func::FuncOp>()) {
      if (!function->hasAttr(kSessionAttrName) || function.isExternal())
        continue;
      separateHeads(function);
      SmallVector<Operation *> roots;
      function.walk([&](Operation *op) {
        if (isa<LinearOp, ExpertLinearOp, CachedAttentionOp, CacheAppendOp,
                RmsNormOp, LayerNormOp, EmbeddingOp, TakeLastOp, SiluOp,
                MergeHeadsOp>(op) &&
            !op->getParentOfType<KernelOp>())
          roots.push_back(op);
      });
      // A root that another has taken along is no root any more.
      DenseSet<Operation *> taken;
      for (Operation *root : roots) {
        if (taken.contains(root))
          continue;
        std::optional<Group> group = formGroup(root);
        if (!group || !isF32(*group))
          continue;
        taken.insert(group->ops.begin(), group->ops.end());
        buildKernel(*group);
      }
    }
  }
};

} // namespace
