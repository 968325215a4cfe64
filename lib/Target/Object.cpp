//===- Object.cpp - Object files ------------------------------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The LLVM side of `miura compile`: translation, the program table, the
/// optimizer and the code generator, all through a TargetMachine of the cpu and
/// features that were asked for.
///
//===----------------------------------------------------------------------===//

#include "miura/Target/Object.h"
#include "miura-c/artifact.h"
#include "miura/Dialect/Miura/Transforms/Passes.h"
#include "miura/Dialect/Miura/Transforms/Signature.h"
#include "mlir/ExecutionEngine/OptUtils.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/Target/LLVMIR/Dialect/Builtin/BuiltinToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/LLVMIR/LLVMToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Export.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/IR/Constants.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Module.h"
#include "llvm/MC/MCSubtargetInfo.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Target/TargetMachine.h"

using namespace miura;

static llvm::Error makeError(const llvm::Twine &message) {
  return llvm::createStringError(llvm::inconvertibleErrorCode(), message);
}

/// The instruction sets that the runtime asks the machine for before it runs
/// the code (lib/Runtime/core.c knows how): those of its list that the target
/// has, as the code generator may use any of them.
static std::string getRequiredFeatures(const llvm::TargetMachine &machine) {
  static const char *const known[] = {
      "sse4.2",     "popcnt",     "avx",      "f16c",        "fma",
      "avx2",       "bmi",        "bmi2",     "avx512f",     "avx512dq",
      "avx512bw",   "avx512vl",   "avx512cd", "avx512vbmi",  "avx512vbmi2",
      "avx512vnni", "avx512bf16", "avxvnni",  "avxvnniint8", "amx-tile",
      "amx-int8",   "amx-bf16"};
  // Those of which user code can use instructions that the code generator
  // chooses by itself, or our kernels ask for.
  static const char *const knownArm[] = {
      "neon",   "fullfp16", "rdm",  "lse",  "dotprod", "fp16fml",
      "jsconv", "rcpc",     "i8mm", "bf16", "sve",     "sve2"};
  llvm::ArrayRef<const char *> names;
  if (machine.getTargetTriple().isX86())
    names = known;
  else if (machine.getTargetTriple().isAArch64())
    names = knownArm;
  llvm::SmallVector<llvm::StringRef> required;
  for (const char *feature : names)
    if (machine.getMCSubtargetInfo()->checkFeatures(std::string("+") + feature))
      required.push_back(feature);
  return llvm::join(required, ",");
}

static int64_t getInteger(mlir::ModuleOp module, llvm::StringRef name) {
  auto attr = module->getAttrOfType<mlir::IntegerAttr>(name);
  return attr ? attr.getInt() : 0;
}

static int64_t getRoleNumber(RoleKind role) {
  switch (role) {
  case RoleKind::tokens:
    return MIURA_ROLE_TOKENS;
  case RoleKind::positions:
    return MIURA_ROLE_POSITIONS;
  case RoleKind::mask:
    return MIURA_ROLE_MASK;
  case RoleKind::cache_key:
    return MIURA_ROLE_CACHE_KEY;
  case RoleKind::cache_value:
    return MIURA_ROLE_CACHE_VALUE;
  case RoleKind::logits:
    return MIURA_ROLE_LOGITS;
  default:
    return MIURA_ROLE_OTHER;
  }
}

