//===- KernelProblem.cpp - A linear kernel to check or time ---------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Builds a miura.kernel from a problem string, emits and compiles it for its
/// instruction set, packs random weights, and computes what it should give in
/// double from WeightExpression::evaluate, which shares nothing with it.
///
//===----------------------------------------------------------------------===//

#include "KernelProblem.h"
#include "RemoteMachine.h"
#include "miura/Codegen/CPU/KernelToLLVM.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlow.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/MemRef/Transforms/Passes.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/UB/IR/UBOps.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/ExecutionEngine/ExecutionEngine.h"
#include "mlir/ExecutionEngine/OptUtils.h"
#include "mlir/IR/Verifier.h"
#include "mlir/InitAllExtensions.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Target/LLVMIR/Dialect/All.h"
#include "mlir/Target/LLVMIR/Export.h"
#include "mlir/Transforms/Passes.h"
#include "llvm/IR/IRBuilder.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Module.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Target/TargetMachine.h"
#include "llvm/Target/TargetOptions.h"
#include "llvm/TargetParser/Host.h"
#include <cmath>
#include <csignal>
#include <cstring>
#include <random>
#include <sys/mman.h>
#include <thread>
#include <unistd.h>

using namespace mlir;
using namespace miura;
using namespace miura::codegen;
using namespace miura::test;

//===----------------------------------------------------------------------===//
// Problem strings
//===----------------------------------------------------------------------===//

llvm::Expected<KernelProblem> KernelProblem::parse(StringRef text) {
  KernelProblem problem;
  SmallVector<StringRef> words;
  text.split(words, ' ', -1, /*KeepEmpty=*/false);
  for (StringRef word : words) {
    StringRef key = word.split('=').first, value = word.split('=').second;
    bool bad = false;
    auto number = [&](auto &to) { bad = value.getAsInteger(10, to); };
    if (key == "w")
      problem.weight = value.str();
    else if (key == "m")
      number(problem.m);
    else if (key == "n")
      number(problem.n);
    else if (key == "k")
      number(problem.k);
    else if (key == "threads")
      number(problem.threads);
    else if (key == "seed")
      number(problem.seed);
    else if (key == "experts")
      number(problem.experts);
    else if (key == "isa")
      problem.isa = value.str();
    else if (key == "cpu")
      problem.cpu = value.str();
    else if (word == "act=i8" || word == "act=f32")
      problem.int8 = value == "i8";
    else if (word == "bias")
      problem.bias = true;
    else if (word == "residual")
      problem.residual = true;
    else if (word == "outlier")
      problem.outlier = true;
    else if (word == "inplace")
      problem.residual = problem.inplace = true;
    else
      bad = true;
    if (bad)
      return llvm::createStringError("bad word in the problem: '" + word.str() +
                                     "'");
  }
  return problem;
}

std::string KernelProblem::str() const {
  std::string text;
  llvm::raw_string_ostream os(text);
  os << "w=" << weight << " m=" << m << " n=" << n << " k=" << k
     << " act=" << (int8 ? "i8" : "f32") << " isa=" << isa
     << " threads=" << threads << " seed=" << seed;
  if (!cpu.empty())
    os << " cpu=" << cpu;
  if (experts)
    os << " experts=" << experts;
  if (bias)
    os << " bias";
  if (outlier)
    os << " outlier";
  if (residual)
    os << (inplace ? " inplace" : " residual");
  return text;
}

namespace {
/// The stored tensors of a pruned weight: columns of its bitmap, or n of m.
struct Places {
  int values, index;
  int64_t columns, n, m;
};

/// The text of a kernel's region and the stored tensors that it takes.
struct RegionText {
  std::string arguments, body;
  /// The types of the stored tensors with their sizes.
  SmallVector<std::string> types;
  /// Which of them are scales, and which are the index of a pruned weight.
  SmallVector<unsigned> scales;
  SmallVector<Places> places;
  bool dynamic;
  /// Matrices of a batch; 0: the weight is one.
  int64_t batch;
  unsigned values = 0;

  RegionText(bool dynamic, int64_t batch) : dynamic(dynamic), batch(batch) {}
  std::string fresh() { return "%v" + std::to_string(values++); }
  /// A matrix, or a batch of them.
  std::string tensor(int64_t rows, int64_t columns, StringRef element) const {
    std::string text = "tensor<";
    if (batch)
      text += dynamic ? "?x" : std::to_string(batch) + "x";
    return text + matrix(rows, columns, element).substr(7);
  }
  std::string matrix(int64_t rows, int64_t columns, StringRef element) const {
    std::string text = "tensor<";
    text += dynamic
                ? "?x?x"
                : std::to_string(rows) + "x" + std::to_string(columns) + "x";
    return text + element.str() + ">";
  }
  std::string argument(int64_t rows, int64_t columns, StringRef element) {
    return argument(tensor(rows, columns, element));
  }
  std::string argument(std::string type) {
    std::string name = "%a" + std::to_string(types.size());
    types.push_back(type);
    arguments += ", " + name + ": " + type;
    return name;
  }

  /// Adds the ops of `text`; returns the value of rows × columns of f32.
  llvm::Expected<std::string> leaf(StringRef text, int64_t rows,
                                   int64_t columns);
  llvm::Expected<std::string> expression(StringRef text, int64_t rows,
                                         int64_t columns);
};
} // namespace

