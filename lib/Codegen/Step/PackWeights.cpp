//===- PackWeights.cpp - The weights file of a compiled model -------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Writes what a compiled model reads at run time: the leaves of its kernels'
/// weight expressions, in the order in which the target's kernels load them
/// (PanelLeaf), and everything else that is constant and larger than a number.
/// In the IR, every use becomes a view into the weights argument of the step.
///
//===----------------------------------------------------------------------===//

#include "KernelRoots.h"
#include "miura/Codegen/CPU/Kernels.h"
#include "miura/Codegen/Step/Passes.h"
#include "miura/Codegen/Step/StepSignature.h"
#include "miura/Dialect/Miura/IR/MiuraDialect.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "llvm/Support/BLAKE3.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/raw_ostream.h"

namespace miura {
#define GEN_PASS_DEF_PACKWEIGHTSPASS
#include "miura/Codegen/Step/Passes.h.inc"
} // namespace miura

using namespace mlir;
using namespace miura;
using namespace miura::codegen;

/// As in lib/Runtime/Abi.h.
static constexpr llvm::StringLiteral kMagic = "MIURAWTS";
static constexpr int64_t kHeaderBytes = 4096;
/// Blobs of a page or more start at a page.
static constexpr int64_t kPage = 4096, kLine = 64;
/// What is packed at a time, so that a large leaf is never whole on the heap.
static constexpr int64_t kPackBytes = 16 << 20;

namespace {

/// The file, written from front to back. Without a name only offsets are
/// computed.
class WeightsFile {
public:
  LogicalResult open(StringRef path, Location loc) {
    name = path.str();
    if (path.empty())
      return success();
    std::error_code error;
    file = std::make_unique<llvm::raw_fd_ostream>(path, error);
    if (error)
      return emitError(loc, "cannot write ") << path << ": " << error.message();
    std::string header(kHeaderBytes, 0);
    *file << header;
    return success();
  }

  int64_t begin(int64_t bytes) {
    int64_t unit = bytes >= kPage ? kPage : kLine;
    int64_t offset = llvm::alignTo(end, unit);
    if (offset != end)
      append(std::vector<uint8_t>(offset - end, 0));
    return offset;
  }

  void append(ArrayRef<uint8_t> bytes) {
    hash.update(bytes);
    end += bytes.size();
    if (file)
      file->write(reinterpret_cast<const char *>(bytes.data()), bytes.size());
  }

  /// Writes the header. Returns the identity.
  FailureOr<std::string> close(Location loc) {
    // The kernels may read a vector past the last byte.
    append(std::vector<uint8_t>(kPage, 0));
    auto digest = hash.final<32>();
    std::string id(digest.begin(), digest.end());
    if (file) {
      file->seek(0);
      *file << kMagic << id;
      file->close();
      if (file->has_error()) {
        emitError(loc, "cannot write ")
            << name << ": " << file->error().message();
        file->clear_error();
        return failure();
      }
    }
    return id;
  }

  bool isWritten() const { return file != nullptr; }
  int64_t end = kHeaderBytes;

private:
  std::string name;
  std::unique_ptr<llvm::raw_fd_ostream> file;
  llvm::BLAKE3 hash;
};

struct Blob {
  int64_t offset, bytes;
};

class Packer {
public:
  Packer(ModuleOp module, const IsaRow &row, WeightsFile &file)
      : module(module), row(row), file(file) {}

  LogicalResult pack(func::FuncOp step);

private:
  LogicalResult packKernel(KernelOp kernel, Value weights);
  /// Writes a leaf's packed bytes: of a batch, matrix after matrix.
  FailureOr<Blob> packLeaf(const LinearLeaf &leaf,
                           ArrayRef<PackOperand> sources, Location loc);
  /// The stored bytes of a constant or a weight; `storage` keeps those that
  /// have to be made.
  FailureOr<PackOperand> getSource(Value value, Location loc,
                                   std::vector<uint8_t> &storage);
  /// Writes the raw bytes of a constant or a weight, once.
  FailureOr<Blob> writeRaw(Value value, Location loc);
  Value createView(OpBuilder &b, Location loc, Value weights, Blob blob,
                   MemRefType type);
  std::string getSourceKey(Value value);

