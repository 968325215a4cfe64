//===- Attention.cpp - Attention and rotary embeddings as nodes -----------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Attention and RotaryEmbedding of ai.onnx 23 and 24 and the relatives of ONNX
/// Runtime (GroupQueryAttention, RotaryEmbedding), for models that are run as
/// they are: raising has model ops for all of them, and these loops, which know
/// nothing of those, tell whether it was right. Sums and exponents are in f32.
/// Definitions: the ONNX operator specification and ONNX Runtime's
/// documentation of contrib operators.
///
//===----------------------------------------------------------------------===//

#include "Node.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"

using namespace mlir;
using namespace miura;
using namespace miura::onnxlower;

namespace {

using B = LinalgBuilder;
using Predicate = arith::CmpIPredicate;

Value compare(B &b, Predicate predicate, Value x, Value y) {
  return b.createOrFold<arith::CmpIOp>(predicate, x, y);
}

Value both(B &b, Value x, Value y) {
  return b.createOrFold<arith::AndIOp>(x, y);
}

/// [batch, length, heads · size] as [batch, heads, length, size].
Value splitHeads(Node &n, Value x, int64_t heads) {
  SmallVector<Value> sizes = n.dims(x);
  Value size = n.createOrFold<arith::DivUIOp>(sizes[2], n.index(heads));
  return n.transpose(n.reshape(x, {sizes[0], sizes[1], n.index(heads), size}),
                     {0, 2, 1, 3});
}

/// The way back.
Value joinHeads(Node &n, Value x) {
  SmallVector<Value> sizes = n.dims(x);
  return n.reshape(n.transpose(x, {0, 2, 1, 3}),
                   {sizes[0], sizes[2], n.mulIndex(sizes[1], sizes[3])});
}

//===----------------------------------------------------------------------===//
// Rotary embeddings
//===----------------------------------------------------------------------===//

/// The cosine or sine of rotation `i` for token `s` of row `b`.
using Angle = function_ref<Value(B &, Value row, Value token, Value i)>;

/// Rotates the first `rotated` elements of the heads of x, [batch, heads,
/// length, size].
Value rotate(Node &n, Value x, Value rotated, bool interleaved, Angle cosine,
             Angle sine) {
  Type element = n.element(x), f32 = n.getF32Type();
  Value one = n.index(1), two = n.index(2);
  Value half = n.createOrFold<arith::DivUIOp>(rotated, two);
  return n.generate(element, n.dims(x), [&](B &b, ValueRange at) -> Value {
    Value d = at[3];
    Value inside = compare(b, Predicate::ult, d, rotated);
    Value isFirst, i, partner;
    if (interleaved) {
      i = b.createOrFold<arith::DivUIOp>(d, two);
      isFirst = compare(b, Predicate::eq, b.mulIndex(i, two), d);
      partner = b.createOrFold<arith::XOrIOp>(d, one);
    } else {
      isFirst = compare(b, Predicate::ult, d, half);
      Value below = b.subIndex(d, half);
      i = b.createOrFold<arith::SelectOp>(isFirst, d, below);
      partner =
          b.createOrFold<arith::SelectOp>(isFirst, b.addIndex(d, half), below);
    }
    // What is not rotated reads some place inside and is not used.
    i = b.min(i, b.subIndex(half, one));
    partner = b.createOrFold<arith::SelectOp>(inside, partner, d);
    Value self = b.convert(b.extract(x, at), f32);
    Value other = b.convert(b.extract(x, {at[0], at[1], at[2], partner}), f32);
    Value c = b.convert(cosine(b, at[0], at[2], i), f32);
    Value s = b.convert(sine(b, at[0], at[2], i), f32);
    Value turned = b.mul(other, s);
    Value minus = b.sub(b.constant(f32, 0), turned);
    turned = arith::SelectOp::create(b, isFirst, minus, turned);
    Value y = b.add(b.mul(self, c), turned);
    return b.convert(arith::SelectOp::create(b, inside, y, self), element);
  });
}

/// ai.onnx 23: X, cos, sin, positions. com.microsoft: X, positions, cos, sin.
template <bool isContrib> Results rotaryEmbedding(Node &n) {
  Value x = n[0];
  Value positions = isContrib ? n[1] : n.has(3) ? n[3] : Value();
  Value cos = n[isContrib ? 2 : 1], sin = n[isContrib ? 3 : 2];
  int64_t rank = n.rank(x), heads = n.getInt("num_heads", 0);
  if (rank != 3 && rank != 4)
    return n.error() << "has an input of rank " << rank << ", not 3 or 4";
  Value half = n.dim(cos, -1), rotated = n.mulIndex(half, n.index(2));
  if (rank == 3 && heads == 0) {
    // Heads are as long as what is rotated.
    int64_t width = n.type(x).getDimSize(2);
    int64_t size = 2 * n.type(cos).getDimSize(n.rank(cos) - 1);
    if (width < 0 || size <= 0 || width % size != 0)
      return n.error() << "does not say how many heads its input has";
    heads = width / size;
  }
  if (rank == 3)
    x = splitHeads(n, x, heads);
  auto angle = [&](Value table) {
    return [&n, table, positions](B &b, Value row, Value token,
                                  Value i) -> Value {
      if (!positions)
        return b.extract(table, {row, token, i});
      Value place;
      if (n.rank(positions) == 1) // Where the first token stands.
        place = b.addIndex(b.toIndex(b.extract(positions, b.index(0))), token);
      else
        place = b.toIndex(b.extract(positions, {row, token}));
      Value last = b.subIndex(n.dim(table, 0), b.index(1));
      return b.extract(table, {b.max(b.min(place, last), b.index(0)), i});
    };
  };
  Value y =
      rotate(n, x, rotated, n.getInt("interleaved", 0), angle(cos), angle(sin));
  return {{rank == 3 ? joinHeads(n, y) : y}};
}

//===----------------------------------------------------------------------===//
// Attention
//===----------------------------------------------------------------------===//

/// What becomes of a score at [row, head, query, key].
using Score = function_ref<Value(B &, Value score, ValueRange at)>;

/// softmax(f(q kᵀ · scale)) v for q [batch, heads, queries, size] and keys and
/// values of `heads` / `group` heads; a query that no key is seen by is 0.
/// `sink` is one more score per head, without a value. Also gives the scores
/// before f.
std::pair<Value, Value> attend(Node &n, Value q, Value k, Value v, double scale,
                               int64_t group, Score score,
                               function_ref<Value(B &, Value head)> sink = {}) {
  Type f32 = n.getF32Type(), element = n.element(q);
  MLIRContext *context = n.getContext();
  auto dim = [&](int64_t i) { return n.getAffineDimExpr(i); };
  auto multiply = [&](B &b, ValueRange values) {
    return b.multiplyAdd(b.convert(values[0], f32), b.convert(values[1], f32),
                         values[2]);
  };
  Value zero = n.constant(f32, 0), lowest = n.constant(f32, -INFINITY);
  Value batch = n.dim(q, 0), heads = n.dim(q, 1), queries = n.dim(q, 2),
        keys = n.dim(k, 2);
  AffineExpr shared = group == 1 ? dim(1) : dim(1).floorDiv(group);
  // Loops: batch, head, query, key, size.
  Value products = n.reduce(
      zero, {batch, heads, queries, keys}, {n.dim(q, 3)}, {q, k},
      {AffineMap::get(5, 0, {dim(0), dim(1), dim(2), dim(4)}, context),
       AffineMap::get(5, 0, {dim(0), shared, dim(3), dim(4)}, context)},
      multiply);
  Value scaled = n.elementwise(f32, {products}, [&](B &b, ValueRange values) {
    return b.mul(values[0], b.constant(f32, scale));
  });
  Value scores = n.generate(f32, n.dims(scaled), [&](B &b, ValueRange at) {
    return score(b, b.extract(scaled, at), at);
  });
  Value largest =
      n.reduceLast(lowest, scores, [](B &b, ValueRange values) -> Value {
        return b.max(values[1], values[0]);
      });
  if (sink)
    largest = n.generate(f32, n.dims(largest), [&](B &b, ValueRange at) {
      return b.max(b.extract(largest, at), sink(b, at[1]));
    });
  // A row of −∞ has no largest score to subtract.
  auto power = [&](B &b, Value value, Value most) -> Value {
    Value none = arith::CmpFOp::create(b, arith::CmpFPredicate::OEQ, most,
                                       b.constant(f32, -INFINITY));
    Value safe = arith::SelectOp::create(b, none, b.constant(f32, 0), most);
    return math::ExpOp::create(b, b.sub(value, safe));
  };
  Value powers = n.generate(f32, n.dims(scores), [&](B &b, ValueRange at) {
    return power(b, b.extract(scores, at), b.extract(largest, at.drop_back()));
  });
  Value sums = n.reduceLast(zero, powers, [](B &b, ValueRange values) {
    return b.add(values[1], values[0]);
  });
  Value shares =
      n.generate(f32, n.dims(powers), [&](B &b, ValueRange at) -> Value {
        ValueRange row = at.drop_back();
        Value sum = b.extract(sums, row);
        if (sink)
          sum = b.add(sum, power(b, sink(b, at[1]), b.extract(largest, row)));
        Value none = arith::CmpFOp::create(b, arith::CmpFPredicate::OEQ, sum,
                                           b.constant(f32, 0));
        sum = arith::SelectOp::create(b, none, b.constant(f32, 1), sum);
        return b.div(b.extract(powers, at), sum);
      });
  // Loops: batch, head, query, size, key.
  Value sum = n.reduce(
      zero, {batch, heads, queries, n.dim(v, 3)}, {keys}, {shares, v},
      {AffineMap::get(5, 0, {dim(0), dim(1), dim(2), dim(4)}, context),
       AffineMap::get(5, 0, {dim(0), shared, dim(4), dim(3)}, context)},
      multiply);
  Value y = n.elementwise(element, {sum}, [&](B &b, ValueRange values) {
    return b.convert(values[0], element);
  });
  return {y, scaled};
}

Value softcapped(B &b, Value score, double cap) {
  if (cap == 0)
    return score;
  Value limit = b.constant(score.getType(), cap);
  return b.mul(math::TanhOp::create(b, b.div(score, limit)), limit);
}

/// `past` and `fresh` one after the other along dimension 2.
Value appended(Node &n, Value past, Value fresh) {
  Value length = n.dim(past, 2);
  SmallVector<Value> sizes = n.dims(fresh);
  sizes[2] = n.addIndex(length, sizes[2]);
  return n.generate(n.element(fresh), sizes, [&](B &b, ValueRange at) {
    Value isPast = compare(b, Predicate::ult, at[2], length);
    return b.branch(
        isPast, [&](B &b) { return b.extract(past, at); },
        [&](B &b) {
          Value i = b.subIndex(at[2], length);
          return b.extract(fresh, {at[0], at[1], i, at[3]});
        });
  });
}

/// Heads of queries per head of keys; fails where either is not known.
FailureOr<int64_t> getGroup(Node &n, Value q, Value k) {
  int64_t queries = n.type(q).getDimSize(1), keys = n.type(k).getDimSize(1);
  if (ShapedType::isDynamic(queries) || ShapedType::isDynamic(keys) ||
      keys == 0 || queries % keys != 0)
    return n.error() << "has " << queries << " heads of queries and " << keys
                     << " of keys, which are not known or do not divide";
  return queries / keys;
}

/// What a mask of any number of leading dimensions says about [.., query, key],
/// added to a score: false and what lies behind its end are −∞.
Value masked(B &b, Value score, Value mask, ArrayRef<Value> sizes,
             ValueRange at) {
  Value width = sizes.back(), one = b.index(1);
  // A last dimension of size 1 is a mask of one key.
  Value inside = compare(b, Predicate::ult, at.back(), width);
  SmallVector<Value> place(at.begin(), at.end());
  place.back() = b.min(at.back(), b.subIndex(width, one));
  Value value = Node::readBroadcast(b, mask, sizes, place);
  Value lowest = b.constant(score.getType(), -INFINITY);
  Value with = value.getType().isInteger(1)
                   ? Value(arith::SelectOp::create(b, value, score, lowest))
                   : b.add(score, b.convert(value, score.getType()));
  return arith::SelectOp::create(b, inside, with, lowest);
}

Results attention(Node &n) {
  Value q = n[0], k = n[1], v = n[2];
  int64_t rank = n.rank(q);
  if (rank == 3) {
    int64_t heads = n.getInt("q_num_heads", 0),
            shared = n.getInt("kv_num_heads", 0);
    if (heads < 1 || shared < 1)
      return n.error() << "does not say how many heads its inputs have";
    q = splitHeads(n, q, heads);
    k = splitHeads(n, k, shared);
    v = splitHeads(n, v, shared);
  } else if (rank != 4) {
    return n.error() << "has queries of rank " << rank << ", not 3 or 4";
  }
  if (n.wantsResult(3) && n.getInt("qk_matmul_output_mode", 0) != 0)
    return n.error() << "gives scores of another kind than 0, which is not "
                        "lowered";
  if (n.getInt("left_window_size", -1) != -1 ||
      n.getInt("right_window_size", -1) != -1)
    return n.error() << "has a window, which is not lowered";
  bool causal = n.getInt("is_causal", 0);
  Value past = n.index(0), lengths = n.has(6) ? n[6] : Value();
  if (n.has(4) && n.has(5)) {
    past = n.dim(n[4], 2);
    k = appended(n, n[4], k);
    v = appended(n, n[5], v);
  }
  auto group = getGroup(n, q, k);
  if (failed(group))
    return failure();
  Value mask = n.has(3) ? n[3] : Value();
  SmallVector<Value> maskSizes = mask ? n.dims(mask) : SmallVector<Value>();
  Value queries = n.dim(q, 2);
  double cap = n.getFloat("softcap", 0);
  int64_t size = n.type(q).getDimSize(3);
  if (!n.hasAttr("scale") && ShapedType::isDynamic(size))
    return n.error() << "has heads of unknown size and no scale";
  double scale = n.getFloat("scale", 1 / std::sqrt(double(size)));
  auto [y, scores] =
      attend(n, q, k, v, scale, *group, [&](B &b, Value score, ValueRange at) {
        score = softcapped(b, score, cap);
        Value lowest = b.constant(score.getType(), -INFINITY);
        Value before = past;
        if (lengths) {
          Value length = b.toIndex(b.extract(lengths, at[0]));
          Value inside = compare(b, Predicate::slt, at[3], length);
          score = arith::SelectOp::create(b, inside, score, lowest);
          before = b.subIndex(length, queries);
        }
        if (causal) {
          Value seen =
              compare(b, Predicate::sle, at[3], b.addIndex(at[2], before));
          score = arith::SelectOp::create(b, seen, score, lowest);
        }
        return mask ? masked(b, score, mask, maskSizes, at) : score;
      });
  Value out = rank == 3 ? joinHeads(n, y) : y;
  Value given;
  if (n.wantsResult(3)) {
    Type element = n.resultElement(3);
    given = n.elementwise(element, {scores}, [&](B &b, ValueRange values) {
      return b.convert(values[0], element);
    });
  }
  return {{out, k, v, given}};
}

//===----------------------------------------------------------------------===//
// GroupQueryAttention
//===----------------------------------------------------------------------===//

/// New keys or values behind the past of each row, in a buffer as long as the
/// past's or as the longest row. `before` is a row's number of old ones.
Value appendedByRow(Node &n, Value past, Value fresh, Value total,
                    function_ref<Value(B &, Value row)> before) {
  SmallVector<Value> sizes = n.dims(fresh);
  Value count = sizes[2], zero = n.index(0), one = n.index(1);
  Value pastLength = past ? n.dim(past, 2) : zero;
  sizes[2] = n.max(total, pastLength);
  Type element = n.element(fresh);
  return n.generate(element, sizes, [&](B &b, ValueRange at) -> Value {
    Value length = before(b, at[0]);
    Value i = b.subIndex(at[2], length);
    Value isFresh = compare(b, Predicate::ult, i, count);
    // A row that is shorter than the buffer has zeros behind its end.
    return b.branch(
        isFresh,
        [&](B &b) {
          Value place = b.max(b.min(i, b.subIndex(count, one)), zero);
          return b.extract(fresh, {at[0], at[1], place, at[3]});
        },
        [&](B &b) {
          if (!past)
            return b.constant(element, 0);
          Value isPast = both(b, compare(b, Predicate::slt, at[2], length),
                              compare(b, Predicate::ult, at[2], pastLength));
          return b.branch(
              isPast, [&](B &b) { return b.extract(past, at); },
              [&](B &b) { return b.constant(element, 0); });
        });
  });
}

/// A cache of int8: codes of x, [batch, heads, length, size], with one scale or
/// one for each place of a head.
struct CacheCodes {
  Value scale;

