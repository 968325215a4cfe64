// RUN: miura-opt %s -miura-to-linalg -split-input-file | FileCheck %s

// One reduction over the columns; dynamic batch and sequence come from x.
// CHECK-LABEL: func @linear
// CHECK-SAME: %[[X:.*]]: tensor<?x?x8xf32>, %[[W:.*]]: tensor<4x8xf32>
// CHECK: linalg.generic
// CHECK-SAME: iterator_types = ["parallel", "parallel", "parallel", "reduction"]
// CHECK-SAME: ins(%[[X]], %[[W]] :
// CHECK: arith.mulf
// CHECK: arith.addf
// CHECK-NOT: miura.linear
func.func @linear(%x: tensor<?x?x8xf32>, %w: tensor<4x8xf32>) -> tensor<?x?x4xf32> {
  %y = miura.linear %x, %w id("w") compute(f32, f32) : (tensor<?x?x8xf32>, tensor<4x8xf32>) -> tensor<?x?x4xf32>
  return %y : tensor<?x?x4xf32>
}

// -----

// Activations in f16 are rounded before they enter, and summed in f32.
// CHECK-LABEL: func @linear_f16
// CHECK: ^bb0(%[[A:.*]]: f32, %[[B:.*]]: f32, %[[C:.*]]: f32):
// CHECK: %[[ROUNDED:.*]] = arith.truncf %[[A]] : f32 to f16
// CHECK: %[[WIDE:.*]] = arith.extf %[[ROUNDED]] : f16 to f32
// CHECK: arith.mulf %[[WIDE]], %[[B]]
func.func @linear_f16(%x: tensor<?x8xf32>, %w: tensor<4x8xf32>) -> tensor<?x4xf32> {
  %y = miura.linear %x, %w id("w") compute(f16, f32) : (tensor<?x8xf32>, tensor<4x8xf32>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// -----

// CHECK-LABEL: func @linear_int8
// CHECK: math.absf
// CHECK: math.roundeven
func.func @linear_int8(%x: tensor<?x8xf32>, %w: tensor<4x8xf32>) -> tensor<?x4xf32> {
  %y = miura.linear %x, %w id("w") compute(i8, f32, block = 4) : (tensor<?x8xf32>, tensor<4x8xf32>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// -----

// Symbolic dimensions go, in signatures too.
// CHECK-LABEL: func @dims
// CHECK-SAME: %{{.*}}: tensor<?xf32>) -> tensor<?xf32>
func.func @dims(%x: tensor<?xf32, #miura.dims<"n">>) -> tensor<?xf32, #miura.dims<"n">> {
  %y = miura.silu %x : tensor<?xf32, #miura.dims<"n">>
  return %y : tensor<?xf32, #miura.dims<"n">>
}

// -----

// Query head h reads key head h / 2.
// CHECK: affine_map<(d0, d1, d2, d3, d4) -> (d0, d1 floordiv 2, d3, d4)>
// CHECK-LABEL: func @grouped
// CHECK-NOT: miura.attention
func.func @grouped(%q: tensor<?x4x?x8xf32>, %k: tensor<?x2x?x8xf32>, %v: tensor<?x2x?x8xf32>) -> tensor<?x4x?x8xf32> {
  %y = miura.attention %q, %k, %v scale 0.5 causal : tensor<?x4x?x8xf32>, tensor<?x2x?x8xf32>, tensor<?x2x?x8xf32> -> tensor<?x4x?x8xf32>
  return %y : tensor<?x4x?x8xf32>
}

// -----

// Weight expressions are not its business.
// CHECK-LABEL: func @weights_stay
// CHECK: miura.matmul
func.func @weights_stay(%x: tensor<?x8xf32>, %l: tensor<4x2xf32>, %r: tensor<2x8xf32>) -> tensor<?x4xf32> {
  %w = miura.matmul %l, %r : tensor<4x2xf32>, tensor<2x8xf32> -> tensor<4x8xf32>
  %y = miura.linear %x, %w id("w") compute(f32, f32) : (tensor<?x8xf32>, tensor<4x8xf32>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}
