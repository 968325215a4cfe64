// What the oracle has no loops for is refused by name, before inputs are read.

// RUN: %miura run %s --reference --inputs %t.nothing > %t.log 2>&1; test $? = 1
// RUN: FileCheck %s --check-prefix=TEXT < %t.log
// RUN: not %miura run %s --reference --inputs %t.nothing --json 2> %t.log | FileCheck %s --check-prefix=JSON
// TEXT: error: {{.*}}run-refused.mlir:[[#@LINE+5]]:{{[0-9]+}}: node 'n7' (Frobnicate) has no lowering (domain 'acme')
// TEXT-NOT: error
// JSON: {"error":"{{.*}}node 'n7' (Frobnicate) has no lowering (domain 'acme')","file":"{{.*}}run-refused.mlir","node":""}

func.func @main_graph(%x: tensor<4xf32> {miura.name = "x"}) -> (tensor<4xf32> {miura.name = "y"}) {
  %0 = miura.onnx_node "Frobnicate"(%x) domain("acme") name("n7") outputs(["y"]) : (tensor<4xf32>) -> tensor<4xf32>
  return %0 : tensor<4xf32>
}
