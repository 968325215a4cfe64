// RUN: miura-opt %s -split-input-file --miura-raise --canonicalize --cse 2>/dev/null | FileCheck %s

// A pair with one scale is a rounding, whoever's operators it is of; all that
// read the codes share it.
// CHECK-LABEL: func @pair(
// CHECK-SAME: %[[X:.*]]: tensor<?x4xf32>
// CHECK: %[[R:.*]] = miura.fake_quantize %[[X]] to <ui16, scale = 2.500000e-01 : f32, zero = 3> : tensor<?x4xf32>
// CHECK: return %[[R]], %[[R]]
func.func @pair(%x: tensor<?x4xf32>) -> (tensor<?x4xf32>, tensor<?x4xf32>) {
  %scale = arith.constant dense<0.25> : tensor<f32>
  %zero = arith.constant dense<3> : tensor<ui16>
  %q = miura.onnx_node "QuantizeLinear"(%x, %scale, %zero) domain("com.microsoft") version(1) : (tensor<?x4xf32>, tensor<f32>, tensor<ui16>) -> tensor<?x4xui16>
  %a = miura.onnx_node "DequantizeLinear"(%q, %scale, %zero) domain("com.microsoft") version(1) : (tensor<?x4xui16>, tensor<f32>, tensor<ui16>) -> tensor<?x4xf32>
  %b = miura.onnx_node "DequantizeLinear"(%q, %scale, %zero) domain("com.microsoft") version(1) : (tensor<?x4xui16>, tensor<f32>, tensor<ui16>) -> tensor<?x4xf32>
  return %a, %b : tensor<?x4xf32>, tensor<?x4xf32>
}

// -----

// Codes that are read with another scale mean something else.
// CHECK-LABEL: func @rescaled(
// CHECK-NOT: miura.fake_quantize
// CHECK: return
func.func @rescaled(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %scale = arith.constant dense<0.25> : tensor<f32>
  %other = arith.constant dense<0.5> : tensor<f32>
  %zero = arith.constant dense<3> : tensor<ui8>
  %q = miura.onnx_node "QuantizeLinear"(%x, %scale, %zero) version(21) : (tensor<?x4xf32>, tensor<f32>, tensor<ui8>) -> tensor<?x4xui8>
  %a = miura.onnx_node "DequantizeLinear"(%q, %other, %zero) version(21) : (tensor<?x4xui8>, tensor<f32>, tensor<ui8>) -> tensor<?x4xf32>
  return %a : tensor<?x4xf32>
}

// -----

