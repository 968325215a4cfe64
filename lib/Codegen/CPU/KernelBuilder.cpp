//===- KernelBuilder.cpp - Emitting kernel IR -----------------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Index arithmetic folds constants here, so that schedules written for any
/// size leave no arithmetic behind where a size is known.
///
//===----------------------------------------------------------------------===//

#include "miura/Codegen/CPU/KernelBuilder.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace miura::codegen;

//===----------------------------------------------------------------------===//
// Types and constants
//===----------------------------------------------------------------------===//

VectorType KernelBuilder::floats() {
  return VectorType::get({(int64_t)row.lanes()}, getF32Type());
}
VectorType KernelBuilder::ints() {
  return VectorType::get({(int64_t)row.lanes()}, getI32Type());
}
VectorType KernelBuilder::bytes() {
  return VectorType::get({(int64_t)row.vectorBytes}, getI8Type());
}

Value KernelBuilder::index(int64_t value) {
  return arith::ConstantIndexOp::create(*this, value);
}
Value KernelBuilder::i32(int32_t value) {
  return arith::ConstantOp::create(*this, getI32IntegerAttr(value));
}
Value KernelBuilder::f32(float value) {
  return arith::ConstantOp::create(*this, getF32FloatAttr(value));
}
Value KernelBuilder::zeroFloats() {
  return arith::ConstantOp::create(*this, getZeroAttr(floats()));
}
Value KernelBuilder::splatInts(int32_t value) {
  return arith::ConstantOp::create(
      *this, DenseElementsAttr::get(ints(), getI32IntegerAttr(value)));
}
Value KernelBuilder::splatBytes(uint8_t value) {
  return arith::ConstantOp::create(
      *this, DenseElementsAttr::get(
                 bytes(), getIntegerAttr(getI8Type(), (int8_t)value)));
}

//===----------------------------------------------------------------------===//
// Index arithmetic
//===----------------------------------------------------------------------===//

static std::optional<int64_t> known(Value value) {
  return getConstantIntValue(value);
}

Value KernelBuilder::add(Value a, Value b) {
  auto ca = known(a), cb = known(b);
  if (ca && cb)
    return index(*ca + *cb);
  if (ca && *ca == 0)
    return b;
  if (cb && *cb == 0)
    return a;
  return arith::AddIOp::create(*this, a, b);
}
Value KernelBuilder::add(Value a, int64_t b) {
  return b == 0 ? a : add(a, index(b));
}
Value KernelBuilder::sub(Value a, Value b) {
  auto ca = known(a), cb = known(b);
  if (ca && cb)
    return index(*ca - *cb);
  if (cb && *cb == 0)
    return a;
  return arith::SubIOp::create(*this, a, b);
}
Value KernelBuilder::mul(Value a, Value b) {
  auto ca = known(a), cb = known(b);
  if (ca && cb)
    return index(*ca * *cb);
  if ((ca && *ca == 0) || (cb && *cb == 1))
    return a;
  if ((cb && *cb == 0) || (ca && *ca == 1))
    return b;
  return arith::MulIOp::create(*this, a, b);
}
Value KernelBuilder::mul(Value a, int64_t b) { return mul(a, index(b)); }
Value KernelBuilder::div(Value a, Value b) {
  auto ca = known(a), cb = known(b);
  if (ca && cb && *cb != 0)
    return index(*ca / *cb);
  if (cb && *cb == 1)
    return a;
  return arith::DivUIOp::create(*this, a, b);
}
Value KernelBuilder::div(Value a, int64_t b) { return div(a, index(b)); }
Value KernelBuilder::rem(Value a, int64_t b) {
  if (b == 1)
    return index(0);
  if (auto ca = known(a))
    return index(*ca % b);
  return arith::RemUIOp::create(*this, a, index(b));
}
Value KernelBuilder::ceilDiv(Value a, int64_t b) {
  return div(add(a, b - 1), b);
}
Value KernelBuilder::min(Value a, Value b) {
  auto ca = known(a), cb = known(b);
  if (ca && cb)
    return index(std::min(*ca, *cb));
  return arith::MinSIOp::create(*this, a, b);
}
Value KernelBuilder::less(Value a, Value b) {
  return arith::CmpIOp::create(*this, arith::CmpIPredicate::slt, a, b);
}
Value KernelBuilder::equal(Value a, int64_t b) {
  return arith::CmpIOp::create(*this, arith::CmpIPredicate::eq, a, index(b));
}
Value KernelBuilder::select(Value condition, Value a, Value b) {
  return arith::SelectOp::create(*this, condition, a, b);
}

