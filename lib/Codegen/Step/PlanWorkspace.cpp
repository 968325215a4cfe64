//===- PlanWorkspace.cpp - All buffers of a step in one arena -------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Gives every buffer of a step a place in one arena. Time is counted in
/// barriers: between two of them any thread may be at any op, so two buffers
/// can share a place only if a barrier lies between the last use of one and the
/// first use of the other. Sizes are not known before run time; places are
/// therefore slots, each as large as the largest buffer that is ever in it, and
/// a buffer goes to the free slot that it fits best, by the text of its size.
/// The idea is register allocation by linear scan: Poletto and Sarkar, "Linear
/// Scan Register Allocation" (1999).
///
//===----------------------------------------------------------------------===//

#include "miura/Codegen/Step/Passes.h"
#include "miura/Codegen/Step/StepSignature.h"
#include "miura/Dialect/Miura/IR/MiuraDialect.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "mlir/Interfaces/ViewLikeInterface.h"
#include "llvm/ADT/StringMap.h"

namespace miura {
#define GEN_PASS_DEF_PLANWORKSPACEPASS
#include "miura/Codegen/Step/Passes.h.inc"
} // namespace miura

using namespace mlir;
using namespace miura;

/// A cache line, and the widest vector.
static constexpr int64_t kAlignment = 64;

namespace {

struct Buffer {
  memref::AllocOp alloc;
  int64_t first, last; ///< Intervals between barriers, inclusive.
  unsigned size = 0;   ///< Equal for sizes computed in the same way.
  unsigned slot = 0;
};

/// Copies computations of sizes to where only the step's arguments are known:
/// its entry, or the function that tells the arena's size.
class SizeBuilder {
public:
  SizeBuilder(OpBuilder &builder, std::function<Value(Value, int64_t)> getDim,
              std::function<Value(Value)> getArgument)
      : b(builder), getDim(std::move(getDim)),
        getArgument(std::move(getArgument)) {}

  /// `value`, an index or integer, as computed here; null if it depends on
  /// data.
  Value get(Value value) {
    if (Value known = mapping.lookupOrNull(value))
      return known;
    Value result = compute(value);
    if (result)
      mapping.map(value, result);
    return result;
  }

  /// The bytes of a buffer, rounded up to the alignment.
  Value getBytes(memref::AllocOp alloc) {
    MemRefType type = alloc.getType();
    int64_t fixed =
        type.getElementType().isIndex()
            ? 8
            : std::max<int64_t>(type.getElementTypeBitWidth() / 8, 1);
    for (int64_t size : type.getShape())
      if (!ShapedType::isDynamic(size))
        fixed *= size;
    Location loc = alloc.getLoc();
    Value bytes = arith::ConstantIndexOp::create(b, loc, fixed);
    for (Value size : alloc.getDynamicSizes()) {
      Value here = get(size);
      if (!here)
        return {};
      bytes = arith::MulIOp::create(b, loc, bytes, here);
    }
    Value up = arith::ConstantIndexOp::create(b, loc, kAlignment - 1);
    Value unit = arith::ConstantIndexOp::create(b, loc, kAlignment);
    bytes = arith::AddIOp::create(b, loc, bytes, up);
    bytes = arith::DivUIOp::create(b, loc, bytes, unit);
    return arith::MulIOp::create(b, loc, bytes, unit);
  }

private:
  /// A dimension of a buffer, from its definition.
  Value getSize(Value memref, int64_t d) {
    auto type = cast<MemRefType>(memref.getType());
    if (!type.isDynamicDim(d))
      return arith::ConstantIndexOp::create(b, memref.getLoc(),
                                            type.getDimSize(d));
    if (isa<BlockArgument>(memref))
      return getDim(memref, d);
    Operation *op = memref.getDefiningOp();
    unsigned dynamic = type.getDynamicDimIndex(d);
    if (auto alloc = dyn_cast<memref::AllocOp>(op))
      return get(alloc.getDynamicSizes()[dynamic]);
    if (auto view = dyn_cast<memref::ViewOp>(op))
      return get(view.getSizes()[dynamic]);
    if (auto cast = dyn_cast<memref::CastOp>(op))
      return getSize(cast.getSource(), d);
    if (auto expand = dyn_cast<memref::ExpandShapeOp>(op))
      return get(expand.getOutputShape()[dynamic]);
    if (auto collapse = dyn_cast<memref::CollapseShapeOp>(op)) {
      Value product;
      for (int64_t source : collapse.getReassociationIndices()[d]) {
        Value size = getSize(collapse.getSrc(), source);
        if (!size)
          return {};
        product = product
                      ? arith::MulIOp::create(b, memref.getLoc(), product, size)
                            .getResult()
                      : size;
      }
      return product;
    }
    if (auto view = dyn_cast<memref::SubViewOp>(op)) {
      // Dropped dimensions have size 1 and leave the others in order.
      llvm::SmallBitVector dropped = view.getDroppedDims();
      for (int64_t source = 0, kept = 0;
           source < static_cast<int64_t>(dropped.size()); ++source) {
        if (dropped[source])
          continue;
        if (kept++ != d)
          continue;
        OpFoldResult size = view.getMixedSizes()[source];
        if (auto value = dyn_cast<Value>(size))
          return get(value);
        return arith::ConstantIndexOp::create(b, memref.getLoc(),
                                              *getConstantIntValue(size));
      }
    }
    return {};
  }

