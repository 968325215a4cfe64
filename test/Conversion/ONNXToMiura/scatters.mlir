// RUN: miura-opt %s -split-input-file --miura-raise --canonicalize --cse 2>/dev/null | FileCheck %s

// x[1:3] = y, with the places as an exporter counts them.
// CHECK-LABEL: func @inner_rows(
// CHECK-SAME: %[[X:[a-z0-9]+]]: tensor<4x?xf32>
// CHECK-SAME: %[[Y:[a-z0-9]+]]: tensor<2x?xf32>
// CHECK-DAG: %[[A:.*]] = miura.onnx_node "Slice"(%[[X]], {{.*}} -> tensor<1x?xf32>
// CHECK-DAG: %[[B:.*]] = miura.onnx_node "Slice"(%[[X]], {{.*}} -> tensor<1x?xf32>
// CHECK: miura.onnx_node "Concat"(%[[A]], %[[Y]], %[[B]]) {axis = 0 : si64}
// CHECK-NOT: ScatterND
func.func @inner_rows(%x: tensor<4x?xf32, #miura.dims<"", "n">>, %y: tensor<2x?xf32, #miura.dims<"", "n">>) -> tensor<4x?xf32> {
  %zero = arith.constant dense<0> : tensor<i64>
  %one = arith.constant dense<1> : tensor<i64>
  %axis = arith.constant dense<1> : tensor<1xi64>
  %first = arith.constant dense<1> : tensor<1xi64>
  %behind = arith.constant dense<3> : tensor<1xi64>
  %dim = arith.constant dense<0> : tensor<1xi64>
  %s = miura.onnx_node "Shape"(%x) {start = 0 : si64, end = 1 : si64} version(18) : (tensor<4x?xf32, #miura.dims<"", "n">>) -> tensor<1xi64>
  %n = miura.onnx_node "Squeeze"(%s) version(18) : (tensor<1xi64>) -> tensor<i64>
  %r = miura.onnx_node "Range"(%zero, %n, %one) version(18) : (tensor<i64>, tensor<i64>, tensor<i64>) -> tensor<4xi64>
  %p = miura.onnx_node "Slice"(%r, %first, %behind, %dim) version(18) : (tensor<4xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<2xi64>
  %u = miura.onnx_node "Unsqueeze"(%p, %axis) version(18) : (tensor<2xi64>, tensor<1xi64>) -> tensor<2x1xi64>
  %z = miura.onnx_node "ScatterND"(%x, %u, %y) {reduction = "none"} version(18) : (tensor<4x?xf32, #miura.dims<"", "n">>, tensor<2x1xi64>, tensor<2x?xf32, #miura.dims<"", "n">>) -> tensor<4x?xf32>
  return %z : tensor<4x?xf32>
}

// -----

// A tensor that is filled in two assignments is the two, and nothing of what
// was there before.
// CHECK-LABEL: func @filled(
// CHECK-SAME: %[[X:[a-z0-9]+]]: tensor<3x2xf32>
// CHECK-SAME: %[[A:[a-z0-9]+]]: tensor<1x2xf32>
// CHECK-SAME: %[[B:[a-z0-9]+]]: tensor<2x2xf32>
// CHECK: %[[Z:.*]] = miura.onnx_node "Concat"(%[[A]], %[[B]]) {axis = 0 : si64}
// CHECK-NEXT: return %[[Z]]
func.func @filled(%x: tensor<3x2xf32>, %a: tensor<1x2xf32>, %b: tensor<2x2xf32>) -> tensor<3x2xf32> {
  %front = arith.constant dense<[[0]]> : tensor<1x1xi64>
  %rest = arith.constant dense<[[1], [2]]> : tensor<2x1xi64>
  %y = miura.onnx_node "ScatterND"(%x, %front, %a) version(18) : (tensor<3x2xf32>, tensor<1x1xi64>, tensor<1x2xf32>) -> tensor<3x2xf32>
  %z = miura.onnx_node "ScatterND"(%y, %rest, %b) version(18) : (tensor<3x2xf32>, tensor<2x1xi64>, tensor<2x2xf32>) -> tensor<3x2xf32>
  return %z : tensor<3x2xf32>
}

// -----

// Not where rows are added up, nor where they are not side by side.
// CHECK-LABEL: func @other_scatters(
// CHECK: "ScatterND"
// CHECK: "ScatterND"
// CHECK-NOT: "Concat"
func.func @other_scatters(%x: tensor<4x2xf32>, %y: tensor<2x2xf32>) -> (tensor<4x2xf32>, tensor<4x2xf32>) {
  %near = arith.constant dense<[[1], [2]]> : tensor<2x1xi64>
  %far = arith.constant dense<[[0], [2]]> : tensor<2x1xi64>
  %a = miura.onnx_node "ScatterND"(%x, %near, %y) {reduction = "add"} version(18) : (tensor<4x2xf32>, tensor<2x1xi64>, tensor<2x2xf32>) -> tensor<4x2xf32>
  %b = miura.onnx_node "ScatterND"(%x, %far, %y) version(18) : (tensor<4x2xf32>, tensor<2x1xi64>, tensor<2x2xf32>) -> tensor<4x2xf32>
  return %a, %b : tensor<4x2xf32>, tensor<4x2xf32>
}