llvm::Expected<std::string> RegionText::leaf(StringRef text, int64_t rows,
                                             int64_t columns) {
  StringRef whole = text;
  std::string f32 = tensor(rows, columns, "f32");
  bool transposed = text.consume_back("t");
  auto finish = [&](std::string value) {
    if (!transposed)
      return value;
    std::string result = fresh();
    body += result + " = miura.transpose " + value + " : " +
            tensor(rows, columns, "f32") + " -> " + f32 + "\n";
    return result;
  };
  if (transposed)
    std::swap(rows, columns);
  // The stored values, or their codes: all of them, or those that are kept.
  std::string element, prefix = "f32";
  unsigned bits = 0;
  bool isTable = false;
  if (text.consume_front("f32"))
    element = "f32";
  else if (text.consume_front("f16"))
    element = "f16";
  else if (text.consume_front("bf16"))
    element = "bf16";
  else if ((isTable = text.consume_front("l")) || text.consume_front("q"))
    text.consumeInteger(10, bits);
  bool isCode = bits != 0;
  if (isCode)
    element = "i" + std::to_string(bits);
  int64_t rowBlock = 1, columnBlock = 0, kept = 0, n = 0, m = 0, b0 = 0, b1 = 0;
  bool isUnsigned = false, wideScales = false, zeros = false,
       floatZeros = false, isScaled = false;
  auto number = [&](auto &to) { return !text.consumeInteger(10, to); };
  bool bad = element.empty();
  while (!bad && !text.empty()) {
    if (text.consume_front("p"))
      bad = !number(kept);
    else if (text.consume_front("n"))
      bad = !number(n) || !text.consume_front("m") || !number(m);
    else if (text.consume_front("x"))
      bad = !number(b0) || !text.consume_front("x") || !number(b1);
    else if (isCode && text.consume_front("b"))
      bad = !(isScaled = number(columnBlock));
    else if (isCode && text.consume_front("u"))
      isUnsigned = true;
    else if (isCode && text.consume_front("s"))
      wideScales = true;
    else if (isCode && text.consume_front("z"))
      zeros = true;
    else if (isCode && text.consume_front("f"))
      zeros = floatZeros = true;
    else
      bad = !isCode || !text.consume_front("r") || !number(rowBlock);
  }
  if (bad || (isCode && !isTable && !isScaled))
    return llvm::createStringError("bad leaf '" + whole.str() + "'");
  std::string all = tensor(rows, columns, element);
  std::string codes;
  if (transposed)
    std::swap(rowBlock, columnBlock);
  auto blocks = [](int64_t size, int64_t block) {
    return block == 0 ? 1 : (int64_t)llvm::divideCeil(size, block);
  };
  int64_t scaleRows = blocks(rows, rowBlock);
  int64_t scaleColumns = blocks(columns, columnBlock);
  StringRef scaleType = wideScales ? "f32" : "f16";
  std::string zeroType =
      tensor(scaleRows, scaleColumns, floatZeros ? "f16" : StringRef(element));
  std::string blockText = std::string(" block [") + (batch ? "1, " : "") +
                          std::to_string(rowBlock) + ", " +
                          std::to_string(columnBlock) + "]";
  // Places without a code get that of zero.
  std::string zero = zeros ? argument(zeroType) : std::string();
  auto unprune = [&](std::string values, std::string valuesType,
                     std::string index, std::string indexType,
                     std::string format) {
    codes = fresh();
    body += codes + " = miura.unprune " + values + ", " + index + " " + format;
    if (zeros)
      body += " fill " + zero + blockText;
    body += " : " + valuesType + ", " + indexType +
            (zeros ? ", " + zeroType : "") + " -> " + all + "\n";
  };
  if (m) {
    int64_t width = columns / m * n;
    std::string values = argument(rows, width, element);
    std::string valuesType = tensor(rows, width, element);
    std::string index = argument(rows, width, "i4");
    places.push_back({(int)types.size() - 2, (int)types.size() - 1, 0, n, m});
    unprune(values, valuesType, index, tensor(rows, width, "i4"),
            "\"nm\" group [" + std::to_string(n) + ", " + std::to_string(m) +
                "]");
  } else if (kept || b0) {
    // How many are kept is known; which of them, randomTensor draws.
    int64_t h = b0 ? b0 : 1, w = b0 ? b1 : 1;
    int64_t all = std::max<int64_t>(batch, 1) * (rows / h) * (columns / w);
    int64_t count = std::max<int64_t>(1, all * (kept ? kept : 50) / 100);
    auto type = [&](bool isSized) {
      std::string text = "tensor<";
      text += isSized ? std::to_string(count) : "?";
      if (b0)
        text += "x" + std::to_string(h) + "x" + std::to_string(w);
      return text + "x" + element + ">";
    };
    std::string values = "%a" + std::to_string(types.size());
    types.push_back(type(!dynamic));
    arguments += ", " + values + ": " + types.back();
    int64_t indexRows = rows / h, bytes = llvm::divideCeil(columns / w, 8);
    std::string index = argument(indexRows, bytes, "i8");
    places.push_back(
        {(int)types.size() - 2, (int)types.size() - 1, columns / w, 0, 0});
    std::string format = b0 ? "\"block\" group [" + std::to_string(h) + ", " +
                                  std::to_string(w) + "]"
                            : "\"bitmap\"";
    unprune(values, type(!dynamic), index, tensor(indexRows, bytes, "i8"),
            format);
  } else {
    codes = argument(rows, columns, element);
  }
  if (!isCode && element != "f32") {
    std::string result = fresh();
    body += result + " = miura.convert " + codes + " : " + all + " -> " +
            tensor(rows, columns, "f32") + "\n";
    codes = result;
  }
  if (isTable) {
    std::string tableType = matrix(1 << bits, 1, "f32");
    std::string table = argument(tableType);
    std::string result = fresh();
    body += result + " = miura.lookup " + codes + ", " + table + " : " + all +
            ", " + tableType + " -> " + tensor(rows, columns, "f32") + "\n";
    codes = result;
    element = "f32";
  }
  if (!isScaled)
    return finish(codes);
  scales.push_back(types.size());
  std::string scale = argument(scaleRows, scaleColumns, scaleType);
  std::string op = codes + ", " + scale;
  std::string opTypes = tensor(rows, columns, element) + ", " +
                        tensor(scaleRows, scaleColumns, scaleType);
  if (zeros) {
    op += ", " + zero;
    opTypes += ", " + zeroType;
  }
  std::string result = fresh();
  body += result + " = miura.dequantize " + op + blockText +
          (isUnsigned ? " unsigned" : "") + " : " + opTypes + " -> " +
          tensor(rows, columns, "f32") + "\n";
  return finish(result);
}

