//===- VectorBuilder.cpp - Emitting vector kernels ------------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Horizontal sums and transpositions are made of the shuffles that x86 has as
/// one instruction: interleaving within 128-bit parts, and moves of whole
/// 128-bit parts. Every sum is a fixed tree, so results do not depend on how
/// LLVM reassociates.
///
//===----------------------------------------------------------------------===//

#include "VectorBuilder.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/Matchers.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace miura::codegen;
using Value = mlir::Value;

int64_t miura::codegen::powerBelow(int64_t n) {
  return int64_t(1) << llvm::Log2_64(n);
}

static std::optional<int64_t> constant(Value v) {
  return getConstantIntValue(v);
}

VectorType VectorBuilder::floats(int64_t count) {
  return VectorType::get({count}, getF32Type());
}
VectorType VectorBuilder::ints(int64_t count) {
  return VectorType::get({count}, getI32Type());
}

Value VectorBuilder::index(int64_t value) {
  return arith::ConstantIndexOp::create(*this, value);
}
Value VectorBuilder::f32(float value) {
  return arith::ConstantOp::create(*this, getF32FloatAttr(value));
}
Value VectorBuilder::splat(Type type, double value) {
  TypedAttr attr = getF32FloatAttr(static_cast<float>(value));
  if (auto vector = dyn_cast<VectorType>(type))
    attr = DenseElementsAttr::get(vector, attr);
  return arith::ConstantOp::create(*this, attr);
}
Value VectorBuilder::likeInt(Value model, int64_t value) {
  TypedAttr attr = getI32IntegerAttr(value);
  if (auto vector = dyn_cast<VectorType>(model.getType()))
    attr =
        DenseElementsAttr::get(ints(vector.getNumElements()), Attribute(attr));
  return arith::ConstantOp::create(*this, attr);
}

Value VectorBuilder::add(Value a, Value b) {
  auto x = constant(a), y = constant(b);
  if (x && y)
    return index(*x + *y);
  if (y && *y == 0)
    return a;
  if (x && *x == 0)
    return b;
  return arith::AddIOp::create(*this, a, b);
}
Value VectorBuilder::sub(Value a, Value b) {
  auto x = constant(a), y = constant(b);
  if (x && y)
    return index(*x - *y);
  if (y && *y == 0)
    return a;
  return arith::SubIOp::create(*this, a, b);
}
Value VectorBuilder::mul(Value a, Value b) {
  auto x = constant(a), y = constant(b);
  if (x && y)
    return index(*x * *y);
  if ((x && *x == 0) || (y && *y == 1))
    return a;
  if ((y && *y == 0) || (x && *x == 1))
    return b;
  return arith::MulIOp::create(*this, a, b);
}
Value VectorBuilder::div(Value a, Value b) {
  auto x = constant(a), y = constant(b);
  if (x && y && *y > 0)
    return index(*x / *y);
  if (y && *y == 1)
    return a;
  return arith::DivUIOp::create(*this, a, b);
}
Value VectorBuilder::div(Value a, int64_t b) { return div(a, index(b)); }
Value VectorBuilder::rem(Value a, Value b) {
  return arith::RemUIOp::create(*this, a, b);
}
Value VectorBuilder::min(Value a, Value b) {
  return arith::MinSIOp::create(*this, a, b);
}
Value VectorBuilder::max(Value a, Value b) {
  return arith::MaxSIOp::create(*this, a, b);
}
Value VectorBuilder::less(Value a, Value b) {
  return arith::CmpIOp::create(*this, arith::CmpIPredicate::slt, a, b);
}
Value VectorBuilder::equal(Value a, Value b) {
  return arith::CmpIOp::create(*this, arith::CmpIPredicate::eq, a, b);
}
Value VectorBuilder::select(Value condition, Value a, Value b) {
  return arith::SelectOp::create(*this, condition, a, b);
}
Value VectorBuilder::both(Value a, Value b) {
  return arith::AndIOp::create(*this, a, b);
}

