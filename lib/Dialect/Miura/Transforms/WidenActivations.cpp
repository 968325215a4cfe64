//===- WidenActivations.cpp - f16 and bf16 activations in f32 -------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The pass miura-widen-activations. Types change in place: every value that is
/// no weight and of a narrow float type becomes f32, and so does what names a
/// type beside them (compute attributes, Cast's `to`). Expressions keep theirs;
/// a convert stands at their root.
///
//===----------------------------------------------------------------------===//

#include "miura/Dialect/Miura/IR/MiuraDialect.h"
#include "miura/Dialect/Miura/Transforms/Passes.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace miura {
#define GEN_PASS_DEF_WIDENACTIVATIONSPASS
#include "miura/Dialect/Miura/Transforms/Passes.h.inc"
} // namespace miura

using namespace mlir;
using namespace miura;

/// Tables of up to so many bytes stand in the IR.
static constexpr int64_t kInlineBytes = 4096;
/// ONNX's numbers of its types, as attributes name them.
static constexpr int64_t kOnnxFloat = 1, kOnnxFloat16 = 10, kOnnxBFloat16 = 16;

static bool isNarrow(Type type) {
  Type element = getElementTypeOrSelf(type);
  return element.isF16() || element.isBF16();
}

static Type widen(Type type) {
  if (!isNarrow(type))
    return type;
  Type f32 = Float32Type::get(type.getContext());
  if (auto tensor = dyn_cast<RankedTensorType>(type))
    return RankedTensorType::get(tensor.getShape(), f32, tensor.getEncoding());
  return isa<FloatType>(type) ? f32 : type;
}

static DenseElementsAttr widen(DenseElementsAttr value) {
  Builder b(value.getContext());
  return cast<DenseElementsAttr>(cast<DenseFPElementsAttr>(value).mapValues(
      b.getF32Type(), [](const APFloat &number) {
        APFloat wide = number;
        bool lossy;
        wide.convert(APFloat::IEEEsingle(), APFloat::rmNearestTiesToEven,
                     &lossy);
        return wide.bitcastToAPInt();
      }));
}

namespace {

class Widener {
public:
  explicit Widener(ModuleOp module) : module(module), symbols(module) {}
  /// Whether there was anything to widen.
  FailureOr<bool> widenFunction(func::FuncOp func);

private:
  static bool isExpression(Value value) {
    return value.getDefiningOp<WeightExpression>() != nullptr;
  }
  /// What stands for an expression where `use` reads it.
  FailureOr<Value> convert(OpOperand &use);
  /// The value of an expression, stored as f32.
  FailureOr<Value> store(Value expression);
  void widenAttributes(Operation *op);

  ModuleOp module;
  SymbolTable symbols;
  DenseMap<Value, Value> converted, tables;
};

} // namespace

FailureOr<Value> Widener::store(Value expression) {
  auto numbers = evaluateExpression(expression);
  if (failed(numbers))
    return failure();
  Location loc = expression.getLoc();
  numbers->type = cast<RankedTensorType>(widen(expression.getType()));
  OpBuilder b(module.getContext());
  b.setInsertionPointAfterValue(expression);
  if (getStoredBytes(numbers->type) <= kInlineBytes)
    return arith::ConstantOp::create(
               b, loc,
               DenseElementsAttr::get(numbers->type,
                                      ArrayRef<float>(numbers->floats)))
        .getResult();
  auto *dialect = module.getContext()->getOrLoadDialect<MiuraDialect>();
  auto bytes =
      dialect->getWeightStore().putBytes(writeHostTensor(*numbers), loc);
  if (failed(bytes))
    return failure();
  auto weight = expression.getDefiningOp<WeightOp>();
  auto function = expression.getDefiningOp()->getParentOfType<func::FuncOp>();
  b.setInsertionPoint(function);
  auto data = WeightDataOp::create(b, loc, weight ? weight.getData() : "table",
                                   b.getStringAttr("private"), *bytes,
                                   StringAttr(), numbers->type);
  symbols.insert(data, Block::iterator(function));
  b.setInsertionPointAfterValue(expression);
  return WeightOp::create(b, loc, numbers->type,
                          FlatSymbolRefAttr::get(data.getSymNameAttr()))
      .getResult();
}

FailureOr<Value> Widener::convert(OpOperand &use) {
  Value value = use.get();
  auto compressible = dyn_cast<Compressible>(use.getOwner());
  if (compressible && &compressible.getWeightOperand() == &use) {
    Value &known = converted[value];
    if (!known) {
      OpBuilder b(module.getContext());
      b.setInsertionPointAfterValue(value);
      known = ConvertOp::create(b, value.getLoc(),
                                cast<RankedTensorType>(widen(value.getType())),
                                value);
    }
    return known;
  }
  Value &known = tables[value];
  if (!known) {
    FailureOr<Value> stored = store(value);
    if (failed(stored))
      return failure();
    known = *stored;
  }
  return known;
}