llvm::Expected<std::string> RegionText::expression(StringRef text, int64_t rows,
                                                   int64_t columns) {
  SmallVector<StringRef> parts;
  text.split(parts, '+');
  std::string sum, f32 = tensor(rows, columns, "f32");
  for (StringRef part : parts) {
    std::string value;
    if (part.consume_front("lr")) {
      int64_t rank;
      if (part.consumeInteger(10, rank))
        return llvm::createStringError("lr needs a rank");
      StringRef factor = part.consume_front(":") ? part : "f16";
      auto left = leaf(factor, rows, rank);
      if (!left)
        return left.takeError();
      auto right = leaf(factor, rank, columns);
      if (!right)
        return right.takeError();
      value = fresh();
      body += value + " = miura.matmul " + *left + ", " + *right + " : " +
              tensor(rows, rank, "f32") + ", " + tensor(rank, columns, "f32") +
              " -> " + f32 + "\n";
    } else {
      auto result = leaf(part, rows, columns);
      if (!result)
        return result.takeError();
      value = *result;
    }
    if (sum.empty()) {
      sum = value;
      continue;
    }
    std::string total = fresh();
    body += total + " = miura.add " + sum + ", " + value + " : " + f32 + ", " +
            f32 + " -> " + f32 + "\n";
    sum = total;
  }
  return sum;
}

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

/// The problem whose memory is in use, for a fault's message.
static const KernelProblem *current = nullptr;

static size_t getPage() {
  static const size_t page = sysconf(_SC_PAGESIZE);
  return page;
}

/// A kernel that touches a page beside a buffer ends the process, with the
/// command that repeats it.
static void reportFault(int) {
  static char text[512];
  const char *problem = current ? current->command.c_str() : "";
  size_t length =
      snprintf(text, sizeof text,
               "error: the kernel touched memory beside its buffers\n"
               "repeat with: miura-bench-kernels --mode=C \"%s\"\n",
               problem);
  if (write(STDERR_FILENO, text, std::min(length, sizeof text)) < 0)
    _exit(2);
  _exit(1);
}

Buffer::Buffer(size_t bytes, int fill) : bytes(bytes) {
  // The last bytes of whole pages, between two that nothing may touch.
  size_t page = getPage();
  size_t inner = llvm::alignTo(std::max<size_t>(bytes, 1), page);
  pages = inner + 2 * page;
  void *memory =
      mmap(nullptr, pages, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED ||
      mprotect((char *)memory + page, inner, PROT_READ | PROT_WRITE) != 0)
    llvm::report_fatal_error("no memory for a buffer");
  base = static_cast<uint8_t *>(memory);
  offset = page + inner - llvm::alignTo(bytes, 64);
  std::memset(base + page, 0xA5, inner);
  std::memset(data(), fill, bytes);
}

Buffer::~Buffer() {
  if (base)
    munmap(base, pages);
}

void Buffer::forbid(size_t first, size_t last, bool protect) {
  std::memset(data() + first, 0xFF, last - first);
  size_t page = getPage();
  size_t from = llvm::alignTo(offset + first, page);
  size_t to = (offset + last) / page * page;
  if (protect && from < to && mprotect(base + from, to - from, PROT_NONE) != 0)
    llvm::report_fatal_error("no protection for a buffer");
}

bool Buffer::bordersIntact() const {
  if (!base)
    return true;
  for (const uint8_t *p = base + getPage(); p < data(); ++p)
    if (*p != 0xA5)
      return false;
  for (const uint8_t *p = data() + bytes; p < base + pages - getPage(); ++p)
    if (*p != 0xA5)
      return false;
  return true;
}

void SpinBarrier::wait() {
  int now = __atomic_load_n(&generation, __ATOMIC_ACQUIRE);
  if (__atomic_add_fetch(&arrived, 1, __ATOMIC_ACQ_REL) == count) {
    __atomic_store_n(&arrived, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&generation, now + 1, __ATOMIC_RELEASE);
    return;
  }
  for (int spins = 0; __atomic_load_n(&generation, __ATOMIC_ACQUIRE) == now;
       ++spins)
    if (spins > 10000)
      std::this_thread::yield();
}

static void barrierEntry(SpinBarrier *barrier) { barrier->wait(); }

//===----------------------------------------------------------------------===//
// Compiling
//===----------------------------------------------------------------------===//

static LogicalResult lowerToLLVM(ModuleOp module, const IsaRow &row) {
  PassManager pm(module.getContext());
  codegen::buildKernelToLLVMPipeline(pm, row);
  return pm.run(module);
}

