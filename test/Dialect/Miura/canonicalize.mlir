// RUN: miura-opt %s -canonicalize | FileCheck %s

// CHECK-LABEL: @transpose_twice
// CHECK-SAME: (%[[A:.*]]: tensor<4x6xf32>)
// CHECK-NEXT: return %[[A]]
func.func @transpose_twice(%a: tensor<4x6xf32>) -> tensor<4x6xf32> {
  %0 = miura.transpose %a : tensor<4x6xf32> -> tensor<6x4xf32>
  %1 = miura.transpose %0 : tensor<6x4xf32> -> tensor<4x6xf32>
  return %1 : tensor<4x6xf32>
}

// CHECK-LABEL: @convert_to_itself
// CHECK-SAME: (%[[A:.*]]: tensor<4x6xf32>)
// CHECK-NEXT: return %[[A]]
func.func @convert_to_itself(%a: tensor<4x6xf32>) -> tensor<4x6xf32> {
  %0 = miura.convert %a : tensor<4x6xf32> -> tensor<4x6xf32>
  return %0 : tensor<4x6xf32>
}

// Rounding to f16 and back is not nothing.
// CHECK-LABEL: @convert_there_and_back
// CHECK-COUNT-2: miura.convert
func.func @convert_there_and_back(%a: tensor<4x6xf32>) -> tensor<4x6xf32> {
  %0 = miura.convert %a : tensor<4x6xf32> -> tensor<4x6xf16>
  %1 = miura.convert %0 : tensor<4x6xf16> -> tensor<4x6xf32>
  return %1 : tensor<4x6xf32>
}

// CHECK-LABEL: @scale_by_nothing
// CHECK-SAME: (%[[A:.*]]: tensor<4x6xf32>)
// CHECK-NEXT: return %[[A]]
func.func @scale_by_nothing(%a: tensor<4x6xf32>) -> tensor<4x6xf32> {
  %0 = miura.scale %a : tensor<4x6xf32> -> tensor<4x6xf32>
  return %0 : tensor<4x6xf32>
}

// CHECK-LABEL: @scale_by_something
// CHECK: miura.scale
func.func @scale_by_something(%a: tensor<4x6xf32>, %r: tensor<4xf32>) -> tensor<4x6xf32> {
  %0 = miura.scale %a rows %r : tensor<4xf32> : tensor<4x6xf32> -> tensor<4x6xf32>
  return %0 : tensor<4x6xf32>
}

// CHECK-LABEL: @merge_split_heads
// CHECK-SAME: (%[[A:.*]]: tensor<2x3x8xf32>)
// CHECK-NEXT: return %[[A]]
func.func @merge_split_heads(%a: tensor<2x3x8xf32>) -> tensor<2x3x8xf32> {
  %0 = miura.split_heads %a : tensor<2x3x8xf32> -> tensor<2x2x3x4xf32>
  %1 = miura.merge_heads %0 : tensor<2x2x3x4xf32> -> tensor<2x3x8xf32>
  return %1 : tensor<2x3x8xf32>
}

// Constants of an expression stay what they are: no folder reads values.
// CHECK-LABEL: @no_folding
// CHECK: miura.dequantize
func.func @no_folding() -> tensor<1x2xf32> {
  %c = arith.constant dense<[[1, -2]]> : tensor<1x2xi4>
  %s = arith.constant dense<0.5> : tensor<1x1xf16>
  %0 = miura.dequantize %c, %s block [1, 2] : tensor<1x2xi4>, tensor<1x1xf16> -> tensor<1x2xf32>
  return %0 : tensor<1x2xf32>
}

// CHECK-LABEL: @unprune_all_of_every_group
// CHECK-SAME: (%[[A:.*]]: tensor<4x6xf32>
// CHECK-NEXT: return %[[A]]
func.func @unprune_all_of_every_group(%a: tensor<4x6xf32>, %i: tensor<4x6xi2>) -> tensor<4x6xf32> {
  %0 = miura.unprune %a, %i "nm" group [2, 2] : tensor<4x6xf32>, tensor<4x6xi2> -> tensor<4x6xf32>
  return %0 : tensor<4x6xf32>
}

// CHECK-LABEL: @unprune_half_of_every_group
// CHECK: miura.unprune
func.func @unprune_half_of_every_group(%a: tensor<4x3xf32>, %i: tensor<4x3xi2>) -> tensor<4x6xf32> {
  %0 = miura.unprune %a, %i "nm" group [1, 2] : tensor<4x3xf32>, tensor<4x3xi2> -> tensor<4x6xf32>
  return %0 : tensor<4x6xf32>
}
