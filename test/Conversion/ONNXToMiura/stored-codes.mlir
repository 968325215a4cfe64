// RUN: miura-opt %s -split-input-file --miura-raise --canonicalize --cse 2>/dev/null | FileCheck %s

// A stored matrix that a node quantizes is its codes, rounded half to even and
// saturated: 0.25 / 0.5 is 0, 0.75 / 0.5 is 2, 100 / 0.5 is 127.
// CHECK-LABEL: func @encoded(
// CHECK-DAG: %[[C:.*]] = arith.constant {{.*}}dense<{{\[\[}}0, 2], [127, -128]]> : tensor<2x2xi8>
// CHECK: %[[W:.*]] = miura.dequantize %[[C]], %{{.*}} block [0, 1] : tensor<2x2xi8>
// CHECK: miura.linear
// CHECK-NOT: miura.onnx_node
func.func @encoded(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {
  %w = arith.constant {miura.name = "w"} dense<[[0.25, 1.5], [100.0, -1000.0]]> : tensor<2x2xf32>
  %s = arith.constant dense<[0.5, 0.75]> : tensor<2xf32>
  %z = arith.constant dense<0> : tensor<2xi8>
  %q = miura.onnx_node "QuantizeLinear"(%w, %s, %z) {axis = 1 : si64} version(13) : (tensor<2x2xf32>, tensor<2xf32>, tensor<2xi8>) -> tensor<2x2xi8>
  %d = miura.onnx_node "DequantizeLinear"(%q, %s, %z) {axis = 1 : si64} version(13) : (tensor<2x2xi8>, tensor<2xf32>, tensor<2xi8>) -> tensor<2x2xf32>
  %y = miura.onnx_node "MatMul"(%x, %d) version(13) : (tensor<?x2xf32>, tensor<2x2xf32>) -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}

// -----

// Blocks along the first axis, codes of four bits with a zero point each.
// CHECK-LABEL: func @encoded_blocks(
// CHECK-DAG: %[[C:.*]] = arith.constant {{.*}}dense<{{\[\[}}1, 2], [-1, 4], [2, -6]]> : tensor<3x2xi4>
// CHECK: miura.dequantize %[[C]], %{{.*}}, %{{.*}} block [2, 1] unsigned
func.func @encoded_blocks(%x: tensor<?x3xf32>) -> tensor<?x2xf32> {
  %w = arith.constant {miura.name = "w"} dense<[[0.0, 0.0], [99.0, 1.0], [0.0, 8.0]]> : tensor<3x2xf32>
  %s = arith.constant dense<[[1.0, 0.5], [1.0, 1.0]]> : tensor<2x2xf32>
  %z = arith.constant dense<[[1, 2], [2, 2]]> : tensor<2x2xui4>
  %q = miura.onnx_node "QuantizeLinear"(%w, %s, %z) {axis = 0 : si64, block_size = 2 : si64} version(21) : (tensor<3x2xf32>, tensor<2x2xf32>, tensor<2x2xui4>) -> tensor<3x2xui4>
  %d = miura.onnx_node "DequantizeLinear"(%q, %s, %z) {axis = 0 : si64, block_size = 2 : si64} version(21) : (tensor<3x2xui4>, tensor<2x2xf32>, tensor<2x2xui4>) -> tensor<3x2xf32>
  %y = miura.onnx_node "MatMul"(%x, %d) version(13) : (tensor<?x3xf32>, tensor<3x2xf32>) -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}

// -----

// A bias of int32 codes is a bias.
// CHECK-LABEL: func @bias(
// CHECK-DAG: %[[B:.*]] = arith.constant {{.*}}dense<[5.000000e-01, -1.500000e+00]> : tensor<2xf32>
// CHECK: miura.linear %{{.*}}, %{{.*}}, %[[B]]
// CHECK-NOT: miura.onnx_node
func.func @bias(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {
  %w = arith.constant {miura.name = "w"} dense<1.0> : tensor<2x2xf32>
  %c = arith.constant dense<[1, -3]> : tensor<2xi32>
  %s = arith.constant dense<0.5> : tensor<f32>
  %b = miura.onnx_node "DequantizeLinear"(%c, %s) version(13) : (tensor<2xi32>, tensor<f32>) -> tensor<2xf32>
  %y = miura.onnx_node "Gemm"(%x, %w, %b) version(13) : (tensor<?x2xf32>, tensor<2x2xf32>, tensor<2xf32>) -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}

// -----

// Codes of 16 bits.
// CHECK-LABEL: func @wide(
// CHECK: miura.dequantize %{{.*}}, %{{.*}}, %{{.*}} block [0, 0] unsigned : tensor<3x2xi16>
// CHECK: miura.embedding
func.func @wide(%t: tensor<?xi64>) -> tensor<?x2xf32> {
  %w = arith.constant {miura.name = "w"} dense<[[0, 65535], [32768, 1], [2, 3]]> : tensor<3x2xui16>
  %s = arith.constant dense<0.5> : tensor<f32>
  %z = arith.constant dense<32768> : tensor<ui16>
  %d = miura.onnx_node "DequantizeLinear"(%w, %s, %z) version(21) : (tensor<3x2xui16>, tensor<f32>, tensor<ui16>) -> tensor<3x2xf32>
  %y = miura.onnx_node "Gather"(%d, %t) version(13) : (tensor<3x2xf32>, tensor<?xi64>) -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}
