//===- MiuraDialect.cpp - The Miura dialect -------------------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "miura/Dialect/Miura/IR/MiuraDialect.h"
#include "miura/Dialect/Miura/IR/LayerAttrs.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"
#include <cmath>

using namespace mlir;
using namespace miura;

#include "miura/Dialect/Miura/IR/MiuraDialect.cpp.inc"
#include "miura/Dialect/Miura/IR/MiuraEnums.cpp.inc"
#include "miura/Dialect/Miura/IR/MiuraOpInterfaces.cpp.inc"

/// `private`, `nested` or `public` without quotes, nothing where absent.
static ParseResult parseVisibility(OpAsmParser &parser,
                                   StringAttr &visibility) {
  StringRef keyword;
  if (succeeded(parser.parseOptionalKeyword(&keyword,
                                            {"private", "nested", "public"})))
    visibility = parser.getBuilder().getStringAttr(keyword);
  return success();
}

static void printVisibility(OpAsmPrinter &p, Operation *,
                            StringAttr visibility) {
  if (visibility)
    p << visibility.getValue();
}

#define GET_ATTRDEF_CLASSES
#include "miura/Dialect/Miura/IR/MiuraAttrs.cpp.inc"
#define GET_TYPEDEF_CLASSES
#include "miura/Dialect/Miura/IR/MiuraTypes.cpp.inc"
#define GET_OP_CLASSES
#include "miura/Dialect/Miura/IR/MiuraOps.cpp.inc"

void MiuraDialect::registerAttributes() {
  addAttributes<
#define GET_ATTRDEF_LIST
#include "miura/Dialect/Miura/IR/MiuraAttrs.cpp.inc"
      >();
}

void MiuraDialect::registerTypes() {
  addTypes<
#define GET_TYPEDEF_LIST
#include "miura/Dialect/Miura/IR/MiuraTypes.cpp.inc"
      >();
}

void MiuraDialect::registerOps() {
  addOperations<
#define GET_OP_LIST
#include "miura/Dialect/Miura/IR/MiuraOps.cpp.inc"
      >();
}

void MiuraDialect::initialize() {
  weightStore = std::make_unique<WeightStore>();
  registerAttributes();
  registerTypes();
  registerOps();
  // Code generation attaches these to the leaves that it can decode.
  declarePromisedInterfaces<DecodableLeaf, WeightOp, DequantizeOp, LookupOp,
                            UnpruneOp, ConvertOp, TransposeOp>();
}

MiuraDialect::~MiuraDialect() = default;

StringRef miura::getModulePath(Operation *op) {
  auto path = op->getAttrOfType<StringAttr>(kPathAttrName);
  return path ? path.getValue() : StringRef();
}

static int64_t getLeastCode(IntegerType code) {
  return code.isUnsigned() ? 0 : -(int64_t(1) << (code.getWidth() - 1));
}

static int64_t getGreatestCode(IntegerType code) {
  return getLeastCode(code) + (int64_t(1) << code.getWidth()) - 1;
}

int64_t RoundingAttr::getLeast() const { return getLeastCode(getCode()); }

int64_t RoundingAttr::getGreatest() const { return getGreatestCode(getCode()); }

LogicalResult RoundingAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                                   IntegerType code, FloatAttr scale,
                                   int64_t zero) {
  unsigned width = code.getWidth();
  if (code.isSignless() || width < 2 || width > 16)
    return emitError() << "expects codes of 2 to 16 bits with or without a "
                          "sign, as ui8, but got "
                       << code;
  double step = scale.getValueAsDouble();
  if (!(step > 0) || !std::isfinite(step))
    return emitError() << "expects a scale that is a positive number, but got "
                       << scale;
  if (zero < getLeastCode(code) || zero > getGreatestCode(code))
    return emitError() << "expects a zero point that is a code of " << code
                       << ", but got " << zero;
  return success();
}

LogicalResult BytesAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                                StringRef file, int64_t offset, int64_t length,
                                int64_t fileSize, StringAttr digest) {
  if (file.empty())
    return emitError() << "expects a file name";
  if (offset < 0 || length < 0)
    return emitError() << "expects an offset and a length that are not "
                          "negative, but got "
                       << offset << " and " << length;
  if (digest && (digest.size() != 64 ||
                 !llvm::all_of(digest.getValue(), llvm::isHexDigit)))
    return emitError() << "expects a digest of 64 hexadecimal digits, but got '"
                       << digest.getValue() << "'";
  return success();
}
