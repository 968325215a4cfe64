// RUN: miura-opt %s -split-input-file --miura-raise --canonicalize --cse 2>/dev/null | FileCheck %s

// A norm of any spelling is one op; its scale is folded in.
// CHECK-LABEL: func @rms_norm(
// CHECK-SAME: %[[X:.*]]: tensor<?x8xf32> {miura.dims = #miura.dims<"n", "">}
// CHECK: %[[N:.*]] = miura.rms_norm %[[X]], %{{.*}} epsilon 1.000000e-05 : tensor<?x8xf32>, tensor<8xf32>
// CHECK-NOT: miura.onnx_node
// CHECK: return %[[N]]
func.func @rms_norm(%x: tensor<?x8xf32, #miura.dims<"n", "">>) -> tensor<?x8xf32, #miura.dims<"n", "">> {
  %two = arith.constant dense<2.0> : tensor<f32>
  %axis = arith.constant dense<-1> : tensor<1xi64>
  %eps = arith.constant dense<0.00001> : tensor<f64>
  %one = arith.constant dense<1.0> : tensor<f32>
  %scale = arith.constant dense<[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]> : tensor<8xf32>
  %0 = miura.onnx_node "Mul"(%x, %x) version(18) : (tensor<?x8xf32, #miura.dims<"n", "">>, tensor<?x8xf32, #miura.dims<"n", "">>) -> tensor<?x8xf32>
  %1 = miura.onnx_node "ReduceMean"(%0, %axis) {keepdims = 1 : si64} version(18) : (tensor<?x8xf32>, tensor<1xi64>) -> tensor<?x1xf32>
  %2 = miura.onnx_node "Add"(%1, %eps) version(18) : (tensor<?x1xf32>, tensor<f64>) -> tensor<?x1xf32>
  %3 = miura.onnx_node "Sqrt"(%2) version(18) : (tensor<?x1xf32>) -> tensor<?x1xf32>
  %4 = miura.onnx_node "Div"(%one, %3) version(18) : (tensor<f32>, tensor<?x1xf32>) -> tensor<?x1xf32>
  %5 = miura.onnx_node "Mul"(%4, %x) version(18) : (tensor<?x1xf32>, tensor<?x8xf32, #miura.dims<"n", "">>) -> tensor<?x8xf32>
  %6 = miura.onnx_node "Mul"(%5, %scale) version(18) : (tensor<?x8xf32>, tensor<8xf32>) -> tensor<?x8xf32, #miura.dims<"n", "">>
  return %6 : tensor<?x8xf32, #miura.dims<"n", "">>
}

// -----

// The mean of another tensor's squares is no norm.
// CHECK-LABEL: func @no_norm_of_another(
// CHECK-NOT: miura.rms_norm
// CHECK: return
func.func @no_norm_of_another(%x: tensor<?x8xf32>, %y: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %axis = arith.constant dense<-1> : tensor<1xi64>
  %eps = arith.constant dense<0.00001> : tensor<f32>
  %0 = miura.onnx_node "Mul"(%y, %y) version(18) : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  %1 = miura.onnx_node "ReduceMean"(%0, %axis) {keepdims = 1 : si64} version(18) : (tensor<?x8xf32>, tensor<1xi64>) -> tensor<?x1xf32>
  %2 = miura.onnx_node "Add"(%1, %eps) version(18) : (tensor<?x1xf32>, tensor<f32>) -> tensor<?x1xf32>
  %3 = miura.onnx_node "Sqrt"(%2) version(18) : (tensor<?x1xf32>) -> tensor<?x1xf32>
  %4 = miura.onnx_node "Div"(%x, %3) version(18) : (tensor<?x8xf32>, tensor<?x1xf32>) -> tensor<?x8xf32>
  return %4 : tensor<?x8xf32>
}

// -----

// Nor is a mean over another dimension.
// CHECK-LABEL: func @no_norm_over_rows(
// CHECK-NOT: miura.rms_norm
// CHECK: return
func.func @no_norm_over_rows(%x: tensor<4x8xf32>) -> tensor<4x8xf32> {
  %axis = arith.constant dense<0> : tensor<1xi64>
  %eps = arith.constant dense<0.00001> : tensor<f32>
  %0 = miura.onnx_node "Mul"(%x, %x) version(18) : (tensor<4x8xf32>, tensor<4x8xf32>) -> tensor<4x8xf32>
  %1 = miura.onnx_node "ReduceMean"(%0, %axis) {keepdims = 1 : si64} version(18) : (tensor<4x8xf32>, tensor<1xi64>) -> tensor<1x8xf32>
  %2 = miura.onnx_node "Add"(%1, %eps) version(18) : (tensor<1x8xf32>, tensor<f32>) -> tensor<1x8xf32>
  %3 = miura.onnx_node "Sqrt"(%2) version(18) : (tensor<1x8xf32>) -> tensor<1x8xf32>
  %4 = miura.onnx_node "Div"(%x, %3) version(18) : (tensor<4x8xf32>, tensor<1x8xf32>) -> tensor<4x8xf32>
  return %4 : tensor<4x8xf32>
}

// -----

// x − mean(x) makes it a LayerNorm.
// CHECK-LABEL: func @layer_norm(
// CHECK-SAME: %[[X:.*]]: tensor<?x4xf32>
// CHECK: miura.layer_norm %[[X]], %{{.*}}, %{{.*}} epsilon 1.000000e-03 : tensor<?x4xf32>, tensor<4xf32>, tensor<4xf32>
// CHECK-NOT: miura.onnx_node
func.func @layer_norm(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %two = arith.constant dense<2.0> : tensor<f32>
  %eps = arith.constant dense<0.001> : tensor<f64>
  %scale = arith.constant dense<[1.0, 2.0, 3.0, 4.0]> : tensor<4xf32>
  %bias = arith.constant dense<[4.0, 3.0, 2.0, 1.0]> : tensor<4xf32>
  %m = miura.onnx_node "ReduceMean"(%x) {axes = array<i64: -1>} version(13) : (tensor<?x4xf32>) -> tensor<?x1xf32>
  %c = miura.onnx_node "Sub"(%x, %m) version(13) : (tensor<?x4xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>
  %0 = miura.onnx_node "Pow"(%c, %two) version(13) : (tensor<?x4xf32>, tensor<f32>) -> tensor<?x4xf32>
  %1 = miura.onnx_node "ReduceMean"(%0) {axes = array<i64: -1>} version(13) : (tensor<?x4xf32>) -> tensor<?x1xf32>
  %2 = miura.onnx_node "Add"(%1, %eps) version(13) : (tensor<?x1xf32>, tensor<f64>) -> tensor<?x1xf32>
  %3 = miura.onnx_node "Sqrt"(%2) version(13) : (tensor<?x1xf32>) -> tensor<?x1xf32>
  %4 = miura.onnx_node "Div"(%c, %3) version(13) : (tensor<?x4xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>
  %5 = miura.onnx_node "Mul"(%4, %scale) version(13) : (tensor<?x4xf32>, tensor<4xf32>) -> tensor<?x4xf32>
  %6 = miura.onnx_node "Add"(%5, %bias) version(13) : (tensor<?x4xf32>, tensor<4xf32>) -> tensor<?x4xf32>
  return %6 : tensor<?x4xf32>
}

// -----

// A weight stored in × out is read through a transpose; a bias is folded; an id
// is the initializer's name, and another use of it is told by its node.
// CHECK-LABEL: func @linears(
// CHECK-SAME: %[[X:.*]]: tensor<?x?x8xf32>
// CHECK: %[[W:.*]] = miura.weight @w : tensor<8x16xf32>
// CHECK: %[[T:.*]] = miura.transpose %[[W]] : tensor<8x16xf32> -> tensor<16x8xf32>
// CHECK: miura.linear %[[X]], %[[T]], %{{.*}} id("w") compute(f32, f32)
// CHECK: miura.linear %[[X]], %[[T]] id("w@second") compute(f32, f32)
miura.weight_data private @w = bytes<"x", offset = 0, length = 512> : tensor<8x16xf32>
func.func @linears(%x: tensor<?x?x8xf32>) -> (tensor<?x?x16xf32>, tensor<?x?x16xf32>) {
  %w = miura.weight @w : tensor<8x16xf32>
  %b = arith.constant dense<1.0> : tensor<16xf32>
  %0 = miura.onnx_node "MatMul"(%x, %w) version(18) name("first") : (tensor<?x?x8xf32>, tensor<8x16xf32>) -> tensor<?x?x16xf32>
  %1 = miura.onnx_node "Add"(%0, %b) version(18) : (tensor<?x?x16xf32>, tensor<16xf32>) -> tensor<?x?x16xf32>
  %2 = miura.onnx_node "MatMul"(%x, %w) version(18) name("second") : (tensor<?x?x8xf32>, tensor<8x16xf32>) -> tensor<?x?x16xf32>
  return %1, %2 : tensor<?x?x16xf32>, tensor<?x?x16xf32>
}

// -----

// A product of two computed tensors is no linear.
// CHECK-LABEL: func @no_linear(
// CHECK: miura.onnx_node "MatMul"
func.func @no_linear(%x: tensor<?x8xf32>, %w: tensor<8x16xf32>) -> tensor<?x16xf32> {
  %0 = miura.onnx_node "MatMul"(%x, %w) version(18) : (tensor<?x8xf32>, tensor<8x16xf32>) -> tensor<?x16xf32>
  return %0 : tensor<?x16xf32>
}

// -----

// Both forms of GELU, written out.
// CHECK-LABEL: func @gelu(
// CHECK-SAME: %[[X:.*]]: tensor<?x8xf32>
// CHECK: miura.gelu %[[X]] : tensor<?x8xf32>
// CHECK: miura.gelu %[[X]] tanh : tensor<?x8xf32>
// CHECK-NOT: miura.onnx_node
func.func @gelu(%x: tensor<?x8xf32>) -> (tensor<?x8xf32>, tensor<?x8xf32>) {
  %root = arith.constant dense<1.41421354> : tensor<f32>
  %half = arith.constant dense<0.5> : tensor<f32>
  %one = arith.constant dense<1.0> : tensor<f32>
  %three = arith.constant dense<3.0> : tensor<f32>
  %k = arith.constant dense<4.471500e-02> : tensor<f32>
  %c = arith.constant dense<0.797884583> : tensor<f32>
  %0 = miura.onnx_node "Div"(%x, %root) version(18) : (tensor<?x8xf32>, tensor<f32>) -> tensor<?x8xf32>
  %1 = miura.onnx_node "Erf"(%0) version(18) : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %2 = miura.onnx_node "Add"(%1, %one) version(18) : (tensor<?x8xf32>, tensor<f32>) -> tensor<?x8xf32>
  %3 = miura.onnx_node "Mul"(%x, %2) version(18) : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  %4 = miura.onnx_node "Mul"(%half, %3) version(18) : (tensor<f32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  %5 = miura.onnx_node "Pow"(%x, %three) version(18) : (tensor<?x8xf32>, tensor<f32>) -> tensor<?x8xf32>
  %6 = miura.onnx_node "Mul"(%5, %k) version(18) : (tensor<?x8xf32>, tensor<f32>) -> tensor<?x8xf32>
  %7 = miura.onnx_node "Add"(%x, %6) version(18) : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  %8 = miura.onnx_node "Mul"(%7, %c) version(18) : (tensor<?x8xf32>, tensor<f32>) -> tensor<?x8xf32>
  %9 = miura.onnx_node "Tanh"(%8) version(18) : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %10 = miura.onnx_node "Add"(%one, %9) version(18) : (tensor<f32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  %11 = miura.onnx_node "Mul"(%x, %half) version(18) : (tensor<?x8xf32>, tensor<f32>) -> tensor<?x8xf32>
  %12 = miura.onnx_node "Mul"(%11, %10) version(18) : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  return %4, %12 : tensor<?x8xf32>, tensor<?x8xf32>
}

// -----

// CHECK-LABEL: func @silu(
// CHECK-SAME: %[[X:.*]]: tensor<?x8xf32>, %[[Y:.*]]: tensor<?x8xf32>
// CHECK-DAG: miura.silu %[[X]]
// CHECK-DAG: miura.onnx_node "Sigmoid"(%[[X]])
func.func @silu(%x: tensor<?x8xf32>, %y: tensor<?x8xf32>) -> (tensor<?x8xf32>, tensor<?x8xf32>) {
  %0 = miura.onnx_node "Sigmoid"(%x) version(18) : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %1 = miura.onnx_node "Mul"(%0, %x) version(18) : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  // The gate of another tensor is none.
  %2 = miura.onnx_node "Mul"(%0, %y) version(18) : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  return %1, %2 : tensor<?x8xf32>, tensor<?x8xf32>
}

// -----

// Equal types do not make equal shapes: only the first sum is one of equals.
// CHECK-LABEL: func @elementwise(
// CHECK: arith.addf
// CHECK: miura.onnx_node "Add"
func.func @elementwise(%x: tensor<?xf32, #miura.dims<"n">>, %y: tensor<?xf32, #miura.dims<"n">>, %z: tensor<?xf32, #miura.dims<"m">>) -> tensor<?xf32> {
  %0 = miura.onnx_node "Add"(%x, %y) version(18) : (tensor<?xf32, #miura.dims<"n">>, tensor<?xf32, #miura.dims<"n">>) -> tensor<?xf32>
  %1 = miura.onnx_node "Add"(%0, %z) version(18) : (tensor<?xf32>, tensor<?xf32, #miura.dims<"m">>) -> tensor<?xf32>
  return %1 : tensor<?xf32>
}

// -----

// Where nothing is zero, sizes tell the places; repeating by a mask is written
// so.
// CHECK-LABEL: func @places_of_a_full_mask
// CHECK: %[[P:.*]] = arith.constant dense<{{\[}}[0, 0, 0, 1, 1, 1], [0, 1, 2, 0, 1, 2]]> : tensor<2x6xi64>
// CHECK: return %[[P]]
func.func @places_of_a_full_mask() -> tensor<2x6xi64> {
  %zero = arith.constant dense<0> : tensor<i64>
  %one = arith.constant dense<1> : tensor<i64>
  %counts = arith.constant dense<3> : tensor<2x1xi64>
  %most = miura.onnx_node "ReduceMax"(%counts) {keepdims = 0 : si64} version(18) : (tensor<2x1xi64>) -> tensor<i64>
  %range = miura.onnx_node "Range"(%zero, %most, %one) version(18) : (tensor<i64>, tensor<i64>, tensor<i64>) -> tensor<?xi64>
  %mask = miura.onnx_node "Less"(%range, %counts) version(18) : (tensor<?xi64>, tensor<2x1xi64>) -> tensor<2x?xi1>
  %places = miura.onnx_node "NonZero"(%mask) version(18) : (tensor<2x?xi1>) -> tensor<2x6xi64>
  return %places : tensor<2x6xi64>
}

// -----

// Rows taken by tuples of one index; two indices take elements, and stay, as do
// rows that the model itself chooses.
// CHECK-LABEL: func @rows_by_tuples(
// CHECK-SAME: %[[I:[a-z0-9]+]]: tensor<?x?xi64>
// CHECK: miura.embedding %[[I]], %{{.*}} : (tensor<?x?xi64>, tensor<3x2xf32>) -> tensor<?x?x2xf32>
// CHECK: miura.onnx_node "GatherND"
// CHECK: miura.onnx_node "GatherND"
func.func @rows_by_tuples(%i: tensor<?x?xi64, #miura.dims<"b", "t">>, %two: tensor<?x2xi64>, %choice: tensor<5x1xf32>) -> (tensor<?x?x2xf32>, tensor<?xf32>, tensor<5x2xf32>) {
  %table = arith.constant dense<[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]> : tensor<3x2xf32>
  %last = arith.constant dense<-1> : tensor<1xi64>
  %u = miura.onnx_node "Unsqueeze"(%i, %last) version(18) : (tensor<?x?xi64, #miura.dims<"b", "t">>, tensor<1xi64>) -> tensor<?x?x1xi64>
  %y = miura.onnx_node "GatherND"(%table, %u) {batch_dims = 0 : si64} version(18) : (tensor<3x2xf32>, tensor<?x?x1xi64>) -> tensor<?x?x2xf32>
  %z = miura.onnx_node "GatherND"(%table, %two) {batch_dims = 0 : si64} version(18) : (tensor<3x2xf32>, tensor<?x2xi64>) -> tensor<?xf32>
  %chosen = miura.onnx_node "Cast"(%choice) {to = 7 : si64} version(18) : (tensor<5x1xf32>) -> tensor<5x1xi64>
  %w = miura.onnx_node "GatherND"(%table, %chosen) {batch_dims = 0 : si64} version(18) : (tensor<3x2xf32>, tensor<5x1xi64>) -> tensor<5x2xf32>
  return %y, %z, %w : tensor<?x?x2xf32>, tensor<?xf32>, tensor<5x2xf32>
}

// -----

// Positions that count the tokens of a file without a cache, looked up flat and
// spread again: one look-up per token, after the table that it reads.
// CHECK-LABEL: func @counted_positions(
// CHECK-SAME: %[[T:[a-z0-9]+]]: tensor<?x?xi64>
// CHECK: %[[P:.*]] = miura.positions %[[T]]
// CHECK: miura.embedding %[[T]],
// CHECK: miura.embedding %{{.*}}, %{{.*}} : (tensor<?x?xi64>, tensor<3x2xf32>) -> tensor<?x?x2xf32>
// CHECK-NEXT: arith.addf
func.func @counted_positions(%tokens: tensor<?x?xi64, #miura.dims<"b", "t">>) -> tensor<?x?x2xf32> {
  %words = arith.constant dense<[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0]]> : tensor<4x2xf32>
  %table = arith.constant dense<[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]> : tensor<3x2xf32>
  %zero = arith.constant dense<0> : tensor<i64>
  %one = arith.constant dense<1> : tensor<i64>
  %spread = arith.constant dense<[1, -1, 2]> : tensor<3xi64>
  %flat = arith.constant dense<-1> : tensor<1xi64>
  %front = arith.constant dense<0> : tensor<1xi64>
  %e = miura.onnx_node "Gather"(%words, %tokens) {axis = 0 : si64} version(18) : (tensor<4x2xf32>, tensor<?x?xi64, #miura.dims<"b", "t">>) -> tensor<?x?x2xf32>
  %s = miura.onnx_node "Shape"(%tokens) {start = 1 : si64, end = 2 : si64} version(18) : (tensor<?x?xi64, #miura.dims<"b", "t">>) -> tensor<1xi64>
  %n = miura.onnx_node "Squeeze"(%s) version(18) : (tensor<1xi64>) -> tensor<i64>
  %r = miura.onnx_node "Range"(%zero, %n, %one) version(18) : (tensor<i64>, tensor<i64>, tensor<i64>) -> tensor<?xi64>
  %u = miura.onnx_node "Unsqueeze"(%r, %front) version(18) : (tensor<?xi64>, tensor<1xi64>) -> tensor<1x?xi64>
  %f = miura.onnx_node "Reshape"(%u, %flat) version(18) : (tensor<1x?xi64>, tensor<1xi64>) -> tensor<?xi64>
  %p = miura.onnx_node "Gather"(%table, %f) {axis = 0 : si64} version(18) : (tensor<3x2xf32>, tensor<?xi64>) -> tensor<?x2xf32>
  %p3 = miura.onnx_node "Reshape"(%p, %spread) version(18) : (tensor<?x2xf32>, tensor<3xi64>) -> tensor<1x?x2xf32>
  %y = miura.onnx_node "Add"(%e, %p3) version(18) : (tensor<?x?x2xf32>, tensor<1x?x2xf32>) -> tensor<?x?x2xf32>
  return %y : tensor<?x?x2xf32>
}

// -----

// GatherElements of the same row in every column takes rows; of other columns'
// rows it takes elements.
// CHECK-LABEL: func @rows_by_elements(
// CHECK-SAME: %[[I:[a-z0-9]+]]: tensor<?x?xi64>
// CHECK: miura.embedding %[[I]], %{{.*}} : (tensor<?x?xi64>, tensor<3x2xf32>) -> tensor<?x?x2xf32>
// CHECK: miura.onnx_node "GatherElements"
func.func @rows_by_elements(%i: tensor<?x?xi64, #miura.dims<"b", "t">>, %own: tensor<1x?x2xi64>) -> (tensor<?x?x2xf32>, tensor<1x?x2xf32>) {
  %table = arith.constant dense<[[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]]> : tensor<1x3x2xf32>
  %last = arith.constant dense<-1> : tensor<1xi64>
  %one = arith.constant dense<1> : tensor<1xi64>
  %columns = arith.constant dense<[1, 1, 2]> : tensor<3xi64>
  %b = miura.onnx_node "Shape"(%i) {start = 0 : si64, end = 1 : si64} version(18) : (tensor<?x?xi64, #miura.dims<"b", "t">>) -> tensor<1xi64>
  %often = miura.onnx_node "Concat"(%b, %one, %one) {axis = 0 : si64} version(18) : (tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<3xi64>
  %all = miura.onnx_node "Expand"(%table, %often) version(18) : (tensor<1x3x2xf32>, tensor<3xi64>) -> tensor<?x3x2xf32>
  %u = miura.onnx_node "Unsqueeze"(%i, %last) version(18) : (tensor<?x?xi64, #miura.dims<"b", "t">>, tensor<1xi64>) -> tensor<?x?x1xi64>
  %places = miura.onnx_node "Tile"(%u, %columns) version(18) : (tensor<?x?x1xi64>, tensor<3xi64>) -> tensor<?x?x2xi64>
  %y = miura.onnx_node "GatherElements"(%all, %places) {axis = 1 : si64} version(18) : (tensor<?x3x2xf32>, tensor<?x?x2xi64>) -> tensor<?x?x2xf32>
  %z = miura.onnx_node "GatherElements"(%table, %own) {axis = 1 : si64} version(18) : (tensor<1x3x2xf32>, tensor<1x?x2xi64>) -> tensor<1x?x2xf32>
  return %y, %z : tensor<?x?x2xf32>, tensor<1x?x2xf32>
}

// -----

// Positions of one row of tokens.
// CHECK-LABEL: func @positions_of_one_row(
// CHECK-SAME: %[[T:[a-z0-9]+]]: tensor<1x?xi64>
// CHECK: %[[P:.*]] = miura.positions %[[T]]
func.func @positions_of_one_row(%tokens: tensor<1x?xi64, #miura.dims<"", "t">>) -> tensor<1x?x2xf32> {
  %words = arith.constant dense<[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0]]> : tensor<4x2xf32>
  %table = arith.constant dense<[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]> : tensor<3x2xf32>
  %zero = arith.constant dense<0> : tensor<i64>
  %one = arith.constant dense<1> : tensor<i64>
  %front = arith.constant dense<0> : tensor<1xi64>
  %e = miura.onnx_node "Gather"(%words, %tokens) {axis = 0 : si64} version(18) : (tensor<4x2xf32>, tensor<1x?xi64, #miura.dims<"", "t">>) -> tensor<1x?x2xf32>
  %s = miura.onnx_node "Shape"(%tokens) {start = 1 : si64, end = 2 : si64} version(18) : (tensor<1x?xi64, #miura.dims<"", "t">>) -> tensor<1xi64>
  %n = miura.onnx_node "Squeeze"(%s) version(18) : (tensor<1xi64>) -> tensor<i64>
  %r = miura.onnx_node "Range"(%zero, %n, %one) version(18) : (tensor<i64>, tensor<i64>, tensor<i64>) -> tensor<?xi64>
  %u = miura.onnx_node "Unsqueeze"(%r, %front) version(18) : (tensor<?xi64>, tensor<1xi64>) -> tensor<1x?xi64>
  %p = miura.onnx_node "Gather"(%table, %u) {axis = 0 : si64} version(18) : (tensor<3x2xf32>, tensor<1x?xi64>) -> tensor<1x?x2xf32>
  %y = miura.onnx_node "Add"(%e, %p) version(18) : (tensor<1x?x2xf32>, tensor<1x?x2xf32>) -> tensor<1x?x2xf32>
  return %y : tensor<1x?x2xf32>
}

// -----

// A mask that is given as many rows as there are of tokens has as many.
// CHECK-LABEL: func @rows_of_a_mask(
// CHECK-SAME: %[[M:[a-z0-9]+]]: tensor<?x?xi64>
// CHECK-NOT: "Reshape"
// CHECK: return
func.func @rows_of_a_mask(%tokens: tensor<?x?xi64, #miura.dims<"b", "t">>, %mask: tensor<?x?xi64, #miura.dims<"rows", "total">>) -> tensor<?x?xi64> {
  %rest = arith.constant dense<-1> : tensor<1xi64>
  %b = miura.onnx_node "Shape"(%tokens) {start = 0 : si64, end = 1 : si64} version(18) : (tensor<?x?xi64, #miura.dims<"b", "t">>) -> tensor<1xi64>
  %s = miura.onnx_node "Concat"(%b, %rest) {axis = 0 : si64} version(18) : (tensor<1xi64>, tensor<1xi64>) -> tensor<2xi64>
  %y = miura.onnx_node "Reshape"(%mask, %s) version(18) : (tensor<?x?xi64, #miura.dims<"rows", "total">>, tensor<2xi64>) -> tensor<?x?xi64>
  return %y : tensor<?x?xi64>
}

// -----

// A second table that the tokens index, with a row for every layer's use, does
// not make them positions.
// CHECK-LABEL: func @tables_of_tokens(
// CHECK-SAME: miura.role = #miura.role<tokens>
// CHECK-SAME: miura.role = #miura.role<positions>
func.func @tables_of_tokens(%tokens: tensor<?x?xi64, #miura.dims<"b", "t">>, %positions: tensor<?x?xi64, #miura.dims<"b", "t">>) -> tensor<?x?x3xf32> {
  %words = arith.constant dense<[[1.0, 2.0, 3.0], [3.0, 4.0, 4.0], [5.0, 6.0, 9.0]]> : tensor<3x3xf32>
  %more = arith.constant dense<[[1.5, 2.0, 3.0], [3.0, 4.5, 4.0], [5.0, 6.0, 9.5]]> : tensor<3x3xf32>
  %places = arith.constant dense<[[1.0, 2.0, 5.0], [3.0, 4.0, 6.0]]> : tensor<2x3xf32>
  %e = miura.onnx_node "Gather"(%words, %tokens) {axis = 0 : si64} version(18) : (tensor<3x3xf32>, tensor<?x?xi64, #miura.dims<"b", "t">>) -> tensor<?x?x3xf32>
  %f = miura.onnx_node "Gather"(%more, %tokens) {axis = 0 : si64} version(18) : (tensor<3x3xf32>, tensor<?x?xi64, #miura.dims<"b", "t">>) -> tensor<?x?x3xf32>
  %p = miura.onnx_node "Gather"(%places, %positions) {axis = 0 : si64} version(18) : (tensor<2x3xf32>, tensor<?x?xi64, #miura.dims<"b", "t">>) -> tensor<?x?x3xf32>
  %x = miura.onnx_node "Add"(%e, %f) version(18) : (tensor<?x?x3xf32>, tensor<?x?x3xf32>) -> tensor<?x?x3xf32>
  %y = miura.onnx_node "Add"(%x, %p) version(18) : (tensor<?x?x3xf32>, tensor<?x?x3xf32>) -> tensor<?x?x3xf32>
  return %y : tensor<?x?x3xf32>
}

// -----

// How often a dimension is repeated is known although it is computed, as
// repeat_interleave is by way of a OneHot.
// CHECK-LABEL: func @known_repetitions(
// CHECK: %[[N:.*]] = arith.constant dense<[1, 2, 1]> : tensor<3xi64>
// CHECK: miura.onnx_node "Tile"(%{{.*}}, %[[N]])
func.func @known_repetitions(%x: tensor<?x1x3xf32, #miura.dims<"n", "", "">>) -> tensor<?x2x3xf32> {
  %place = arith.constant dense<1> : tensor<1xi64>
  %depth = arith.constant dense<3> : tensor<i64>
  %values = arith.constant dense<[1, 2]> : tensor<2xi64>
  %front = arith.constant dense<0> : tensor<1xi64>
  %hot = miura.onnx_node "OneHot"(%place, %depth, %values) version(11) : (tensor<1xi64>, tensor<i64>, tensor<2xi64>) -> tensor<1x3xi64>
  %often = miura.onnx_node "Squeeze"(%hot, %front) version(13) : (tensor<1x3xi64>, tensor<1xi64>) -> tensor<3xi64>
  %y = miura.onnx_node "Tile"(%x, %often) version(13) : (tensor<?x1x3xf32, #miura.dims<"n", "", "">>, tensor<3xi64>) -> tensor<?x2x3xf32>
  return %y : tensor<?x2x3xf32>
}

// -----

// A choice that is computed from the tokens' rows (of an expert, whose bias a
// table holds) says nothing of positions.
// CHECK-LABEL: func @choices_are_no_positions(
// CHECK-SAME: miura.role = #miura.role<tokens>
// CHECK-SAME: miura.role = #miura.role<positions>
// CHECK-NOT: miura.role
func.func @choices_are_no_positions(%tokens: tensor<?x?xi64, #miura.dims<"b", "t">>, %positions: tensor<?x?xi64, #miura.dims<"b", "t">>, %other: tensor<?x?xi64, #miura.dims<"b", "t">>) -> tensor<?x?x3xf32> {
  %words = arith.constant dense<[[1.0, 2.0, 3.0], [3.0, 4.0, 4.0], [5.0, 6.0, 9.0]]> : tensor<3x3xf32>
  %biases = arith.constant dense<[[1.5, 2.0, 3.0], [3.0, 4.5, 4.0]]> : tensor<2x3xf32>
  %places = arith.constant dense<[[1.0, 2.0, 5.0], [3.0, 4.0, 6.0]]> : tensor<2x3xf32>
  %e = miura.onnx_node "Gather"(%words, %tokens) {axis = 0 : si64} version(18) : (tensor<3x3xf32>, tensor<?x?xi64, #miura.dims<"b", "t">>) -> tensor<?x?x3xf32>
  %p = miura.onnx_node "Gather"(%places, %positions) {axis = 0 : si64} version(18) : (tensor<2x3xf32>, tensor<?x?xi64, #miura.dims<"b", "t">>) -> tensor<?x?x3xf32>
  %x = miura.onnx_node "Add"(%e, %p) version(18) : (tensor<?x?x3xf32>, tensor<?x?x3xf32>) -> tensor<?x?x3xf32>
  %best = miura.onnx_node "ArgMax"(%x) {axis = -1 : si64, keepdims = 0 : si64} version(13) : (tensor<?x?x3xf32>) -> tensor<?x?xi64>
  %seen = miura.onnx_node "Mul"(%best, %other) version(14) : (tensor<?x?xi64>, tensor<?x?xi64, #miura.dims<"b", "t">>) -> tensor<?x?xi64>
  %b = miura.onnx_node "Gather"(%biases, %seen) {axis = 0 : si64} version(18) : (tensor<2x3xf32>, tensor<?x?xi64>) -> tensor<?x?x3xf32>
  %y = miura.onnx_node "Add"(%x, %b) version(18) : (tensor<?x?x3xf32>, tensor<?x?x3xf32>) -> tensor<?x?x3xf32>
  return %y : tensor<?x?x3xf32>
}
