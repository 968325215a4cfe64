//===- ModelOps.cpp - Products, norms and activations as loops ------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The definitions of linear, embedding, the norms, the head permutations, rope
/// and the activations, written as loops. Sums and transcendental functions are
/// computed in f32 whatever the tensors hold, as the ops' descriptions say.
///
//===----------------------------------------------------------------------===//

#include "miura/Conversion/LinalgBuilder/LinalgBuilder.h"
#include "miura/Conversion/MiuraToLinalg/Passes.h"
#include "miura/Dialect/Miura/IR/MiuraDialect.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace miura;

namespace {

/// The common part of the patterns: a subclass computes the result from plain
/// operands.
template <typename OpTy> struct Lowering : OpConversionPattern<OpTy> {
  using OpConversionPattern<OpTy>::OpConversionPattern;
  using Adaptor = typename OpTy::Adaptor;

  virtual Value lower(OpTy op, Adaptor operands, LinalgBuilder &b) const = 0;

  LogicalResult
  matchAndRewrite(OpTy op, Adaptor adaptor,
                  ConversionPatternRewriter &rewriter) const override {
    LinalgBuilder b(op.getLoc(), rewriter);
    Value result = lower(op, adaptor, b);
    Type type = this->getTypeConverter()->convertType(op.getResult().getType());
    rewriter.replaceOp(op, b.as(result, type));
    return success();
  }
};

//===----------------------------------------------------------------------===//
// linear, embedding
//===----------------------------------------------------------------------===//

struct LowerLinear : Lowering<LinearOp> {
  using Lowering::Lowering;
  Value lower(LinearOp op, Adaptor operands, LinalgBuilder &b) const override {
    Value x = operands.getInput(), w = operands.getWeight();
    Type activation = op.getCompute().getActivation();
    Type accumulator = op.getCompute().getAccumulator();
    if (activation.isInteger(8))
      x = roundActivations(b, x, op.getCompute().getBlock());
    int64_t leading = b.rank(x) - 1;
    // Loops: leading…, out, in.
    SmallVector<Value> sizes = b.dims(x);
    Value in = sizes.pop_back_val();
    sizes.push_back(b.dim(w, 0));
    SmallVector<AffineExpr> xExprs, wExprs;
    for (int64_t i = 0; i < leading; ++i)
      xExprs.push_back(b.getAffineDimExpr(i));
    xExprs.push_back(b.getAffineDimExpr(leading + 1));
    wExprs = {b.getAffineDimExpr(leading), b.getAffineDimExpr(leading + 1)};
    MLIRContext *context = b.getContext();
    Value sum =
        b.reduce(b.constant(accumulator, 0), sizes, {in}, {x, w},
                 {AffineMap::get(leading + 2, 0, xExprs, context),
                  AffineMap::get(leading + 2, 0, wExprs, context)},
                 [&](LinalgBuilder &b, ValueRange v) {
                   Value a = v[0];
                   if (isa<FloatType>(activation))
                     a = b.convert(a, activation);
                   return b.multiplyAdd(b.convert(a, accumulator),
                                        b.convert(v[1], accumulator), v[2]);
                 });
    Type element = op.getResult().getType().getElementType();
    Value bias = operands.getBias();
    if (!bias && element == accumulator)
      return sum;
    SmallVector<Value> columns;
    if (bias)
      columns.push_back(bias);
    return b.withRows(element, sum, {}, columns,
                      [&](LinalgBuilder &b, ValueRange v) {
                        Value y = v[0];
                        if (v.size() > 1)
                          y = b.add(y, b.convert(v[1], accumulator));
                        return b.convert(y, element);
                      });
  }
};

struct LowerExpertLinear : Lowering<ExpertLinearOp> {
  using Lowering::Lowering;
  Value lower(ExpertLinearOp op, Adaptor operands,
              LinalgBuilder &b) const override {
    Value x = operands.getInput(), w = operands.getWeight(),
          experts = operands.getExperts(), bias = operands.getBias();
    Type activation = op.getCompute().getActivation();
    Type accumulator = op.getCompute().getAccumulator();
    Type element = op.getResult().getType().getElementType();
    if (activation.isInteger(8))
      x = roundActivations(b, x, op.getCompute().getBlock());
    // A view is read through, so that no matrix is written.
    auto view = op.getWeight().getDefiningOp<TransposeOp>();
    if (view && view.getInput().getDefiningOp<WeightOp>())
      w = view.getInput();
    else
      view = {};
    Value columns = b.dim(w, view ? 2 : 1);
    // Loops: row, out, in.
    auto d = [&](unsigned i) { return b.getAffineDimExpr(i); };
    Value sum =
        b.reduce(b.constant(accumulator, 0), {b.dim(x, 0), columns},
                 {b.dim(x, 1)}, {x, experts},
                 {AffineMap::get(3, 0, {d(0), d(2)}, b.getContext()),
                  AffineMap::get(3, 0, {d(0)}, b.getContext())},
                 [&](LinalgBuilder &b, ValueRange v) {
                   Value out = linalg::IndexOp::create(b, 1);
                   Value in = linalg::IndexOp::create(b, 2);
                   if (view)
                     std::swap(out, in);
                   Value weight = b.extract(w, {b.toIndex(v[1]), out, in});
                   Value a = v[0];
                   if (isa<FloatType>(activation))
                     a = b.convert(a, activation);
                   return b.multiplyAdd(b.convert(a, accumulator),
                                        b.convert(weight, accumulator), v[2]);
                 });
    return b.generate(
        element, b.dims(sum), [&](LinalgBuilder &b, ValueRange i) -> Value {
          Value y = b.extract(sum, i);
          if (bias) {
            Value expert = b.toIndex(b.extract(experts, {i[0]}));
            y = b.add(y,
                      b.convert(b.extract(bias, {expert, i[1]}), accumulator));
          }
          return b.convert(y, element);
        });
  }
};

/// Rows of `table` by index, counted from the end where negative.
static Value lowerRows(LinalgBuilder &b, Value indices, Value table,
                       Type element) {
  SmallVector<Value> sizes = b.dims(indices);
  sizes.push_back(b.dim(table, 1));
  Value entries = b.dim(table, 0);
  return b.generate(element, sizes, [&](LinalgBuilder &b, ValueRange i) {
    Value zero = b.index(0);
    Value row = b.toIndex(b.extract(indices, i.drop_back()));
    row = b.selectIndex(arith::CmpIPredicate::slt, row, zero,
                        b.addIndex(row, entries), row);
    row = b.max(row, zero);
    row = b.min(row, b.subIndex(entries, b.index(1)));
    return b.convert(b.extract(table, {row, i.back()}), element);
  });
}

struct LowerEmbedding : Lowering<EmbeddingOp> {
  using Lowering::Lowering;
  Value lower(EmbeddingOp op, Adaptor operands,
              LinalgBuilder &b) const override {
    return lowerRows(b, operands.getIndices(), operands.getWeight(),
                     op.getResult().getType().getElementType());
  }
};

struct LowerTakeRows : Lowering<TakeRowsOp> {
  using Lowering::Lowering;
  Value lower(TakeRowsOp op, Adaptor operands,
              LinalgBuilder &b) const override {
    return lowerRows(b, operands.getIndices(), operands.getTable(),
                     op.getResult().getType().getElementType());
  }
};

//===----------------------------------------------------------------------===//
// Positions
//===----------------------------------------------------------------------===//

struct LowerPositions : Lowering<PositionsOp> {
  using Lowering::Lowering;
  Value lower(PositionsOp op, Adaptor operands,
              LinalgBuilder &b) const override {
    Value past = operands.getPast() ? b.dim(operands.getPast(), 2) : Value();
    Type i64 = b.getI64Type();
    return b.generate(i64, b.dims(operands.getTokens()),
                      [&](LinalgBuilder &b, ValueRange i) -> Value {
                        Value at = past ? b.addIndex(i[1], past) : i[1];
                        return arith::IndexCastOp::create(b, i64, at);
                      });
  }
};

struct LowerLinearBias : Lowering<LinearBiasOp> {
  using Lowering::Lowering;
  Value lower(LinearBiasOp op, Adaptor operands,
              LinalgBuilder &b) const override {
    ArrayRef<float> numbers = op.getSlopes();
    Type f32 = b.getF32Type();
    Value slopes = arith::ConstantOp::create(
        b, DenseElementsAttr::get(
               RankedTensorType::get({(int64_t)numbers.size()}, f32), numbers));
    return b.generate(f32,
                      {b.index(1), b.index(numbers.size()), b.index(1),
                       b.dim(operands.getKeys(), 2)},
                      [&](LinalgBuilder &b, ValueRange i) -> Value {
                        return b.mul(b.extract(slopes, {i[1]}),
                                     b.convert(i[3], f32));
                      });
  }
};

struct LowerTakeNew : Lowering<TakeNewOp> {
  using Lowering::Lowering;
  Value lower(TakeNewOp op, Adaptor operands, LinalgBuilder &b) const override {
    Value x = operands.getInput(), lengths = operands.getLengths();
    Value added = b.dim(operands.getTokens(), 1);
    Value before = b.subIndex(b.dim(x, 1), added);
    Value last = b.subIndex(b.dim(x, 1), b.index(1));
    return b.generate(b.element(x), {b.dim(x, 0), added},
                      [&](LinalgBuilder &b, ValueRange i) -> Value {
                        Value start =
                            lengths ? b.toIndex(b.extract(lengths, {i[0]}))
                                    : before;
                        // A row may have fewer new tokens than the step has
                        // columns.
                        Value at = b.min(b.addIndex(start, i[1]), last);
                        return b.extract(x, {i[0], at});
                      });
  }
};

//===----------------------------------------------------------------------===//
// Norms
//===----------------------------------------------------------------------===//

/// Σ f(x) / n over the last dimension, in f32.
static Value meanOf(LinalgBuilder &b, Value x, LinalgBuilder::Body f) {
  Type f32 = b.getF32Type();
  Value sum =
      b.reduceLast(b.constant(f32, 0), x, [&](LinalgBuilder &b, ValueRange v) {
        return b.add(v[1], f(b, v.take_front()));
      });
  Value count = b.convert(b.dim(x, -1), f32);
  return b.elementwise(f32, {sum}, [&](LinalgBuilder &b, ValueRange v) {
    return b.div(v[0], count);
  });
}

struct LowerRmsNorm : Lowering<RmsNormOp> {
  using Lowering::Lowering;
  Value lower(RmsNormOp op, Adaptor operands, LinalgBuilder &b) const override {
    Value x = operands.getInput();
    Type f32 = b.getF32Type();
    Value mean = meanOf(b, x, [&](LinalgBuilder &b, ValueRange v) {
      Value value = b.convert(v[0], f32);
      return b.mul(value, value);
    });
    return b.withRows(
        b.element(x), x, {mean}, {operands.getScale()},
        [&](LinalgBuilder &b, ValueRange v) {
          Value epsilon = b.constant(f32, op.getEpsilon().convertToDouble());
          Value root = math::SqrtOp::create(b, b.add(v[1], epsilon));
          Value y = b.div(b.convert(v[0], f32), root);
          return b.convert(b.mul(y, b.convert(v[2], f32)), b.element(x));
        });
  }
};

struct LowerLayerNorm : Lowering<LayerNormOp> {
  using Lowering::Lowering;
  Value lower(LayerNormOp op, Adaptor operands,
              LinalgBuilder &b) const override {
    Value x = operands.getInput();
    Type f32 = b.getF32Type();
    Value mean = meanOf(b, x, [&](LinalgBuilder &b, ValueRange v) {
      return b.convert(v[0], f32);
    });
    Value centred =
        b.withRows(f32, x, {mean}, {}, [&](LinalgBuilder &b, ValueRange v) {
          return b.sub(b.convert(v[0], f32), v[1]);
        });
    Value variance = meanOf(b, centred, [](LinalgBuilder &b, ValueRange v) {
      return b.mul(v[0], v[0]);
    });
    SmallVector<Value> columns{operands.getScale()};
    if (Value bias = operands.getBias())
      columns.push_back(bias);
    return b.withRows(
        b.element(x), centred, {variance}, columns,
        [&](LinalgBuilder &b, ValueRange v) {
          Value epsilon = b.constant(f32, op.getEpsilon().convertToDouble());
          Value root = math::SqrtOp::create(b, b.add(v[1], epsilon));
          Value y = b.mul(b.div(v[0], root), b.convert(v[2], f32));
          if (v.size() > 3)
            y = b.add(y, b.convert(v[3], f32));
          return b.convert(y, b.element(x));
        });
  }
};

//===----------------------------------------------------------------------===//
// Heads, rope
//===----------------------------------------------------------------------===//

struct LowerSplitHeads : Lowering<SplitHeadsOp> {
  using Lowering::Lowering;
  Value lower(SplitHeadsOp op, Adaptor operands,
              LinalgBuilder &b) const override {
    Value x = operands.getInput();
    auto split = cast<RankedTensorType>(op.getResult().getType());
    int64_t heads = split.getDimSize(1), size = split.getDimSize(3);
    RankedTensorType flat = b.type(x);
    x = b.as(x, RankedTensorType::get(
                    {flat.getDimSize(0), flat.getDimSize(1), heads * size},
                    flat.getElementType()));
    auto expandedType = RankedTensorType::get(
        {flat.getDimSize(0), flat.getDimSize(1), heads, size},
        flat.getElementType());
    Value expanded = tensor::ExpandShapeOp::create(
        b, expandedType, x,
        SmallVector<ReassociationIndices>{{0}, {1}, {2, 3}});
    return b.transpose(expanded, {0, 2, 1, 3});
  }
};

struct LowerMergeHeads : Lowering<MergeHeadsOp> {
  using Lowering::Lowering;
  Value lower(MergeHeadsOp op, Adaptor operands,
              LinalgBuilder &b) const override {
    Value x = b.transpose(operands.getInput(), {0, 2, 1, 3});
    return tensor::CollapseShapeOp::create(
        b, x, SmallVector<ReassociationIndices>{{0}, {1}, {2, 3}});
  }
};

struct LowerRope : Lowering<RopeOp> {
  using Lowering::Lowering;
  Value lower(RopeOp op, Adaptor operands, LinalgBuilder &b) const override {
    Value x = operands.getInput(), cos = operands.getCos(),
          sin = operands.getSin();
    Type f32 = b.getF32Type(), element = b.element(x);
    int64_t rotated = b.type(cos).getDimSize(2);
    Value cosBatch = b.dim(cos, 0);
    Value one = b.index(1), half = b.index(rotated / 2);
    return b.generate(
        element, b.dims(x), [&](LinalgBuilder &b, ValueRange i) -> Value {
          Value d = i[3], zero = b.index(0);
          Value inside = arith::CmpIOp::create(b, arith::CmpIPredicate::ult, d,
                                               b.index(rotated));
          // The entry's partner, and whether it enters with a minus sign.
          Value partner, first;
          if (op.getInterleaved()) {
            partner = b.createOrFold<arith::XOrIOp>(d, one);
            first = b.createOrFold<arith::CmpIOp>(arith::CmpIPredicate::ult, d,
                                                  partner);
          } else {
            first = b.createOrFold<arith::CmpIOp>(arith::CmpIPredicate::ult, d,
                                                  half);
            partner = b.createOrFold<arith::SelectOp>(
                first, b.addIndex(d, half), b.subIndex(d, half));
          }
          // Entries that pass read any valid place and drop what they read.
          partner = arith::SelectOp::create(b, inside, partner, d);
          Value column = arith::SelectOp::create(b, inside, d, zero);
          Value row = b.selectIndex(arith::CmpIPredicate::eq, cosBatch, one,
                                    zero, i[0]);
          auto read = [&](Value from, ValueRange at) {
            return b.convert(b.extract(from, at), f32);
          };
          Value value = b.extract(x, i);
          Value other = read(x, {i[0], i[1], i[2], partner});
          Value minus = arith::NegFOp::create(b, other);
          other = arith::SelectOp::create(b, first, minus, other);
          Value c = read(cos, {row, i[2], column});
          Value s = read(sin, {row, i[2], column});
          Value y = b.add(b.mul(b.convert(value, f32), c), b.mul(other, s));
          return arith::SelectOp::create(b, inside, b.convert(y, element),
                                         value);
        });
  }
};

//===----------------------------------------------------------------------===//
// Activations
//===----------------------------------------------------------------------===//

struct LowerSilu : Lowering<SiluOp> {
  using Lowering::Lowering;
  Value lower(SiluOp op, Adaptor operands, LinalgBuilder &b) const override {
    Value x = operands.getInput();
    Type f32 = b.getF32Type(), element = b.element(x);
    double alpha = op.getAlpha().convertToDouble();
    return b.elementwise(element, {x}, [&](LinalgBuilder &b, ValueRange v) {
      Value value = b.convert(v[0], f32);
      Value minus = alpha == 1 ? Value(arith::NegFOp::create(b, value))
                               : b.mul(value, b.constant(f32, -alpha));
      Value exponential = math::ExpOp::create(b, minus);
      Value y = b.div(value, b.add(b.constant(f32, 1), exponential));
      return b.convert(y, element);
    });
  }
};

struct LowerFakeQuantize : Lowering<FakeQuantizeOp> {
  using Lowering::Lowering;
  Value lower(FakeQuantizeOp op, Adaptor operands,
              LinalgBuilder &b) const override {
    Value x = operands.getInput();
    Type element = b.element(x);
    return b.elementwise(element, {x}, [&](LinalgBuilder &b, ValueRange v) {
      Value value = b.convert(v[0], b.getF32Type());
      return b.convert(roundToCodes(b, value, op.getRounding()), element);
    });
  }
};

struct LowerGelu : Lowering<GeluOp> {
  using Lowering::Lowering;
  Value lower(GeluOp op, Adaptor operands, LinalgBuilder &b) const override {
    Value x = operands.getInput();
    Type f32 = b.getF32Type(), element = b.element(x);
    return b.elementwise(element, {x}, [&](LinalgBuilder &b, ValueRange v) {
      Value value = b.convert(v[0], f32), phi;
      if (op.getTanh()) {
        Value cube = b.mul(value, b.mul(value, value));
        Value inner = b.add(value, b.mul(b.constant(f32, 0.044715), cube));
        // sqrt(2/π)
        inner = b.mul(b.constant(f32, 0.79788456080286536), inner);
        phi = math::TanhOp::create(b, inner);
      } else {
        // 1/sqrt(2)
        phi = math::ErfOp::create(
            b, b.mul(value, b.constant(f32, 0.70710678118654752)));
      }
      Value y = b.mul(b.mul(b.constant(f32, 0.5), value),
                      b.add(b.constant(f32, 1), phi));
      return b.convert(y, element);
    });
  }
};

struct LowerSoftmax : Lowering<SoftmaxOp> {
  using Lowering::Lowering;
  Value lower(SoftmaxOp op, Adaptor operands, LinalgBuilder &b) const override {
    Value x = operands.getInput();
    Type f32 = b.getF32Type(), element = b.element(x);
    Value largest = b.reduceLast(b.constant(f32, -INFINITY), x,
                                 [&](LinalgBuilder &b, ValueRange v) {
                                   return b.max(v[1], b.convert(v[0], f32));
                                 });
    Value numerator =
        b.withRows(f32, x, {largest}, {}, [&](LinalgBuilder &b, ValueRange v) {
          return math::ExpOp::create(b, b.sub(b.convert(v[0], f32), v[1]));
        });
    Value sum = b.reduceLast(
        b.constant(f32, 0), numerator,
        [](LinalgBuilder &b, ValueRange v) { return b.add(v[1], v[0]); });
    return b.withRows(element, numerator, {sum}, {},
                      [&](LinalgBuilder &b, ValueRange v) {
                        return b.convert(b.div(v[0], v[1]), element);
                      });
  }
};

} // namespace

namespace miura::detail {
void populateAttentionPatterns(const TypeConverter &converter,
                               RewritePatternSet &patterns);
} // namespace miura::detail

void miura::populateMiuraModelToLinalgPatterns(const TypeConverter &converter,
                                               RewritePatternSet &patterns) {
  patterns.add<LowerLinear, LowerExpertLinear, LowerEmbedding, LowerTakeRows,
               LowerPositions, LowerLinearBias, LowerTakeNew, LowerRmsNorm,
               LowerLayerNorm, LowerSplitHeads, LowerMergeHeads, LowerRope,
               LowerSilu, LowerFakeQuantize, LowerGelu, LowerSoftmax>(
      converter, patterns.getContext());
  detail::populateAttentionPatterns(converter, patterns);
}
