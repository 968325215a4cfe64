//===- TreePlan.cpp - An expression before it is IR -----------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Writing new tensors and building planned trees. A tensor becomes data once,
/// however many copies of the tree there are.
///
//===----------------------------------------------------------------------===//

#include "miura/Transforms/Lossy/TreePlan.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/IRMapping.h"

using namespace mlir;
using namespace miura;

//===----------------------------------------------------------------------===//
// Tensors
//===----------------------------------------------------------------------===//

llvm::Error TensorWriter::write(ArrayRef<uint8_t> bytes) {
  tensor.length += bytes.size();
  if (isSmall) {
    llvm::append_range(tensor.bytes, bytes);
    return llvm::Error::success();
  }
  if (!writer) {
    auto started = files.startPut();
    if (!started)
      return started.takeError();
    writer = std::make_unique<FileStore::Writer>(std::move(*started));
  }
  return writer->write(bytes);
}

llvm::Expected<StoredTensor> TensorWriter::finish() {
  if (writer) {
    auto name = writer->finish();
    if (!name)
      return name.takeError();
    tensor.file = *name;
  }
  return std::move(tensor);
}

llvm::Expected<StoredTensor>
miura::storeTensor(FileStore &files, const HostTensor &tensor, bool isSmall) {
  TensorWriter writer(files, tensor.type, isSmall);
  if (llvm::Error error = writer.write(writeHostTensor(tensor)))
    return error;
  return writer.finish();
}

//===----------------------------------------------------------------------===//
// Plans
//===----------------------------------------------------------------------===//

TreePlanPtr TreePlan::keep(Value value) {
  auto plan = std::make_shared<TreePlan>();
  plan->value = value;
  return plan;
}

TreePlanPtr TreePlan::leaf(const Twine &name, StoredTensor tensor) {
  auto plan = std::make_shared<TreePlan>();
  plan->name = name.str();
  plan->tensor = std::move(tensor);
  return plan;
}

TreePlanPtr TreePlan::make(Create create, std::vector<TreePlanPtr> operands) {
  auto plan = std::make_shared<TreePlan>();
  plan->create = std::move(create);
  plan->operands = std::move(operands);
  return plan;
}

TreePlanPtr TreePlan::remake(Operation *op, Type type,
                             std::vector<TreePlanPtr> operands) {
  return make(
      [=](OpBuilder &builder, Location, ArrayRef<Value> values) {
        Operation *copy = builder.clone(*op);
        copy->setOperands(values);
        copy->getResult(0).setType(type);
        return copy->getResult(0);
      },
      std::move(operands));
}

//===----------------------------------------------------------------------===//
// Building
//===----------------------------------------------------------------------===//

void miura::insertWeightData(WeightDataOp data, SymbolTable &symbols) {
  data->remove();
  Block &block = symbols.getOp()->getRegion(0).front();
  auto place = llvm::find_if(
      block, [](Operation &op) { return !isa<WeightDataOp>(op); });
  symbols.insert(data, place);
}

/// The constant that a small tensor is.
static DenseElementsAttr getElements(const StoredTensor &tensor) {
  auto value = readHostTensor(tensor.type, tensor.bytes);
  assert(succeeded(value) && "bytes that we wrote");
  Builder builder(tensor.type.getContext());
  SmallVector<Attribute> elements;
  Type element = tensor.type.getElementType();
  for (int64_t i = 0, e = tensor.type.getNumElements(); i < e; ++i)
    elements.push_back(
        value->isFloat()
            ? (Attribute)builder.getFloatAttr(element, value->floats[i])
            : (Attribute)builder.getIntegerAttr(
                  element, APInt(element.getIntOrFloatBitWidth(),
                                 (uint64_t)(int64_t)value->ints[i],
                                 /*isSigned=*/true, /*implicitTrunc=*/true)));
  return DenseElementsAttr::get(tensor.type, elements);
}

Value TreeBuilder::createLeaf(const TreePlan *plan, OpBuilder &builder) {
  const StoredTensor &tensor = plan->tensor;
  Attribute &leaf = leaves[plan];
  if (tensor.file.empty()) {
    if (!leaf)
      leaf = getElements(tensor);
    return arith::ConstantOp::create(builder, loc, cast<TypedAttr>(leaf));
  }
  if (!leaf) {
    auto bytes = BytesAttr::get(builder.getContext(), tensor.file, 0,
                                tensor.length, 0, StringAttr());
    auto data = WeightDataOp::create(builder, loc, plan->name,
                                     builder.getStringAttr("private"), bytes,
                                     StringAttr(), tensor.type);
    insertWeightData(data, symbols);
    leaf = FlatSymbolRefAttr::get(data.getSymNameAttr());
  }
  return WeightOp::create(builder, loc, tensor.type,
                          cast<FlatSymbolRefAttr>(leaf));
}

/// The tree below `value`, once more.
Value TreeBuilder::copy(Value value, OpBuilder &builder) {
  Operation *op = value.getDefiningOp();
  if (!op)
    return value;
  if (Value known = copies.lookup(value))
    return known;
  IRMapping mapping;
  for (Value operand : op->getOperands())
    mapping.map(operand, copy(operand, builder));
  Value result = builder.clone(*op, mapping)
                     ->getResult(cast<OpResult>(value).getResultNumber());
  copies[value] = result;
  return result;
}

Value TreeBuilder::build(const TreePlan *plan, OpBuilder &builder) {
  if (Value known = built.lookup(plan))
    return known;
  Value result;
  if (plan->value) {
    result = isCopy ? copy(plan->value, builder) : plan->value;
  } else if (plan->create) {
    SmallVector<Value> operands;
    for (const TreePlanPtr &operand : plan->operands)
      operands.push_back(build(operand.get(), builder));
    result = plan->create(builder, loc, operands);
  } else {
    result = createLeaf(plan, builder);
  }
  built[plan] = result;
  return result;
}

Value TreeBuilder::build(const TreePlanPtr &plan, Value place,
                         bool isCopyHere) {
  built.clear();
  copies.clear();
  isCopy = isCopyHere;
  OpBuilder builder(place.getContext());
  builder.setInsertionPointAfterValue(place);
  return build(plan.get(), builder);
}
