//===- QuantizeRtn.cpp - Round weights to the nearest level ---------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The shape of a lossy pass: jobs are collected in program order, computed in
/// parallel as pure functions of the stored bytes, and committed in order. A
/// job reads its weight some rows at a time and writes codes straight into the
/// store, so the largest weight costs a few megabytes. The mathematics is in
/// lib/Compress.
///
//===----------------------------------------------------------------------===//

#include "miura/Compress/Pack.h"
#include "miura/Support/Half.h"
#include "miura/Transforms/Certificates/Certify.h"
#include "miura/Transforms/Quantize/Passes.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/Threading.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/Support/GlobPattern.h"
#include <cmath>
#include <limits>
#include <optional>

using namespace mlir;
using namespace miura;
using namespace miura::compress;

namespace miura {
#define GEN_PASS_DEF_QUANTIZERTNPASS
#include "miura/Transforms/Quantize/Passes.h.inc"
} // namespace miura

/// Results of up to this many bytes are inline constants: tests can write and
/// check them, and a tensor is not worth a file of its own.
static constexpr int64_t kInlineBytes = 1024;

namespace {

/// Where a weight's value comes from: data under transpositions and
/// conversions.
struct Source {
  Operation *leaf = nullptr; ///< miura.weight or a constant
  bool transposed = false;
};

/// A tensor that a job made: bytes, or the name of a stored file.
struct NewTensor {
  std::vector<uint8_t> bytes;
  std::string file;
  int64_t length = 0;
};

/// One weight, with every use of it.
struct Job {
  SmallVector<Compressible> uses;
  SmallVector<Value> roots; ///< distinct values of this weight, in order
  Source source;
  RankedTensorType type; ///< out × in

  // Results.
  NewTensor codes, scales, zeros;
  std::string kept;  ///< why the layer is kept, where it is
  std::string error; ///< why the pass fails, where it does
};

/// Collects the bytes of a tensor: small ones in memory, others in the store.
class TensorSink {
public:
  TensorSink(FileStore &files, bool small) : files(files), small(small) {}

  llvm::Error write(ArrayRef<uint8_t> bytes) {
    tensor.length += bytes.size();
    if (small) {
      llvm::append_range(tensor.bytes, bytes);
      return llvm::Error::success();
    }
    if (!writer) {
      auto started = files.startPut();
      if (!started)
        return started.takeError();
      writer.emplace(std::move(*started));
    }
    return writer->write(bytes);
  }

  llvm::Expected<NewTensor> finish() {
    if (writer) {
      auto name = writer->finish();
      if (!name)
        return name.takeError();
      tensor.file = *name;
    }
    return std::move(tensor);
  }

private:
  FileStore &files;
  bool small;
  NewTensor tensor;
  std::optional<FileStore::Writer> writer;
};

struct QuantizeRtn : miura::impl::QuantizeRtnPassBase<QuantizeRtn> {
  using QuantizeRtnPassBase::QuantizeRtnPassBase;

  void runOnOperation() override;

  LogicalResult checkOptions();
  void collect(std::vector<Job> &jobs);
  std::string getReasonToKeep(const Job &job) const;
  void compute(Job &job, FileStore &files) const;
  llvm::Error quantizeRows(Job &job, FileStore &files) const;
  ApproximateOp commit(Job &job, SymbolTable &symbols);
  Value createLeaf(OpBuilder &builder, Location loc, StringRef name,
                   RankedTensorType type, const NewTensor &tensor,
                   SymbolTable &symbols);

  QuantizerOptions getQuantizerOptions() const {
    return {bits, symmetric, scaleType};
  }
  bool isNamed(Compressible use, ArrayRef<llvm::GlobPattern> globs) const {
    return llvm::any_of(globs, [&](const llvm::GlobPattern &glob) {
      return glob.match(use.getId());
    });
  }

  std::vector<llvm::GlobPattern> includeGlobs, excludeGlobs;
  /// Roots and their copies: of one tree, so of one certificate.
  std::vector<std::pair<ApproximateOp, ApproximateOp>> copies;
};

} // namespace

