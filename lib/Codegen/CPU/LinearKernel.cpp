//===- LinearKernel.cpp - The kernel of a linear --------------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Puts a linear's kernel together, in phases with a barrier between them:
///
///   1. activations are rounded to int8, or padded, where the leaves ask for
///   it;
///   2. right · x of every product, split over columns (decode) or rows (tiled)
///      into parts whose number does not depend on the team's size;
///   3. panels of outputs, split over the threads: every summand of a panel,
///      then bias, residual and the one write of y.
///
/// A panel's sums are all one thread's, in one order, so results do not depend
/// on the number of threads.
///
//===----------------------------------------------------------------------===//

#include "Schedules.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace miura;
using namespace miura::codegen;

/// Into how many parts of columns right · x is split in decode.
static constexpr int64_t productParts = 8;

/// Rows of x that meet matrices of a batch at a time.
static constexpr int64_t expertRows = 64;

//===----------------------------------------------------------------------===//
// Scratch
//===----------------------------------------------------------------------===//

namespace {
/// The arithmetic that the plan below needs, on numbers.
struct NumberMath {
  using Number = int64_t;
  Number add(Number a, Number b) { return a + b; }
  Number mul(Number a, int64_t b) { return a * b; }
  Number mul(Number a, Number b, int) { return a * b; }
  Number ceilDiv(Number a, int64_t b) { return llvm::divideCeil(a, b); }
  Number constant(int64_t value) { return value; }
};
/// And as IR.
struct IrMath {
  KernelBuilder &b;
  using Number = Value;
  Number add(Number x, Number y) { return b.add(x, y); }
  Number mul(Number x, int64_t y) { return b.mul(x, y); }
  Number mul(Number x, Number y, int) { return b.mul(x, y); }
  Number ceilDiv(Number x, int64_t y) { return b.ceilDiv(x, y); }
  Number constant(int64_t value) { return b.index(value); }
};

/// What of x a kernel keeps in scratch, decided by its leaves alone.
struct ScratchNeeds {
  /// int8 rows per row of x, with their scale and sums: 1 where activations are
  /// rounded, 3 where the digits of f32 enter integer dots, else 0.
  unsigned digits = 0;
  /// f32 rows: rounded (where digits is 1) or padded.
  bool rows = false;
  /// Columns that both are padded to a multiple of.
  int64_t unit = 64;

  /// Per leaf: whether it meets int8 rows of x.
  SmallVector<bool> isDot;

