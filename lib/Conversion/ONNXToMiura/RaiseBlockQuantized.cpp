//===- RaiseBlockQuantized.cpp - Products with blocks of codes ------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// MatMulNBits, MatMulBnb4 and GatherBlockQuantized of com.microsoft: operators
/// that take a matrix as codes, scales and zero points. Each becomes a linear
/// or an embedding of an expression of these very numbers, so it needs no
/// certificate. A node that contradicts its operator is an error.
///
/// Source: ONNX Runtime, docs/ContribOperators.md.
///
//===----------------------------------------------------------------------===//

#include "Raiser.h"
#include "miura/Compress/Codebooks.h"
#include "miura/Dialect/Miura/IR/HostTensor.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include <numeric>

using namespace mlir;
using namespace miura;
using namespace miura::symbolic;

InFlightDiagnostic Raiser::reject(OnnxNodeOp op) {
  hasFailed = true;
  return op.emitError("node '")
         << op.getNodeName() << "' (" << op.getOpType() << ") ";
}

static bool isOperator(OnnxNodeOp op, StringRef name) {
  return op.getDomain() == "com.microsoft" && op.getOpType() == name;
}

/// What the operators ask of a block.
static bool isBlock(int64_t block) {
  return block >= 16 && llvm::isPowerOf2_64(block);
}

static int64_t count(Value value) {
  return cast<RankedTensorType>(value.getType()).getNumElements();
}

