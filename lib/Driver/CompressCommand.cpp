//===- CompressCommand.cpp - miura compress -------------------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// `miura compress`: a model to the model level, the passes of a scheme or of
/// the user's own pipeline, and the bundle of what they leave. All that runs is
/// a textual pipeline which --print-pipeline shows.
///
//===----------------------------------------------------------------------===//

#include "Commands.h"
#include "Originals.h"
#include "ProgressBar.h"
#include "miura/Driver/Bundle.h"
#include "miura/Driver/Model.h"
#include "miura/Driver/Report.h"
#include "miura/Pipelines/Compile.h"
#include "miura/Pipelines/Schemes.h"
#include "miura/Tokenizer/Tokenizer.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Pass/PassRegistry.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"

using namespace mlir;
using namespace miura;
using namespace miura::driver;

static std::string listSchemes() {
  std::string text;
  for (const SchemeFamily &family : getSchemeFamilies())
    text += (text.empty() ? "" : ", ") + family.pattern.str();
  return text;
}

/// The passes that were asked for, without those that bring a model to its
/// level. False after a usage error.
static bool getPasses(Invocation &invocation, std::string &passes) {
  bool hasPipeline = invocation.has(OPT_pass_pipeline);
  const llvm::opt::InputArgList &arguments = invocation.getArguments();
  std::vector<std::string> include =
      arguments.getAllArgValues(OPT_include_layers);
  std::vector<std::string> exclude =
      arguments.getAllArgValues(OPT_exclude_layers);
  if (hasPipeline == invocation.has(OPT_scheme)) {
    invocation.failUsage("needs either --scheme (" + listSchemes() +
                         ") or --pass-pipeline");
    return false;
  }
  for (const std::string &glob : llvm::concat<std::string>(include, exclude))
    if (glob.empty() || llvm::StringRef(glob).find_first_of(", {}'\"") !=
                            llvm::StringRef::npos) {
      invocation.failUsage("'" + glob +
                           "' is no pattern of names: they have no spaces, "
                           "commas, braces or quotes; ? stands for any sign");
      return false;
    }
  if (!hasPipeline) {
    llvm::StringRef scheme = invocation.getString(OPT_scheme);
    llvm::Expected<std::string> found =
        getSchemePipeline(scheme, include, exclude);
    if (!found) {
      invocation.failUsage("--scheme: " + llvm::toString(found.takeError()));
      return false;
    }
    passes = *found;
    return true;
  }
  if (!include.empty() || !exclude.empty()) {
    invocation.failUsage("--include and --exclude belong to --scheme; in a "
                         "pipeline they are options of its passes");
    return false;
  }
  llvm::StringRef text = invocation.getString(OPT_pass_pipeline).trim();
  if (text.consume_front("builtin.module(") && !text.consume_back(")")) {
    invocation.failUsage("the pipeline '" + text + "' lacks a ')'");
    return false;
  }
  passes = text.str();
  return true;
}

/// Adds the whole pipeline to `pm`. False after a usage error.
static bool buildPipeline(Invocation &invocation, ModuleOp module,
                          llvm::StringRef passes, OpPassManager &pm) {
  OpPassManager asked(ModuleOp::getOperationName());
  std::string message;
  llvm::raw_string_ostream os(message);
  if (failed(parsePassPipeline(passes, asked, os))) {
    invocation.failUsage("in the pipeline '" + passes +
                         "': " + llvm::StringRef(message).rtrim());
    return false;
  }
  // A pipeline that was printed here says how it gets to the model level.
  bool raises = llvm::any_of(asked.getPasses(), [](Pass &pass) {
    return pass.getArgument() == "miura-raise";
  });
  if (!raises)
    buildModelPipeline(pm, module);
  if (failed(parsePassPipeline(passes, pm, os)))
    return false;
  // Equal trees become one; weights that nothing reads any more go.
  (void)parsePassPipeline("canonicalize,cse,symbol-dce,"
                          "miura-verify-level{level=compressed}",
                          pm, os);
  return true;
}

/// The tokenizer to put into the bundle: the one given, else the input's.
static bool getTokenizer(Invocation &invocation, llvm::StringRef input,
                         std::string &tokenizer) {
  tokenizer = invocation.getString(OPT_tokenizer).str();
  if (tokenizer.empty()) {
    if (llvm::sys::fs::is_directory(input))
      tokenizer = getBundleTokenizer(input);
    return true;
  }
  if (tokenizer == kBytesTokenizer ||
      llvm::sys::fs::is_regular_file(tokenizer)) {
    // Whether it is one is said now, not when the bundle is used.
    auto opened = Tokenizer::open(tokenizer);
    if (opened)
      return true;
    invocation.failInput(opened.takeError(), tokenizer);
    return false;
  }
  invocation.failInput("'" + tokenizer +
                           "' is no file; --tokenizer takes tokenizer.json, a "
                           "SentencePiece model, or bytes",
                       tokenizer);
  return false;
}

