//===- Windows.cpp - Convolutions and pools -------------------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Operators that slide a window over the dimensions behind batch and
/// channels. The input is padded first, so that the loops read without asking
/// where they are. Definitions: the ONNX operator specification.
///
//===----------------------------------------------------------------------===//

#include "Node.h"

using namespace mlir;
using namespace miura;
using namespace miura::onnxlower;

namespace {

using B = LinalgBuilder;

/// How windows lie over the spatial dimensions.
struct Windows {
  SmallVector<int64_t> kernel, strides, dilations;
  /// Padding before, and the number of windows, per dimension.
  SmallVector<Value> before, counts;
  /// Of the input with its padding on both sides, without what a rounded-up
  /// number of windows reaches beyond.
  SmallVector<Value> padded;

  int64_t size() const { return kernel.size(); }
};

/// Reads the attributes that Conv and the pools share. `spatial` are the sizes
/// of the input's spatial dimensions.
FailureOr<Windows> readWindows(Node &n, ArrayRef<Value> spatial,
                               ArrayRef<int64_t> kernel) {
  Windows w;
  size_t dims = spatial.size();
  w.kernel.assign(kernel.begin(), kernel.end());
  w.strides = n.getInts("strides").value_or(SmallVector<int64_t>(dims, 1));
  w.dilations = n.getInts("dilations").value_or(SmallVector<int64_t>(dims, 1));
  auto pads = n.getInts("pads").value_or(SmallVector<int64_t>(2 * dims, 0));
  if (w.kernel.size() != dims || w.strides.size() != dims ||
      w.dilations.size() != dims || pads.size() != 2 * dims)
    return n.error() << "has attributes for another number of dimensions than "
                     << dims;
  for (size_t d = 0; d < dims; ++d)
    if (w.kernel[d] < 1 || w.strides[d] < 1 || w.dilations[d] < 1)
      return n.error() << "has a kernel, stride or dilation below 1";
  StringRef autoPad = n.getString("auto_pad", "NOTSET");
  bool same = autoPad.starts_with("SAME"), ceil = n.getInt("ceil_mode", 0);
  Value zero = n.index(0), one = n.index(1);
  for (size_t d = 0; d < dims; ++d) {
    Value reach = n.index((w.kernel[d] - 1) * w.dilations[d] + 1);
    Value stride = n.index(w.strides[d]);
    Value before = n.index(pads[d]), after = n.index(pads[d + dims]), count;
    if (same) {
      count = n.createOrFold<arith::CeilDivSIOp>(spatial[d], stride);
      Value total = n.max(
          n.subIndex(
              n.addIndex(n.mulIndex(n.subIndex(count, one), stride), reach),
              spatial[d]),
          zero);
      Value half = n.createOrFold<arith::DivSIOp>(total, n.index(2));
      Value rest = n.subIndex(total, half);
      before = autoPad == "SAME_LOWER" ? rest : half;
      after = autoPad == "SAME_LOWER" ? half : rest;
    } else if (autoPad == "VALID") {
      before = after = zero;
    }
    Value padded = n.addIndex(spatial[d], n.addIndex(before, after));
    if (!same) {
      Value steps = n.subIndex(padded, reach);
      count =
          n.addIndex(ceil ? n.createOrFold<arith::CeilDivSIOp>(steps, stride)
                          : n.createOrFold<arith::FloorDivSIOp>(steps, stride),
                     one);
      // A window that would begin behind the input does not count.
      if (ceil)
        count = n.selectIndex(arith::CmpIPredicate::sge,
                              n.mulIndex(n.subIndex(count, one), stride),
                              n.addIndex(spatial[d], before),
                              n.subIndex(count, one), count);
      count = n.max(count, zero);
    }
    w.before.push_back(before);
    w.counts.push_back(count);
    w.padded.push_back(padded);
  }
  return w;
}

/// `x` with `fill` around its spatial dimensions, which begin at `first`, as
/// far as the windows reach; where that is past the padding, `beyond`.
Value padFor(Node &n, Value x, const Windows &w, int64_t first, Value fill,
             Value beyond) {
  SmallVector<Value> own = n.dims(x), sizes = own;
  for (int64_t d = 0; d < w.size(); ++d) {
    Value last =
        n.mulIndex(n.subIndex(w.counts[d], n.index(1)), n.index(w.strides[d]));
    Value reach =
        n.addIndex(last, n.index((w.kernel[d] - 1) * w.dilations[d] + 1));
    sizes[first + d] = n.max(w.padded[d], reach);
  }
  return n.generate(n.element(x), sizes, [&](B &b, ValueRange at) -> Value {
    Value inside = b.constant(b.getI1Type(), 1), within = inside;
    SmallVector<Value> place(at.begin(), at.end());
    for (int64_t d = 0; d < w.size(); ++d) {
      Value i = b.subIndex(at[first + d], w.before[d]);
      place[first + d] = i;
      inside = b.createOrFold<arith::AndIOp>(
          inside, b.createOrFold<arith::CmpIOp>(arith::CmpIPredicate::ult, i,
                                                own[first + d]));
      within = b.createOrFold<arith::AndIOp>(
          within, b.createOrFold<arith::CmpIOp>(arith::CmpIPredicate::ult,
                                                at[first + d], w.padded[d]));
    }
    return b.branch(
        inside, [&](B &b) { return b.extract(x, place); },
        [&](B &b) -> Value {
          return arith::SelectOp::create(b, within, fill, beyond);
        });
  });
}

/// The map from loops to the place in a padded input: the dimensions `leading`,
/// then window · stride + tap · dilation.
AffineMap getInputMap(Node &n, const Windows &w, int64_t loops,
                      ArrayRef<int64_t> leading, int64_t firstWindow,
                      int64_t firstTap) {
  SmallVector<AffineExpr> exprs;
  for (int64_t d : leading)
    exprs.push_back(n.getAffineDimExpr(d));
  for (int64_t d = 0; d < w.size(); ++d)
    exprs.push_back(n.getAffineDimExpr(firstWindow + d) * w.strides[d] +
                    n.getAffineDimExpr(firstTap + d) * w.dilations[d]);
  return AffineMap::get(loops, 0, exprs, n.getContext());
}

SmallVector<Value> getSpatial(Node &n, Value x) {
  SmallVector<Value> sizes = n.dims(x);
  sizes.erase(sizes.begin(), sizes.begin() + 2);
  return sizes;
}

} // namespace

