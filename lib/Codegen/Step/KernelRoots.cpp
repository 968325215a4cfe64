//===- KernelRoots.cpp - What kernels of each root take -------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// One small class per root: reads the region that `miura-form-kernels` built,
/// lays out the arguments and calls the schedule.
///
//===----------------------------------------------------------------------===//

#include "KernelRoots.h"
#include "miura/Codegen/CPU/Kernels.h"
#include "miura/Codegen/CPU/RowKernels.h"
#include "miura/Codegen/CPU/VectorKernels.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace miura;
using namespace miura::codegen;

//===----------------------------------------------------------------------===//
// Operands
//===----------------------------------------------------------------------===//

/// `memref<?x?xf32, strided<[?, 1], offset: ?>>`: leading dimensions flattened.
static Value asRows(OpBuilder &b, Value memref) {
  auto type = cast<MemRefType>(memref.getType());
  Location loc = memref.getLoc();
  if (type.getRank() > 2) {
    SmallVector<ReassociationIndices> groups(2);
    for (int64_t d = 0; d < type.getRank(); ++d)
      groups[d + 1 == type.getRank()].push_back(d);
    memref = memref::CollapseShapeOp::create(b, loc, memref, groups);
  }
  int64_t dynamic = ShapedType::kDynamic;
  auto rows = MemRefType::get(
      {dynamic, dynamic}, type.getElementType(),
      StridedLayoutAttr::get(b.getContext(), dynamic, {dynamic, 1}));
  return memref::CastOp::create(b, loc, rows, memref);
}

/// Sizes erased, but for the dimensions in `kept`; contiguous.
static Value asDynamic(OpBuilder &b, Value memref,
                       ArrayRef<int64_t> kept = {}) {
  auto type = cast<MemRefType>(memref.getType());
  SmallVector<int64_t> shape(type.getRank(), ShapedType::kDynamic);
  for (int64_t d : kept)
    shape[d] = type.getDimSize(d);
  auto erased = MemRefType::get(shape, type.getElementType(), type.getLayout(),
                                type.getMemorySpace());
  if (erased == type)
    return memref;
  return memref::CastOp::create(b, memref.getLoc(), erased, memref);
}

/// All dimensions in one.
static Value asVector(OpBuilder &b, Value memref) {
  auto type = cast<MemRefType>(memref.getType());
  if (type.getRank() > 1) {
    ReassociationIndices all;
    for (int64_t d = 0; d < type.getRank(); ++d)
      all.push_back(d);
    memref = memref::CollapseShapeOp::create(
        b, memref.getLoc(), memref, ArrayRef<ReassociationIndices>{all});
  }
  return asDynamic(b, memref);
}

/// The operand of the kernel that `value`, an argument of its region, is.
static Value getInput(KernelOp kernel, Value value) {
  return kernel.getInputs()[cast<BlockArgument>(value).getArgNumber()];
}

template <typename T> static T findOp(KernelOp kernel) {
  auto ops = kernel.getBody().front().getOps<T>();
  return ops.empty() ? T() : *ops.begin();
}

namespace {

using Operands = SmallVectorImpl<KernelOperand>;
using Create = llvm::function_ref<func::FuncOp(StringRef)>;

//===----------------------------------------------------------------------===//
// Linear
//===----------------------------------------------------------------------===//

class LinearRoot : public KernelRoot {
public:
  StringRef getName() const override { return "linear"; }
  bool matches(KernelOp kernel) const override {
    return static_cast<bool>(findOp<LinearOp>(kernel));
  }

