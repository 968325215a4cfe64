// RUN: miura-opt %s --miura-form-session | FileCheck %s

// What grows with the place of a key does so over the slots of the cache.
// CHECK-LABEL: func.func @step(
// CHECK-SAME: %[[CACHE:[a-z0-9]+]]: tensor<?x2x?x4xf32> {miura.role = #miura.role<cache_key, layer = 0>}
// CHECK: %[[BIAS:.*]] = miura.linear_bias %[[CACHE]] slopes [2.500000e-01, 5.000000e-01] : tensor<?x2x?x4xf32> -> tensor<1x2x1x?xf32>
// CHECK: miura.cached_attention %{{.*}} mask %[[BIAS]] : tensor<1x2x1x?xf32> scale
func.func @bias(%ids: tensor<?x?xi64> {miura.role = #miura.role<tokens>}) -> (tensor<?x?x16xf32> {miura.role = #miura.role<logits>}) {
  %w = arith.constant dense<1.0> : tensor<16x8xf32>
  %x = miura.embedding %ids, %w id("e") : (tensor<?x?xi64>, tensor<16x8xf32>) -> tensor<?x?x8xf32>
  %h = miura.split_heads %x : tensor<?x?x8xf32> -> tensor<?x2x?x4xf32>
  %b = miura.linear_bias %h slopes [0.25, 0.5] : tensor<?x2x?x4xf32> -> tensor<1x2x1x?xf32>
  %a = miura.attention %h, %h, %h mask %b : tensor<1x2x1x?xf32> scale 0.5 causal
      : tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32> -> tensor<?x2x?x4xf32>
  %m = miura.merge_heads %a : tensor<?x2x?x4xf32> -> tensor<?x?x8xf32>
  %l = miura.linear %m, %w id("head") compute(f32, f32) : (tensor<?x?x8xf32>, tensor<16x8xf32>) -> tensor<?x?x16xf32>
  return %l : tensor<?x?x16xf32>
}
