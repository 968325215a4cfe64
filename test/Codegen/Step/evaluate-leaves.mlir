// RUN: rm -rf %t && mkdir %t
// RUN: env MIURA_WEIGHTS_DIR=%t miura-opt %s -miura-evaluate-leaves -verify-diagnostics | FileCheck %s

// Scales of a transposed leaf change with every column and every few rows: it
// becomes numbers, of f16 where that holds them all. The leaf that it was made of keeps its codes where
// it is used as it is.
// CHECK-DAG: miura.weight_data private @tied = bytes<"b3-{{.*}}", offset = 0, length = 32> : tensor<8x2xf16>
// CHECK-DAG: miura.weight_data private @thirds = bytes<"b3-{{.*}}", offset = 0, length = 64> : tensor<8x2xf32>
// CHECK-LABEL: @step
// CHECK-DAG: %[[R:.*]] = miura.dequantize
// CHECK-DAG: %[[H:.*]] = miura.weight @tied : tensor<8x2xf16>
// CHECK-DAG: %[[T:.*]] = miura.convert %[[H]] : tensor<8x2xf16> -> tensor<8x2xf32>
// CHECK-DAG: %[[S:.*]] = miura.weight @thirds : tensor<8x2xf32>
// CHECK-NOT: miura.transpose
// CHECK: miura.linear %{{.*}}, %[[T]]
// CHECK: miura.linear %{{.*}}, %[[S]]
// CHECK: miura.linear %{{.*}}, %[[R]]
func.func @step(%x: tensor<?x2xf32>, %z: tensor<?x8xf32>) -> (tensor<?x8xf32>, tensor<?x8xf32>, tensor<?x2xf32>) {
  %c = arith.constant dense<[[1, 2, 3, 4, 5, 6, 7, -8], [7, 6, 5, 4, 3, 2, 1, 0]]> : tensor<2x8xi4>
  %s = arith.constant dense<[[1.0, 0.5], [0.25, 2.0]]> : tensor<2x2xf16>
  %r = miura.dequantize %c, %s block [1, 4] : tensor<2x8xi4>, tensor<2x2xf16> -> tensor<2x8xf32>
  // expected-remark @below {{'tied': no kernel decodes 'miura.transpose' of this form; its values are stored as 'f16'}}
  %t = miura.transpose %r : tensor<2x8xf32> -> tensor<8x2xf32>
  %s3 = arith.constant dense<[[0.333333333, 0.5], [0.25, 2.0]]> : tensor<2x2xf32>
  %r3 = miura.dequantize %c, %s3 block [1, 4] : tensor<2x8xi4>, tensor<2x2xf32> -> tensor<2x8xf32>
  // expected-remark @below {{'thirds': no kernel decodes 'miura.transpose' of this form; its values are stored as 'f32'}}
  %t3 = miura.transpose %r3 : tensor<2x8xf32> -> tensor<8x2xf32>
  %0 = miura.linear %x, %t id("tied") compute(f32, f32) : (tensor<?x2xf32>, tensor<8x2xf32>) -> tensor<?x8xf32>
  %1 = miura.linear %x, %t3 id("thirds") compute(f32, f32) : (tensor<?x2xf32>, tensor<8x2xf32>) -> tensor<?x8xf32>
  %2 = miura.linear %z, %r id("leaf") compute(f32, f32) : (tensor<?x8xf32>, tensor<2x8xf32>) -> tensor<?x2xf32>
  return %0, %1, %2 : tensor<?x8xf32>, tensor<?x8xf32>, tensor<?x2xf32>
}

// With as many rows to a scale as a vector has, codes are packed transposed.
// CHECK-LABEL: @packed
// CHECK: %[[R:.*]] = miura.dequantize
// CHECK: %[[T:.*]] = miura.transpose %[[R]]
// CHECK: miura.linear %{{.*}}, %[[T]]
func.func @packed(%x: tensor<?x2xf32>) -> tensor<?x32xf32> {
  %c = arith.constant dense<3> : tensor<2x32xi4>
  %s = arith.constant dense<[[1.0, 0.5], [0.25, 2.0]]> : tensor<2x2xf16>
  %r = miura.dequantize %c, %s block [1, 16] : tensor<2x32xi4>, tensor<2x2xf16> -> tensor<2x32xf32>
  %t = miura.transpose %r : tensor<2x32xf32> -> tensor<32x2xf32>
  %0 = miura.linear %x, %t id("packed") compute(f32, f32) : (tensor<?x2xf32>, tensor<32x2xf32>) -> tensor<?x32xf32>
  return %0 : tensor<?x32xf32>
}