static ExitCode run(Invocation &invocation) {
  std::string input, passes, tokenizer;
  if (!invocation.getInput(input, "a model") || !getPasses(invocation, passes))
    return ExitCode::Usage;
  bool prints = invocation.has(OPT_print_pipeline);
  std::string output = invocation.getString(OPT_output).rtrim('/').str();
  if (output.empty() && !prints)
    return invocation.failUsage("needs -o with the name of a bundle to write");
  if (output == "-")
    return invocation.failUsage(
        "a bundle is a folder, and cannot go to standard output");
  if (!output.empty()) {
    // Before the work, not after it.
    if (llvm::Error error = checkBundlePlace(output))
      return invocation.failInput(std::move(error), output);
    invocation.setScratchFolder(output + ".weights");
  }
  if (!getTokenizer(invocation, input, tokenizer))
    return ExitCode::Input;

  ExitCode code = ExitCode::Success;
  OwningOpRef<ModuleOp> module = loadModule(invocation, input, code);
  if (!module)
    return code;
  if (invocation.has(OPT_original)) {
    code = restoreOriginals(invocation, *module, input,
                            invocation.getString(OPT_original));
    if (code != ExitCode::Success)
      return code;
  } else if (lacksOriginals(*module)) {
    return invocation.failInput(
        "the weights of '" + input +
            "' are compressed already, and what they were is only known by its "
            "digests; give the model that it was made from with --original, so "
            "that errors can be certified",
        input);
  }

  PassManager pm(&invocation.getContext(), ModuleOp::getOperationName());
  if (!buildPipeline(invocation, *module, passes, pm))
    return ExitCode::Usage;
  std::string pipeline;
  {
    llvm::raw_string_ostream os(pipeline);
    pm.printAsTextualPipeline(os);
  }
  if (prints)
    invocation.printText(pipeline + "\n");
  if (output.empty()) {
    invocation.printJson(llvm::json::Object{{"pipeline", pipeline}});
    return ExitCode::Success;
  }
  {
    ProgressBar bar(invocation);
    code = invocation.runPasses(pm, *module);
  }
  if (code != ExitCode::Success)
    return code;
  ModelReport report = makeReport(*module);
  if (report.layers.empty())
    return invocation.failInput(
        "the model has no layer whose weight can be compressed; 'miura "
        "inspect' shows what layers a model has",
        input);
  if (failed(writeBundle(*module, output, tokenizer, [&](int64_t bytes) {
        report = makeReport(*module, bytes);
        return toJson(report);
      })))
    return invocation.failReported("writing '" + output + "'");

  int64_t approximated = llvm::count_if(
      report.layers, [](const LayerReport &layer) { return layer.error; });
  invocation.progress() << output << ": " << approximated << " of "
                        << report.layers.size() << " layers compressed, "
                        << report.bytes << " bytes, "
                        << llvm::format("%.3f", report.getBitsPerWeight())
                        << " bits per weight\n";
  llvm::json::Object object = toJson(report);
  object["output"] = output;
  if (prints)
    object["pipeline"] = pipeline;
  invocation.printJson(std::move(object));
  return ExitCode::Success;
}

const Command miura::driver::compressCommand = {"compress",
                                                R"(
Rewrites the weights of a model (an ONNX file, MLIR down to the session level)
into cheaper expressions and writes a bundle: a folder with model.mlir,
weights.safetensors, report.json and the tokenizer. Each layer that was
rewritten has a certificate of its error; each that was kept is named in a
remark.

Schemes:
  wN    symmetric N-bit codes (2 to 8) in blocks of 32, f16 scales, embedding
        and head included
  wNa8  wN, and activations enter products as int8, one scale per token
  N%    the N percent of each weight that are smallest are dropped
  N:M   of every M successive weights of a row the N largest are kept
  svdN  products of rank N, factors in f16
  rN    what the steps before miss is added back as a product of rank N, factors
        in f16

A sum of schemes runs them in order: 50%+w4 prunes and gives what is kept 4-bit
codes, w4+r32 adds a product of rank 32 to 4-bit codes. Every error is certified
against the original weights.

A bundle can be compressed anew, from the weights that --original still has.

Example:
  $ miura compress model.onnx --scheme w4 -o model.miura
  model.miura: 44 of 44 layers compressed, 8648387 bytes, 4.554 bits per weight
)",
                                                run};
