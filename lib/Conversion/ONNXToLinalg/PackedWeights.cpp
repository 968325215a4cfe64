//===- PackedWeights.cpp - Weights of a few bits, in bytes ----------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// ONNX Runtime's operators whose weights are codes of 2, 4 or 8 bits that lie
/// several to a byte: products (MatMulNBits, MatMulBnb4) and the embedding
/// (GatherBlockQuantized). Layouts: ONNX Runtime's documentation of contrib
/// operators; the tables of NF4 and FP4: Dettmers et al., QLoRA (2023), and
/// bitsandbytes.
///
//===----------------------------------------------------------------------===//

#include "Node.h"
#include "miura/Compress/Codebooks.h"
#include "mlir/Dialect/Math/IR/Math.h"

using namespace mlir;
using namespace miura;
using namespace miura::onnxlower;

namespace {

using B = LinalgBuilder;

Value div(B &b, Value i, int64_t by) {
  return b.createOrFold<arith::DivUIOp>(i, b.index(by));
}
Value rem(B &b, Value i, int64_t by) {
  return b.createOrFold<arith::RemUIOp>(i, b.index(by));
}

/// Code number `place` of those in `byte`, lowest bits first, as i32.
Value unpack(B &b, Value byte, Value place, int64_t bits) {
  Type i32 = b.getI32Type();
  Value wide = b.convert(byte, i32, /*fromUnsigned=*/true);
  Value shift =
      b.convert(b.mulIndex(rem(b, place, 8 / bits), b.index(bits)), i32);
  return b.createOrFold<arith::AndIOp>(
      b.createOrFold<arith::ShRUIOp>(wide, shift),
      b.constant(i32, (1 << bits) - 1));
}

/// x as accuracy_level 4 has it: int8 codes with a scale per block of a row,
/// and back. The integer products of the real kernels are exact, so this is
/// their arithmetic up to the order of sums.
Value roundActivations(Node &n, Value x, int64_t block) {
  Type f32 = n.getF32Type();
  int64_t rank = n.rank(x);
  SmallVector<Value> sizes = n.dims(x);
  Value length = sizes.back();
  SmallVector<Value> groups(sizes);
  groups.back() = n.createOrFold<arith::CeilDivUIOp>(length, n.index(block));
  // The largest of each block; beyond the end the last element once more.
  SmallVector<Value> spread(groups);
  spread.push_back(n.index(block));
  Value magnitudes = n.generate(f32, spread, [&](B &b, ValueRange at) -> Value {
    SmallVector<Value> place(at.begin(), at.begin() + rank);
    place.back() =
        b.min(b.addIndex(b.mulIndex(place.back(), b.index(block)), at.back()),
              b.subIndex(length, b.index(1)));
    return math::AbsFOp::create(b, b.convert(b.extract(x, place), f32));
  });
  Value largest =
      n.reduceLast(n.constant(f32, 0), magnitudes,
                   [](B &b, ValueRange v) { return b.max(v[1], v[0]); });
  return n.generate(f32, sizes, [&](B &b, ValueRange at) -> Value {
    SmallVector<Value> group(at.begin(), at.end());
    group.back() = div(b, group.back(), block);
    Value scale = b.div(b.extract(largest, group), b.constant(f32, 127));
    Value isZero = arith::CmpFOp::create(b, arith::CmpFPredicate::OEQ, scale,
                                         b.constant(f32, 0));
    Value safe = arith::SelectOp::create(b, isZero, b.constant(f32, 1), scale);
    Value code = math::RoundEvenOp::create(
        b, b.div(b.convert(b.extract(x, at), f32), safe));
    return b.mul(code, scale);
  });
}

/// x · W for a weight [in, out], plus `bias`, which may be null.
Value multiply(Node &n, Value x, Value weight, Value bias) {
  Type f32 = n.getF32Type(), element = n.resultElement();
  SmallVector<Value> sizes = n.dims(x);
  Value inner = sizes.back();
  sizes.back() = n.dim(weight, 1);
  MLIRContext *context = n.getContext();
  // Loops: leading…, out, in.
  int64_t rank = n.rank(x);
  SmallVector<AffineExpr> left,
      right{n.getAffineDimExpr(rank), n.getAffineDimExpr(rank - 1)};
  for (int64_t d = 0; d + 1 < rank; ++d)
    left.push_back(n.getAffineDimExpr(d));
  left.push_back(n.getAffineDimExpr(rank));
  Value sums = n.reduce(n.constant(f32, 0), sizes, {inner}, {x, weight},
                        {AffineMap::get(rank + 1, 0, left, context),
                         AffineMap::get(rank + 1, 0, right, context)},
                        [&](B &b, ValueRange v) {
                          return b.multiplyAdd(b.convert(v[0], f32),
                                               b.convert(v[1], f32), v[2]);
                        });
  SmallVector<Value> inputs{sums};
  if (bias)
    inputs.push_back(bias);
  return n.broadcast(element, inputs, [&](B &b, ValueRange v) {
    Value y = v[0];
    if (v.size() > 1)
      y = b.add(y, b.convert(v[1], f32));
    return b.convert(y, element);
  });
}

/// Weights of N rows, each of blocks of `bits`-bit codes in uint8.
Results matMulNBits(Node &n) {
  int64_t bits = n.getInt("bits", 4), block = n.getInt("block_size", 32);
  int64_t columns = n.getInt("N", 0), inner = n.getInt("K", 0);
  if (bits != 2 && bits != 4 && bits != 8)
    return n.error() << "has codes of " << bits << " bits, not 2, 4 or 8";
  if (block < 1 || columns < 1 || inner < 1)
    return n.error() << "has a size below 1";
  if (n.has(4))
    return n.error() << "has a group index, which is not lowered";
  Type f32 = n.getF32Type();
  int64_t blocks = (inner + block - 1) / block, perByte = 8 / bits;
  Value codes = n.reshape(
      n[1], {n.index(columns), n.index(blocks), n.index(block / perByte)});
  Value scales = n.reshape(n[2], {n.index(columns), n.index(blocks)});
  Value zeros;
  bool packedZeros = false;
  if (n.has(3)) {
    packedZeros = !isa<FloatType>(n.element(n[3]));
    int64_t row = packedZeros ? (blocks + perByte - 1) / perByte : blocks;
    zeros = n.reshape(n[3], {n.index(columns), n.index(row)});
  }
  Value weight = n.generate(
      f32, {n.index(inner), n.index(columns)}, [&](B &b, ValueRange at) {
        Value group = div(b, at[0], block), within = rem(b, at[0], block);
        Value byte = b.extract(codes, {at[1], group, div(b, within, perByte)});
        Value code = b.convert(unpack(b, byte, within, bits), f32);
        Value zero = b.constant(f32, 1 << (bits - 1));
        if (zeros && packedZeros) {
          Value z = b.extract(zeros, {at[1], div(b, group, perByte)});
          zero = b.convert(unpack(b, z, group, bits), f32);
        } else if (zeros) {
          zero = b.convert(b.extract(zeros, {at[1], group}), f32);
        }
        Value scale = b.convert(b.extract(scales, {at[1], group}), f32);
        return b.mul(b.sub(code, zero), scale);
      });
  Value x = n[0];
  if (n.getInt("accuracy_level", 0) == 4)
    x = roundActivations(n, x, block);
  return {{multiply(n, x, weight, n.has(5) ? n[5] : Value())}};
}

/// Codes of four bits, the first of a byte in its upper half, that number the
/// entries of a table; one scale per block of the flattened weight [N, K].
Results matMulBnb4(Node &n) {
  int64_t block = n.getInt("block_size", 64), type = n.getInt("quant_type", 1);
  int64_t columns = n.getInt("N", 0), inner = n.getInt("K", 0);
  if (block < 1 || columns < 1 || inner < 1 || type < 0 || type > 1)
    return n.error() << "has a size below 1 or a quant_type that is not 0 or 1";
  if (n.getInt("transB", 1) != 1)
    return n.error() << "has a weight that is not transposed";
  Type f32 = n.getF32Type();
  Value table = arith::ConstantOp::create(
      n, DenseElementsAttr::get(
             RankedTensorType::get({16}, f32),
             ArrayRef<float>(type == 1 ? compress::kNf4 : compress::kFp4)));
  int64_t count = columns * inner;
  Value codes = n.reshape(n[1], {n.index((count + 1) / 2)});
  Value scales = n.reshape(n[2], {n.index((count + block - 1) / block)});
  Value weight = n.generate(
      f32, {n.index(inner), n.index(columns)}, [&](B &b, ValueRange at) {
        Value flat = b.addIndex(b.mulIndex(at[1], b.index(inner)), at[0]);
        Value byte = b.extract(codes, div(b, flat, 2));
        // The other half than unpack would take.
        Value code = unpack(b, byte, b.addIndex(flat, b.index(1)), 4);
        Value scale = b.convert(b.extract(scales, div(b, flat, block)), f32);
        return b.mul(b.extract(table, b.toIndex(code)), scale);
      });
  return {{multiply(n, n[0], weight, Value())}};
}

/// Rows of a table of codes. uint8 data has several codes to a byte along the
/// last dimension; int4 and uint4 tensors have one element each.
Results gatherBlockQuantized(Node &n) {
  Value data = n[0], which = n[1], scales = n[2];
  int64_t rank = n.rank(data), indexRank = n.rank(which);
  auto gather = n.axis("gather_axis", 0, rank);
  auto quantize = n.axis("quantize_axis", 1, rank);
  if (failed(gather) || failed(quantize))
    return failure();
  int64_t bits = n.getInt("bits", 4), block = n.getInt("block_size", 128);
  bool packed = n.element(data).isInteger(8);
  if (packed && ((bits != 2 && bits != 4 && bits != 8) ||
                 *quantize != rank - 1 || *gather == *quantize))
    return n.error() << "packs codes in a way that is not lowered";
  if (block < 1)
    return n.error() << "has blocks of " << block;
  int64_t perByte = packed ? 8 / bits : 1;
  bool isUnsigned = n.isUnsigned(0);
  Type element = n.resultElement(), f32 = n.getF32Type(), i32 = n.getI32Type();
  Value zeros = n.has(3) ? n[3] : Value();
  SmallVector<Value> own = n.dims(data), sizes;
  own.back() = n.mulIndex(own.back(), n.index(perByte));
  for (int64_t d = 0; d < rank; ++d) {
    if (d != *gather)
      sizes.push_back(own[d]);
    else
      llvm::append_range(sizes, n.dims(which));
  }
  Value rows = own[*gather];
  return {{n.generate(element, n.refine(sizes), [&](B &b, ValueRange at) {
    SmallVector<Value> place(at.take_front(*gather));
    Value row = b.toIndex(b.extract(which, at.slice(*gather, indexRank)));
    row = b.selectIndex(arith::CmpIPredicate::slt, row, b.index(0),
                        b.addIndex(row, rows), row);
    place.push_back(
        b.max(b.min(row, b.subIndex(rows, b.index(1))), b.index(0)));
    llvm::append_range(place, at.drop_front(*gather + indexRank));
    SmallVector<Value> group(place);
    group[*quantize] = div(b, group[*quantize], block);
    auto read = [&](Value codes, SmallVector<Value> where) -> Value {
      Value last = where.back();
      if (!packed)
        return b.convert(b.extract(codes, where), i32, isUnsigned);
      where.back() = div(b, last, perByte);
      return unpack(b, b.extract(codes, where), last, bits);
    };
    Value code = read(data, place);
    if (zeros)
      code = b.sub(code, read(zeros, group));
    else if (packed)
      code = b.sub(code, b.constant(i32, 1 << (bits - 1)));
    Value scale = b.convert(b.extract(scales, group), f32);
    return b.convert(b.mul(b.convert(code, f32), scale), element);
  })}};
}

} // namespace

void miura::onnxlower::addPackedWeights(Table &t) {
  t["com.microsoft::GatherBlockQuantized"] = gatherBlockQuantized;
  t["com.microsoft::MatMulBnb4"] = matMulBnb4;
  t["com.microsoft::MatMulNBits"] = matMulNBits;
}
