// RUN: miura-opt %s -miura-expand-embeddings | FileCheck %s

// CHECK-LABEL: @sum
// CHECK-DAG: %[[Q:.*]] = miura.embedding %arg0, %arg1 id("e") : (tensor<?x?xi64>, tensor<8x6xf32>) -> tensor<?x?x6xf32>
// CHECK-DAG: %[[L:.*]] = miura.embedding %arg0, %arg2 id("e") : (tensor<?x?xi64>, tensor<8x2xf16>) -> tensor<?x?x2xf32>
// CHECK-DAG: %[[T:.*]] = miura.transpose %arg3 : tensor<2x6xf16> -> tensor<6x2xf16>
// CHECK: %[[P:.*]] = miura.linear %[[L]], %[[T]] id("e") compute(f32, f32) : (tensor<?x?x2xf32>, tensor<6x2xf16>) -> tensor<?x?x6xf32>
// CHECK: %[[S:.*]] = arith.addf %[[Q]], %[[P]] : tensor<?x?x6xf32>
// CHECK: return %[[S]]
miura.weight_data private @w digest("00") : tensor<8x6xf32>
func.func @sum(%ids: tensor<?x?xi64>, %q: tensor<8x6xf32>, %l: tensor<8x2xf16>, %r: tensor<2x6xf16>) -> tensor<?x?x6xf32> {
  %m = miura.matmul %l, %r : tensor<8x2xf16>, tensor<2x6xf16> -> tensor<8x6xf32>
  %e = miura.add %q, %m : tensor<8x6xf32>, tensor<8x6xf32> -> tensor<8x6xf32>
  %a = miura.approximate %e of @w : tensor<8x6xf32>
  %x = miura.embedding %ids, %a id("e") : (tensor<?x?xi64>, tensor<8x6xf32>) -> tensor<?x?x6xf32>
  return %x : tensor<?x?x6xf32>
}

// CHECK-LABEL: @leaf
// CHECK: miura.dequantize
// CHECK-NEXT: miura.embedding
// CHECK-NEXT: return
func.func @leaf(%ids: tensor<?x?xi64>, %c: tensor<8x6xi4>, %s: tensor<8x1xf16>) -> tensor<?x?x6xf32> {
  %d = miura.dequantize %c, %s block [1, 0] : tensor<8x6xi4>, tensor<8x1xf16> -> tensor<8x6xf32>
  %x = miura.embedding %ids, %d id("e") : (tensor<?x?xi64>, tensor<8x6xf32>) -> tensor<?x?x6xf32>
  return %x : tensor<?x?x6xf32>
}
