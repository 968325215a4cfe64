// A node that contradicts its operator is the file's fault (exit code 1), named once, whatever else depends on it.

// RUN: %miura run %s --reference --inputs %t.nothing > %t.log 2>&1; test $? = 1
// RUN: FileCheck %s < %t.log
// CHECK: error: {{.*}}node 'n7' (MatMulNBits) has codes of 3 bits
// CHECK-NOT: error

func.func @main_graph(%x: tensor<?x32xf32, #miura.dims<"b", "">> {miura.name = "x"}) -> (tensor<?x2xf32, #miura.dims<"b", "">> {miura.name = "y"}) {
  %w = arith.constant dense<7> : tensor<2x1x12xui8>
  %s = arith.constant dense<0.5> : tensor<2xf32>
  %y = miura.onnx_node "MatMulNBits"(%x, %w, %s) {K = 32 : si64, N = 2 : si64, bits = 3 : si64, block_size = 32 : si64} domain("com.microsoft") version(1) name("n7") outputs(["y"])
    : (tensor<?x32xf32, #miura.dims<"b", "">>, tensor<2x1x12xui8>, tensor<2xf32>) -> tensor<?x2xf32, #miura.dims<"b", "">>
  return %y : tensor<?x2xf32, #miura.dims<"b", "">>
}
