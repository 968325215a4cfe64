//===- ImportCommand.cpp - miura import -----------------------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Reads an ONNX file and writes the onnx level: readable text that names the
/// weights' bytes and holds none.
///
//===----------------------------------------------------------------------===//

#include "Commands.h"
#include "Output.h"
#include "miura/Dialect/Miura/IR/MiuraDialect.h"
#include "miura/Import/ONNX/ImportOnnx.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/raw_ostream.h"

using namespace mlir;
using namespace miura;
using namespace miura::driver;

/// The file among `input` and those with the weights of `module` that `output`
/// is; empty if it is none.
static std::string getFileOf(ModuleOp module, const std::string &input,
                             const std::string &output) {
  if (llvm::sys::fs::equivalent(input, output))
    return input;
  llvm::StringSet<> seen;
  std::string found;
  module->walk([&](WeightDataOp data) {
    llvm::StringRef file =
        data.getBytes() ? data.getBytes()->getFile() : llvm::StringRef();
    if (!file.empty() && seen.insert(file).second &&
        llvm::sys::fs::equivalent(file, output))
      found = file.str();
  });
  return found;
}

static ExitCode run(Invocation &invocation) {
  std::string input;
  if (!invocation.getInput(input, "an ONNX file"))
    return ExitCode::Usage;
  std::string output = invocation.getString(OPT_output, "-").str();

  if (output != "-") {
    if (llvm::Error error = checkOutputFile(output))
      return invocation.failInput(std::move(error), output);
  }
  invocation.setCurrentFile(input);
  // What the file does not hold as plain bytes stays beside the text.
  if (!invocation.has(OPT_weights_dir))
    invocation.getContext()
        .getOrLoadDialect<MiuraDialect>()
        ->getWeightStore()
        .getFiles()
        .setWeightsFolder(output == "-" ? std::string("miura-weights")
                                        : output + ".weights");
  ImportOnnxOptions options;
  if (output != "-")
    options.metaPath = output + ".meta";
  OwningOpRef<ModuleOp> module =
      importOnnx(input, &invocation.getContext(), options);
  if (!module)
    return invocation.failReported("importing '" + input + "'");

  int64_t nodes = 0, weights = 0;
  module->walk([&](Operation *op) {
    nodes += op->getName().getStringRef() == "miura.onnx_node";
    weights += op->getName().getStringRef() == "miura.weight_data";
  });
  if (std::string taken = getFileOf(*module, input, output); !taken.empty())
    return invocation.failInput("cannot write '" + output +
                                "': the model's own data is in it; choose "
                                "another name");
  llvm::Error error =
      llvm::writeToOutput(output, [&](llvm::raw_ostream &os) -> llvm::Error {
        module->print(os);
        os << "\n";
        return llvm::Error::success();
      });
  if (error)
    return invocation.failInput(std::move(error), output);
  invocation.progress() << input << ": " << nodes << " nodes, " << weights
                        << " weights\n";
  if (output != "-")
    invocation.printJson(llvm::json::Object{
        {"output", output}, {"nodes", nodes}, {"weights", weights}});
  return ExitCode::Success;
}

const Command miura::driver::importCommand = {"import",
                                              R"(
Writes the file's graph one to one as MLIR; nothing is interpreted and nothing
lost: `miura-translate --export-onnx` gives an equal model back (fields may be
stored in another order). Weights stay
where they are: the text names their file, offset and length. Node and model
metadata go to OUT.mlir.meta.

Example:
  $ miura import model.onnx -o model.mlir
  model.onnx: 455 nodes, 43 weights
)",
                                              run};
