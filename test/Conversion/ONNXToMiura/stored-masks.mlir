// A mask that is stored as a table and sliced is as good as a computed one: its
// band is found in the numbers, and no text is longer than the table. Where a
// second mask adds the lowest number to what the table has hidden with it, only
// what is hidden once is left for a query that sees nothing.

// RUN: miura-opt %s -split-input-file -miura-raise | FileCheck %s

// CHECK-LABEL: func @table(
// CHECK: %[[A:.*]] = miura.attention %{{.*}}, %{{.*}}, %{{.*}} scale 1.000000e+00 causal :
// CHECK: miura.attention %[[A]], %[[A]], %[[A]] scale 1.000000e+00 causal {window = 2 : i64} :
// CHECK: miura.attention %{{.*}}, %{{.*}}, %{{.*}} padding %{{.*}} : tensor<1x?xi64> scale 1.000000e+00 causal {hidden = -3.4028234663852886E+38 : f64, hidden_once, window = 2 : i64} :
func.func @table(%x: tensor<1x2x?x4xf32, #miura.dims<"", "", "t", "">>, %m: tensor<1x?xi64, #miura.dims<"", "t">>) -> tensor<1x2x?x4xf32> {
  %causal = arith.constant dense<[[[[true, false, false, false], [true, true, false, false], [true, true, true, false], [true, true, true, true]]]]> : tensor<1x1x4x4xi1>
  %window = arith.constant dense<[[[[0.0, -3.40282347E+38, -3.40282347E+38, -3.40282347E+38], [0.0, 0.0, -3.40282347E+38, -3.40282347E+38], [-3.40282347E+38, 0.0, 0.0, -3.40282347E+38], [-3.40282347E+38, -3.40282347E+38, 0.0, 0.0]]]]> : tensor<1x1x4x4xf32>
  %lowest = arith.constant dense<-3.40282347E+38> : tensor<f32>
  %nothing = arith.constant dense<0.0> : tensor<f32>
  %zero = arith.constant dense<[0, 0]> : tensor<2xi64>
  %axes = arith.constant dense<[2, 3]> : tensor<2xi64>
  %front = arith.constant dense<[1, 2]> : tensor<2xi64>
  %shape = miura.onnx_node "Shape"(%x) {start = 2 : si64, end = 3 : si64} version(18) : (tensor<1x2x?x4xf32, #miura.dims<"", "", "t", "">>) -> tensor<1xi64>
  %ends = miura.onnx_node "Concat"(%shape, %shape) {axis = 0 : si64} version(18) : (tensor<1xi64>, tensor<1xi64>) -> tensor<2xi64>
  %c = miura.onnx_node "Slice"(%causal, %zero, %ends, %axes) version(18) : (tensor<1x1x4x4xi1>, tensor<2xi64>, tensor<2xi64>, tensor<2xi64>) -> tensor<1x1x?x?xi1>
  %w = miura.onnx_node "Slice"(%window, %zero, %ends, %axes) version(18) : (tensor<1x1x4x4xf32>, tensor<2xi64>, tensor<2xi64>, tensor<2xi64>) -> tensor<1x1x?x?xf32>

  %k = miura.onnx_node "Transpose"(%x) {perm = array<i64: 0, 1, 3, 2>} version(18) : (tensor<1x2x?x4xf32, #miura.dims<"", "", "t", "">>) -> tensor<1x2x4x?xf32>
  %s = miura.onnx_node "MatMul"(%x, %k) version(18) : (tensor<1x2x?x4xf32, #miura.dims<"", "", "t", "">>, tensor<1x2x4x?xf32>) -> tensor<1x2x?x?xf32>
  %sc = miura.onnx_node "Where"(%c, %s, %lowest) version(18) : (tensor<1x1x?x?xi1>, tensor<1x2x?x?xf32>, tensor<f32>) -> tensor<1x2x?x?xf32>
  %p = miura.onnx_node "Softmax"(%sc) {axis = -1 : si64} version(18) : (tensor<1x2x?x?xf32>) -> tensor<1x2x?x?xf32>
  %y = miura.onnx_node "MatMul"(%p, %x) version(18) : (tensor<1x2x?x?xf32>, tensor<1x2x?x4xf32, #miura.dims<"", "", "t", "">>) -> tensor<1x2x?x4xf32>

  %k2 = miura.onnx_node "Transpose"(%y) {perm = array<i64: 0, 1, 3, 2>} version(18) : (tensor<1x2x?x4xf32>) -> tensor<1x2x4x?xf32>
  %s2 = miura.onnx_node "MatMul"(%y, %k2) version(18) : (tensor<1x2x?x4xf32>, tensor<1x2x4x?xf32>) -> tensor<1x2x?x?xf32>
  %sw = miura.onnx_node "Add"(%s2, %w) version(18) : (tensor<1x2x?x?xf32>, tensor<1x1x?x?xf32>) -> tensor<1x2x?x?xf32>
  %p2 = miura.onnx_node "Softmax"(%sw) {axis = -1 : si64} version(18) : (tensor<1x2x?x?xf32>) -> tensor<1x2x?x?xf32>
  %y2 = miura.onnx_node "MatMul"(%p2, %y) version(18) : (tensor<1x2x?x?xf32>, tensor<1x2x?x4xf32>) -> tensor<1x2x?x4xf32>

  %b = miura.onnx_node "Cast"(%m) {to = 9 : si64} version(18) : (tensor<1x?xi64, #miura.dims<"", "t">>) -> tensor<1x?xi1>
  %b4 = miura.onnx_node "Unsqueeze"(%b, %front) version(18) : (tensor<1x?xi1>, tensor<2xi64>) -> tensor<1x1x1x?xi1>
  %cb = miura.onnx_node "And"(%c, %b4) version(18) : (tensor<1x1x?x?xi1>, tensor<1x1x1x?xi1>) -> tensor<1x1x?x?xi1>
  %ma = miura.onnx_node "Where"(%cb, %nothing, %lowest) version(18) : (tensor<1x1x?x?xi1>, tensor<f32>, tensor<f32>) -> tensor<1x1x?x?xf32>
  %k3 = miura.onnx_node "Transpose"(%y2) {perm = array<i64: 0, 1, 3, 2>} version(18) : (tensor<1x2x?x4xf32>) -> tensor<1x2x4x?xf32>
  %s3 = miura.onnx_node "MatMul"(%y2, %k3) version(18) : (tensor<1x2x?x4xf32>, tensor<1x2x4x?xf32>) -> tensor<1x2x?x?xf32>
  %s4 = miura.onnx_node "Add"(%s3, %w) version(18) : (tensor<1x2x?x?xf32>, tensor<1x1x?x?xf32>) -> tensor<1x2x?x?xf32>
  %s5 = miura.onnx_node "Add"(%s4, %ma) version(18) : (tensor<1x2x?x?xf32>, tensor<1x1x?x?xf32>) -> tensor<1x2x?x?xf32>
  %p3 = miura.onnx_node "Softmax"(%s5) {axis = -1 : si64} version(18) : (tensor<1x2x?x?xf32>) -> tensor<1x2x?x?xf32>
  %y3 = miura.onnx_node "MatMul"(%p3, %y2) version(18) : (tensor<1x2x?x?xf32>, tensor<1x2x?x4xf32>) -> tensor<1x2x?x4xf32>
  return %y3 : tensor<1x2x?x4xf32>
}

// -----

// One number out of place, and it is a table like any other.
// CHECK-LABEL: func @hole(
// CHECK-NOT: miura.attention %{{.*}} causal
func.func @hole(%x: tensor<1x2x?x4xf32, #miura.dims<"", "", "t", "">>) -> tensor<1x2x?x4xf32> {
  %table = arith.constant dense<[[[[true, false, false, false], [true, true, false, false], [true, false, true, false], [true, true, true, true]]]]> : tensor<1x1x4x4xi1>
  %lowest = arith.constant dense<-3.40282347E+38> : tensor<f32>
  %zero = arith.constant dense<[0, 0]> : tensor<2xi64>
  %axes = arith.constant dense<[2, 3]> : tensor<2xi64>
  %shape = miura.onnx_node "Shape"(%x) {start = 2 : si64, end = 3 : si64} version(18) : (tensor<1x2x?x4xf32, #miura.dims<"", "", "t", "">>) -> tensor<1xi64>
  %ends = miura.onnx_node "Concat"(%shape, %shape) {axis = 0 : si64} version(18) : (tensor<1xi64>, tensor<1xi64>) -> tensor<2xi64>
  %c = miura.onnx_node "Slice"(%table, %zero, %ends, %axes) version(18) : (tensor<1x1x4x4xi1>, tensor<2xi64>, tensor<2xi64>, tensor<2xi64>) -> tensor<1x1x?x?xi1>
  %k = miura.onnx_node "Transpose"(%x) {perm = array<i64: 0, 1, 3, 2>} version(18) : (tensor<1x2x?x4xf32, #miura.dims<"", "", "t", "">>) -> tensor<1x2x4x?xf32>
  %s = miura.onnx_node "MatMul"(%x, %k) version(18) : (tensor<1x2x?x4xf32, #miura.dims<"", "", "t", "">>, tensor<1x2x4x?xf32>) -> tensor<1x2x?x?xf32>
  %sc = miura.onnx_node "Where"(%c, %s, %lowest) version(18) : (tensor<1x1x?x?xi1>, tensor<1x2x?x?xf32>, tensor<f32>) -> tensor<1x2x?x?xf32>
  %p = miura.onnx_node "Softmax"(%sc) {axis = -1 : si64} version(18) : (tensor<1x2x?x?xf32>) -> tensor<1x2x?x?xf32>
  %y = miura.onnx_node "MatMul"(%p, %x) version(18) : (tensor<1x2x?x?xf32>, tensor<1x2x?x4xf32, #miura.dims<"", "", "t", "">>) -> tensor<1x2x?x4xf32>
  return %y : tensor<1x2x?x4xf32>
}

// -----

// A table that grows evenly by head is a bias per key: where the slice of it
// starts, a softmax does not see. What is masked is what is not 1.
// CHECK-LABEL: func @slopes(
// CHECK: %[[BIAS:.*]] = miura.linear_bias %{{.*}} slopes [5.000000e-01, 2.500000e-01] : tensor<1x2x?x4xf32> -> tensor<1x2x1x?xf32>
// CHECK: miura.attention %{{.*}} mask %[[BIAS]] : tensor<1x2x1x?xf32> padding %{{.*}} : tensor<1x?xi64> scale 1.000000e+00 {
func.func @slopes(%x: tensor<1x2x?x4xf32, #miura.dims<"", "", "t", "">>, %m: tensor<1x?xi64, #miura.dims<"", "t">>) -> tensor<1x2x?x4xf32> {
  %table = arith.constant dense<[[[[-1.5, -1.0, -0.5, 0.0]], [[-0.75, -0.5, -0.25, 0.0]]]]> : tensor<1x2x1x4xf32>
  %lowest = arith.constant dense<-3.40282347E+38> : tensor<f32>
  %one = arith.constant dense<1> : tensor<i64>
  %longest = arith.constant dense<4> : tensor<1xi64>
  %end = arith.constant dense<9223372036854775807> : tensor<1xi64>
  %axis = arith.constant dense<3> : tensor<1xi64>
  %front = arith.constant dense<[1, 2]> : tensor<2xi64>
  %t = miura.onnx_node "Shape"(%x) {start = 2 : si64, end = 3 : si64} version(18) : (tensor<1x2x?x4xf32, #miura.dims<"", "", "t", "">>) -> tensor<1xi64>
  %start = miura.onnx_node "Sub"(%longest, %t) version(18) : (tensor<1xi64>, tensor<1xi64>) -> tensor<1xi64>
  %bias = miura.onnx_node "Slice"(%table, %start, %end, %axis) version(18) : (tensor<1x2x1x4xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<1x2x1x?xf32>
  %is = miura.onnx_node "Equal"(%m, %one) version(18) : (tensor<1x?xi64, #miura.dims<"", "t">>, tensor<i64>) -> tensor<1x?xi1>
  %c = miura.onnx_node "Unsqueeze"(%is, %front) version(18) : (tensor<1x?xi1>, tensor<2xi64>) -> tensor<1x1x1x?xi1>
  %k = miura.onnx_node "Transpose"(%x) {perm = array<i64: 0, 1, 3, 2>} version(18) : (tensor<1x2x?x4xf32, #miura.dims<"", "", "t", "">>) -> tensor<1x2x4x?xf32>
  %s = miura.onnx_node "MatMul"(%x, %k) version(18) : (tensor<1x2x?x4xf32, #miura.dims<"", "", "t", "">>, tensor<1x2x4x?xf32>) -> tensor<1x2x?x?xf32>
  %sb = miura.onnx_node "Add"(%s, %bias) version(18) : (tensor<1x2x?x?xf32>, tensor<1x2x1x?xf32>) -> tensor<1x2x?x?xf32>
  %sc = miura.onnx_node "Where"(%c, %sb, %lowest) version(18) : (tensor<1x1x1x?xi1>, tensor<1x2x?x?xf32>, tensor<f32>) -> tensor<1x2x?x?xf32>
  %p = miura.onnx_node "Softmax"(%sc) {axis = -1 : si64} version(18) : (tensor<1x2x?x?xf32>) -> tensor<1x2x?x?xf32>
  %y = miura.onnx_node "MatMul"(%p, %x) version(18) : (tensor<1x2x?x?xf32>, tensor<1x2x?x4xf32, #miura.dims<"", "", "t", "">>) -> tensor<1x2x?x4xf32>
  return %y : tensor<1x2x?x4xf32>
}

// -----

// A table that bends is not.
// CHECK-LABEL: func @bent(
// CHECK-NOT: miura.linear_bias
func.func @bent(%x: tensor<1x2x?x4xf32, #miura.dims<"", "", "t", "">>) -> tensor<1x2x?x4xf32> {
  %table = arith.constant dense<[[[[-1.5, -1.0, -0.5, 0.0]], [[-0.75, -0.5, -0.375, 0.0]]]]> : tensor<1x2x1x4xf32>
  %longest = arith.constant dense<4> : tensor<1xi64>
  %end = arith.constant dense<9223372036854775807> : tensor<1xi64>
  %axis = arith.constant dense<3> : tensor<1xi64>
  %t = miura.onnx_node "Shape"(%x) {start = 2 : si64, end = 3 : si64} version(18) : (tensor<1x2x?x4xf32, #miura.dims<"", "", "t", "">>) -> tensor<1xi64>
  %start = miura.onnx_node "Sub"(%longest, %t) version(18) : (tensor<1xi64>, tensor<1xi64>) -> tensor<1xi64>
  %bias = miura.onnx_node "Slice"(%table, %start, %end, %axis) version(18) : (tensor<1x2x1x4xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<1x2x1x?xf32>
  %k = miura.onnx_node "Transpose"(%x) {perm = array<i64: 0, 1, 3, 2>} version(18) : (tensor<1x2x?x4xf32, #miura.dims<"", "", "t", "">>) -> tensor<1x2x4x?xf32>
  %s = miura.onnx_node "MatMul"(%x, %k) version(18) : (tensor<1x2x?x4xf32, #miura.dims<"", "", "t", "">>, tensor<1x2x4x?xf32>) -> tensor<1x2x?x?xf32>
  %sb = miura.onnx_node "Add"(%s, %bias) version(18) : (tensor<1x2x?x?xf32>, tensor<1x2x1x?xf32>) -> tensor<1x2x?x?xf32>
  %p = miura.onnx_node "Softmax"(%sb) {axis = -1 : si64} version(18) : (tensor<1x2x?x?xf32>) -> tensor<1x2x?x?xf32>
  %y = miura.onnx_node "MatMul"(%p, %x) version(18) : (tensor<1x2x?x?xf32>, tensor<1x2x?x4xf32, #miura.dims<"", "", "t", "">>) -> tensor<1x2x?x4xf32>
  return %y : tensor<1x2x?x4xf32>
}
