//===- LinalgBuilder.h - Loops over tensors, built briefly ------*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// What the lowerings to linalg share: an OpBuilder that writes elementwise
/// loops, reductions and gathers over tensors of any static or dynamic shape,
/// scalar arithmetic over any element type, and the type converter that takes
/// tensors of the onnx level (symbolic dimensions as encodings, signed and
/// unsigned integers) to the plain tensors that linalg works on.
///
//===----------------------------------------------------------------------===//

#ifndef MIURA_CONVERSION_LINALGBUILDER_LINALGBUILDER_H
#define MIURA_CONVERSION_LINALGBUILDER_LINALGBUILDER_H

#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/Transforms/DialectConversion.h"

namespace miura {

/// Erases encodings of ranked tensors and the signedness of integers; keeps
/// every other type.
class PlainTensorConverter : public mlir::TypeConverter {
public:
  PlainTensorConverter();
};

/// Adds patterns that give functions, returns, calls and the tensor, arith,
/// math and linalg ops of `target` plain tensor types, and marks them legal
/// where their types are plain.
void populatePlainTensorPatterns(const mlir::TypeConverter &converter,
                                 mlir::ConversionTarget &target,
                                 mlir::RewritePatternSet &patterns);

/// A builder of linalg on tensors at one location. Sizes are `index` values,
/// one per dimension; where a type has the number, a constant.
class LinalgBuilder : public mlir::ImplicitLocOpBuilder {
public:
  using Value = mlir::Value;
  using Body = llvm::function_ref<Value(LinalgBuilder &, mlir::ValueRange)>;

  LinalgBuilder(mlir::Location loc, const mlir::OpBuilder &builder)
      : ImplicitLocOpBuilder(loc, builder) {}

  //===--- Indices and sizes ---===//
  Value index(int64_t value);
  /// The size of dimension `i` (negative: from the end).
  Value dim(Value tensor, int64_t i);
  llvm::SmallVector<Value> dims(Value tensor);
  /// A scalar of integer or index type as an index; `isUnsigned` says how a
  /// narrower one is read.
  Value toIndex(Value scalar, bool isUnsigned = false);
  /// The only element of a tensor of one element, or a scalar as it is.
  Value scalar(Value tensor);
  Value addIndex(Value a, Value b);
  Value subIndex(Value a, Value b);
  Value mulIndex(Value a, Value b);
  Value selectIndex(mlir::arith::CmpIPredicate predicate, Value a, Value b,
                    Value ifTrue, Value ifFalse);

  //===--- Tensors ---===//
  static mlir::RankedTensorType type(Value tensor) {
    return llvm::cast<mlir::RankedTensorType>(tensor.getType());
  }
  static mlir::Type element(Value tensor) {
    return type(tensor).getElementType();
  }
  static int64_t rank(Value tensor) { return type(tensor).getRank(); }
  /// The type that `sizes` give: static where they are constants.
  mlir::RankedTensorType typeOf(mlir::Type element,
                                llvm::ArrayRef<Value> sizes);
  Value empty(mlir::Type element, llvm::ArrayRef<Value> sizes);
  /// A tensor of `sizes` filled with `value`.
  Value filled(Value value, llvm::ArrayRef<Value> sizes);
  /// `tensor` as `type` (a tensor.cast where they differ).
  Value as(Value tensor, mlir::Type type);

  /// A loop over `sizes` whose inputs are read through `maps`.
  Value loop(mlir::Type element, llvm::ArrayRef<Value> sizes,
             mlir::ValueRange inputs, llvm::ArrayRef<mlir::AffineMap> maps,
             Body body);
  /// A loop over `sizes`: the body gets the indices and computes an element.
  Value generate(mlir::Type element, llvm::ArrayRef<Value> sizes, Body body);
  /// Elementwise over tensors that all have the shape of the first.
  Value elementwise(mlir::Type element, mlir::ValueRange inputs, Body body);
  /// A reduction: `inputs` are read through `maps` over the loops
  /// (`sizes`, then `reduced`), the body gets the inputs' elements and then
  /// the running value, which starts as the scalar `init`.
  Value reduce(Value init, llvm::ArrayRef<Value> sizes,
               llvm::ArrayRef<Value> reduced, mlir::ValueRange inputs,
               llvm::ArrayRef<mlir::AffineMap> maps, Body body);
  /// The last dimension reduced away.
  Value reduceLast(Value init, Value input, Body body);
  /// Elementwise over `input` and, per row, values that a `reduceLast` gave.
  Value withRows(mlir::Type element, Value input, mlir::ValueRange rows,
                 mlir::ValueRange columns, Body body);
  /// tensor[indices…]
  Value extract(Value tensor, mlir::ValueRange indices);
  Value transpose(Value tensor, llvm::ArrayRef<int64_t> permutation);
  /// Row-major reinterpretation as `sizes`; the element count must agree.
  Value reshape(Value tensor, llvm::ArrayRef<Value> sizes);

  //===--- Scalars of any float or integer type ---===//
  Value constant(mlir::Type type, double value);
  /// `ifTrue` or `ifFalse`, of which only one is computed: what the other would
  /// read need not be there.
  Value branch(Value condition,
               llvm::function_ref<Value(LinalgBuilder &)> ifTrue,
               llvm::function_ref<Value(LinalgBuilder &)> ifFalse);
  Value add(Value a, Value b);
  Value sub(Value a, Value b);
  Value mul(Value a, Value b);
  Value div(Value a, Value b, bool isUnsigned = false);
  Value max(Value a, Value b, bool isUnsigned = false);
  Value min(Value a, Value b, bool isUnsigned = false);
  /// a·b added to c; sums of products in the reference may be reassociated,
  /// so that LLVM can keep several partial sums.
  Value multiplyAdd(Value a, Value b, Value c);
  /// 1 / (1 + exp(−x))
  Value sigmoid(Value x);
  /// Conversion between any two number types as C does it (floats to integers
  /// toward zero); to i1, whether the value is not zero.
  Value convert(Value value, mlir::Type to, bool fromUnsigned = false,
                bool toUnsigned = false);
};

} // namespace miura

#endif // MIURA_CONVERSION_LINALGBUILDER_LINALGBUILDER_H
