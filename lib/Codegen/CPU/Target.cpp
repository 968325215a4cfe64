//===- Target.cpp - From the name of a target to what it has --------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The choice of a row by architecture, cpu and features. What the name of a
/// cpu implies is LLVM's knowledge: its TargetParser's, without a target
/// machine.
///
//===----------------------------------------------------------------------===//

#include "miura/Codegen/CPU/Isa.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/TargetParser/AArch64TargetParser.h"
#include "llvm/TargetParser/Host.h"
#include "llvm/TargetParser/X86TargetParser.h"

using namespace miura::codegen;
using llvm::SmallVector;
using llvm::SmallVectorImpl;
using llvm::StringRef;

//===----------------------------------------------------------------------===//
// Architectures
//===----------------------------------------------------------------------===//

static bool getX86Features(StringRef cpu,
                           SmallVectorImpl<StringRef> &features) {
  if (llvm::X86::parseArchX86(cpu, /*Only64Bit=*/true) == llvm::X86::CK_None)
    return false;
  llvm::X86::getFeaturesForCPU(cpu, features, /*NeedPlus=*/false);
  return true;
}

static void listX86(SmallVectorImpl<StringRef> &names) {
  llvm::X86::fillValidCPUArchList(names, /*Only64Bit=*/true);
}

static bool getAArch64Features(StringRef cpu,
                               SmallVectorImpl<StringRef> &features) {
  auto info = llvm::AArch64::parseCpu(llvm::AArch64::resolveCPUAlias(cpu));
  if (!info)
    return false;
  std::vector<StringRef> all;
  llvm::AArch64::getExtensionFeatures(info->getImpliedExtensions(), all);
  for (StringRef feature : all)
    if (feature.consume_front("+"))
      features.push_back(feature);
  return true;
}

static void listAArch64(SmallVectorImpl<StringRef> &names) {
  llvm::AArch64::fillValidCPUArchList(names);
}

/// WebAssembly has features and no cpus.
static bool getWasmFeatures(StringRef cpu, SmallVectorImpl<StringRef> &) {
  return cpu == "generic";
}

static void listWasm(SmallVectorImpl<StringRef> &names) {
  names.push_back("generic");
}

namespace {
struct Architecture {
  llvm::StringLiteral name;
  llvm::Triple::ArchType arch;
  /// The triple of code for another machine than this.
  llvm::StringLiteral triple;
  /// Adds what a cpu has; false if there is none of this name.
  bool (*getFeatures)(StringRef cpu, SmallVectorImpl<StringRef> &features);
  void (*list)(SmallVectorImpl<StringRef> &names);
};
} // namespace

static const Architecture architectures[] = {
    {"x86-64", llvm::Triple::x86_64, "x86_64-unknown-linux-gnu", getX86Features,
     listX86},
    {"aarch64", llvm::Triple::aarch64, "aarch64-unknown-linux-gnu",
     getAArch64Features, listAArch64},
    {"wasm32", llvm::Triple::wasm32, "wasm32-unknown-unknown", getWasmFeatures,
     listWasm}};

static llvm::Triple::ArchType getHostArchitecture() {
  return llvm::Triple(llvm::sys::getProcessTriple()).getArch();
}

bool Target::isHostArchitecture() const {
  return llvm::Triple(triple).getArch() == getHostArchitecture();
}

bool miura::codegen::hostHas(const IsaRow &row) {
  if (row.arch != getHostArchitecture())
    return false;
  llvm::StringMap<bool> host = llvm::sys::getHostCPUFeatures();
  return llvm::all_of(row.features,
                      [&](StringRef feature) { return host.lookup(feature); });
}

//===----------------------------------------------------------------------===//
// Choice
//===----------------------------------------------------------------------===//

static std::string joinNames(llvm::ArrayRef<StringRef> names) {
  return llvm::join(names, ", ");
}

/// How targets begin.
static SmallVector<StringRef> getArchitectures() {
  SmallVector<StringRef> names = {"cpu"};
  for (const Architecture &architecture : architectures)
    names.push_back(architecture.name);
  return names;
}

