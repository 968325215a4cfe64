// RUN: miura-opt %s --miura-form-kernels | FileCheck %s

// CHECK-LABEL: func.func @linear_takes_its_residual
func.func @linear_takes_its_residual(%x: tensor<?x?x8xf32>, %w: tensor<16x8xf32>, %r: tensor<?x?x16xf32>)
    -> tensor<?x?x16xf32> attributes {miura.session} {
  // CHECK: %[[E:.*]] = tensor.empty(%{{.*}}, %{{.*}}) : tensor<?x?x16xf32>
  // CHECK: miura.kernel ins(%{{.*}}, %{{.*}}, %{{.*}} : tensor<?x?x8xf32>, tensor<16x8xf32>, tensor<?x?x16xf32>) outs(%[[E]]
  // CHECK-NEXT: ^bb0(%[[X:.*]]: tensor<?x?x?xf32>, %[[W:.*]]: tensor<?x?xf32>, %[[R:.*]]: tensor<?x?x?xf32>):
  // CHECK-NEXT: %[[Y:.*]] = miura.linear %[[X]], %[[W]] id("")
  // CHECK-NEXT: %[[Z:.*]] = arith.addf %[[R]], %[[Y]]
  // CHECK-NEXT: miura.kernel_yield %[[Z]]
  %y = miura.linear %x, %w id("q") compute(f32, f32) : (tensor<?x?x8xf32>, tensor<16x8xf32>) -> tensor<?x?x16xf32>
  %z = arith.addf %r, %y : tensor<?x?x16xf32>
  return %z : tensor<?x?x16xf32>
}

// A result with two uses is stored, and added elsewhere.
// CHECK-LABEL: func.func @shared_result_is_not_fused
func.func @shared_result_is_not_fused(%x: tensor<?x?x8xf32>, %w: tensor<8x8xf32>)
    -> (tensor<?x?x8xf32>, tensor<?x?x8xf32>) attributes {miura.session} {
  // CHECK: %[[Y:.*]] = miura.kernel
  // CHECK-NOT: arith.addf
  // CHECK: miura.kernel_yield
  // CHECK: arith.addf %{{.*}}, %[[Y]] : tensor<?x?x8xf32>
  %y = miura.linear %x, %w id("q") compute(f32, f32) : (tensor<?x?x8xf32>, tensor<8x8xf32>) -> tensor<?x?x8xf32>
  %z = arith.addf %x, %y : tensor<?x?x8xf32>
  return %z, %y : tensor<?x?x8xf32>, tensor<?x?x8xf32>
}

// Rope and attention work on merged heads; the cache is written in place.
// CHECK-LABEL: func.func @attention
func.func @attention(%q: tensor<?x?x64xf32>, %k: tensor<?x?x32xf32>, %cos: tensor<?x?x16xf32>, %sin: tensor<?x?x16xf32>,
                     %l: tensor<?xi64>, %ck: tensor<?x2x?x16xf32>, %cv: tensor<?x2x?x16xf32>)
    -> tensor<?x?x64xf32> attributes {miura.session} {
  // CHECK: miura.kernel ins(%{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}, %[[C:.*]] : {{.*}}) outs(%[[C]] :
  // CHECK: miura.split_heads %{{.*}} : tensor<?x?x?xf32> -> tensor<?x2x?x16xf32>
  // CHECK-NEXT: miura.rope
  // CHECK-NEXT: miura.cache_append
  // CHECK: miura.kernel ins
  // CHECK: miura.split_heads %{{.*}} : tensor<?x?x?xf32> -> tensor<?x4x?x16xf32>
  // CHECK-NEXT: miura.rope
  // CHECK-NEXT: miura.merge_heads
  // CHECK: miura.kernel ins
  // CHECK: miura.split_heads
  // CHECK-NEXT: miura.cached_attention
  // CHECK-NEXT: miura.merge_heads
  %kh = miura.split_heads %k : tensor<?x?x32xf32> -> tensor<?x2x?x16xf32>
  %kr = miura.rope %kh, %cos, %sin : tensor<?x2x?x16xf32>, tensor<?x?x16xf32>, tensor<?x?x16xf32>
  %nk = miura.cache_append %kr at %l into %ck : tensor<?x2x?x16xf32>, tensor<?xi64> into tensor<?x2x?x16xf32>
  %qh = miura.split_heads %q : tensor<?x?x64xf32> -> tensor<?x4x?x16xf32>
  %qr = miura.rope %qh, %cos, %sin : tensor<?x4x?x16xf32>, tensor<?x?x16xf32>, tensor<?x?x16xf32>
  %a = miura.cached_attention %qr, %nk, %cv at %l scale 2.5e-01 causal
         : tensor<?x4x?x16xf32>, tensor<?x2x?x16xf32>, tensor<?x2x?x16xf32>, tensor<?xi64> -> tensor<?x4x?x16xf32>
  %m = miura.merge_heads %a : tensor<?x4x?x16xf32> -> tensor<?x?x64xf32>
  return %m : tensor<?x?x64xf32>
}

