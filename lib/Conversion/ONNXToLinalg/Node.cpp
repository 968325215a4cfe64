//===- Node.cpp - An ONNX node that is being lowered ----------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Access to a node and the loops that many operators share. Broadcasting is
/// numpy's: shapes are aligned at the last dimension, and a size of 1 stands
/// for any.
///
//===----------------------------------------------------------------------===//

#include "Node.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/IR/Matchers.h"

using namespace mlir;
using namespace miura;
using namespace miura::onnxlower;

/// Up to so many integers are computed as scalars: enough for any shape.
static constexpr int64_t kSmall = 8;

Node::Node(OnnxNodeOp op, ArrayRef<Value> values,
           const TypeConverter &converter, const OpBuilder &builder)
    : LinalgBuilder(op.getLoc(), builder), op(op), converter(converter) {
  for (Value value : values)
    operands.push_back(isa<AbsentType>(value.getType()) ? Value() : value);
}

//===----------------------------------------------------------------------===//
// Operands, results, attributes
//===----------------------------------------------------------------------===//

static bool hasUnsignedElements(Type type) {
  auto shaped = dyn_cast<ShapedType>(type);
  return shaped && shaped.getElementType().isUnsignedInteger();
}

bool Node::isUnsigned(size_t i) const {
  return hasUnsignedElements(op.getInputs()[i].getType());
}
bool Node::resultIsUnsigned(size_t i) const {
  return hasUnsignedElements(op->getResult(i).getType());
}
bool Node::wantsResult(size_t i) const {
  return i < op->getNumResults() &&
         !isa<AbsentType>(op->getResult(i).getType());
}
RankedTensorType Node::resultType(size_t i) const {
  return cast<RankedTensorType>(
      converter.convertType(op->getResult(i).getType()));
}

StringRef Node::dimName(Type type, int64_t dim) const {
  auto tensor = dyn_cast<RankedTensorType>(type);
  if (!tensor)
    return {};
  auto dims = dyn_cast_or_null<DimsAttr>(tensor.getEncoding());
  return dims && dims.getNames()[dim] ? dims.getNames()[dim].getValue()
                                      : StringRef();
}
StringRef Node::operandDimName(size_t i, int64_t dim) const {
  return dimName(op.getInputs()[i].getType(), dim);
}
StringRef Node::resultDimName(int64_t dim) const {
  return dimName(op->getResult(0).getType(), dim);
}

bool Node::hasAttr(StringRef name) const {
  return bool(op.getOnnxAttributes().get(name));
}
int64_t Node::getInt(StringRef name, int64_t otherwise) const {
  auto attr = dyn_cast_or_null<IntegerAttr>(op.getOnnxAttributes().get(name));
  return attr ? attr.getValue().getSExtValue() : otherwise;
}
double Node::getFloat(StringRef name, double otherwise) const {
  auto attr = dyn_cast_or_null<FloatAttr>(op.getOnnxAttributes().get(name));
  return attr ? attr.getValueAsDouble() : otherwise;
}
std::optional<SmallVector<int64_t>> Node::getInts(StringRef name) const {
  auto attr =
      dyn_cast_or_null<DenseI64ArrayAttr>(op.getOnnxAttributes().get(name));
  if (!attr)
    return std::nullopt;
  return SmallVector<int64_t>(attr.asArrayRef());
}
StringRef Node::getString(StringRef name, StringRef otherwise) const {
  auto attr = dyn_cast_or_null<StringAttr>(op.getOnnxAttributes().get(name));
  return attr ? attr.getValue() : otherwise;
}
DenseElementsAttr Node::getTensor(StringRef name) const {
  return dyn_cast_or_null<DenseElementsAttr>(op.getOnnxAttributes().get(name));
}

InFlightDiagnostic Node::error() {
  InFlightDiagnostic diagnostic = op.emitError("node '");
  diagnostic << op.getNodeName() << "' (" << op.getOpType() << ") ";
  return diagnostic;
}

//===----------------------------------------------------------------------===//
// Integers known now
//===----------------------------------------------------------------------===//

