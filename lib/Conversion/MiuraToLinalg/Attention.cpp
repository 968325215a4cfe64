//===- Attention.cpp - Attention and its cache as loops -------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Attention by its definition, with all scores at once: s = q kᵀ, the mask as
/// minus infinity, softmax, p v. Grouped heads read key head h / group. The
/// cached form differs only in where a query stands. Beside it, what else a
/// session's step needs: cache_append and take_last.
///
//===----------------------------------------------------------------------===//

#include "miura/Conversion/LinalgBuilder/LinalgBuilder.h"
#include "miura/Conversion/MiuraToLinalg/Passes.h"
#include "miura/Dialect/Miura/IR/MiuraDialect.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include <limits>

using namespace mlir;
using namespace miura;

namespace miura::detail {
void populateAttentionPatterns(const TypeConverter &converter,
                               RewritePatternSet &patterns);
} // namespace miura::detail

namespace {

/// What both forms of attention are made of.
struct AttentionParts {
  Value query, key, value, mask, padding, sinks;
  /// lengths of a session's rows; where absent, queries are the last keys.
  Value lengths;
  double scale, softcap;
  bool causal;
  int64_t window;
  std::optional<double> hidden; // see the op
  bool hiddenOnce;
  RoundingAttr keyRounding, valueRounding, scoreRounding, weightRounding;
};

/// The tensor with its elements rounded, or as it is without a rounding.
static Value roundAll(LinalgBuilder &b, Value tensor, RoundingAttr rounding) {
  if (!rounding)
    return tensor;
  return b.elementwise(
      b.getF32Type(), {tensor}, [&](LinalgBuilder &b, ValueRange v) {
        return roundToCodes(b, b.convert(v[0], b.getF32Type()), rounding);
      });
}

/// An element of `tensor`, a dimension of size 1 standing for every index.
static Value extractBroadcast(LinalgBuilder &b, Value tensor,
                              ArrayRef<Value> sizes, ValueRange indices) {
  SmallVector<Value> at;
  for (auto [i, index] : llvm::enumerate(indices))
    at.push_back(b.selectIndex(arith::CmpIPredicate::eq, sizes[i], b.index(1),
                               b.index(0), index));
  return b.extract(tensor, at);
}

static Value lowerAttention(LinalgBuilder &b, AttentionParts a, Type element) {
  a.key = roundAll(b, a.key, a.keyRounding);
  a.value = roundAll(b, a.value, a.valueRounding);
  Type f32 = b.getF32Type();
  MLIRContext *context = b.getContext();
  int64_t heads = b.type(a.query).getDimSize(1);
  int64_t group = heads / b.type(a.key).getDimSize(1);
  Value batch = b.dim(a.query, 0), queries = b.dim(a.query, 2),
        keys = b.dim(a.key, 2);
  SmallVector<Value> scoreSizes{batch, b.index(heads), queries, keys};
  auto d = [&](unsigned i) { return b.getAffineDimExpr(i); };
  AffineExpr keyHead = group == 1 ? d(1) : d(1).floorDiv(group);

  // Loops: batch, head, query, key, size.
  Value scores = b.reduce(
      b.constant(f32, 0), scoreSizes, {b.dim(a.query, 3)}, {a.query, a.key},
      {AffineMap::get(5, 0, {d(0), d(1), d(2), d(4)}, context),
       AffineMap::get(5, 0, {d(0), keyHead, d(3), d(4)}, context)},
      [&](LinalgBuilder &b, ValueRange v) {
        return b.multiplyAdd(b.convert(v[0], f32), b.convert(v[1], f32), v[2]);
      });

  SmallVector<Value> maskSizes;
  if (a.mask)
    maskSizes = b.dims(a.mask);
  SmallVector<Value> paddingSizes;
  if (a.padding)
    paddingSizes = b.dims(a.padding);
  Value offset = b.subIndex(keys, queries);
  Value masked =
      b.generate(f32, scoreSizes, [&](LinalgBuilder &b, ValueRange i) -> Value {
        Value s = b.mul(b.extract(scores, i), b.constant(f32, a.scale));
        if (a.softcap != 0) {
          Value cap = b.constant(f32, a.softcap);
          Value bounded = math::TanhOp::create(b, b.div(s, cap));
          s = b.mul(cap, bounded);
        }
        if (a.scoreRounding)
          s = roundToCodes(b, s, a.scoreRounding);
        Value minusInfinity = b.constant(f32, -INFINITY);
        SmallVector<Value> conditions;
        Value shown, inWindow, before;
        if (a.mask) {
          Value m = extractBroadcast(b, a.mask, maskSizes, i);
          if (m.getType().isInteger(1))
            conditions.push_back(m);
          else
            s = b.add(s, b.convert(m, f32));
        }
        if (a.padding) {
          Value p = extractBroadcast(b, a.padding, paddingSizes, {i[0], i[3]});
          shown = b.convert(p, b.getI1Type());
          conditions.push_back(shown);
        }
        Value position, key = i[3];
        if (a.lengths)
          position = b.addIndex(b.toIndex(b.extract(a.lengths, {i[0]})), i[2]);
        else
          position = b.addIndex(offset, i[2]);
        if (a.causal) {
          before = arith::CmpIOp::create(b, arith::CmpIPredicate::sle, key,
                                         position);
          conditions.push_back(before);
        }
        if (a.window != 0) {
          inWindow = arith::CmpIOp::create(b, arith::CmpIPredicate::sgt,
                                           b.addIndex(key, b.index(a.window)),
                                           position);
          conditions.push_back(inWindow);
        }
        Value hidden =
            a.hidden ? b.add(s, b.constant(f32, *a.hidden)) : minusInfinity;
        if (!conditions.empty()) {
          Value seen = conditions.front();
          for (Value condition : llvm::drop_begin(conditions))
            seen = arith::AndIOp::create(b, seen, condition);
          s = arith::SelectOp::create(b, seen, s, hidden);
        }
        if (a.hiddenOnce) {
          Value once = before;
          if (inWindow)
            once = arith::AndIOp::create(
                b, once, arith::OrIOp::create(b, shown, inWindow));
          s = arith::SelectOp::create(b, once, s, minusInfinity);
        }
        // What is behind the newest key is no key.
        if (a.lengths && (!a.causal || a.hidden)) {
          Value end =
              b.addIndex(b.toIndex(b.extract(a.lengths, {i[0]})), queries);
          Value isKey =
              arith::CmpIOp::create(b, arith::CmpIPredicate::slt, key, end);
          s = arith::SelectOp::create(b, isKey, s, minusInfinity);
        }
        return s;
      });

  Value largest = b.reduceLast(
      b.constant(f32, -INFINITY), masked,
      [](LinalgBuilder &b, ValueRange v) { return b.max(v[1], v[0]); });
  // A sink is one more score, whose value is zero.
  auto sinkOf = [&](LinalgBuilder &b, Value head) {
    return b.convert(b.extract(a.sinks, {head}), f32);
  };
  if (a.sinks)
    largest = b.generate(f32, b.dims(largest),
                         [&](LinalgBuilder &b, ValueRange i) -> Value {
                           return b.max(b.extract(largest, i), sinkOf(b, i[1]));
                         });
  // Where nothing is seen the largest score is minus infinity, and
  // exp(−∞ − 0) = 0.
  Value weights = b.withRows(
      f32, masked, {largest}, {}, [&](LinalgBuilder &b, ValueRange v) -> Value {
        Value none = arith::CmpFOp::create(b, arith::CmpFPredicate::OEQ, v[1],
                                           b.constant(f32, -INFINITY));
        Value shift =
            arith::SelectOp::create(b, none, b.constant(f32, 0), v[1]);
        return math::ExpOp::create(b, b.sub(v[0], shift));
      });
  Value sum = b.reduceLast(
      b.constant(f32, 0), weights,
      [](LinalgBuilder &b, ValueRange v) { return b.add(v[1], v[0]); });
  if (a.sinks)
    sum = b.generate(
        f32, b.dims(sum), [&](LinalgBuilder &b, ValueRange i) -> Value {
          Value shifted = b.sub(sinkOf(b, i[1]), b.extract(largest, i));
          return b.add(b.extract(sum, i), math::ExpOp::create(b, shifted));
        });

  // Rounded weights are what is multiplied, so the sum divides them before.
  if (a.weightRounding) {
    weights = b.withRows(
        f32, weights, {sum}, {}, [&](LinalgBuilder &b, ValueRange v) {
          Value zero = b.constant(f32, 0);
          Value none =
              arith::CmpFOp::create(b, arith::CmpFPredicate::OEQ, v[1], zero);
          Value weight =
              arith::SelectOp::create(b, none, zero, b.div(v[0], v[1]));
          return roundToCodes(b, weight, a.weightRounding);
        });
    sum = b.generate(f32, b.dims(sum), [&](LinalgBuilder &b, ValueRange) {
      return b.constant(f32, 1);
    });
  }

  // Loops: batch, head, query, value size, key.
  SmallVector<Value> outSizes{batch, b.index(heads), queries,
                              b.dim(a.value, 3)};
  Value product = b.reduce(
      b.constant(f32, 0), outSizes, {keys}, {weights, a.value},
      {AffineMap::get(5, 0, {d(0), d(1), d(2), d(4)}, context),
       AffineMap::get(5, 0, {d(0), keyHead, d(4), d(3)}, context)},
      [&](LinalgBuilder &b, ValueRange v) -> Value {
        // A key that is not seen may hold anything, NaN too.
        Value zero = b.constant(f32, 0);
        Value unseen =
            arith::CmpFOp::create(b, arith::CmpFPredicate::OEQ, v[0], zero);
        Value read =
            arith::SelectOp::create(b, unseen, zero, b.convert(v[1], f32));
        return b.multiplyAdd(v[0], read, v[2]);
      });
  return b.withRows(
      element, product, {sum}, {}, [&](LinalgBuilder &b, ValueRange v) {
        Value zero = b.constant(f32, 0);
        Value none =
            arith::CmpFOp::create(b, arith::CmpFPredicate::OEQ, v[1], zero);
        Value y = arith::SelectOp::create(b, none, zero, b.div(v[0], v[1]));
        return b.convert(y, element);
      });
}

/// Lowers either form of attention.
template <typename Op, typename Adaptor>
static void replaceAttention(Op op, Adaptor operands, Value lengths,
                             const TypeConverter &converter,
                             ConversionPatternRewriter &rewriter) {
  LinalgBuilder b(op.getLoc(), rewriter);
  AttentionParts parts{
      operands.getQuery(),
      operands.getKey(),
      operands.getValue(),
      operands.getMask(),
      operands.getPadding(),
      operands.getSinks(),
      lengths,
      op.getScale().convertToDouble(),
      op.getSoftcap().convertToDouble(),
      op.getCausal(),
      static_cast<int64_t>(op.getWindow()),
      op.getHidden() ? std::optional<double>(op.getHidden()->convertToDouble())
                     : std::nullopt,
      op.getHiddenOnce(),
      op.getKeyRoundingAttr(),
      op.getValueRoundingAttr(),
      op.getScoreRoundingAttr(),
      op.getWeightRoundingAttr()};
  Type type = converter.convertType(op.getResult().getType());
  Value result = lowerAttention(b, parts, getElementTypeOrSelf(type));
  rewriter.replaceOp(op, b.as(result, type));
}

struct LowerAttention : OpConversionPattern<AttentionOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult
  matchAndRewrite(AttentionOp op, OpAdaptor operands,
                  ConversionPatternRewriter &rewriter) const override {
    replaceAttention(op, operands, /*lengths=*/Value(), *getTypeConverter(),
                     rewriter);
    return success();
  }
};

