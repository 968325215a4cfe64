//===- EmitKernels.cpp - One function per distinct kernel -----------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Turns the kernels and the leftover loops of a step into calls of functions
/// that are emitted once per key. What a kernel of some root takes and how its
/// function is filled is told by KernelRoots.h; this file knows no root.
///
//===----------------------------------------------------------------------===//

#include "KernelRoots.h"
#include "OutlineLoops.h"
#include "miura/Codegen/CPU/Isa.h"
#include "miura/Codegen/Step/Passes.h"
#include "miura/Codegen/Step/StepSignature.h"
#include "miura/Dialect/Miura/IR/MiuraDialect.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/IRMapping.h"
#include "llvm/ADT/SetVector.h"

namespace miura {
#define GEN_PASS_DEF_EMITKERNELSPASS
#include "miura/Codegen/Step/Passes.h.inc"
} // namespace miura

using namespace mlir;
using namespace miura;

namespace {

class Emitter {
public:
  Emitter(ModuleOp module, const codegen::IsaRow &row)
      : module(module), row(row) {}

  LogicalResult emit(func::FuncOp step);

private:
  LogicalResult emitKernel(KernelOp kernel, const StepSignature &signature);
  LogicalResult emitLoops(linalg::LinalgOp op, const StepSignature &signature);
  /// A new private function before the steps.
  func::FuncOp createFunction(const Twine &name, ArrayRef<Type> types,
                              Location loc);
  void markWritten(func::FuncOp function, ArrayRef<KernelOperand> operands);
  void createCall(OpBuilder &b, func::FuncOp function,
                  ArrayRef<KernelOperand> operands,
                  const StepSignature &signature, Location loc);

  ModuleOp module;
  const codegen::IsaRow &row;
  llvm::StringMap<func::FuncOp> functions;
  unsigned count = 0;
};

} // namespace

func::FuncOp Emitter::createFunction(const Twine &name, ArrayRef<Type> types,
                                     Location loc) {
  OpBuilder b = OpBuilder::atBlockBegin(module.getBody());
  SmallVector<Type> all(types);
  all.append(3, b.getIndexType());
  auto function =
      func::FuncOp::create(b, loc, name.str(), b.getFunctionType(all, {}));
  function.setPrivate();
  return function;
}

void Emitter::markWritten(func::FuncOp function,
                          ArrayRef<KernelOperand> operands) {
  for (auto [i, operand] : llvm::enumerate(operands))
    if (operand.isWritten)
      function.setArgAttr(i, kWritesAttrName,
                          UnitAttr::get(module.getContext()));
}

void Emitter::createCall(OpBuilder &b, func::FuncOp function,
                         ArrayRef<KernelOperand> operands,
                         const StepSignature &signature, Location loc) {
  SmallVector<Value> values;
  for (const KernelOperand &operand : operands)
    values.push_back(operand.value);
  values.append(
      {signature.getTeam(), signature.getThread(), signature.getThreads()});
  func::CallOp::create(b, loc, function, values);
}

/// The text that equal kernels have in common.
static std::string getKey(const KernelRoot &root, KernelOp kernel,
                          ArrayRef<KernelOperand> operands) {
  std::string key;
  llvm::raw_string_ostream os(key);
  // Values are numbered from the region's start.
  Region &region = kernel.getBody();
  os << region.getArgumentTypes();
  llvm::DenseMap<Value, unsigned> numbers;
  for (Value argument : region.getArguments())
    numbers.try_emplace(argument, numbers.size());
  for (Operation &inner : region.front()) {
    os << inner.getName() << root.getKey(&inner);
    for (Value operand : inner.getOperands())
      os << " %" << numbers.lookup(operand);
    for (Value result : inner.getResults()) {
      os << ':' << result.getType();
      numbers.try_emplace(result, numbers.size());
    }
  }
  for (const KernelOperand &operand : operands)
    os << ' ' << operand.value.getType() << operand.isWritten;
  return key;
}