Value VectorBuilder::addf(Value a, Value b) {
  return arith::AddFOp::create(*this, a, b);
}
Value VectorBuilder::subf(Value a, Value b) {
  return arith::SubFOp::create(*this, a, b);
}
Value VectorBuilder::mulf(Value a, Value b) {
  return arith::MulFOp::create(*this, a, b);
}
Value VectorBuilder::divf(Value a, Value b) {
  return arith::DivFOp::create(*this, a, b);
}
Value VectorBuilder::fma(Value a, Value b, Value c) {
  return math::FmaOp::create(*this, a, b, c);
}
Value VectorBuilder::maxf(Value a, Value b) {
  // x86's max returns its second operand where one is NaN: exactly this.
  return select(arith::CmpFOp::create(*this, arith::CmpFPredicate::OGT, a, b),
                a, b);
}
Value VectorBuilder::minf(Value a, Value b) {
  return select(arith::CmpFOp::create(*this, arith::CmpFPredicate::OLT, a, b),
                a, b);
}
Value VectorBuilder::broadcast(Value scalar, int64_t count) {
  return vector::BroadcastOp::create(
      *this, VectorType::get({count}, scalar.getType()), scalar);
}
Value VectorBuilder::shuffle(Value a, Value b, ArrayRef<int64_t> mask) {
  return vector::ShuffleOp::create(*this, a, b, mask);
}

static Value foldLanes(VectorBuilder &b, Value vector,
                       function_ref<Value(Value, Value)> combine) {
  int64_t n = cast<VectorType>(vector.getType()).getNumElements();
  while (n > 1) {
    SmallVector<int64_t> low, high;
    for (int64_t i = 0; i < n / 2; ++i) {
      low.push_back(i);
      high.push_back(i + n / 2);
    }
    vector = combine(b.shuffle(vector, vector, low),
                     b.shuffle(vector, vector, high));
    n /= 2;
  }
  return vector::ExtractOp::create(b, vector, ArrayRef<int64_t>{0});
}
Value VectorBuilder::sumLanes(Value vector) {
  return foldLanes(*this, vector, [&](Value a, Value b) { return addf(a, b); });
}
Value VectorBuilder::maxLanes(Value vector) {
  return foldLanes(*this, vector, [&](Value a, Value b) { return maxf(a, b); });
}

/// A shuffle that does the same in every 128-bit part: entries 0..3 of `part`
/// are a's, 4..7 b's.
static Value shuffleParts(VectorBuilder &b, Value x, Value y,
                          ArrayRef<int64_t> part) {
  int64_t n = cast<VectorType>(x.getType()).getNumElements();
  SmallVector<int64_t> mask;
  for (int64_t base = 0; base < n; base += 4)
    for (int64_t p : part)
      mask.push_back(p < 4 ? base + p : n + base + p - 4);
  return b.shuffle(x, y, mask);
}

/// A shuffle of whole 128-bit parts: those of x, then those of y.
static Value pickParts(VectorBuilder &b, Value x, Value y,
                       ArrayRef<int64_t> parts) {
  SmallVector<int64_t> mask;
  for (int64_t p : parts)
    for (int64_t i = 0; i < 4; ++i)
      mask.push_back(4 * p + i);
  return b.shuffle(x, y, mask);
}

Value VectorBuilder::sumQuads(ValueRange v) {
  auto pair = [&](Value a, Value b) {
    return addf(shuffleParts(*this, a, b, {0, 4, 1, 5}),
                shuffleParts(*this, a, b, {2, 6, 3, 7}));
  };
  Value p = pair(v[0], v[1]), q = pair(v[2], v[3]);
  return addf(shuffleParts(*this, p, q, {0, 1, 4, 5}),
              shuffleParts(*this, p, q, {2, 3, 6, 7}));
}

Value VectorBuilder::sumParts(Values v) {
  switch (v.size()) {
  case 1:
    return v[0];
  case 2:
    return addf(pickParts(*this, v[0], v[1], {0, 2}),
                pickParts(*this, v[0], v[1], {1, 3}));
  default: {
    assert(v.size() == 4 && "vectors have 4, 8 or 16 lanes");
    auto half = [&](Value a, Value b) {
      return addf(pickParts(*this, a, b, {0, 1, 4, 5}),
                  pickParts(*this, a, b, {2, 3, 6, 7}));
    };
    Value p = half(v[0], v[1]), q = half(v[2], v[3]);
    return addf(pickParts(*this, p, q, {0, 2, 4, 6}),
                pickParts(*this, p, q, {1, 3, 5, 7}));
  }
  }
}

