//===- CodeLeaf.cpp - Panels of integer codes with scales -----------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Codes are packed unsigned (signed ones plus half their range), a dword of a
/// vector holding four columns of one row, which is the order of a four-way dot
/// product. The fields of a byte belong to different groups of rows, so one
/// `and` makes 64 operands of a dot product and the power of two that comes
/// with a field is taken out of the sum at the end. 3-bit codes use 192 bytes
/// for two steps; 5 to 7 bits are packed as 8.
///
/// A table of values, where codes name its entries, stands in the memory's
/// header.
///
/// Decoding to f32 shifts a column's code down in every lane and looks it up in
/// a table where the row's has enough entries, so neither mask nor conversion
/// is needed; else it converts.
///
//===----------------------------------------------------------------------===//

#include "Leaves.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace miura::codegen;

//===----------------------------------------------------------------------===//
// What the leaf is
//===----------------------------------------------------------------------===//

/// Columns of a block where scales are per row: what a loop's body takes.
static constexpr int64_t rowScaledColumns = 32;

/// Permutations that look a code up, and registers that hold what they permute;
/// entries of a larger table are gathered.
static constexpr unsigned maxTables = 4, maxTableRegisters = 4;

static bool isPermuted(const IsaRow &row, unsigned tables) {
  return tables <= maxTables &&
         tables * row.tableEntries / row.lanes() <= maxTableRegisters;
}

/// f16 stays, other floats are packed as f32.
static FloatType packedFloat(Type type) {
  if (type.isF16())
    return Float16Type::get(type.getContext());
  if (type.isBF16() || type.isF32())
    return Float32Type::get(type.getContext());
  return {};
}

std::shared_ptr<PanelLeaf> CodeLeaf::get(const Description &description) {
  auto codes = dyn_cast<RankedTensorType>(description.codes.getType());
  int64_t rank = description.rank;
  if (!codes || !codes.getElementType().isSignlessInteger() ||
      (rank != 2 && rank != 3) ||
      (!description.placement && codes.getRank() != rank))
    return nullptr;
  auto leaf = std::make_shared<CodeLeaf>();
  leaf->batched = rank == 3;
  leaf->bits = codes.getElementTypeBitWidth();
  leaf->isUnsigned = description.isUnsigned;
  leaf->rowBlock = description.rowBlock;
  leaf->columnBlock = description.columnBlock;
  leaf->operands = {description.codes};
  if (leaf->bits < 2 || leaf->bits > 8)
    return nullptr;
  if (description.scales) {
    auto scales = dyn_cast<RankedTensorType>(description.scales.getType());
    if (!scales || scales.getRank() != rank)
      return nullptr;
    leaf->scaleType = packedFloat(scales.getElementType());
    leaf->operands.push_back(description.scales);
    if (!leaf->scaleType)
      return nullptr;
  }
  if (description.zeros) {
    auto zeros = dyn_cast<RankedTensorType>(description.zeros.getType());
    if (!zeros || zeros.getRank() != rank)
      return nullptr;
    // What places without a code get has to be one.
    if (description.placement &&
        zeros.getElementType() != codes.getElementType())
      return nullptr;
    // Integers of up to 8 bits are exact in f16.
    leaf->zeroType = zeros.getElementType().isInteger()
                         ? Float16Type::get(codes.getContext())
                         : packedFloat(zeros.getElementType());
    if (!leaf->zeroType)
      return nullptr;
    leaf->operands.push_back(description.zeros);
  }
  if (description.table) {
    auto table = dyn_cast<RankedTensorType>(description.table.getType());
    if (!table || table.getRank() != 2 || !packedFloat(table.getElementType()))
      return nullptr;
    leaf->hasTable = true;
    leaf->isUnsigned = true;
    leaf->operands.push_back(description.table);
  }
  if (description.placement) {
    leaf->placement = description.placement;
    leaf->operands.push_back(description.placement.index);
  }
  return orient(*leaf, /*isTransposed=*/false);
}

std::shared_ptr<CodeLeaf> CodeLeaf::orient(const CodeLeaf &codes,
                                           bool isTransposed) {
  int64_t columnBlock =
      isTransposed == codes.transposed ? codes.columnBlock : codes.rowBlock;
  std::shared_ptr<CodeLeaf> leaf;
  if (columnBlock % 4 != 0)
    leaf = std::make_shared<ColumnScaledLeaf>();
  else if (codes.placement)
    leaf = std::make_shared<SparseLeaf>();
  else
    leaf = std::make_shared<CodeLeaf>();
  *leaf = codes;
  leaf->transposed = isTransposed;
  if (isTransposed != codes.transposed)
    std::swap(leaf->rowBlock, leaf->columnBlock);
  leaf->choosePacking();
  return leaf;
}