static std::unique_ptr<llvm::TargetMachine>
makeMachine(const codegen::Target &target) {
  std::string error;
  // Comments name loops, spills and reloads.
  llvm::TargetOptions options;
  options.MCOptions.AsmVerbose = true;
  llvm::Triple triple(target.triple);
  const llvm::Target *found = llvm::TargetRegistry::lookupTarget(triple, error);
  if (!found)
    return nullptr;
  return std::unique_ptr<llvm::TargetMachine>(found->createTargetMachine(
      triple, target.cpu, target.features, options,
      triple.isWasm() ? llvm::Reloc::Static : llvm::Reloc::PIC_, std::nullopt,
      llvm::CodeGenOptLevel::Aggressive));
}

static FailureOr<HostTensor>
evaluate(Value value, const std::vector<HostTensor> &arguments) {
  if (auto argument = dyn_cast<BlockArgument>(value))
    return arguments[argument.getArgNumber()];
  std::vector<HostTensor> operands;
  for (Value operand : value.getDefiningOp()->getOperands()) {
    auto tensor = evaluate(operand, arguments);
    if (failed(tensor))
      return failure();
    operands.push_back(std::move(*tensor));
  }
  return cast<WeightExpression>(value.getDefiningOp()).evaluate(operands);
}

static HostTensor randomTensor(RankedTensorType type, std::mt19937 &random,
                               bool isScale) {
  HostTensor tensor;
  tensor.type = type;
  int64_t count = type.getNumElements();
  if (type.getElementType().isInteger()) {
    unsigned bits = type.getElementTypeBitWidth();
    tensor.ints.resize(count);
    for (int32_t &value : tensor.ints)
      value = (int32_t)(random() >> 8) & ((1 << bits) - 1);
  } else {
    tensor.floats.resize(count);
    for (float &value : tensor.floats) {
      float uniform = (float)(random() >> 8) * 0x1p-24f;
      value = isScale ? 0.01f * (0.5f + uniform) : 2 * uniform - 1;
    }
  }
  return tensor;
}

/// An index for as many values as there are: any places, or n of every m.
static void drawPlaces(HostTensor &index, const Places &places,
                       RankedTensorType values, std::mt19937 &random) {
  std::fill(index.ints.begin(), index.ints.end(), 0);
  if (places.n) {
    std::vector<int> all(places.m);
    for (size_t i = 0; i < index.ints.size(); i += places.n) {
      for (int64_t j = 0; j < places.m; ++j)
        all[j] = j;
      std::shuffle(all.begin(), all.end(), random);
      std::sort(all.begin(), all.begin() + places.n);
      std::copy_n(all.begin(), places.n, index.ints.begin() + i);
    }
    return;
  }
  int64_t bytes = index.type.getShape().back();
  int64_t rows = index.ints.size() / bytes;
  std::vector<int64_t> all(rows * places.columns);
  for (size_t i = 0; i < all.size(); ++i)
    all[i] = i;
  std::shuffle(all.begin(), all.end(), random);
  all.resize(values.getDimSize(0));
  for (int64_t i : all) {
    int64_t column = i % places.columns;
    int32_t &byte = index.ints[i / places.columns * bytes + column / 8];
    byte = (int8_t)(byte | 1 << (column % 8));
  }
}

CompiledKernel::CompiledKernel(const KernelProblem &problem)
    : problem(problem) {}
// The spec's region belongs to the context.
CompiledKernel::~CompiledKernel() { spec.reset(); }

bool KernelProblem::hasKernelOf(const KernelProblem &other) const {
  return weight == other.weight && int8 == other.int8 && bias == other.bias &&
         residual == other.residual && isa == other.isa && cpu == other.cpu &&
         (experts != 0) == (other.experts != 0) &&
         (experts || getRowClass() == other.getRowClass());
}

/// The schedule that a step would choose.
static ShapeClass getShapeClass(const LinearSpec &spec, const IsaRow &row,
                                const KernelProblem &problem) {
  if (problem.experts)
    return ShapeClass::Small;
  if (problem.m == 1)
    return ShapeClass::Decode;
  return problem.m <= getSmallRows(spec, row) ? ShapeClass::Small
                                              : ShapeClass::Tiled;
}

namespace {
/// A problem as IR, and what of its stored tensors is drawn in its own way.
struct ProblemIr {
  OwningOpRef<ModuleOp> module;
  SmallVector<unsigned> scales;
  SmallVector<Places> places;
};
} // namespace