// Roundings of keys (before they are scaled by a half), scores, weights and
// values are the attention's; what is in the cache is not rounded.
// CHECK-LABEL: func @attention(
// CHECK-SAME: %[[Q:[a-z0-9]+]]: tensor<?x2x?x4xf32>
// CHECK-SAME: %[[K:[a-z0-9]+]]: tensor<?x2x?x4xf32>
// CHECK-SAME: %[[V:[a-z0-9]+]]: tensor<?x2x?x4xf32>
// CHECK: %[[R:.*]] = miura.fake_quantize %[[Q]] to <ui8, scale = 1.250000e-01 : f32, zero = 7>
// CHECK: miura.attention %[[R]], %[[K]], %[[V]] scale 5.000000e-01
// CHECK-SAME: key_rounding = #miura.rounding<ui8, scale = 2.500000e-01 : f32, zero = 7>
// CHECK-SAME: score_rounding = #miura.rounding<ui8, scale = 2.500000e-01 : f32, zero = 7>
// CHECK-SAME: value_rounding = #miura.rounding<ui8, scale = 1.250000e-01 : f32, zero = 7>
// CHECK-SAME: weight_rounding = #miura.rounding<ui8, scale = 2.500000e-01 : f32, zero = 7>
func.func @attention(%q: tensor<?x2x?x4xf32, #miura.dims<"b", "", "t", "">>, %k: tensor<?x2x?x4xf32, #miura.dims<"b", "", "t", "">>, %v: tensor<?x2x?x4xf32, #miura.dims<"b", "", "t", "">>) -> tensor<?x2x?x4xf32> {
  %small = arith.constant dense<0.125> : tensor<f32>
  %scale = arith.constant dense<0.25> : tensor<f32>
  %half = arith.constant dense<0.5> : tensor<f32>
  %zero = arith.constant dense<7> : tensor<ui8>
  %qc = miura.onnx_node "QuantizeLinear"(%q, %small, %zero) version(21) : (tensor<?x2x?x4xf32, #miura.dims<"b", "", "t", "">>, tensor<f32>, tensor<ui8>) -> tensor<?x2x?x4xui8>
  %qr = miura.onnx_node "DequantizeLinear"(%qc, %small, %zero) version(21) : (tensor<?x2x?x4xui8>, tensor<f32>, tensor<ui8>) -> tensor<?x2x?x4xf32>
  %kt = miura.onnx_node "Transpose"(%k) {perm = array<i64: 0, 1, 3, 2>} version(21) : (tensor<?x2x?x4xf32, #miura.dims<"b", "", "t", "">>) -> tensor<?x2x4x?xf32>
  %ks = miura.onnx_node "Mul"(%kt, %half) version(21) : (tensor<?x2x4x?xf32>, tensor<f32>) -> tensor<?x2x4x?xf32>
  %kc = miura.onnx_node "QuantizeLinear"(%ks, %small, %zero) version(21) : (tensor<?x2x4x?xf32>, tensor<f32>, tensor<ui8>) -> tensor<?x2x4x?xui8>
  %kr = miura.onnx_node "DequantizeLinear"(%kc, %small, %zero) version(21) : (tensor<?x2x4x?xui8>, tensor<f32>, tensor<ui8>) -> tensor<?x2x4x?xf32>
  %s = miura.onnx_node "MatMul"(%qr, %kr) version(21) : (tensor<?x2x?x4xf32>, tensor<?x2x4x?xf32>) -> tensor<?x2x?x?xf32>
  %sc = miura.onnx_node "QuantizeLinear"(%s, %scale, %zero) version(21) : (tensor<?x2x?x?xf32>, tensor<f32>, tensor<ui8>) -> tensor<?x2x?x?xui8>
  %sr = miura.onnx_node "DequantizeLinear"(%sc, %scale, %zero) version(21) : (tensor<?x2x?x?xui8>, tensor<f32>, tensor<ui8>) -> tensor<?x2x?x?xf32>
  %p = miura.onnx_node "Softmax"(%sr) {axis = -1 : si64} version(21) : (tensor<?x2x?x?xf32>) -> tensor<?x2x?x?xf32>
  %pc = miura.onnx_node "QuantizeLinear"(%p, %scale, %zero) version(21) : (tensor<?x2x?x?xf32>, tensor<f32>, tensor<ui8>) -> tensor<?x2x?x?xui8>
  %pr = miura.onnx_node "DequantizeLinear"(%pc, %scale, %zero) version(21) : (tensor<?x2x?x?xui8>, tensor<f32>, tensor<ui8>) -> tensor<?x2x?x?xf32>
  %vc = miura.onnx_node "QuantizeLinear"(%v, %small, %zero) version(21) : (tensor<?x2x?x4xf32, #miura.dims<"b", "", "t", "">>, tensor<f32>, tensor<ui8>) -> tensor<?x2x?x4xui8>
  %vr = miura.onnx_node "DequantizeLinear"(%vc, %small, %zero) version(21) : (tensor<?x2x?x4xui8>, tensor<f32>, tensor<ui8>) -> tensor<?x2x?x4xf32>
  %y = miura.onnx_node "MatMul"(%pr, %vr) version(21) : (tensor<?x2x?x?xf32>, tensor<?x2x?x4xf32>) -> tensor<?x2x?x4xf32>
  return %y : tensor<?x2x?x4xf32>
}