  LogicalResult getOperands(OpBuilder &b, KernelOp kernel, const IsaRow &row,
                            Value threads, Operands &operands) const override {
    std::unique_ptr<LinearSpec> spec = analyzeLinear(kernel);
    auto size = kernel->getAttrOfType<DenseI64ArrayAttr>("miura.scratch");
    if (!spec || !size)
      return kernel.emitError("is a linear whose weights are not packed");
    Location loc = kernel.getLoc();
    auto input = [&](int i) { return kernel.getInputs()[i]; };
    Value x = asRows(b, input(spec->x));
    operands.push_back({x});
    for (const LinearLeaf &leaf : spec->leaves)
      operands.push_back({input(leaf.arguments.front())});
    if (spec->bias >= 0)
      operands.push_back({asDynamic(b, input(spec->bias))});
    if (spec->residual >= 0)
      operands.push_back({asRows(b, input(spec->residual))});
    if (spec->experts >= 0) {
      operands.push_back({asVector(b, input(spec->experts))});
      int64_t matrices =
          kernel->getAttrOfType<IntegerAttr>(kMatricesAttrName).getInt();
      operands.push_back({arith::ConstantIndexOp::create(b, loc, matrices)});
    }
    operands.push_back({asRows(b, kernel.getOutputs()[0]), true});
    // Scratch: fixed + rows · perRow.
    Value rows = memref::DimOp::create(b, loc, x, 0);
    Value bytes = arith::ConstantIndexOp::create(b, loc, size[0]);
    if (size[1] != 0) {
      // The sizes of rows in terms of the buffer before it was flattened, which
      // the workspace's plan understands.
      rows = arith::ConstantIndexOp::create(b, loc, 1);
      Value source = input(spec->x);
      for (int64_t d = 0; d + 1 < cast<MemRefType>(source.getType()).getRank();
           ++d)
        rows = arith::MulIOp::create(b, loc, rows,
                                     memref::DimOp::create(b, loc, source, d));
      Value perRow = arith::ConstantIndexOp::create(b, loc, size[1]);
      bytes = arith::AddIOp::create(
          b, loc, bytes, arith::MulIOp::create(b, loc, rows, perRow));
    }
    Value scratch = memref::AllocOp::create(
        b, loc, MemRefType::get({ShapedType::kDynamic}, b.getI8Type()), bytes);
    operands.push_back({scratch, true});
    return success();
  }

  FailureOr<func::FuncOp> emit(KernelOp kernel, const IsaRow &row,
                               Create create) const override {
    OpBuilder b(kernel.getContext());
    std::unique_ptr<LinearSpec> spec = analyzeLinear(kernel);
    int64_t mostRows = spec ? getSmallRows(*spec, row) : 0;
    // By how many rows each takes, which is known when the step runs.
    SmallVector<std::pair<func::FuncOp, int64_t>> choices;
    auto addChoice = [&](StringRef name, ShapeClass shape, int64_t rows) {
      choices.push_back({create(name), rows});
      return emitLinearKernel(b, choices.back().first, kernel, row, shape);
    };
    if (failed(addChoice("_decode", ShapeClass::Decode, 1)) ||
        (mostRows &&
         failed(addChoice("_small", ShapeClass::Small, mostRows))) ||
        (mostRows < INT64_MAX &&
         failed(addChoice("_tiled", ShapeClass::Tiled, INT64_MAX))))
      return failure();
    Location loc = kernel.getLoc();
    func::FuncOp decode = choices.front().first;
    b.setInsertionPoint(decode);
    StringRef name = decode.getName();
    name.consume_front("miura_kernel_");
    name.consume_back("_decode");
    auto select = func::FuncOp::create(b, loc, ("miura_select_" + name).str(),
                                       decode.getFunctionType());
    select.setPrivate();
    b.setInsertionPointToStart(select.addEntryBlock());
    Value rows = memref::DimOp::create(b, loc, select.getArgument(0), 0);
    auto ret = func::ReturnOp::create(b, loc);
    b.setInsertionPoint(ret);
    for (auto [choice, limit] : ArrayRef(choices).drop_back()) {
      Value most = arith::ConstantIndexOp::create(b, loc, limit);
      Value fits = arith::CmpIOp::create(b, loc,
                                         limit == 1 ? arith::CmpIPredicate::eq
                                                    : arith::CmpIPredicate::ule,
                                         rows, most);
      auto branch = scf::IfOp::create(b, loc, fits, /*withElseRegion=*/true);
      b.setInsertionPoint(branch.thenBlock()->getTerminator());
      func::CallOp::create(b, loc, choice, select.getArguments());
      b.setInsertionPoint(branch.elseBlock()->getTerminator());
    }
    func::CallOp::create(b, loc, choices.back().first, select.getArguments());
    return select;
  }
};

/// One schedule for any number of rows: each has a matrix of its own.
class ExpertLinearRoot : public LinearRoot {
public:
  StringRef getName() const override { return "expert_linear"; }
  bool matches(KernelOp kernel) const override {
    return static_cast<bool>(findOp<ExpertLinearOp>(kernel));
  }
  FailureOr<func::FuncOp> emit(KernelOp kernel, const IsaRow &row,
                               Create create) const override {
    OpBuilder b(kernel.getContext());
    func::FuncOp func = create("");
    if (failed(emitLinearKernel(b, func, kernel, row, ShapeClass::Small)))
      return failure();
    return func;
  }
};

//===----------------------------------------------------------------------===//
// Attention
//===----------------------------------------------------------------------===//

class AttentionRoot : public KernelRoot {
public:
  StringRef getName() const override { return "attention"; }
  bool matches(KernelOp kernel) const override {
    return static_cast<bool>(findOp<CachedAttentionOp>(kernel));
  }

