// RUN: miura-opt %s --miura-form-session --split-input-file | FileCheck %s

// CHECK-LABEL: func.func @step_all
// CHECK-SAME: %[[TOKENS:[a-z0-9]+]]: tensor<?x?xi64> {miura.role = #miura.role<tokens>}, %{{.*}}: tensor<?x?xi64> {miura.role = #miura.role<positions>}
// CHECK-SAME: %[[PADDING:[a-z0-9]+]]: tensor<?x?xi8> {miura.role = #miura.role<mask>}, %[[LENGTHS:[a-z0-9]+]]: tensor<?xi64> {miura.role = #miura.role<lengths>}
// CHECK-SAME: %[[K:[a-z0-9]+]]: tensor<?x2x?x4xf32> {miura.role = #miura.role<cache_key, layer = 0>}
// CHECK-SAME: %[[V:[a-z0-9]+]]: tensor<?x2x?x4xf32> {miura.role = #miura.role<cache_value, layer = 0>}
// CHECK-SAME: -> (tensor<?x?x16xf32> {miura.role = #miura.role<logits>}, tensor<?x2x?x4xf32> {miura.role = #miura.role<cache_key, layer = 0>}
// CHECK: %[[X:.*]] = miura.embedding %[[TOKENS]]
// CHECK: %[[H:.*]] = miura.split_heads %[[X]]
// CHECK: %[[NK:.*]] = miura.cache_append %[[H]] at %[[LENGTHS]] into %[[K]]
// CHECK: %[[NV:.*]] = miura.cache_append %[[H]] at %[[LENGTHS]] into %[[V]]
// CHECK: miura.cached_attention %[[H]], %[[NK]], %[[NV]] at %[[LENGTHS]] padding %[[PADDING]] : tensor<?x?xi8> scale 5.000000e-01 causal
// CHECK: %[[L:.*]] = miura.linear
// CHECK: return %[[L]], %[[NK]], %[[NV]]

// The head is computed for one position.
// CHECK-LABEL: func.func @step
// CHECK: %[[M:.*]] = miura.merge_heads
// CHECK: %[[LAST:.*]] = miura.take_last %[[M]], %{{.*}} : tensor<?x?x8xf32>, tensor<?xi64> -> tensor<?x1x8xf32>
// CHECK: %[[N:.*]] = miura.rms_norm %[[LAST]]
// CHECK: miura.linear %[[N]], %{{.*}} : (tensor<?x1x8xf32>, tensor<16x8xf32>) -> tensor<?x1x16xf32>
// CHECK-NOT: @main_graph
func.func @main_graph(%ids: tensor<?x?xi64> {miura.role = #miura.role<tokens>},
                      %mask: tensor<?x?xi64> {miura.role = #miura.role<mask>},
                      %pk: tensor<?x2x?x4xf32> {miura.role = #miura.role<cache_key, layer = 0>},
                      %pv: tensor<?x2x?x4xf32> {miura.role = #miura.role<cache_value, layer = 0>})
    -> (tensor<?x?x16xf32> {miura.role = #miura.role<logits>}, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>) {
  %w = arith.constant dense<1.0> : tensor<16x8xf32>
  %g = arith.constant dense<1.0> : tensor<8xf32>
  %x = miura.embedding %ids, %w id("e") : (tensor<?x?xi64>, tensor<16x8xf32>) -> tensor<?x?x8xf32>
  %h = miura.split_heads %x : tensor<?x?x8xf32> -> tensor<?x2x?x4xf32>
  %k = tensor.concat dim(2) %pk, %h : (tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>) -> tensor<?x2x?x4xf32>
  %v = tensor.concat dim(2) %pv, %h : (tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>) -> tensor<?x2x?x4xf32>
  %a = miura.attention %h, %k, %v padding %mask : tensor<?x?xi64> scale 0.5 causal
      : tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32> -> tensor<?x2x?x4xf32>
  %m = miura.merge_heads %a : tensor<?x2x?x4xf32> -> tensor<?x?x8xf32>
  %n = miura.rms_norm %m, %g epsilon 1.0e-5 : tensor<?x?x8xf32>, tensor<8xf32>
  %l = miura.linear %n, %w id("head") compute(f32, f32) : (tensor<?x?x8xf32>, tensor<16x8xf32>) -> tensor<?x?x16xf32>
  return %l, %k, %v : tensor<?x?x16xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>
}

// -----

// A decoder without a cache gets one.
// CHECK-LABEL: func.func @step_all
// CHECK-SAME: tensor<?x2x?x4xf32> {miura.role = #miura.role<cache_key, layer = 0>}
// CHECK: miura.cached_attention
func.func @without_cache(%ids: tensor<?x?xi64> {miura.role = #miura.role<tokens>})
    -> (tensor<?x?x8xf32> {miura.role = #miura.role<logits>}) {
  %w = arith.constant dense<1.0> : tensor<16x8xf32>
  %x = miura.embedding %ids, %w id("e") : (tensor<?x?xi64>, tensor<16x8xf32>) -> tensor<?x?x8xf32>
  %h = miura.split_heads %x : tensor<?x?x8xf32> -> tensor<?x2x?x4xf32>
  %a = miura.attention %h, %h, %h scale 0.5 causal
      : tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32> -> tensor<?x2x?x4xf32>
  %m = miura.merge_heads %a : tensor<?x2x?x4xf32> -> tensor<?x?x8xf32>
  return %m : tensor<?x?x8xf32>
}
