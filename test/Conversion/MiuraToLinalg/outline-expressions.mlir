// RUN: miura-opt %s -miura-outline-expressions -split-input-file | FileCheck %s

// The tree moves, its root becomes an argument; a weight that two expressions
// share stays shared, and one used as it is too is an argument of its own.
miura.weight_data private @a digest("00") : tensor<4x8xf32>

// CHECK-LABEL: func.func @f
// CHECK-SAME: %[[X:.*]]: tensor<?x8xf32>, %[[W:.*]]: tensor<4x8xf32> {miura.weight}, %[[S:.*]]: tensor<4x8xf32> {miura.weight})
// CHECK-NEXT: miura.linear %[[X]], %[[W]]
// CHECK-NEXT: miura.linear %[[X]], %[[S]]
// CHECK: func.func private @f.weights() -> (tensor<4x8xf32>, tensor<4x8xf32>)
// CHECK-NEXT: %[[A:.*]] = miura.weight @a
// CHECK-NEXT: %[[SUM:.*]] = miura.add %[[A]], %[[A]]
// CHECK-NEXT: return %[[A]], %[[SUM]]
func.func @f(%x: tensor<?x8xf32>) -> (tensor<?x4xf32>, tensor<?x4xf32>) {
  %a = miura.weight @a : tensor<4x8xf32>
  %s = miura.add %a, %a : tensor<4x8xf32>, tensor<4x8xf32> -> tensor<4x8xf32>
  %y = miura.linear %x, %a id("a") compute(f32, f32) : (tensor<?x8xf32>, tensor<4x8xf32>) -> tensor<?x4xf32>
  %z = miura.linear %x, %s id("s") compute(f32, f32) : (tensor<?x8xf32>, tensor<4x8xf32>) -> tensor<?x4xf32>
  return %y, %z : tensor<?x4xf32>, tensor<?x4xf32>
}

// -----

// CHECK-LABEL: func.func @none
// CHECK-SAME: (%{{.*}}: tensor<?xf32>) -> tensor<?xf32>
// CHECK: func.func private @none.weights() {
func.func @none(%x: tensor<?xf32>) -> tensor<?xf32> {
  %y = miura.silu %x : tensor<?xf32>
  return %y : tensor<?xf32>
}