  static AttentionSpec getSpec(KernelOp kernel) {
    auto op = findOp<CachedAttentionOp>(kernel);
    auto query = cast<RankedTensorType>(op.getQuery().getType());
    auto key = cast<RankedTensorType>(op.getKey().getType());
    auto value = cast<RankedTensorType>(op.getValue().getType());
    AttentionSpec spec;
    spec.heads = query.getDimSize(1);
    spec.kvHeads = key.getDimSize(1);
    spec.size = key.getDimSize(3);
    spec.valueSize = value.getDimSize(3);
    spec.scale = op.getScale().convertToDouble();
    spec.causal = op.getCausal();
    spec.window = op.getWindow();
    spec.softcap = op.getSoftcap().convertToDouble();
    spec.padding = static_cast<bool>(op.getPadding());
    if (std::optional<APFloat> hidden = op.getHidden())
      spec.hidden = hidden->convertToDouble();
    spec.hiddenOnce = op.getHiddenOnce();
    auto getRounding = [](std::optional<RoundingAttr> rounding) {
      std::optional<AttentionSpec::Rounding> result;
      if (rounding)
        result = {rounding->getLeast(), rounding->getGreatest()};
      return result;
    };
    spec.keyRounding = getRounding(op.getKeyRounding());
    spec.valueRounding = getRounding(op.getValueRounding());
    spec.scoreRounding = getRounding(op.getScoreRounding());
    spec.weightRounding = getRounding(op.getWeightRounding());
    spec.sinks = static_cast<bool>(op.getSinks());
    spec.mask = static_cast<bool>(op.getMask());
    if (spec.mask)
      for (unsigned d = 0; d < 4; ++d)
        spec.isShared[d] =
            cast<RankedTensorType>(op.getMask().getType()).getDimSize(d) == 1;
    return spec;
  }

