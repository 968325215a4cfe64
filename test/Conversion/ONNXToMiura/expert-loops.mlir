// Experts that a file takes one by one: where each was chosen, its function of
// the tokens' rows, and what comes out added to their sums. All pairs of a token
// and a choice are computed at once.

// RUN: miura-opt %s -split-input-file -miura-raise 2>/dev/null | FileCheck %s

// CHECK-LABEL: func @loop(
// CHECK: %[[TOP:.*]]:2 = miura.onnx_node "TopK"
// CHECK: %[[AT:.*]] = tensor.collapse_shape %[[TOP]]#1 {{\[\[}}0, 1]] : tensor<?x2xi64> into tensor<?xi64>
// CHECK: %[[CUBE:.*]] = miura.onnx_node "Concat"
// CHECK: %[[ROWS:.*]] = tensor.collapse_shape %[[CUBE]] {{\[\[}}0, 1], [2]] : tensor<?x2x4xf32> into tensor<?x4xf32>
// CHECK: %[[W:.*]] = miura.transpose %{{.*}} : tensor<3x4x4xf32> -> tensor<3x4x4xf32>
// CHECK: %[[Y:.*]] = miura.expert_linear %[[ROWS]], %[[W]] at %[[AT]] id("w0"
// CHECK: miura.onnx_node "ReduceSum"
// CHECK-NOT: "NonZero"