bool Raiser::raiseMatMulNBits(OnnxNodeOp op) {
  if (!isOperator(op, "MatMulNBits"))
    return false;
  int64_t inner = getInt(op, "K", 0), outer = getInt(op, "N", 0);
  int64_t bits = getInt(op, "bits", 4), block = getInt(op, "block_size", 128);
  if (inner <= 0 || outer <= 0) {
    reject(op) << "expects K and N above 0, but got " << inner << " and "
               << outer;
    return false;
  }
  if (bits != 2 && bits != 4 && bits != 8) {
    reject(op) << "has codes of " << bits
               << " bits; only those of 2, 4 and 8 have a known layout: "
                  "quantize the model with one of these";
    return false;
  }
  if (!isBlock(block)) {
    reject(op) << "expects a block_size that is a power of 2 of at least 16, "
                  "but got "
               << block;
    return false;
  }
  // An index of groups in the order of columns says nothing. With zero points
  // ONNX Runtime reads others through it than its documentation says.
  if (Value group = getInput(op, 4)) {
    std::vector<uint8_t> storage;
    Value own = getStored(group);
    auto bytes = own ? stored.read(own, storage)
                     : FailureOr<ArrayRef<uint8_t>>(failure());
    auto order =
        succeeded(bytes)
            ? readHostTensor(cast<RankedTensorType>(own.getType()), *bytes)
            : FailureOr<HostTensor>(failure());
    bool isPlain = succeeded(order) && !getInput(op, 3) &&
                   (int64_t)order->ints.size() >= inner;
    for (int64_t k = 0; isPlain && k < inner; ++k)
      isPlain = order->ints[k] == k / block;
    if (!isPlain) {
      reject(op) << "has a group index (g_idx) in another order than that of "
                    "columns, or beside zero points, which is not supported: "
                    "quantize the model without an order of columns";
      return false;
    }
  }
  if (int64_t packed = getInt(op, "weight_prepacked", 0)) {
    reject(op) << "has weights in the order of one GPU kernel "
                  "(weight_prepacked = "
               << packed << "); export the model without packing them";
    return false;
  }
  Value codes = getStored(getInput(op, 1)), scales = getStored(getInput(op, 2));
  Value zeros = getInput(op, 3), bias = getInput(op, 5);
  Value x = getInput(op, 0);
  const Shape *shape = analysis.getShape(x);
  if (zeros && !(zeros = getStored(zeros)))
    return false;
  if (!codes || !scales || !shape || shape->size() < 2 ||
      !analysis.getShape(op.getResult(0)))
    return false;
  if (std::optional<int64_t> k = getInteger(shape->back()); k && *k != inner) {
    reject(op) << "expects an input of " << inner << " columns (K), but got "
               << *k;
    return false;
  }
  int64_t blocks = llvm::divideCeil(inner, block), bytes = block * bits / 8;
  if (!getElementTypeOrSelf(codes.getType()).isUnsignedInteger(8) ||
      count(codes) != outer * blocks * bytes) {
    reject(op) << "expects uint8 weights of " << outer << " x " << blocks
               << " x " << bytes << " for K = " << inner << ", N = " << outer
               << ", bits = " << bits << " and block_size = " << block
               << ", but got " << codes.getType();
    return false;
  }
  auto element = dyn_cast<FloatType>(getElementTypeOrSelf(scales.getType()));
  if (!element || count(scales) != outer * blocks) {
    reject(op) << "expects scales of " << outer << " x " << blocks
               << ", but got " << scales.getType();
    return false;
  }
  MLIRContext *context = op.getContext();
  CodedMatrix matrix;
  matrix.codes = codes;
  matrix.scales = scales;
  matrix.zeros = zeros;
  matrix.rows = outer;
  matrix.columns = inner;
  matrix.storedColumns = blocks * block;
  matrix.bits = bits;
  matrix.isUnsigned = true;
  matrix.zero = 1u << (bits - 1);
  matrix.block = {1, block};
  matrix.scalesType = RankedTensorType::get({outer, blocks}, element);
  if (zeros) {
    Type type = getElementTypeOrSelf(zeros.getType());
    bool isFloat = isa<FloatType>(type);
    int64_t width = isFloat ? blocks : llvm::divideCeil(blocks * bits, 8);
    if ((!isFloat && !type.isUnsignedInteger(8)) ||
        count(zeros) != outer * width) {
      reject(op) << "expects zero points of " << outer << " x " << width
                 << ", but got " << zeros.getType();
      return false;
    }
    matrix.zerosType = RankedTensorType::get(
        {outer, blocks},
        isFloat ? type : (Type)IntegerType::get(context, bits));
  }
  builder.setInsertionPoint(op);
  if (bias) {
    bias = isStored(bias) ? getVector(bias, this->context.integer(outer))
                          : Value();
    if (!bias)
      return false;
  }
  Value weight = makeDequantize(matrix, op.getLoc());
  if (!weight) {
    hasFailed = true;
    return false;
  }
  Type result = getElementTypeOrSelf(op.getResult(0).getType());
  if (result != element)
    weight = ConvertOp::create(
        builder, op.getLoc(),
        cast<RankedTensorType>(weight.getType()).clone(result), weight);
  // Level 4 lets activations enter as int8 in the weight's blocks, which is
  // what such files were measured with. The other levels are least precisions
  // that the element type has.
  bool isInt8 = getInt(op, "accuracy_level", 0) == 4;
  auto compute =
      ComputeAttr::get(context, isInt8 ? builder.getI8Type() : result,
                       builder.getF32Type(), isInt8 ? block : 0);
  replaceByLinear(op, x, weight, codes, bias, compute);
  return true;
}

