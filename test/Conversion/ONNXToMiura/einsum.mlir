// RUN: miura-opt %s -miura-raise 2>/dev/null | FileCheck %s

// No letter is summed over: a product of elements.
// CHECK-LABEL: func @outer(
// CHECK-DAG: tensor.expand_shape %{{.*}} {{\[\[}}0, 1]] output_shape [3, 1] : tensor<3xf32> into tensor<3x1xf32>
// CHECK-DAG: tensor.expand_shape %{{.*}} {{\[\[}}0, 1]] output_shape [1, 5] : tensor<5xf32> into tensor<1x5xf32>
// CHECK: miura.onnx_node "Mul"(%{{.*}}, %{{.*}}) version(14) name("angles/Mul") : (tensor<3x1xf32>, tensor<1x5xf32>) -> tensor<3x5xf32>
func.func @outer(%a: tensor<3xf32>, %b: tensor<5xf32>) -> tensor<3x5xf32> {
  %y = miura.onnx_node "Einsum"(%a, %b) {equation = "i, j -> ij"} version(12) name("angles") : (tensor<3xf32>, tensor<5xf32>) -> tensor<3x5xf32>
  return %y : tensor<3x5xf32>
}

// One is: a MatMul; without an arrow the result has the letters that stand once.
// CHECK-LABEL: func @product(
// CHECK: miura.linear %{{.*}}, %{{.*}} id("w") compute(f32, f32) : (tensor<2x3x4xf32>, tensor<5x4xf32>) -> tensor<2x3x5xf32>
func.func @product(%a: tensor<2x3x4xf32>) -> tensor<2x3x5xf32> {
  %w = arith.constant {miura.name = "w"} dense<[[0.0, 1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0, 9.0], [1.0, 2.0, 3.0, 4.0, 5.0], [2.0, 3.0, 4.0, 5.0, 7.0]]> : tensor<4x5xf32>
  %y = miura.onnx_node "Einsum"(%a, %w) {equation = "abi,io"} version(12) : (tensor<2x3x4xf32>, tensor<4x5xf32>) -> tensor<2x3x5xf32>
  return %y : tensor<2x3x5xf32>
}

// An attention written in two of them.
// CHECK-LABEL: func @attention(
// CHECK: miura.attention %arg0, %arg1, %arg2 scale 1.000000e+00 :
func.func @attention(%q: tensor<1x2x?x4xf32, #miura.dims<"", "", "t", "">>, %k: tensor<1x2x?x4xf32, #miura.dims<"", "", "t", "">>, %v: tensor<1x2x?x4xf32, #miura.dims<"", "", "t", "">>) -> tensor<1x2x?x4xf32> {
  %s = miura.onnx_node "Einsum"(%q, %k) {equation = "bhqd,bhkd->bhqk"} version(12) : (tensor<1x2x?x4xf32, #miura.dims<"", "", "t", "">>, tensor<1x2x?x4xf32, #miura.dims<"", "", "t", "">>) -> tensor<1x2x?x?xf32>
  %p = miura.onnx_node "Softmax"(%s) {axis = -1 : si64} version(13) : (tensor<1x2x?x?xf32>) -> tensor<1x2x?x?xf32>
  %y = miura.onnx_node "Einsum"(%p, %v) {equation = "bhqk,bhkd->bhqd"} version(12) : (tensor<1x2x?x?xf32>, tensor<1x2x?x4xf32, #miura.dims<"", "", "t", "">>) -> tensor<1x2x?x4xf32>
  return %y : tensor<1x2x?x4xf32>
}

// Two are: kept.
// CHECK-LABEL: func @both(
// CHECK: miura.onnx_node "Einsum"
func.func @both(%a: tensor<2x3x4xf32>, %b: tensor<3x4x5xf32>) -> tensor<2x5xf32> {
  %y = miura.onnx_node "Einsum"(%a, %b) {equation = "bij,ijo->bo"} version(12) : (tensor<2x3x4xf32>, tensor<3x4x5xf32>) -> tensor<2x5xf32>
  return %y : tensor<2x5xf32>
}