FailureOr<Value> miura::onnxlower::convolve(Node &n, Value x, Value weight,
                                            Type wide) {
  int64_t rank = n.rank(x), dims = rank - 2;
  if (rank < 3 || n.rank(weight) != rank)
    return n.error() << "has an input of rank " << rank
                     << " and a weight of rank " << n.rank(weight);
  SmallVector<int64_t> kernel(n.type(weight).getShape().drop_front(2));
  if (llvm::any_of(kernel, ShapedType::isDynamic))
    return n.error() << "has a weight of unknown size";
  auto windows = readWindows(n, getSpatial(n, x), kernel);
  if (failed(windows))
    return failure();
  Value zero = n.constant(n.element(x), 0);
  Value padded = padFor(n, x, *windows, 2, zero, zero);

  // With groups as a dimension of their own.
  int64_t groups = n.getInt("group", 1);
  if (groups < 1)
    return n.error() << "has " << groups << " groups";
  auto divide = [&](Value size) {
    return n.createOrFold<arith::DivUIOp>(size, n.index(groups));
  };
  SmallVector<Value> inputSizes = n.dims(padded), weightSizes = n.dims(weight);
  Value each = divide(weightSizes[0]), channels = weightSizes[1];
  inputSizes[1] = channels;
  inputSizes.insert(inputSizes.begin() + 1, n.index(groups));
  weightSizes[0] = each;
  weightSizes.insert(weightSizes.begin(), n.index(groups));
  Value grouped = n.reshape(padded, inputSizes);
  Value groupedWeight = n.reshape(weight, weightSizes);

  // Loops: batch, group, channel out, windows…, channel in, taps….
  int64_t loops = 4 + 2 * dims, channelIn = 3 + dims, firstTap = 4 + dims;
  SmallVector<Value> sizes{n.dim(x, 0), n.index(groups), each};
  llvm::append_range(sizes, windows->counts);
  SmallVector<Value> reduced{channels};
  for (int64_t size : kernel)
    reduced.push_back(n.index(size));
  SmallVector<AffineExpr> weightExprs{n.getAffineDimExpr(1),
                                      n.getAffineDimExpr(2),
                                      n.getAffineDimExpr(channelIn)};
  for (int64_t d = 0; d < dims; ++d)
    weightExprs.push_back(n.getAffineDimExpr(firstTap + d));
  Value sums =
      n.reduce(n.constant(wide, 0), sizes, reduced, {grouped, groupedWeight},
               {getInputMap(n, *windows, loops, {0, 1, channelIn}, 3, firstTap),
                AffineMap::get(loops, 0, weightExprs, n.getContext())},
               [&](B &b, ValueRange v) {
                 return b.multiplyAdd(b.convert(v[0], wide),
                                      b.convert(v[1], wide), v[2]);
               });
  SmallVector<Value> outSizes{n.dim(x, 0), n.dim(weight, 0)};
  llvm::append_range(outSizes, windows->counts);
  return n.reshape(sums, n.refine(outSizes));
}