void CodeLeaf::choosePacking() {
  packedBits = bits <= 4 ? bits : 8;
  // A unit of 3-bit codes is 8 columns; kept codes share bytes in whole fields.
  if (bits == 3 && (columnBlock % 8 != 0 || placement))
    packedBits = 4;
}

std::shared_ptr<PanelLeaf> CodeLeaf::transpose() const {
  return orient(*this, !transposed);
}

std::string CodeLeaf::getKey() const {
  return "codes " + std::to_string(bits) + " in " + std::to_string(packedBits) +
         (isUnsigned ? " unsigned" : "") + (hasTable ? " table" : "") +
         (transposed ? " transposed " : " ") + std::to_string(rowBlock) + "," +
         std::to_string(columnBlock);
}

std::pair<int64_t, int64_t>
CodeLeaf::getShape(ArrayRef<PackOperand> sources) const {
  ArrayRef<int64_t> whole = sources[0].type.getShape();
  auto [rows, columns] = placement
                             ? placement.getShape(sources[0], sources.back())
                             : std::pair(whole[0], whole[1]);
  return transposed ? std::pair(columns, rows) : std::pair(rows, columns);
}

unsigned CodeLeaf::scaleBytes(const IsaRow &row) const {
  return scaleType ? row.panelRows() * scaleType.getIntOrFloatBitWidth() / 8
                   : 0;
}
unsigned CodeLeaf::zeroBytes(const IsaRow &row) const {
  return zeroType ? row.panelRows() * zeroType.getIntOrFloatBitWidth() / 8 : 0;
}

PanelLayout CodeLeaf::getLayout(const IsaRow &row, unsigned groups) const {
  assert(groups == 4 && "the fields of a byte belong to four groups");
  PanelLayout layout;
  layout.groups = groups;
  layout.unitColumns = packedBits == 3 ? 8 : 4;
  layout.unitBytes = layout.unitColumns * row.panelRows() * packedBits / 8;
  layout.blockColumns = columnBlock ? columnBlock : rowScaledColumns;
  int64_t parameters = parameterBytes(row);
  layout.blockBytes = layout.codeBytes() + (columnBlock ? parameters : 0);
  layout.tailBytes = columnBlock ? 0 : parameters;
  layout.headerBytes = hasTable ? 4 * tableEntries() : 0;
  return layout;
}

unsigned CodeLeaf::getDecodeCost(const IsaRow &row, PanelAs as) const {
  if (as == PanelAs::Int)
    return packedBits == 8 ? 0 : packedBits == 3 ? 2 : 1;
  if (hasTable) {
    unsigned tables = llvm::divideCeil(1u << bits, row.tableEntries);
    return isPermuted(row, tables) ? (2 + row.lookupCost) * tables - 1 : 16;
  }
  return usesTable(row) ? 2 : 3;
}

//===----------------------------------------------------------------------===//
// Decoding
//===----------------------------------------------------------------------===//

CodeLeaf::Field CodeLeaf::getField(const IsaRow &row, unsigned group) const {
  unsigned largest = (1u << bits) - 1, shift = 0;
  if (packedBits == 4)
    shift = 4 * (group % 2);
  else if (packedBits == 2)
    shift = 2 * group;
  else if (packedBits == 3)
    shift = group == 1 ? 3 : group == 2 ? 5 : 0;
  bool fits = (largest << shift) <= row.dotLimit;
  return {((1u << packedBits) - 1) << shift, shift, fits ? 0 : shift};
}

unsigned CodeLeaf::getShift(const IsaRow &row, unsigned group) const {
  Field field = getField(row, group);
  return field.shift - field.move;
}

unsigned CodeLeaf::getBound(const IsaRow &row, unsigned group) const {
  return isSignedByte(row) ? 128 : ((1u << bits) - 1) << getShift(row, group);
}

/// (bytes >> by) & mask. Where there is no shift of bytes, LLVM shifts words
/// and masks once.
static Value shiftAndMask(KernelBuilder &b, Value bytes, unsigned by,
                          unsigned mask) {
  if (by)
    bytes = arith::ShRUIOp::create(b, bytes, b.splatBytes(by));
  return mask == 0xFFu >> by
             ? bytes
             : (Value)arith::AndIOp::create(b, bytes, b.splatBytes(mask));
}