LogicalResult Emitter::emitKernel(KernelOp kernel,
                                  const StepSignature &signature) {
  const KernelRoot *root = findKernelRoot(kernel);
  if (!root)
    return kernel.emitError("has no schedule on a CPU");
  OpBuilder b(kernel);
  SmallVector<KernelOperand> operands;
  if (failed(
          root->getOperands(b, kernel, row, signature.getThreads(), operands)))
    return failure();
  func::FuncOp &function = functions[getKey(*root, kernel, operands)];
  if (!function) {
    SmallVector<Type> types;
    for (const KernelOperand &operand : operands)
      types.push_back(operand.value.getType());
    auto create = [&](StringRef suffix) {
      func::FuncOp created = createFunction("miura_kernel_" + Twine(count++) +
                                                "_" + root->getName() + suffix,
                                            types, kernel.getLoc());
      created->setAttr(kKernelAttrName,
                       StringAttr::get(module.getContext(), root->getName()));
      return created;
    };
    FailureOr<func::FuncOp> made = root->emit(kernel, row, create);
    if (failed(made))
      return failure();
    function = *made;
    markWritten(function, operands);
  }
  createCall(b, function, operands, signature, kernel.getLoc());
  kernel.erase();
  return success();
}

/// What a leftover loop is called: what it is for profilers.
static StringRef getLoopName(linalg::LinalgOp op) {
  return op->getName().stripDialect();
}

/// `value` with every size and stride open, so that one function serves all
/// sizes.
static Value eraseSizes(OpBuilder &b, Value value) {
  auto type = dyn_cast<MemRefType>(value.getType());
  if (!type || type.getRank() == 0)
    return value;
  int64_t dynamic = ShapedType::kDynamic;
  SmallVector<int64_t> shape(type.getRank(), dynamic);
  auto erased = MemRefType::get(shape, type.getElementType());
  if (!type.getLayout().isIdentity()) {
    SmallVector<int64_t> strides(type.getRank(), dynamic);
    int64_t offset;
    SmallVector<int64_t> known;
    if (succeeded(type.getStridesAndOffset(known, offset)) && known.back() == 1)
      strides.back() = 1;
    erased = MemRefType::get(
        shape, type.getElementType(),
        StridedLayoutAttr::get(b.getContext(), dynamic, strides));
  }
  if (erased == type)
    return value;
  return memref::CastOp::create(b, value.getLoc(), erased, value);
}

/// Whether other code is made of `op` where a number is known: a power is a
/// product, an integer division is a multiplication.
static bool dependsOnNumbers(Operation *op) {
  return isa<arith::DivSIOp, arith::DivUIOp, arith::RemSIOp, arith::RemUIOp,
             arith::ShLIOp, arith::ShRSIOp, arith::ShRUIOp>(op) ||
         !isa<arith::ArithDialect, linalg::LinalgDialect>(op->getDialect());
}

/// The numbers that the body of `op` uses: not indices, of which loops are
/// made, nor truths.
static SmallVector<OpOperand *> getNumbers(linalg::LinalgOp op) {
  SmallVector<OpOperand *> numbers;
  op->walk([&](Operation *inner) {
    if (inner == op.getOperation() || dependsOnNumbers(inner))
      return;
    for (OpOperand &operand : inner->getOpOperands())
      if (!operand.get().getType().isInteger(1) &&
          operand.get().getType().isIntOrFloat() &&
          operand.get().getDefiningOp<arith::ConstantOp>())
        numbers.push_back(&operand);
  });
  return numbers;
}

