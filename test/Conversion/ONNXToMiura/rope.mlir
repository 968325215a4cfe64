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

// The same in f32 of what was rounded to f16 before.
// CHECK-LABEL: func @half_rounded(
// CHECK-SAME: %[[X:[a-z0-9]+]]: tensor<1x2x?x4xf16>
// CHECK-SAME: %[[C:[a-z0-9]+]]: tensor<1x?x4xf32>
// CHECK-SAME: %[[S:[a-z0-9]+]]: tensor<1x?x4xf32>
// CHECK: %[[W:.*]] = arith.extf %[[X]]
// CHECK: %[[R:.*]] = miura.rope %[[W]], %[[C]], %[[S]] : tensor<1x2x?x4xf32>
// CHECK: return %[[R]]
func.func @half_rounded(%x: tensor<1x2x?x4xf16, #miura.dims<"", "", "t", "">>, %c: tensor<1x?x4xf32, #miura.dims<"", "t", "">>, %s: tensor<1x?x4xf32, #miura.dims<"", "t", "">>) -> tensor<1x2x?x4xf32> {
  %zero = arith.constant dense<0> : tensor<1xi64>
  %one = arith.constant dense<1> : tensor<1xi64>
  %two = arith.constant dense<2> : tensor<1xi64>
  %last = arith.constant dense<-1> : tensor<1xi64>
  %end = arith.constant dense<9223372036854775807> : tensor<1xi64>
  %c4 = miura.onnx_node "Unsqueeze"(%c, %one) version(18) : (tensor<1x?x4xf32, #miura.dims<"", "t", "">>, tensor<1xi64>) -> tensor<1x1x?x4xf32>
  %s4 = miura.onnx_node "Unsqueeze"(%s, %one) version(18) : (tensor<1x?x4xf32, #miura.dims<"", "t", "">>, tensor<1xi64>) -> tensor<1x1x?x4xf32>
  %x1 = miura.onnx_node "Slice"(%x, %zero, %two, %last) version(18) : (tensor<1x2x?x4xf16, #miura.dims<"", "", "t", "">>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<1x2x?x2xf16>
  %x2 = miura.onnx_node "Slice"(%x, %two, %end, %last) version(18) : (tensor<1x2x?x4xf16, #miura.dims<"", "", "t", "">>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<1x2x?x2xf16>
  %n = miura.onnx_node "Neg"(%x2) version(18) : (tensor<1x2x?x2xf16>) -> tensor<1x2x?x2xf16>
  %rr = miura.onnx_node "Concat"(%n, %x1) {axis = -1 : si64} version(18) : (tensor<1x2x?x2xf16>, tensor<1x2x?x2xf16>) -> tensor<1x2x?x4xf16>
  %r = miura.onnx_node "Cast"(%rr) {to = 1 : si64} version(18) : (tensor<1x2x?x4xf16>) -> tensor<1x2x?x4xf32>
  %xw = miura.onnx_node "Cast"(%x) {to = 1 : si64} version(18) : (tensor<1x2x?x4xf16, #miura.dims<"", "", "t", "">>) -> tensor<1x2x?x4xf32>
  %a = miura.onnx_node "Mul"(%xw, %c4) version(18) : (tensor<1x2x?x4xf32>, tensor<1x1x?x4xf32>) -> tensor<1x2x?x4xf32>
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

// -----

// The first four of six entries as pairs, on batch × sequence × heads × size;
// sines and cosines are columns of one table.
// CHECK-LABEL: func @partial_pairs(
// CHECK-SAME: tensor<1x?x2x6xf32>{{.*}} %[[A:[a-z0-9]+]]: tensor<1x?x4xf32>
// CHECK-DAG: %[[H:.*]] = miura.split_heads
// CHECK-DAG: tensor.extract_slice %[[A]][0, 0, 2] [1, %{{.*}}, 2]
// CHECK-DAG: tensor.extract_slice %[[A]][0, 0, 0] [1, %{{.*}}, 2]
// CHECK: %[[R:.*]] = miura.rope %[[H]], %{{.*}}, %{{.*}} interleaved : tensor<1x2x?x6xf32>
// CHECK-NOT: miura.rope
// CHECK: miura.merge_heads %[[R]]
func.func @partial_pairs(%x: tensor<1x?x2x6xf32, #miura.dims<"", "t", "", "">>, %a: tensor<1x?x4xf32, #miura.dims<"", "t", "">>) -> tensor<1x?x2x6xf32> {
  %zero = arith.constant dense<0> : tensor<1xi64>
  %one = arith.constant dense<1> : tensor<1xi64>
  %two = arith.constant dense<2> : tensor<1xi64>
  %three = arith.constant dense<3> : tensor<1xi64>
  %four = arith.constant dense<4> : tensor<1xi64>
  %last = arith.constant dense<-1> : tensor<1xi64>
  %end = arith.constant dense<9223372036854775807> : tensor<1xi64>
  %twice = arith.constant dense<[1, 1, 1, 1, 2]> : tensor<5xi64>
  %wide = arith.constant dense<[1, -1, 1, 4]> : tensor<4xi64>
  %pairs = arith.constant dense<[1, -1, 2, 4]> : tensor<4xi64>
  %s, %c = miura.onnx_node "Split"(%a) {axis = 2 : si64, num_outputs = 2 : si64} version(18) : (tensor<1x?x4xf32, #miura.dims<"", "t", "">>) -> (tensor<1x?x2xf32>, tensor<1x?x2xf32>)
  %c4 = miura.onnx_node "Unsqueeze"(%c, %two) version(18) : (tensor<1x?x2xf32>, tensor<1xi64>) -> tensor<1x?x1x2xf32>
  %c5 = miura.onnx_node "Unsqueeze"(%c4, %four) version(18) : (tensor<1x?x1x2xf32>, tensor<1xi64>) -> tensor<1x?x1x2x1xf32>
  %ce = miura.onnx_node "Expand"(%c5, %twice) version(18) : (tensor<1x?x1x2x1xf32>, tensor<5xi64>) -> tensor<1x?x1x2x2xf32>
  %cw = miura.onnx_node "Reshape"(%ce, %wide) version(18) : (tensor<1x?x1x2x2xf32>, tensor<4xi64>) -> tensor<1x?x1x4xf32>
  %s4 = miura.onnx_node "Unsqueeze"(%s, %two) version(18) : (tensor<1x?x2xf32>, tensor<1xi64>) -> tensor<1x?x1x2xf32>
  %s5 = miura.onnx_node "Unsqueeze"(%s4, %four) version(18) : (tensor<1x?x1x2xf32>, tensor<1xi64>) -> tensor<1x?x1x2x1xf32>
  %se = miura.onnx_node "Expand"(%s5, %twice) version(18) : (tensor<1x?x1x2x1xf32>, tensor<5xi64>) -> tensor<1x?x1x2x2xf32>
  %sw = miura.onnx_node "Reshape"(%se, %wide) version(18) : (tensor<1x?x1x2x2xf32>, tensor<4xi64>) -> tensor<1x?x1x4xf32>
  %low = miura.onnx_node "Slice"(%x, %zero, %four, %three, %one) version(18) : (tensor<1x?x2x6xf32, #miura.dims<"", "t", "", "">>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<1x?x2x4xf32>
  %rest = miura.onnx_node "Slice"(%x, %four, %end, %three, %one) version(18) : (tensor<1x?x2x6xf32, #miura.dims<"", "t", "", "">>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<1x?x2x2xf32>
  %even = miura.onnx_node "Slice"(%low, %zero, %end, %three, %two) version(18) : (tensor<1x?x2x4xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<1x?x2x2xf32>
  %odd = miura.onnx_node "Slice"(%low, %one, %end, %three, %two) version(18) : (tensor<1x?x2x4xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<1x?x2x2xf32>
  %n = miura.onnx_node "Neg"(%odd) version(18) : (tensor<1x?x2x2xf32>) -> tensor<1x?x2x2xf32>
  %n5 = miura.onnx_node "Unsqueeze"(%n, %last) version(18) : (tensor<1x?x2x2xf32>, tensor<1xi64>) -> tensor<1x?x2x2x1xf32>
  %e5 = miura.onnx_node "Unsqueeze"(%even, %last) version(18) : (tensor<1x?x2x2xf32>, tensor<1xi64>) -> tensor<1x?x2x2x1xf32>
  %stack = miura.onnx_node "Concat"(%n5, %e5) {axis = -1 : si64} version(18) : (tensor<1x?x2x2x1xf32>, tensor<1x?x2x2x1xf32>) -> tensor<1x?x2x2x2xf32>
  %r = miura.onnx_node "Reshape"(%stack, %pairs) version(18) : (tensor<1x?x2x2x2xf32>, tensor<4xi64>) -> tensor<1x?x2x4xf32>
  %p = miura.onnx_node "Mul"(%low, %cw) version(18) : (tensor<1x?x2x4xf32>, tensor<1x?x1x4xf32>) -> tensor<1x?x2x4xf32>
  %q = miura.onnx_node "Mul"(%r, %sw) version(18) : (tensor<1x?x2x4xf32>, tensor<1x?x1x4xf32>) -> tensor<1x?x2x4xf32>
  %t = miura.onnx_node "Add"(%p, %q) version(18) : (tensor<1x?x2x4xf32>, tensor<1x?x2x4xf32>) -> tensor<1x?x2x4xf32>
  %y = miura.onnx_node "Concat"(%t, %rest) {axis = -1 : si64} version(18) : (tensor<1x?x2x4xf32>, tensor<1x?x2x2xf32>) -> tensor<1x?x2x6xf32>
  return %y : tensor<1x?x2x6xf32>
}

// -----

// A norm with one scale per head is what is rotated, not a product with more
// factors.
// CHECK-LABEL: func @scaled_per_head(
// CHECK: miura.layer_norm
// CHECK: %[[X:.*]] = miura.onnx_node "Mul"
// CHECK: miura.rope %[[X]]
func.func @scaled_per_head(%x: tensor<1x2x?x4xf32, #miura.dims<"", "", "t", "">>, %c: tensor<1x1x?x2xf32, #miura.dims<"", "", "t", "">>, %s: tensor<1x1x?x2xf32, #miura.dims<"", "", "t", "">>) -> tensor<1x2x?x4xf32> {
  %two = arith.constant dense<2.0> : tensor<f32>
  %epsilon = arith.constant dense<1.0e-5> : tensor<f32>
  %last = arith.constant dense<-1> : tensor<1xi64>
  %w = arith.constant dense<[[[1.0, 2.0, 3.0, 4.0]], [[5.0, 6.0, 7.0, 8.0]]]> : tensor<2x1x4xf32>
  %mean = miura.onnx_node "ReduceMean"(%x, %last) version(18) : (tensor<1x2x?x4xf32, #miura.dims<"", "", "t", "">>, tensor<1xi64>) -> tensor<1x2x?x1xf32>
  %d = miura.onnx_node "Sub"(%x, %mean) version(18) : (tensor<1x2x?x4xf32, #miura.dims<"", "", "t", "">>, tensor<1x2x?x1xf32>) -> tensor<1x2x?x4xf32>
  %square = miura.onnx_node "Pow"(%d, %two) version(18) : (tensor<1x2x?x4xf32>, tensor<f32>) -> tensor<1x2x?x4xf32>
  %variance = miura.onnx_node "ReduceMean"(%square, %last) version(18) : (tensor<1x2x?x4xf32>, tensor<1xi64>) -> tensor<1x2x?x1xf32>
  %shifted = miura.onnx_node "Add"(%variance, %epsilon) version(18) : (tensor<1x2x?x1xf32>, tensor<f32>) -> tensor<1x2x?x1xf32>
  %root = miura.onnx_node "Sqrt"(%shifted) version(18) : (tensor<1x2x?x1xf32>) -> tensor<1x2x?x1xf32>
  %normal = miura.onnx_node "Div"(%d, %root) version(18) : (tensor<1x2x?x4xf32>, tensor<1x2x?x1xf32>) -> tensor<1x2x?x4xf32>
  %h = miura.onnx_node "Mul"(%normal, %w) version(18) : (tensor<1x2x?x4xf32>, tensor<2x1x4xf32>) -> tensor<1x2x?x4xf32>
  %x1, %x2 = miura.onnx_node "Split"(%h) {axis = -1 : si64, num_outputs = 2 : si64} version(18) : (tensor<1x2x?x4xf32>) -> (tensor<1x2x?x2xf32>, tensor<1x2x?x2xf32>)
  %a = miura.onnx_node "Mul"(%x1, %c) version(18) : (tensor<1x2x?x2xf32>, tensor<1x1x?x2xf32, #miura.dims<"", "", "t", "">>) -> tensor<1x2x?x2xf32>
  %b = miura.onnx_node "Mul"(%x2, %s) version(18) : (tensor<1x2x?x2xf32>, tensor<1x1x?x2xf32, #miura.dims<"", "", "t", "">>) -> tensor<1x2x?x2xf32>
  %m = miura.onnx_node "Sub"(%a, %b) version(18) : (tensor<1x2x?x2xf32>, tensor<1x2x?x2xf32>) -> tensor<1x2x?x2xf32>
  %e = miura.onnx_node "Mul"(%x2, %c) version(18) : (tensor<1x2x?x2xf32>, tensor<1x1x?x2xf32, #miura.dims<"", "", "t", "">>) -> tensor<1x2x?x2xf32>
  %f = miura.onnx_node "Mul"(%x1, %s) version(18) : (tensor<1x2x?x2xf32>, tensor<1x1x?x2xf32, #miura.dims<"", "", "t", "">>) -> tensor<1x2x?x2xf32>
  %g = miura.onnx_node "Add"(%e, %f) version(18) : (tensor<1x2x?x2xf32>, tensor<1x2x?x2xf32>) -> tensor<1x2x?x2xf32>
  %y = miura.onnx_node "Concat"(%m, %g) {axis = 3 : si64} version(18) : (tensor<1x2x?x2xf32>, tensor<1x2x?x2xf32>) -> tensor<1x2x?x4xf32>
  return %y : tensor<1x2x?x4xf32>
}

// -----

// Angles whose places come before the sequence.
// CHECK-LABEL: func @places_before_the_sequence(
// CHECK-SAME: %[[X:[a-z0-9]+]]: tensor<1x2x?x4xf32>
// CHECK-DAG: miura.onnx_node "Transpose"(%{{.*}}) {perm = array<i64: 0, 2, 1>}
// CHECK: miura.rope %[[X]], %{{.*}}, %{{.*}} : tensor<1x2x?x4xf32>
func.func @places_before_the_sequence(%x: tensor<1x2x?x4xf32, #miura.dims<"", "", "t", "">>, %c: tensor<1x2x?xf32, #miura.dims<"", "", "t">>, %s: tensor<1x2x?xf32, #miura.dims<"", "", "t">>) -> tensor<1x2x?x4xf32> {
  %one = arith.constant dense<1> : tensor<1xi64>
  %ct = miura.onnx_node "Transpose"(%c) {perm = array<i64: 0, 2, 1>} version(18) : (tensor<1x2x?xf32, #miura.dims<"", "", "t">>) -> tensor<1x?x2xf32>
  %st = miura.onnx_node "Transpose"(%s) {perm = array<i64: 0, 2, 1>} version(18) : (tensor<1x2x?xf32, #miura.dims<"", "", "t">>) -> tensor<1x?x2xf32>
  %c4 = miura.onnx_node "Unsqueeze"(%ct, %one) version(18) : (tensor<1x?x2xf32>, tensor<1xi64>) -> tensor<1x1x?x2xf32>
  %s4 = miura.onnx_node "Unsqueeze"(%st, %one) version(18) : (tensor<1x?x2xf32>, tensor<1xi64>) -> tensor<1x1x?x2xf32>
  %x1, %x2 = miura.onnx_node "Split"(%x) {axis = -1 : si64, num_outputs = 2 : si64} version(18) : (tensor<1x2x?x4xf32, #miura.dims<"", "", "t", "">>) -> (tensor<1x2x?x2xf32>, tensor<1x2x?x2xf32>)
  %a = miura.onnx_node "Mul"(%x1, %c4) version(18) : (tensor<1x2x?x2xf32>, tensor<1x1x?x2xf32>) -> tensor<1x2x?x2xf32>
  %b = miura.onnx_node "Mul"(%x2, %s4) version(18) : (tensor<1x2x?x2xf32>, tensor<1x1x?x2xf32>) -> tensor<1x2x?x2xf32>
  %d = miura.onnx_node "Sub"(%a, %b) version(18) : (tensor<1x2x?x2xf32>, tensor<1x2x?x2xf32>) -> tensor<1x2x?x2xf32>
  %e = miura.onnx_node "Mul"(%x2, %c4) version(18) : (tensor<1x2x?x2xf32>, tensor<1x1x?x2xf32>) -> tensor<1x2x?x2xf32>
  %f = miura.onnx_node "Mul"(%x1, %s4) version(18) : (tensor<1x2x?x2xf32>, tensor<1x1x?x2xf32>) -> tensor<1x2x?x2xf32>
  %g = miura.onnx_node "Add"(%e, %f) version(18) : (tensor<1x2x?x2xf32>, tensor<1x2x?x2xf32>) -> tensor<1x2x?x2xf32>
  %y = miura.onnx_node "Concat"(%d, %g) {axis = 3 : si64} version(18) : (tensor<1x2x?x2xf32>, tensor<1x2x?x2xf32>) -> tensor<1x2x?x4xf32>
  return %y : tensor<1x2x?x4xf32>
}

// -----

// Two blocks of two query heads, each with a key and a value behind it.
// CHECK-LABEL: func @blocks_of_heads(
// CHECK-SAME: tensor<1x?x32xf32>
// CHECK: tensor.extract_slice %{{.*}}[0, 0, 0, 0] [1, %{{.*}}, 2, 8] [1, 1, 1, 1]
// CHECK: %[[H:.*]] = miura.split_heads %{{.*}} : tensor<1x?x16xf32> -> tensor<1x4x?x4xf32>
// CHECK: miura.rope %[[H]], %{{.*}}, %{{.*}} : tensor<1x4x?x4xf32>
func.func @blocks_of_heads(%x: tensor<1x?x32xf32, #miura.dims<"", "t", "">>, %c: tensor<1x1x?x2xf32, #miura.dims<"", "", "t", "">>, %s: tensor<1x1x?x2xf32, #miura.dims<"", "", "t", "">>) -> tensor<1x4x?x4xf32> {
  %zero = arith.constant dense<0> : tensor<1xi64>
  %two = arith.constant dense<2> : tensor<1xi64>
  %three = arith.constant dense<3> : tensor<1xi64>
  %blocks = arith.constant dense<[1, -1, 2, 4, 4]> : tensor<5xi64>
  %all = arith.constant dense<[1, -1, 4, 4]> : tensor<4xi64>
  %r = miura.onnx_node "Reshape"(%x, %blocks) version(18) : (tensor<1x?x32xf32, #miura.dims<"", "t", "">>, tensor<5xi64>) -> tensor<1x?x2x4x4xf32>
  %q = miura.onnx_node "Slice"(%r, %zero, %two, %three) version(18) : (tensor<1x?x2x4x4xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<1x?x2x2x4xf32>
  %m = miura.onnx_node "Reshape"(%q, %all) version(18) : (tensor<1x?x2x2x4xf32>, tensor<4xi64>) -> tensor<1x?x4x4xf32>
  %h = miura.onnx_node "Transpose"(%m) {perm = array<i64: 0, 2, 1, 3>} version(18) : (tensor<1x?x4x4xf32>) -> tensor<1x4x?x4xf32>
  %x1, %x2 = miura.onnx_node "Split"(%h) {axis = -1 : si64, num_outputs = 2 : si64} version(18) : (tensor<1x4x?x4xf32>) -> (tensor<1x4x?x2xf32>, tensor<1x4x?x2xf32>)
  %a = miura.onnx_node "Mul"(%x1, %c) version(18) : (tensor<1x4x?x2xf32>, tensor<1x1x?x2xf32, #miura.dims<"", "", "t", "">>) -> tensor<1x4x?x2xf32>
  %b = miura.onnx_node "Mul"(%x2, %s) version(18) : (tensor<1x4x?x2xf32>, tensor<1x1x?x2xf32, #miura.dims<"", "", "t", "">>) -> tensor<1x4x?x2xf32>
  %d = miura.onnx_node "Sub"(%a, %b) version(18) : (tensor<1x4x?x2xf32>, tensor<1x4x?x2xf32>) -> tensor<1x4x?x2xf32>
  %e = miura.onnx_node "Mul"(%x2, %c) version(18) : (tensor<1x4x?x2xf32>, tensor<1x1x?x2xf32, #miura.dims<"", "", "t", "">>) -> tensor<1x4x?x2xf32>
  %f = miura.onnx_node "Mul"(%x1, %s) version(18) : (tensor<1x4x?x2xf32>, tensor<1x1x?x2xf32, #miura.dims<"", "", "t", "">>) -> tensor<1x4x?x2xf32>
  %g = miura.onnx_node "Add"(%e, %f) version(18) : (tensor<1x4x?x2xf32>, tensor<1x4x?x2xf32>) -> tensor<1x4x?x2xf32>
  %y = miura.onnx_node "Concat"(%d, %g) {axis = 3 : si64} version(18) : (tensor<1x4x?x2xf32>, tensor<1x4x?x2xf32>) -> tensor<1x4x?x4xf32>
  return %y : tensor<1x4x?x4xf32>
}