/// The module of a function that has the problem's kernel; with sizes erased,
/// which is what is emitted, or with sizes, which is what is evaluated.
static ProblemIr parseProblem(const KernelProblem &problem, bool dynamic,
                              MLIRContext *context, std::string &error) {
  RegionText text(dynamic, problem.experts);
  auto weight = text.expression(problem.weight, problem.n, problem.k);
  if (!weight) {
    error = llvm::toString(weight.takeError());
    return {};
  }
  std::string xType = text.matrix(problem.m, problem.k, "f32");
  std::string yType = text.matrix(problem.m, problem.n, "f32");
  auto vector = [&](int64_t size, StringRef element) {
    return "tensor<" + (dynamic ? "?" : std::to_string(size)) + "x" +
           element.str() + ">";
  };
  std::string biasType = problem.experts
                             ? text.matrix(problem.experts, problem.n, "f32")
                             : vector(problem.n, "f32");
  std::string expertsType = vector(problem.m, "i64");
  std::string wType = text.tensor(problem.n, problem.k, "f32");
  std::string parameters = "%x: " + xType + text.arguments;
  std::string body = text.body;
  body += problem.experts
              ? "%y = miura.expert_linear %x, " + *weight + " at %experts"
              : "%y = miura.linear %x, " + *weight;
  if (problem.experts)
    parameters += ", %experts: " + expertsType;
  if (problem.bias) {
    parameters += ", %bias: " + biasType;
    body += ", %bias";
  }
  std::string compute = std::string(problem.int8 ? "i8" : "f32") + ", f32";
  body += " id(\"\") compute" +
          (problem.experts ? " <" + compute + ">" : "(" + compute + ")") +
          " : (" + xType + ", " + wType +
          (problem.experts ? ", " + expertsType : "") +
          (problem.bias ? ", " + biasType : "") + ") -> " + yType + "\n";
  std::string result = "%y";
  if (problem.residual) {
    parameters += ", %residual: " + yType;
    body += "%z = arith.addf %y, %residual : " + yType + "\n";
    result = "%z";
  }
  // Arguments of the region shadow those of the function.
  std::string names, types;
  SmallVector<StringRef> list;
  StringRef(parameters).split(list, ", ");
  for (StringRef item : list) {
    auto [name, type] = item.split(": ");
    names += (names.empty() ? "" : ", ") + name.str() + "_";
    types += (types.empty() ? "" : ", ") + type.str();
  }
  std::string outer;
  for (StringRef item : list) {
    auto [name, type] = item.split(": ");
    outer += name.str() + "_: " + type.str() + ", ";
  }
  std::string source = "func.func @spec(" + outer + "%out: " + yType + ") -> " +
                       yType + " {\n%r = miura.kernel ins(" + names + " : " +
                       types + ") outs(%out : " + yType + ") {\n^bb0(" +
                       parameters + "):\n" + body + "miura.kernel_yield " +
                       result + " : " + yType + "\n} -> " + yType +
                       "\nreturn %r : " + yType + "\n}\n";
  auto module = parseSourceString<ModuleOp>(source, context);
  if (!module)
    error += "in:\n" + source;
  return {std::move(module), text.scales, text.places};
}

/// Adds `kernel_words`, which a runner calls (RemoteMachine.h).
static void addWordsEntry(llvm::Module &module) {
  llvm::Function *kernel = module.getFunction("kernel");
  llvm::LLVMContext &context = module.getContext();
  auto *pointer = llvm::PointerType::getUnqual(context);
  auto *entry = llvm::Function::Create(
      llvm::FunctionType::get(llvm::Type::getVoidTy(context), {pointer}, false),
      llvm::Function::ExternalLinkage, "kernel_words", module);
  llvm::IRBuilder<> b(llvm::BasicBlock::Create(context, "", entry));
  llvm::SmallVector<llvm::Value *> arguments;
  for (llvm::Argument &argument : kernel->args()) {
    llvm::Value *word = b.CreateLoad(
        b.getInt64Ty(), b.CreateConstGEP1_32(b.getInt64Ty(), entry->getArg(0),
                                             argument.getArgNo()));
    arguments.push_back(argument.getType()->isPointerTy()
                            ? b.CreateIntToPtr(word, pointer)
                            : word);
  }
  b.CreateCall(kernel, arguments);
  b.CreateRetVoid();
}

static KernelOp findKernel(ModuleOp module) {
  KernelOp found;
  module.walk([&](KernelOp op) { found = op; });
  return found;
}

const IsaRow &KernelProblem::getRow() const {
  return tuneRow(*findIsaRow(isa),
                 cpu.empty() ? llvm::sys::getHostCPUName() : StringRef(cpu));
}

