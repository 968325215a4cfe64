//===- Options.td - The options of the miura driver --------*- tablegen -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Every command of `miura` and every option with the commands that take it.
// One list, so that an option which several commands share is spelled and
// explained once. A value may follow as the next word or after `=`.
//
//===----------------------------------------------------------------------===//

include "llvm/Option/OptParser.td"

//===----------------------------------------------------------------------===//
// Commands
//===----------------------------------------------------------------------===//

def cmd_import : SubCommand<"import", "Read an ONNX file as MLIR",
    "miura import MODEL.onnx -o OUT.mlir">;
def cmd_inspect : SubCommand<"inspect", "Show a model's layers and what they weigh",
    "miura inspect MODEL [--json]">;
def cmd_compress : SubCommand<"compress", "Compress a model's weights into a bundle",
    "miura compress MODEL --scheme NAME -o OUT.miura">;
def cmd_compile : SubCommand<"compile", "Compile a model to a shared library",
    "miura compile MODEL [--target TARGET] -o OUT.so">;
def cmd_run : SubCommand<"run", "Run a model on its file's inputs",
    "miura run MODEL --inputs DIR [--check] [--save DIR] [--reference]">;
def cmd_bench : SubCommand<"bench", "Measure how fast a model runs here",
    "miura bench MODEL [--prompt-tokens N] [--new-tokens N]">;
def cmd_generate : SubCommand<"generate", "Let a model continue a text",
    "miura generate MODEL --tokenizer T --prompt TEXT [--tokens N] "
    "[--temperature X] [--top-k K] [--top-p P] [--seed N] [--stop ID]">;
def cmd_eval : SubCommand<"eval", "Measure how well a model predicts a text",
    "miura eval MODEL --text FILE --tokenizer T [--context N] "
    "[--windows N | --documents [A:]N] [--bos ID|none] [--separator S] "
    "[--against REFERENCE]">;
// Hidden: how our own failures are reported, for tests.
def cmd_selftest : SubCommand<"self-test", "Fail in a given way",
    "miura self-test MODEL.mlir --failure=KIND">;

// The commands that run a model.
defvar all = [
  cmd_import,
  cmd_inspect,
  cmd_compress,
  cmd_compile,
  cmd_run,
  cmd_generate,
  cmd_eval,
  cmd_bench,
  cmd_selftest,
];

defvar writing = [cmd_import, cmd_compress, cmd_compile];
// The commands that cut a text into sequences of tokens.
defvar reading = [cmd_eval];

//===----------------------------------------------------------------------===//
// Helpers
//===----------------------------------------------------------------------===//

// An option whose values add up. Any other is given once.
def Repeatable : OptionFlag;

class F<string name, string help, list<SubCommand> commands>
    : Flag<["--"], name, commands>, HelpText<help>;

// A value after a space or after `=`.
multiclass V<string name, string metavar, string help,
             list<SubCommand> commands, list<OptionFlag> flags = []> {
  def NAME : Separate<["--"], name, commands>, MetaVarName<metavar>,
             HelpText<help>, Flags<flags>;
  def NAME#_eq : Joined<["--"], name#"=", commands>,
                 Alias<!cast<Option>(NAME)>;
}

//===----------------------------------------------------------------------===//
// Options of every command
//===----------------------------------------------------------------------===//

def help : F<"help", "Print this text", all>;
def help_h : Flag<["-"], "h", all>, Alias<help>;
def json : F<"json", "Print one JSON object on standard output", all>;
def quiet : F<"quiet", "Print no progress, remarks or warnings", all>;
defm threads : V<"threads", "N", "Use N threads (default: one per processor)",
                 all>;

//===----------------------------------------------------------------------===//
// Options of some
//===----------------------------------------------------------------------===//

def output : JoinedOrSeparate<["-"], "o", writing>,
    MetaVarName<"FILE">, HelpText<"Write to FILE (import: - is standard output)">;
def output_short_eq : Joined<["-"], "o=", writing>, Alias<output>;
def output_long : Separate<["--"], "output", writing>, Alias<output>;
def output_eq : Joined<["--"], "output=", writing>, Alias<output>;

defm weights_dir : V<"weights-dir", "DIR",
    "Keep tensors that are made on the way in DIR (import: default OUT.weights; "
    "otherwise a temporary folder)", writing>;

