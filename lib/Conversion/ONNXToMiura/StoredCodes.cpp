//===- StoredCodes.cpp - Stored integers in the dialect's layout ----------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "StoredCodes.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"

using namespace mlir;
using namespace miura;

/// Results of up to so many bytes stand in the IR.
static constexpr int64_t kInlineBytes = 4096;
/// How much of a new tensor is held at a time.
static constexpr int64_t kPieceBytes = 1 << 20;

static WeightStore &getStore(ModuleOp module) {
  return module.getContext()
      ->getOrLoadDialect<MiuraDialect>()
      ->getWeightStore();
}

static DenseElementsAttr getElements(Value stored) {
  auto constant = stored.getDefiningOp<arith::ConstantOp>();
  return constant ? dyn_cast<DenseElementsAttr>(constant.getValue())
                  : DenseElementsAttr();
}

/// A constant that stands just behind `stored` and keeps its name.
static Value makeConstant(Value stored, DenseElementsAttr value) {
  OpBuilder builder(stored.getContext());
  builder.setInsertionPointAfterValue(stored);
  auto op = arith::ConstantOp::create(builder, stored.getLoc(), value);
  if (Attribute name = stored.getDefiningOp()->getAttr(kNameAttrName))
    op->setAttr(kNameAttrName, name);
  return op;
}

FailureOr<ArrayRef<uint8_t>> StoredCodes::read(Value stored,
                                               std::vector<uint8_t> &storage) {
  if (auto weight = stored.getDefiningOp<WeightOp>()) {
    auto source = symbols.lookup<WeightDataOp>(weight.getData());
    if (!source || !source.getBytesAttr()) {
      emitError(stored.getLoc(), "needs the bytes of @") << weight.getData();
      return failure();
    }
    return getStore(module).getBytes(source.getBytesAttr(), stored.getLoc());
  }
  DenseElementsAttr elements = getElements(stored);
  if (!elements)
    return failure();
  storage = writeHostTensor(readConstant(elements));
  return ArrayRef<uint8_t>(storage);
}

Value StoredCodes::makeWeight(Value stored, RankedTensorType type,
                              BytesAttr bytes) {
  WeightDataOp &entry = data[{bytes, type}];
  OpBuilder builder(stored.getContext());
  if (!entry) {
    std::string name = "codes";
    Operation *origin = stored.getDefiningOp();
    if (auto weight = dyn_cast<WeightOp>(origin))
      name = weight.getData().str();
    else if (auto given = origin->getAttrOfType<StringAttr>(kNameAttrName))
      name = given.str();
    auto function = origin->getParentOfType<func::FuncOp>();
    builder.setInsertionPoint(function);
    entry = WeightDataOp::create(builder, stored.getLoc(), name,
                                 builder.getStringAttr("private"), bytes,
                                 StringAttr(), type);
    symbols.insert(entry, Block::iterator(function));
  }
  builder.setInsertionPointAfterValue(stored);
  return WeightOp::create(builder, stored.getLoc(), type,
                          FlatSymbolRefAttr::get(entry.getSymNameAttr()));
}

Value StoredCodes::view(Value stored, RankedTensorType type) {
  if (stored.getType() == type)
    return stored;
  if (auto weight = stored.getDefiningOp<WeightOp>())
    return makeWeight(
        stored, type,
        symbols.lookup<WeightDataOp>(weight.getData()).getBytesAttr());
  DenseElementsAttr elements = getElements(stored);
  unsigned bits = type.getElementTypeBitWidth();
  if (isa<FloatType>(type.getElementType()) ||
      elements.getElementType().getIntOrFloatBitWidth() == bits) {
    if (elements.getElementType() == type.getElementType())
      return makeConstant(stored, elements.reshape(type));
    // The same numbers, signless.
    SmallVector<APInt> numbers(elements.getValues<APInt>());
    return makeConstant(stored, DenseElementsAttr::get(type, numbers));
  }
  std::vector<uint8_t> storage;
  auto bytes = read(stored, storage);
  assert(succeeded(bytes) && "a constant of numbers");
  SmallVector<APInt> numbers;
  int64_t columns = type.getShape().back();
  int64_t rowBytes = llvm::divideCeil(columns * bits, 8);
  for (int64_t i = 0, e = type.getNumElements(); i < e; ++i)
    numbers.push_back(
        APInt(bits, getCode(bytes->drop_front(i / columns * rowBytes),
                            i % columns, bits)));
  return makeConstant(stored, DenseElementsAttr::get(type, numbers));
}