std::unique_ptr<CompiledKernel>
CompiledKernel::get(const KernelProblem &problem, std::string &error,
                    bool generateCode, bool withReference) {
  auto fail = [&](const Twine &why) {
    error = why.str();
    return nullptr;
  };
  auto target = chooseTarget(problem.isa);
  if (!target)
    return fail(llvm::toString(target.takeError()));
  target->row = &problem.getRow();
  std::unique_ptr<CompiledKernel> kernel(new CompiledKernel(problem));
  DialectRegistry registry;
  registry.insert<MiuraDialect, arith::ArithDialect, cf::ControlFlowDialect,
                  func::FuncDialect, LLVM::LLVMDialect, memref::MemRefDialect,
                  scf::SCFDialect, ub::UBDialect, vector::VectorDialect>();
  registerPanelLeaves(registry);
  registerAllExtensions(registry);
  registerAllToLLVMIRTranslations(registry);
  kernel->context =
      std::make_unique<MLIRContext>(registry, MLIRContext::Threading::DISABLED);
  MLIRContext *context = kernel->context.get();
  context->loadAllAvailableDialects();
  ScopedDiagnosticHandler handler(context, [&](Diagnostic &diagnostic) {
    error += diagnostic.str() + "\n";
  });

  OwningOpRef<ModuleOp> module =
      parseProblem(problem, /*dynamic=*/true, context, error).module;
  if (!module)
    return nullptr;
  KernelOp spec = findKernel(*module);
  std::string reason;
  kernel->spec = analyzeLinear(spec, &reason);
  if (!kernel->spec)
    return fail("no schedule: " + reason);

  // The kernel.
  ShapeClass shape = getShapeClass(*kernel->spec, *target->row, problem);
  OpBuilder builder = OpBuilder::atBlockEnd(module->getBody());
  auto func = func::FuncOp::create(builder, spec.getLoc(), "kernel",
                                   getLinearKernelType(context, *kernel->spec));
  if (failed(emitLinearKernel(builder, func, spec, *target->row, shape)))
    return nullptr;
  spec->getParentOfType<func::FuncOp>()->erase();
  if (failed(mlir::verify(*module)))
    return fail("the emitted kernel does not verify: " + error);
  {
    PassManager pm(context);
    pm.addPass(createCanonicalizerPass());
    pm.addPass(createCSEPass());
    if (failed(pm.run(*module)))
      return nullptr;
    llvm::raw_string_ostream os(kernel->vectorIr);
    module->print(os);
  }
  if (failed(lowerToLLVM(*module, *target->row)))
    return fail("does not lower: " + error);
  llvm::InitializeAllTargets();
  llvm::InitializeAllTargetMCs();
  llvm::InitializeAllAsmPrinters();
  auto machine = makeMachine(*target);
  if (!machine)
    return fail("no target machine");
  bool isRemote = generateCode && !hostHas(*target->row);
  if (!generateCode || isRemote) {
    // The assembly, or code for another machine, from a module of its own.
    llvm::LLVMContext llvmContext;
    auto llvmModule = translateModuleToLLVMIR(*module, llvmContext);
    if (!llvmModule)
      return fail("does not translate: " + error);
    llvmModule->setTargetTriple(machine->getTargetTriple());
    llvmModule->setDataLayout(machine->createDataLayout());
    if (isRemote)
      addWordsEntry(*llvmModule);
    auto optimize = makeOptimizingTransformer(3, 0, machine.get());
    if (auto failed = optimize(llvmModule.get()))
      return fail(llvm::toString(std::move(failed)));
    llvm::SmallString<0> text;
    llvm::raw_svector_ostream os(text);
    llvm::legacy::PassManager pm;
    if (machine->addPassesToEmitFile(pm, os, nullptr,
                                     isRemote
                                         ? llvm::CodeGenFileType::ObjectFile
                                         : llvm::CodeGenFileType::AssemblyFile))
      return fail("no assembly");
    pm.run(*llvmModule);
    if (!isRemote) {
      kernel->assembly = text.str().str();
      return kernel;
    }
    auto remote = RemoteMachine::get(target->row->arch);
    if (!remote)
      return fail(llvm::toString(remote.takeError()));
    auto library = (*remote)->load(text);
    if (!library)
      return fail(llvm::toString(library.takeError()));
    kernel->remote = *remote;
    kernel->library = *library;
    return kernel->prepare(problem, error, withReference) ? std::move(kernel)
                                                          : nullptr;
  }

  auto optimize = makeOptimizingTransformer(3, 0, machine.get());
  ExecutionEngineOptions options;
  options.transformer = optimize;
  options.jitCodeGenOptLevel = llvm::CodeGenOptLevel::Aggressive;
  auto engine = ExecutionEngine::create(*module, options, makeMachine(*target));
  if (!engine)
    return fail(llvm::toString(engine.takeError()));
  kernel->engine = std::move(*engine);
  kernel->engine->registerSymbols([](llvm::orc::MangleAndInterner interner) {
    llvm::orc::SymbolMap symbols;
    symbols[interner("miura_barrier")] = {
        llvm::orc::ExecutorAddr::fromPtr(&barrierEntry),
        llvm::JITSymbolFlags::Exported};
    return symbols;
  });
  auto function = kernel->engine->lookupPacked("kernel");
  if (!function)
    return fail(llvm::toString(function.takeError()));
  kernel->function = *function;
  if (!kernel->prepare(problem, error, withReference))
    return nullptr;
  return kernel;
}

