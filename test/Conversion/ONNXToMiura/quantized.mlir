// RUN: miura-opt %s -split-input-file --miura-raise --canonicalize --cse 2>/dev/null | FileCheck %s

// Implicit zero points are the middle of the range: codes become signed, of
// two's complement (0x80 holds 0 and 8, which are −8 and 0), and no zeros are
// left. accuracy_level 4 is a compute.
// CHECK-LABEL: func @nbits(
// CHECK-SAME: %[[X:.*]]: tensor<?x?x32xf32>
// CHECK-DAG: %[[C:.*]] = arith.constant {{.*}}dense<{{\[\[}}-8, 0, -7, 1,
// CHECK-DAG: %[[S:.*]] = arith.constant dense<{{.*}}> : tensor<2x2xf32>
// CHECK: %[[W:.*]] = miura.dequantize %[[C]], %[[S]] block [1, 16] : tensor<2x32xi4>, tensor<2x2xf32> -> tensor<2x32xf32>
// CHECK: miura.linear %[[X]], %[[W]] id("w") compute(i8, f32, block = 16)
// CHECK-NOT: miura.onnx_node
func.func @nbits(%x: tensor<?x?x32xf32, #miura.dims<"b", "t", "">>) -> tensor<?x?x2xf32, #miura.dims<"b", "t", "">> {
  %w = arith.constant {miura.name = "w"} dense<[
    [[0x80, 0x91, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0, 0]],
    [[0, 0, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0, 0]]]> : tensor<2x2x8xui8>
  %s = arith.constant dense<[0.5, 0.25, 1.0, 2.0]> : tensor<4xf32>
  %y = miura.onnx_node "MatMulNBits"(%x, %w, %s) {K = 32 : si64, N = 2 : si64, bits = 4 : si64, block_size = 16 : si64, accuracy_level = 4 : si64} domain("com.microsoft") version(1)
    : (tensor<?x?x32xf32, #miura.dims<"b", "t", "">>, tensor<2x2x8xui8>, tensor<4xf32>) -> tensor<?x?x2xf32, #miura.dims<"b", "t", "">>
  return %y : tensor<?x?x2xf32, #miura.dims<"b", "t", "">>
}

// -----

// K = 20 in blocks of 16: rows lose their padding; zero points stay, packed.
// CHECK-LABEL: func @nbits_odd(
// CHECK-DAG: %[[C:.*]] = arith.constant {{.*}}dense<1> : tensor<3x20xi2>
// CHECK-DAG: %[[Z:.*]] = arith.constant dense<{{\[\[}}-1, -2], [-1, -2], [-1, -2]]> : tensor<3x2xi2>
// CHECK: miura.dequantize %[[C]], %{{.*}}, %[[Z]] block [1, 16] unsigned : tensor<3x20xi2>, tensor<3x2xf32>, tensor<3x2xi2> -> tensor<3x20xf32>
// CHECK: compute(f32, f32)
func.func @nbits_odd(%x: tensor<5x20xf32>) -> tensor<5x3xf32> {
  %w = arith.constant dense<0x55> : tensor<3x2x4xui8>
  %s = arith.constant dense<0.5> : tensor<3x2xf32>
  %z = arith.constant dense<11> : tensor<3x1xui8>
  %y = miura.onnx_node "MatMulNBits"(%x, %w, %s, %z) {K = 20 : si64, N = 3 : si64, bits = 2 : si64, block_size = 16 : si64} domain("com.microsoft") version(1)
    : (tensor<5x20xf32>, tensor<3x2x4xui8>, tensor<3x2xf32>, tensor<3x1xui8>) -> tensor<5x3xf32>
  return %y : tensor<5x3xf32>
}

// -----

// Zero points may be numbers.
// CHECK-LABEL: func @nbits_float_zeros(
// CHECK: miura.dequantize %{{.*}}, %{{.*}}, %{{.*}} block [1, 16] unsigned : tensor<2x16xi8>, tensor<2x1xf32>, tensor<2x1xf32> -> tensor<2x16xf32>
func.func @nbits_float_zeros(%x: tensor<5x16xf32>) -> tensor<5x2xf32> {
  %w = arith.constant dense<7> : tensor<2x1x16xui8>
  %s = arith.constant dense<0.5> : tensor<2xf32>
  %z = arith.constant dense<7.5> : tensor<2xf32>
  %y = miura.onnx_node "MatMulNBits"(%x, %w, %s, %z) {K = 16 : si64, N = 2 : si64, bits = 8 : si64, block_size = 16 : si64} domain("com.microsoft") version(1)
    : (tensor<5x16xf32>, tensor<2x1x16xui8>, tensor<2xf32>, tensor<2xf32>) -> tensor<5x2xf32>
  return %y : tensor<5x2xf32>
}

// -----

// One matrix for the look-up and the product, through a change of shape: one
// expression.
// CHECK-LABEL: func @shared(
// CHECK: %[[W:.*]] = miura.dequantize
// CHECK-NOT: miura.dequantize
// CHECK-DAG: miura.embedding %{{.*}}, %[[W]] id("w@gather")
// CHECK-DAG: miura.linear %{{.*}}, %[[W]] id("w")
func.func @shared(%i: tensor<?x?xi64, #miura.dims<"b", "t">>, %x: tensor<?x?x32xf32, #miura.dims<"b", "t", "">>) -> (tensor<?x?x4xf32>, tensor<?x?x32xf32>) {
  %w = arith.constant {miura.name = "w"} dense<0x35> : tensor<4x1x16xui8>
  %s = arith.constant dense<0.5> : tensor<4x1xf32>
  %shape = arith.constant dense<[4, 16]> : tensor<2xi64>
  %y = miura.onnx_node "MatMulNBits"(%x, %w, %s) {K = 32 : si64, N = 4 : si64, bits = 4 : si64, block_size = 32 : si64} domain("com.microsoft") version(1)
    : (tensor<?x?x32xf32, #miura.dims<"b", "t", "">>, tensor<4x1x16xui8>, tensor<4x1xf32>) -> tensor<?x?x4xf32>
  %flat = miura.onnx_node "Reshape"(%w, %shape) version(22) : (tensor<4x1x16xui8>, tensor<2xi64>) -> tensor<4x16xui8>
  %e = miura.onnx_node "GatherBlockQuantized"(%flat, %i, %s) {bits = 4 : si64, block_size = 32 : si64, gather_axis = 0 : si64, quantize_axis = 1 : si64} domain("com.microsoft") version(1) name("gather")
    : (tensor<4x16xui8>, tensor<?x?xi64, #miura.dims<"b", "t">>, tensor<4x1xf32>) -> tensor<?x?x32xf32>
  return %y, %e : tensor<?x?x4xf32>, tensor<?x?x32xf32>
}

// -----

// Blocks along the inner dimension of a matrix stored in × out: the expression
// has the file's order and is transposed, which moves nothing.
// CHECK-LABEL: func @blocked(
// CHECK: %[[D:.*]] = miura.dequantize %{{.*}}, %{{.*}} block [16, 1] : tensor<20x3xi4>, tensor<2x3xf32> -> tensor<20x3xf32>
// CHECK: %[[T:.*]] = miura.transpose %[[D]]
// CHECK: miura.linear %{{.*}}, %[[T]]
func.func @blocked(%x: tensor<5x20xf32>) -> tensor<5x3xf32> {
  %w = arith.constant dense<-3> : tensor<20x3xi4>
  %s = arith.constant dense<0.5> : tensor<2x3xf32>
  %d = miura.onnx_node "DequantizeLinear"(%w, %s) {axis = 0 : si64, block_size = 16 : si64} version(21) : (tensor<20x3xi4>, tensor<2x3xf32>) -> tensor<20x3xf32>
  %y = miura.onnx_node "MatMul"(%x, %d) version(13) : (tensor<5x20xf32>, tensor<20x3xf32>) -> tensor<5x3xf32>
  return %y : tensor<5x3xf32>
}

// -----

// A scale per column, zero points of 128 on uint8, and a transposition.
// CHECK-LABEL: func @per_channel(
// CHECK: %[[C:.*]] = arith.constant dense<-126> : tensor<3x20xi8>
// CHECK: %[[D:.*]] = miura.dequantize %[[C]], %{{.*}} block [1, 0] : tensor<3x20xi8>, tensor<3x1xf16> -> tensor<3x20xf16>
// CHECK-NOT: miura.transpose
// CHECK: miura.linear %{{.*}}, %[[D]]
func.func @per_channel(%x: tensor<5x20xf16>) -> tensor<5x3xf16> {
  %w = arith.constant dense<2> : tensor<3x20xui8>
  %s = arith.constant dense<[0.5, 1.0, 2.0]> : tensor<3xf16>
  %z = arith.constant dense<128> : tensor<3xui8>
  %d = miura.onnx_node "DequantizeLinear"(%w, %s, %z) {axis = 0 : si64} version(21) : (tensor<3x20xui8>, tensor<3xf16>, tensor<3xui8>) -> tensor<3x20xf16>
  %t = miura.onnx_node "Transpose"(%d) {perm = array<i64: 1, 0>} version(21) : (tensor<3x20xf16>) -> tensor<20x3xf16>
  %y = miura.onnx_node "MatMul"(%x, %t) version(13) : (tensor<5x20xf16>, tensor<20x3xf16>) -> tensor<5x3xf16>
  return %y : tensor<5x3xf16>
}

// -----

// Rows that are looked up before they are dequantized.
// CHECK-LABEL: func @gather_then_dequantize(
// CHECK: %[[D:.*]] = miura.dequantize %{{.*}}, %{{.*}} block [0, 0] unsigned : tensor<4x8xi8>, tensor<1x1xf32>, tensor<1x1xi8> -> tensor<4x8xf32>
// CHECK: miura.embedding %{{.*}}, %[[D]]
func.func @gather_then_dequantize(%i: tensor<?x?xi64, #miura.dims<"b", "t">>) -> tensor<?x?x8xf32> {
  %w = arith.constant dense<2> : tensor<4x8xui8>
  %s = arith.constant dense<0.5> : tensor<f32>
  %z = arith.constant dense<100> : tensor<ui8>
  %g = miura.onnx_node "Gather"(%w, %i) version(13) : (tensor<4x8xui8>, tensor<?x?xi64, #miura.dims<"b", "t">>) -> tensor<?x?x8xui8>
  %d = miura.onnx_node "DequantizeLinear"(%g, %s, %z) version(13) : (tensor<?x?x8xui8>, tensor<f32>, tensor<ui8>) -> tensor<?x?x8xf32>
  return %d : tensor<?x?x8xf32>
}

// -----

// NF4: a codebook, then block scales; the first code of a byte is its high one.
// CHECK-LABEL: func @nf4(
// CHECK-DAG: %[[C:.*]] = arith.constant {{.*}}dense<{{\[\[}}1, 2, 1, 2,
// CHECK-DAG: %[[T:.*]] = arith.constant dense<{{.*}}> : tensor<16x1xf32>
// CHECK: %[[L:.*]] = miura.lookup %[[C]], %[[T]] : tensor<2x16xi4>, tensor<16x1xf32> -> tensor<2x16xf32>
// CHECK: miura.dequantize %[[L]], %{{.*}} block [1, 16] : tensor<2x16xf32>, tensor<2x1xf32> -> tensor<2x16xf32>
func.func @nf4(%x: tensor<5x16xf32>) -> tensor<5x2xf32> {
  %w = arith.constant dense<[0x12, 0x12, 0x12, 0x12, 0x12, 0x12, 0x12, 0x12, 0, 0, 0, 0, 0, 0, 0, 0]> : tensor<16xui8>
  %s = arith.constant dense<0.5> : tensor<2xf32>
  %y = miura.onnx_node "MatMulBnb4"(%x, %w, %s) {K = 16 : si64, N = 2 : si64, quant_type = 1 : si64, block_size = 16 : si64} domain("com.microsoft") version(1)
    : (tensor<5x16xf32>, tensor<16xui8>, tensor<2xf32>) -> tensor<5x2xf32>
  return %y : tensor<5x2xf32>
}

// -----

// A bias that is dequantized is no matrix: it is its numbers.
// CHECK-LABEL: func @vector(
// CHECK: arith.constant dense<[5.000000e-01, 1.000000e+00, 1.500000e+00]>
func.func @vector(%x: tensor<5x3xf32>) -> tensor<5x3xf32> {
  %w = arith.constant dense<[1, 2, 3]> : tensor<3xi32>
  %s = arith.constant dense<0.5> : tensor<f32>
  %d = miura.onnx_node "DequantizeLinear"(%w, %s) version(21) : (tensor<3xi32>, tensor<f32>) -> tensor<3xf32>
  %y = miura.onnx_node "Add"(%x, %d) version(13) : (tensor<5x3xf32>, tensor<3xf32>) -> tensor<5x3xf32>
  return %y : tensor<5x3xf32>
}

// -----

// Codes may be transposed before they are dequantized, as a tied head's are.
// CHECK-LABEL: func @transposed_codes(
// CHECK: %[[D:.*]] = miura.dequantize %{{.*}}, %{{.*}} block [1, 0] : tensor<3x20xi8>, tensor<3x1xf32> -> tensor<3x20xf32>
// CHECK-NOT: miura.transpose
// CHECK: miura.linear %{{.*}}, %[[D]]
func.func @transposed_codes(%x: tensor<5x20xf32>) -> tensor<5x3xf32> {
  %w = arith.constant dense<2> : tensor<3x20xi8>
  %s = arith.constant dense<[0.5, 1.0, 2.0]> : tensor<3xf32>
  %t = miura.onnx_node "Transpose"(%w) {perm = array<i64: 1, 0>} version(21) : (tensor<3x20xi8>) -> tensor<20x3xi8>
  %d = miura.onnx_node "DequantizeLinear"(%t, %s) {axis = 1 : si64} version(21) : (tensor<20x3xi8>, tensor<3xf32>) -> tensor<20x3xf32>
  %y = miura.onnx_node "MatMul"(%x, %d) version(13) : (tensor<5x20xf32>, tensor<20x3xf32>) -> tensor<5x3xf32>
  return %y : tensor<5x3xf32>
}

// -----

// An integer product with its scales is a linear of the numbers that the codes
// stand for; the rounding of activations stays the file's.
// CHECK-LABEL: func @dynamic(
// CHECK: %[[Q:.*]]:3 = miura.onnx_node "DynamicQuantizeLinear"
// CHECK: %[[N:.*]] = miura.onnx_node "DequantizeLinear"(%[[Q]]#0, %[[Q]]#1, %[[Q]]#2)
// CHECK: %[[D:.*]] = miura.dequantize %{{.*}}, %{{.*}}, %{{.*}} block [0, 1] unsigned : tensor<4x2xi8>, tensor<1x2xf32>, tensor<1x2xi8> -> tensor<4x2xf32>
// CHECK: %[[T:.*]] = miura.transpose %[[D]]
// CHECK: miura.linear %[[N]], %[[T]]
// CHECK-NOT: MatMulInteger
func.func @dynamic(%x: tensor<?x?x4xf32, #miura.dims<"b", "t", "">>) -> tensor<?x?x2xf32> {
  %w = arith.constant dense<2> : tensor<4x2xui8>
  %s = arith.constant dense<[0.5, 1.0]> : tensor<2xf32>
  %z = arith.constant dense<[3, 4]> : tensor<2xui8>
  %q:3 = miura.onnx_node "DynamicQuantizeLinear"(%x) version(11) : (tensor<?x?x4xf32, #miura.dims<"b", "t", "">>) -> (tensor<?x?x4xui8>, tensor<f32>, tensor<ui8>)
  %p = miura.onnx_node "MatMulInteger"(%q#0, %w, %q#2, %z) version(10) : (tensor<?x?x4xui8>, tensor<4x2xui8>, tensor<ui8>, tensor<2xui8>) -> tensor<?x?x2xi32>
  %f = miura.onnx_node "Cast"(%p) {to = 1 : si64} version(13) : (tensor<?x?x2xi32>) -> tensor<?x?x2xf32>
  %m = miura.onnx_node "Mul"(%q#1, %s) version(13) : (tensor<f32>, tensor<2xf32>) -> tensor<2xf32>
  %y = miura.onnx_node "Mul"(%f, %m) version(13) : (tensor<?x?x2xf32>, tensor<2xf32>) -> tensor<?x?x2xf32>
  return %y : tensor<?x?x2xf32>
}

// -----

// A group index in the order of columns says nothing.
// CHECK-LABEL: func @nbits_plain_order(
// CHECK: miura.dequantize
// CHECK: miura.linear
// CHECK-NOT: miura.onnx_node
func.func @nbits_plain_order(%x: tensor<5x20xf32>) -> tensor<5x2xf32> {
  %w = arith.constant dense<7> : tensor<2x2x8xui8>
  %s = arith.constant dense<0.5> : tensor<2x2xf32>
  %g = arith.constant dense<[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1]> : tensor<20xi32>
  %none = miura.absent
  %y = miura.onnx_node "MatMulNBits"(%x, %w, %s, %none, %g) {K = 20 : si64, N = 2 : si64, bits = 4 : si64, block_size = 16 : si64} domain("com.microsoft") version(1)
    : (tensor<5x20xf32>, tensor<2x2x8xui8>, tensor<2x2xf32>, !miura.absent, tensor<20xi32>) -> tensor<5x2xf32>
  return %y : tensor<5x2xf32>
}

// -----

// Blocks down the columns of a table of int4, and a zero point of another rank
// than its scale.
// CHECK-LABEL: func @look_up(
// CHECK: miura.dequantize %{{.*}}, %{{.*}} block [16, 1] : tensor<20x2xi4>, tensor<2x2xf32> -> tensor<20x2xf32>
// CHECK: miura.embedding
// CHECK: miura.dequantize %{{.*}}, %{{.*}}, %{{.*}} block [0, 0] unsigned : tensor<2x2xi8>
// CHECK-NOT: miura.onnx_node
func.func @look_up(%t: tensor<?xi64>) -> tensor<?x2xf32> {
  %w = arith.constant {miura.name = "w"} dense<7> : tensor<20x2xi4>
  %s = arith.constant dense<0.5> : tensor<2x2xf32>
  %x = miura.onnx_node "GatherBlockQuantized"(%w, %t, %s) {block_size = 16 : si64, gather_axis = 0 : si64, quantize_axis = 0 : si64} domain("com.microsoft") version(1)
    : (tensor<20x2xi4>, tensor<?xi64>, tensor<2x2xf32>) -> tensor<?x2xf32>
  %q = arith.constant {miura.name = "q"} dense<7> : tensor<2x2xui8>
  %one = arith.constant dense<0.5> : tensor<1xf32>
  %z = arith.constant dense<3> : tensor<ui8>
  %d = miura.onnx_node "DequantizeLinear"(%q, %one, %z) version(21) : (tensor<2x2xui8>, tensor<1xf32>, tensor<ui8>) -> tensor<2x2xf32>
  %y = miura.onnx_node "MatMul"(%x, %d) version(13) : (tensor<?x2xf32>, tensor<2x2xf32>) -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}

// -----

// A product with a bias of its own and one behind it takes their sum.
// CHECK-LABEL: func @nbits_two_biases(
// CHECK-DAG: %[[B:.*]] = arith.constant dense<[3.000000e+00, 2.500000e+00]> : tensor<2xf32>
// CHECK: miura.linear %{{.*}}, %{{.*}}, %[[B]]
// CHECK-NOT: miura.onnx_node
func.func @nbits_two_biases(%x: tensor<5x16xf32>) -> tensor<5x2xf32> {
  %w = arith.constant dense<7> : tensor<2x1x8xui8>
  %s = arith.constant dense<0.5> : tensor<2xf32>
  %b = arith.constant dense<[1.0, 2.0]> : tensor<2xf32>
  %c = arith.constant dense<[2.0, 0.5]> : tensor<2xf32>
  %none = miura.absent
  %y = miura.onnx_node "MatMulNBits"(%x, %w, %s, %none, %none, %b) {K = 16 : si64, N = 2 : si64, bits = 4 : si64, block_size = 16 : si64} domain("com.microsoft") version(1)
    : (tensor<5x16xf32>, tensor<2x1x8xui8>, tensor<2xf32>, !miura.absent, !miura.absent, tensor<2xf32>) -> tensor<5x2xf32>
  %z = miura.onnx_node "Add"(%y, %c) version(13) : (tensor<5x2xf32>, tensor<2xf32>) -> tensor<5x2xf32>
  return %z : tensor<5x2xf32>
}