FailureOr<Value> StoredCodes::rewrite(Value stored, RankedTensorType type,
                                      StringRef how, Fill fill) {
  std::vector<uint8_t> storage;
  auto from = read(stored, storage);
  if (failed(from))
    return failure();
  int64_t size = getStoredBytes(type), columns = type.getShape().back();
  int64_t rows = columns == 0 ? 0 : type.getNumElements() / columns;
  int64_t rowBytes = rows == 0 ? 0 : size / rows;
  if (size <= kInlineBytes) {
    std::vector<uint8_t> row(rowBytes);
    SmallVector<APInt> numbers;
    SmallVector<APFloat> floats;
    unsigned bits = type.getElementTypeBitWidth();
    for (int64_t r = 0; r < rows; ++r) {
      row.assign(rowBytes, 0);
      fill(*from, r, row);
      if (isa<FloatType>(type.getElementType())) {
        auto tensor = readHostTensor(
            RankedTensorType::get({columns}, type.getElementType()), row);
        if (failed(tensor))
          return failure();
        for (float number : tensor->floats) {
          APFloat value(number);
          bool lossy;
          value.convert(
              cast<FloatType>(type.getElementType()).getFloatSemantics(),
              APFloat::rmNearestTiesToEven, &lossy);
          floats.push_back(value);
        }
        continue;
      }
      for (int64_t c = 0; c < columns; ++c)
        numbers.push_back(APInt(bits, getCode(row, c, bits)));
    }
    return makeConstant(stored, floats.empty()
                                    ? DenseElementsAttr::get(type, numbers)
                                    : DenseElementsAttr::get(type, floats));
  }
  std::string key;
  llvm::raw_string_ostream os(key);
  if (auto weight = stored.getDefiningOp<WeightOp>())
    os << symbols.lookup<WeightDataOp>(weight.getData()).getBytesAttr();
  else
    os << getElements(stored).getAsOpaquePointer();
  os << ' ' << how << ' ' << type;
  BytesAttr &bytes = made[key];
  if (!bytes) {
    auto fail = [&](llvm::Error error) {
      return emitError(stored.getLoc(), llvm::toString(std::move(error)));
    };
    auto writer = getStore(module).getFiles().startPut();
    if (!writer)
      return fail(writer.takeError());
    std::vector<uint8_t> piece;
    for (int64_t r = 0; r < rows; ++r) {
      size_t start = piece.size();
      piece.resize(start + rowBytes, 0);
      fill(*from, r, MutableArrayRef<uint8_t>(piece).drop_front(start));
      if ((int64_t)piece.size() < kPieceBytes && r + 1 < rows)
        continue;
      if (llvm::Error error = writer->write(piece))
        return fail(std::move(error));
      piece.clear();
    }
    auto name = writer->finish();
    if (!name)
      return fail(name.takeError());
    bytes = BytesAttr::get(module.getContext(), *name, 0, size, 0, {});
  }
  return makeWeight(stored, type, bytes);
}

FailureOr<Value> StoredCodes::stack(ArrayRef<Value> tensors) {
  auto type = cast<RankedTensorType>(tensors.front().getType());
  std::vector<uint8_t> bytes;
  bytes.reserve(tensors.size() * getStoredBytes(type));
  for (Value tensor : tensors) {
    std::vector<uint8_t> storage;
    if (tensor.getType() != type)
      return failure();
    auto from = read(tensor, storage);
    if (failed(from))
      return failure();
    llvm::append_range(bytes, *from);
  }
  auto attr = getStore(module).putBytes(bytes, tensors.front().getLoc());
  if (failed(attr))
    return failure();
  SmallVector<int64_t> shape{(int64_t)tensors.size()};
  llvm::append_range(shape, type.getShape());
  return makeWeight(tensors.front(),
                    RankedTensorType::get(shape, type.getElementType()), *attr);
}
