// RUN: miura-opt %s -split-input-file --miura-raise --canonicalize --cse 2>/dev/null | FileCheck %s

// x cos + (−x₂, x₁) sin, with slices and a concat.
// CHECK-LABEL: func @half(
// CHECK-SAME: %[[X:[a-z0-9]+]]: tensor<1x2x?x4xf32>
// CHECK-SAME: %[[C:[a-z0-9]+]]: tensor<1x?x4xf32>
// CHECK-SAME: %[[S:[a-z0-9]+]]: tensor<1x?x4xf32>
// CHECK: %[[R:.*]] = miura.rope %[[X]], %[[C]], %[[S]] : tensor<1x2x?x4xf32>
// CHECK: return %[[R]]
func.func @half(%x: tensor<1x2x?x4xf32, #miura.dims<"", "", "t", "">>, %c: tensor<1x?x4xf32, #miura.dims<"", "t", "">>, %s: tensor<1x?x4xf32, #miura.dims<"", "t", "">>) -> tensor<1x2x?x4xf32> {
  %zero = arith.constant dense<0> : tensor<1xi64>
  %one = arith.constant dense<1> : tensor<1xi64>
  %two = arith.constant dense<2> : tensor<1xi64>
  %last = arith.constant dense<-1> : tensor<1xi64>
  %end = arith.constant dense<9223372036854775807> : tensor<1xi64>
  %c4 = miura.onnx_node "Unsqueeze"(%c, %one) version(18) : (tensor<1x?x4xf32, #miura.dims<"", "t", "">>, tensor<1xi64>) -> tensor<1x1x?x4xf32>
  %s4 = miura.onnx_node "Unsqueeze"(%s, %one) version(18) : (tensor<1x?x4xf32, #miura.dims<"", "t", "">>, tensor<1xi64>) -> tensor<1x1x?x4xf32>
  %x1 = miura.onnx_node "Slice"(%x, %zero, %two, %last) version(18) : (tensor<1x2x?x4xf32, #miura.dims<"", "", "t", "">>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<1x2x?x2xf32>
  %x2 = miura.onnx_node "Slice"(%x, %two, %end, %last) version(18) : (tensor<1x2x?x4xf32, #miura.dims<"", "", "t", "">>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<1x2x?x2xf32>
  %n = miura.onnx_node "Neg"(%x2) version(18) : (tensor<1x2x?x2xf32>) -> tensor<1x2x?x2xf32>
  %r = miura.onnx_node "Concat"(%n, %x1) {axis = -1 : si64} version(18) : (tensor<1x2x?x2xf32>, tensor<1x2x?x2xf32>) -> tensor<1x2x?x4xf32>
  %a = miura.onnx_node "Mul"(%x, %c4) version(18) : (tensor<1x2x?x4xf32, #miura.dims<"", "", "t", "">>, tensor<1x1x?x4xf32>) -> tensor<1x2x?x4xf32>
  %b = miura.onnx_node "Mul"(%r, %s4) version(18) : (tensor<1x2x?x4xf32>, tensor<1x1x?x4xf32>) -> tensor<1x2x?x4xf32>
  %y = miura.onnx_node "Add"(%a, %b) version(18) : (tensor<1x2x?x4xf32>, tensor<1x2x?x4xf32>) -> tensor<1x2x?x4xf32>
  return %y : tensor<1x2x?x4xf32>
}

// -----

// Halves by Split, angles of half the width: these are repeated.
// CHECK-LABEL: func @half_width(
// CHECK-SAME: %[[X:[a-z0-9]+]]: tensor<1x2x?x4xf32>
// CHECK: %[[C:.*]] = tensor.concat dim(2)
// CHECK: %[[S:.*]] = tensor.concat dim(2)
// CHECK: miura.rope %[[X]], %[[C]], %[[S]] : tensor<1x2x?x4xf32>
func.func @half_width(%x: tensor<1x2x?x4xf32, #miura.dims<"", "", "t", "">>, %c: tensor<1x1x?x2xf32, #miura.dims<"", "", "t", "">>, %s: tensor<1x1x?x2xf32, #miura.dims<"", "", "t", "">>) -> tensor<1x2x?x4xf32> {
  %x1, %x2 = miura.onnx_node "Split"(%x) {axis = -1 : si64, num_outputs = 2 : si64} version(18) : (tensor<1x2x?x4xf32, #miura.dims<"", "", "t", "">>) -> (tensor<1x2x?x2xf32>, tensor<1x2x?x2xf32>)
  %a = miura.onnx_node "Mul"(%x1, %c) version(18) : (tensor<1x2x?x2xf32>, tensor<1x1x?x2xf32, #miura.dims<"", "", "t", "">>) -> tensor<1x2x?x2xf32>
  %b = miura.onnx_node "Mul"(%x2, %s) version(18) : (tensor<1x2x?x2xf32>, tensor<1x1x?x2xf32, #miura.dims<"", "", "t", "">>) -> tensor<1x2x?x2xf32>
  %d = miura.onnx_node "Sub"(%a, %b) version(18) : (tensor<1x2x?x2xf32>, tensor<1x2x?x2xf32>) -> tensor<1x2x?x2xf32>
  %e = miura.onnx_node "Mul"(%x2, %c) version(18) : (tensor<1x2x?x2xf32>, tensor<1x1x?x2xf32, #miura.dims<"", "", "t", "">>) -> tensor<1x2x?x2xf32>
  %f = miura.onnx_node "Mul"(%x1, %s) version(18) : (tensor<1x2x?x2xf32>, tensor<1x1x?x2xf32, #miura.dims<"", "", "t", "">>) -> tensor<1x2x?x2xf32>
  %g = miura.onnx_node "Add"(%e, %f) version(18) : (tensor<1x2x?x2xf32>, tensor<1x2x?x2xf32>) -> tensor<1x2x?x2xf32>
  %y = miura.onnx_node "Concat"(%d, %g) {axis = 3 : si64} version(18) : (tensor<1x2x?x2xf32>, tensor<1x2x?x2xf32>) -> tensor<1x2x?x4xf32>
  return %y : tensor<1x2x?x4xf32>
}

// -----

// (x₁, x₂) without the sign is no rotation.
// CHECK-LABEL: func @no_rotation(
// CHECK-NOT: miura.rope
// CHECK: return
func.func @no_rotation(%x: tensor<1x2x?x4xf32, #miura.dims<"", "", "t", "">>, %c: tensor<1x1x?x2xf32, #miura.dims<"", "", "t", "">>, %s: tensor<1x1x?x2xf32, #miura.dims<"", "", "t", "">>) -> tensor<1x2x?x4xf32> {
  %x1, %x2 = miura.onnx_node "Split"(%x) {axis = -1 : si64, num_outputs = 2 : si64} version(18) : (tensor<1x2x?x4xf32, #miura.dims<"", "", "t", "">>) -> (tensor<1x2x?x2xf32>, tensor<1x2x?x2xf32>)
  %a = miura.onnx_node "Mul"(%x1, %c) version(18) : (tensor<1x2x?x2xf32>, tensor<1x1x?x2xf32, #miura.dims<"", "", "t", "">>) -> tensor<1x2x?x2xf32>
  %b = miura.onnx_node "Mul"(%x2, %s) version(18) : (tensor<1x2x?x2xf32>, tensor<1x1x?x2xf32, #miura.dims<"", "", "t", "">>) -> tensor<1x2x?x2xf32>
  %d = miura.onnx_node "Add"(%a, %b) version(18) : (tensor<1x2x?x2xf32>, tensor<1x2x?x2xf32>) -> tensor<1x2x?x2xf32>
  %e = miura.onnx_node "Mul"(%x2, %c) version(18) : (tensor<1x2x?x2xf32>, tensor<1x1x?x2xf32, #miura.dims<"", "", "t", "">>) -> tensor<1x2x?x2xf32>
  %f = miura.onnx_node "Mul"(%x1, %s) version(18) : (tensor<1x2x?x2xf32>, tensor<1x1x?x2xf32, #miura.dims<"", "", "t", "">>) -> tensor<1x2x?x2xf32>
  %g = miura.onnx_node "Add"(%e, %f) version(18) : (tensor<1x2x?x2xf32>, tensor<1x2x?x2xf32>) -> tensor<1x2x?x2xf32>
  %y = miura.onnx_node "Concat"(%d, %g) {axis = 3 : si64} version(18) : (tensor<1x2x?x2xf32>, tensor<1x2x?x2xf32>) -> tensor<1x2x?x4xf32>
  return %y : tensor<1x2x?x4xf32>
}