struct LowerCachedAttention : OpConversionPattern<CachedAttentionOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult
  matchAndRewrite(CachedAttentionOp op, OpAdaptor operands,
                  ConversionPatternRewriter &rewriter) const override {
    replaceAttention(op, operands, /*lengths=*/operands.getLengths(),
                     *getTypeConverter(), rewriter);
    return success();
  }
};

struct LowerCacheAppend : OpConversionPattern<CacheAppendOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult
  matchAndRewrite(CacheAppendOp op, OpAdaptor operands,
                  ConversionPatternRewriter &rewriter) const override {
    LinalgBuilder b(op.getLoc(), rewriter);
    Value update = operands.getUpdate(), cache = operands.getCache(),
          lengths = operands.getLengths();
    Value added = b.dim(update, 2);
    Type element = b.element(cache);
    Value result = b.generate(
        element, b.dims(cache), [&](LinalgBuilder &b, ValueRange i) -> Value {
          Value t = b.subIndex(i[2], b.toIndex(b.extract(lengths, {i[0]})));
          // One unsigned comparison: t is in [0, added).
          Value isNew =
              arith::CmpIOp::create(b, arith::CmpIPredicate::ult, t, added);
          // An update of length 0 has no element that could be read instead.
          return b.branch(
              isNew,
              [&](LinalgBuilder &b) {
                return b.convert(b.extract(update, {i[0], i[1], t, i[3]}),
                                 element);
              },
              [&](LinalgBuilder &b) { return b.extract(cache, i); });
        });
    rewriter.replaceOp(
        op, b.as(result, getTypeConverter()->convertType(op.getType())));
    return success();
  }
};