  ModuleOp module;
  const IsaRow &row;
  WeightsFile &file;
  llvm::StringMap<Blob> blobs;
};

} // namespace

/// The weight or constant that a value is, through a conversion to bytes of
/// neither kind.
static bool isConstantData(Value value) {
  Operation *op = value.getDefiningOp();
  return isa_and_present<WeightOp>(op) ||
         (isa_and_present<arith::ConstantOp>(op) &&
          isa<RankedTensorType>(value.getType()));
}

std::string Packer::getSourceKey(Value value) {
  std::string key;
  llvm::raw_string_ostream os(key);
  Operation *op = value.getDefiningOp();
  if (auto weight = dyn_cast_or_null<WeightOp>(op))
    os << weight.getData();
  else if (auto constant = dyn_cast_or_null<arith::ConstantOp>(op))
    os << constant.getValue().getAsOpaquePointer();
  return key;
}

FailureOr<PackOperand> Packer::getSource(Value value, Location loc,
                                         std::vector<uint8_t> &storage) {
  auto type = cast<RankedTensorType>(value.getType());
  if (auto weight = value.getDefiningOp<WeightOp>()) {
    auto data = module.lookupSymbol<WeightDataOp>(weight.getData());
    if (!data || !data.getBytesAttr())
      return emitError(loc, "needs the bytes of @") << weight.getData();
    auto *dialect = module.getContext()->getLoadedDialect<MiuraDialect>();
    FailureOr<ArrayRef<uint8_t>> bytes =
        dialect->getWeightStore().getBytes(data.getBytesAttr(), loc);
    if (failed(bytes))
      return failure();
    return PackOperand{type, *bytes};
  }
  auto constant = value.getDefiningOp<arith::ConstantOp>();
  auto elements = constant ? dyn_cast<DenseElementsAttr>(constant.getValue())
                           : DenseElementsAttr();
  if (!elements)
    return emitError(loc, "expects a weight or a constant to pack");
  ArrayRef<char> raw = elements.getRawData();
  // Narrow elements stand in bytes here, and in a bit stream in a file; rows
  // of two such streams can be as long as bytes.
  bool isNarrow = type.getElementTypeBitWidth() % 8 != 0;
  if (elements.isSplat() || isNarrow) {
    if (type.getElementTypeBitWidth() <= 32)
      storage = writeHostTensor(readConstant(elements));
    else // 64-bit splat
      for (int64_t i = 0; i < type.getNumElements(); ++i)
        storage.insert(storage.end(), raw.begin(), raw.end());
    return PackOperand{type, storage};
  }
  return PackOperand{
      type, ArrayRef<uint8_t>(reinterpret_cast<const uint8_t *>(raw.data()),
                              raw.size())};
}

Value Packer::createView(OpBuilder &b, Location loc, Value weights, Blob blob,
                         MemRefType type) {
  Value offset = arith::ConstantIndexOp::create(b, loc, blob.offset);
  if (type.getRank() == 1 && type.getElementType().isInteger(8) &&
      type.isDynamicDim(0)) {
    Value size = arith::ConstantIndexOp::create(b, loc, blob.bytes);
    return memref::ViewOp::create(b, loc, type, weights, offset, size);
  }
  return memref::ViewOp::create(b, loc, type, weights, offset, ValueRange());
}