llvm::Expected<Target> miura::codegen::chooseTarget(StringRef text,
                                                    StringRef features) {
  llvm::Triple::ArchType arch = getHostArchitecture();
  StringRef prefix, name;
  std::tie(prefix, name) = text.split('=');
  const Architecture *architecture = llvm::find_if(
      architectures, [&](const Architecture &a) { return a.name == prefix; });
  if (architecture != std::end(architectures)) {
    arch = architecture->arch;
  } else if (prefix != "cpu") {
    if (text.contains('=')) {
      return llvm::createStringError(
          "unknown architecture '" + prefix.str() + "': expected " +
          joinNames(getArchitectures()) + ", each with or without =NAME");
    }
    name = text;
    if (const IsaRow *row = findIsaRow(name))
      arch = row->arch;
  }
  if (text.ends_with("="))
    return llvm::createStringError("expected the name of a cpu behind '" +
                                   text.str() + "'");
  architecture = llvm::find_if(
      architectures, [&](const Architecture &a) { return a.arch == arch; });
  if (architecture == std::end(architectures))
    return llvm::createStringError(
        "no kernels are written for this machine's architecture");
  SmallVector<const IsaRow *> rows;
  for (const IsaRow &row : getIsaRows())
    if (row.arch == arch)
      rows.push_back(&row);
  if (rows.empty())
    return llvm::createStringError("no kernels are written for " +
                                   architecture->name.str());
  bool isNative = arch == getHostArchitecture();
  bool host = isNative && (name.empty() || name == "host" || name == "native");
  if (name.empty() && !isNative)
    name = rows.front()->name;

  Target target;
  target.triple = isNative ? llvm::sys::getDefaultTargetTriple()
                           : architecture->triple.str();
  target.features = features.str();
  llvm::StringSet<> has;
  const IsaRow *named = findIsaRow(name);
  if (named && named->arch == arch) {
    name = named->cpu;
    // The row's own features, and no more than its oldest cpu.
    std::string own;
    for (StringRef feature : named->features) {
      has.insert(feature);
      own += (own.empty() ? "+" : ",+") + feature.str();
    }
    target.features = features.empty() ? own : own + "," + features.str();
  }
  target.cpu = host ? llvm::sys::getHostCPUName().str() : name.str();

  SmallVector<StringRef> implied;
  if (!architecture->getFeatures(target.cpu, implied)) {
    SmallVector<StringRef> levels, known;
    for (const IsaRow *row : rows)
      levels.push_back(row->name);
    architecture->list(known);
    // A name alone may have been meant for an architecture.
    std::string what = text == name
                           ? "target '" + text.str() + "': expected " +
                                 joinNames(getArchitectures()) +
                                 ", each with or without =NAME, or a name of " +
                                 architecture->name.str() + ": "
                           : "cpu '" + name.str() + "' of " +
                                 architecture->name.str() + ": expected ";
    // There may be a hundred of them.
    llvm::sort(known, [&](StringRef a, StringRef b) {
      return std::pair(a.edit_distance(name), a) <
             std::pair(b.edit_distance(name), b);
    });
    if (known.size() > 5)
      known.truncate(5);
    return llvm::createStringError(
        "unknown " + what + (isNative ? "host, " : "") + "a level (" +
        joinNames(levels) + ") or a cpu that LLVM knows, such as " +
        joinNames(known));
  }
  for (StringRef feature : implied)
    has.insert(feature);
  if (host) {
    // A virtual machine may hide what its cpu's name promises, and show more
    // than it: what the machine says goes.
    for (const auto &entry : llvm::sys::getHostCPUFeatures()) {
      StringRef name = entry.getKey();
      if (entry.getValue()) {
        has.insert(name);
      } else if (has.erase(name)) {
        target.features += (target.features.empty() ? "-" : ",-") + name.str();
      }
    }
  }
  for (StringRef change : llvm::split(features, ',')) {
    if (change.consume_front("+"))
      has.insert(change);
    else if (change.consume_front("-"))
      has.erase(change);
    else if (!change.empty())
      return llvm::createStringError("expected features as +name or -name, "
                                     "but got '" +
                                     change.str() + "'");
  }
  for (const IsaRow *row : llvm::reverse(rows))
    if (llvm::all_of(row->features, [&](StringRef feature) {
          return has.contains(feature);
        })) {
      target.row = &tuneRow(*row, target.cpu);
      return target;
    }
  SmallVector<StringRef> least(rows.front()->features);
  return llvm::createStringError("cpu '" + target.cpu +
                                 "' has no level that kernels are written for: "
                                 "it needs at least " +
                                 joinNames(least));
}