struct LowerTakeLast : OpConversionPattern<TakeLastOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult
  matchAndRewrite(TakeLastOp op, OpAdaptor operands,
                  ConversionPatternRewriter &rewriter) const override {
    LinalgBuilder b(op.getLoc(), rewriter);
    Value x = operands.getInput(), counts = operands.getCounts();
    SmallVector<Value> sizes = b.dims(x);
    sizes[1] = b.index(1);
    Value result =
        b.generate(b.element(x), sizes, [&](LinalgBuilder &b, ValueRange i) {
          Value last =
              b.subIndex(b.toIndex(b.extract(counts, {i[0]})), b.index(1));
          // A row without a new token has no last one; its result is unused.
          last = b.max(last, b.index(0));
          return b.extract(x, {i[0], last, i[2]});
        });
    rewriter.replaceOp(
        op, b.as(result, getTypeConverter()->convertType(op.getType())));
    return success();
  }
};

} // namespace

namespace miura::detail {
void populateAttentionPatterns(const TypeConverter &converter,
                               RewritePatternSet &patterns) {
  patterns.add<LowerAttention>(converter, patterns.getContext());
}
} // namespace miura::detail

void miura::populateMiuraSessionToLinalgPatterns(const TypeConverter &converter,
                                                 RewritePatternSet &patterns) {
  patterns.add<LowerCachedAttention, LowerCacheAppend, LowerTakeLast>(
      converter, patterns.getContext());
}