bool CompiledKernel::prepare(const KernelProblem &newProblem,
                             std::string &error, bool withReference) {
  assert(newProblem.hasKernelOf(problem) && "another kernel");
  problem = newProblem;
  problem.command = problem.str();
  current = &problem;
  signal(SIGSEGV, reportFault);
  auto fail = [&](const Twine &why) {
    error = why.str();
    return false;
  };
  CompiledKernel *kernel = this;
  MLIRContext *context = this->context.get();
  const IsaRow &row = problem.getRow();
  ShapeClass shape = getShapeClass(*spec, row, problem);
  ScopedDiagnosticHandler handler(context, [&](Diagnostic &diagnostic) {
    error += diagnostic.str() + "\n";
  });
  ProblemIr sized = parseProblem(problem, /*dynamic=*/false, context, error);
  if (!sized.module)
    return false;
  kernel->packed.clear();

  // Random weights: stored, packed, evaluated.
  std::mt19937 random(problem.seed);
  Block &region = findKernel(*sized.module).getBody().front();
  const LinearSpec &linear = *kernel->spec;
  std::vector<HostTensor> tensors(region.getNumArguments());
  std::vector<std::vector<uint8_t>> stored(tensors.size());
  std::vector<bool> isScale(tensors.size());
  // The first argument is x.
  for (unsigned argument : sized.scales)
    isScale[1 + argument] = true;
  for (const LinearLeaf &leaf : linear.leaves)
    for (int i : leaf.arguments) {
      auto type = cast<RankedTensorType>(region.getArgument(i).getType());
      HostTensor drawn = randomTensor(type, random, isScale[i]);
      for (const Places &some : sized.places)
        if (1 + some.index == i)
          drawPlaces(drawn, some,
                     cast<RankedTensorType>(
                         region.getArgument(1 + some.values).getType()),
                     random);
      stored[i] = writeHostTensor(drawn);
      auto read = readHostTensor(type, stored[i]);
      if (failed(read))
        return fail("cannot read a stored tensor back");
      tensors[i] = *read;
    }
  // Some of the experts.
  std::vector<int64_t> chosen(problem.experts ? problem.m : 0);
  for (int64_t &expert : chosen)
    expert = random() % problem.experts;
  kernel->experts = Buffer(chosen.size() * 8);
  std::memcpy(kernel->experts.data(), chosen.data(), chosen.size() * 8);
  setLeafShapes(linear, problem.n, problem.k);
  SmallVector<int64_t> ranks(linear.leaves.size(), 0);
  for (auto [i, leaf] : llvm::enumerate(linear.leaves)) {
    SmallVector<PackOperand> sources;
    for (int argument : leaf.arguments)
      sources.push_back({tensors[argument].type, stored[argument]});
    int64_t matrices = std::max<int64_t>(problem.experts, 1), header = 0;
    std::vector<uint8_t> bytes;
    for (int64_t e = 0; e < matrices; ++e) {
      std::vector<uint8_t> storage;
      SmallVector<PackOperand> matrix = sources;
      if (problem.experts)
        matrix = leaf.panel->getMatrix(sources, e, storage);
      ranks[i] = leaf.panel->getShape(matrix).first;
      auto one = leaf.panel->packAll(matrix, row, leaf.groups,
                                     UnknownLoc::get(context));
      if (failed(one))
        return false;
      header = leaf.panel->getLayout(row, leaf.groups).headerBytes;
      bytes.insert(bytes.end(), one->begin() + (e ? header : 0), one->end());
    }
    Buffer &packed = kernel->packed.emplace_back(bytes.size());
    std::memcpy(packed.data(), bytes.data(), bytes.size());
    int64_t size = (bytes.size() - header) / matrices;
    for (int64_t e = 0; e < problem.experts; ++e)
      if (!llvm::is_contained(chosen, e))
        packed.forbid(header + e * size, header + (e + 1) * size,
                      /*protect=*/!remote);
  }

  // Activations; what lies between rows must not be used.
  int64_t m = problem.m, n = problem.n, k = problem.k;
  kernel->xStride = k + 5;
  kernel->outStride = n + 3;
  kernel->x = Buffer(m * kernel->xStride * 4, 0xFF);
  kernel->out = Buffer(m * kernel->outStride * 4, 0xFF);
  kernel->residual = Buffer(m * kernel->outStride * 4, 0xFF);
  int64_t biases = n * std::max<int64_t>(problem.experts, 1);
  kernel->bias = Buffer(biases * 4);
  ScratchSize scratch = getLinearScratch(linear, row, shape, k, ranks);
  kernel->scratch = Buffer(scratch.get(m));
  auto uniform = [&] { return (float)(random() >> 8) * 0x1p-23f - 1; };
  float *x = kernel->x.as<float>(), *residual = kernel->residual.as<float>();
  for (int64_t i = 0; i < m; ++i)
    for (int64_t j = 0; j < k; ++j)
      x[i * kernel->xStride + j] = uniform();
  if (problem.outlier)
    for (int64_t i = 0; i < m; ++i)
      x[i * kernel->xStride + k / 3] = 1000;
  for (int64_t j = 0; j < biases; ++j)
    kernel->bias.as<float>()[j] = uniform();
  for (int64_t i = 0; i < m; ++i)
    for (int64_t j = 0; j < n; ++j)
      residual[i * kernel->outStride + j] = uniform();

  if (remote) {
    std::vector<ArrayRef<uint8_t>> buffers;
    for (Buffer *buffer : getBuffers())
      buffers.push_back({buffer->data(), buffer->size()});
    if (auto failed = remote->prepare(buffers))
      return fail(llvm::toString(std::move(failed)));
  }

  // What it should give.
  if (!withReference)
    return true;
  Value root;
  findKernel(*sized.module).walk([&](Compressible op) {
    root = op.getWeightOperand().get();
  });
  auto weight = evaluate(root, tensors);
  if (failed(weight))
    return false;
  kernel->expected.resize(m * n);
  kernel->squares = 0;
  std::vector<float> activations(k);
  for (int64_t i = 0; i < m; ++i) {
    std::copy_n(x + i * kernel->xStride, k, activations.begin());
    if (problem.int8) {
      float largest = 0;
      for (float value : activations)
        largest = std::max(largest, std::fabs(value));
      float scale = largest / 127;
      for (float &value : activations)
        value = scale == 0 ? 0 : std::nearbyint(value / scale) * scale;
    }
    int64_t first = problem.experts ? chosen[i] * n : 0;
    for (int64_t j = 0; j < n; ++j) {
      double sum = 0;
      const float *w = weight->floats.data() + (first + j) * k;
      for (int64_t l = 0; l < k; ++l) {
        double product = (double)w[l] * activations[l];
        sum += product;
        kernel->squares += product * product;
      }
      if (problem.bias)
        sum += kernel->bias.as<float>()[first + j];
      if (problem.residual)
        sum += residual[i * kernel->outStride + j];
      kernel->expected[i * n + j] = sum;
    }
  }
  return true;
}

std::string CompiledKernel::hotLoop(StringRef mnemonic) const {
  SmallVector<StringRef> lines;
  StringRef(assembly).split(lines, '\n');
  llvm::StringMap<size_t> labels;
  size_t bestBegin = 0, bestEnd = 0, bestCount = 0, lastLoop = 0;
  // WebAssembly has loops, not branches back to labels.
  SmallVector<size_t> open;
  for (auto [i, line] : llvm::enumerate(lines)) {
    if (line.starts_with(".L")) {
      labels[line.take_until([](char c) { return c == ':'; })] = i;
      continue;
    }
    size_t begin = lines.size();
    if (line.trim().starts_with("loop")) {
      open.push_back(i);
      continue;
    }
    if (line.trim().starts_with("end_loop") && !open.empty())
      begin = open.pop_back_val();
    // A branch's last operand is a label, whatever the architecture.
    StringRef target = line.split(" //")
                           .first.split(" #")
                           .first.split("\t#")
                           .first.split("\t//")
                           .first.rtrim();
    target = target.substr(target.find_last_of(" \t") + 1);
    auto label = labels.find(target);
    if (label != labels.end())
      begin = label->second;
    if (begin == lines.size())
      continue;
    // Innermost: no jump back to a label inside it stands inside it.
    size_t count = 0;
    bool innermost = begin > lastLoop;
    lastLoop = std::max(lastLoop, begin);
    for (size_t l = begin; l < i; ++l)
      count += lines[l].contains(mnemonic);
    if (innermost && count > bestCount) {
      bestBegin = begin;
      bestEnd = i;
      bestCount = count;
    }
  }
  std::string loop;
  for (size_t l = bestBegin; bestCount > 0 && l <= bestEnd; ++l)
    loop += lines[l].str() + "\n";
  return loop;
}