  ScratchNeeds(const LinearSpec &spec, const IsaRow &row, ShapeClass shape)
      : isDot(spec.leaves.size(), false) {
    bool rounds = spec.compute.getActivation().isInteger(8);
    bool decode = shape != ShapeClass::Tiled;
    if (rounds)
      digits = 1;
    for (const LinearTerm &term : spec.terms) {
      unsigned leaf = term.right >= 0 ? term.right : term.leaf;
      const PanelLeaf &panel = *spec.leaves[leaf].panel;
      PanelLayout layout = panel.getLayout(row, spec.leaves[leaf].groups);
      unit = std::lcm(unit, layout.blockColumns);
      if (term.right < 0 && panel.decodesToInt() &&
          (rounds || (decode && digitsAreCheaper(panel, row)))) {
        isDot[leaf] = true;
        digits = rounds ? 1 : 3;
        continue;
      }
      // Floats meet x̂ where activations are rounded; in decode they read whole
      // blocks of it.
      rows |= rounds || decode;
    }
  }

private:
  /// Instructions per register of bytes: three dots against four conversions
  /// and FMAs.
  static bool digitsAreCheaper(const PanelLeaf &panel, const IsaRow &row) {
    unsigned dots = 0;
    for (unsigned g = 0; g < 4; ++g)
      dots += panel.getBound(row, g) <= row.dotLimit ? row.dotCost
                                                     : row.longDotCost;
    return 3 * dots + 4 * panel.getDecodeCost(row, PanelAs::Int) <
           16 * (panel.getDecodeCost(row, PanelAs::F32) + 1);
  }
};

/// Byte offsets of the parts of the scratch. Every part is a number of bytes
/// per row of x, and starts at a multiple of 64.
template <typename Math> struct ScratchPlan {
  using Number = typename Math::Number;
  Number stride; // columns of a stored row of x
  Number quantized, scales, rows;
  SmallVector<Number> sums;     // per leaf
  SmallVector<Number> products; // per term
  Number perRow;                // bytes of all parts
  int64_t parts = 0;            // how many
  Number end;

  /// `products`: f32 values per row of x that term i keeps, at i.
  ScratchPlan(Math math, const LinearSpec &spec, const IsaRow &row,
              const ScratchNeeds &needs, Number columns, Number rowCount,
              ArrayRef<Number> productValues) {
    stride = math.mul(math.ceilDiv(columns, needs.unit), needs.unit);
    end = math.constant(0);
    perRow = math.constant(0);
    auto part = [&](Number bytesPerRow) {
      Number at = end;
      Number bytes = math.mul(rowCount, bytesPerRow, 0);
      end = math.add(at, math.mul(math.ceilDiv(bytes, 64), 64));
      perRow = math.add(perRow, bytesPerRow);
      ++parts;
      return at;
    };
    quantized = scales = rows = end;
    sums.assign(spec.leaves.size(), end);
    products.assign(spec.terms.size(), end);
    if (needs.digits) {
      quantized = part(math.mul(stride, needs.digits));
      scales = part(math.constant(4));
      for (auto [i, leaf] : llvm::enumerate(spec.leaves))
        if (needs.isDot[i]) {
          PanelLayout layout = leaf.panel->getLayout(row, leaf.groups);
          int64_t sumBlock = getSumBlock(layout, *leaf.panel);
          sums[i] =
              part(math.mul(math.ceilDiv(stride, sumBlock), 4 * needs.digits));
        }
    }
    if (needs.rows)
      rows = part(math.mul(stride, 4));
    for (auto [i, term] : llvm::enumerate(spec.terms))
      if (term.right >= 0)
        products[i] = part(math.mul(productValues[i], 4));
  }
};
} // namespace

int64_t miura::codegen::getSmallRows(const LinearSpec &spec,
                                     const IsaRow &row) {
  ScratchNeeds needs(spec, row, ShapeClass::Small);
  if (needs.digits != 3)
    return 0;
  // Floats and products go through tiles where there are many rows.
  bool isAllDots = llvm::all_of(spec.terms, [&](const LinearTerm &term) {
    return needs.isDot[term.leaf];
  });
  return isAllDots && row.longDotCost == 1 ? INT64_MAX : 8;
}

ScratchSize miura::codegen::getLinearScratch(const LinearSpec &spec,
                                             const IsaRow &row,
                                             ShapeClass shape, int64_t columns,
                                             ArrayRef<int64_t> ranks) {
  SmallVector<int64_t> values(spec.terms.size(), 0);
  for (auto [i, term] : llvm::enumerate(spec.terms))
    if (term.right >= 0) {
      const LinearLeaf &left = spec.leaves[term.leaf];
      const LinearLeaf &right = spec.leaves[term.right];
      int64_t rank = ranks[term.right];
      int64_t outputs = llvm::alignTo(rank, row.lanes() * right.groups);
      int64_t inputs = llvm::alignTo(
          rank, left.panel->getLayout(row, left.groups).blockColumns);
      values[i] = shape != ShapeClass::Tiled ? productParts * outputs
                                             : std::max(outputs, inputs);
    }
  ScratchNeeds needs(spec, row, shape);
  ScratchPlan<NumberMath> plan(NumberMath(), spec, row, needs, columns,
                               /*rowCount=*/0, values);
  return {64 * plan.parts, plan.perRow};
}

//===----------------------------------------------------------------------===//
// The kernel
//===----------------------------------------------------------------------===//

namespace {
class LinearEmitter {
public:
  LinearEmitter(KernelBuilder &b, func::FuncOp func, const LinearSpec &spec,
                ShapeClass shape)
      : b(b), spec(spec), needs(spec, b.row, shape), shape(shape) {
    bindArguments(func);
  }
  void emit();

private:
  void bindArguments(func::FuncOp func);
  void planScratch();
  void prepareRows();
  void emitProducts();
  /// Memory for sums of products of as many rows, on the stack: before loops.
  void allocateProducts(Value rowCount);
  /// For one row or a few.
  void emitDecode();
  void emitTiled();
  void barrier() {
    func::CallOp::create(b, "miura_barrier", TypeRange{}, ValueRange{team});
  }
  /// f32 values of left factor inputs and right factor outputs of a term.
  Value rankOf(const LinearTerm &term);
  QuantizedRows::Sums sumsOf(unsigned leaf);
  /// y of group g of the panel at output n0, row m, from its sum.
  Value addNeighbours(Value sum, Value m, Value n, Value mask);