std::pair<Value, Value> KernelBuilder::split(Value count, Value tid,
                                             Value nthreads) {
  Value begin = div(mul(count, tid), nthreads);
  Value end = div(mul(count, add(tid, 1)), nthreads);
  return {begin, end};
}

//===----------------------------------------------------------------------===//
// Loads and stores
//===----------------------------------------------------------------------===//

Value KernelBuilder::bitcast(Value vector, VectorType as) {
  return vector.getType() == as ? vector
                                : vector::BitCastOp::create(*this, as, vector);
}
Value KernelBuilder::loadBytes(Value memory, Value offset, unsigned count) {
  return vector::LoadOp::create(
      *this, VectorType::get({(int64_t)count}, getI8Type()), memory, offset);
}
Value KernelBuilder::loadRegister(Value memory, Value offset, VectorType as) {
  return bitcast(loadBytes(memory, offset, row.vectorBytes), as);
}
Value KernelBuilder::loadHalves(Value memory, Value offset) {
  Value raw = loadBytes(memory, offset, 2 * row.lanes());
  auto halves = VectorType::get({(int64_t)row.lanes()}, getF16Type());
  return row.widenHalf(*this, bitcast(raw, halves));
}
Value KernelBuilder::loadBits(Value memory, Value offset, unsigned bits) {
  auto one = VectorType::get({1}, getIntegerType(bits));
  return vector::ExtractOp::create(
      *this, bitcast(loadBytes(memory, offset, bits / 8), one), 0);
}
Value KernelBuilder::loadIndexAt(Value memory, Value offset, unsigned bits) {
  return arith::IndexCastUIOp::create(*this, getIndexType(),
                                      loadBits(memory, offset, bits));
}
Value KernelBuilder::splat(Value scalar) {
  return vector::BroadcastOp::create(
      *this, VectorType::get({(int64_t)row.lanes()}, scalar.getType()), scalar);
}
Value KernelBuilder::loadSplat(Value memory, ValueRange indices,
                               VectorType as) {
  return bitcast(splat(memref::LoadOp::create(*this, memory, indices)), as);
}
void KernelBuilder::prefetch(Value memory, Value offset) {
  memref::PrefetchOp::create(*this, memory, ValueRange{offset},
                             /*isWrite=*/false, /*localityHint=*/3,
                             /*isDataCache=*/true);
}
Value KernelBuilder::sumLanes(Value vector) {
  if (isa<FloatType>(getElementTypeOrSelf(vector)))
    return vector::ReductionOp::create(*this, vector::CombiningKind::ADD,
                                       vector, arith::FastMathFlags::reassoc);
  return vector::ReductionOp::create(*this, vector::CombiningKind::ADD, vector);
}
Value KernelBuilder::mask(Value count) {
  return vector::CreateMaskOp::create(
      *this, VectorType::get({(int64_t)row.lanes()}, getI1Type()),
      ValueRange{count});
}
/// Whether a mask from KernelBuilder::mask has all lanes.
static Value isWhole(KernelBuilder &b, Value mask) {
  Value count = mask.getDefiningOp<vector::CreateMaskOp>().getOperands()[0];
  return arith::CmpIOp::create(b, arith::CmpIPredicate::sge, count,
                               b.index(b.row.lanes()));
}
Value KernelBuilder::loadMasked(Value memory, ValueRange indices, Value mask) {
  auto load = [&](OpBuilder &b) -> Value {
    return vector::MaskedLoadOp::create(b, getLoc(), floats(), memory, indices,
                                        mask, zeroFloats());
  };
  if (row.hasMasks)
    return load(*this);
  Value whole = isWhole(*this, mask);
  auto choice = scf::IfOp::create(*this, floats(), whole,
                                  /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(*this);
  setInsertionPointToStart(choice.thenBlock());
  Value all = vector::LoadOp::create(*this, floats(), memory, indices);
  scf::YieldOp::create(*this, all);
  setInsertionPointToStart(choice.elseBlock());
  scf::YieldOp::create(*this, load(*this));
  return choice.getResult(0);
}
void KernelBuilder::storeMasked(Value vector, Value memory, ValueRange indices,
                                Value mask) {
  if (row.hasMasks) {
    vector::MaskedStoreOp::create(*this, memory, indices, mask, vector);
    return;
  }
  Value whole = isWhole(*this, mask);
  auto choice = scf::IfOp::create(*this, whole, /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(*this);
  setInsertionPointToStart(choice.thenBlock());
  vector::StoreOp::create(*this, vector, memory, indices);
  setInsertionPointToStart(choice.elseBlock());
  vector::MaskedStoreOp::create(*this, memory, indices, mask, vector);
}

//===----------------------------------------------------------------------===//
// Control flow
//===----------------------------------------------------------------------===//

SmallVector<Value> KernelBuilder::loop(Value begin, Value end, int64_t step,
                                       ValueRange state, Body body) {
  auto cb = known(begin), ce = known(end);
  // A loop of one iteration needs none.
  if (cb && ce && *cb < *ce && *cb + step >= *ce)
    return body(begin, state);
  auto loop = scf::ForOp::create(*this, begin, end, index(step), state);
  {
    OpBuilder::InsertionGuard guard(*this);
    if (state.empty())
      setInsertionPoint(loop.getBody()->getTerminator());
    else
      setInsertionPointToStart(loop.getBody());
    SmallVector<Value> next =
        body(loop.getInductionVar(), loop.getRegionIterArgs());
    if (!state.empty())
      scf::YieldOp::create(*this, next);
  }
  return SmallVector<Value>(loop.getResults());
}
void KernelBuilder::loop(Value begin, Value end, int64_t step,
                         function_ref<void(Value)> body) {
  loop(begin, end, step, {}, [&](Value i, ValueRange) {
    body(i);
    return SmallVector<Value>();
  });
}
void KernelBuilder::ifThen(Value condition, function_ref<void()> body) {
  auto branch = scf::IfOp::create(*this, condition, /*withElseRegion=*/false);
  OpBuilder::InsertionGuard guard(*this);
  setInsertionPoint(branch.thenBlock()->getTerminator());
  body();
}

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

Value KernelBuilder::stackBytes(int64_t count) {
  auto alloca = memref::AllocaOp::create(
      *this, MemRefType::get({count}, getI8Type()), getI64IntegerAttr(64));
  return memref::CastOp::create(
      *this, MemRefType::get({ShapedType::kDynamic}, getI8Type()), alloca);
}
MemRefType KernelBuilder::rowsType() {
  return MemRefType::get(
      {ShapedType::kDynamic, ShapedType::kDynamic}, getF32Type(),
      StridedLayoutAttr::get(getContext(), ShapedType::kDynamic,
                             {ShapedType::kDynamic, 1}));
}
Value KernelBuilder::viewRows(Value memory, Value byteOffset, Value rows,
                              Value columns) {
  Value view = memref::ViewOp::create(
      *this,
      MemRefType::get({ShapedType::kDynamic, ShapedType::kDynamic},
                      getF32Type()),
      memory, byteOffset, ValueRange{rows, columns});
  return memref::CastOp::create(*this, rowsType(), view);
}
Value KernelBuilder::viewInts(Value memory, Value byteOffset, Value count) {
  return memref::ViewOp::create(
      *this, MemRefType::get({ShapedType::kDynamic}, getI32Type()), memory,
      byteOffset, ValueRange{count});
}