  Value read(B &b, ValueRange at, Value size) const {
    if (b.type(scale).getNumElements() == 1)
      return b.scalar(scale);
    // Sizes of 1 before the places.
    SmallVector<Value> place(b.rank(scale), b.index(0));
    place.back() = b.addIndex(b.mulIndex(at[1], size), at[3]);
    return b.extract(scale, place);
  }
  Value encode(Node &n, Value x) const {
    Type f32 = n.getF32Type(), i8 = n.getI8Type();
    Value size = n.dim(x, 3);
    return n.generate(i8, n.dims(x), [&](B &b, ValueRange at) {
      Value s = b.convert(read(b, at, size), f32);
      Value code = math::RoundEvenOp::create(
          b, b.div(b.convert(b.extract(x, at), f32), s));
      code = b.min(b.max(code, b.constant(f32, -128)), b.constant(f32, 127));
      return b.convert(b.convert(code, b.getI32Type()), i8);
    });
  }
  Value decode(Node &n, Value codes, Type element) const {
    Type f32 = n.getF32Type();
    Value size = n.dim(codes, 3);
    return n.generate(element, n.dims(codes), [&](B &b, ValueRange at) {
      Value s = b.convert(read(b, at, size), f32);
      return b.convert(b.mul(b.convert(b.extract(codes, at), f32), s), element);
    });
  }
};

Results groupQueryAttention(Node &n) {
  enum {
    Query,
    Key,
    Value_,
    PastKey,
    PastValue,
    Lengths,
    Total,
    Cos,
    Sin,
    Positions,
    Bias,
    Sink,
    KeyScale,
    ValueScale
  };
  int64_t heads = n.getInt("num_heads", 0),
          shared = n.getInt("kv_num_heads", 0);
  if (heads < 1 || shared < 1 || heads % shared != 0)
    return n.error() << "has " << heads << " heads of queries and " << shared
                     << " of keys, which do not divide";
  for (size_t i = ValueScale + 1; i < n.size(); ++i)
    if (n.has(i))
      return n.error() << "has operand " << i << ", which is not lowered";
  if (n.wantsResult(3))
    return n.error() << "gives its scores, which is not lowered";
  if (!n.has(Lengths) || !n.has(Total))
    return n.error() << "has no lengths";
  Value q = n[Query], k, v;
  if (n.has(Key)) {
    q = splitHeads(n, q, heads);
    k = splitHeads(n, n[Key], shared);
    v = splitHeads(n, n[Value_], shared);
  } else {
    // All in one, heads of queries first.
    Value packed = splitHeads(n, q, heads + 2 * shared);
    auto part = [&](int64_t first, int64_t count) {
      SmallVector<Value> sizes = n.dims(packed);
      sizes[1] = n.index(count);
      return n.generate(n.element(packed), sizes, [&](B &b, ValueRange at) {
        Value head = b.addIndex(at[1], b.index(first));
        return b.extract(packed, {at[0], head, at[2], at[3]});
      });
    };
    q = part(0, heads);
    k = part(heads, shared);
    v = part(heads + shared, shared);
  }
  int64_t size = n.type(q).getDimSize(3);
  if (ShapedType::isDynamic(size))
    return n.error() << "has heads of unknown size";

  // A first call has no past; later every row has its own.
  Value count = n.dim(q, 2), total = n.toIndex(n.scalar(n[Total]));
  Value isFirst = compare(n, Predicate::eq, count, total);
  int64_t lengthRank = n.rank(n[Lengths]);
  auto before = [&](B &b, Value row) -> Value {
    SmallVector<Value> place(lengthRank, b.index(0));
    place[0] = row;
    Value last = b.toIndex(b.extract(n[Lengths], place));
    Value old = b.subIndex(b.addIndex(last, b.index(1)), count);
    return arith::SelectOp::create(b, isFirst, b.index(0),
                                   b.max(old, b.index(0)));
  };
  if (n.getInt("do_rotary", 0)) {
    if (!n.has(Cos) || !n.has(Sin))
      return n.error() << "rotates without tables of cosines and sines";
    auto angle = [&](Value table) {
      return [&, table](B &b, Value row, Value token, Value i) -> Value {
        Value place = n.has(Positions)
                          ? b.toIndex(b.extract(n[Positions], {row, token}))
                          : b.addIndex(before(b, row), token);
        Value last = b.subIndex(n.dim(table, 0), b.index(1));
        return b.extract(table, {b.max(b.min(place, last), b.index(0)), i});
      };
    };
    bool interleaved = n.getInt("rotary_interleaved", 0);
    Value rotated = n.mulIndex(n.dim(n[Cos], 1), n.index(2));
    q = rotate(n, q, rotated, interleaved, angle(n[Cos]), angle(n[Sin]));
    k = rotate(n, k, rotated, interleaved, angle(n[Cos]), angle(n[Sin]));
  }
  // Where the cache has codes, attention reads what they stand for.
  CacheCodes keyCodes, valueCodes;
  bool coded = n.has(KeyScale);
  if (coded) {
    auto known = [&](size_t i) {
      if (!n.has(i) || !n.type(n[i]).hasStaticShape())
        return false;
      int64_t count = n.type(n[i]).getNumElements();
      return count == 1 || (count == shared * size &&
                            n.type(n[i]).getShape().back() == count);
    };
    if (n.getInt("kv_cache_bit_width", 8) != 8 || !known(KeyScale) ||
        !known(ValueScale))
      return n.error() << "has a cache of codes that is not lowered: expects 8 "
                          "bits and one scale, or one per place";
    keyCodes.scale = n[KeyScale];
    valueCodes.scale = n[ValueScale];
    k = keyCodes.encode(n, k);
    v = valueCodes.encode(n, v);
  }
  k = appendedByRow(n, n.has(PastKey) ? n[PastKey] : Value(), k, total, before);
  v = appendedByRow(n, n.has(PastValue) ? n[PastValue] : Value(), v, total,
                    before);
  Value seenKeys = coded ? keyCodes.decode(n, k, n.element(q)) : k;
  Value seenValues = coded ? valueCodes.decode(n, v, n.element(q)) : v;

  double cap = n.getFloat("softcap", 0);
  double scale = n.getFloat("scale", 0);
  if (scale == 0)
    scale = 1 / std::sqrt(double(size));
  int64_t window = n.getInt("local_window_size", -1);
  Value bias = n.has(Bias) ? n[Bias] : Value();
  SmallVector<Value> biasSizes = bias ? n.dims(bias) : SmallVector<Value>();
  auto score = [&](B &b, Value value, ValueRange at) -> Value {
    value = softcapped(b, value, cap);
    Value place = b.addIndex(before(b, at[0]), at[2]);
    Value seen = compare(b, Predicate::sle, at[3], place);
    // The window counts the query's own key.
    if (window >= 0)
      seen = both(b, seen,
                  compare(b, Predicate::sgt, at[3],
                          b.subIndex(place, b.index(window))));
    Value lowest = b.constant(value.getType(), -INFINITY);
    value = arith::SelectOp::create(b, seen, value, lowest);
    return bias ? masked(b, value, bias, biasSizes, at) : value;
  };
  auto sink = [&](B &b, Value head) -> Value {
    Type f32 = b.getF32Type();
    return n.has(Sink) ? b.convert(b.extract(n[Sink], head), f32)
                       : b.constant(f32, 0);
  };
  bool hasSink = n.has(Sink) || n.getInt("smooth_softmax", 0) == 1;
  function_ref<Value(B &, Value)> given;
  if (hasSink)
    given = sink;
  Value y =
      attend(n, q, seenKeys, seenValues, scale, heads / shared, score, given)
          .first;
  return {{joinHeads(n, y), k, v}};
}

} // namespace

void miura::onnxlower::addAttention(Table &t) {
  t["Attention"] = attention;
  t["RotaryEmbedding"] = rotaryEmbedding<false>;
  t["com.microsoft::RotaryEmbedding"] = rotaryEmbedding<true>;
  t["com.microsoft::GroupQueryAttention"] = groupQueryAttention;
}