  KernelBuilder &b;
  const LinearSpec &spec;
  ScratchNeeds needs;
  ShapeClass shape;

  /// The number of the matrix that row m meets; null where there is one.
  Value matrixOf(Value m);

  Value x, out, bias, residual, scratch, team, tid, nthreads;
  /// Of a batch: each row's matrix, the first row of x among them.
  Value experts, firstRow;
  SmallVector<PanelOperand> panels;
  Value rows, columns, outputs, panelCount;
  std::optional<ScratchPlan<IrMath>> plan;
  QuantizedRows quantized;
  /// x as f32 leaves meet it: rounded, padded or as it came.
  Value floatRows;
  /// right · x per term, rows of f32; and their memory on the stack.
  SmallVector<Value> products, productSums;
  /// L1 memory for decoded chunks.
  Value buffer;
};
} // namespace

void LinearEmitter::bindArguments(func::FuncOp func) {
  auto next = func.getArguments().begin();
  x = *next++;
  for (const LinearLeaf &leaf : spec.leaves)
    panels.push_back(
        {leaf.panel.get(), leaf.panel->getLayout(b.row, leaf.groups), *next++});
  if (spec.bias >= 0)
    bias = *next++;
  if (spec.residual >= 0)
    residual = *next++;
  if (spec.experts >= 0) {
    experts = *next++;
    Value matrices = *next++;
    for (PanelOperand &panel : panels)
      panel.matrices = matrices;
  }
  out = *next++;
  scratch = *next++;
  team = *next++;
  tid = *next++;
  nthreads = *next++;
  rows = shape == ShapeClass::Decode ? b.index(1)
                                     : (Value)memref::DimOp::create(b, x, 0);
  columns = memref::DimOp::create(b, x, 1);
  outputs = memref::DimOp::create(b, out, 1);
  panelCount = b.ceilDiv(outputs, b.row.panelRows());
}

/// Right factor outputs, padded to its panels.
static Value rightOutputs(KernelBuilder &b, const PanelOperand &right,
                          Value columns) {
  Value count = b.div(right.allPanelBytes(b), right.panelBytes(b, columns));
  return b.mul(count, (int64_t)right.layout.groups * b.row.lanes());
}

Value LinearEmitter::rankOf(const LinearTerm &term) {
  const PanelOperand &left = panels[term.leaf];
  return left.panelColumns(b, b.div(left.allPanelBytes(b), panelCount));
}

void LinearEmitter::planScratch() {
  SmallVector<Value> values(spec.terms.size());
  for (auto [i, term] : llvm::enumerate(spec.terms))
    if (term.right >= 0) {
      Value right = rightOutputs(b, panels[term.right], columns);
      values[i] = shape != ShapeClass::Tiled
                      ? b.mul(right, productParts)
                      : (Value)arith::MaxSIOp::create(b, right, rankOf(term));
    }
  plan.emplace(IrMath{b}, spec, b.row, needs, columns, rows, values);
}

QuantizedRows::Sums LinearEmitter::sumsOf(unsigned leaf) {
  QuantizedRows::Sums sums;
  sums.sumBlock = getSumBlock(panels[leaf].layout, *panels[leaf].leaf);
  sums.perRow = b.div(plan->stride, sums.sumBlock);
  sums.values = b.viewInts(scratch, plan->sums[leaf],
                           b.mul(b.mul(rows, needs.digits), sums.perRow));
  return sums;
}