/// Adds `miura_program`, field by field as in lib/Runtime/Abi.h.
static llvm::Error addProgramTable(mlir::ModuleOp module, llvm::Module &llvm,
                                   const ObjectTarget &target,
                                   llvm::StringRef features) {
  llvm::LLVMContext &context = llvm.getContext();
  auto *i64 = llvm::Type::getInt64Ty(context);
  auto *pointer = llvm::PointerType::getUnqual(context);
  auto integer = [&](int64_t value) -> llvm::Constant * {
    return llvm::ConstantInt::get(i64, value);
  };
  auto text = [&](llvm::StringRef value) -> llvm::Constant * {
    auto *data = llvm::ConstantDataArray::getString(context, value);
    auto *global = new llvm::GlobalVariable(
        llvm, data->getType(), /*isConstant=*/true,
        llvm::GlobalValue::PrivateLinkage, data, "miura.text");
    return global;
  };
  auto function = [&](llvm::StringRef name) -> llvm::Constant * {
    llvm::Function *found = llvm.getFunction(name);
    if (!found)
      return llvm::ConstantPointerNull::get(pointer);
    found->setLinkage(llvm::GlobalValue::InternalLinkage);
    return found;
  };
  auto caches = module->getAttrOfType<mlir::DenseI64ArrayAttr>("miura.caches");
  auto id = module->getAttrOfType<mlir::StringAttr>("miura.weight_id");
  std::string idBytes;
  if (!caches || !id || !llvm::tryGetFromHex(id.getValue(), idBytes) ||
      idBytes.size() != 32)
    return makeError("the module has not been through the pipeline: it lacks "
                     "miura.caches or miura.weight_id");
  if (!llvm.getFunction("step_entry"))
    return makeError("the module has no step");
  auto *shapes = llvm::ConstantDataArray::get(
      context, llvm::ArrayRef<uint64_t>(reinterpret_cast<const uint64_t *>(
                                            caches.asArrayRef().data()),
                                        caches.size()));
  auto *cacheTable = new llvm::GlobalVariable(
      llvm, shapes->getType(), /*isConstant=*/true,
      llvm::GlobalValue::PrivateLinkage, shapes, "miura.caches");
  // The file's inputs and outputs, as miura_port.
  auto ports = [&](llvm::ArrayRef<SignaturePort> all) -> llvm::Constant * {
    llvm::SmallVector<llvm::Constant *> entries;
    for (const SignaturePort &port : all) {
      auto type = llvm::dyn_cast<mlir::RankedTensorType>(port.type);
      std::string element;
      llvm::raw_string_ostream os(element);
      os << (type ? type.getElementType() : port.type);
      llvm::SmallVector<uint64_t> sizes;
      for (int64_t size : type ? type.getShape() : llvm::ArrayRef<int64_t>())
        sizes.push_back(mlir::ShapedType::isDynamic(size) ? -1 : size);
      auto *data = llvm::ConstantDataArray::get(context, sizes);
      auto *shape = new llvm::GlobalVariable(
          llvm, data->getType(), /*isConstant=*/true,
          llvm::GlobalValue::PrivateLinkage, data, "miura.shape");
      entries.push_back(llvm::ConstantStruct::getAnon(
          {text(port.name), text(element), integer(getRoleNumber(port.role)),
           integer(port.layer), integer(type ? type.getRank() : -1), shape}));
    }
    if (entries.empty())
      return llvm::ConstantPointerNull::get(pointer);
    auto *data = llvm::ConstantArray::get(
        llvm::ArrayType::get(entries.front()->getType(), entries.size()),
        entries);
    return new llvm::GlobalVariable(llvm, data->getType(), /*isConstant=*/true,
                                    llvm::GlobalValue::PrivateLinkage, data,
                                    "miura.ports");
  };
  ModelSignature signature = getRecordedSignature(module);
  int64_t chunk = getInteger(module, "miura.chunk");
  auto *table = llvm::ConstantStruct::getAnon(
      {integer(2),
       integer(getInteger(module, "miura.vocabulary")),
       integer(caches.size() / 4),
       integer(getInteger(module, kContextAttrName)),
       integer(getInteger(module, "miura.kernels")),
       integer(chunk > 0 ? chunk : 256),
       integer(getInteger(module, "miura.weight_bytes")),
       llvm::ConstantDataArray::getRaw(idBytes, 32,
                                       llvm::Type::getInt8Ty(context)),
       text(target.cpu),
       text(features),
       text(MIURA_VERSION),
       cacheTable,
       function("step_entry"),
       function("step_all_entry"),
       function("step_workspace"),
       function("step_all_workspace"),
       integer(signature.inputs.size()),
       ports(signature.inputs),
       integer(signature.outputs.size()),
       ports(signature.outputs)});
  auto *program = new llvm::GlobalVariable(
      llvm, table->getType(), /*isConstant=*/true,
      llvm::GlobalValue::ExternalLinkage, table, "miura_program");
  program->setVisibility(llvm::GlobalValue::HiddenVisibility);
  if (llvm::Function *barrier = llvm.getFunction("miura_barrier"))
    barrier->setVisibility(llvm::GlobalValue::HiddenVisibility);
  return llvm::Error::success();
}

llvm::Error miura::emitObject(mlir::ModuleOp module, const ObjectTarget &target,
                              llvm::SmallVectorImpl<char> &object,
                              bool assembly) {
  mlir::registerBuiltinDialectTranslation(*module.getContext());
  mlir::registerLLVMDialectTranslation(*module.getContext());
  llvm::LLVMContext context;
  std::unique_ptr<llvm::Module> llvm =
      mlir::translateModuleToLLVMIR(module, context, "miura");
  if (!llvm)
    return makeError("the lowered module cannot be translated to LLVM IR");

  llvm::InitializeAllTargets();
  llvm::InitializeAllTargetMCs();
  llvm::InitializeAllAsmPrinters();
  llvm::Triple triple(target.triple);
  std::string error;
  const llvm::Target *found = llvm::TargetRegistry::lookupTarget(triple, error);
  if (!found)
    return makeError(error);
  std::unique_ptr<llvm::TargetMachine> machine(found->createTargetMachine(
      triple, target.cpu, target.features, llvm::TargetOptions(),
      // A WebAssembly module is whole: nothing is loaded beside it.
      triple.isWasm() ? llvm::Reloc::Static : llvm::Reloc::PIC_, std::nullopt,
      llvm::CodeGenOptLevel::Aggressive));
  if (!machine)
    return makeError("LLVM has no target machine for " + triple.str());
  llvm->setDataLayout(machine->createDataLayout());
  llvm->setTargetTriple(triple);
  if (llvm::Error failed =
          addProgramTable(module, *llvm, target, getRequiredFeatures(*machine)))
    return failed;
  auto optimize = mlir::makeOptimizingTransformer(
      /*optLevel=*/3, /*sizeLevel=*/0, machine.get());
  if (llvm::Error failed = optimize(llvm.get()))
    return failed;
  llvm::raw_svector_ostream os(object);
  llvm::legacy::PassManager passes;
  if (machine->addPassesToEmitFile(passes, os, nullptr,
                                   assembly
                                       ? llvm::CodeGenFileType::AssemblyFile
                                       : llvm::CodeGenFileType::ObjectFile))
    return makeError("LLVM cannot write object files for " + triple.str());
  passes.run(*llvm);
  return llvm::Error::success();
}