FailureOr<Blob> Packer::writeRaw(Value value, Location loc) {
  auto type = cast<RankedTensorType>(value.getType());
  if (type.getElementType().isIndex() || type.getElementTypeBitWidth() % 8 != 0)
    return emitError(loc, "cannot store a constant of type ")
           << type << " outside a kernel";
  std::string key = "raw " + getSourceKey(value);
  if (auto it = blobs.find(key); it != blobs.end())
    return it->second;
  std::vector<uint8_t> storage;
  FailureOr<PackOperand> source = getSource(value, loc, storage);
  if (failed(source))
    return failure();
  Blob blob{file.begin(source->bytes.size()),
            static_cast<int64_t>(source->bytes.size())};
  file.append(source->bytes);
  blobs[key] = blob;
  return blob;
}

/// The shape of a leaf, or of each matrix of one that is a batch.
static std::pair<int64_t, int64_t>
getMatrixShape(const PanelLeaf &panel, ArrayRef<PackOperand> sources) {
  if (!panel.isBatched())
    return panel.getShape(sources);
  std::vector<uint8_t> storage;
  return panel.getShape(panel.getMatrix(sources, 0, storage));
}

FailureOr<Blob> Packer::packLeaf(const LinearLeaf &leaf,
                                 ArrayRef<PackOperand> sources, Location loc) {
  const PanelLeaf &panel = *leaf.panel;
  auto [rows, columns] = getMatrixShape(panel, sources);
  PanelLayout layout = panel.getLayout(row, leaf.groups);
  bool isBatched = panel.isBatched();
  if (!isBatched && (layout.isIndexed || layout.headerBytes != 0)) {
    auto out = panel.packAll(sources, row, leaf.groups, loc);
    if (failed(out))
      return failure();
    int64_t size = out->size();
    Blob blob{file.begin(size), size};
    file.append(*out);
    return blob;
  }
  int64_t panels = PanelLeaf::getPanels(rows, row, leaf.groups);
  int64_t panelBytes = layout.panelBytes(columns);
  if (isBatched) {
    // A matrix at a time, behind the header that all have.
    int64_t matrices = panel.getMatrices(sources);
    int64_t size = layout.headerBytes + matrices * panels * panelBytes;
    Blob blob{file.begin(size), size};
    for (int64_t m = 0; m < matrices; ++m) {
      std::vector<uint8_t> storage;
      auto out = panel.packAll(panel.getMatrix(sources, m, storage), row,
                               leaf.groups, loc);
      if (failed(out))
        return failure();
      file.append(ArrayRef(*out).drop_front(m ? layout.headerBytes : 0));
    }
    return blob;
  }
  Blob blob{file.begin(panels * panelBytes), panels * panelBytes};
  int64_t step = std::max<int64_t>(1, kPackBytes / panelBytes);
  std::vector<uint8_t> out;
  for (int64_t p = 0; p < panels; p += step) {
    int64_t end = std::min(panels, p + step);
    out.assign((end - p) * panelBytes, 0);
    if (failed(panel.pack(sources, row, leaf.groups, p, end, out, loc)))
      return failure();
    file.append(out);
  }
  return blob;
}

