//===- SparseLeaf.cpp - Panels of pruned codes ----------------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// A block of a panel is
///
///   a bit per place, parameters, codes
///
/// Bits are in the order of the bytes of decoded vectors: 64 of a group of
/// rows, by groups, by steps of four columns. Codes of the groups that would
/// share a byte (CodeLeaf) are fields of the codes' bytes here too, but each
/// field is a stream of its own: the kept codes of its groups in the order of
/// the bits. They are stored xor the code of zero, so that the zeros which
/// expanding leaves where there is no bit become that code: decoding expands
/// the next bytes of a stream under a vector's bits, flips the code of zero,
/// and goes on as for a whole weight; how many were taken is the bits' count.
/// Every block starts its streams anew, and a directory says where, unless all
/// vectors keep as many codes (n of m, where m divides 4).
///
/// To expand a vector costs more than twice what a whole one does. Where that
/// and not memory would bound the kernel, the row of the table says how many
/// vectors of four are stored whole, without bits: those of the last groups,
/// and of the ones before them by turns, so that the fields' streams stay
/// equally long.
///
//===----------------------------------------------------------------------===//

#include "Leaves.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include <cstring>

using namespace mlir;
using namespace miura::codegen;

/// A vector of codes is loaded whole, wherever its stream stands.
static constexpr int64_t overread = 64;

//===----------------------------------------------------------------------===//
// Layout
//===----------------------------------------------------------------------===//

std::shared_ptr<PanelLeaf> SparseLeaf::getUnindexed() const {
  auto leaf = std::make_shared<SparseLeaf>(*this);
  leaf->isWhole = true;
  return leaf;
}

std::string SparseLeaf::getKey() const {
  return CodeLeaf::getKey() + " " + placement.getKey() +
         (isWhole ? " whole" : "");
}

unsigned SparseLeaf::zeroCode(const IsaRow &row) const {
  unsigned zero = isUnsigned ? 0 : 1u << (bits - 1);
  return isSignedByte(row) ? zero ^ 0x80 : zero;
}

int64_t SparseLeaf::getCount(const IsaRow &row) const {
  if (!placement.isGroups() || transposed || 4 % placement.group[1] != 0)
    return 0;
  return row.vectorBytes / placement.group[1] * placement.group[0];
}

bool SparseLeaf::isWholeVector(const IsaRow &row, unsigned step,
                               unsigned group) const {
  return getSteps() == 2 && (3 - group + 4 - step) % 4 < row.wholeVectors;
}

/// Bytes of the codes of a unit of which every expanded vector has `count`.
int64_t SparseLeaf::unitCodeBytes(const IsaRow &row, unsigned groups,
                                  int64_t count) const {
  int64_t bytes = 0;
  for (unsigned step = 0; step < getSteps(); ++step)
    for (unsigned g = 0; g < groups; ++g)
      bytes += isWholeVector(row, step, g) ? row.vectorBytes : count;
  return bytes / fields();
}

PanelLayout SparseLeaf::getLayout(const IsaRow &row, unsigned groups) const {
  PanelLayout layout = CodeLeaf::getLayout(row, groups);
  if (!isExpanded(row))
    return layout;
  layout.unitColumns = 4 * getSteps();
  layout.unitBytes = 0;
  for (unsigned step = 0; step < getSteps(); ++step)
    for (unsigned g = 0; g < groups; ++g)
      if (!isWholeVector(row, step, g))
        layout.unitBytes += row.vectorBytes / 8;
  if (int64_t count = getCount(row)) {
    int64_t units = layout.blockColumns / layout.unitColumns;
    layout.blockBytes = layout.codeBytes() +
                        (columnBlock ? parameterBytes(row) : 0) +
                        units * unitCodeBytes(row, groups, count);
    layout.tailBytes += overread;
  } else {
    layout.blockBytes = 0;
    layout.isIndexed = true;
  }
  return layout;
}

unsigned SparseLeaf::getDecodeCost(const IsaRow &row, PanelAs as) const {
  return CodeLeaf::getDecodeCost(row, as) + (isExpanded(row) ? 4 : 0);
}

unsigned SparseLeaf::getConstants(const IsaRow &row) const {
  if (!isExpanded(row))
    return CodeLeaf::getConstants(row);
  // Codes of zero: per field, or per group where rows have their own; a vector
  // before it is flipped.
  return CodeLeaf::getConstants(row) + (hasZeros() ? 4 : fields()) + 1;
}

//===----------------------------------------------------------------------===//
// Decoding
//===----------------------------------------------------------------------===//

unsigned SparseLeaf::getStateCount(const IsaRow &row) const {
  return isExpanded(row) ? fields() : 0;
}