Value CodeLeaf::takeField(KernelBuilder &b, Value raw, Field field) const {
  return shiftAndMask(b, raw, field.move, field.mask >> field.move);
}

Value CodeLeaf::joinSplitGroup(KernelBuilder &b, Value z, Value z2,
                               unsigned step) const {
  Value high = shiftAndMask(b, z, 0, 0xC0);
  Value low = shiftAndMask(b, z2, 1 + step, 0x20);
  return arith::OrIOp::create(b, high, low);
}

bool CodeLeaf::usesTable(const IsaRow &row) const {
  return (1u << packedBits) <= row.tableEntries && row.lookupCost == 1;
}

Value CodeLeaf::lookupColumn(KernelBuilder &b, Value memory, Value lanes,
                             unsigned bit) const {
  unsigned size = b.row.tableEntries;
  unsigned tables = llvm::divideCeil(1u << bits, size);
  unsigned registers = size / b.row.lanes();
  auto shifted = [&](unsigned by) -> Value {
    return by == 0 ? lanes
                   : (Value)arith::ShRUIOp::create(b, lanes, b.splatInts(by));
  };
  Value entry = shifted(bit);
  if (!isPermuted(b.row, tables)) {
    Value at = arith::AndIOp::create(b, entry, b.splatInts((1 << bits) - 1));
    Value count = b.index(tableEntries());
    Value table = memref::ViewOp::create(
        b, MemRefType::get({ShapedType::kDynamic}, b.getF32Type()), memory,
        b.index(0), ValueRange{count});
    auto ones = VectorType::get({(int64_t)b.row.lanes()}, b.getI1Type());
    Value all =
        arith::ConstantOp::create(b, DenseElementsAttr::get(ones, true));
    return vector::GatherOp::create(
        b, b.floats(), table, ValueRange{b.index(0)}, at, all, b.zeroFloats());
  }
  // A permutation reads the lowest bits of the code, a higher one chooses
  // between two: entries repeat where a table is smaller than a vector.
  SmallVector<Value> found;
  for (unsigned i = 0; i < tables; ++i) {
    SmallVector<Value> table;
    for (unsigned j = 0; j < registers; ++j)
      table.push_back(b.loadRegister(
          memory, b.index((i * registers + j) * b.row.vectorBytes),
          b.floats()));
    found.push_back(b.row.lookup(b, table, entry));
  }
  Value zero = b.splatInts(0);
  for (unsigned high = llvm::Log2_32(size); found.size() > 1; ++high) {
    // The bit as a sign.
    Value sign = arith::ShLIOp::create(b, entry, b.splatInts(31 - high));
    Value isSet =
        arith::CmpIOp::create(b, arith::CmpIPredicate::slt, sign, zero);
    SmallVector<Value> halves;
    for (unsigned i = 0; i < found.size(); i += 2)
      halves.push_back(
          arith::SelectOp::create(b, isSet, found[i + 1], found[i]));
    found = halves;
  }
  return found.front();
}

