//===- Reference.cpp - The oracle -----------------------------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Compiles a function through the reference pipeline with
/// mlir::ExecutionEngine and calls it with memref descriptors. Buffers that the
/// code allocates are remembered per call and freed after its results were
/// copied out, so the code needs no deallocation of its own.
///
//===----------------------------------------------------------------------===//

#include "miura/Target/Reference/Reference.h"
#include "miura/Conversion/LinalgBuilder/LinalgBuilder.h"
#include "miura/Conversion/MiuraToLinalg/Passes.h"
#include "miura/Dialect/Miura/IR/MiuraDialect.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/ExecutionEngine/ExecutionEngine.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Target/LLVMIR/Dialect/All.h"
#include "llvm/ExecutionEngine/Orc/JITTargetMachineBuilder.h"
#include "llvm/IR/Module.h"
#include "llvm/Passes/PassBuilder.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Target/TargetMachine.h"
#include <algorithm>
#include <csetjmp>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <unistd.h>

using namespace mlir;
using namespace miura;

//===----------------------------------------------------------------------===//
// Memory of a call
//===----------------------------------------------------------------------===//

namespace {
/// The blocks that the running call has allocated.
struct CallMemory {
  std::vector<void *> blocks;
  uint64_t bytes = 0;
  /// What was asked for when there was no more, and where that is told.
  uint64_t refused = 0;
  std::jmp_buf giveUp;
  ~CallMemory() { llvm::for_each(blocks, std::free); }
};
} // namespace

static thread_local CallMemory *currentCall = nullptr;

static uint64_t getPhysicalBytes() {
  static const uint64_t bytes =
      uint64_t(sysconf(_SC_PHYS_PAGES)) * uint64_t(sysconf(_SC_PAGESIZE));
  return bytes;
}

/// What is more than the machine has is refused before the system promises it:
/// it would end the process when the pages are touched.
static void *allocateForCall(uint64_t bytes) {
  CallMemory &call = *currentCall;
  void *block = nullptr;
  if (bytes <= getPhysicalBytes() - std::min(call.bytes, getPhysicalBytes()))
    block = std::malloc(bytes == 0 ? 1 : bytes);
  if (!block) {
    call.refused = bytes;
    // Over generated code alone, which has nothing to clean up.
    std::longjmp(call.giveUp, 1);
  }
  call.bytes += bytes;
  call.blocks.push_back(block);
  return block;
}

/// Calls `function`; false where memory was refused.
static bool callGenerated(CallMemory &memory,
                          llvm::function_ref<void()> function) {
  currentCall = &memory;
  if (setjmp(memory.giveUp) != 0) {
    currentCall = nullptr;
    return false;
  }
  function();
  currentCall = nullptr;
  return true;
}

static void keepUntilReturn(void *) {}

namespace {
/// A memref of unknown rank as memref.copy passes it.
struct UnrankedMemRef {
  int64_t rank;
  int64_t *descriptor; // Two pointers, the offset, sizes, strides.
};
} // namespace

/// What memref.copy of strided buffers calls.
static void copyBuffer(int64_t elementBytes, UnrankedMemRef *source,
                       UnrankedMemRef *target) {
  int64_t rank = source->rank;
  const int64_t *from = source->descriptor, *to = target->descriptor;
  ArrayRef<int64_t> sizes(from + 3, rank), fromStrides(from + 3 + rank, rank),
      toStrides(to + 3 + rank, rank);
  auto *read = reinterpret_cast<const char *>(from[1]) + from[2] * elementBytes;
  auto *write = reinterpret_cast<char *>(to[1]) + to[2] * elementBytes;
  if (llvm::is_contained(sizes, 0))
    return;
  // Rows that lie together are copied at once.
  bool rows = rank > 0 && fromStrides.back() == 1 && toStrides.back() == 1;
  int64_t outer = rows ? rank - 1 : rank;
  int64_t run = rows ? sizes.back() * elementBytes : elementBytes;
  std::vector<int64_t> index(outer, 0);
  while (true) {
    int64_t fromOffset = 0, toOffset = 0;
    for (int64_t d = 0; d < outer; ++d) {
      fromOffset += index[d] * fromStrides[d];
      toOffset += index[d] * toStrides[d];
    }
    std::memcpy(write + toOffset * elementBytes,
                read + fromOffset * elementBytes, run);
    int64_t d = outer - 1;
    for (; d >= 0; --d) {
      if (++index[d] < sizes[d])
        break;
      index[d] = 0;
    }
    if (d < 0)
      return;
  }
}

//===----------------------------------------------------------------------===//
// Optimization
//===----------------------------------------------------------------------===//