std::optional<SmallVector<int64_t>> Node::constantInts(size_t i) const {
  if (!has(i))
    return std::nullopt;
  // Either the operand as it was, or what it was lowered to.
  for (Value value : {op.getInputs()[i], operands[i]}) {
    DenseIntElementsAttr dense;
    if (matchPattern(value, m_Constant(&dense)) && dense) {
      SmallVector<int64_t> result;
      for (const APInt &element : dense.getValues<APInt>())
        result.push_back(element.getSExtValue());
      return result;
    }
    if (auto node = value.getDefiningOp<OnnxNodeOp>();
        node && node.getOpType() == "Constant")
      if (auto attr = dyn_cast_or_null<DenseIntElementsAttr>(
              node.getOnnxAttributes().get("value"))) {
        SmallVector<int64_t> result;
        for (const APInt &element : attr.getValues<APInt>())
          result.push_back(element.getSExtValue());
        return result;
      }
    if (auto elements = value.getDefiningOp<tensor::FromElementsOp>()) {
      SmallVector<int64_t> result;
      for (Value element : elements.getElements()) {
        std::optional<int64_t> known = getConstantIntValue(element);
        if (!known)
          break;
        result.push_back(*known);
      }
      if (result.size() == elements.getElements().size())
        return result;
    }
  }
  return std::nullopt;
}

FailureOr<std::optional<SmallVector<int64_t>>>
Node::axes(StringRef name, size_t i, int64_t rank) {
  std::optional<SmallVector<int64_t>> result = getInts(name);
  if (!result && has(i)) {
    result = constantInts(i);
    if (!result)
      return error() << "has axes that are not a constant";
  }
  if (result)
    for (int64_t &axis : *result) {
      if (axis < -rank || axis >= rank)
        return error() << "has the axis " << axis << ", outside of rank "
                       << rank;
      axis = axis < 0 ? axis + rank : axis;
    }
  return result;
}

FailureOr<int64_t> Node::axis(StringRef name, int64_t otherwise, int64_t rank) {
  int64_t axis = getInt(name, otherwise);
  if (axis < -rank || axis >= rank)
    return error() << "has the axis " << axis << ", outside of rank " << rank;
  return axis < 0 ? axis + rank : axis;
}

//===----------------------------------------------------------------------===//
// Loops
//===----------------------------------------------------------------------===//

bool Node::isSmall(Type element, ArrayRef<Value> sizes) {
  if (!element.isIntOrIndex() || sizes.size() > 1)
    return false;
  std::optional<int64_t> count =
      sizes.empty() ? 1 : getConstantIntValue(sizes[0]);
  return count && *count > 0 && *count <= kSmall;
}

Value Node::produce(Type element, ArrayRef<Value> sizes, Body body) {
  if (!isSmall(element, sizes))
    return generate(element, sizes, body);
  SmallVector<Value> elements;
  int64_t count = sizes.empty() ? 1 : *getConstantIntValue(sizes[0]);
  for (int64_t i = 0; i < count; ++i) {
    SmallVector<Value> at;
    if (!sizes.empty())
      at.push_back(index(i));
    elements.push_back(body(*this, at));
  }
  return tensor::FromElementsOp::create(*this, typeOf(element, sizes),
                                        elements);
}

SmallVector<Value> Node::indices(Value vector) {
  SmallVector<Value> result;
  if (rank(vector) == 0)
    return {toIndex(scalar(vector))};
  for (int64_t i = 0, e = type(vector).getDimSize(0); i < e; ++i)
    result.push_back(toIndex(extract(vector, index(i))));
  return result;
}

SmallVector<Value> Node::refine(ArrayRef<Value> sizes, size_t i) {
  SmallVector<Value> result(sizes);
  RankedTensorType declared = resultType(i);
  if (declared.getRank() == int64_t(sizes.size()))
    for (int64_t d = 0; d < declared.getRank(); ++d)
      if (!declared.isDynamicDim(d))
        result[d] = index(declared.getDimSize(d));
  return result;
}

Value Node::readBroadcast(LinalgBuilder &b, Value value, ArrayRef<Value> sizes,
                          ValueRange indices) {
  SmallVector<Value> at;
  ValueRange trailing = indices.take_back(sizes.size());
  for (auto [d, index] : llvm::enumerate(trailing))
    at.push_back(b.selectIndex(arith::CmpIPredicate::eq, sizes[d], b.index(1),
                               b.index(0), index));
  return b.extract(value, at);
}

bool Node::isFullDim(Value v, int64_t valueDim, int64_t resultDim,
                     ArrayRef<Value> values, int64_t resultRank) {
  if (!type(v).isDynamicDim(valueDim))
    return true;
  // A name that the result's dimension has too.
  for (size_t i = 0; i < operands.size(); ++i)
    if (operands[i] == v && resultRank == resultType().getRank()) {
      StringRef name = operandDimName(i, valueDim);
      if (!name.empty() && name == resultDimName(resultDim))
        return true;
    }
  // The only one whose size is not 1.
  for (Value other : values) {
    int64_t d = resultDim - (resultRank - rank(other));
    if (other != v && d >= 0 && type(other).getDimSize(d) != 1)
      return false;
  }
  return true;
}