LogicalResult Packer::packKernel(KernelOp kernel, Value weights) {
  Location loc = kernel.getLoc();
  SmallVector<LinearLeaf> leaves;
  std::unique_ptr<LinearSpec> spec;
  Block &body = kernel.getBody().front();
  auto embeddings = body.getOps<EmbeddingOp>();
  if (!body.getOps<LinearOp>().empty() ||
      !body.getOps<ExpertLinearOp>().empty()) {
    std::string reason;
    spec = analyzeLinear(kernel, &reason);
    if (!spec)
      return kernel.emitError("there is no kernel for the linear ")
             << kernel->getAttr("miura.id") << ": " << reason;
    leaves = spec->leaves;
  } else if (!embeddings.empty()) {
    EmbeddingOp embedding = *embeddings.begin();
    LinearLeaf leaf;
    leaf.panel = getPanelLeaf(embedding.getWeight());
    if (!leaf.panel)
      return kernel.emitError("there is no kernel for the embedding ")
             << kernel->getAttr("miura.id")
             << ": its weight is not a leaf that can be decoded";
    leaf.groups = 4;
    for (Value operand : leaf.panel->getOperands()) {
      auto argument = dyn_cast<BlockArgument>(operand);
      leaf.arguments.push_back(argument ? argument.getArgNumber() : -1);
    }
    leaves.push_back(leaf);
  }

  auto columnsOf = [](Value value) {
    return cast<ShapedType>(value.getType()).getShape().back();
  };
  int64_t outputs = columnsOf(kernel.getOutputs()[0]);
  if (spec)
    setLeafShapes(*spec, outputs, columnsOf(kernel.getInputs()[spec->x]));
  else if (!leaves.empty())
    leaves[0].panel->setShape(0, outputs);

  // What is packed, of each leaf; and by what equal bytes are found.
  SmallVector<SmallVector<PackOperand>> sources(leaves.size());
  std::vector<std::vector<std::vector<uint8_t>>> storage(leaves.size());
  std::vector<std::string> keys(leaves.size());
  for (auto [i, leaf] : llvm::enumerate(leaves)) {
    storage[i].resize(leaf.arguments.size());
    for (auto [j, argument] : llvm::enumerate(leaf.arguments)) {
      if (argument < 0)
        return kernel.emitError("has a leaf with a part that is no operand");
      Value input = kernel.getInputs()[argument];
      FailureOr<PackOperand> source = getSource(input, loc, storage[i][j]);
      if (failed(source))
        return failure();
      sources[i].push_back(*source);
      llvm::raw_string_ostream(keys[i])
          << ' ' << getSourceKey(input) << source->type;
    }
  }
  // The rank of a product is told by the rows of its right factor.
  if (spec)
    for (const LinearTerm &term : spec->terms)
      if (term.right >= 0)
        leaves[term.leaf].panel->setShape(
            outputs,
            getMatrixShape(*leaves[term.right].panel, sources[term.right])
                .first);
  if (spec && spec->experts >= 0)
    kernel->setAttr(
        kMatricesAttrName,
        Builder(kernel.getContext())
            .getI64IntegerAttr(leaves[0].panel->getMatrices(sources[0])));

  OpBuilder b(kernel);
  SmallVector<int64_t> ranks(leaves.size(), 0), widths(leaves.size(), 0);
  SmallVector<std::pair<unsigned, Value>> packed;
  for (auto [i, leaf] : llvm::enumerate(leaves)) {
    // Equal sources, packed by equal leaves, give equal bytes.
    std::string key;
    llvm::raw_string_ostream(key)
        << leaf.groups << ' ' << leaf.panel->getKey() << keys[i];
    auto [rows, columns] = getMatrixShape(*leaf.panel, sources[i]);
    PanelLayout layout = leaf.panel->getLayout(row, leaf.groups);
    ranks[i] = rows;
    widths[i] = llvm::divideCeil(columns, layout.blockColumns);
    auto [it, isNew] = blobs.try_emplace(key);
    if (isNew) {
      FailureOr<Blob> blob = packLeaf(leaf, sources[i], loc);
      if (failed(blob))
        return failure();
      it->second = *blob;
    }
    Value view =
        createView(b, loc, weights, it->second,
                   MemRefType::get({ShapedType::kDynamic}, b.getI8Type()));
    for (int argument : leaf.arguments)
      packed.push_back({static_cast<unsigned>(argument), view});
  }
  // A kernel finds blocks from the columns of what the leaf meets.
  auto meets = [&](unsigned i, int64_t columns) {
    return (uint64_t)widths[i] ==
           llvm::divideCeil(
               columns,
               leaves[i].panel->getLayout(row, leaves[i].groups).blockColumns);
  };
  if (spec) {
    int64_t columns = columnsOf(kernel.getInputs()[spec->x]);
    for (const LinearTerm &term : spec->terms) {
      bool isProduct = term.right >= 0;
      if ((isProduct && !meets(term.right, columns)) ||
          !meets(term.leaf, isProduct ? ranks[term.right] : columns))
        return kernel.emitError("there is no kernel for the linear ")
               << kernel->getAttr("miura.id")
               << ": a pruned factor of a product whose rank no operand tells";
    }
    ScratchSize size;
    for (ShapeClass shape :
         {ShapeClass::Decode, ShapeClass::Small, ShapeClass::Tiled}) {
      if (spec->experts >= 0
              ? shape != ShapeClass::Small
              : shape == ShapeClass::Small && !getSmallRows(*spec, row))
        continue;
      ScratchSize one = getLinearScratch(*spec, row, shape, columns, ranks);
      size.fixed = std::max(size.fixed, one.fixed);
      size.perRow = std::max(size.perRow, one.perRow);
    }
    kernel->setAttr("miura.scratch",
                    b.getDenseI64ArrayAttr({size.fixed, size.perRow}));
  } else if (!leaves.empty()) {
    kernel->setAttr("miura.rows", b.getI64IntegerAttr(ranks[0]));
  }
  for (auto [argument, view] : packed)
    kernel.getInputsMutable()[argument].assign(view);
  return success();
}