  LogicalResult getOperands(OpBuilder &b, KernelOp kernel, const IsaRow &row,
                            Value threads, Operands &operands) const override {
    auto op = findOp<CachedAttentionOp>(kernel);
    auto split = op.getQuery().getDefiningOp<SplitHeadsOp>();
    AttentionSpec spec = getSpec(kernel);
    if (ShapedType::isDynamic(spec.heads) ||
        ShapedType::isDynamic(spec.kvHeads) ||
        ShapedType::isDynamic(spec.size) ||
        ShapedType::isDynamic(spec.valueSize))
      return kernel.emitError(
          "is an attention without a number and size of heads");
    Location loc = kernel.getLoc();
    Value query = getInput(kernel, split.getInput());
    Value key = getInput(kernel, op.getKey());
    operands.push_back({asDynamic(b, query, {2})});
    operands.push_back({asDynamic(b, key, {1, 3})});
    operands.push_back({asDynamic(b, getInput(kernel, op.getValue()), {1, 3})});
    operands.push_back({asDynamic(b, getInput(kernel, op.getLengths()))});
    if (op.getPadding())
      operands.push_back({asDynamic(b, getInput(kernel, op.getPadding()))});
    if (op.getMask())
      operands.push_back({asDynamic(b, getInput(kernel, op.getMask()))});
    if (op.getSinks())
      operands.push_back({asVector(b, getInput(kernel, op.getSinks()))});
    for (std::optional<RoundingAttr> rounding :
         {op.getKeyRounding(), op.getValueRounding(), op.getScoreRounding(),
          op.getWeightRounding()})
      if (rounding)
        for (double number : {rounding->getScale().getValueAsDouble(),
                              (double)rounding->getZero()})
          operands.push_back({arith::ConstantOp::create(
              b, loc, b.getF32FloatAttr((float)number))});
    operands.push_back({asDynamic(b, kernel.getOutputs()[0], {2}), true});
    auto dim = [&](Value memref, int64_t d) -> Value {
      return memref::DimOp::create(b, loc, memref, d);
    };
    Value bytes = emitAttentionScratchBytes(
        b, loc, spec, row, dim(query, 0), dim(query, 1), dim(key, 2), threads);
    Value scratch = memref::AllocOp::create(
        b, loc, MemRefType::get({ShapedType::kDynamic}, b.getI8Type()), bytes);
    operands.push_back({scratch, true});
    return success();
  }

  /// Scales and zeros are arguments.
  DictionaryAttr getKey(Operation *op) const override {
    NamedAttrList attributes(op->getAttrDictionary());
    for (NamedAttribute attribute : op->getAttrs())
      if (auto rounding = dyn_cast<RoundingAttr>(attribute.getValue()))
        attributes.set(attribute.getName(), TypeAttr::get(rounding.getCode()));
    return attributes.getDictionary(op->getContext());
  }