SmallVector<Value> SparseLeaf::emitBegin(KernelBuilder &b,
                                         const PanelLayout &layout,
                                         Value memory, Value offset) const {
  if (!isExpanded(b.row))
    return {};
  int64_t before =
      layout.codeBytes() + (columnBlock ? parameterBytes(b.row) : 0);
  // As many lines as a block has where half is kept.
  int64_t units = layout.blockColumns / layout.unitColumns;
  int64_t bytes = before + units * unitCodeBytes(b.row, layout.groups,
                                                 b.row.vectorBytes / 2);
  int64_t distance = b.row.getPrefetch(1).asInt;
  if (distance && bytes <= 4096)
    for (int64_t line = 0; line < bytes; line += 64)
      b.prefetch(memory, b.add(offset, distance + line));
  return SmallVector<Value>(fields(), b.add(offset, before));
}

/// The codes of zero of each group, in their fields.
SmallVector<Value> SparseLeaf::emitBlockVectors(KernelBuilder &b, Value memory,
                                                Value parameters) const {
  SmallVector<Value> codes;
  if (!isExpanded(b.row) || !hasZeros())
    return codes;
  for (unsigned g = 0; g < 4; ++g) {
    Value zero = emitZero(b, memory, parameters, g);
    Value code = arith::FPToSIOp::create(b, b.ints(), zero);
    int32_t least = isUnsigned ? 0 : 1 << (bits - 1);
    if (isSignedByte(b.row))
      least -= 128;
    if (least)
      code = arith::AddIOp::create(b, code, b.splatInts(least));
    if (bits == 8)
      code = arith::AndIOp::create(b, code, b.splatInts(0xFF));
    unsigned shift = getField(b.row, g).shift;
    code = arith::MulIOp::create(b, code,
                                 b.splatInts((int32_t)(0x01010101u << shift)));
    codes.push_back(b.bitcast(code, b.bytes()));
  }
  return codes;
}

UnitVectors SparseLeaf::emitUnit(KernelBuilder &b, const PanelLayout &layout,
                                 Value memory, Value offset,
                                 unsigned firstGroup, unsigned groupCount,
                                 PanelAs as, ValueRange blockVectors,
                                 MutableArrayRef<Value> state) const {
  if (!isExpanded(b.row))
    return CodeLeaf::emitUnit(b, layout, memory, offset, firstGroup, groupCount,
                              as, blockVectors, state);
  unsigned zero = zeroCode(b.row), zeros = 0;
  for (unsigned field = 0; field < fields(); ++field)
    zeros |= zero << (field * packedBits);
  unsigned maskBits = b.row.vectorBytes;
  int64_t fixed = getCount(b.row);
  UnitVectors result;
  for (unsigned step = 0; step < getSteps(); ++step) {
    size_t first = result.size();
    result.resize(first + (as == PanelAs::Int ? 1 : 4));
    for (unsigned g = 0; g < layout.groups; ++g) {
      Value &at = state[g % fields()];
      Value mask;
      if (!isWholeVector(b.row, step, g)) {
        mask = b.loadBits(memory, offset, maskBits);
        offset = b.add(offset, maskBits / 8);
      }
      if (g >= firstGroup && g < firstGroup + groupCount) {
        Value raw = b.loadRegister(memory, at, b.bytes());
        if (mask)
          raw = b.row.expand(b, raw, mask);
        if (hasZeros())
          raw = arith::XOrIOp::create(b, raw, blockVectors[g]);
        else if (zeros)
          raw = arith::XOrIOp::create(b, raw, b.splatBytes(zeros));
        Field field = getField(b.row, g);
        if (as == PanelAs::Int)
          result[first].push_back(takeField(b, raw, field));
        else
          for (unsigned column = 0; column < 4; ++column)
            result[first + column].push_back(
                takeColumn(b, memory, raw, 8 * column + field.shift));
      }
      if (!mask)
        at = b.add(at, b.row.vectorBytes);
      else if (fixed)
        at = b.add(at, fixed);
      else
        at =
            b.add(at, arith::IndexCastUIOp::create(
                          b, b.getIndexType(), LLVM::CtPopOp::create(b, mask)));
    }
  }
  return result;
}

//===----------------------------------------------------------------------===//
// Packing
//===----------------------------------------------------------------------===//

