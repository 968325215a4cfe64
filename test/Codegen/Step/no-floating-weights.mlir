// RUN: miura-opt %s --cse --miura-form-kernels --miura-form-step --miura-pack-weights=target=avx2 --miura-bufferize-step \
// RUN:   --miura-emit-kernels=target=avx2 --canonicalize --cse --miura-place-barriers --miura-plan-workspace \
// RUN:   | FileCheck %s
// RUN: miura-opt %s --miura-compile=target=avx2 | FileCheck %s --check-prefix=LLVM

// A 4-bit weight is decoded in registers: neither its kernels nor the step have
// a buffer of its size in floating point, and nothing is allocated. Its codes
// and scales, 128 · 64 / 2 + 128 · 2 · 2 bytes, are shared by embedding and head.

// CHECK-LABEL: module attributes
// CHECK-SAME: miura.weight_bytes = 12800
// CHECK-NOT: memref.alloc(
// CHECK-NOT: memref<128x64xf32>
// CHECK-NOT: memref<64x128xf32>
// CHECK: func.func private @miura_kernel_{{[0-9]+}}_linear_decode(
// CHECK: func.func @step(
// CHECK-NOT: memref.alloc(
// CHECK-NOT: memref<128x64xf32>
// CHECK: call @miura_kernel_0_embedding(
// CHECK: call @miura_barrier
// CHECK: call @miura_kernel_1_take_last(
// CHECK: call @miura_barrier
// CHECK: call @miura_select_{{.*}}_linear(
// CHECK: func.func @step_workspace(

// LLVM: llvm.func internal @miura_kernel
// LLVM-NOT: @malloc
// LLVM: llvm.func @step_entry(%{{.*}}: !llvm.ptr, %{{.*}}: i64, %{{.*}}: i64, %{{.*}}: i64)
module {
  func.func @step(
      %tokens: tensor<?x?xi64> {miura.role = #miura.role<tokens>}, %counts: tensor<?xi64> {miura.role = #miura.role<counts>})
      -> (tensor<?x1x128xf32> {miura.role = #miura.role<logits>}) attributes {miura.session} {
    %c = arith.constant dense<1> : tensor<128x64xi4>
    %s = arith.constant dense<0.5> : tensor<128x2xf16>
    %w = miura.dequantize %c, %s block [1, 32] : tensor<128x64xi4>, tensor<128x2xf16> -> tensor<128x64xf32>
    %x = miura.embedding %tokens, %w id("e") : (tensor<?x?xi64>, tensor<128x64xf32>) -> tensor<?x?x64xf32>
    %l = miura.take_last %x, %counts : tensor<?x?x64xf32>, tensor<?xi64> -> tensor<?x1x64xf32>
    %y = miura.linear %l, %w id("h") compute(f32, f32) : (tensor<?x1x64xf32>, tensor<128x64xf32>) -> tensor<?x1x128xf32>
    return %y : tensor<?x1x128xf32>
  }
}