  Value compute(Value value) {
    if (isa<BlockArgument>(value))
      return getArgument(value);
    Operation *op = value.getDefiningOp();
    if (auto dim = dyn_cast<memref::DimOp>(op)) {
      std::optional<int64_t> index = dim.getConstantIndex();
      return index ? getSize(dim.getSource(), *index) : Value();
    }
    if (!isMemoryEffectFree(op) || op->getNumRegions() != 0)
      return {};
    for (Value operand : op->getOperands())
      if (isa<ShapedType>(operand.getType()) || !get(operand))
        return {};
    IRMapping local;
    for (Value operand : op->getOperands())
      local.map(operand, get(operand));
    Operation *copy = b.clone(*op, local);
    return copy->getResult(cast<OpResult>(value).getResultNumber());
  }

  OpBuilder &b;
  std::function<Value(Value, int64_t)> getDim;
  std::function<Value(Value)> getArgument;
  IRMapping mapping;
};

} // namespace

/// The first and last interval in which a buffer or a view of it is used.
static void extend(Value memref, const DenseMap<Operation *, int64_t> &times,
                   Buffer &buffer) {
  for (Operation *user : memref.getUsers()) {
    int64_t time = times.lookup(user);
    if (auto view = dyn_cast<ViewLikeOpInterface>(user);
        view && view.getViewSource() == memref) {
      extend(view->getResult(0), times, buffer);
      continue;
    }
    if (isa<memref::DimOp>(user))
      continue;
    buffer.first = std::min(buffer.first, time);
    buffer.last = std::max(buffer.last, time);
  }
}

namespace {
/// Numbers that are equal for sizes computed in the same way. Each operation is
/// looked at once: written out, a size that shares its parts would be as long
/// as their number of uses multiplied.
class SizeNumbers {
public:
  unsigned get(Value value) {
    if (auto it = numbers.find(value); it != numbers.end())
      return it->second;
    std::string text;
    llvm::raw_string_ostream os(text);
    if (auto argument = dyn_cast<BlockArgument>(value)) {
      os << 'a' << argument.getArgNumber();
    } else {
      Operation *op = value.getDefiningOp();
      os << op->getName() << op->getAttrDictionary();
      for (Value operand : op->getOperands())
        os << ' ' << get(operand);
    }
    unsigned number = ways.try_emplace(text, ways.size()).first->second;
    numbers[value] = number;
    return number;
  }

private:
  DenseMap<Value, unsigned> numbers;
  llvm::StringMap<unsigned> ways;
};
} // namespace

/// What the sizes of a step's arguments are made of; the values are the places
/// of the workspace function's arguments.
enum class Axis { Batch, Sequence, Capacity };

static Axis getAxis(func::FuncOp step, Value argument, int64_t dim) {
  if (dim == 0)
    return Axis::Batch;
  auto role = step.getArgAttrOfType<RoleAttr>(
      cast<BlockArgument>(argument).getArgNumber(), kRoleAttrName);
  RoleKind kind = role ? role.getKind() : RoleKind::logits;
  bool isOfTokens = kind == RoleKind::tokens || kind == RoleKind::positions ||
                    kind == RoleKind::logits;
  return isOfTokens ? Axis::Sequence : Axis::Capacity;
}