LogicalResult QuantizeRtn::checkOptions() {
  ModuleOp module = getOperation();
  if (bits < 2 || bits > 8)
    return module.emitError("miura-quantize-rtn: bits must be 2 to 8, but got ")
           << (unsigned)bits;
  if (blockSize < -1)
    return module.emitError("miura-quantize-rtn: block-size must be positive, "
                            "0 (channel) or "
                            "-1 (tensor), but got ")
           << (int64_t)blockSize;
  for (auto [texts, globs] :
       {std::pair{ArrayRef<std::string>(include), &includeGlobs},
        {ArrayRef<std::string>(exclude), &excludeGlobs}})
    for (const std::string &text : texts) {
      auto glob = llvm::GlobPattern::create(text);
      if (!glob)
        return module.emitError("miura-quantize-rtn: '")
               << text
               << "' is not a pattern: " << llvm::toString(glob.takeError());
      globs->push_back(*glob);
    }
  return success();
}

static Source getSource(Value value) {
  Source source;
  while (Operation *op = value.getDefiningOp()) {
    if (auto transpose = dyn_cast<TransposeOp>(op)) {
      source.transposed = !source.transposed;
      value = transpose.getInput();
    } else if (auto convert = dyn_cast<ConvertOp>(op)) {
      value = convert.getInput();
    } else {
      if (isa<WeightOp>(op) || op->hasTrait<OpTrait::ConstantLike>())
        source.leaf = op;
      break;
    }
  }
  return source;
}

/// Jobs in program order. Uses of one weight, read the same way, are one job,
/// whether or not they are of one SSA value.
void QuantizeRtn::collect(std::vector<Job> &jobs) {
  llvm::MapVector<std::tuple<const void *, int, Type>, Job> byWeight;
  getOperation().walk([&](Compressible use) {
    Value root = use.getWeightOperand().get();
    Source source = getSource(root);
    // Anything else is a job of its own, which will be kept.
    const void *key = root.getAsOpaquePointer();
    if (auto weight = dyn_cast_or_null<WeightOp>(source.leaf))
      key = weight.getDataAttr().getAttr().getAsOpaquePointer();
    else if (source.leaf)
      key = source.leaf;
    Job &job = byWeight[{key, source.transposed, root.getType()}];
    job.source = source;
    job.type = dyn_cast<RankedTensorType>(root.getType());
    job.uses.push_back(use);
    if (!llvm::is_contained(job.roots, root))
      job.roots.push_back(root);
  });
  for (auto &entry : byWeight)
    jobs.push_back(std::move(entry.second));
}

std::string QuantizeRtn::getReasonToKeep(const Job &job) const {
  for (Compressible use : job.uses)
    if (isNamed(use, excludeGlobs))
      return "it is excluded";
  if (!includeGlobs.empty() && llvm::none_of(job.uses, [&](Compressible use) {
        return isNamed(use, includeGlobs);
      }))
    return "no include pattern names it";
  std::string text;
  llvm::raw_string_ostream reason(text);
  if (!job.source.leaf) {
    Operation *op = job.roots.front().getDefiningOp();
    if (op && isa<WeightExpression>(op))
      reason << "its weight is already an expression ('" << op->getName()
             << "'); quantize the original";
    else
      reason << "its weight is not a constant of the model";
    return text;
  }
  Type stored = cast<RankedTensorType>(job.source.leaf->getResult(0).getType())
                    .getElementType();
  if (!job.type || job.type.getRank() != 2 || job.type.getNumElements() == 0)
    reason << "its weight is not a matrix but " << job.roots.front().getType();
  else if (!stored.isF32() && !stored.isF16() && !stored.isBF16())
    reason << "its weight is stored as " << stored
           << ", and only f32, f16 and bf16 are quantized";
  else if (blockSize > 0 && job.type.getDimSize(1) % blockSize != 0)
    reason << "a block of " << (int64_t)blockSize << " does not divide its "
           << job.type.getDimSize(1)
           << " columns; choose a divisor, or block-size=0";
  return text;
}

