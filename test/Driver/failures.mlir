// How failures are told apart: the input's fault is exit code 1 and no
// reproducer; ours is 3 and a reproducer that miura-opt reads.

// RUN: rm -rf %t && mkdir %t
// RUN: env TMPDIR=%t %miura self-test %s --failure=input > %t/out 2>&1; test $? = 1
// RUN: FileCheck %s --check-prefix=INPUT < %t/out
// INPUT: miura: error: {{.*}}failures.mlir:[[#]]:1: the module is refused, as asked for
// INPUT-NOT: reproducer
// RUN: not ls %t/*.mlir

// RUN: env TMPDIR=%t %miura self-test %s --failure=input --json --quiet > %t/out 2> /dev/null; test $? = 1
// RUN: FileCheck %s --check-prefix=JSON < %t/out
// JSON: {"error":"{{.*}}the module is refused, as asked for","file":"{{.*}}failures.mlir","node":""}

// RUN: env TMPDIR=%t %miura self-test %s --failure=silent > %t/out 2>&1; test $? = 3
// RUN: FileCheck %s --check-prefix=SILENT < %t/out
// SILENT: miura: error: a pass failed without a message; this is a fault of miura; reproducer: {{.*}}miura-self-test-{{.*}}.mlir

// RUN: env TMPDIR=%t %miura self-test %s --failure=invalid --json > %t/out 2> /dev/null; test $? = 3
// RUN: FileCheck %s --check-prefix=INVALID < %t/out
// INVALID: {"error":"a pass left invalid IR; this is a fault of miura; reproducer: {{.*}}.mlir","file":"","node":""}

// RUN: rm %t/*.mlir
// RUN: env TMPDIR=%t %miura self-test %s --failure=crash > %t/out 2>&1; test $? = 3
// RUN: FileCheck %s --check-prefix=CRASH < %t/out
// CRASH: miura: error: a pass crashed; this is a fault of miura; reproducer: {{.*}}.mlir
// RUN: FileCheck %s --check-prefix=REPRODUCER < %t/miura-self-test-*.mlir
// REPRODUCER: func.func @kept
// REPRODUCER: pipeline: "builtin.module(miura-self-test{failure=crash})"

module {
  func.func @kept() {
    return
  }
}