LogicalResult Packer::pack(func::FuncOp step) {
  Value weights = StepSignature(step).getWeights();
  WalkResult result = step.walk([&](KernelOp kernel) {
    return failed(packKernel(kernel, weights)) ? WalkResult::interrupt()
                                               : WalkResult::advance();
  });
  if (result.wasInterrupted())
    return failure();
  for (Operation &op : llvm::make_early_inc_range(step.getBody().front()))
    if (isa<WeightOp>(op) && op.use_empty())
      op.erase();
  // What is left: norm scales, tables, weights of ops without a kernel.
  SmallVector<Operation *> rest;
  for (Operation &op : step.getBody().front())
    if (op.getNumResults() == 1 && isConstantData(op.getResult(0)) &&
        !op.use_empty()) {
      auto constant = dyn_cast<arith::ConstantOp>(op);
      auto type = cast<RankedTensorType>(op.getResult(0).getType());
      if (constant && type.getNumElements() <= 1)
        continue;
      rest.push_back(&op);
    }
  for (Operation *op : rest) {
    Value value = op->getResult(0);
    FailureOr<Blob> blob = writeRaw(value, op->getLoc());
    if (failed(blob))
      return failure();
    OpBuilder b(op);
    auto type = cast<RankedTensorType>(value.getType());
    Value view =
        createView(b, op->getLoc(), weights, *blob,
                   MemRefType::get(type.getShape(), type.getElementType()));
    Value tensor = bufferization::ToTensorOp::create(
        b, op->getLoc(), type, view, /*restrict=*/true, /*writable=*/false);
    value.replaceAllUsesWith(tensor);
    op->erase();
  }
  return success();
}

namespace {

struct PackWeights : public miura::impl::PackWeightsPassBase<PackWeights> {
  using PackWeightsPassBase::PackWeightsPassBase;

  void getDependentDialects(DialectRegistry &registry) const override {
    PackWeightsPassBase::getDependentDialects(registry);
    registerPanelLeaves(registry);
  }

  void runOnOperation() override {
    ModuleOp module = getOperation();
    llvm::Expected<Target> chosen = chooseTarget(target, features);
    if (!chosen) {
      module.emitError(llvm::toString(chosen.takeError()));
      return signalPassFailure();
    }
    WeightsFile file;
    if (failed(file.open(output, module.getLoc())))
      return signalPassFailure();
    Packer packer(module, *chosen->row, file);
    for (func::FuncOp step : getSteps(module))
      if (failed(packer.pack(step)))
        return signalPassFailure();
    FailureOr<std::string> id = file.close(module.getLoc());
    if (failed(id))
      return signalPassFailure();
    Builder b(&getContext());
    module->setAttr("miura.weight_bytes", b.getI64IntegerAttr(file.end));
    module->setAttr("miura.weight_id",
                    b.getStringAttr(llvm::toHex(*id, /*LowerCase=*/true)));
  }
};

} // namespace