/// -O2 without what costs time and gains little here. The engine has made a
/// wrapper for each function; only `entry` is called.
static void optimize(llvm::Module &module, StringRef entry,
                     llvm::TargetMachine &machine) {
  for (llvm::Function &function : llvm::make_early_inc_range(module)) {
    if (function.isDeclaration() || function.getName() == entry)
      continue;
    if (function.getName().starts_with("_mlir_") && function.use_empty() &&
        !function.getName().starts_with("_mlir_ciface_")) {
      function.eraseFromParent();
      continue;
    }
    function.setLinkage(llvm::GlobalValue::InternalLinkage);
    if (function.getName().starts_with("miura_loop"))
      function.addFnAttr(llvm::Attribute::NoInline);
  }
  llvm::PipelineTuningOptions tuning;
  tuning.LoopUnrolling = false;
  tuning.MergeFunctions = false;
  llvm::LoopAnalysisManager loops;
  llvm::FunctionAnalysisManager functions;
  llvm::CGSCCAnalysisManager components;
  llvm::ModuleAnalysisManager modules;
  llvm::PassBuilder builder(&machine, tuning);
  builder.registerModuleAnalyses(modules);
  builder.registerCGSCCAnalyses(components);
  builder.registerFunctionAnalyses(functions);
  builder.registerLoopAnalyses(loops);
  builder.crossRegisterProxies(loops, functions, components, modules);
  builder.buildPerModuleDefaultPipeline(llvm::OptimizationLevel::O2)
      .run(module, modules);
}

//===----------------------------------------------------------------------===//
// ReferenceFunction
//===----------------------------------------------------------------------===//

struct ReferenceFunction::Impl {
  std::string name;
  SmallVector<Type> inputTypes, outputTypes;
  std::vector<std::string> inputNames;
  /// Values of the arguments that stand for weights; views into the store or
  /// into `owned`.
  std::vector<std::pair<RankedTensorType, ArrayRef<uint8_t>>> weights;
  std::vector<std::vector<uint8_t>> owned;
  std::unique_ptr<ExecutionEngine> engine;
};

ReferenceFunction::ReferenceFunction() : impl(std::make_unique<Impl>()) {}
ReferenceFunction::~ReferenceFunction() = default;
ArrayRef<Type> ReferenceFunction::getInputTypes() const {
  return impl->inputTypes;
}
ArrayRef<Type> ReferenceFunction::getOutputTypes() const {
  return impl->outputTypes;
}

/// The bytes of `root`, an expression's value: those of the file where it is a
/// plain weight whose elements code can read as they lie.
static FailureOr<ArrayRef<uint8_t>>
getWeightBytes(Value root, std::vector<std::vector<uint8_t>> &owned) {
  auto type = cast<RankedTensorType>(root.getType());
  Type element = type.getElementType();
  int64_t size = getHostElementBytes(element);
  Operation *op = root.getDefiningOp();
  if (auto weight = dyn_cast<WeightOp>(op);
      weight && size != 0 && !element.isInteger(1)) {
    auto data = SymbolTable::lookupNearestSymbolFrom<WeightDataOp>(
        op, weight.getDataAttr());
    if (!data.getBytesAttr())
      return op->emitOpError("has no bytes: ")
             << weight.getDataAttr() << " is only declared";
    auto &store = cast<MiuraDialect>(op->getDialect())->getWeightStore();
    FailureOr<ArrayRef<uint8_t>> bytes =
        store.getBytes(data.getBytesAttr(), op->getLoc());
    if (failed(bytes))
      return failure();
    if (reinterpret_cast<uintptr_t>(bytes->data()) % size == 0)
      return *bytes;
    owned.emplace_back(bytes->begin(), bytes->end());
    return ArrayRef<uint8_t>(owned.back());
  }
  FailureOr<HostTensor> value = evaluateExpression(root);
  if (failed(value))
    return failure();
  if (element.isF32()) {
    auto *begin = reinterpret_cast<const uint8_t *>(value->floats.data());
    owned.emplace_back(begin, begin + value->floats.size() * sizeof(float));
  } else if (size != 0 && !element.isInteger(1)) {
    owned.push_back(writeHostTensor(*value));
  } else {
    // Elements narrower than a byte: a byte each in memory.
    owned.emplace_back(value->ints.begin(), value->ints.end());
  }
  return ArrayRef<uint8_t>(owned.back());
}

