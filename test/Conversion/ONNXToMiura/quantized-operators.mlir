// RUN: miura-opt %s -split-input-file --miura-raise --canonicalize --cse 2>/dev/null | FileCheck %s

// An operator from codes to codes is that on the numbers, then rounded.
// CHECK-LABEL: func @product(
// CHECK-SAME: %[[X:.*]]: tensor<?x2xf32>
// CHECK: %[[R:.*]] = miura.fake_quantize %[[X]] to <ui8, scale = 2.500000e-01 : f32, zero = 3>
// CHECK: %[[Y:.*]] = miura.linear %[[R]], %{{.*}} id("w")
// CHECK: miura.fake_quantize %[[Y]] to <ui8, scale = 5.000000e-01 : f32, zero = 7>
// CHECK-NOT: miura.onnx_node
func.func @product(%x: tensor<?x2xf32>) -> tensor<?x3xf32> {
  %sx = arith.constant dense<0.25> : tensor<f32>
  %zx = arith.constant dense<3> : tensor<ui8>
  %sy = arith.constant dense<0.5> : tensor<f32>
  %zy = arith.constant dense<7> : tensor<ui8>
  %w = arith.constant {miura.name = "w"} dense<[[1, 2, 3], [4, 5, 6]]> : tensor<2x3xi8>
  %sw = arith.constant dense<[0.5, 1.0, 2.0]> : tensor<3xf32>
  %zw = arith.constant dense<0> : tensor<3xi8>
  %q = miura.onnx_node "QuantizeLinear"(%x, %sx, %zx) version(13) : (tensor<?x2xf32>, tensor<f32>, tensor<ui8>) -> tensor<?x2xui8>
  %p = miura.onnx_node "QLinearMatMul"(%q, %sx, %zx, %w, %sw, %zw, %sy, %zy) version(10) : (tensor<?x2xui8>, tensor<f32>, tensor<ui8>, tensor<2x3xi8>, tensor<3xf32>, tensor<3xi8>, tensor<f32>, tensor<ui8>) -> tensor<?x3xui8>
  %y = miura.onnx_node "DequantizeLinear"(%p, %sy, %zy) version(13) : (tensor<?x3xui8>, tensor<f32>, tensor<ui8>) -> tensor<?x3xf32>
  return %y : tensor<?x3xf32>
}

// -----

// The bias of QGemm has the product of both scales.
// CHECK-LABEL: func @gemm(
// CHECK-DAG: %[[B:.*]] = arith.constant {{.*}}dense<[1.250000e-01, 5.000000e-01]> : tensor<2xf32>
// CHECK: miura.linear %{{.*}}, %{{.*}}, %[[B]]
// CHECK-NOT: miura.onnx_node
func.func @gemm(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {
  %sx = arith.constant dense<0.25> : tensor<f32>
  %zx = arith.constant dense<3> : tensor<ui8>
  %w = arith.constant {miura.name = "w"} dense<[[1, 2], [4, 5]]> : tensor<2x2xi8>
  %sw = arith.constant dense<[0.5, 1.0]> : tensor<2xf32>
  %zw = arith.constant dense<0> : tensor<2xi8>
  %c = arith.constant dense<[1, 2]> : tensor<2xi32>
  %q = miura.onnx_node "QuantizeLinear"(%x, %sx, %zx) version(13) : (tensor<?x2xf32>, tensor<f32>, tensor<ui8>) -> tensor<?x2xui8>
  %y = miura.onnx_node "QGemm"(%q, %sx, %zx, %w, %sw, %zw, %c) domain("com.microsoft") version(1) : (tensor<?x2xui8>, tensor<f32>, tensor<ui8>, tensor<2x2xi8>, tensor<2xf32>, tensor<2xi8>, tensor<2xi32>) -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}

// -----

// A change of shape between the two is one of the numbers, and what is rounded
// already is not rounded again.
// CHECK-LABEL: func @moved(
// CHECK: %[[R:.*]] = miura.fake_quantize
// CHECK-NOT: miura.fake_quantize
// CHECK: return
func.func @moved(%x: tensor<?x2xf32, #miura.dims<"b", "">>) -> tensor<2x?xf32> {
  %s = arith.constant dense<0.25> : tensor<f32>
  %z = arith.constant dense<3> : tensor<ui8>
  %q = miura.onnx_node "QuantizeLinear"(%x, %s, %z) version(13) : (tensor<?x2xf32, #miura.dims<"b", "">>, tensor<f32>, tensor<ui8>) -> tensor<?x2xui8>
  %t = miura.onnx_node "Transpose"(%q) {perm = array<i64: 1, 0>} version(13) : (tensor<?x2xui8>) -> tensor<2x?xui8>
  %d = miura.onnx_node "DequantizeLinear"(%t, %s, %z) version(13) : (tensor<2x?xui8>, tensor<f32>, tensor<ui8>) -> tensor<2x?xf32>
  %r = miura.onnx_node "QuantizeLinear"(%d, %s, %z) version(13) : (tensor<2x?xf32>, tensor<f32>, tensor<ui8>) -> tensor<2x?xui8>
  %y = miura.onnx_node "DequantizeLinear"(%r, %s, %z) version(13) : (tensor<2x?xui8>, tensor<f32>, tensor<ui8>) -> tensor<2x?xf32>
  return %y : tensor<2x?xf32>
}