bool Raiser::raiseMatMulBnb4(OnnxNodeOp op) {
  if (!isOperator(op, "MatMulBnb4"))
    return false;
  int64_t inner = getInt(op, "K", 0), outer = getInt(op, "N", 0);
  int64_t block = getInt(op, "block_size", 0),
          kind = getInt(op, "quant_type", -1);
  if (inner <= 0 || outer <= 0 || !isBlock(block) || kind < 0 || kind > 1 ||
      getInt(op, "transB", 1) != 1) {
    reject(op) << "expects K and N above 0, a block_size that is a power of 2 "
                  "of at least 16, a quant_type of 0 (FP4) or 1 (NF4) and a "
                  "transposed weight, but got K = "
               << inner << ", N = " << outer << ", block_size = " << block
               << ", quant_type = " << kind
               << ", transB = " << getInt(op, "transB", 1);
    return false;
  }
  Value codes = getStored(getInput(op, 1)), scales = getStored(getInput(op, 2));
  Value x = getInput(op, 0);
  const Shape *shape = analysis.getShape(x);
  if (!codes || !scales || !shape || shape->size() < 2 ||
      !analysis.getShape(op.getResult(0)))
    return false;
  // Both run over the whole matrix, row by row.
  int64_t bytes = llvm::divideCeil(outer * inner, 2);
  int64_t blocks = llvm::divideCeil(outer * inner, block);
  auto element = dyn_cast<FloatType>(getElementTypeOrSelf(scales.getType()));
  if (!getElementTypeOrSelf(codes.getType()).isUnsignedInteger(8) ||
      count(codes) != bytes || !element || count(scales) != blocks) {
    reject(op) << "expects " << bytes << " bytes of weights and " << blocks
               << " scales for K = " << inner << ", N = " << outer
               << " and block_size = " << block << ", but got "
               << codes.getType() << " and " << scales.getType();
    return false;
  }
  builder.setInsertionPoint(op);
  Location loc = op.getLoc();
  auto codesType =
      RankedTensorType::get({outer, inner}, builder.getIntegerType(4));
  auto packed = stored.rewrite(
      codes, codesType, "high first",
      [&](ArrayRef<uint8_t> from, int64_t row, MutableArrayRef<uint8_t> to) {
        for (int64_t c = 0; c < inner; ++c) {
          int64_t i = row * inner + c;
          setCode(to, c, 4, i % 2 ? from[i / 2] & 15 : from[i / 2] >> 4);
        }
      });
  // A block that does not end with a row is cut where rows and blocks do.
  int64_t width = inner % block == 0 ? block : std::gcd(inner, block);
  auto scalesType = RankedTensorType::get({outer, inner / width}, element);
  FailureOr<Value> spread = failure();
  if (width == block) {
    spread = stored.view(scales, scalesType);
  } else {
    int64_t size = element.getWidth() / 8;
    spread = stored.rewrite(
        scales, scalesType, "blocks of " + std::to_string(width),
        [&](ArrayRef<uint8_t> from, int64_t row, MutableArrayRef<uint8_t> to) {
          for (int64_t j = 0; j < inner / width; ++j)
            memcpy(&to[j * size],
                   &from[(row * inner + j * width) / block * size], size);
        });
  }
  if (failed(packed) || failed(spread)) {
    hasFailed = true;
    return false;
  }
  auto tableType = RankedTensorType::get({16, 1}, builder.getF32Type());
  Value table = arith::ConstantOp::create(
      builder, loc,
      DenseElementsAttr::get(
          tableType, ArrayRef<float>(kind ? compress::kNf4 : compress::kFp4)));
  Value looked = LookupOp::create(builder, loc,
                                  codesType.clone((Type)builder.getF32Type()),
                                  *packed, table);
  Value weight = DequantizeOp::create(
      builder, loc, codesType.clone((Type)element), looked, *spread, Value(),
      builder.getDenseI64ArrayAttr({1, width}), UnitAttr());
  Type result = getElementTypeOrSelf(op.getResult(0).getType());
  if (result != element)
    weight = ConvertOp::create(builder, loc, codesType.clone(result), weight);
  replaceByLinear(
      op, x, weight, codes, Value(),
      ComputeAttr::get(op.getContext(), result, builder.getF32Type(), 0));
  return true;
}