static LogicalResult planWorkspace(func::FuncOp step) {
  Block &body = step.getBody().front();
  StepSignature signature(step);

  DenseMap<Operation *, int64_t> times;
  int64_t time = 0;
  SmallVector<Buffer> buffers;
  for (Operation &op : body) {
    if (auto call = dyn_cast<func::CallOp>(op);
        call && call.getCallee() == kBarrierName)
      ++time;
    times[&op] = time;
    if (auto alloc = dyn_cast<memref::AllocOp>(op))
      buffers.push_back({alloc, INT64_MAX, -1, {}});
  }
  for (Operation &op : llvm::make_early_inc_range(body))
    if (isa<memref::DeallocOp>(op))
      op.erase();

  OpBuilder b = OpBuilder::atBlockBegin(&body);
  Location loc = step.getLoc();
  // Batch, sequence and capacity are each read from one argument, so that equal
  // sizes have equal numbers.
  SizeBuilder sizes(
      b,
      [&](Value memref, int64_t dim) -> Value {
        if (isa<MemRefType>(memref.getType()) &&
            !cast<MemRefType>(memref.getType()).isDynamicDim(dim))
          return arith::ConstantIndexOp::create(
              b, loc, cast<MemRefType>(memref.getType()).getDimSize(dim));
        switch (getAxis(step, memref, dim)) {
        case Axis::Batch:
          return memref::DimOp::create(b, loc, signature.getTokens(), 0);
        case Axis::Sequence:
          return memref::DimOp::create(b, loc, signature.getTokens(), 1);
        case Axis::Capacity:
          return memref::DimOp::create(b, loc, signature.getPadding(), 1);
        }
        llvm_unreachable("unknown axis");
      },
      [&](Value argument) { return argument; });
  SizeNumbers numbers;
  SmallVector<Value> bytes;
  for (Buffer &buffer : buffers) {
    extend(buffer.alloc, times, buffer);
    if (buffer.last < 0)
      buffer.first = buffer.last = times.lookup(buffer.alloc);
    Value size = sizes.getBytes(buffer.alloc);
    if (!size)
      return buffer.alloc.emitError(
          "has a size that depends on data; a step's buffers must be sized by "
          "batch, sequence and capacity");
    buffer.size = numbers.get(size);
    bytes.push_back(size);
  }

  // Slots by linear scan over first uses.
  struct Slot {
    int64_t last = -1;
    llvm::SmallDenseSet<unsigned> sizes = {};
    SmallVector<unsigned> buffers;
  };
  SmallVector<Slot> slots;
  SmallVector<unsigned> order(buffers.size());
  std::iota(order.begin(), order.end(), 0);
  llvm::sort(order, [&](unsigned a, unsigned b) {
    return std::pair(buffers[a].first, a) < std::pair(buffers[b].first, b);
  });
  for (unsigned i : order) {
    Buffer &buffer = buffers[i];
    unsigned best = slots.size();
    for (auto [s, slot] : llvm::enumerate(slots)) {
      if (slot.last >= buffer.first)
        continue;
      if (slot.sizes.contains(buffer.size)) {
        best = s;
        break;
      }
    }
    // A slot of another size would grow or be wasted; a new one is as cheap
    // where sizes are few, as they are in a step of equal layers.
    if (best == slots.size())
      slots.emplace_back();
    slots[best].last = buffer.last;
    slots[best].sizes.insert(buffer.size);
    slots[best].buffers.push_back(i);
    buffer.slot = best;
  }

  // Offsets, as values at the entry; then views in place of allocations.
  auto addUp = [&](ArrayRef<Value> bytes, SmallVectorImpl<Value> *offsets) {
    Value end = arith::ConstantIndexOp::create(b, loc, 0);
    for (Slot &slot : slots) {
      if (offsets)
        offsets->push_back(end);
      Value size;
      llvm::SmallDenseSet<unsigned> seen = {};
      for (unsigned i : slot.buffers)
        if (seen.insert(buffers[i].size).second)
          size =
              size ? arith::MaxUIOp::create(b, loc, size, bytes[i]).getResult()
                   : bytes[i];
      end = arith::AddIOp::create(b, loc, end, size);
    }
    return end;
  };
  SmallVector<Value> offsets;
  addUp(bytes, &offsets);
  for (Buffer &buffer : buffers) {
    OpBuilder at(buffer.alloc);
    Value view = memref::ViewOp::create(
        at, buffer.alloc.getLoc(), buffer.alloc.getType(), signature.getArena(),
        offsets[buffer.slot], buffer.alloc.getDynamicSizes());
    buffer.alloc.replaceAllUsesWith(view);
  }

  // The same sum for the runtime.
  b.setInsertionPointAfter(step);
  Type index = b.getIndexType();
  auto workspace = func::FuncOp::create(
      b, loc, (step.getName() + "_workspace").str(),
      b.getFunctionType({index, index, index, index}, index));
  Block *entry = workspace.addEntryBlock();
  b.setInsertionPointToStart(entry);
  auto getDim = [&](Value memref, int64_t dim) -> Value {
    auto type = cast<MemRefType>(memref.getType());
    if (!type.isDynamicDim(dim))
      return arith::ConstantIndexOp::create(b, loc, type.getDimSize(dim));
    return entry->getArgument(
        static_cast<unsigned>(getAxis(step, memref, dim)));
  };
  SizeBuilder forRuntime(b, getDim, [&](Value argument) -> Value {
    return argument == signature.getThreads() ? entry->getArgument(3) : Value();
  });
  SmallVector<Value> runtimeBytes;
  for (Buffer &buffer : buffers) {
    runtimeBytes.push_back(forRuntime.getBytes(buffer.alloc));
    if (!runtimeBytes.back())
      return buffer.alloc.emitError("has a size that the runtime cannot know");
  }
  Value total = addUp(runtimeBytes, nullptr);
  func::ReturnOp::create(b, loc, total);
  for (Buffer &buffer : buffers)
    buffer.alloc.erase();
  return success();
}

namespace {

struct PlanWorkspace
    : public miura::impl::PlanWorkspacePassBase<PlanWorkspace> {
  void runOnOperation() override {
    for (func::FuncOp step : getSteps(getOperation()))
      if (failed(planWorkspace(step)))
        return signalPassFailure();
  }
};

} // namespace
