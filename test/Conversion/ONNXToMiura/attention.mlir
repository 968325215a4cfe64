// RUN: miura-opt %s -split-input-file --miura-raise --canonicalize --cse 2>/dev/null | FileCheck %s

// Grouped heads repeated by Expand, a scale on both sides, a causal mask of
// ranges, and heads split by Reshape and Transpose.
// CHECK-LABEL: func @causal(
// CHECK-SAME: %[[Q:[a-z0-9]+]]: tensor<?x?x16xf32>
// CHECK-SAME: %[[K:[a-z0-9]+]]: tensor<?x?x8xf32>
// CHECK-DAG: %[[QH:.*]] = miura.split_heads %[[Q]] : tensor<?x?x16xf32> -> tensor<?x4x?x4xf32>
// CHECK-DAG: %[[KH:.*]] = miura.split_heads %[[K]] : tensor<?x?x8xf32> -> tensor<?x2x?x4xf32>
// CHECK: %[[A:.*]] = miura.attention %[[QH]], %[[KH]], %[[KH]] scale 0.49999998288572911 causal :
// CHECK: %[[M:.*]] = miura.merge_heads %[[A]]
// CHECK: return %[[M]]
func.func @causal(%q: tensor<?x?x16xf32, #miura.dims<"b", "t", "">>, %k: tensor<?x?x8xf32, #miura.dims<"b", "t", "">>) -> tensor<?x?x16xf32> {
  %zero = arith.constant dense<0> : tensor<i64>
  %one = arith.constant dense<1> : tensor<i64>
  %axis1 = arith.constant dense<1> : tensor<1xi64>
  %axis2 = arith.constant dense<2> : tensor<1xi64>
  %hidden = arith.constant dense<0xFF800000> : tensor<f32>
  %nothing = arith.constant dense<0.0> : tensor<f32>
  %scale = arith.constant dense<0.70710678> : tensor<f32>
  %s4 = arith.constant dense<[0, 0, 4, 4]> : tensor<4xi64>
  %s2 = arith.constant dense<[0, 0, 2, 4]> : tensor<4xi64>
  %rep = arith.constant dense<[1, 1, 2, 1, 1]> : tensor<5xi64>
  %flat = arith.constant dense<[0, 4, -1, 4]> : tensor<4xi64>
  %out = arith.constant dense<[0, 0, 16]> : tensor<3xi64>
  %t = miura.onnx_node "Shape"(%q) {start = 1 : si64, end = 2 : si64} version(18) : (tensor<?x?x16xf32, #miura.dims<"b", "t", "">>) -> tensor<1xi64>
  %n = miura.onnx_node "Squeeze"(%t) version(18) : (tensor<1xi64>) -> tensor<i64>
  %r = miura.onnx_node "Range"(%zero, %n, %one) version(18) : (tensor<i64>, tensor<i64>, tensor<i64>) -> tensor<?xi64>
  %c = miura.onnx_node "Unsqueeze"(%r, %axis1) version(18) : (tensor<?xi64>, tensor<1xi64>) -> tensor<?x1xi64>
  %seen = miura.onnx_node "LessOrEqual"(%r, %c) version(18) : (tensor<?xi64>, tensor<?x1xi64>) -> tensor<?x?xi1>
  %mask = miura.onnx_node "Where"(%seen, %nothing, %hidden) version(18) : (tensor<?x?xi1>, tensor<f32>, tensor<f32>) -> tensor<?x?xf32>
  %q4 = miura.onnx_node "Reshape"(%q, %s4) version(18) : (tensor<?x?x16xf32, #miura.dims<"b", "t", "">>, tensor<4xi64>) -> tensor<?x?x4x4xf32>
  %qt = miura.onnx_node "Transpose"(%q4) {perm = array<i64: 0, 2, 1, 3>} version(18) : (tensor<?x?x4x4xf32>) -> tensor<?x4x?x4xf32>
  %k4 = miura.onnx_node "Reshape"(%k, %s2) version(18) : (tensor<?x?x8xf32, #miura.dims<"b", "t", "">>, tensor<4xi64>) -> tensor<?x?x2x4xf32>
  %kt = miura.onnx_node "Transpose"(%k4) {perm = array<i64: 0, 2, 1, 3>} version(18) : (tensor<?x?x2x4xf32>) -> tensor<?x2x?x4xf32>
  %k5 = miura.onnx_node "Unsqueeze"(%kt, %axis2) version(18) : (tensor<?x2x?x4xf32>, tensor<1xi64>) -> tensor<?x2x1x?x4xf32>
  %ke = miura.onnx_node "Expand"(%k5, %rep) version(18) : (tensor<?x2x1x?x4xf32>, tensor<5xi64>) -> tensor<?x2x2x?x4xf32>
  %kr = miura.onnx_node "Reshape"(%ke, %flat) version(18) : (tensor<?x2x2x?x4xf32>, tensor<4xi64>) -> tensor<?x4x?x4xf32>
  %kk = miura.onnx_node "Transpose"(%kr) {perm = array<i64: 0, 1, 3, 2>} version(18) : (tensor<?x4x?x4xf32>) -> tensor<?x4x4x?xf32>
  %qs = miura.onnx_node "Mul"(%qt, %scale) version(18) : (tensor<?x4x?x4xf32>, tensor<f32>) -> tensor<?x4x?x4xf32>
  %ks = miura.onnx_node "Mul"(%kk, %scale) version(18) : (tensor<?x4x4x?xf32>, tensor<f32>) -> tensor<?x4x4x?xf32>
  %s = miura.onnx_node "MatMul"(%qs, %ks) version(18) : (tensor<?x4x?x4xf32>, tensor<?x4x4x?xf32>) -> tensor<?x4x?x?xf32>
  %sm = miura.onnx_node "Add"(%s, %mask) version(18) : (tensor<?x4x?x?xf32>, tensor<?x?xf32>) -> tensor<?x4x?x?xf32>
  %p = miura.onnx_node "Softmax"(%sm) {axis = -1 : si64} version(18) : (tensor<?x4x?x?xf32>) -> tensor<?x4x?x?xf32>
  %y = miura.onnx_node "MatMul"(%p, %kr) version(18) : (tensor<?x4x?x?xf32>, tensor<?x4x?x4xf32>) -> tensor<?x4x?x4xf32>
  %yt = miura.onnx_node "Transpose"(%y) {perm = array<i64: 0, 2, 1, 3>} version(18) : (tensor<?x4x?x4xf32>) -> tensor<?x?x4x4xf32>
  %z = miura.onnx_node "Reshape"(%yt, %out) version(18) : (tensor<?x?x4x4xf32>, tensor<3xi64>) -> tensor<?x?x16xf32>
  return %z : tensor<?x?x16xf32>
}

// -----

// A mask that hides with minus infinity and has no fallback for a query that
// sees no key is kept as it is: the file gives NaN there. One that hides with
// the lowest number gives the mean there, and one whose NaN is replaced, zeros.
// CHECK-LABEL: func @padding(
// CHECK-SAME: %[[X:[a-z0-9]+]]: tensor<1x2x?x4xf32>
// CHECK-SAME: %[[M:[a-z0-9]+]]: tensor<1x?xi64> {{{.*}}miura.role = #miura.role<mask>}
// CHECK: miura.attention %[[X]], %[[X]], %[[X]] mask %{{.*}} scale
// CHECK: miura.attention %[[X]], %[[X]], %[[X]] padding %[[M]] : tensor<1x?xi64> scale 1.000000e+00 {hidden = -3.4028234663852886E+38 : f64}
// CHECK: miura.attention %[[X]], %[[X]], %[[X]] padding %[[M]] : tensor<1x?xi64> scale 1.000000e+00 :
func.func @padding(%x: tensor<1x2x?x4xf32, #miura.dims<"", "", "t", "">>, %m: tensor<1x?xi64, #miura.dims<"", "t">>) -> (tensor<1x2x?x4xf32>, tensor<1x2x?x4xf32>, tensor<1x2x?x4xf32>) {
  %axes = arith.constant dense<[1, 2]> : tensor<2xi64>
  %nothing = arith.constant dense<0.0> : tensor<f32>
  %infinite = arith.constant dense<0xFF800000> : tensor<f32>
  %lowest = arith.constant dense<-3.40282347E+38> : tensor<f32>
  %b = miura.onnx_node "Cast"(%m) {to = 9 : si64} version(18) : (tensor<1x?xi64, #miura.dims<"", "t">>) -> tensor<1x?xi1>
  %b4 = miura.onnx_node "Unsqueeze"(%b, %axes) version(18) : (tensor<1x?xi1>, tensor<2xi64>) -> tensor<1x1x1x?xi1>
  %mi = miura.onnx_node "Where"(%b4, %nothing, %infinite) version(18) : (tensor<1x1x1x?xi1>, tensor<f32>, tensor<f32>) -> tensor<1x1x1x?xf32>
  %ml = miura.onnx_node "Where"(%b4, %nothing, %lowest) version(18) : (tensor<1x1x1x?xi1>, tensor<f32>, tensor<f32>) -> tensor<1x1x1x?xf32>
  %k = miura.onnx_node "Transpose"(%x) {perm = array<i64: 0, 1, 3, 2>} version(18) : (tensor<1x2x?x4xf32, #miura.dims<"", "", "t", "">>) -> tensor<1x2x4x?xf32>
  %s = miura.onnx_node "MatMul"(%x, %k) version(18) : (tensor<1x2x?x4xf32, #miura.dims<"", "", "t", "">>, tensor<1x2x4x?xf32>) -> tensor<1x2x?x?xf32>
  %s1 = miura.onnx_node "Add"(%s, %mi) version(18) : (tensor<1x2x?x?xf32>, tensor<1x1x1x?xf32>) -> tensor<1x2x?x?xf32>
  %s2 = miura.onnx_node "Add"(%s, %ml) version(18) : (tensor<1x2x?x?xf32>, tensor<1x1x1x?xf32>) -> tensor<1x2x?x?xf32>
  %s3 = miura.onnx_node "Add"(%s, %mi) version(18) : (tensor<1x2x?x?xf32>, tensor<1x1x1x?xf32>) -> tensor<1x2x?x?xf32>
  %p1 = miura.onnx_node "Softmax"(%s1) version(18) : (tensor<1x2x?x?xf32>) -> tensor<1x2x?x?xf32>
  %p2 = miura.onnx_node "Softmax"(%s2) version(18) : (tensor<1x2x?x?xf32>) -> tensor<1x2x?x?xf32>
  %p3 = miura.onnx_node "Softmax"(%s3) version(18) : (tensor<1x2x?x?xf32>) -> tensor<1x2x?x?xf32>
  %nan = miura.onnx_node "IsNaN"(%p3) version(18) : (tensor<1x2x?x?xf32>) -> tensor<1x2x?x?xi1>
  %p4 = miura.onnx_node "Where"(%nan, %nothing, %p3) version(18) : (tensor<1x2x?x?xi1>, tensor<f32>, tensor<1x2x?x?xf32>) -> tensor<1x2x?x?xf32>
  %y1 = miura.onnx_node "MatMul"(%p1, %x) version(18) : (tensor<1x2x?x?xf32>, tensor<1x2x?x4xf32, #miura.dims<"", "", "t", "">>) -> tensor<1x2x?x4xf32>
  %y2 = miura.onnx_node "MatMul"(%p2, %x) version(18) : (tensor<1x2x?x?xf32>, tensor<1x2x?x4xf32, #miura.dims<"", "", "t", "">>) -> tensor<1x2x?x4xf32>
  %y3 = miura.onnx_node "MatMul"(%p4, %x) version(18) : (tensor<1x2x?x?xf32>, tensor<1x2x?x4xf32, #miura.dims<"", "", "t", "">>) -> tensor<1x2x?x4xf32>
  return %y1, %y2, %y3 : tensor<1x2x?x4xf32>, tensor<1x2x?x4xf32>, tensor<1x2x?x4xf32>
}

// -----

// A mask that no closed form says stays an operand.
// CHECK-LABEL: func @unknown_mask(
// CHECK-SAME: %[[X:[a-z0-9]+]]: tensor<1x2x?x4xf32>
// CHECK-SAME: %[[M:[a-z0-9]+]]: tensor<1x2x?x?xf32>
// CHECK: miura.attention %[[X]], %[[X]], %[[X]] mask %[[M]] : tensor<1x2x?x?xf32> scale 1.000000e+00 :
func.func @unknown_mask(%x: tensor<1x2x?x4xf32, #miura.dims<"", "", "t", "">>, %m: tensor<1x2x?x?xf32, #miura.dims<"", "", "t", "t">>) -> tensor<1x2x?x4xf32> {
  %k = miura.onnx_node "Transpose"(%x) {perm = array<i64: 0, 1, 3, 2>} version(18) : (tensor<1x2x?x4xf32, #miura.dims<"", "", "t", "">>) -> tensor<1x2x4x?xf32>
  %s = miura.onnx_node "MatMul"(%x, %k) version(18) : (tensor<1x2x?x4xf32, #miura.dims<"", "", "t", "">>, tensor<1x2x4x?xf32>) -> tensor<1x2x?x?xf32>
  %s1 = miura.onnx_node "Add"(%s, %m) version(18) : (tensor<1x2x?x?xf32>, tensor<1x2x?x?xf32, #miura.dims<"", "", "t", "t">>) -> tensor<1x2x?x?xf32>
  %p = miura.onnx_node "Softmax"(%s1) version(18) : (tensor<1x2x?x?xf32>) -> tensor<1x2x?x?xf32>
  %y = miura.onnx_node "MatMul"(%p, %x) version(18) : (tensor<1x2x?x?xf32>, tensor<1x2x?x4xf32, #miura.dims<"", "", "t", "">>) -> tensor<1x2x?x4xf32>
  return %y : tensor<1x2x?x4xf32>
}

// -----

// A softmax over queries is no attention.
// CHECK-LABEL: func @no_attention(
// CHECK-NOT: miura.attention
// CHECK: return
func.func @no_attention(%x: tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32> {
  %k = miura.onnx_node "Transpose"(%x) {perm = array<i64: 0, 1, 3, 2>} version(18) : (tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32>
  %s = miura.onnx_node "MatMul"(%x, %k) version(18) : (tensor<1x2x4x4xf32>, tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32>
  %p = miura.onnx_node "Softmax"(%s) {axis = 2 : si64} version(18) : (tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32>
  %y = miura.onnx_node "MatMul"(%p, %x) version(18) : (tensor<1x2x4x4xf32>, tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32>
  return %y : tensor<1x2x4x4xf32>
}

// -----

// Scores of all heads in one dimension, which only the mask's view tells apart,
// and cut to the lowest number before the softmax, so that a query that sees no
// key gets the mean.
// CHECK-LABEL: func @flat_heads(
// CHECK-SAME: %[[X:[a-z0-9]+]]: tensor<3x2x5x4xf32>
// CHECK-SAME: %[[M:[a-z0-9]+]]: tensor<3x5xi64>
// CHECK: %[[A:.*]] = miura.attention %[[X]], %[[X]], %[[X]] padding %[[M]] : tensor<3x5xi64> scale 1.000000e+00 {hidden = -3.4028234663852886E+38 : f64}
// CHECK: return %[[A]]
func.func @flat_heads(%x: tensor<3x2x5x4xf32>, %m: tensor<3x5xi64> {miura.role = #miura.role<mask>}) -> tensor<3x2x5x4xf32> {
  %axes = arith.constant dense<[1, 2]> : tensor<2xi64>
  %lowest = arith.constant dense<-3.40282347E+38> : tensor<f32>
  %hidden = arith.constant dense<0xFF800000> : tensor<f32>
  %nothing = arith.constant dense<0.0> : tensor<f32>
  %flat = arith.constant dense<[6, 5, 4]> : tensor<3xi64>
  %square = arith.constant dense<[6, 5, 5]> : tensor<3xi64>
  %split = arith.constant dense<[3, 2, 5, 5]> : tensor<4xi64>
  %back = arith.constant dense<[3, 2, 5, 4]> : tensor<4xi64>
  %q = miura.onnx_node "Reshape"(%x, %flat) version(18) : (tensor<3x2x5x4xf32>, tensor<3xi64>) -> tensor<6x5x4xf32>
  %k = miura.onnx_node "Transpose"(%q) {perm = array<i64: 0, 2, 1>} version(18) : (tensor<6x5x4xf32>) -> tensor<6x4x5xf32>
  %s = miura.onnx_node "MatMul"(%q, %k) version(18) : (tensor<6x5x4xf32>, tensor<6x4x5xf32>) -> tensor<6x5x5xf32>
  %s4 = miura.onnx_node "Reshape"(%s, %split) version(18) : (tensor<6x5x5xf32>, tensor<4xi64>) -> tensor<3x2x5x5xf32>
  %seen = miura.onnx_node "Cast"(%m) {to = 9 : si64} version(18) : (tensor<3x5xi64>) -> tensor<3x5xi1>
  %seen4 = miura.onnx_node "Unsqueeze"(%seen, %axes) version(18) : (tensor<3x5xi1>, tensor<2xi64>) -> tensor<3x1x1x5xi1>
  %mask = miura.onnx_node "Where"(%seen4, %nothing, %hidden) version(18) : (tensor<3x1x1x5xi1>, tensor<f32>, tensor<f32>) -> tensor<3x1x1x5xf32>
  %sm = miura.onnx_node "Add"(%s4, %mask) version(18) : (tensor<3x2x5x5xf32>, tensor<3x1x1x5xf32>) -> tensor<3x2x5x5xf32>
  %cut = miura.onnx_node "Max"(%sm, %lowest) version(18) : (tensor<3x2x5x5xf32>, tensor<f32>) -> tensor<3x2x5x5xf32>
  %s3 = miura.onnx_node "Reshape"(%cut, %square) version(18) : (tensor<3x2x5x5xf32>, tensor<3xi64>) -> tensor<6x5x5xf32>
  %p = miura.onnx_node "Softmax"(%s3) {axis = -1 : si64} version(18) : (tensor<6x5x5xf32>) -> tensor<6x5x5xf32>
  %y = miura.onnx_node "MatMul"(%p, %q) version(18) : (tensor<6x5x5xf32>, tensor<6x5x4xf32>) -> tensor<6x5x4xf32>
  %z = miura.onnx_node "Reshape"(%y, %back) version(18) : (tensor<6x5x4xf32>, tensor<4xi64>) -> tensor<3x2x5x4xf32>
  return %z : tensor<3x2x5x4xf32>
}

// -----

// Queries that a norm in f32 is rounded to are those that were rounded.
// CHECK-LABEL: func @rounded_norm(
// CHECK-SAME: %[[X:[a-z0-9]+]]: tensor<1x2x?x4xf32>
// CHECK-SAME: %[[K:[a-z0-9]+]]: tensor<1x2x?x4xf16>
// CHECK: %[[N:.*]] = miura.rms_norm %[[X]]
// CHECK: %[[Q:.*]] = arith.truncf %[[N]]
// CHECK: miura.attention %[[Q]], %[[K]], %[[K]] scale 1.000000e+00 : tensor<1x2x?x4xf16>
func.func @rounded_norm(%x: tensor<1x2x?x4xf32, #miura.dims<"", "", "t", "">>, %k: tensor<1x2x?x4xf16, #miura.dims<"", "", "t", "">>) -> tensor<1x2x?x4xf16> {
  %two = arith.constant dense<2.0> : tensor<f32>
  %eps = arith.constant dense<1.0e-6> : tensor<f32>
  %axis = arith.constant dense<-1> : tensor<1xi64>
  %scale = arith.constant dense<[1.0, 2.0, 3.0, 4.0]> : tensor<4xf32>
  %square = miura.onnx_node "Pow"(%x, %two) version(18) : (tensor<1x2x?x4xf32, #miura.dims<"", "", "t", "">>, tensor<f32>) -> tensor<1x2x?x4xf32>
  %mean = miura.onnx_node "ReduceMean"(%square, %axis) {keepdims = 1 : si64} version(18) : (tensor<1x2x?x4xf32>, tensor<1xi64>) -> tensor<1x2x?x1xf32>
  %sum = miura.onnx_node "Add"(%mean, %eps) version(18) : (tensor<1x2x?x1xf32>, tensor<f32>) -> tensor<1x2x?x1xf32>
  %root = miura.onnx_node "Sqrt"(%sum) version(18) : (tensor<1x2x?x1xf32>) -> tensor<1x2x?x1xf32>
  %inverse = miura.onnx_node "Reciprocal"(%root) version(18) : (tensor<1x2x?x1xf32>) -> tensor<1x2x?x1xf32>
  %unit = miura.onnx_node "Mul"(%x, %inverse) version(18) : (tensor<1x2x?x4xf32, #miura.dims<"", "", "t", "">>, tensor<1x2x?x1xf32>) -> tensor<1x2x?x4xf32>
  %norm = miura.onnx_node "Mul"(%unit, %scale) version(18) : (tensor<1x2x?x4xf32>, tensor<4xf32>) -> tensor<1x2x?x4xf32>
  %q = miura.onnx_node "Cast"(%norm) {to = 10 : si64} version(18) : (tensor<1x2x?x4xf32>) -> tensor<1x2x?x4xf16>
  %kt = miura.onnx_node "Transpose"(%k) {perm = array<i64: 0, 1, 3, 2>} version(18) : (tensor<1x2x?x4xf16, #miura.dims<"", "", "t", "">>) -> tensor<1x2x4x?xf16>
  %s = miura.onnx_node "MatMul"(%q, %kt) version(18) : (tensor<1x2x?x4xf16>, tensor<1x2x4x?xf16>) -> tensor<1x2x?x?xf16>
  %p = miura.onnx_node "Softmax"(%s) version(18) : (tensor<1x2x?x?xf16>) -> tensor<1x2x?x?xf16>
  %y = miura.onnx_node "MatMul"(%p, %k) version(18) : (tensor<1x2x?x?xf16>, tensor<1x2x?x4xf16, #miura.dims<"", "", "t", "">>) -> tensor<1x2x?x4xf16>
  return %y : tensor<1x2x?x4xf16>
}

// -----

// Queries that are scaled by position are computed, then attended with; the
// constant factor behind goes into the scale.
// CHECK-LABEL: func @scaled_queries(
// CHECK-SAME: %[[K:[a-z0-9]+]]: tensor<?x2x?x4xf32>
// CHECK: %[[Q:.*]] = miura.onnx_node "Mul"
// CHECK: miura.attention %[[Q]], %[[K]], %[[K]] scale 5.000000e-01 {{.*}}tensor<?x2x?x4xf32>
func.func @scaled_queries(%k: tensor<?x2x?x4xf32, #miura.dims<"b", "", "t", "">>, %f: tensor<?x1x?x1xf32, #miura.dims<"b", "", "t", "">>) -> tensor<?x2x?x4xf32> {
  %half = arith.constant dense<0.5> : tensor<f32>
  %kt = miura.onnx_node "Transpose"(%k) {perm = array<i64: 0, 1, 3, 2>} version(18) : (tensor<?x2x?x4xf32, #miura.dims<"b", "", "t", "">>) -> tensor<?x2x4x?xf32>
  %q = miura.onnx_node "Mul"(%k, %f) version(18) : (tensor<?x2x?x4xf32, #miura.dims<"b", "", "t", "">>, tensor<?x1x?x1xf32, #miura.dims<"b", "", "t", "">>) -> tensor<?x2x?x4xf32>
  %h = miura.onnx_node "Mul"(%q, %half) version(18) : (tensor<?x2x?x4xf32>, tensor<f32>) -> tensor<?x2x?x4xf32>
  %s = miura.onnx_node "MatMul"(%h, %kt) version(18) : (tensor<?x2x?x4xf32>, tensor<?x2x4x?xf32>) -> tensor<?x2x?x?xf32>
  %p = miura.onnx_node "Softmax"(%s) {axis = -1 : si64} version(18) : (tensor<?x2x?x?xf32>) -> tensor<?x2x?x?xf32>
  %y = miura.onnx_node "MatMul"(%p, %k) version(18) : (tensor<?x2x?x?xf32>, tensor<?x2x?x4xf32, #miura.dims<"b", "", "t", "">>) -> tensor<?x2x?x4xf32>
  return %y : tensor<?x2x?x4xf32>
}