Value VectorBuilder::sumEach(Values v) {
  Values parts;
  for (size_t i = 0; i < v.size(); i += 4)
    parts.push_back(sumQuads(ValueRange(v).slice(i, 4)));
  return sumParts(parts);
}

VectorBuilder::Values VectorBuilder::transpose(Values rows) {
  // First 4×4 within the 128-bit parts, then the parts themselves.
  int64_t n = rows.size();
  assert((n == 4 || n == 8 || n == 16) && "vectors have 4, 8 or 16 lanes");
  Values quads(n);
  for (int64_t i = 0; i < n; i += 4) {
    Value a = shuffleParts(*this, rows[i], rows[i + 1], {0, 4, 1, 5});
    Value c = shuffleParts(*this, rows[i], rows[i + 1], {2, 6, 3, 7});
    Value b = shuffleParts(*this, rows[i + 2], rows[i + 3], {0, 4, 1, 5});
    Value d = shuffleParts(*this, rows[i + 2], rows[i + 3], {2, 6, 3, 7});
    quads[i] = shuffleParts(*this, a, b, {0, 1, 4, 5});
    quads[i + 1] = shuffleParts(*this, a, b, {2, 3, 6, 7});
    quads[i + 2] = shuffleParts(*this, c, d, {0, 1, 4, 5});
    quads[i + 3] = shuffleParts(*this, c, d, {2, 3, 6, 7});
  }
  if (n == 4)
    return quads;
  // quads[4g + i], part p: column 4p + i of rows 4g .. 4g + 3.
  Values out(n);
  for (int64_t i = 0; i < 4; ++i) {
    if (n == 8) {
      out[i] = pickParts(*this, quads[i], quads[4 + i], {0, 2});
      out[4 + i] = pickParts(*this, quads[i], quads[4 + i], {1, 3});
      continue;
    }
    Value a = pickParts(*this, quads[i], quads[4 + i], {0, 1, 4, 5});
    Value b = pickParts(*this, quads[8 + i], quads[12 + i], {0, 1, 4, 5});
    Value c = pickParts(*this, quads[i], quads[4 + i], {2, 3, 6, 7});
    Value d = pickParts(*this, quads[8 + i], quads[12 + i], {2, 3, 6, 7});
    out[i] = pickParts(*this, a, b, {0, 2, 4, 6});
    out[4 + i] = pickParts(*this, a, b, {1, 3, 5, 7});
    out[8 + i] = pickParts(*this, c, d, {0, 2, 4, 6});
    out[12 + i] = pickParts(*this, c, d, {1, 3, 5, 7});
  }
  return out;
}