//===----------------------------------------------------------------------===//
// Running
//===----------------------------------------------------------------------===//

std::vector<Buffer *> CompiledKernel::getBuffers() {
  std::vector<Buffer *> all = {&out, &x, &bias, &residual, &scratch, &experts};
  for (Buffer &leaf : packed)
    all.push_back(&leaf);
  return all;
}

std::vector<int64_t> CompiledKernel::getFields(ArrayRef<uint8_t *> others) {
  // Memrefs are passed field by field.
  std::vector<int64_t> fields;
  auto memref1 = [&](const void *data, int64_t size) {
    llvm::append_values(fields, (int64_t)data, (int64_t)data, 0, size, 1);
  };
  auto memref2 = [&](const void *data, int64_t rows, int64_t columns,
                     int64_t stride) {
    llvm::append_values(fields, (int64_t)data, (int64_t)data, 0, rows, columns,
                        stride, 1);
  };
  memref2(x.data(), problem.m, problem.k, xStride);
  for (auto [i, leaf] : llvm::enumerate(packed))
    memref1(i < others.size() ? others[i] : leaf.data(), leaf.size());
  if (problem.bias && problem.experts)
    memref2(bias.data(), problem.experts, problem.n, problem.n);
  else if (problem.bias)
    memref1(bias.data(), problem.n);
  if (problem.residual)
    memref2(problem.inplace ? out.data() : residual.data(), problem.m,
            problem.n, outStride);
  if (problem.experts) {
    memref1(experts.data(), problem.m);
    fields.push_back(problem.experts);
  }
  memref2(out.data(), problem.m, problem.n, outStride);
  memref1(scratch.data(), scratch.size());
  return fields;
}

void CompiledKernel::call(int tid, int threads, void *team,
                          ArrayRef<uint8_t *> others) {
  std::vector<int64_t> fields = getFields(others);
  fields.insert(fields.end(), {(int64_t)team, tid, threads});
  std::vector<void *> pointers;
  for (int64_t &field : fields)
    pointers.push_back(&field);
  function(pointers.data());
}

void CompiledKernel::run(int threads) {
  if (problem.inplace)
    std::memcpy(out.data(), residual.data(), out.size());
  if (remote)
    return runRemotely(threads);
  SpinBarrier barrier(threads);
  std::vector<std::thread> team;
  for (int tid = 1; tid < threads; ++tid)
    team.emplace_back([&, tid] { call(tid, threads, &barrier); });
  call(0, threads, &barrier);
  for (std::thread &thread : team)
    thread.join();
}

void CompiledKernel::runRemotely(int threads) {
  std::vector<Buffer *> buffers = getBuffers();
  std::vector<RemoteMachine::Word> words;
  for (int64_t field : getFields({})) {
    RemoteMachine::Word word = {field};
    for (auto [i, buffer] : llvm::enumerate(buffers))
      if (field == (int64_t)buffer->data())
        word = {0, (int32_t)i};
    words.push_back(word);
  }
  // Team, thread and threads.
  words.resize(words.size() + 3, {0});
  unsigned team = std::min<unsigned>(threads, remote->getMostThreads());
  auto intact =
      remote->run(library, team, /*output=*/0, {out.data(), out.size()}, words);
  if (!intact) {
    llvm::errs() << llvm::toString(intact.takeError()) << "\n"
                 << "repeat with: miura-bench-kernels --mode=C \""
                 << problem.str() << "\"\n";
    std::memset(out.data(), 0xFF, out.size());
  }
  remoteIsIntact = intact && *intact;
}

std::vector<float> CompiledKernel::result() const {
  std::vector<float> values(problem.m * problem.n);
  auto *y = reinterpret_cast<const float *>(out.data());
  for (int64_t i = 0; i < problem.m; ++i)
    std::copy_n(y + i * outStride, problem.n, values.begin() + i * problem.n);
  return values;
}

double CompiledKernel::relativeError() const {
  std::vector<float> y = result();
  double difference = 0, norm = 0;
  for (size_t i = 0; i < y.size(); ++i) {
    double d = y[i] - expected[i];
    difference += d * d;
    norm += expected[i] * expected[i];
  }
  // A comparison with NaN must not pass.
  return difference == difference
             ? std::sqrt(difference / std::max({norm, squares, 1e-300}))
             : INFINITY;
}

bool CompiledKernel::bordersIntact() const {
  if (remote && !remoteIsIntact)
    return false;
  for (const Buffer &buffer : packed)
    if (!buffer.bordersIntact())
      return false;
  auto *y = reinterpret_cast<const uint32_t *>(out.data());
  for (int64_t i = 0; i < problem.m; ++i)
    for (int64_t j = problem.n; j < outStride; ++j)
      if (y[i * outStride + j] != 0xFFFFFFFF)
        return false;
  return x.bordersIntact() && out.bordersIntact() && bias.bordersIntact() &&
         residual.bordersIntact() && scratch.bordersIntact();
}

int64_t CompiledKernel::weightBytes() const {
  int64_t bytes = 0;
  for (const Buffer &buffer : packed)
    bytes += buffer.size();
  return bytes;
}
