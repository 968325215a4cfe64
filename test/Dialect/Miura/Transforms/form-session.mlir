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

// -----

// Positions that the model counts are the session's; a mask over keys and the
// new tokens' part of something said of every key are computed over the slots.
// CHECK-LABEL: func.func @step_all
// CHECK-SAME: %[[TOKENS:[a-z0-9]+]]: tensor<?x?xi64> {miura.role = #miura.role<tokens>}, %[[POSITIONS:[a-z0-9]+]]: tensor<?x?xi64>
// CHECK-SAME: %[[PADDING:[a-z0-9]+]]: tensor<?x?xi8> {miura.role = #miura.role<mask>}, %[[LENGTHS:[a-z0-9]+]]: tensor<?xi64> {miura.role = #miura.role<lengths>}
// CHECK: %[[ALL:.*]] = arith.extui %[[PADDING]]
// CHECK: miura.embedding %[[POSITIONS]]
// CHECK: miura.take_new %[[ALL]] for %[[TOKENS]] at %[[LENGTHS]] : tensor<?xi64>
// CHECK: %[[MASK:.*]] = tensor.expand_shape
// CHECK: miura.cached_attention {{.*}} at %[[LENGTHS]] mask %[[MASK]] : tensor<?x1x1x?xf32> padding %[[PADDING]] : tensor<?x?xi8> sinks
func.func @positions(%ids: tensor<?x?xi64> {miura.role = #miura.role<tokens>},
                     %mask: tensor<?x?xi64> {miura.role = #miura.role<mask>})
    -> (tensor<?x?x8xf32> {miura.role = #miura.role<logits>}) {
  %w = arith.constant dense<1.0> : tensor<16x8xf32>
  %s = arith.constant dense<1.0> : tensor<2xf32>
  %x = miura.embedding %ids, %w id("e") : (tensor<?x?xi64>, tensor<16x8xf32>) -> tensor<?x?x8xf32>
  %at = miura.positions %ids : tensor<?x?xi64> -> tensor<?x?xi64>
  %p = miura.embedding %at, %w id("p") : (tensor<?x?xi64>, tensor<16x8xf32>) -> tensor<?x?x8xf32>
  %new = miura.take_new %mask for %ids : tensor<?x?xi64>, tensor<?x?xi64> -> tensor<?x?xi64>
  %q = miura.embedding %new, %w id("q") : (tensor<?x?xi64>, tensor<16x8xf32>) -> tensor<?x?x8xf32>
  %y = arith.addf %x, %p : tensor<?x?x8xf32>
  %z = arith.addf %y, %q : tensor<?x?x8xf32>
  %h = miura.split_heads %z : tensor<?x?x8xf32> -> tensor<?x2x?x4xf32>
  %f = arith.sitofp %mask : tensor<?x?xi64> to tensor<?x?xf32>
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %b = tensor.dim %f, %c0 : tensor<?x?xf32>
  %k = tensor.dim %f, %c1 : tensor<?x?xf32>
  %m4 = tensor.expand_shape %f [[0, 1, 2], [3]] output_shape [%b, 1, 1, %k] : tensor<?x?xf32> into tensor<?x1x1x?xf32>
  %a = miura.attention %h, %h, %h mask %m4 : tensor<?x1x1x?xf32> padding %mask : tensor<?x?xi64> sinks %s : tensor<2xf32> scale 0.5 causal
      : tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32> -> tensor<?x2x?x4xf32>
  %m = miura.merge_heads %a : tensor<?x2x?x4xf32> -> tensor<?x?x8xf32>
  return %m : tensor<?x?x8xf32>
}

// -----

// Positions are looked up in tables: the shorter one, of 40 rows of which the first two are for padding, is the limit.
// CHECK: module attributes {miura.context = 38 : i64}
func.func @main_graph(%ids: tensor<?x?xi64> {miura.role = #miura.role<tokens>},
                      %pos: tensor<?x?xi64> {miura.role = #miura.role<positions>})
    -> (tensor<?x?x16xf32> {miura.role = #miura.role<logits>}) {
  %w = arith.constant dense<1.0> : tensor<16x8xf32>
  %p = arith.constant dense<1.0> : tensor<40x8xf32>
  %t = arith.constant dense<1.0> : tensor<64x4xf32>
  %two = arith.constant dense<2> : tensor<i64>
  %x = miura.embedding %ids, %w id("e") : (tensor<?x?xi64>, tensor<16x8xf32>) -> tensor<?x?x8xf32>
  %i = miura.onnx_node "Add"(%two, %pos) version(14) outputs(["i"]) : (tensor<i64>, tensor<?x?xi64>) -> tensor<?x?xi64>
  %q = miura.embedding %i, %p id("p") : (tensor<?x?xi64>, tensor<40x8xf32>) -> tensor<?x?x8xf32>
  %s = arith.addf %x, %q : tensor<?x?x8xf32>
  %c = miura.take_rows %pos, %t : (tensor<?x?xi64>, tensor<64x4xf32>) -> tensor<?x?x4xf32>
  %h = miura.split_heads %s : tensor<?x?x8xf32> -> tensor<?x2x?x4xf32>
  %r = miura.rope %h, %c, %c : tensor<?x2x?x4xf32>, tensor<?x?x4xf32>, tensor<?x?x4xf32>
  %a = miura.attention %r, %r, %h scale 0.5 causal
      : tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32> -> tensor<?x2x?x4xf32>
  %m = miura.merge_heads %a : tensor<?x2x?x4xf32> -> tensor<?x?x8xf32>
  %l = miura.linear %m, %w id("head") compute(f32, f32) : (tensor<?x?x8xf32>, tensor<16x8xf32>) -> tensor<?x?x16xf32>
  return %l : tensor<?x?x16xf32>
}

// -----

// What its maker says stays.
// CHECK: module attributes {miura.context = 7 : i64}
module attributes {miura.context = 7 : i64} {
func.func @main_graph(%ids: tensor<?x?xi64> {miura.role = #miura.role<tokens>},
                      %pos: tensor<?x?xi64> {miura.role = #miura.role<positions>})
    -> (tensor<?x?x16xf32> {miura.role = #miura.role<logits>}) {
  %w = arith.constant dense<1.0> : tensor<16x8xf32>
  %x = miura.embedding %ids, %w id("e") : (tensor<?x?xi64>, tensor<16x8xf32>) -> tensor<?x?x8xf32>
  %q = miura.embedding %pos, %w id("p") : (tensor<?x?xi64>, tensor<16x8xf32>) -> tensor<?x?x8xf32>
  %s = arith.addf %x, %q : tensor<?x?x8xf32>
  %h = miura.split_heads %s : tensor<?x?x8xf32> -> tensor<?x2x?x4xf32>
  %a = miura.attention %h, %h, %h scale 0.5 causal
      : tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32> -> tensor<?x2x?x4xf32>
  %m = miura.merge_heads %a : tensor<?x2x?x4xf32> -> tensor<?x?x8xf32>
  %l = miura.linear %m, %w id("head") compute(f32, f32) : (tensor<?x?x8xf32>, tensor<16x8xf32>) -> tensor<?x?x16xf32>
  return %l : tensor<?x?x16xf32>
}
}