SmallVector<Value> Node::broadcastSizes(ArrayRef<Value> values) {
  int64_t resultRank = 0;
  for (Value value : values)
    resultRank = std::max(resultRank, rank(value));
  SmallVector<Value> sizes;
  for (int64_t d = 0; d < resultRank; ++d) {
    Value size;
    for (Value value : values) {
      int64_t own = d - (resultRank - rank(value));
      if (own < 0)
        continue;
      int64_t known = type(value).getDimSize(own);
      if (!ShapedType::isDynamic(known) && known != 1) {
        size = index(known);
        break;
      }
      if (known == 1) {
        size = size ? size : index(1);
        continue;
      }
      Value mine = dim(value, own);
      if (isFullDim(value, own, d, values, resultRank)) {
        size = mine;
        break;
      }
      size = size ? selectIndex(arith::CmpIPredicate::eq, size, index(1), mine,
                                size)
                  : mine;
    }
    sizes.push_back(size);
  }
  return sizes;
}

Value Node::broadcast(Type element, ArrayRef<Value> values, Body body) {
  return broadcastOver(refine(broadcastSizes(values)), element, values, body);
}

Value Node::broadcastInside(Type element, ArrayRef<Value> values, Body body) {
  return broadcastOver(broadcastSizes(values), element, values, body);
}

Value Node::broadcastOver(ArrayRef<Value> sizes, Type element,
                          ArrayRef<Value> values, Body body) {
  int64_t resultRank = sizes.size();
  if (isSmall(element, sizes) && llvm::all_of(values, [&](Value value) {
        return isSmall(this->element(value), dims(value));
      })) {
    return produce(element, sizes, [&](LinalgBuilder &b, ValueRange at) {
      SmallVector<Value> scalars;
      for (Value value : values)
        scalars.push_back(readBroadcast(b, value, dims(value), at));
      return body(b, scalars);
    });
  }
  // Operands that are read through a map, and those whose size decides at run
  // time.
  SmallVector<Value> mapped;
  SmallVector<AffineMap> maps;
  SmallVector<std::optional<size_t>> position;
  SmallVector<SmallVector<Value>> valueSizes;
  for (Value value : values) {
    valueSizes.push_back(dims(value));
    int64_t offset = resultRank - rank(value);
    SmallVector<AffineExpr> exprs;
    bool plain = true;
    for (int64_t d = 0; d < rank(value); ++d) {
      bool one = type(value).getDimSize(d) == 1;
      plain &= one || isFullDim(value, d, d + offset, values, resultRank);
      exprs.push_back(one ? getAffineConstantExpr(0)
                          : getAffineDimExpr(d + offset));
    }
    if (!plain) {
      position.push_back(std::nullopt);
      continue;
    }
    position.push_back(mapped.size());
    mapped.push_back(value);
    maps.push_back(AffineMap::get(resultRank, 0, exprs, getContext()));
  }
  return loop(
      element, sizes, mapped, maps, [&](LinalgBuilder &b, ValueRange elements) {
        SmallVector<Value> at;
        if (mapped.size() != values.size())
          for (int64_t d = 0; d < resultRank; ++d)
            at.push_back(linalg::IndexOp::create(b, d));
        SmallVector<Value> scalars;
        for (auto [i, value] : llvm::enumerate(values))
          scalars.push_back(position[i]
                                ? elements[*position[i]]
                                : readBroadcast(b, value, valueSizes[i], at));
        return body(b, scalars);
      });
}

Value Node::broadcastTo(Value value, ArrayRef<Value> sizes) {
  SmallVector<Value> own = dims(value);
  int64_t offset = sizes.size() - own.size();
  SmallVector<AffineExpr> exprs;
  for (int64_t d = 0, e = own.size(); d < e; ++d) {
    int64_t size = type(value).getDimSize(d);
    bool sameName = false;
    if (operands.size() > 0 && operands[0] == value &&
        resultType().getRank() == int64_t(sizes.size())) {
      StringRef name = operandDimName(0, d);
      sameName = !name.empty() && name == resultDimName(d + offset);
    }
    if (size == 1)
      exprs.push_back(getAffineConstantExpr(0));
    else if (!ShapedType::isDynamic(size) || sameName)
      exprs.push_back(getAffineDimExpr(d + offset));
    else
      return produce(element(value), sizes,
                     [&](LinalgBuilder &b, ValueRange at) {
                       return readBroadcast(b, value, own, at);
                     });
  }
  if (isSmall(element(value), sizes))
    return produce(element(value), sizes, [&](LinalgBuilder &b, ValueRange at) {
      return readBroadcast(b, value, own, at);
    });
  return loop(element(value), sizes, {value},
              {AffineMap::get(sizes.size(), 0, exprs, getContext())},
              [](LinalgBuilder &, ValueRange v) { return v[0]; });
}