FailureOr<std::unique_ptr<ReferenceFunction>>
ReferenceFunction::compile(ModuleOp original, StringRef name) {
  auto function = original.lookupSymbol<func::FuncOp>(name);
  if (!function || function.isExternal()) {
    original.emitError("has no function '") << name << "'";
    return failure();
  }
  DialectRegistry registry;
  registerReferenceDialects(registry);
  registerBuiltinDialectTranslation(registry);
  registerLLVMDialectTranslation(registry);
  original.getContext()->appendDialectRegistry(registry);
  std::unique_ptr<ReferenceFunction> result(new ReferenceFunction());
  Impl &impl = *result->impl;
  impl.name = name.str();
  llvm::append_range(impl.inputTypes, function.getArgumentTypes());
  llvm::append_range(impl.outputTypes, function.getResultTypes());
  for (unsigned i = 0, e = function.getNumArguments(); i < e; ++i) {
    auto argName = function.getArgAttrOfType<StringAttr>(i, kNameAttrName);
    impl.inputNames.push_back(argName ? argName.str() : "");
  }
  for (Type type : llvm::concat<Type>(impl.inputTypes, impl.outputTypes)) {
    auto tensor = dyn_cast<RankedTensorType>(type);
    if (!tensor || getHostElementBytes(tensor.getElementType()) == 0) {
      function.emitError("the reference runs on ranked tensors of numbers, but "
                         "the function has ")
          << type;
      return failure();
    }
  }

  // Only the function itself is compiled.
  OwningOpRef<ModuleOp> module = original.clone();
  MLIRContext *context = module->getContext();
  for (auto other : llvm::make_early_inc_range(module->getOps<func::FuncOp>()))
    if (other.getSymName() != name)
      other.erase();
  auto kept = module->lookupSymbol<func::FuncOp>(name);
  kept.setPublic();
  PassManager outline(context);
  outline.addPass(createOutlineExpressionsPass());
  if (failed(outline.run(*module)))
    return failure();

  auto weights =
      module->lookupSymbol<func::FuncOp>((name + kWeightsFunctionSuffix).str());
  impl.owned.reserve(weights.getNumResults());
  for (Value root : weights.front().getTerminator()->getOperands()) {
    FailureOr<ArrayRef<uint8_t>> bytes = getWeightBytes(root, impl.owned);
    if (failed(bytes))
      return failure();
    impl.weights.emplace_back(cast<RankedTensorType>(root.getType()), *bytes);
  }
  weights.erase();
  kept->setAttr(LLVM::LLVMDialect::getEmitCWrapperAttrName(),
                UnitAttr::get(context));

  PassManager lower(context);
  buildReferencePipeline(lower);
  if (failed(lower.run(*module)))
    return failure();
  // What LLVM cannot translate, and what is left of the onnx level.
  for (Operation &op : llvm::make_early_inc_range(module->getOps()))
    if (!isa<LLVM::LLVMDialect>(op.getDialect()))
      op.erase();
  (*module)->setAttrs(DictionaryAttr::get(context));
  // LLVM would warn of attributes that it does not know.
  for (auto lowered : module->getOps<LLVM::LLVMFuncOp>()) {
    lowered.removeArgAttrsAttr();
    lowered.removeResAttrsAttr();
  }

  static std::once_flag targets;
  std::call_once(targets, [] {
    llvm::InitializeNativeTarget();
    llvm::InitializeNativeTargetAsmPrinter();
  });
  auto fail = [&](llvm::Error error) {
    function.emitError("cannot compile the reference: ")
        << llvm::toString(std::move(error));
    return failure();
  };
  auto builder = llvm::orc::JITTargetMachineBuilder::detectHost();
  if (!builder)
    return fail(builder.takeError());
  auto machine = builder->createTargetMachine();
  if (!machine)
    return fail(machine.takeError());
  std::string entry = "_mlir__mlir_ciface_" + impl.name;
  // The engine owns the machine by the time it asks.
  llvm::TargetMachine &target = **machine;
  auto transformer = [&](llvm::Module *llvmModule) {
    optimize(*llvmModule, entry, target);
    return llvm::Error::success();
  };
  ExecutionEngineOptions options;
  options.transformer = transformer;
  options.jitCodeGenOptLevel = llvm::CodeGenOptLevel::Default;
  options.enableGDBNotificationListener = false;
  options.enablePerfNotificationListener = false;
  auto engine = ExecutionEngine::create(*module, options, std::move(*machine));
  if (!engine)
    return fail(engine.takeError());
  (*engine)->registerSymbols([](llvm::orc::MangleAndInterner interner) {
    llvm::orc::SymbolMap symbols;
    auto add = [&](StringRef symbol, auto *address) {
      symbols[interner(symbol)] = {llvm::orc::ExecutorAddr::fromPtr(address),
                                   llvm::JITSymbolFlags::Exported};
    };
    add("_mlir_memref_to_llvm_alloc", &allocateForCall);
    add("_mlir_memref_to_llvm_free", &keepUntilReturn);
    add("memrefCopy", &copyBuffer);
    return symbols;
  });
  impl.engine = std::move(*engine);
  return result;
}

