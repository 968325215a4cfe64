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

// CHECK-LABEL: func.func @experts
func.func @experts(%x: tensor<?x4xf32>, %w: tensor<3x8x4xf32>, %e: tensor<?xi64>, %b: tensor<3x8xf32>) -> tensor<?x8xf32> {
  // CHECK: miura.expert_linear %{{.*}}, %{{.*}} at %{{.*}}, %{{.*}} id("up") compute <f32, f32> : (tensor<?x4xf32>, tensor<3x8x4xf32>, tensor<?xi64>, tensor<3x8xf32>) -> tensor<?x8xf32>
  %y = miura.expert_linear %x, %w at %e, %b id("up") compute <f32, f32>
      : (tensor<?x4xf32>, tensor<3x8x4xf32>, tensor<?xi64>, tensor<3x8xf32>) -> tensor<?x8xf32>
  // CHECK: miura.silu %{{.*}} {alpha = 1.702000e+00 : f64} : tensor<?x8xf32>
  %z = miura.silu %y {alpha = 1.702 : f64} : tensor<?x8xf32>
  // CHECK: miura.fake_quantize %{{.*}} to <ui8, scale = 5.000000e-02 : f32, zero = 128> : tensor<?x8xf32>
  %rounded = miura.fake_quantize %z to <ui8, scale = 0.05 : f32, zero = 128> : tensor<?x8xf32>
  return %z : tensor<?x8xf32>
}

// CHECK-LABEL: func.func @positions
func.func @positions(%ids: tensor<?x?xi64>, %past: tensor<?x2x?x4xf32>, %table: tensor<9x4xf32>, %lengths: tensor<?xi64>,
                     %mask: tensor<?x?xi64>) -> tensor<?x?x4xf32> {
  // CHECK: miura.positions %{{.*}} : tensor<?x?xi64> -> tensor<?x?xi64>
  %p = miura.positions %ids : tensor<?x?xi64> -> tensor<?x?xi64>
  // CHECK: miura.positions %{{.*}} after %{{.*}} : tensor<?x2x?x4xf32> : tensor<?x?xi64> -> tensor<?x?xi64>
  %q = miura.positions %ids after %past : tensor<?x2x?x4xf32> : tensor<?x?xi64> -> tensor<?x?xi64>
  // CHECK: miura.linear_bias %{{.*}} slopes [2.500000e-01, 5.000000e-01] : tensor<?x2x?x4xf32> -> tensor<1x2x1x?xf32>
  %b = miura.linear_bias %past slopes [0.25, 0.5] : tensor<?x2x?x4xf32> -> tensor<1x2x1x?xf32>
  // CHECK: miura.take_new %{{.*}} for %{{.*}} : tensor<?x?xi64>, tensor<?x?xi64> -> tensor<?x?xi64>
  %n = miura.take_new %mask for %ids : tensor<?x?xi64>, tensor<?x?xi64> -> tensor<?x?xi64>
  // CHECK: miura.take_new %{{.*}} for %{{.*}} at %{{.*}} : tensor<?xi64> : tensor<?x?xi64>, tensor<?x?xi64> -> tensor<?x?xi64>
  %o = miura.take_new %mask for %ids at %lengths : tensor<?xi64> : tensor<?x?xi64>, tensor<?x?xi64> -> tensor<?x?xi64>
  // CHECK: miura.take_rows %{{.*}}, %{{.*}} : (tensor<?x?xi64>, tensor<9x4xf32>) -> tensor<?x?x4xf32>
  %r = miura.take_rows %q, %table : (tensor<?x?xi64>, tensor<9x4xf32>) -> tensor<?x?x4xf32>
  return %r : tensor<?x?x4xf32>
}

// CHECK-LABEL: func.func @attention
func.func @attention(%q: tensor<?x4x?x8xf32>, %k: tensor<?x2x?x8xf32>, %m: tensor<?x4x1x?xf32>, %s: tensor<4xf32>,
                     %lengths: tensor<?xi64>) -> tensor<?x4x?x8xf32> {
  // CHECK: miura.attention {{.*}} mask %{{.*}} : tensor<?x4x1x?xf32> sinks %{{.*}} : tensor<4xf32> scale 5.000000e-01 causal {window = 3 : i64}
  %a = miura.attention %q, %k, %k mask %m : tensor<?x4x1x?xf32> sinks %s : tensor<4xf32> scale 0.5 causal {window = 3 : i64}
      : tensor<?x4x?x8xf32>, tensor<?x2x?x8xf32>, tensor<?x2x?x8xf32> -> tensor<?x4x?x8xf32>
  // CHECK: miura.cached_attention {{.*}} at %{{.*}} mask %{{.*}} : tensor<?x4x1x?xf32> sinks %{{.*}} : tensor<4xf32> scale 5.000000e-01 causal
  %b = miura.cached_attention %a, %k, %k at %lengths mask %m : tensor<?x4x1x?xf32> sinks %s : tensor<4xf32> scale 0.5 causal
      : tensor<?x4x?x8xf32>, tensor<?x2x?x8xf32>, tensor<?x2x?x8xf32>, tensor<?xi64> -> tensor<?x4x?x8xf32>
  return %b : tensor<?x4x?x8xf32>
}
