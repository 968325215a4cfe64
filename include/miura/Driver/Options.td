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
def cmd_compile : SubCommand<"compile", "Compile a model to a shared library",
    "miura compile MODEL [--target TARGET] -o OUT.so">;
def cmd_run : SubCommand<"run", "Run a model on its file's inputs",
    "miura run MODEL --inputs DIR [--check] [--save DIR] [--reference]">;
// Hidden: how our own failures are reported, for tests.
def cmd_selftest : SubCommand<"self-test", "Fail in a given way",
    "miura self-test MODEL.mlir --failure=KIND">;

// The commands that run a model.
defvar all = [cmd_import, cmd_compile, cmd_run, cmd_selftest];

//===----------------------------------------------------------------------===//
// Helpers
//===----------------------------------------------------------------------===//

class F<string name, string help, list<SubCommand> commands>
    : Flag<["--"], name, commands>, HelpText<help>;

// A value after a space or after `=`.
multiclass V<string name, string metavar, string help,
             list<SubCommand> commands> {
  def NAME : Separate<["--"], name, commands>, MetaVarName<metavar>,
             HelpText<help>;
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

def output : JoinedOrSeparate<["-"], "o", [cmd_import, cmd_compile]>,
    MetaVarName<"FILE">, HelpText<"Write to FILE (-: standard output)">;
def output_long : Separate<["--"], "output", [cmd_import, cmd_compile]>, Alias<output>;

defm target : V<"target", "TARGET",
    "cpu or cpu=NAME: a row of the table of instruction sets or one of LLVM's "
    "cpus (default: this machine's)", [cmd_compile]>;

defm inputs : V<"inputs", "DIR",
    "Run on the tensors in DIR (or FILE.npz); may be given several times",
    [cmd_run]>;
defm save : V<"save", "DIR", "Write outputs to DIR/output_M.npy", [cmd_run]>;
def check : F<"check", "Compare with the stored outputs", [cmd_run]>;
defm rtol : V<"rtol", "X",
    "Let an output differ by X of its norm (default: 1e-4)", [cmd_run]>;
def reference : F<"reference", "Run the oracle, plain loops without kernels",
                  [cmd_run]>;
def no_raise : F<"no-raise",
    "With --reference: run the file's nodes as they are", [cmd_run]>;

defm failure : V<"failure", "KIND",
    "crash, invalid (broken IR) or input (a fault of the file)", [cmd_selftest]>;