//===----------------------------------------------------------------------===//
// Calls
//===----------------------------------------------------------------------===//

/// A memref descriptor as the C interface passes it: two pointers, the offset,
/// sizes, strides; all of 8 bytes.
static std::vector<int64_t> makeDescriptor(const void *data,
                                           ArrayRef<int64_t> shape) {
  std::vector<int64_t> words{reinterpret_cast<intptr_t>(data),
                             reinterpret_cast<intptr_t>(data), 0};
  llvm::append_range(words, shape);
  int64_t stride = 1;
  std::vector<int64_t> strides(shape.size());
  for (size_t i = shape.size(); i-- > 0; stride *= shape[i])
    strides[i] = stride;
  llvm::append_range(words, strides);
  return words;
}

/// Copies what a descriptor describes into a fresh array.
static HostArray readDescriptor(const int64_t *words, RankedTensorType type) {
  int64_t rank = type.getRank();
  int64_t size = getHostElementBytes(type.getElementType());
  ArrayRef<int64_t> shape(words + 3, rank), strides(words + 3 + rank, rank);
  HostArray result(RankedTensorType::get(shape, type.getElementType()));
  auto *data = reinterpret_cast<const uint8_t *>(words[1]) + words[2] * size;
  int64_t count = result.getNumElements();
  std::vector<int64_t> index(rank, 0);
  for (int64_t i = 0; i < count; ++i) {
    int64_t offset = 0;
    for (int64_t d = 0; d < rank; ++d)
      offset += index[d] * strides[d];
    std::memcpy(result.bytes.data() + i * size, data + offset * size, size);
    for (int64_t d = rank; d-- > 0;) {
      if (++index[d] < shape[d])
        break;
      index[d] = 0;
    }
  }
  return result;
}

static bool fits(RankedTensorType given, RankedTensorType expected) {
  // NumPy tends to save a scalar as an array of one element.
  if (expected.getRank() == 0 && given.getNumElements() == 1)
    return given.getElementType() == expected.getElementType();
  if (given.getElementType() != expected.getElementType() ||
      given.getRank() != expected.getRank())
    return false;
  for (int64_t i = 0; i < given.getRank(); ++i)
    if (!expected.isDynamicDim(i) &&
        expected.getDimSize(i) != given.getDimSize(i))
      return false;
  return true;
}

FailureOr<std::vector<HostArray>>
ReferenceFunction::run(ArrayRef<HostArray> inputs, Location loc) const {
  if (inputs.size() != impl->inputTypes.size())
    return emitError(loc) << "expects " << impl->inputTypes.size()
                          << " inputs, but got " << inputs.size();
  std::vector<std::vector<int64_t>> descriptors;
  for (auto [i, input] : llvm::enumerate(inputs)) {
    auto expected = cast<RankedTensorType>(impl->inputTypes[i]);
    if (!fits(input.type, expected))
      return emitError(loc)
             << "expects input " << i << " ('" << impl->inputNames[i]
             << "') to be " << expected << ", but got " << input.type;
    descriptors.push_back(makeDescriptor(
        input.bytes.data(),
        expected.getRank() == 0 ? ArrayRef<int64_t>() : input.getShape()));
  }
  for (auto &[type, bytes] : impl->weights)
    descriptors.push_back(makeDescriptor(bytes.data(), type.getShape()));

  // All results are in one struct, whose address is the first argument.
  int64_t words = 0;
  for (Type type : impl->outputTypes)
    words += 3 + 2 * cast<RankedTensorType>(type).getRank();
  std::vector<int64_t> results(words);
  std::vector<void *> pointers;
  if (!impl->outputTypes.empty())
    pointers.push_back(results.data());
  for (std::vector<int64_t> &descriptor : descriptors)
    pointers.push_back(descriptor.data());
  SmallVector<void *> arguments;
  for (void *&pointer : pointers)
    arguments.push_back(&pointer);

  CallMemory memory;
  auto entry = impl->engine->lookupPacked("_mlir_ciface_" + impl->name);
  if (!entry)
    return emitError(loc) << "cannot run the reference: "
                          << llvm::toString(entry.takeError());
  if (!callGenerated(memory, [&] { (*entry)(arguments.data()); }))
    return emitError(loc) << "the reference needs " << memory.refused
                          << " bytes more than the " << memory.bytes
                          << " that it has, which this machine does not give; "
                             "run on smaller inputs";
  std::vector<HostArray> outputs;
  int64_t *position = results.data();
  for (Type type : impl->outputTypes) {
    auto tensor = cast<RankedTensorType>(type);
    outputs.push_back(readDescriptor(position, tensor));
    position += 3 + 2 * tensor.getRank();
  }
  return outputs;
}