/// Calls `function(row, values)` for each row of the job's weight.
template <typename Function>
static llvm::Error forEachRow(const Job &job, Function function) {
  int64_t rows = job.type.getDimSize(0), columns = job.type.getDimSize(1);
  int64_t chunk = std::max<int64_t>(1, (1 << 18) / columns);
  for (int64_t first = 0; first < rows; first += chunk) {
    int64_t count = std::min(chunk, rows - first);
    auto values = evaluateExpressionRows(job.roots.front(), first, count);
    if (failed(values))
      return llvm::createStringError("the weight cannot be read");
    for (int64_t r = 0; r < count; ++r)
      if (llvm::Error error = function(
              first + r,
              ArrayRef<float>(values->floats).slice(r * columns, columns)))
        return error;
  }
  return llvm::Error::success();
}

llvm::Error QuantizeRtn::quantizeRows(Job &job, FileStore &files) const {
  QuantizerOptions options = getQuantizerOptions();
  int64_t rows = job.type.getDimSize(0), columns = job.type.getDimSize(1);
  bool perTensor = blockSize < 0;
  int64_t blocks =
      blockSize > 0 ? llvm::divideCeil(columns, (int64_t)blockSize) : 1;
  int64_t scaleRows = perTensor ? 1 : rows;
  int64_t rowBytes = getPackedRowBytes(columns, bits);
  int64_t zeroBytes = symmetric ? 0 : getPackedRowBytes(blocks, bits);
  int64_t scaleSize = scaleType == ScaleType::F16 ? 2 : 4;
  bool small = rows * rowBytes + scaleRows * (blocks * scaleSize + zeroBytes) <=
               kInlineBytes;
  TensorSink codeSink(files, small), scaleSink(files, small),
      zeroSink(files, small);

  auto keep = [&](FitResult result) {
    job.kept = result == FitResult::NotFinite
                   ? "its weight has a value that is not finite"
                   : "a scale is too large for f16; choose scale-type=f32";
  };
  auto writeGrids = [&](ArrayRef<Grid> grids) -> llvm::Error {
    std::vector<uint8_t> bytes(grids.size() * scaleSize), codes(grids.size()),
        packed(zeroBytes);
    for (auto [i, grid] : llvm::enumerate(grids)) {
      uint16_t half = floatToHalf(grid.scale);
      uint32_t single = floatToBits(grid.scale);
      memcpy(&bytes[i * scaleSize],
             scaleSize == 2 ? (const void *)&half : (const void *)&single,
             scaleSize);
      codes[i] = (uint8_t)grid.zero;
    }
    if (llvm::Error error = scaleSink.write(bytes))
      return error;
    if (symmetric)
      return llvm::Error::success();
    packRow(codes, bits, packed);
    return zeroSink.write(packed);
  };

  std::vector<Grid> grids(blocks);
  if (perTensor) {
    float least = 0, greatest = 0;
    if (llvm::Error error =
            forEachRow(job, [&](int64_t, ArrayRef<float> values) {
              for (float value : values) {
                // A NaN must reach the check, and comparisons drop it.
                if (std::isnan(value))
                  greatest = std::numeric_limits<float>::infinity();
                least = std::min(least, value);
                greatest = std::max(greatest, value);
              }
              return llvm::Error::success();
            }))
      return error;
    FitResult result = fitGridToRange(least, greatest, options, grids[0]);
    if (result != FitResult::Fitted) {
      keep(result);
      return llvm::Error::success();
    }
    if (llvm::Error error = writeGrids(grids))
      return error;
  }

  std::vector<uint8_t> codes(columns), packed(rowBytes);
  if (llvm::Error error =
          forEachRow(job, [&](int64_t, ArrayRef<float> values) -> llvm::Error {
            if (!job.kept.empty())
              return llvm::Error::success();
            if (perTensor) {
              encode(values, options, grids[0], codes);
            } else {
              FitResult result =
                  quantizeRow(values, blockSize, options, codes, grids);
              if (result != FitResult::Fitted) {
                keep(result);
                return llvm::Error::success();
              }
              if (llvm::Error error = writeGrids(grids))
                return error;
            }
            packRow(codes, bits, packed);
            return codeSink.write(packed);
          }))
    return error;
  if (!job.kept.empty())
    return llvm::Error::success();

  for (auto [sink, tensor] : {std::pair{&codeSink, &job.codes},
                              {&scaleSink, &job.scales},
                              {&zeroSink, &job.zeros}}) {
    auto finished = sink->finish();
    if (!finished)
      return finished.takeError();
    *tensor = std::move(*finished);
  }
  return llvm::Error::success();
}