void Widener::widenAttributes(Operation *op) {
  if (auto linear = dyn_cast<LinearOp>(op)) {
    ComputeAttr compute = linear.getCompute();
    linear.setComputeAttr(
        ComputeAttr::get(op->getContext(), widen(compute.getActivation()),
                         widen(compute.getAccumulator()), compute.getBlock()));
    return;
  }
  auto node = dyn_cast<OnnxNodeOp>(op);
  if (!node)
    return;
  NamedAttrList attributes(node.getOnnxAttributes());
  for (NamedAttribute attribute : node.getOnnxAttributes()) {
    StringRef name = attribute.getName();
    if (auto number = dyn_cast<IntegerAttr>(attribute.getValue());
        number && (name == "to" || name == "dtype" || name == "output_dtype" ||
                   name == "softmax_precision")) {
      int64_t type = number.getValue().getSExtValue();
      if (type == kOnnxFloat16 || type == kOnnxBFloat16)
        attributes.set(name, IntegerAttr::get(number.getType(), kOnnxFloat));
    } else if (auto value = dyn_cast<DenseElementsAttr>(attribute.getValue());
               value && isNarrow(value.getType())) {
      attributes.set(name, widen(value));
    }
  }
  node.setOnnxAttributesAttr(attributes.getDictionary(op->getContext()));
}

FailureOr<bool> Widener::widenFunction(func::FuncOp func) {
  // Expressions end where something else reads them.
  SmallVector<Operation *> ops;
  bool any = false;
  func.walk([&](Operation *op) {
    if (isa<WeightExpression>(op))
      return;
    ops.push_back(op);
    for (Type type : op->getResultTypes())
      any |= isNarrow(type);
    for (Region &region : op->getRegions())
      for (Block &block : region)
        for (Type type : block.getArgumentTypes())
          any |= isNarrow(type);
  });
  // Constants alone are weights.
  if (!any)
    return false;
  for (Operation *op : ops)
    for (OpOperand &operand : op->getOpOperands())
      if (isExpression(operand.get()) && isNarrow(operand.get().getType())) {
        FailureOr<Value> wide = convert(operand);
        if (failed(wide))
          return failure();
        operand.set(*wide);
      }
  for (Operation *op : ops) {
    if (auto constant = dyn_cast<arith::ConstantOp>(op)) {
      if (!isNarrow(constant.getType()))
        continue;
      OpBuilder b(op);
      TypedAttr value = constant.getValue();
      if (auto elements = dyn_cast<DenseElementsAttr>(value))
        value = widen(elements);
      else if (auto number = dyn_cast<FloatAttr>(value))
        value = FloatAttr::get(b.getF32Type(), number.getValueAsDouble());
      else
        return op->emitOpError("cannot be widened: ") << constant.getType();
      auto wide = arith::ConstantOp::create(b, op->getLoc(), value);
      wide->setDiscardableAttrs(op->getDiscardableAttrDictionary());
      // A weight that is small enough to stand here keeps its type.
      op->getResult(0).replaceUsesWithIf(wide, [](OpOperand &use) {
        return !isa<WeightExpression>(use.getOwner());
      });
      continue;
    }
    for (Value result : op->getResults())
      result.setType(widen(result.getType()));
    for (Region &region : op->getRegions())
      for (Block &block : region)
        for (BlockArgument argument : block.getArguments())
          argument.setType(widen(argument.getType()));
    widenAttributes(op);
    if (isa<arith::ExtFOp, arith::TruncFOp>(op) &&
        op->getOperand(0).getType() == op->getResult(0).getType())
      op->getResult(0).replaceAllUsesWith(op->getOperand(0));
  }
  Block &body = func.getBody().front();
  func.setType(FunctionType::get(func.getContext(), body.getArgumentTypes(),
                                 body.getTerminator()->getOperandTypes()));
  for (Operation *op : llvm::reverse(ops))
    if (isa<arith::ConstantOp, arith::ExtFOp, arith::TruncFOp>(op) &&
        op->use_empty())
      op->erase();
  return true;
}

namespace {
struct WidenActivationsPass
    : miura::impl::WidenActivationsPassBase<WidenActivationsPass> {
  void runOnOperation() override {
    Widener widener(getOperation());
    for (auto func : getOperation().getOps<func::FuncOp>()) {
      if (func.isExternal() || !func.getBody().hasOneBlock())
        continue;
      FailureOr<bool> any = widener.widenFunction(func);
      if (failed(any))
        return signalPassFailure();
      if (*any)
        func.emitRemark("activations of 16 bits are computed in f32");
    }
  }
};
} // namespace