/// Groups the dimensions of a tensor with size-1 dimensions `axes` inserted so
/// that each group holds one dimension of the tensor without them.
static SmallVector<ReassociationIndices> groupAround(ArrayRef<int64_t> axes,
                                                     int64_t fullRank) {
  SmallVector<ReassociationIndices> groups;
  ReassociationIndices pending;
  for (int64_t d = 0; d < fullRank; ++d) {
    if (llvm::is_contained(axes, d)) {
      if (groups.empty())
        pending.push_back(d);
      else
        groups.back().push_back(d);
      continue;
    }
    groups.push_back(pending);
    groups.back().push_back(d);
    pending.clear();
  }
  return groups;
}

Value Node::unsqueeze(Value value, ArrayRef<int64_t> axes) {
  if (axes.empty())
    return value;
  int64_t fullRank = rank(value) + axes.size();
  // A size may be known although the type does not say so (dim looks through
  // casts); type and sizes of an expand_shape must agree.
  SmallVector<Value> own = dims(value), sizes;
  value = as(value, typeOf(element(value), own));
  for (int64_t d = 0, next = 0; d < fullRank; ++d)
    sizes.push_back(llvm::is_contained(axes, d) ? index(1) : own[next++]);
  if (isSmall(element(value), sizes))
    return produce(element(value), sizes, [&](LinalgBuilder &b, ValueRange) {
      return b.scalar(value);
    });
  return tensor::ExpandShapeOp::create(*this, typeOf(element(value), sizes),
                                       value, groupAround(axes, fullRank),
                                       getAsOpFoldResult(sizes));
}

Value Node::squeeze(Value value, ArrayRef<int64_t> axes) {
  if (axes.empty())
    return value;
  SmallVector<int64_t> before(type(value).getShape()), after;
  SmallVector<Value> sizes;
  for (int64_t d = 0; d < rank(value); ++d) {
    if (llvm::is_contained(axes, d)) {
      before[d] = 1;
      continue;
    }
    sizes.push_back(dim(value, d));
    after.push_back(before[d]);
  }
  value = as(value, RankedTensorType::get(before, element(value)));
  if (isSmall(element(value), sizes))
    return produce(element(value), sizes, [&](LinalgBuilder &b, ValueRange at) {
      SmallVector<Value> full;
      for (int64_t d = 0, own = 0; d < rank(value); ++d)
        full.push_back(llvm::is_contained(axes, d) ? b.index(0) : at[own++]);
      return b.extract(value, full);
    });
  return tensor::CollapseShapeOp::create(
      *this, RankedTensorType::get(after, element(value)), value,
      after.empty() ? SmallVector<ReassociationIndices>()
                    : groupAround(axes, before.size()));
}

Value Node::reduceAxes(Value value, ArrayRef<int64_t> axes, bool keep,
                       Value init, Body body) {
  SmallVector<Value> kept, reduced;
  SmallVector<AffineExpr> exprs(rank(value));
  for (int64_t d = 0; d < rank(value); ++d)
    if (!llvm::is_contained(axes, d)) {
      exprs[d] = getAffineDimExpr(kept.size());
      kept.push_back(dim(value, d));
    }
  for (int64_t d = 0; d < rank(value); ++d)
    if (llvm::is_contained(axes, d)) {
      exprs[d] = getAffineDimExpr(kept.size() + reduced.size());
      reduced.push_back(dim(value, d));
    }
  Value result =
      reduce(init, kept, reduced, {value},
             {AffineMap::get(rank(value), 0, exprs, getContext())}, body);
  return keep ? unsqueeze(result, axes) : result;
}

Type Node::sumType(Type element) {
  return element.isF16() || element.isBF16() ? getF32Type() : element;
}

std::string miura::onnxlower::getKey(StringRef domain, StringRef opType) {
  if (domain.empty() || domain == "ai.onnx")
    return opType.str();
  return (domain + "::" + opType).str();
}