void QuantizeRtn::compute(Job &job, FileStore &files) const {
  if (llvm::Error error = quantizeRows(job, files))
    job.error = llvm::toString(std::move(error));
}

/// Puts `data` behind the module's other weights, under a name of its own.
static void insertData(WeightDataOp data, SymbolTable &symbols) {
  data->remove();
  Block &block = symbols.getOp()->getRegion(0).front();
  auto place = llvm::find_if(
      block, [](Operation &op) { return !isa<WeightDataOp>(op); });
  symbols.insert(data, place);
}

Value QuantizeRtn::createLeaf(OpBuilder &builder, Location loc, StringRef name,
                              RankedTensorType type, const NewTensor &tensor,
                              SymbolTable &symbols) {
  if (tensor.file.empty()) {
    auto value = readHostTensor(type, tensor.bytes);
    SmallVector<Attribute> elements;
    Type element = type.getElementType();
    for (int64_t i = 0, e = type.getNumElements(); i < e; ++i)
      elements.push_back(
          value->isFloat()
              ? (Attribute)builder.getFloatAttr(element, value->floats[i])
              : (Attribute)builder.getIntegerAttr(
                    element, APInt(element.getIntOrFloatBitWidth(),
                                   (uint64_t)(int64_t)value->ints[i],
                                   /*isSigned=*/true, /*implicitTrunc=*/true)));
    return arith::ConstantOp::create(builder, loc,
                                     DenseElementsAttr::get(type, elements));
  }
  auto bytes = BytesAttr::get(&getContext(), tensor.file, 0, tensor.length, 0,
                              StringAttr());
  auto data =
      WeightDataOp::create(builder, loc, name, builder.getStringAttr("private"),
                           bytes, StringAttr(), type);
  insertData(data, symbols);
  return WeightOp::create(builder, loc, type, data.getSymName());
}