LogicalResult Emitter::emitLoops(linalg::LinalgOp op,
                                 const StepSignature &signature) {
  OpBuilder b(op);
  // Operands first, then what the body captures, then its numbers: functions
  // that differ in a scale or a zero point only are one. A use each, as two may
  // be equal by chance; LLVM puts back what all callers have in common.
  llvm::SetVector<Value> captured;
  op->walk([&](Operation *inner) {
    if (inner == op.getOperation())
      return;
    for (Value operand : inner->getOperands())
      if (!op->isAncestor(operand.getParentRegion()->getParentOp()))
        captured.insert(operand);
  });
  SmallVector<KernelOperand> operands;
  SmallVector<Value> originals;
  SmallVector<Operation *> constants;
  for (OpOperand &operand : op->getOpOperands()) {
    originals.push_back(operand.get());
    operands.push_back({eraseSizes(b, operand.get()), op.isDpsInit(&operand)});
  }
  for (Value value : captured) {
    Operation *definition = value.getDefiningOp();
    if (definition && definition->hasTrait<OpTrait::ConstantLike>()) {
      constants.push_back(definition);
      continue;
    }
    originals.push_back(value);
    operands.push_back({eraseSizes(b, value), false});
  }

  unsigned firstNumber = operands.size();
  for (OpOperand *number : getNumbers(op)) {
    auto constant = number->get().getDefiningOp<arith::ConstantOp>();
    operands.push_back({b.clone(*constant)->getResult(0), false});
  }

  // The function is built first: its text, sizes erased, is the key.
  SmallVector<Type> types;
  for (const KernelOperand &operand : operands)
    types.push_back(operand.value.getType());
  func::FuncOp function = createFunction("miura_kernel", types, op.getLoc());
  Block *body = function.addEntryBlock();
  OpBuilder inner = OpBuilder::atBlockBegin(body);
  IRMapping mapping;
  for (auto [original, argument] : llvm::zip(originals, body->getArguments()))
    if (!mapping.contains(original))
      mapping.map(original, argument);
  for (Operation *constant : constants)
    inner.clone(*constant, mapping);
  Operation *copy = inner.clone(*op, mapping);
  copy->setDiscardableAttrs(DictionaryAttr::get(op.getContext()));
  SmallVector<OpOperand *> numbers = getNumbers(cast<linalg::LinalgOp>(copy));
  for (auto [i, number] : llvm::enumerate(numbers)) {
    Operation *constant = number->get().getDefiningOp();
    number->set(body->getArgument(firstNumber + i));
    if (constant->use_empty())
      constant->erase();
  }
  func::ReturnOp::create(inner, op.getLoc());
  markWritten(function, operands);
  std::string key;
  llvm::raw_string_ostream os(key);
  function->print(os, OpPrintingFlags().useLocalScope());
  func::FuncOp &known = functions[key];
  if (known) {
    function.erase();
  } else {
    known = function;
    function.setName(
        ("miura_kernel_" + Twine(count++) + "_" + getLoopName(op)).str());
    function->setAttr(kKernelAttrName,
                      StringAttr::get(op.getContext(), "loops"));
    if (failed(lowerToThreadLoops(function)))
      return failure();
  }
  createCall(b, known, operands, signature, op.getLoc());
  op->erase();
  return success();
}

LogicalResult Emitter::emit(func::FuncOp step) {
  StepSignature signature(step);
  for (Operation &op : llvm::make_early_inc_range(step.getBody().front())) {
    if (auto copy = dyn_cast<memref::CopyOp>(op)) {
      OpBuilder b(copy);
      auto asLoops = linalg::CopyOp::create(b, copy.getLoc(), copy.getSource(),
                                            copy.getTarget());
      copy.erase();
      if (failed(emitLoops(cast<linalg::LinalgOp>(asLoops.getOperation()),
                           signature)))
        return failure();
    } else if (auto kernel = dyn_cast<KernelOp>(op)) {
      if (failed(emitKernel(kernel, signature)))
        return failure();
    } else if (auto loops = dyn_cast<linalg::LinalgOp>(op)) {
      if (failed(emitLoops(loops, signature)))
        return failure();
    }
  }
  return success();
}

namespace {

struct EmitKernels : public miura::impl::EmitKernelsPassBase<EmitKernels> {
  using EmitKernelsPassBase::EmitKernelsPassBase;

  void runOnOperation() override {
    llvm::Expected<codegen::Target> chosen =
        codegen::chooseTarget(target, features);
    if (!chosen) {
      getOperation().emitError(llvm::toString(chosen.takeError()));
      return signalPassFailure();
    }
    getBarrier(getOperation());
    Emitter emitter(getOperation(), *chosen->row);
    for (func::FuncOp step : getSteps(getOperation()))
      if (failed(emitter.emit(step)))
        return signalPassFailure();
  }
};

} // namespace