namespace {

Results conv(Node &n) {
  Type element = n.resultElement(), wide = n.sumType(n.element(n[0]));
  auto sums = convolve(n, n[0], n[1], wide);
  if (failed(sums))
    return failure();
  SmallVector<Value> inputs{*sums};
  if (n.has(2)) {
    SmallVector<int64_t> behind;
    for (int64_t d = 0; d < n.rank(n[0]) - 2; ++d)
      behind.push_back(d + 1);
    inputs.push_back(n.unsqueeze(n[2], behind));
  }
  return {{n.broadcast(element, inputs, [&](B &b, ValueRange v) {
    Value y = v[0];
    if (v.size() > 1)
      y = b.add(y, b.convert(v[1], wide));
    return b.convert(y, element);
  })}};
}

/// `combine`d over the windows of `x`, whose padding is `fill` and, past it,
/// `beyond`.
Value pool(Node &n, Value x, const Windows &w, Value init, Value fill,
           Value beyond, LinalgBuilder::Body combine) {
  int64_t dims = w.size(), loops = 2 + 2 * dims;
  Value padded = padFor(n, x, w, 2, fill, beyond);
  SmallVector<Value> sizes{n.dim(x, 0), n.dim(x, 1)}, reduced;
  llvm::append_range(sizes, w.counts);
  for (int64_t size : w.kernel)
    reduced.push_back(n.index(size));
  return n.reduce(init, sizes, reduced, {padded},
                  {getInputMap(n, w, loops, {0, 1}, 2, 2 + dims)}, combine);
}

FailureOr<Windows> readPool(Node &n) {
  auto kernel = n.getInts("kernel_shape");
  if (!kernel || n.rank(n[0]) < 3)
    return n.error() << "has no kernel_shape or an input of rank "
                     << n.rank(n[0]);
  return readWindows(n, getSpatial(n, n[0]), *kernel);
}

Results maxPool(Node &n) {
  auto windows = readPool(n);
  if (failed(windows))
    return failure();
  if (n.wantsResult(1))
    return n.error() << "gives indices, which are not lowered";
  Type element = n.element(n[0]);
  bool isUnsigned = n.isUnsigned(0);
  // What every element is at least.
  double lowest = -INFINITY;
  if (auto integer = dyn_cast<IntegerType>(element))
    lowest = isUnsigned ? 0 : -std::ldexp(1.0, integer.getWidth() - 1);
  Value low = n.constant(element, lowest);
  return {{pool(n, n[0], *windows, low, low, low, [&](B &b, ValueRange v) {
    return b.max(v[1], v[0], isUnsigned);
  })}};
}

Results averagePool(Node &n) {
  auto windows = readPool(n);
  if (failed(windows))
    return failure();
  Value x = n[0];
  Type element = n.element(x), wide = n.sumType(element);
  Value zero = n.constant(element, 0), wideZero = n.constant(wide, 0);
  Value sums =
      pool(n, x, *windows, wideZero, zero, zero, [&](B &b, ValueRange v) {
        return b.add(v[1], b.convert(v[0], wide));
      });
  // How many elements a window has: the same over ones.
  SmallVector<Value> sizes = n.dims(x);
  sizes[0] = sizes[1] = n.index(1);
  Value one = n.constant(wide, 1);
  Value counts =
      pool(n, n.filled(one, sizes), *windows, wideZero,
           n.getInt("count_include_pad", 0) ? one : wideZero, wideZero,
           [](B &b, ValueRange v) { return b.add(v[1], v[0]); });
  return {{n.broadcast(element, {sums, counts}, [&](B &b, ValueRange v) {
    return b.convert(b.div(v[0], v[1]), element);
  })}};
}

/// Over all of the spatial dimensions at once.
template <bool isMaximum> Results globalPool(Node &n) {
  Value x = n[0];
  Type element = n.element(x), wide = n.sumType(element);
  SmallVector<int64_t> axes;
  Value count = n.index(1);
  for (int64_t d = 2; d < n.rank(x); ++d) {
    axes.push_back(d);
    count = n.mulIndex(count, n.dim(x, d));
  }
  Value init = n.constant(wide, isMaximum ? -INFINITY : 0.0);
  Value reduced =
      n.reduceAxes(x, axes, /*keep=*/true, init, [&](B &b, ValueRange v) {
        Value value = b.convert(v[0], wide);
        return isMaximum ? b.max(v[1], value) : b.add(v[1], value);
      });
  Value size = n.convert(count, wide);
  return {{n.elementwise(element, {reduced}, [&](B &b, ValueRange v) {
    return b.convert(isMaximum ? v[0] : b.div(v[0], size), element);
  })}};
}

} // namespace

void miura::onnxlower::addWindows(Table &t) {
  t["Conv"] = conv;
  t["MaxPool"] = maxPool;
  t["AveragePool"] = averagePool;
  t["GlobalAveragePool"] = globalPool<false>;
  t["GlobalMaxPool"] = globalPool<true>;
}