ApproximateOp QuantizeRtn::commit(Job &job, SymbolTable &symbols) {
  MLIRContext *context = &getContext();
  Operation *leaf = job.source.leaf;
  OpBuilder builder(context);
  builder.setInsertionPointAfterValue(job.roots.front());
  Location loc = leaf->getLoc();
  int64_t rows = job.type.getDimSize(0), columns = job.type.getDimSize(1);

  // An inline weight becomes data too: what was approximated must stay known.
  std::string name;
  if (auto weight = dyn_cast<WeightOp>(leaf)) {
    name = weight.getData().str();
  } else {
    auto value = evaluateExpression(leaf->getResult(0));
    auto type = cast<RankedTensorType>(leaf->getResult(0).getType());
    auto *dialect = context->getLoadedDialect<MiuraDialect>();
    auto bytes =
        dialect->getWeightStore().putBytes(writeHostTensor(*value), loc);
    if (failed(bytes))
      return {};
    auto data = WeightDataOp::create(builder, loc, job.uses.front().getId(),
                                     builder.getStringAttr("private"), *bytes,
                                     StringAttr(), type);
    insertData(data, symbols);
    name = data.getSymName().str();
  }

  bool perTensor = blockSize < 0;
  int64_t blocks =
      blockSize > 0 ? llvm::divideCeil(columns, (int64_t)blockSize) : 1;
  SmallVector<int64_t> scaleShape{perTensor ? 1 : rows, blocks};
  Type codeType = builder.getIntegerType(bits);
  Type scaleElement = scaleType == ScaleType::F16 ? (Type)builder.getF16Type()
                                                  : (Type)builder.getF32Type();
  Value codes = createLeaf(builder, loc, name + ".codes",
                           RankedTensorType::get({rows, columns}, codeType),
                           job.codes, symbols);
  Value scales = createLeaf(builder, loc, name + ".scales",
                            RankedTensorType::get(scaleShape, scaleElement),
                            job.scales, symbols);
  Value zeros;
  if (!symmetric)
    zeros = createLeaf(builder, loc, name + ".zeros",
                       RankedTensorType::get(scaleShape, codeType), job.zeros,
                       symbols);
  int64_t block[] = {perTensor ? 0 : 1, perTensor ? 0 : (int64_t)blockSize};
  Value value =
      DequantizeOp::create(builder, loc, job.type, codes, scales, zeros, block,
                           /*is_unsigned=*/!symmetric);
  auto root = ApproximateOp::create(builder, loc, job.type, value, name,
                                    job.source.transposed, CertificateAttr());

  // The tree is rebuilt beside every other value of the weight, which may lie
  // in another block; equal ones are CSE's to merge.
  llvm::DenseMap<Value, Value> replacement{{job.roots.front(), root}};
  for (Value other : ArrayRef<Value>(job.roots).drop_front()) {
    builder.setInsertionPointAfterValue(other);
    IRMapping mapping;
    for (Value operand : {codes, scales, zeros})
      if (operand)
        builder.clone(*operand.getDefiningOp(), mapping);
    builder.clone(*value.getDefiningOp(), mapping);
    auto copy = cast<ApproximateOp>(builder.clone(*root, mapping));
    replacement[other] = copy;
    copies.push_back({root, copy});
  }
  for (Compressible use : job.uses) {
    OpOperand &operand = use.getWeightOperand();
    operand.set(replacement.lookup(operand.get()));
    if (activation == ActivationType::Keep)
      continue;
    if (auto compute = use->getAttrOfType<ComputeAttr>("compute"))
      use->setAttr("compute", ComputeAttr::get(context, builder.getI8Type(),
                                               compute.getAccumulator(), 0));
  }
  return root;
}

void QuantizeRtn::runOnOperation() {
  if (failed(checkOptions()))
    return signalPassFailure();
  ModuleOp module = getOperation();
  FileStore &files = getContext()
                         .getLoadedDialect<MiuraDialect>()
                         ->getWeightStore()
                         .getFiles();
  std::vector<Job> jobs;
  collect(jobs);
  parallelForEach(&getContext(), jobs, [&](Job &job) {
    job.kept = getReasonToKeep(job);
    if (job.kept.empty())
      compute(job, files);
  });

  SymbolTable symbols(module);
  SmallVector<ApproximateOp> roots;
  for (Job &job : jobs) {
    Compressible use = job.uses.front();
    if (!job.error.empty()) {
      emitError(use.getLoc())
          << "cannot quantize '" << use.getId() << "': " << job.error;
      return signalPassFailure();
    }
    if (!job.kept.empty()) {
      for (Compressible each : job.uses)
        emitRemark(each.getLoc())
            << "'" << each.getId() << "' is kept as it is: " << job.kept;
      continue;
    }
    ApproximateOp root = commit(job, symbols);
    if (!root)
      return signalPassFailure();
    roots.push_back(root);
  }
  if (roots.empty() && !jobs.empty()) {
    module.emitError("miura-quantize-rtn: no layer fits ")
        << (unsigned)bits << " bits in blocks of " << (int64_t)blockSize
        << "; the remarks say why each was kept";
    return signalPassFailure();
  }
  if (failed(certify(roots)))
    return signalPassFailure();
  for (auto [root, copy] : copies)
    copy.setCertificateAttr(*root.getCertificate());
}
