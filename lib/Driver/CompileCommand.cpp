//===- CompileCommand.cpp - miura compile ---------------------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// `miura compile`: a model of any level to a shared library or an object.
///
//===----------------------------------------------------------------------===//

#include "Commands.h"
#include "Output.h"
#include "miura/Codegen/CPU/Isa.h"
#include "miura/Driver/CompiledModel.h"
#include "miura/Driver/Model.h"
#include "mlir/Pass/PassManager.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/raw_ostream.h"
#include <ctime>

using namespace mlir;
using namespace miura;
using namespace miura::driver;

static ExitCode run(Invocation &invocation) {
  std::string input;
  if (!invocation.getInput(input, "a model"))
    return ExitCode::Usage;
  CompileOptions options;
  options.output = invocation.getString(OPT_output).str();
  llvm::StringRef output = options.output;
  options.target = invocation.getString(OPT_target, "cpu").str();
  llvm::Expected<codegen::Target> target =
      codegen::chooseTarget(options.target);
  if (!target)
    return invocation.failUsage("--target: " +
                                llvm::toString(target.takeError()));
  llvm::StringRef library =
      llvm::Triple(target->triple).isWasm() ? ".wasm" : ".so";
  bool prints = invocation.has(OPT_print_pipeline);
  if (!(prints && output.empty()) && !output.ends_with(library) &&
      !output.ends_with(".o") && !output.ends_with(".s"))
    return invocation.failUsage(
        "needs -o with a name that ends in " + library.str() + ", .o or .s" +
        (output.ends_with(".wasm") ? "; for .wasm say --target wasm32"
         : output.ends_with(".so") ? "; --target wasm32 has no .so"
                                   : ""));
  if (!output.empty()) {
    for (const std::string &path : {output.str(), (output + ".weights").str()})
      if (llvm::Error error = checkOutputFile(path))
        return invocation.failInput(std::move(error), path);
    invocation.setScratchFolder((output + ".scratch").str());
  }

  ExitCode code = ExitCode::Success;
  std::clock_t begin = std::clock();
  OwningOpRef<ModuleOp> module = loadModule(invocation, input, code);
  if (!module)
    return code;
  std::string pipeline;
  if (prints) {
    PassManager pm(&invocation.getContext(), ModuleOp::getOperationName());
    buildSessionPipeline(pm, *module);
    buildCompilePipeline(pm, output.empty() ? "" : (output + ".weights").str(),
                         options.target, options.features);
    llvm::raw_string_ostream os(pipeline);
    pm.printAsTextualPipeline(os);
    invocation.printText(pipeline + "\n");
    if (output.empty()) {
      invocation.printJson(llvm::json::Object{{"pipeline", pipeline}});
      return ExitCode::Success;
    }
  }
  FailureOr<CompileResult> result =
      compileModule(invocation, *module, options, input, code);
  if (failed(result))
    return code;
  // Of the processor: what else runs here is not the compiler's time.
  double seconds = double(std::clock() - begin) / CLOCKS_PER_SEC;
  invocation.progress() << output << ": " << result->kernels << " kernels, "
                        << result->codeBytes << " bytes of code, "
                        << result->weightBytes << " of weights, "
                        << llvm::format("%.1f", seconds) << " CPU seconds\n";
  llvm::json::Object object{{"output", output},
                            {"kernels", result->kernels},
                            {"seconds", seconds},
                            {"bytes", result->codeBytes + result->weightBytes}};
  if (prints)
    object["pipeline"] = pipeline;
  invocation.printJson(std::move(object));
  return ExitCode::Success;
}

const Command miura::driver::compileCommand = {"compile",
                                               R"(
Compiles a model of any level (an ONNX file is raised first) for a cpu. OUT.so
has the interface of miura-c/artifact.h and needs nothing installed; its weights
are in OUT.so.weights, which stays beside it. OUT.o is the same to be linked,
OUT.s the assembly to be read. `seconds` are the processor's.

A target is an architecture, then perhaps a cpu of it: cpu (this machine's
architecture), aarch64 or wasm32. Without a cpu it is this machine's, or what
every machine of another architecture has. A level of the table is a cpu too:
avx2, avx512vnni; neon, dotprod, i8mm; wasm-simd128. The library refuses to open
on a machine that lacks what the cpu has. For wasm32 it is OUT.wasm, which
imports nothing: examples/browser has a loader for browsers and Node.

Example:
  $ miura compile model.onnx -o model.so
  model.so: 19 kernels, 109408 bytes of code, 62249728 of weights, 1.0 CPU seconds
  $ miura compile model.onnx --target aarch64=cortex-a76 -o phone.so
  phone.so: 19 kernels, 89080 bytes of code, 60775168 of weights, 1.6 CPU seconds
)",
                                               run};