LogicalResult SparseLeaf::packPanel(ArrayRef<PackOperand> sources,
                                    const IsaRow &row,
                                    const PanelLayout &layout, int64_t panel,
                                    std::vector<uint8_t> &out,
                                    SmallVectorImpl<size_t> &starts,
                                    Location loc) const {
  std::pair<int64_t, int64_t> shape = getShape(sources);
  int64_t rows = shape.first, columns = shape.second;
  int64_t panelRows = row.panelRows(), lanes = row.lanes();
  int64_t first = panel * panelRows, count = std::min(panelRows, rows - first);
  int64_t blocks = llvm::divideCeil(columns, layout.blockColumns);
  int64_t stride = blocks * layout.blockColumns;
  std::vector<uint8_t> codes(panelRows * stride), kept(panelRows * stride);
  if (failed(readRows(sources, first, count, stride, codes.data(), kept.data(),
                      loc)))
    return failure();
  int64_t n = 0, m = 1;
  if (!layout.isIndexed) {
    n = placement.group[0];
    m = placement.group[1];
  }
  // The code of zero, unsigned.
  unsigned half = isUnsigned ? 0 : 1u << (bits - 1);
  std::optional<CodeStream> zeros;
  if (zeroType)
    zeros.emplace(sources[2]);
  auto getZero = [&](int64_t r, int64_t block) -> unsigned {
    if (!zeros)
      return half;
    auto [i, j] = locateParameter(first + r, block);
    return zeros->at(i, j) ^ half;
  };
  int64_t parameters = parameterBytes(row);
  int64_t streamsAt = layout.codeBytes() + (columnBlock ? parameters : 0);
  for (int64_t block = 0; block < blocks; ++block) {
    size_t start = out.size();
    starts.push_back(start);
    out.resize(start + streamsAt);
    if (columnBlock)
      storeParameters(sources, row, out.data() + start + layout.codeBytes(),
                      first, count, block);
    // Where the next code of each field goes.
    SmallVector<size_t> next(fields(), start + streamsAt);
    size_t bits = start;
    for (int64_t k = 0; k < layout.blockColumns; k += 4)
      for (int64_t r = 0; r < panelRows; ++r) {
        int64_t g = r / lanes, lane = r % lanes;
        bool isWhole = isWholeVector(row, k / 4 % getSteps(), g);
        unsigned zero = r < count ? getZero(r, columnBlock ? block : 0) : 0;
        for (int64_t j = 0; j < 4; ++j) {
          int64_t column = block * layout.blockColumns + k + j;
          int64_t from = r * stride + column;
          // Where every vector has as many codes, rows and columns that pad
          // the weight have them too.
          bool isPadding = !layout.isIndexed && (k + j) % m < n &&
                           (r >= count || column >= columns);
          if (!isWhole && !kept[from] && !isPadding)
            continue;
          if (!isWhole)
            out[bits + lane / 2] |= 1 << (lane % 2 * 4 + j);
          size_t &to = next[g % fields()];
          if (to == out.size())
            out.push_back(0);
          unsigned code = kept[from] ? codes[from] ^ zero : 0;
          out[to++] |= code << (g % fields() * packedBits);
        }
        if (!isWhole && lane == lanes - 1)
          bits += row.vectorBytes / 8;
      }
    if (layout.isIndexed)
      out.resize(llvm::alignTo(out.size(), 8));
    else
      out.resize(start + layout.blockBytes);
  }
  size_t tail = out.size();
  starts.push_back(tail);
  out.resize(tail + layout.tailBytes);
  if (!columnBlock)
    storeParameters(sources, row, out.data() + tail, first, count, 0);
  if (layout.isIndexed)
    out.resize(llvm::alignTo(out.size(), 8));
  return success();
}

LogicalResult SparseLeaf::pack(ArrayRef<PackOperand> sources, const IsaRow &row,
                               unsigned groups, int64_t begin, int64_t end,
                               MutableArrayRef<uint8_t> out,
                               Location loc) const {
  if (!isExpanded(row))
    return CodeLeaf::pack(sources, row, groups, begin, end, out, loc);
  PanelLayout layout = getLayout(row, groups);
  assert(!layout.isIndexed && "panels that are packed with a directory");
  if (failed(checkSources(sources, loc)))
    return failure();
  size_t done = 0;
  for (int64_t panel = begin; panel < end; ++panel) {
    std::vector<uint8_t> packed;
    SmallVector<size_t> starts;
    if (failed(packPanel(sources, row, layout, panel, packed, starts, loc)))
      return failure();
    std::memcpy(out.data() + done, packed.data(), packed.size());
    done += packed.size();
  }
  return success();
}

FailureOr<std::vector<uint8_t>>
SparseLeaf::packAll(ArrayRef<PackOperand> sources, const IsaRow &row,
                    unsigned groups, Location loc) const {
  PanelLayout layout = getLayout(row, groups);
  if (!layout.isIndexed)
    return CodeLeaf::packAll(sources, row, groups, loc);
  if (failed(checkSources(sources, loc)))
    return failure();
  auto [rows, columns] = getShape(sources);
  int64_t panels = getPanels(rows, row, groups);
  int64_t blocks = llvm::divideCeil(columns, layout.blockColumns);
  int64_t directory = layout.headerBytes;
  std::vector<uint8_t> out(
      llvm::alignTo(directory + 4 * panels * (blocks + 1), 64));
  SmallVector<size_t> starts;
  for (int64_t panel = 0; panel < panels; ++panel)
    if (failed(packPanel(sources, row, layout, panel, out, starts, loc)))
      return failure();
  for (auto [i, start] : llvm::enumerate(starts)) {
    if (start / 8 > UINT32_MAX)
      return emitError(loc, "has more than 32 GiB of packed codes");
    uint32_t entry = start / 8;
    std::memcpy(out.data() + directory + 4 * i, &entry, 4);
  }
  out.resize(out.size() + overread);
  return out;
}
