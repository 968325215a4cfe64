// RUN: miura-opt %s | miura-opt | FileCheck %s

// CHECK: miura.weight_data private @q = bytes<"a.bin", offset = 0, length = 64> : tensor<4x4xf32>
miura.weight_data private @q = bytes<"a.bin", offset = 0, length = 64> : tensor<4x4xf32>

// CHECK-LABEL: func.func @expression
// CHECK-SAME: tensor<?x?xi64, #miura.dims<"batch", "past + sequence">> {miura.role = #miura.role<cache_key, layer = 3>}
func.func @expression(%x: tensor<?x?x4xf32>, %codes: tensor<4x4xi4>, %scales: tensor<4x2xf16>,
                      %m: tensor<?x?xi64, #miura.dims<"batch", "past + sequence">> {miura.role = #miura.role<cache_key, layer = 3>})
    -> tensor<?x?x4xf32> {
  // CHECK: %[[W:.*]] = miura.weight @q : tensor<4x4xf32>
  %w = miura.weight @q : tensor<4x4xf32>
  // CHECK: %[[T:.*]] = miura.transpose %[[W]] : tensor<4x4xf32> -> tensor<4x4xf32>
  %t = miura.transpose %w : tensor<4x4xf32> -> tensor<4x4xf32>
  // CHECK: miura.approximate %[[T]] of @q certificate <error = 1.000000e-01 : f64, original = "0f", tree = "a3"> : tensor<4x4xf32>
  %a = miura.approximate %t of @q certificate <error = 0.1 : f64, original = "0f", tree = "a3"> : tensor<4x4xf32>
  // CHECK: miura.linear %{{.*}}, %{{.*}} id("q_proj") compute(i8, f32, block = 32)
  %y = miura.linear %x, %a id("q_proj") compute(i8, f32, block = 32) : (tensor<?x?x4xf32>, tensor<4x4xf32>) -> tensor<?x?x4xf32>
  return %y : tensor<?x?x4xf32>
}

// CHECK-LABEL: func.func @node
func.func @node(%x: tensor<4xf32>) -> tensor<4xf32> {
  // CHECK: miura.onnx_node "If"(%{{.*}}) {axis = 1 : si64} domain("d") version(18) name("n") outputs(["q"])
  // CHECK-SAME: : (tensor<4xf32>) -> tensor<4xf32> regions("then_branch" {
  // CHECK: miura.onnx_yield %{{.*}} : tensor<4xf32>
  %y = miura.onnx_node "If"(%x) {axis = 1 : si64} domain("d") version(18) name("n") outputs(["q"])
      : (tensor<4xf32>) -> tensor<4xf32> regions("then_branch" { miura.onnx_yield %x : tensor<4xf32> })
  return %y : tensor<4xf32>
}