// A mask keeps the sizes of 1 that say what it is shared by, and sinks are an
// operand: every attention is one kernel.
// CHECK-LABEL: func.func @masked
func.func @masked(%q: tensor<?x?x64xf32>, %k: tensor<?x2x?x16xf32>, %v: tensor<?x2x?x16xf32>, %l: tensor<?xi64>,
                  %mask: tensor<1x4x?x?xf32>, %sinks: tensor<4xf32>)
    -> tensor<?x?x64xf32> attributes {miura.session} {
  // CHECK: miura.kernel ins
  // CHECK: miura.cached_attention {{.*}} mask %{{.*}} : tensor<1x?x?x?xf32> sinks %{{.*}} : tensor<?xf32>
  %qh = miura.split_heads %q : tensor<?x?x64xf32> -> tensor<?x4x?x16xf32>
  %a = miura.cached_attention %qh, %k, %v at %l mask %mask : tensor<1x4x?x?xf32> sinks %sinks : tensor<4xf32> scale 2.5e-01 causal
         : tensor<?x4x?x16xf32>, tensor<?x2x?x16xf32>, tensor<?x2x?x16xf32>, tensor<?xi64> -> tensor<?x4x?x16xf32>
  %m = miura.merge_heads %a : tensor<?x4x?x16xf32> -> tensor<?x?x64xf32>
  return %m : tensor<?x?x64xf32>
}

// What stands between the split and the rope keeps its heads; the append gets
// them merged.
// CHECK-LABEL: func.func @norm_of_heads
func.func @norm_of_heads(%k: tensor<?x?x32xf32>, %s: tensor<16xf32>, %cos: tensor<?x?x16xf32>, %sin: tensor<?x?x16xf32>,
                         %l: tensor<?xi64>, %ck: tensor<?x2x?x16xf32>)
    -> tensor<?x2x?x16xf32> attributes {miura.session} {
  // CHECK: miura.split_heads %{{.*}} : tensor<?x?x32xf32>
  // CHECK: miura.kernel
  // CHECK: miura.rms_norm
  // CHECK: %[[R:.*]] = miura.rope
  // CHECK: %[[M:.*]] = miura.merge_heads %[[R]]
  // CHECK: miura.kernel ins(%[[M]], %{{.*}}, %[[C:.*]] : {{.*}}) outs(%[[C]] :
  // CHECK: miura.split_heads
  // CHECK-NEXT: miura.cache_append
  %kh = miura.split_heads %k : tensor<?x?x32xf32> -> tensor<?x2x?x16xf32>
  %kn = miura.rms_norm %kh, %s epsilon 1.0e-6 : tensor<?x2x?x16xf32>, tensor<16xf32>
  %kr = miura.rope %kn, %cos, %sin : tensor<?x2x?x16xf32>, tensor<?x?x16xf32>, tensor<?x?x16xf32>
  %nk = miura.cache_append %kr at %l into %ck : tensor<?x2x?x16xf32>, tensor<?xi64> into tensor<?x2x?x16xf32>
  return %nk : tensor<?x2x?x16xf32>
}

// CHECK-LABEL: func.func @gate
func.func @gate(%g: tensor<?x?x8xf32>, %u: tensor<?x?x8xf32>) -> tensor<?x?x8xf32> attributes {miura.session} {
  // CHECK: miura.kernel
  // CHECK: %[[S:.*]] = miura.silu
  // CHECK-NEXT: arith.mulf %[[S]], %{{.*}}
  // CHECK-NOT: miura.kernel ins
  %s = miura.silu %g : tensor<?x?x8xf32>
  %p = arith.mulf %s, %u : tensor<?x?x8xf32>
  return %p : tensor<?x?x8xf32>
}

// CHECK-LABEL: func.func @not_a_session
// CHECK-NOT: miura.kernel
func.func @not_a_session(%x: tensor<?x8xf32>, %s: tensor<8xf32>) -> tensor<?x8xf32> {
  %y = miura.rms_norm %x, %s epsilon 1.0e-5 : tensor<?x8xf32>, tensor<8xf32>
  return %y : tensor<?x8xf32>
}

// A sum of codes and a product is one kernel: one pass over x, one write of y.
// CHECK-LABEL: func.func @sum_is_one_kernel
// CHECK: miura.kernel ins(%{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}} : {{.*}}) outs(
// CHECK-NEXT: ^bb0(%[[C:.*]]: tensor<?x?xi4>, %[[S:.*]]: tensor<?x?xf16>, %[[L:.*]]: tensor<?x?xf32>, %[[R:.*]]: tensor<?x?xf32>, %[[X:.*]]: tensor<?x?x?xf32>):
// CHECK-NEXT: %[[Q:.*]] = miura.dequantize %[[C]], %[[S]]
// CHECK-NEXT: %[[P:.*]] = miura.matmul %[[L]], %[[R]]
// CHECK-NEXT: %[[W:.*]] = miura.add %[[Q]], %[[P]]
// CHECK-NEXT: %[[Y:.*]] = miura.linear %[[X]], %[[W]]
// CHECK-NEXT: miura.kernel_yield %[[Y]]
// CHECK-NOT: miura.kernel
// CHECK: return
func.func @sum_is_one_kernel(%x: tensor<?x?x64xf32>, %c: tensor<16x64xi4>, %s: tensor<16x2xf16>,
    %l: tensor<16x4xf32>, %r: tensor<4x64xf32>) -> tensor<?x?x16xf32> attributes {miura.session} {
  %q = miura.dequantize %c, %s block [1, 32] : tensor<16x64xi4>, tensor<16x2xf16> -> tensor<16x64xf32>
  %p = miura.matmul %l, %r : tensor<16x4xf32>, tensor<4x64xf32> -> tensor<16x64xf32>
  %w = miura.add %q, %p : tensor<16x64xf32>, tensor<16x64xf32> -> tensor<16x64xf32>
  %y = miura.linear %x, %w id("q") compute(f32, f32) : (tensor<?x?x64xf32>, tensor<16x64xf32>) -> tensor<?x?x16xf32>
  return %y : tensor<?x?x16xf32>
}
