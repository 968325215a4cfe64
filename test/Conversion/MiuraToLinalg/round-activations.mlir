// RUN: miura-opt %s --miura-round-activations | FileCheck %s

// Two linears of one input share its rounding; one with a scale per row is left
// to its kernel.
// CHECK-LABEL: func @shared(
// CHECK-SAME: %[[X:[a-z0-9]*]]: tensor<?x?x40xf32>
// CHECK: arith.maximumf
// CHECK: math.roundeven
// CHECK: } -> tensor<?x?x40xf32>
// CHECK-NOT: math.roundeven
// CHECK-NEXT: miura.linear %[[R:.*]], %{{.*}} id("q") compute(f32, f32) :
// CHECK: miura.linear %[[R]], %{{.*}} id("k") compute(f32, f32) :
// CHECK: miura.linear %[[X]], %{{.*}} id("v") compute(i8, f32) :
func.func @shared(%x: tensor<?x?x40xf32>, %w: tensor<8x40xf32>) -> (tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x?x8xf32>) {
  %q = miura.linear %x, %w id("q") compute(i8, f32, block = 32) : (tensor<?x?x40xf32>, tensor<8x40xf32>) -> tensor<?x?x8xf32>
  %k = miura.linear %x, %w id("k") compute(i8, f32, block = 32) : (tensor<?x?x40xf32>, tensor<8x40xf32>) -> tensor<?x?x8xf32>
  %v = miura.linear %x, %w id("v") compute(i8, f32) : (tensor<?x?x40xf32>, tensor<8x40xf32>) -> tensor<?x?x8xf32>
  return %q, %k, %v : tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x?x8xf32>
}