void LinearEmitter::prepareRows() {
  floatRows = x;
  Value zero = b.index(0);
  if (needs.digits) {
    QuantizeTo to;
    to.memory = scratch;
    to.offset = plan->quantized;
    to.stride = plan->stride;
    to.unit = needs.unit;
    to.digits = needs.digits;
    quantized.rowDwords = b.div(plan->stride, 4);
    quantized.dwords =
        b.viewInts(scratch, plan->quantized,
                   b.mul(b.mul(rows, needs.digits), quantized.rowDwords));
    Value scales = b.viewRows(scratch, plan->scales, rows, b.index(1));
    quantized.scales = scales;
    to.rows = quantized;
    for (unsigned i = 0; i < spec.leaves.size(); ++i)
      if (needs.isDot[i])
        to.sums.push_back(sumsOf(i));
    if (needs.rows && needs.digits == 1)
      floatRows = to.rounded =
          b.viewRows(scratch, plan->rows, rows, plan->stride);
    Value units = b.div(plan->stride, needs.unit);
    if (shape == ShapeClass::Decode) {
      // Every thread finds the scale; each rounds its part.
      Value scale = emitRowScale(b, x, zero, columns, needs.digits);
      auto [begin, end] = b.split(units, tid, nthreads);
      emitQuantize(b, x, zero, columns, scale, begin, end, to);
      b.ifThen(b.equal(tid, 0), [&] {
        memref::StoreOp::create(b, scale, scales, ValueRange{zero, zero});
      });
    } else {
      auto [begin, end] = b.split(rows, tid, nthreads);
      b.loop(begin, end, 1, [&](Value m) {
        Value scale = emitRowScale(b, x, m, columns, needs.digits);
        memref::StoreOp::create(b, scale, scales, ValueRange{m, zero});
        emitQuantize(b, x, m, columns, scale, zero, units, to);
      });
    }
    barrier();
  }
  if (!needs.rows || needs.digits == 1)
    return;
  // Whole blocks are read: where columns do not fill them, a padded copy.
  Value whole = b.equal(b.rem(columns, needs.unit), 0);
  auto choice = scf::IfOp::create(b, b.rowsType(), whole,
                                  /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(choice.thenBlock());
  scf::YieldOp::create(b, x);
  b.setInsertionPointToStart(choice.elseBlock());
  Value copy = b.viewRows(scratch, plan->rows, rows, plan->stride);
  b.ifThen(b.equal(tid, 0), [&] {
    b.loop(zero, rows, 1, [&](Value m) {
      b.loop(zero, plan->stride, b.row.lanes(), [&](Value k) {
        Value v = b.loadMasked(x, {m, k}, b.mask(b.sub(columns, k)));
        vector::StoreOp::create(b, v, copy, ValueRange{m, k});
      });
    });
  });
  barrier();
  scf::YieldOp::create(b, copy);
  floatRows = choice.getResult(0);
}

void LinearEmitter::emitProducts() {
  bool any = false;
  Value zero = b.index(0);
  products.resize(spec.terms.size());
  SmallVector<Value> parts(spec.terms.size());
  for (unsigned i = 0; i < spec.terms.size(); ++i) {
    const LinearTerm &term = spec.terms[i];
    if (term.right < 0)
      continue;
    any = true;
    const PanelOperand &right = panels[term.right];
    Value values = rightOutputs(b, right, columns);
    int64_t panelRows = (int64_t)right.layout.groups * b.row.lanes();
    Value count = b.div(values, panelRows);
    if (shape != ShapeClass::Tiled) {
      // Items: every panel in parts of its blocks.
      parts[i] = b.viewRows(scratch, plan->products[i],
                            b.mul(rows, productParts), values);
      auto [begin, end] = b.split(b.mul(count, productParts), tid, nthreads);
      Value blocks = right.blocks(b, columns);
      b.loop(begin, end, 1, [&](Value item) {
        Value panel = b.div(item, productParts);
        Value part = b.rem(item, productParts);
        Value first = b.div(b.mul(blocks, part), productParts);
        Value last = b.div(b.mul(blocks, b.add(part, 1)), productParts);
        b.loop(zero, rows, 1, [&](Value m) {
          SmallVector<Value> sums = emitFloatPanel(
              b, right, right.panelStart(b, panel, columns, matrixOf(m)),
              columns, first, last, floatRows, m);
          for (auto [g, sum] : llvm::enumerate(sums))
            vector::StoreOp::create(
                b, sum, parts[i],
                ValueRange{b.add(b.mul(m, productParts), part),
                           b.add(b.mul(panel, panelRows),
                                 (int64_t)g * b.row.lanes())});
        });
      });
      continue;
    }
    // Tiles of rows are the threads' parts.
    Value width = arith::MaxSIOp::create(b, values, rankOf(term));
    products[i] = b.viewRows(scratch, plan->products[i], rows, width);
    Value tiles = b.ceilDiv(rows, b.row.floatTileRows);
    auto [firstTile, lastTile] = b.split(tiles, tid, nthreads);
    Value begin = b.mul(firstTile, b.row.floatTileRows);
    Value end = b.min(b.mul(lastTile, b.row.floatTileRows), rows);
    b.loop(begin, end, 1, [&](Value m) {
      b.loop(zero, width, 1, [&](Value j) {
        memref::StoreOp::create(b, b.f32(0), products[i], ValueRange{m, j});
      });
    });
    b.loop(zero, count, 1, [&](Value panel) {
      emitFloatTiles(b, right, right.panelStart(b, panel, columns), columns,
                     floatRows, products[i], b.mul(panel, panelRows), values,
                     begin, end, buffer);
    });
  }
  if (!any)
    return;
  barrier();
  if (shape == ShapeClass::Tiled)
    return;
  // Every thread adds the parts up for itself.
  for (unsigned i = 0; i < spec.terms.size(); ++i) {
    const LinearTerm &term = spec.terms[i];
    if (term.right < 0)
      continue;
    Value values = rightOutputs(b, panels[term.right], columns);
    Value width = arith::MaxSIOp::create(b, values, rankOf(term));
    products[i] = productSums[i];
    b.loop(zero, rows, 1, [&](Value m) {
      Value first = b.mul(m, productParts);
      b.loop(zero, width, b.row.lanes(), [&](Value j) {
        Value mask = b.mask(b.sub(values, j));
        Value sum = b.loadMasked(parts[i], {first, j}, mask);
        for (int64_t part = 1; part < productParts; ++part)
          sum = arith::AddFOp::create(
              b, sum, b.loadMasked(parts[i], {b.add(first, part), j}, mask));
        b.storeMasked(sum, products[i], {m, j}, b.mask(b.sub(width, j)));
      });
    });
  }
}

void LinearEmitter::allocateProducts(Value rowCount) {
  productSums.resize(spec.terms.size());
  for (auto [i, term] : llvm::enumerate(spec.terms)) {
    if (term.right < 0)
      continue;
    Value values = rightOutputs(b, panels[term.right], columns);
    Value width = arith::MaxSIOp::create(b, values, rankOf(term));
    auto type = MemRefType::get({ShapedType::kDynamic, ShapedType::kDynamic},
                                b.getF32Type());
    Value sums = memref::AllocaOp::create(b, type, ValueRange{rowCount, width},
                                          b.getI64IntegerAttr(64));
    productSums[i] = memref::CastOp::create(b, b.rowsType(), sums);
  }
}

Value LinearEmitter::matrixOf(Value m) {
  if (!experts)
    return {};
  Value expert =
      memref::LoadOp::create(b, experts, ValueRange{b.add(firstRow, m)});
  return arith::IndexCastOp::create(b, b.getIndexType(), expert);
}

Value LinearEmitter::addNeighbours(Value sum, Value m, Value n, Value mask) {
  if (bias && experts)
    sum = arith::AddFOp::create(b, sum,
                                b.loadMasked(bias, {matrixOf(m), n}, mask));
  else if (bias)
    sum = arith::AddFOp::create(b, sum, b.loadMasked(bias, n, mask));
  if (residual)
    sum = arith::AddFOp::create(b, sum, b.loadMasked(residual, {m, n}, mask));
  return sum;
}

void LinearEmitter::emitDecode() {
  Value zero = b.index(0);
  // What does not depend on the panel stands before the loop.
  SmallVector<Value> ranks;
  SmallVector<QuantizedRows::Sums> sums(spec.terms.size());
  for (auto [i, term] : llvm::enumerate(spec.terms)) {
    ranks.push_back(term.right >= 0 ? rankOf(term) : columns);
    if (needs.isDot[term.leaf])
      sums[i] = sumsOf(term.leaf);
  }
  // The rows of a panel one after the other: from the second on it comes from
  // the cache.
  auto emitRow = [&](Value panel, Value m) {
    SmallVector<Value> digits;
    for (unsigned digit = 0; digit < needs.digits; ++digit)
      digits.push_back(b.add(b.mul(m, needs.digits), digit));
    Value scale;
    if (needs.digits)
      scale = b.splat(
          memref::LoadOp::create(b, quantized.scales, ValueRange{m, zero}));
    SmallVector<Value> total;
    auto add = [&](ArrayRef<Value> values) {
      if (total.empty())
        return total.assign(values.begin(), values.end());
      for (auto [sum, value] : llvm::zip(total, values))
        sum = arith::AddFOp::create(b, sum, value);
    };
    for (auto [i, term] : llvm::enumerate(spec.terms)) {
      const PanelOperand &operand = panels[term.leaf];
      Value offset = operand.panelStart(b, panel, ranks[i], matrixOf(m));
      if (needs.isDot[term.leaf]) {
        Tile tile =
            emitDotPanel(b, operand, offset, columns, quantized, sums[i],
                         digits, /*prefetch=*/true, spec.terms.size() == 1);
        SmallVector<Value> scaled;
        for (unsigned g = 0; g < operand.layout.groups; ++g) {
          Value v = tile[0][g];
          for (unsigned digit = 1; digit < needs.digits; ++digit)
            v = b.fma(v, b.splat(b.f32(256)), tile[digit][g]);
          scaled.push_back(arith::MulFOp::create(b, v, scale));
        }
        add(scaled);
        continue;
      }
      Value input = term.right >= 0 ? products[i] : floatRows;
      add(emitFloatPanel(b, operand, offset, ranks[i], zero,
                         operand.blocks(b, ranks[i]), input, m));
    }
    Value n0 = b.mul(panel, b.row.panelRows());
    for (auto [g, sum] : llvm::enumerate(total)) {
      Value n = b.add(n0, (int64_t)g * b.row.lanes());
      Value mask = b.mask(b.sub(outputs, n));
      b.storeMasked(addNeighbours(sum, m, n, mask), out, {m, n}, mask);
    }
  };
  auto [begin, end] = b.split(panelCount, tid, nthreads);
  b.loop(begin, end, 1, [&](Value panel) {
    b.loop(zero, rows, 1, [&](Value m) { emitRow(panel, m); });
  });
}

void LinearEmitter::emitTiled() {
  Value zero = b.index(0);
  int64_t lanes = b.row.lanes();
  auto [begin, end] = b.split(panelCount, tid, nthreads);
  SmallVector<Value> ranks;
  SmallVector<QuantizedRows::Sums> sums(spec.terms.size());
  SmallVector<unsigned> intTerms, floatTerms;
  for (auto [i, term] : llvm::enumerate(spec.terms)) {
    ranks.push_back(term.right >= 0 ? rankOf(term) : columns);
    bool isInt = needs.isDot[term.leaf];
    if (isInt)
      sums[i] = sumsOf(term.leaf);
    (isInt ? intTerms : floatTerms).push_back(i);
  }
  b.loop(begin, end, 1, [&](Value panel) {
    Value n0 = b.mul(panel, b.row.panelRows());
    SmallVector<Value> masks, n;
    for (int64_t g = 0; g < 4; ++g) {
      n.push_back(b.add(n0, g * lanes));
      masks.push_back(b.mask(b.sub(outputs, n.back())));
    }
    if (intTerms.empty()) {
      b.loop(zero, rows, 1, [&](Value m) {
        for (unsigned g = 0; g < 4; ++g)
          b.storeMasked(addNeighbours(b.zeroFloats(), m, n[g], masks[g]), out,
                        {m, n[g]}, masks[g]);
      });
    } else {
      b.loop(zero, rows, b.row.dotTileRows, [&](Value m0) {
        SmallVector<Value> tileRows, valid, scales;
        Value lastRow = b.add(rows, -1);
        for (unsigned r = 0; r < b.row.dotTileRows; ++r) {
          Value m = b.add(m0, r);
          tileRows.push_back(r == 0 ? m0 : b.min(m, lastRow));
          valid.push_back(r == 0 ? Value() : b.less(m, rows));
        }
        Tile total;
        for (unsigned i : intTerms) {
          const PanelOperand &operand = panels[spec.terms[i].leaf];
          Tile tile =
              emitDotPanel(b, operand, operand.panelStart(b, panel, columns),
                           columns, quantized, sums[i], tileRows,
                           /*prefetch=*/false, spec.terms.size() == 1);
          if (total.empty()) {
            total = std::move(tile);
            continue;
          }
          for (auto [to, from] : llvm::zip(total, tile))
            for (auto [sum, value] : llvm::zip(to, from))
              sum = arith::AddFOp::create(b, sum, value);
        }
        for (unsigned r = 0; r < tileRows.size(); ++r) {
          auto store = [&] {
            Value scale = b.splat(memref::LoadOp::create(
                b, quantized.scales, ValueRange{tileRows[r], zero}));
            for (unsigned g = 0; g < 4; ++g) {
              Value sum = arith::MulFOp::create(b, total[r][g], scale);
              sum = addNeighbours(sum, tileRows[r], n[g], masks[g]);
              b.storeMasked(sum, out, {tileRows[r], n[g]}, masks[g]);
            }
          };
          if (valid[r])
            b.ifThen(valid[r], store);
          else
            store();
        }
      });
    }
    for (unsigned i : floatTerms) {
      const LinearTerm &term = spec.terms[i];
      emitFloatTiles(b, panels[term.leaf],
                     panels[term.leaf].panelStart(b, panel, ranks[i]), ranks[i],
                     term.right >= 0 ? products[i] : floatRows, out, n0,
                     outputs, zero, rows, buffer);
    }
  });
}

void LinearEmitter::emit() {
  if (shape == ShapeClass::Tiled) {
    int64_t bytes = 0;
    for (auto [i, panel] : llvm::enumerate(panels))
      if (!needs.isDot[i] && panel.leaf->getDecodeCost(b.row, PanelAs::F32) > 0)
        bytes =
            std::max(bytes, getChunkBytes(b.row, *panel.leaf, panel.layout));
    if (bytes > 0)
      buffer = b.stackBytes(bytes);
  }
  auto emitRows = [&] {
    planScratch();
    prepareRows();
    emitProducts();
    if (shape == ShapeClass::Tiled)
      emitTiled();
    else
      emitDecode();
  };
  if (!experts) {
    if (shape != ShapeClass::Tiled)
      allocateProducts(rows);
    return emitRows();
  }
  // Each row has another matrix. Some rows at a time: those of one expert find
  // its panel in the cache, and the sums of products their place on the stack.
  Value all = rows, allX = x, allOut = out;
  allocateProducts(b.index(expertRows));
  b.loop(b.index(0), all, expertRows, [&](Value first) {
    firstRow = first;
    rows = b.min(b.index(expertRows), b.sub(all, first));
    auto cut = [&](Value memory, Value width) -> Value {
      return memref::SubViewOp::create(
          b, b.rowsType(), memory,
          ArrayRef<OpFoldResult>{first, b.getIndexAttr(0)},
          ArrayRef<OpFoldResult>{rows, width},
          ArrayRef<OpFoldResult>{b.getIndexAttr(1), b.getIndexAttr(1)});
    };
    x = cut(allX, columns);
    out = cut(allOut, outputs);
    emitRows();
    // The scratch is used again.
    barrier();
  });
}

LogicalResult miura::codegen::emitLinearKernel(OpBuilder &builder,
                                               func::FuncOp func,
                                               KernelOp kernel,
                                               const IsaRow &row,
                                               ShapeClass shape) {
  std::string reason;
  std::unique_ptr<LinearSpec> spec = analyzeLinear(kernel, &reason);
  if (!spec)
    return kernel.emitError("has no schedule as a linear: ") << reason;
  FunctionType type = getLinearKernelType(builder.getContext(), *spec);
  if (func.getFunctionType() != type)
    return func.emitError("expects the type ")
           << type << " for this kernel, but got " << func.getFunctionType();
  auto module = func->getParentOfType<ModuleOp>();
  OpBuilder::InsertionGuard guard(builder);
  if (!module.lookupSymbol("miura_barrier")) {
    builder.setInsertionPointToStart(module.getBody());
    auto barrier = func::FuncOp::create(
        builder, func.getLoc(), "miura_barrier",
        builder.getFunctionType({builder.getIndexType()}, {}));
    barrier.setPrivate();
  }
  builder.setInsertionPointToStart(func.addEntryBlock());
  KernelBuilder b(func.getLoc(), builder, row);
  LinearEmitter(b, func, *spec, shape).emit();
  func::ReturnOp::create(b);
  return success();
}