defm scheme : V<"scheme", "NAME",
    "How to compress: a name that is short for passes, see below", [cmd_compress]>;
defm pass_pipeline : V<"pass-pipeline", "TEXT",
    "Compress with these passes instead, as miura-opt takes them, with or "
    "without builtin.module(...) around", [cmd_compress]>;
defm include_layers : V<"include", "GLOB",
    "Compress only layers of such ids or module paths (may be repeated)", [cmd_compress],
    [Repeatable]>;
defm exclude_layers : V<"exclude", "GLOB",
    "Keep layers of such ids or module paths as they are (may be repeated)", [cmd_compress],
    [Repeatable]>;
defm original : V<"original", "MODEL",
    "The model that a bundle was made from, to compress it anew", [cmd_compress]>;
def print_pipeline : F<"print-pipeline",
    "Print the passes that run, as miura-opt takes them; without -o nothing "
    "else is done", [cmd_compress, cmd_compile]>;

defm target : V<"target", "TARGET",
    "cpu[=NAME] of this machine's architecture, aarch64[=NAME] or "
    "wasm32[=NAME]; NAME is a level of the table of instruction sets or one of "
    "LLVM's cpus (default: this machine's)", [cmd_compile]>;

defm inputs : V<"inputs", "DIR",
    "Run on the tensors in DIR (or FILE.npz); may be given several times",
    [cmd_run], [Repeatable]>;
defm save : V<"save", "DIR", "Write outputs to DIR/output_M.npy", [cmd_run]>;
def check : F<"check", "Compare with the stored outputs", [cmd_run]>;
defm rtol : V<"rtol", "X",
    "Let an output differ by X of its norm (default: 1e-4)", [cmd_run]>;
def reference : F<"reference", "Run the oracle, plain loops without kernels",
                  [cmd_run]>;
def no_raise : F<"no-raise",
    "With --reference: run the file's nodes as they are", [cmd_run]>;
defm prompt_tokens : V<"prompt-tokens", "N",
    "Tokens of the prompt (default: 128)", [cmd_bench]>;
defm new_tokens : V<"new-tokens", "N",
    "Tokens written after it (default: 64)", [cmd_bench]>;
defm rounds : V<"rounds", "N", "Rounds to take medians of (default: 7)",
                [cmd_bench]>;
defm tokenizer : V<"tokenizer", "T",
    "A SentencePiece file .model, a tokenizer.json, or the word bytes (default: "
    "the bundle's); compress puts it into the bundle",
    !listconcat([cmd_compress, cmd_generate], reading)>;
defm prompt : V<"prompt", "TEXT", "The text to continue", [cmd_generate]>;
defm tokens : V<"tokens", "N", "Stop after N tokens (default: 256)",
                [cmd_generate]>;
defm temperature : V<"temperature", "X",
    "Draw tokens at random, from probabilities of logits / X; 0 takes the most "
    "probable (default: 0, or 1 with --top-k, --top-p or --seed)",
    [cmd_generate]>;
defm top_k : V<"top-k", "K", "Draw from the K most probable tokens",
               [cmd_generate]>;
defm top_p : V<"top-p", "P",
    "Draw from the most probable tokens that together have probability P",
    [cmd_generate]>;
defm seed : V<"seed", "N", "Draw other tokens (default: 0)", [cmd_generate]>;
defm stop : V<"stop", "ID",
    "Stop at this token too; may be given several times", [cmd_generate],
    [Repeatable]>;

defm text : V<"text", "FILE", "The text (-: standard input)", reading>;
defm context : V<"context", "N",
    "Tokens of a window, or of a document at most (default: the model's, at "
    "most 2048)", reading>;
defm windows : V<"windows", "N", "Take the first N windows of the text",
                 reading>;
defm documents : V<"documents", "[A:]N",
    "Take N documents from number A (default: 0) on, each on its own", reading>;
defm separator : V<"separator", "S",
    "What stands between documents (default: <|endoftext|>)", reading>;
defm bos : V<"bos", "ID|none",
    "The token that the text or each document begins with (default: as the "
    "tokenizer has it)", reading>;
defm against : V<"against", "REFERENCE",
    "Compare with this model: KL divergence and agreement of the best token",
    [cmd_eval]>;

defm failure : V<"failure", "KIND",
    "crash, invalid (broken IR) or input (a fault of the file)", [cmd_selftest]>;
