// RUN: miura-opt %s --miura-expand-unknown-sizes | FileCheck %s

// CHECK-LABEL: @two(
// CHECK-SAME: %[[X:.*]]: memref<?x8xf32>, %[[B:.*]]: index, %[[T:.*]]: index
// CHECK: %[[N:.*]] = arith.muli %{{.*}}, %[[T]]
// CHECK: memref.reinterpret_cast %[[X]] to offset: [0], sizes: [%[[B]], %[[T]], 8], strides: [%[[N]], 8, 1]
func.func @two(%x: memref<?x8xf32>, %b: index, %t: index) -> memref<?x?x8xf32> {
  %y = memref.expand_shape %x [[0, 1], [2]] output_shape [%b, %t, 8] : memref<?x8xf32> into memref<?x?x8xf32>
  return %y : memref<?x?x8xf32>
}

// One is computed upstream.
// CHECK-LABEL: @one(
// CHECK: memref.expand_shape
func.func @one(%x: memref<?x8xf32>, %b: index) -> memref<?x4x8xf32> {
  %y = memref.expand_shape %x [[0, 1], [2]] output_shape [%b, 4, 8] : memref<?x8xf32> into memref<?x4x8xf32>
  return %y : memref<?x4x8xf32>
}
