// RUN: miura-opt %s -split-input-file --miura-raise --canonicalize --cse 2>/dev/null | FileCheck %s

// Rows sorted by expert, each group times its expert's matrix: the number of
// rows is all that a step has to know.
// CHECK-LABEL: func @groups(
// CHECK-SAME: %[[X:[a-z0-9]+]]: tensor<?x4xf32>
// CHECK: %[[W:.*]] = miura.weight @w
// CHECK: %[[T:.*]] = miura.transpose %[[W]] : tensor<2x4x3xf32> -> tensor<2x3x4xf32>
// CHECK: %[[Y:.*]] = miura.expert_linear %[[X]], %[[T]] at %{{.*}} id("w")
// CHECK: return %[[Y]]
miura.weight_data private @w = bytes<"x", offset = 0, length = 96> : tensor<2x4x3xf32>
func.func @groups(%x: tensor<?x4xf32, #miura.dims<"n", "">>, %chosen: tensor<?xi64, #miura.dims<"n">>) -> tensor<?x3xf32> {
  %w = miura.weight @w : tensor<2x4x3xf32>
  %zero = arith.constant dense<0> : tensor<i64>
  %one = arith.constant dense<1> : tensor<i64>
  %first = arith.constant dense<0> : tensor<1xi64>
  %none = arith.constant dense<0.0> : tensor<2xf32>
  %unit = arith.constant dense<1.0> : tensor<f32>
  %n = miura.onnx_node "Shape"(%chosen) version(18) : (tensor<?xi64, #miura.dims<"n">>) -> tensor<1xi64>
  %sorted, %order = miura.onnx_node "TopK"(%chosen, %n) {axis = -1 : si64, largest = 0 : si64, sorted = 1 : si64} version(18) : (tensor<?xi64, #miura.dims<"n">>, tensor<1xi64>) -> (tensor<?xi64>, tensor<?xi64>)
  %ones = miura.onnx_node "Expand"(%unit, %n) version(18) : (tensor<f32>, tensor<1xi64>) -> tensor<?xf32>
  %counts = miura.onnx_node "ScatterElements"(%none, %sorted, %ones) {axis = 0 : si64, reduction = "add"} version(18) : (tensor<2xf32>, tensor<?xi64>, tensor<?xf32>) -> tensor<2xf32>
  %ends = miura.onnx_node "CumSum"(%counts, %zero) version(18) : (tensor<2xf32>, tensor<i64>) -> tensor<2xf32>
  %whole = miura.onnx_node "Cast"(%ends) {to = 7 : si64} version(18) : (tensor<2xf32>) -> tensor<2xi64>
  %e0, %e1 = miura.onnx_node "Split"(%whole) {axis = 0 : si64, num_outputs = 2 : si64} version(18) : (tensor<2xi64>) -> (tensor<1xi64>, tensor<1xi64>)
  %s0 = miura.onnx_node "Squeeze"(%e0, %first) version(18) : (tensor<1xi64>, tensor<1xi64>) -> tensor<i64>
  %s1 = miura.onnx_node "Squeeze"(%e1, %first) version(18) : (tensor<1xi64>, tensor<1xi64>) -> tensor<i64>
  %w0, %w1 = miura.onnx_node "Split"(%w) {axis = 0 : si64, num_outputs = 2 : si64} version(18) : (tensor<2x4x3xf32>) -> (tensor<1x4x3xf32>, tensor<1x4x3xf32>)
  %m0 = miura.onnx_node "Squeeze"(%w0, %first) version(18) : (tensor<1x4x3xf32>, tensor<1xi64>) -> tensor<4x3xf32>
  %m1 = miura.onnx_node "Squeeze"(%w1, %first) version(18) : (tensor<1x4x3xf32>, tensor<1xi64>) -> tensor<4x3xf32>
  %r0 = miura.onnx_node "Range"(%zero, %s0, %one) version(18) : (tensor<i64>, tensor<i64>, tensor<i64>) -> tensor<?xi64>
  %r1 = miura.onnx_node "Range"(%s0, %s1, %one) version(18) : (tensor<i64>, tensor<i64>, tensor<i64>) -> tensor<?xi64>
  %x0 = miura.onnx_node "Gather"(%x, %r0) {axis = 0 : si64} version(18) : (tensor<?x4xf32, #miura.dims<"n", "">>, tensor<?xi64>) -> tensor<?x4xf32>
  %x1 = miura.onnx_node "Gather"(%x, %r1) {axis = 0 : si64} version(18) : (tensor<?x4xf32, #miura.dims<"n", "">>, tensor<?xi64>) -> tensor<?x4xf32>
  %y0 = miura.onnx_node "MatMul"(%x0, %m0) version(18) : (tensor<?x4xf32>, tensor<4x3xf32>) -> tensor<?x3xf32>
  %y1 = miura.onnx_node "MatMul"(%x1, %m1) version(18) : (tensor<?x4xf32>, tensor<4x3xf32>) -> tensor<?x3xf32>
  %y = miura.onnx_node "Concat"(%y0, %y1) {axis = 0 : si64} version(18) : (tensor<?x3xf32>, tensor<?x3xf32>) -> tensor<?x3xf32>
  return %y : tensor<?x3xf32>
}