  FailureOr<func::FuncOp> emit(KernelOp kernel, const IsaRow &row,
                               Create create) const override {
    OpBuilder b(kernel.getContext());
    func::FuncOp func = create("");
    emitAttentionKernel(b, func, getSpec(kernel), row);
    return func;
  }
};

//===----------------------------------------------------------------------===//
// Rows
//===----------------------------------------------------------------------===//

/// The rotation in a kernel, or none.
static RopeSpec getRopeSpec(KernelOp kernel, Value heads) {
  RopeSpec spec;
  spec.size = cast<RankedTensorType>(heads.getType()).getDimSize(3);
  if (auto rope = findOp<RopeOp>(kernel)) {
    spec.rotated =
        cast<RankedTensorType>(rope.getCos().getType()).getDimSize(2);
    spec.interleaved = rope.getInterleaved();
  }
  return spec;
}

static void addTables(OpBuilder &b, KernelOp kernel, Operands &operands) {
  auto rope = findOp<RopeOp>(kernel);
  if (!rope)
    return;
  operands.push_back({asDynamic(b, getInput(kernel, rope.getCos()))});
  operands.push_back({asDynamic(b, getInput(kernel, rope.getSin()))});
}

class AppendRoot : public KernelRoot {
public:
  StringRef getName() const override { return "append"; }
  bool matches(KernelOp kernel) const override {
    return static_cast<bool>(findOp<CacheAppendOp>(kernel));
  }
  LogicalResult getOperands(OpBuilder &b, KernelOp kernel, const IsaRow &row,
                            Value threads, Operands &operands) const override {
    auto split = findOp<SplitHeadsOp>(kernel);
    if (!split)
      return kernel.emitError("expects an update that is split into heads");
    operands.push_back({asDynamic(b, getInput(kernel, split.getInput()))});
    addTables(b, kernel, operands);
    operands.push_back({asDynamic(
        b, getInput(kernel, findOp<CacheAppendOp>(kernel).getLengths()))});
    operands.push_back({asDynamic(b, kernel.getOutputs()[0]), true});
    return success();
  }
  FailureOr<func::FuncOp> emit(KernelOp kernel, const IsaRow &row,
                               Create create) const override {
    func::FuncOp func = create("");
    emitAppendKernel(
        func, row,
        getRopeSpec(kernel, findOp<SplitHeadsOp>(kernel).getResult()));
    return func;
  }
};

class RopeRoot : public KernelRoot {
public:
  StringRef getName() const override { return "rope"; }
  bool matches(KernelOp kernel) const override {
    return findOp<RopeOp>(kernel) && !findOp<CacheAppendOp>(kernel);
  }
  LogicalResult getOperands(OpBuilder &b, KernelOp kernel, const IsaRow &row,
                            Value threads, Operands &operands) const override {
    operands.push_back({asDynamic(
        b, getInput(kernel, findOp<SplitHeadsOp>(kernel).getInput()))});
    addTables(b, kernel, operands);
    operands.push_back({asDynamic(b, kernel.getOutputs()[0]), true});
    return success();
  }
  FailureOr<func::FuncOp> emit(KernelOp kernel, const IsaRow &row,
                               Create create) const override {
    func::FuncOp func = create("");
    emitRopeKernel(
        func, row,
        getRopeSpec(kernel, findOp<SplitHeadsOp>(kernel).getResult()));
    return func;
  }
};

class RmsNormRoot : public KernelRoot {
public:
  StringRef getName() const override { return "rms_norm"; }
  bool matches(KernelOp kernel) const override {
    return static_cast<bool>(findOp<RmsNormOp>(kernel));
  }
  LogicalResult getOperands(OpBuilder &b, KernelOp kernel, const IsaRow &row,
                            Value threads, Operands &operands) const override {
    auto norm = findOp<RmsNormOp>(kernel);
    operands.push_back({asRows(b, getInput(kernel, norm.getInput()))});
    operands.push_back({asDynamic(b, getInput(kernel, norm.getScale()))});
    operands.push_back({asRows(b, kernel.getOutputs()[0]), true});
    return success();
  }
  FailureOr<func::FuncOp> emit(KernelOp kernel, const IsaRow &row,
                               Create create) const override {
    func::FuncOp func = create("");
    emitRmsNormKernel(func, row,
                      findOp<RmsNormOp>(kernel).getEpsilon().convertToDouble());
    return func;
  }
};

class LayerNormRoot : public KernelRoot {
public:
  StringRef getName() const override { return "layer_norm"; }
  bool matches(KernelOp kernel) const override {
    return static_cast<bool>(findOp<LayerNormOp>(kernel));
  }
  LogicalResult getOperands(OpBuilder &b, KernelOp kernel, const IsaRow &row,
                            Value threads, Operands &operands) const override {
    auto norm = findOp<LayerNormOp>(kernel);
    operands.push_back({asRows(b, getInput(kernel, norm.getInput()))});
    operands.push_back({asDynamic(b, getInput(kernel, norm.getScale()))});
    if (norm.getBias())
      operands.push_back({asDynamic(b, getInput(kernel, norm.getBias()))});
    operands.push_back({asRows(b, kernel.getOutputs()[0]), true});
    return success();
  }
  FailureOr<func::FuncOp> emit(KernelOp kernel, const IsaRow &row,
                               Create create) const override {
    func::FuncOp func = create("");
    auto norm = findOp<LayerNormOp>(kernel);
    emitLayerNormKernel(func, row, norm.getEpsilon().convertToDouble(),
                        static_cast<bool>(norm.getBias()));
    return func;
  }
};

class SiluMulRoot : public KernelRoot {
public:
  StringRef getName() const override { return "silu_mul"; }
  bool matches(KernelOp kernel) const override {
    return static_cast<bool>(findOp<SiluOp>(kernel));
  }
  LogicalResult getOperands(OpBuilder &b, KernelOp kernel, const IsaRow &row,
                            Value threads, Operands &operands) const override {
    auto silu = findOp<SiluOp>(kernel);
    auto product = findOp<arith::MulFOp>(kernel);
    Value other = product.getLhs() == silu.getResult() ? product.getRhs()
                                                       : product.getLhs();
    operands.push_back({asRows(b, getInput(kernel, silu.getInput()))});
    operands.push_back({asRows(b, getInput(kernel, other))});
    operands.push_back({asRows(b, kernel.getOutputs()[0]), true});
    return success();
  }
  FailureOr<func::FuncOp> emit(KernelOp kernel, const IsaRow &row,
                               Create create) const override {
    func::FuncOp func = create("");
    emitSiluMulKernel(func, row);
    return func;
  }
};

class TakeLastRoot : public KernelRoot {
public:
  StringRef getName() const override { return "take_last"; }
  bool matches(KernelOp kernel) const override {
    return static_cast<bool>(findOp<TakeLastOp>(kernel));
  }
  LogicalResult getOperands(OpBuilder &b, KernelOp kernel, const IsaRow &row,
                            Value threads, Operands &operands) const override {
    auto last = findOp<TakeLastOp>(kernel);
    operands.push_back({asDynamic(b, getInput(kernel, last.getInput()))});
    operands.push_back({asDynamic(b, getInput(kernel, last.getCounts()))});
    operands.push_back({asDynamic(b, kernel.getOutputs()[0]), true});
    return success();
  }
  FailureOr<func::FuncOp> emit(KernelOp kernel, const IsaRow &row,
                               Create create) const override {
    func::FuncOp func = create("");
    emitTakeLastKernel(func, row);
    return func;
  }
};

class EmbeddingRoot : public KernelRoot {
public:
  StringRef getName() const override { return "embedding"; }
  bool matches(KernelOp kernel) const override {
    return static_cast<bool>(findOp<EmbeddingOp>(kernel));
  }
  static std::shared_ptr<PanelLeaf> getLeaf(KernelOp kernel) {
    return getPanelLeaf(findOp<EmbeddingOp>(kernel).getWeight());
  }
  LogicalResult getOperands(OpBuilder &b, KernelOp kernel, const IsaRow &row,
                            Value threads, Operands &operands) const override {
    auto embedding = findOp<EmbeddingOp>(kernel);
    std::shared_ptr<PanelLeaf> leaf = getLeaf(kernel);
    auto rows = kernel->getAttrOfType<IntegerAttr>("miura.rows");
    if (!leaf || !rows)
      return kernel.emitError("is an embedding whose weight is not packed");
    operands.push_back({asVector(b, getInput(kernel, embedding.getIndices()))});
    operands.push_back({getInput(kernel, leaf->getOperands().front())});
    operands.push_back(
        {arith::ConstantIndexOp::create(b, kernel.getLoc(), rows.getInt())});
    operands.push_back({asRows(b, kernel.getOutputs()[0]), true});
    return success();
  }
  FailureOr<func::FuncOp> emit(KernelOp kernel, const IsaRow &row,
                               Create create) const override {
    func::FuncOp func = create("");
    emitEmbeddingKernel(func, row, *getLeaf(kernel), /*groups=*/4);
    return func;
  }
};

} // namespace

const KernelRoot *miura::findKernelRoot(KernelOp kernel) {
  static const LinearRoot linear;
  static const ExpertLinearRoot experts;
  static const AttentionRoot attention;
  static const AppendRoot append;
  static const RopeRoot rope;
  static const RmsNormRoot norm;
  static const LayerNormRoot layerNorm;
  static const SiluMulRoot silu;
  static const TakeLastRoot last;
  static const EmbeddingRoot embedding;
  static const KernelRoot *const roots[] = {
      &linear, &experts,   &attention, &append, &rope,
      &norm,   &layerNorm, &silu,      &last,   &embedding};
  for (const KernelRoot *root : roots)
    if (root->matches(kernel))
      return root;
  return nullptr;
}