Value CodeLeaf::takeColumn(KernelBuilder &b, Value memory, Value raw,
                           unsigned bit) const {
  Value lanes = b.bitcast(raw, b.ints());
  if (hasTable)
    return lookupColumn(b, memory, lanes, bit);
  auto shiftDown = [&](unsigned by) -> Value {
    return by == 0 ? lanes
                   : (Value)arith::ShRUIOp::create(b, lanes, b.splatInts(by));
  };
  if (usesTable(b.row)) {
    // The look-up reads the lowest bits only: entries repeat, so what stands
    // above the code does not matter.
    SmallVector<Value> table;
    for (unsigned first = 0; first < b.row.tableEntries;
         first += b.row.lanes()) {
      SmallVector<float> entries;
      for (unsigned i = first; i < first + b.row.lanes(); ++i)
        entries.push_back((float)(i & ((1u << packedBits) - 1)) -
                          (float)getBias(b.row));
      table.push_back(arith::ConstantOp::create(
          b, DenseElementsAttr::get(b.floats(), llvm::ArrayRef(entries))));
    }
    return b.row.lookup(b, table, shiftDown(bit));
  }
  if (bits == packedBits && bits != 3 && !isUnsigned) {
    // With its top bit flipped the code is two's complement: two shifts extend
    // the sign. The flip is one instruction for all columns of the vector.
    uint32_t flips = 0;
    for (unsigned i = bit % packedBits; i < 32; i += packedBits)
      flips |= 1u << (i + bits - 1);
    Value signs = lanes;
    if (!isSignedByte(b.row))
      signs = arith::XOrIOp::create(b, lanes, b.splatInts((int32_t)flips));
    unsigned up = 32 - bits - bit;
    if (up)
      signs = arith::ShLIOp::create(b, signs, b.splatInts(up));
    signs = arith::ShRSIOp::create(b, signs, b.splatInts(32 - bits));
    return arith::SIToFPOp::create(b, b.floats(), signs);
  }
  if (isSignedByte(b.row))
    lanes = arith::XOrIOp::create(b, lanes, b.splatInts((int32_t)0x80808080u));
  Value code = shiftDown(bit);
  if (bit + packedBits < 32)
    code = arith::AndIOp::create(b, code, b.splatInts((1 << packedBits) - 1));
  if (!isUnsigned)
    code = arith::SubIOp::create(b, code, b.splatInts(1 << (bits - 1)));
  return arith::SIToFPOp::create(b, b.floats(), code);
}

UnitVectors CodeLeaf::emitUnit(KernelBuilder &b, const PanelLayout &layout,
                               Value memory, Value offset, unsigned firstGroup,
                               unsigned groupCount, PanelAs as, ValueRange,
                               MutableArrayRef<Value>) const {
  unsigned steps = layout.unitColumns / 4;
  SmallVector<Value> raw;
  auto load = [&](unsigned vector) {
    raw.resize(std::max<size_t>(raw.size(), vector + 1));
    if (!raw[vector])
      raw[vector] = b.loadRegister(
          memory, b.add(offset, (int64_t)vector * b.row.vectorBytes),
          b.bytes());
    return raw[vector];
  };
  // The vector of a group's codes, and where they stand in its bytes.
  auto locate = [&](unsigned step, unsigned group) -> std::pair<Value, Field> {
    Field field = getField(b.row, group);
    switch (packedBits) {
    case 8:
      return {load(group), field};
    case 4:
      return {load(group / 2), field};
    case 2:
      return {load(0), field};
    default:
      if (group < 2)
        return {load(step), field};
      if (group == 2)
        return {joinSplitGroup(b, load(step), load(2), step), field};
      // Group 3 of step 1 is shifted to where that of step 0 stands: the
      // factor of a group is one for all steps.
      return {load(2), {7u << (3 * step), 3 * step, 3 * step}};
    }
  };

  UnitVectors result;
  for (unsigned step = 0; step < steps; ++step) {
    if (as == PanelAs::Int) {
      auto &vectors = result.emplace_back();
      for (unsigned g = firstGroup; g < firstGroup + groupCount; ++g) {
        auto [vector, field] = locate(step, g);
        if (packedBits == 3 && g == 2 && !field.move) {
          vectors.push_back(vector);
          continue;
        }
        vectors.push_back(takeField(b, vector, field));
      }
      continue;
    }
    SmallVector<std::pair<Value, Field>> places;
    for (unsigned g = firstGroup; g < firstGroup + groupCount; ++g)
      places.push_back(locate(step, g));
    for (unsigned column = 0; column < 4; ++column) {
      auto &vectors = result.emplace_back();
      for (auto &[vector, field] : places)
        vectors.push_back(
            takeColumn(b, memory, vector, 8 * column + field.shift));
    }
  }
  return result;
}

static Value emitParameter(KernelBuilder &b, Value memory, Value offset,
                           unsigned group, FloatType type) {
  Value at = b.add(offset, (int64_t)group * b.row.lanes() *
                               type.getIntOrFloatBitWidth() / 8);
  return type.isF16() ? b.loadHalves(memory, at)
                      : b.loadRegister(memory, at, b.floats());
}

Value CodeLeaf::emitScale(KernelBuilder &b, Value memory, Value offset,
                          unsigned group) const {
  return emitParameter(b, memory, offset, group, scaleType);
}

Value CodeLeaf::emitZero(KernelBuilder &b, Value memory, Value offset,
                         unsigned group) const {
  return zeroType ? emitParameter(b, memory, b.add(offset, scaleBytes(b.row)),
                                  group, zeroType)
                  : Value();
}