func.func @loop(%x: tensor<?x4xf32, #miura.dims<"t", "">>, %s: tensor<?x3xf32, #miura.dims<"t", "">>) -> tensor<?x4xf32> {
  %w0 = arith.constant {miura.name = "w0"} dense<[[1.0, 0.5, 0.25, 0.125], [0.0, 1.0, 2.0, 3.0], [4.0, 5.0, 6.0, 7.0], [8.0, 9.0, 1.0, 2.0]]> : tensor<4x4xf32>
  %e0 = arith.constant dense<0> : tensor<i64>
  %w1 = arith.constant {miura.name = "w1"} dense<[[2.0, 0.5, 0.25, 0.125], [0.0, 1.0, 2.0, 3.0], [4.0, 5.0, 6.0, 7.0], [8.0, 9.0, 1.0, 2.0]]> : tensor<4x4xf32>
  %e1 = arith.constant dense<1> : tensor<i64>
  %w2 = arith.constant {miura.name = "w2"} dense<[[3.0, 0.5, 0.25, 0.125], [0.0, 1.0, 2.0, 3.0], [4.0, 5.0, 6.0, 7.0], [8.0, 9.0, 1.0, 2.0]]> : tensor<4x4xf32>
  %e2 = arith.constant dense<2> : tensor<i64>
  %two = arith.constant dense<2> : tensor<1xi64>
  %depth = arith.constant dense<3> : tensor<i64>
  %values = arith.constant dense<[0, 1]> : tensor<2xi64>
  %halves = arith.constant dense<1> : tensor<2xi64>
  %axis0 = arith.constant dense<0> : tensor<1xi64>
  %axis1 = arith.constant dense<1> : tensor<1xi64>
  %axis2 = arith.constant dense<2> : tensor<1xi64>
  %chosen = arith.constant dense<2> : tensor<i64>
  %top:2 = miura.onnx_node "TopK"(%s, %two) {axis = -1 : si64} version(11) : (tensor<?x3xf32, #miura.dims<"t", "">>, tensor<1xi64>) -> (tensor<?x2xf32>, tensor<?x2xi64>)
  %hot = miura.onnx_node "OneHot"(%top#1, %depth, %values) {axis = -1 : si64} version(11) : (tensor<?x2xi64>, tensor<i64>, tensor<2xi64>) -> tensor<?x2x3xi64>
  %turned = miura.onnx_node "Transpose"(%hot) {perm = array<i64: 2, 1, 0>} version(13) : (tensor<?x2x3xi64>) -> tensor<3x2x?xi64>
  %weights = miura.onnx_node "Unsqueeze"(%top#0, %axis2) version(13) : (tensor<?x2xf32>, tensor<1xi64>) -> tensor<?x2x1xf32>
  %flat = miura.onnx_node "Flatten"(%weights) {axis = 2 : si64} version(13) : (tensor<?x2x1xf32>) -> tensor<?x1xf32>
  %shape = miura.onnx_node "Shape"(%x) version(13) : (tensor<?x4xf32, #miura.dims<"t", "">>) -> tensor<2xi64>
  %sum0 = miura.onnx_node "ConstantOfShape"(%shape) {value = dense<0.0> : tensor<1xf32>} version(9) : (tensor<2xi64>) -> tensor<?x4xf32>
  %c0 = miura.onnx_node "Gather"(%turned, %e0) {axis = 0 : si64} version(13) : (tensor<3x2x?xi64>, tensor<i64>) -> tensor<2x?xi64>
  %b0 = miura.onnx_node "Cast"(%c0) {to = 9 : si64} version(13) : (tensor<2x?xi64>) -> tensor<2x?xi1>
  %p0 = miura.onnx_node "NonZero"(%b0) version(13) : (tensor<2x?xi1>) -> tensor<2x?xi64>
  %pt0 = miura.onnx_node "Transpose"(%p0) {perm = array<i64: 1, 0>} version(13) : (tensor<2x?xi64>) -> tensor<?x2xi64>
  %h0:2 = miura.onnx_node "Split"(%pt0, %halves) {axis = 1 : si64} version(13) : (tensor<?x2xi64>, tensor<2xi64>) -> (tensor<?x1xi64>, tensor<?x1xi64>)
  %k0 = miura.onnx_node "Squeeze"(%h0#0, %axis1) version(13) : (tensor<?x1xi64>, tensor<1xi64>) -> tensor<?xi64>
  %t0 = miura.onnx_node "Squeeze"(%h0#1, %axis1) version(13) : (tensor<?x1xi64>, tensor<1xi64>) -> tensor<?xi64>
  %r0 = miura.onnx_node "Gather"(%x, %t0) {axis = 0 : si64} version(13) : (tensor<?x4xf32, #miura.dims<"t", "">>, tensor<?xi64>) -> tensor<?x4xf32>
  %m0 = miura.onnx_node "MatMul"(%r0, %w0) version(13) : (tensor<?x4xf32>, tensor<4x4xf32>) -> tensor<?x4xf32>
  %a0 = miura.onnx_node "Sigmoid"(%m0) version(13) : (tensor<?x4xf32>) -> tensor<?x4xf32>
  %tk0 = miura.onnx_node "Mul"(%t0, %chosen) version(14) : (tensor<?xi64>, tensor<i64>) -> tensor<?xi64>
  %i0 = miura.onnx_node "Add"(%k0, %tk0) version(14) : (tensor<?xi64>, tensor<?xi64>) -> tensor<?xi64>
  %g0 = miura.onnx_node "Gather"(%flat, %i0) {axis = 0 : si64} version(13) : (tensor<?x1xf32>, tensor<?xi64>) -> tensor<?x1xf32>
  %u0 = miura.onnx_node "Mul"(%a0, %g0) version(14) : (tensor<?x4xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>
  %ts0 = miura.onnx_node "Unsqueeze"(%t0, %axis1) version(13) : (tensor<?xi64>, tensor<1xi64>) -> tensor<?x1xi64>
  %us0 = miura.onnx_node "Shape"(%u0) version(13) : (tensor<?x4xf32>) -> tensor<2xi64>
  %tw0 = miura.onnx_node "Expand"(%ts0, %us0) version(13) : (tensor<?x1xi64>, tensor<2xi64>) -> tensor<?x4xi64>
  %z0 = miura.onnx_node "ConstantOfShape"(%shape) {value = dense<0.0> : tensor<1xf32>} version(9) : (tensor<2xi64>) -> tensor<?x4xf32>
  %sc0 = miura.onnx_node "ScatterElements"(%z0, %tw0, %u0) {axis = 0 : si64} version(18) : (tensor<?x4xf32>, tensor<?x4xi64>, tensor<?x4xf32>) -> tensor<?x4xf32>
  %sum1 = miura.onnx_node "Add"(%sum0, %sc0) version(14) : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  %c1 = miura.onnx_node "Gather"(%turned, %e1) {axis = 0 : si64} version(13) : (tensor<3x2x?xi64>, tensor<i64>) -> tensor<2x?xi64>
  %b1 = miura.onnx_node "Cast"(%c1) {to = 9 : si64} version(13) : (tensor<2x?xi64>) -> tensor<2x?xi1>
  %p1 = miura.onnx_node "NonZero"(%b1) version(13) : (tensor<2x?xi1>) -> tensor<2x?xi64>
  %pt1 = miura.onnx_node "Transpose"(%p1) {perm = array<i64: 1, 0>} version(13) : (tensor<2x?xi64>) -> tensor<?x2xi64>
  %h1:2 = miura.onnx_node "Split"(%pt1, %halves) {axis = 1 : si64} version(13) : (tensor<?x2xi64>, tensor<2xi64>) -> (tensor<?x1xi64>, tensor<?x1xi64>)
  %k1 = miura.onnx_node "Squeeze"(%h1#0, %axis1) version(13) : (tensor<?x1xi64>, tensor<1xi64>) -> tensor<?xi64>
  %t1 = miura.onnx_node "Squeeze"(%h1#1, %axis1) version(13) : (tensor<?x1xi64>, tensor<1xi64>) -> tensor<?xi64>
  %r1 = miura.onnx_node "Gather"(%x, %t1) {axis = 0 : si64} version(13) : (tensor<?x4xf32, #miura.dims<"t", "">>, tensor<?xi64>) -> tensor<?x4xf32>
  %m1 = miura.onnx_node "MatMul"(%r1, %w1) version(13) : (tensor<?x4xf32>, tensor<4x4xf32>) -> tensor<?x4xf32>
  %a1 = miura.onnx_node "Sigmoid"(%m1) version(13) : (tensor<?x4xf32>) -> tensor<?x4xf32>
  %tk1 = miura.onnx_node "Mul"(%t1, %chosen) version(14) : (tensor<?xi64>, tensor<i64>) -> tensor<?xi64>
  %i1 = miura.onnx_node "Add"(%k1, %tk1) version(14) : (tensor<?xi64>, tensor<?xi64>) -> tensor<?xi64>
  %g1 = miura.onnx_node "Gather"(%flat, %i1) {axis = 0 : si64} version(13) : (tensor<?x1xf32>, tensor<?xi64>) -> tensor<?x1xf32>
  %u1 = miura.onnx_node "Mul"(%a1, %g1) version(14) : (tensor<?x4xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>
  %ts1 = miura.onnx_node "Unsqueeze"(%t1, %axis1) version(13) : (tensor<?xi64>, tensor<1xi64>) -> tensor<?x1xi64>
  %us1 = miura.onnx_node "Shape"(%u1) version(13) : (tensor<?x4xf32>) -> tensor<2xi64>
  %tw1 = miura.onnx_node "Expand"(%ts1, %us1) version(13) : (tensor<?x1xi64>, tensor<2xi64>) -> tensor<?x4xi64>
  %z1 = miura.onnx_node "ConstantOfShape"(%shape) {value = dense<0.0> : tensor<1xf32>} version(9) : (tensor<2xi64>) -> tensor<?x4xf32>
  %sc1 = miura.onnx_node "ScatterElements"(%z1, %tw1, %u1) {axis = 0 : si64} version(18) : (tensor<?x4xf32>, tensor<?x4xi64>, tensor<?x4xf32>) -> tensor<?x4xf32>
  %sum2 = miura.onnx_node "Add"(%sum1, %sc1) version(14) : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  %c2 = miura.onnx_node "Gather"(%turned, %e2) {axis = 0 : si64} version(13) : (tensor<3x2x?xi64>, tensor<i64>) -> tensor<2x?xi64>
  %b2 = miura.onnx_node "Cast"(%c2) {to = 9 : si64} version(13) : (tensor<2x?xi64>) -> tensor<2x?xi1>
  %p2 = miura.onnx_node "NonZero"(%b2) version(13) : (tensor<2x?xi1>) -> tensor<2x?xi64>
  %pt2 = miura.onnx_node "Transpose"(%p2) {perm = array<i64: 1, 0>} version(13) : (tensor<2x?xi64>) -> tensor<?x2xi64>
  %h2:2 = miura.onnx_node "Split"(%pt2, %halves) {axis = 1 : si64} version(13) : (tensor<?x2xi64>, tensor<2xi64>) -> (tensor<?x1xi64>, tensor<?x1xi64>)
  %k2 = miura.onnx_node "Squeeze"(%h2#0, %axis1) version(13) : (tensor<?x1xi64>, tensor<1xi64>) -> tensor<?xi64>
  %t2 = miura.onnx_node "Squeeze"(%h2#1, %axis1) version(13) : (tensor<?x1xi64>, tensor<1xi64>) -> tensor<?xi64>
  %r2 = miura.onnx_node "Gather"(%x, %t2) {axis = 0 : si64} version(13) : (tensor<?x4xf32, #miura.dims<"t", "">>, tensor<?xi64>) -> tensor<?x4xf32>
  %m2 = miura.onnx_node "MatMul"(%r2, %w2) version(13) : (tensor<?x4xf32>, tensor<4x4xf32>) -> tensor<?x4xf32>
  %a2 = miura.onnx_node "Sigmoid"(%m2) version(13) : (tensor<?x4xf32>) -> tensor<?x4xf32>
  %tk2 = miura.onnx_node "Mul"(%t2, %chosen) version(14) : (tensor<?xi64>, tensor<i64>) -> tensor<?xi64>
  %i2 = miura.onnx_node "Add"(%k2, %tk2) version(14) : (tensor<?xi64>, tensor<?xi64>) -> tensor<?xi64>
  %g2 = miura.onnx_node "Gather"(%flat, %i2) {axis = 0 : si64} version(13) : (tensor<?x1xf32>, tensor<?xi64>) -> tensor<?x1xf32>
  %u2 = miura.onnx_node "Mul"(%a2, %g2) version(14) : (tensor<?x4xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>
  %ts2 = miura.onnx_node "Unsqueeze"(%t2, %axis1) version(13) : (tensor<?xi64>, tensor<1xi64>) -> tensor<?x1xi64>
  %us2 = miura.onnx_node "Shape"(%u2) version(13) : (tensor<?x4xf32>) -> tensor<2xi64>
  %tw2 = miura.onnx_node "Expand"(%ts2, %us2) version(13) : (tensor<?x1xi64>, tensor<2xi64>) -> tensor<?x4xi64>
  %z2 = miura.onnx_node "ConstantOfShape"(%shape) {value = dense<0.0> : tensor<1xf32>} version(9) : (tensor<2xi64>) -> tensor<?x4xf32>
  %sc2 = miura.onnx_node "ScatterElements"(%z2, %tw2, %u2) {axis = 0 : si64} version(18) : (tensor<?x4xf32>, tensor<?x4xi64>, tensor<?x4xf32>) -> tensor<?x4xf32>
  %sum3 = miura.onnx_node "Add"(%sum2, %sc2) version(14) : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  return %sum3 : tensor<?x4xf32>
}

// -----

// The first expert's tokens for the second one too: no sum over experts.
// CHECK-LABEL: func @twice(
// CHECK-NOT: miura.expert_linear
func.func @twice(%x: tensor<?x4xf32, #miura.dims<"t", "">>, %s: tensor<?x3xf32, #miura.dims<"t", "">>) -> tensor<?x4xf32> {
  %w0 = arith.constant {miura.name = "w0"} dense<[[1.0, 0.5, 0.25, 0.125], [0.0, 1.0, 2.0, 3.0], [4.0, 5.0, 6.0, 7.0], [8.0, 9.0, 1.0, 2.0]]> : tensor<4x4xf32>
  %e0 = arith.constant dense<0> : tensor<i64>
  %w1 = arith.constant {miura.name = "w1"} dense<[[2.0, 0.5, 0.25, 0.125], [0.0, 1.0, 2.0, 3.0], [4.0, 5.0, 6.0, 7.0], [8.0, 9.0, 1.0, 2.0]]> : tensor<4x4xf32>
  %e1 = arith.constant dense<1> : tensor<i64>
  %w2 = arith.constant {miura.name = "w2"} dense<[[3.0, 0.5, 0.25, 0.125], [0.0, 1.0, 2.0, 3.0], [4.0, 5.0, 6.0, 7.0], [8.0, 9.0, 1.0, 2.0]]> : tensor<4x4xf32>
  %e2 = arith.constant dense<2> : tensor<i64>
  %two = arith.constant dense<2> : tensor<1xi64>
  %depth = arith.constant dense<3> : tensor<i64>
  %values = arith.constant dense<[0, 1]> : tensor<2xi64>
  %halves = arith.constant dense<1> : tensor<2xi64>
  %axis0 = arith.constant dense<0> : tensor<1xi64>
  %axis1 = arith.constant dense<1> : tensor<1xi64>
  %axis2 = arith.constant dense<2> : tensor<1xi64>
  %chosen = arith.constant dense<2> : tensor<i64>
  %top:2 = miura.onnx_node "TopK"(%s, %two) {axis = -1 : si64} version(11) : (tensor<?x3xf32, #miura.dims<"t", "">>, tensor<1xi64>) -> (tensor<?x2xf32>, tensor<?x2xi64>)
  %hot = miura.onnx_node "OneHot"(%top#1, %depth, %values) {axis = -1 : si64} version(11) : (tensor<?x2xi64>, tensor<i64>, tensor<2xi64>) -> tensor<?x2x3xi64>
  %turned = miura.onnx_node "Transpose"(%hot) {perm = array<i64: 2, 1, 0>} version(13) : (tensor<?x2x3xi64>) -> tensor<3x2x?xi64>
  %weights = miura.onnx_node "Unsqueeze"(%top#0, %axis2) version(13) : (tensor<?x2xf32>, tensor<1xi64>) -> tensor<?x2x1xf32>
  %flat = miura.onnx_node "Flatten"(%weights) {axis = 2 : si64} version(13) : (tensor<?x2x1xf32>) -> tensor<?x1xf32>
  %shape = miura.onnx_node "Shape"(%x) version(13) : (tensor<?x4xf32, #miura.dims<"t", "">>) -> tensor<2xi64>
  %sum0 = miura.onnx_node "ConstantOfShape"(%shape) {value = dense<0.0> : tensor<1xf32>} version(9) : (tensor<2xi64>) -> tensor<?x4xf32>
  %c0 = miura.onnx_node "Gather"(%turned, %e0) {axis = 0 : si64} version(13) : (tensor<3x2x?xi64>, tensor<i64>) -> tensor<2x?xi64>
  %b0 = miura.onnx_node "Cast"(%c0) {to = 9 : si64} version(13) : (tensor<2x?xi64>) -> tensor<2x?xi1>
  %p0 = miura.onnx_node "NonZero"(%b0) version(13) : (tensor<2x?xi1>) -> tensor<2x?xi64>
  %pt0 = miura.onnx_node "Transpose"(%p0) {perm = array<i64: 1, 0>} version(13) : (tensor<2x?xi64>) -> tensor<?x2xi64>
  %h0:2 = miura.onnx_node "Split"(%pt0, %halves) {axis = 1 : si64} version(13) : (tensor<?x2xi64>, tensor<2xi64>) -> (tensor<?x1xi64>, tensor<?x1xi64>)
  %k0 = miura.onnx_node "Squeeze"(%h0#0, %axis1) version(13) : (tensor<?x1xi64>, tensor<1xi64>) -> tensor<?xi64>
  %t0 = miura.onnx_node "Squeeze"(%h0#1, %axis1) version(13) : (tensor<?x1xi64>, tensor<1xi64>) -> tensor<?xi64>
  %r0 = miura.onnx_node "Gather"(%x, %t0) {axis = 0 : si64} version(13) : (tensor<?x4xf32, #miura.dims<"t", "">>, tensor<?xi64>) -> tensor<?x4xf32>
  %m0 = miura.onnx_node "MatMul"(%r0, %w0) version(13) : (tensor<?x4xf32>, tensor<4x4xf32>) -> tensor<?x4xf32>
  %a0 = miura.onnx_node "Sigmoid"(%m0) version(13) : (tensor<?x4xf32>) -> tensor<?x4xf32>
  %tk0 = miura.onnx_node "Mul"(%t0, %chosen) version(14) : (tensor<?xi64>, tensor<i64>) -> tensor<?xi64>
  %i0 = miura.onnx_node "Add"(%k0, %tk0) version(14) : (tensor<?xi64>, tensor<?xi64>) -> tensor<?xi64>
  %g0 = miura.onnx_node "Gather"(%flat, %i0) {axis = 0 : si64} version(13) : (tensor<?x1xf32>, tensor<?xi64>) -> tensor<?x1xf32>
  %u0 = miura.onnx_node "Mul"(%a0, %g0) version(14) : (tensor<?x4xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>
  %ts0 = miura.onnx_node "Unsqueeze"(%t0, %axis1) version(13) : (tensor<?xi64>, tensor<1xi64>) -> tensor<?x1xi64>
  %us0 = miura.onnx_node "Shape"(%u0) version(13) : (tensor<?x4xf32>) -> tensor<2xi64>
  %tw0 = miura.onnx_node "Expand"(%ts0, %us0) version(13) : (tensor<?x1xi64>, tensor<2xi64>) -> tensor<?x4xi64>
  %z0 = miura.onnx_node "ConstantOfShape"(%shape) {value = dense<0.0> : tensor<1xf32>} version(9) : (tensor<2xi64>) -> tensor<?x4xf32>
  %sc0 = miura.onnx_node "ScatterElements"(%z0, %tw0, %u0) {axis = 0 : si64} version(18) : (tensor<?x4xf32>, tensor<?x4xi64>, tensor<?x4xf32>) -> tensor<?x4xf32>
  %sum1 = miura.onnx_node "Add"(%sum0, %sc0) version(14) : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  %c1 = miura.onnx_node "Gather"(%turned, %e0) {axis = 0 : si64} version(13) : (tensor<3x2x?xi64>, tensor<i64>) -> tensor<2x?xi64>
  %b1 = miura.onnx_node "Cast"(%c1) {to = 9 : si64} version(13) : (tensor<2x?xi64>) -> tensor<2x?xi1>
  %p1 = miura.onnx_node "NonZero"(%b1) version(13) : (tensor<2x?xi1>) -> tensor<2x?xi64>
  %pt1 = miura.onnx_node "Transpose"(%p1) {perm = array<i64: 1, 0>} version(13) : (tensor<2x?xi64>) -> tensor<?x2xi64>
  %h1:2 = miura.onnx_node "Split"(%pt1, %halves) {axis = 1 : si64} version(13) : (tensor<?x2xi64>, tensor<2xi64>) -> (tensor<?x1xi64>, tensor<?x1xi64>)
  %k1 = miura.onnx_node "Squeeze"(%h1#0, %axis1) version(13) : (tensor<?x1xi64>, tensor<1xi64>) -> tensor<?xi64>
  %t1 = miura.onnx_node "Squeeze"(%h1#1, %axis1) version(13) : (tensor<?x1xi64>, tensor<1xi64>) -> tensor<?xi64>
  %r1 = miura.onnx_node "Gather"(%x, %t1) {axis = 0 : si64} version(13) : (tensor<?x4xf32, #miura.dims<"t", "">>, tensor<?xi64>) -> tensor<?x4xf32>
  %m1 = miura.onnx_node "MatMul"(%r1, %w1) version(13) : (tensor<?x4xf32>, tensor<4x4xf32>) -> tensor<?x4xf32>
  %a1 = miura.onnx_node "Sigmoid"(%m1) version(13) : (tensor<?x4xf32>) -> tensor<?x4xf32>
  %tk1 = miura.onnx_node "Mul"(%t1, %chosen) version(14) : (tensor<?xi64>, tensor<i64>) -> tensor<?xi64>
  %i1 = miura.onnx_node "Add"(%k1, %tk1) version(14) : (tensor<?xi64>, tensor<?xi64>) -> tensor<?xi64>
  %g1 = miura.onnx_node "Gather"(%flat, %i1) {axis = 0 : si64} version(13) : (tensor<?x1xf32>, tensor<?xi64>) -> tensor<?x1xf32>
  %u1 = miura.onnx_node "Mul"(%a1, %g1) version(14) : (tensor<?x4xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>
  %ts1 = miura.onnx_node "Unsqueeze"(%t1, %axis1) version(13) : (tensor<?xi64>, tensor<1xi64>) -> tensor<?x1xi64>
  %us1 = miura.onnx_node "Shape"(%u1) version(13) : (tensor<?x4xf32>) -> tensor<2xi64>
  %tw1 = miura.onnx_node "Expand"(%ts1, %us1) version(13) : (tensor<?x1xi64>, tensor<2xi64>) -> tensor<?x4xi64>
  %z1 = miura.onnx_node "ConstantOfShape"(%shape) {value = dense<0.0> : tensor<1xf32>} version(9) : (tensor<2xi64>) -> tensor<?x4xf32>
  %sc1 = miura.onnx_node "ScatterElements"(%z1, %tw1, %u1) {axis = 0 : si64} version(18) : (tensor<?x4xf32>, tensor<?x4xi64>, tensor<?x4xf32>) -> tensor<?x4xf32>
  %sum2 = miura.onnx_node "Add"(%sum1, %sc1) version(14) : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  %c2 = miura.onnx_node "Gather"(%turned, %e2) {axis = 0 : si64} version(13) : (tensor<3x2x?xi64>, tensor<i64>) -> tensor<2x?xi64>
  %b2 = miura.onnx_node "Cast"(%c2) {to = 9 : si64} version(13) : (tensor<2x?xi64>) -> tensor<2x?xi1>
  %p2 = miura.onnx_node "NonZero"(%b2) version(13) : (tensor<2x?xi1>) -> tensor<2x?xi64>
  %pt2 = miura.onnx_node "Transpose"(%p2) {perm = array<i64: 1, 0>} version(13) : (tensor<2x?xi64>) -> tensor<?x2xi64>
  %h2:2 = miura.onnx_node "Split"(%pt2, %halves) {axis = 1 : si64} version(13) : (tensor<?x2xi64>, tensor<2xi64>) -> (tensor<?x1xi64>, tensor<?x1xi64>)
  %k2 = miura.onnx_node "Squeeze"(%h2#0, %axis1) version(13) : (tensor<?x1xi64>, tensor<1xi64>) -> tensor<?xi64>
  %t2 = miura.onnx_node "Squeeze"(%h2#1, %axis1) version(13) : (tensor<?x1xi64>, tensor<1xi64>) -> tensor<?xi64>
  %r2 = miura.onnx_node "Gather"(%x, %t2) {axis = 0 : si64} version(13) : (tensor<?x4xf32, #miura.dims<"t", "">>, tensor<?xi64>) -> tensor<?x4xf32>
  %m2 = miura.onnx_node "MatMul"(%r2, %w2) version(13) : (tensor<?x4xf32>, tensor<4x4xf32>) -> tensor<?x4xf32>
  %a2 = miura.onnx_node "Sigmoid"(%m2) version(13) : (tensor<?x4xf32>) -> tensor<?x4xf32>
  %tk2 = miura.onnx_node "Mul"(%t2, %chosen) version(14) : (tensor<?xi64>, tensor<i64>) -> tensor<?xi64>
  %i2 = miura.onnx_node "Add"(%k2, %tk2) version(14) : (tensor<?xi64>, tensor<?xi64>) -> tensor<?xi64>
  %g2 = miura.onnx_node "Gather"(%flat, %i2) {axis = 0 : si64} version(13) : (tensor<?x1xf32>, tensor<?xi64>) -> tensor<?x1xf32>
  %u2 = miura.onnx_node "Mul"(%a2, %g2) version(14) : (tensor<?x4xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>
  %ts2 = miura.onnx_node "Unsqueeze"(%t2, %axis1) version(13) : (tensor<?xi64>, tensor<1xi64>) -> tensor<?x1xi64>
  %us2 = miura.onnx_node "Shape"(%u2) version(13) : (tensor<?x4xf32>) -> tensor<2xi64>
  %tw2 = miura.onnx_node "Expand"(%ts2, %us2) version(13) : (tensor<?x1xi64>, tensor<2xi64>) -> tensor<?x4xi64>
  %z2 = miura.onnx_node "ConstantOfShape"(%shape) {value = dense<0.0> : tensor<1xf32>} version(9) : (tensor<2xi64>) -> tensor<?x4xf32>
  %sc2 = miura.onnx_node "ScatterElements"(%z2, %tw2, %u2) {axis = 0 : si64} version(18) : (tensor<?x4xf32>, tensor<?x4xi64>, tensor<?x4xf32>) -> tensor<?x4xf32>
  %sum3 = miura.onnx_node "Add"(%sum2, %sc2) version(14) : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  return %sum3 : tensor<?x4xf32>
}
