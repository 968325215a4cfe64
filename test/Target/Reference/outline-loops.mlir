// RUN: miura-opt %s -miura-outline-loops | FileCheck %s

// Two equal fills share a function; the constant goes with them.
// CHECK-LABEL: func @f
// CHECK: call @[[LOOP:miura_loop.*]](%{{.*}}) : (memref<?xf32>) -> ()
// CHECK: call @[[LOOP]](
// CHECK-NOT: call
// CHECK: return
// CHECK: func.func private @[[LOOP]](%[[X:.*]]: memref<?xf32>) attributes {no_inline}
// CHECK: %[[ZERO:.*]] = arith.constant
// CHECK: linalg.fill ins(%[[ZERO]] : f32) outs(%[[X]]
func.func @f(%x: memref<?xf32>, %y: memref<?xf32>) {
  %zero = arith.constant 0.0 : f32
  linalg.fill ins(%zero : f32) outs(%x : memref<?xf32>)
  linalg.fill ins(%zero : f32) outs(%y : memref<?xf32>)
  return
}
