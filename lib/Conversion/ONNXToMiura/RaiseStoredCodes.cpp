//===- RaiseStoredCodes.cpp - Stored tensors that are rounded -------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// A QuantizeLinear of a stored tensor says that the weight is its codes: they
/// are computed here, once, and what dequantizes them becomes an expression
/// like any other. A DequantizeLinear of a stored vector (a bias in int32, a
/// norm's scale) is the vector, of which too little is stored to matter.
///
/// Exact: codes are ⌊x / s⌉ + z, rounded to even and saturated, in f32 as the
/// operator has it.
///
/// Source: ONNX operators, QuantizeLinear-10 to -25.
///
//===----------------------------------------------------------------------===//

#include "Raiser.h"
#include "miura/Dialect/Miura/IR/HostTensor.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include <cmath>

using namespace mlir;
using namespace miura;

/// Longer vectors than any bias has are left to others.
static constexpr int64_t kLongestVector = 1 << 20;

static bool isEither(OnnxNodeOp op, StringRef type) {
  return op.getOpType() == type &&
         (op.hasStandardDomain() || op.getDomain() == "com.microsoft");
}

/// The numbers of a stored tensor.
static FailureOr<HostTensor> readNumbers(StoredCodes &stored, Value value) {
  std::vector<uint8_t> storage;
  FailureOr<ArrayRef<uint8_t>> bytes = stored.read(value, storage);
  if (failed(bytes))
    return failure();
  return readHostTensor(cast<RankedTensorType>(value.getType()), *bytes);
}

static float getNumber(const HostTensor &tensor, int64_t i) {
  return tensor.isFloat() ? tensor.floats[i] : (float)tensor.ints[i];
}

namespace {
/// Which scale an element has: one for all, one per index of an axis, or one
/// per block along it.
struct Granularity {
  SmallVector<int64_t> sizes, scaleSizes;
  int64_t axis = 0, block = 1;
  bool isOne = false, isVector = false;

  /// False where the sizes contradict each other.
  bool set(OnnxNodeOp op, RankedTensorType type, RankedTensorType scales) {
    int64_t rank = type.getRank();
    llvm::append_range(sizes, type.getShape());
    llvm::append_range(scaleSizes, scales.getShape());
    isOne = scales.getNumElements() == 1;
    if (isOne)
      return true;
    axis = getInt(op, "axis", rank > 1 ? 1 : 0);
    axis += axis < 0 ? rank : 0;
    if (axis < 0 || axis >= rank)
      return false;
    isVector = scales.getRank() == 1;
    if (isVector)
      return scaleSizes[0] == sizes[axis];
    block = getInt(op, "block_size", 0);
    if (block < 1 || scales.getRank() != rank)
      return false;
    for (int64_t d = 0; d < rank; ++d)
      if (scaleSizes[d] !=
          (d == axis ? (sizes[d] + block - 1) / block : sizes[d]))
        return false;
    return true;
  }

  /// The scale of element `flat`, counted row by row.
  int64_t getScale(int64_t flat) const {
    if (isOne)
      return 0;
    int64_t place = 0, stride = 1;
    for (int64_t d = sizes.size() - 1; d >= 0; --d) {
      int64_t at = flat % sizes[d];
      flat /= sizes[d];
      if (isVector) {
        if (d == axis)
          return at;
        continue;
      }
      place += (d == axis ? at / block : at) * stride;
      stride *= scaleSizes[d];
    }
    return place;
  }
};
} // namespace

/// Writes a code of a stored integer tensor of 2 bits or more.
static void putCode(MutableArrayRef<uint8_t> row, int64_t column, unsigned bits,
                    int64_t code) {
  if (bits < 8)
    return setCode(row, column, bits, code & ((1 << bits) - 1));
  for (unsigned i = 0; i < bits / 8; ++i)
    row[column * bits / 8 + i] = code >> (8 * i);
}

