//===- Node.h - An ONNX node that is being lowered --------------*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// What the emitters of this folder share: a builder that knows the node, its
/// attributes and its operands, broadcasting, and the table of emitters.
///
//===----------------------------------------------------------------------===//

#ifndef MIURA_LIB_CONVERSION_ONNXTOLINALG_NODE_H
#define MIURA_LIB_CONVERSION_ONNXTOLINALG_NODE_H

#include "miura/Conversion/LinalgBuilder/LinalgBuilder.h"
#include "miura/Dialect/Miura/IR/MiuraDialect.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "llvm/ADT/StringMap.h"
#include <optional>

namespace miura::onnxlower {

using mlir::ArrayRef;
using mlir::failure;
using mlir::FailureOr;
using mlir::LogicalResult;
using mlir::SmallVector;
using mlir::StringRef;
using mlir::Type;
using mlir::Value;
using mlir::ValueRange;

class Node : public LinalgBuilder {
public:
  /// `operands` are plain (see PlainTensorConverter), an omitted one is null.
  Node(OnnxNodeOp op, ArrayRef<Value> operands,
       const mlir::TypeConverter &converter, const mlir::OpBuilder &builder);

  /// An op is a pointer: what a const node says is const, what it names is not.
  mutable OnnxNodeOp op;

  //===--- Operands and results ---===//
  size_t size() const { return operands.size(); }
  bool has(size_t i) const { return i < operands.size() && operands[i]; }
  Value operand(size_t i) const { return operands[i]; }
  Value operator[](size_t i) const { return operands[i]; }
  bool isUnsigned(size_t i) const;
  size_t numResults() const { return op->getNumResults(); }
  bool wantsResult(size_t i) const;
  bool resultIsUnsigned(size_t i) const;
  /// The plain type of a result.
  mlir::RankedTensorType resultType(size_t i = 0) const;
  Type resultElement(size_t i = 0) const {
    return resultType(i).getElementType();
  }
  /// The symbolic name of a dimension of an operand or of result 0, "" where
  /// it has none.
  StringRef operandDimName(size_t i, int64_t dim) const;
  StringRef resultDimName(int64_t dim) const;

  //===--- Attributes ---===//
  bool hasAttr(StringRef name) const;
  int64_t getInt(StringRef name, int64_t otherwise) const;
  double getFloat(StringRef name, double otherwise) const;
  std::optional<SmallVector<int64_t>> getInts(StringRef name) const;
  StringRef getString(StringRef name, StringRef otherwise) const;
  mlir::DenseElementsAttr getTensor(StringRef name) const;
  int64_t version() const { return op.getVersion(); }

  //===--- Integers known now ---===//
  /// The elements of an operand that is an integer constant.
  std::optional<SmallVector<int64_t>> constantInts(size_t i) const;
  /// Axes given by attribute `name` or by operand `i`, counted from 0; nothing
  /// if neither is there. Fails if the operand is no constant.
  FailureOr<std::optional<SmallVector<int64_t>>> axes(StringRef name, size_t i,
                                                      int64_t rank);
  /// Attribute `name` as an axis counted from 0; fails where out of range.
  FailureOr<int64_t> axis(StringRef name, int64_t otherwise, int64_t rank);

  /// "node 'n' (Op): message" as an error.
  mlir::InFlightDiagnostic error();

  //===--- Loops ---===//
  /// `generate`, or scalars where the result is a small integer tensor.
  Value produce(Type element, ArrayRef<Value> sizes, Body body);
  /// Whether a tensor of `element` and `sizes` is computed as scalars.
  bool isSmall(Type element, ArrayRef<Value> sizes);
  /// The scalars of a 1-D tensor of known length, as indices.
  SmallVector<Value> indices(Value vector);
  /// Sizes that the declared type of result `i` knows, the others from `sizes`.
  SmallVector<Value> refine(ArrayRef<Value> sizes, size_t i = 0);
  /// The shape that numpy's broadcasting of `values` gives. `which` are their
  /// operand numbers, for symbolic names.
  SmallVector<Value> broadcastSizes(ArrayRef<Value> values);
  /// An elementwise operator with broadcasting over `values`, which are the
  /// node's operands or (in `names`) have the dimension names of them.
  Value broadcast(Type element, ArrayRef<Value> values, Body body);
  /// The same for a value on the way, whose shape is not that of the result.
  Value broadcastInside(Type element, ArrayRef<Value> values, Body body);
  /// `value` broadcast to `sizes`.
  Value broadcastTo(Value value, ArrayRef<Value> sizes);
  /// Reads `value` at the trailing `indices`, index 0 along dimensions of size
  /// 1. `sizes` are value's.
  static Value readBroadcast(LinalgBuilder &b, Value value,
                             ArrayRef<Value> sizes, ValueRange indices);
  Value unsqueeze(Value value, ArrayRef<int64_t> axes);
  Value squeeze(Value value, ArrayRef<int64_t> axes);
  /// `axes` reduced from `init` by `body`(element, running value).
  Value reduceAxes(Value value, ArrayRef<int64_t> axes, bool keep, Value init,
                   Body body);
  /// The type sums of `element` are computed in.
  Type sumType(Type element);

private:
  Value broadcastOver(ArrayRef<Value> sizes, Type element,
                      ArrayRef<Value> values, Body body);
  SmallVector<Value> operands;
  const mlir::TypeConverter &converter;
  StringRef dimName(Type type, int64_t dim) const;
  /// Whether dimension `d` (of the broadcast result) of operand value `v` is
  /// known to be as long as the result's.
  bool isFullDim(Value v, int64_t valueDim, int64_t resultDim,
                 ArrayRef<Value> values, int64_t resultRank);
};

using Results = FailureOr<SmallVector<Value>>;
using Emitter = Results (*)(Node &);
using Table = llvm::StringMap<Emitter>;

/// The key of an operator in the table: "domain::Op", ai.onnx without domain.
std::string getKey(StringRef domain, StringRef opType);

/// round(x / scale) + zero (which may be null), saturated to the range of
/// integers of `width` bits, as `element`.
Value quantize(LinalgBuilder &b, Value x, Value scale, Value zero,
               unsigned width, bool isUnsigned, Type element);
/// The sums of a Conv of `x` and `weight` with the node's attributes in `wide`,
/// without a bias; fails after an error.
FailureOr<Value> convolve(Node &n, Value x, Value weight, Type wide);

void addAttention(Table &table);
void addControlFlow(Table &table);
void addEinsum(Table &table);
void addElementwise(Table &table);
void addExperts(Table &table);
void addIndexing(Table &table);
void addNorms(Table &table);
void addPackedWeights(Table &table);
void addProducts(Table &table);
void addQuantizedOps(Table &table);
void addRecurrent(Table &table);
void addReductions(Table &table);
void addShapes(Table &table);
void addWindows(Table &table);

} // namespace miura::onnxlower

#endif // MIURA_LIB_CONVERSION_ONNXTOLINALG_NODE_H