bool Raiser::raiseGatherBlockQuantized(OnnxNodeOp op) {
  if (!isOperator(op, "GatherBlockQuantized"))
    return false;
  int64_t block = getInt(op, "block_size", 128);
  if (!isBlock(block)) {
    reject(op) << "expects a block_size that is a power of 2 of at least 16, "
                  "but got "
               << block;
    return false;
  }
  auto type = dyn_cast<RankedTensorType>(getInput(op, 0).getType());
  Value codes = getStored(getInput(op, 0)), indices = getInput(op, 1);
  Value scales = getStored(getInput(op, 2)), zeros = getInput(op, 3);
  if (zeros && !(zeros = getStored(zeros)))
    return false;
  const Shape *shape = analysis.getShape(indices);
  auto isAxis = [&](StringRef name, int64_t otherwise, int64_t axis) {
    int64_t given = getInt(op, name, otherwise);
    return (given < 0 ? given + 2 : given) == axis;
  };
  if (!codes || !scales || !type || !type.hasStaticShape() ||
      type.getRank() != 2 || !shape || shape->empty() ||
      !isAxis("gather_axis", 0, 0))
    return false;
  // Blocks run along rows, or down the columns of what is not packed.
  bool isDown = isAxis("quantize_axis", 1, 0);
  if (isDown && type.getElementType().isUnsignedInteger(8))
    return false;
  Type stored = type.getElementType();
  bool isPacked = stored.isUnsignedInteger(8);
  int64_t bits = isPacked ? getInt(op, "bits", 4)
                          : (int64_t)stored.getIntOrFloatBitWidth();
  if (!isa<IntegerType>(stored) || (bits != 2 && bits != 4 && bits != 8)) {
    reject(op) << "has codes of " << bits << " bits in " << type
               << "; only those of 2, 4 and 8 are known";
    return false;
  }
  CodedMatrix matrix;
  matrix.codes = codes;
  matrix.scales = scales;
  matrix.zeros = zeros;
  matrix.rows = type.getDimSize(0);
  matrix.columns = matrix.storedColumns =
      type.getDimSize(1) * (isPacked ? 8 / bits : 1);
  matrix.bits = bits;
  matrix.isUnsigned = stored.isUnsignedInteger();
  matrix.zero = isPacked ? 1u << (bits - 1) : 0;
  matrix.block = {isDown ? block : 1, isDown ? 1 : block};
  int64_t blocks =
      isDown ? matrix.columns : llvm::divideCeil(matrix.columns, block);
  int64_t rows = isDown ? llvm::divideCeil(matrix.rows, block) : matrix.rows;
  auto element = dyn_cast<FloatType>(getElementTypeOrSelf(scales.getType()));
  if (!element || count(scales) != rows * blocks) {
    reject(op) << "expects scales of " << rows << " x " << blocks << " for "
               << matrix.columns << " columns and block_size = " << block
               << ", but got " << scales.getType();
    return false;
  }
  matrix.scalesType = RankedTensorType::get({rows, blocks}, element);
  if (zeros) {
    int64_t width = isPacked ? llvm::divideCeil(blocks * bits, 8) : blocks;
    if (getElementTypeOrSelf(zeros.getType()) != stored ||
        count(zeros) != rows * width) {
      reject(op) << "expects zero points of " << rows << " x " << width
                 << " of the type of its data, but got " << zeros.getType();
      return false;
    }
    matrix.zerosType = RankedTensorType::get(
        {rows, blocks}, IntegerType::get(op.getContext(), bits));
  }
  builder.setInsertionPoint(op);
  Value weight = makeDequantize(matrix, op.getLoc());
  if (!weight) {
    hasFailed = true;
    return false;
  }
  auto result = cast<RankedTensorType>(op.getResult(0).getType());
  if (result.getElementType() != element)
    weight = ConvertOp::create(
        builder, op.getLoc(),
        cast<RankedTensorType>(weight.getType()).clone(result.getElementType()),
        weight);
  replace(op.getResult(0),
          EmbeddingOp::create(builder, op.getLoc(), result, indices, weight,
                              makeId(codes, op)));
  return true;
}