Value VectorBuilder::load(Value memory, ValueRange indices) {
  return memref::LoadOp::create(*this, memory, indices);
}
void VectorBuilder::store(Value scalar, Value memory, ValueRange indices) {
  memref::StoreOp::create(*this, scalar, memory, indices);
}
Value VectorBuilder::loadIndex(Value memory, ValueRange indices) {
  return arith::IndexCastOp::create(*this, getIndexType(),
                                    load(memory, indices));
}
Value VectorBuilder::loadVector(Value memory, ValueRange indices,
                                int64_t count) {
  Type element = cast<MemRefType>(memory.getType()).getElementType();
  return vector::LoadOp::create(*this, VectorType::get({count}, element),
                                memory, indices);
}
void VectorBuilder::storeVector(Value vector, Value memory,
                                ValueRange indices) {
  vector::StoreOp::create(*this, vector, memory, indices);
}
Value VectorBuilder::mask(Value count, int64_t width) {
  return vector::CreateMaskOp::create(
      *this, VectorType::get({width}, getI1Type()), ValueRange{count});
}
Value VectorBuilder::loadMasked(Value memory, ValueRange indices, Value mask) {
  Type element = cast<MemRefType>(memory.getType()).getElementType();
  auto type = VectorType::get(
      {cast<VectorType>(mask.getType()).getNumElements()}, element);
  Value zero = arith::ConstantOp::create(*this, getZeroAttr(type));
  return vector::MaskedLoadOp::create(*this, type, memory, indices, mask, zero);
}
void VectorBuilder::storeMasked(Value vector, Value memory, ValueRange indices,
                                Value mask) {
  vector::MaskedStoreOp::create(*this, memory, indices, mask, vector);
}
Value VectorBuilder::loadPart(Value memory, ValueRange indices, int64_t valid,
                              int64_t width) {
  if (valid >= width)
    return loadVector(memory, indices, width);
  return loadMasked(memory, indices, mask(index(valid), width));
}
void VectorBuilder::storePart(Value vector, Value memory, ValueRange indices,
                              int64_t valid) {
  int64_t width = cast<VectorType>(vector.getType()).getNumElements();
  if (valid >= width)
    return storeVector(vector, memory, indices);
  storeMasked(vector, memory, indices, mask(index(valid), width));
}
Value VectorBuilder::floatRows(Value bytes, Value offset, Value rows,
                               int64_t columns) {
  auto type = MemRefType::get({ShapedType::kDynamic, columns}, getF32Type());
  return memref::ViewOp::create(*this, type, bytes, offset, ValueRange{rows});
}
Value VectorBuilder::dim(Value memory, int64_t dimension) {
  auto type = cast<MemRefType>(memory.getType());
  if (!type.isDynamicDim(dimension))
    return index(type.getDimSize(dimension));
  return memref::DimOp::create(*this, memory, dimension);
}

VectorBuilder::Values VectorBuilder::loop(Value begin, Value end, int64_t step,
                                          ValueRange state, Body body) {
  auto loop = scf::ForOp::create(*this, begin, end, index(step), state);
  {
    OpBuilder::InsertionGuard guard(*this);
    setInsertionPointToStart(loop.getBody());
    Values next = body(loop.getInductionVar(), loop.getRegionIterArgs());
    if (!state.empty())
      scf::YieldOp::create(*this, next);
  }
  return Values(loop.getResults());
}
void VectorBuilder::loop(Value begin, Value end, Value step,
                         function_ref<void(Value)> body) {
  auto loop = scf::ForOp::create(*this, begin, end, step);
  OpBuilder::InsertionGuard guard(*this);
  setInsertionPointToStart(loop.getBody());
  body(loop.getInductionVar());
}
void VectorBuilder::loop(Value begin, Value end, int64_t step,
                         function_ref<void(Value)> body) {
  loop(begin, end, index(step), body);
}
void VectorBuilder::ifThen(Value condition, function_ref<void()> body) {
  auto op = scf::IfOp::create(*this, condition, /*withElseRegion=*/false);
  OpBuilder::InsertionGuard guard(*this);
  setInsertionPointToStart(op.thenBlock());
  body();
}
void VectorBuilder::ifElse(Value condition, function_ref<void()> then,
                           function_ref<void()> otherwise) {
  auto op = scf::IfOp::create(*this, condition, /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(*this);
  setInsertionPointToStart(op.thenBlock());
  then();
  setInsertionPointToStart(op.elseBlock());
  otherwise();
}

std::pair<Value, Value> VectorBuilder::split(Value count, int64_t grain,
                                             Value tid, Value nthreads) {
  Value units = ceilDiv(count, grain);
  auto bound = [&](Value t) {
    return min(mul(div(mul(units, t), nthreads), grain), count);
  };
  return {bound(tid), bound(add(tid, 1))};
}

void VectorBuilder::barrier(func::FuncOp func, Value team) {
  auto module = func->getParentOfType<ModuleOp>();
  auto type = getFunctionType({getIndexType()}, {});
  if (!module.lookupSymbol("miura_barrier")) {
    OpBuilder::InsertionGuard guard(*this);
    setInsertionPointToStart(module.getBody());
    auto declaration = func::FuncOp::create(*this, "miura_barrier", type);
    declaration.setPrivate();
  }
  func::CallOp::create(*this, "miura_barrier", TypeRange{}, ValueRange{team});
}
