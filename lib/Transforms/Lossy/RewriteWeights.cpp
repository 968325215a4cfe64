//===- RewriteWeights.cpp - What lossy passes share -----------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Collecting, computing and committing. Uses of one weight are one layer,
/// whether or not they are of one SSA value; its tree is built beside each
/// value, since they may lie in different blocks, and has one certificate.
///
//===----------------------------------------------------------------------===//

#include "miura/Transforms/Lossy/RewriteWeights.h"
#include "miura/Dialect/Miura/Transforms/WorkAction.h"
#include "miura/Transforms/Certificates/Certify.h"
#include "mlir/IR/Remarks.h"
#include "mlir/IR/Threading.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/SetVector.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/GlobPattern.h"
#include <optional>

using namespace mlir;
using namespace miura;

//===----------------------------------------------------------------------===//
// Reading
//===----------------------------------------------------------------------===//

WeightSource miura::getWeightSource(Value value) {
  WeightSource source;
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

Type WeightSource::getElementType() const {
  return cast<RankedTensorType>(leaf->getResult(0).getType()).getElementType();
}

llvm::Expected<TreePlanPtr> miura::planOperands(WeightExpression op, Type type,
                                                StringRef name,
                                                const std::string &kept,
                                                PlanWeight plan) {
  std::vector<TreePlanPtr> operands;
  for (Value operand : op->getOperands())
    operands.push_back(TreePlan::keep(operand));
  bool any = false;
  for (unsigned i : op.getWeightOperands()) {
    Value operand = op->getOperand(i);
    auto made = plan(operand, getLeafName(operand, name));
    if (!made || !kept.empty())
      return made;
    if (!*made)
      continue;
    operands[i] = std::move(*made);
    any = true;
  }
  if (!any)
    return TreePlanPtr();
  return TreePlan::remake(op, type, std::move(operands));
}

std::string miura::getLeafName(Value value, StringRef name) {
  if (auto weight = dyn_cast_or_null<WeightOp>(getWeightSource(value).leaf))
    return weight.getData().str();
  return name.str();
}

llvm::Error miura::forEachSlice(
    Value value,
    llvm::function_ref<llvm::Error(int64_t, const HostTensor &)> function) {
  auto type = cast<RankedTensorType>(value.getType());
  if (type.getNumElements() == 0)
    return llvm::Error::success();
  int64_t slices = type.getDimSize(0);
  int64_t chunk =
      std::max<int64_t>(1, (1 << 18) / (type.getNumElements() / slices));
  for (int64_t first = 0; first < slices; first += chunk) {
    auto values =
        evaluateExpressionRows(value, first, std::min(chunk, slices - first));
    if (failed(values))
      return llvm::createStringError("the weight cannot be read");
    if (llvm::Error error = function(first, *values))
      return error;
  }
  return llvm::Error::success();
}

llvm::Error miura::forEachRow(
    Value value,
    llvm::function_ref<llvm::Error(int64_t, ArrayRef<float>)> function) {
  auto type = cast<RankedTensorType>(value.getType());
  if (type.getRank() == 1) {
    // A vector is one row.
    auto values = readNumbers(value);
    if (!values)
      return values.takeError();
    return function(0, *values);
  }
  int64_t columns = type.getShape().back();
  if (type.getNumElements() == 0)
    return llvm::Error::success();
  int64_t inSlice = type.getNumElements() / columns / type.getDimSize(0);
  return forEachSlice(
      value, [&](int64_t first, const HostTensor &slice) -> llvm::Error {
        ArrayRef<float> values = slice.floats;
        int64_t row = first * inSlice;
        for (; !values.empty(); values = values.drop_front(columns))
          if (llvm::Error error = function(row++, values.take_front(columns)))
            return error;
        return llvm::Error::success();
      });
}

llvm::Expected<std::vector<float>> miura::readNumbers(Value value) {
  std::vector<float> numbers;
  numbers.reserve(cast<RankedTensorType>(value.getType()).getNumElements());
  if (llvm::Error error =
          forEachSlice(value, [&](int64_t, const HostTensor &slice) {
            llvm::append_range(numbers, slice.floats);
            return llvm::Error::success();
          }))
    return error;
  return numbers;
}

//===----------------------------------------------------------------------===//
// The passes' frame
//===----------------------------------------------------------------------===//

namespace {
struct Job {
  Layer layer;
  LayerResult result;
  std::string error; ///< why the pass fails, where it does
};

class Rewriter {
public:
  Rewriter(ModuleOp module, const LossyRewrite &rewrite)
      : module(module), rewrite(rewrite), symbols(module) {}

  LogicalResult run();

private:
  LogicalResult readPatterns(ArrayRef<std::string> texts,
                             std::vector<llvm::GlobPattern> &globs);
  void collect();
  void warnOfUnused(ArrayRef<std::string> texts,
                    ArrayRef<llvm::GlobPattern> globs);
  std::string getReasonToKeep(Layer &layer) const;
  void compute(Job &job, FileStore &files) const;
  FailureOr<std::string> nameOriginal(Layer &layer);
  LogicalResult commit(Job &job);
  void remarkKept(Compressible use, StringRef reason) const;
  void remarkCompressed(Layer &layer, ApproximateOp root) const;

  ModuleOp module;
  const LossyRewrite &rewrite;
  SymbolTable symbols;
  std::vector<llvm::GlobPattern> include, exclude;
  std::vector<Job> jobs;
  std::vector<Job *> committed;
  SmallVector<ApproximateOp> roots; ///< one per committed job
  /// Roots and their copies: of one tree, so of one certificate.
  std::vector<std::pair<ApproximateOp, ApproximateOp>> copies;
};
} // namespace

LogicalResult Rewriter::readPatterns(ArrayRef<std::string> texts,
                                     std::vector<llvm::GlobPattern> &globs) {
  for (const std::string &text : texts) {
    auto glob = llvm::GlobPattern::create(text);
    if (!glob)
      return module.emitError()
             << rewrite.pass << ": '" << text
             << "' is not a pattern: " << llvm::toString(glob.takeError());
    globs.push_back(*glob);
  }
  return success();
}

/// Uses of one weight, read the same way, are one layer, and so are uses of
/// trees with one certificate.
void Rewriter::collect() {
  using Key = std::tuple<const void *, const void *, int, Type>;
  llvm::MapVector<Key, Job> byWeight;
  module.walk([&](Compressible use) {
    Value value = use.getWeightOperand().get();
    auto root = value.getDefiningOp<ApproximateOp>();
    WeightSource source = root ? WeightSource() : getWeightSource(value);
    // Anything else is a layer of its own, which will be kept.
    Key key{value.getAsOpaquePointer(), nullptr, source.transposed,
            value.getType()};
    if (root && root.getCertificate())
      key = {root.getOriginalAttr().getAttr().getAsOpaquePointer(),
             root.getCertificate()->getAsOpaquePointer(), root.getTransposed(),
             value.getType()};
    else if (auto weight = dyn_cast_or_null<WeightOp>(source.leaf))
      std::get<0>(key) = weight.getDataAttr().getAttr().getAsOpaquePointer();
    else if (source.leaf)
      std::get<0>(key) = source.leaf;
    Layer &layer = byWeight[key].layer;
    if (layer.uses.empty()) {
      layer.type = dyn_cast<RankedTensorType>(value.getType());
      layer.root = root;
      layer.tree = root ? root.getExpression() : value;
      layer.leaf = source.leaf;
      layer.transposed = root ? root.getTransposed() : source.transposed;
      layer.name =
          root ? root.getOriginal().str() : getLeafName(value, use.getId());
    }
    layer.uses.push_back(use);
    if (!llvm::is_contained(layer.roots, value))
      layer.roots.push_back(value);
  });
  for (auto &entry : byWeight)
    jobs.push_back(std::move(entry.second));
}

/// Whether `glob` names `use`, by its id or by its place in the trained model.
static bool isNamed(Compressible use, const llvm::GlobPattern &glob) {
  StringRef path = getModulePath(use);
  return glob.match(use.getId()) || (!path.empty() && glob.match(path));
}

static bool isNamed(Compressible use, ArrayRef<llvm::GlobPattern> globs) {
  return llvm::any_of(
      globs, [&](const llvm::GlobPattern &glob) { return isNamed(use, glob); });
}

std::string Rewriter::getReasonToKeep(Layer &layer) const {
  for (Compressible use : layer.uses)
    if (isNamed(use, exclude))
      return "it is excluded";
  if (!include.empty() && llvm::none_of(layer.uses, [&](Compressible use) {
        return isNamed(use, include);
      }))
    return "no include pattern names it";
  std::string text;
  llvm::raw_string_ostream reason(text);
  if (!layer.root && !layer.leaf) {
    Operation *op = layer.roots.front().getDefiningOp();
    if (op && isa<WeightExpression>(op))
      reason << "its weight came as an expression ('" << op->getName()
             << "'), and there is no original to certify against";
    else
      reason << "its weight is not a constant of the model";
    return text;
  }
  if (!layer.type || !layer.type.hasStaticShape() || layer.type.getRank() < 2 ||
      layer.type.getNumElements() == 0) {
    reason << "its weight is not a matrix but "
           << layer.roots.front().getType();
    return text;
  }
  if (layer.leaf) {
    WeightSource source{layer.leaf, layer.transposed};
    Type stored = source.getElementType();
    if (!stored.isF32() && !stored.isF16() && !stored.isBF16())
      reason << "its weight is stored as " << stored
             << ", and only f32, f16 and bf16 are compressed";
  }
  return text;
}

void Rewriter::compute(Job &job, FileStore &files) const {
  std::string reason = getReasonToKeep(job.layer);
  if (!reason.empty()) {
    job.result.kept = std::move(reason);
    return;
  }
  auto result = rewrite.compute(job.layer, files);
  if (result)
    job.result = std::move(*result);
  else
    job.error = llvm::toString(result.takeError());
}

/// The symbol of the original. An inline weight becomes data: what was
/// approximated must stay known.
FailureOr<std::string> Rewriter::nameOriginal(Layer &layer) {
  if (layer.root)
    return layer.root.getOriginal().str();
  if (auto weight = dyn_cast<WeightOp>(layer.leaf))
    return weight.getData().str();
  Value value = layer.leaf->getResult(0);
  auto numbers = evaluateExpression(value);
  if (failed(numbers))
    return failure();
  auto *dialect = module.getContext()->getLoadedDialect<MiuraDialect>();
  Location loc = layer.leaf->getLoc();
  auto bytes =
      dialect->getWeightStore().putBytes(writeHostTensor(*numbers), loc);
  if (failed(bytes))
    return failure();
  OpBuilder builder(layer.leaf);
  auto data = WeightDataOp::create(
      builder, loc, layer.getId(), builder.getStringAttr("private"), *bytes,
      StringAttr(), cast<RankedTensorType>(value.getType()));
  insertWeightData(data, symbols);
  return data.getSymName().str();
}

static void eraseDeadTree(Value value) {
  // An operand may be that of two ops, as zeros are that fill too.
  llvm::SetVector<Operation *> open;
  auto add = [&](Value value) {
    if (Operation *op = value.getDefiningOp())
      open.insert(op);
  };
  add(value);
  while (!open.empty()) {
    Operation *op = open.pop_back_val();
    if (!isOpTriviallyDead(op))
      continue;
    SmallVector<Value> operands(op->getOperands());
    op->erase();
    llvm::for_each(operands, add);
  }
}

LogicalResult Rewriter::commit(Job &job) {
  Layer &layer = job.layer;
  FailureOr<std::string> original = nameOriginal(layer);
  if (failed(original))
    return failure();
  Location loc = layer.roots.front().getLoc();
  TreeBuilder trees(symbols, loc);
  ApproximateOp first;
  llvm::DenseMap<Value, Value> replacement;
  for (Value old : layer.roots) {
    Value value = trees.build(job.result.plan, old, /*isCopy=*/(bool)first);
    OpBuilder builder(module.getContext());
    builder.setInsertionPointAfterValue(value);
    // A tree that is kept whole lies above its old root.
    if (value.getParentBlock() == old.getParentBlock() &&
        value.getDefiningOp()->isBeforeInBlock(old.getDefiningOp()))
      builder.setInsertionPointAfterValue(old);
    auto root =
        ApproximateOp::create(builder, loc, layer.type, value, *original,
                              layer.transposed, CertificateAttr());
    replacement[old] = root;
    if (first)
      copies.push_back({first, root});
    else
      roots.push_back(first = root);
  }
  for (Compressible use : layer.uses) {
    OpOperand &operand = use.getWeightOperand();
    operand.set(replacement.lookup(operand.get()));
    if (rewrite.finish)
      rewrite.finish(use);
  }
  for (Value old : layer.roots)
    eraseDeadTree(old);
  return success();
}

/// A pattern that names no layer is likely to be misspelt, and what it was to
/// keep is compressed.
void Rewriter::warnOfUnused(ArrayRef<std::string> texts,
                            ArrayRef<llvm::GlobPattern> globs) {
  for (auto [text, glob] : llvm::zip_equal(texts, globs))
    if (llvm::none_of(jobs, [&glob = glob](const Job &job) {
          return llvm::any_of(job.layer.uses, [&](Compressible use) {
            return isNamed(use, glob);
          });
        }))
      module.emitWarning() << rewrite.pass << ": the pattern '" << text
                           << "' names no layer";
}

/// A layer that is left alone says so to everyone, or, where a tool asks for
/// missed remarks (--remarks-filter-missed), to that tool; and keeps the
/// reason.
void Rewriter::remarkKept(Compressible use, StringRef reason) const {
  SmallVector<Attribute> reasons;
  if (auto before = use->getAttrOfType<ArrayAttr>(kKeptAttrName))
    llvm::append_range(reasons, before);
  reasons.push_back(
      StringAttr::get(use.getContext(), rewrite.pass + ": " + reason));
  use->setAttr(kKeptAttrName, ArrayAttr::get(use.getContext(), reasons));
  std::string text =
      ("'" + use.getId() + "' is kept as it is: " + reason).str();
  if (auto missed = remark::missed(
          use.getLoc(),
          remark::RemarkOpts::name("Kept").category(rewrite.pass)))
    missed << text;
  else
    emitRemark(use.getLoc()) << text;
}

/// What became of a layer, for who asks (--remarks-filter-passed).
void Rewriter::remarkCompressed(Layer &layer, ApproximateOp root) const {
  auto passed = remark::passed(
      layer.uses.front().getLoc(),
      remark::RemarkOpts::name("Compressed").category(rewrite.pass));
  if (!passed)
    return;
  std::string text;
  llvm::raw_string_ostream(text)
      << "'" << layer.getId() << "' is " << getFileBytes(root.getExpression())
      << " bytes, with an error of "
      << llvm::format("%.4g",
                      root.getCertificate()->getValue().getValueAsDouble());
  passed << text;
}

LogicalResult Rewriter::run() {
  if (failed(readPatterns(rewrite.include, include)) ||
      failed(readPatterns(rewrite.exclude, exclude)))
    return failure();
  MLIRContext *context = module.getContext();
  FileStore &files =
      context->getLoadedDialect<MiuraDialect>()->getWeightStore().getFiles();
  collect();
  warnOfUnused(rewrite.include, include);
  warnOfUnused(rewrite.exclude, exclude);
  int64_t total = 0;
  for (Job &job : jobs)
    total += job.layer.type.getNumElements();
  parallelForEach(context, jobs, [&](Job &job) {
    context->executeAction<WorkAction>([&] { compute(job, files); },
                                       {job.layer.uses.front().getOperation()},
                                       rewrite.verb, job.layer.getId(),
                                       job.layer.type.getNumElements(), total);
  });

  bool anyFits = jobs.empty();
  for (Job &job : jobs) {
    Compressible use = job.layer.uses.front();
    if (!job.error.empty())
      return emitError(use.getLoc()) << "cannot " << rewrite.verb << " '"
                                     << use.getId() << "': " << job.error;
    if (!job.result.kept.empty()) {
      for (Compressible each : job.layer.uses)
        remarkKept(each, job.result.kept);
      continue;
    }
    anyFits = true;
    if (!job.result.plan)
      continue;
    if (failed(commit(job)))
      return failure();
    committed.push_back(&job);
  }
  if (!anyFits)
    return module.emitError()
           << rewrite.pass << ": no layer fits " << rewrite.scheme
           << "; the remarks say why each was kept, such as '"
           << jobs.front().layer.getId() << "': " << jobs.front().result.kept;
  if (failed(certify(roots)))
    return failure();
  for (auto [root, copy] : copies)
    copy.setCertificateAttr(*root.getCertificate());
  for (auto [job, root] : llvm::zip_equal(committed, roots))
    remarkCompressed(job->layer, root);
  return success();
}

LogicalResult miura::rewriteWeights(ModuleOp module,
                                    const LossyRewrite &rewrite) {
  return Rewriter(module, rewrite).run();
}