void Raiser::raiseStoredCodes() {
  forEachNode([&](OnnxNodeOp op) {
    bool encodes = isEither(op, "QuantizeLinear");
    if (!encodes && !isEither(op, "DequantizeLinear"))
      return;
    Value x = getInput(op, 0), scales = getInput(op, 1),
          zeros = getInput(op, 2);
    if (!isStored(x) || !isStored(scales) || (zeros && !isStored(zeros)))
      return;
    auto type = dyn_cast<RankedTensorType>(x.getType());
    auto scaleType = dyn_cast<RankedTensorType>(scales.getType());
    Type element = getElementTypeOrSelf(op.getResult(0).getType());
    Granularity granularity;
    if (!type || !scaleType || !granularity.set(op, type, scaleType) ||
        (zeros && cast<RankedTensorType>(zeros.getType()).getNumElements() !=
                      scaleType.getNumElements()))
      return;
    auto integer = dyn_cast<IntegerType>(element);
    unsigned bits = encodes && integer ? integer.getWidth() : 0;
    // Rows of codes below a byte start at one.
    if (encodes && (!isa<FloatType>(type.getElementType()) ||
                    (bits != 2 && bits != 4 && bits != 8 && bits != 16) ||
                    type.getRank() == 0))
      return;
    if (!encodes && (type.getRank() > 1 || !isa<FloatType>(element) ||
                     type.getNumElements() > kLongestVector))
      return;
    FailureOr<HostTensor> scale = readNumbers(stored, scales);
    FailureOr<HostTensor> zero = zeros ? readNumbers(stored, zeros)
                                       : FailureOr<HostTensor>(HostTensor());
    if (failed(scale) || failed(zero))
      return;
    auto getZero = [&](int64_t place) {
      return zeros ? getNumber(*zero, place) : 0.0f;
    };
    if (!encodes) {
      FailureOr<HostTensor> codes = readNumbers(stored, x);
      if (failed(codes))
        return;
      SmallVector<APFloat> numbers;
      for (int64_t i = 0, e = type.getNumElements(); i < e; ++i) {
        int64_t place = granularity.getScale(i);
        // Differences of int32 codes are not all numbers of f32.
        double code = codes->isFloat() ? codes->floats[i] : codes->ints[i];
        APFloat number((float)(code - getZero(place)) *
                       getNumber(*scale, place));
        bool isLossy;
        number.convert(cast<FloatType>(element).getFloatSemantics(),
                       APFloat::rmNearestTiesToEven, &isLossy);
        numbers.push_back(number);
      }
      builder.setInsertionPointAfterValue(x);
      auto constant = arith::ConstantOp::create(
          builder, op.getLoc(),
          DenseElementsAttr::get(type.clone(element), numbers));
      if (Attribute name = x.getDefiningOp()->getAttr(kNameAttrName))
        constant->setAttr(kNameAttrName, name);
      replace(op.getResult(0), constant);
      return;
    }
    bool isUnsigned = integer.isUnsigned();
    float low = isUnsigned ? 0 : -std::ldexp(1.0f, bits - 1);
    float high = std::ldexp(1.0f, isUnsigned ? bits : bits - 1) - 1;
    int64_t columns = type.getShape().back();
    unsigned width = type.getElementTypeBitWidth() / 8;
    auto rowType = RankedTensorType::get({columns}, type.getElementType());
    std::string how;
    llvm::raw_string_ostream os(how);
    os << "encoded by " << scales.getDefiningOp()->getAttrDictionary();
    if (zeros)
      os << " and " << zeros.getDefiningOp()->getAttrDictionary();
    auto codes = stored.rewrite(
        x, type.clone(element), how,
        [&](ArrayRef<uint8_t> from, int64_t row, MutableArrayRef<uint8_t> to) {
          auto numbers = readHostTensor(
              rowType, from.slice(row * columns * width, columns * width));
          if (failed(numbers))
            return;
          for (int64_t c = 0; c < columns; ++c) {
            int64_t place = granularity.getScale(row * columns + c);
            float code =
                std::nearbyint(numbers->floats[c] / getNumber(*scale, place)) +
                getZero(place);
            putCode(to, c, bits,
                    (int64_t)(code >= low ? std::min(code, high) : low));
          }
        });
    if (failed(codes)) {
      hasFailed = true;
      return;
    }
    replace(op.getResult(0), *codes);
  });
}
