// RUN: miura-opt %s --miura-form-kernels --miura-bufferize-step --miura-emit-kernels=target=avx2 --cse | FileCheck %s

// Attention whose keys, values, scores and weights are rounded is a kernel; two
// that differ in scales and zeros are one, which takes them. The range of codes
// is of the kernel: weights of the third have others.
// CHECK-COUNT-2: func.func private @miura_kernel_{{[0-9]}}_attention(
// CHECK-NOT: func.func private
// CHECK: func.func private @miura_barrier
// CHECK-LABEL: func.func @step
// CHECK-DAG: %[[K:.*]] = arith.constant 5.000000e-01 : f32
// CHECK-DAG: %[[KZ:.*]] = arith.constant 1.280000e+02 : f32
// CHECK: call @miura_kernel_0_attention({{.*}}, %[[K]], %[[KZ]],
// CHECK: call @miura_kernel_0_attention(
// CHECK: call @miura_kernel_1_attention(
// CHECK-NOT: linalg
func.func @step(%q: tensor<?x?x64xf32>, %k: tensor<?x4x?x16xf32>, %v: tensor<?x4x?x16xf32>, %n: tensor<?xi64>,
                %arena: memref<?xi8>, %weights: memref<?xi8>, %team: index, %thread: index, %threads: index)
    -> (tensor<?x?x64xf32>, tensor<?x?x64xf32>, tensor<?x?x64xf32>) attributes {miura.session} {
  %h0 = miura.split_heads %q : tensor<?x?x64xf32> -> tensor<?x4x?x16xf32>
  %a0 = miura.cached_attention %h0, %k, %v at %n scale 0.25 causal {key_rounding = #miura.rounding<ui8, scale = 0.5 : f32, zero = 128>,
      weight_rounding = #miura.rounding<ui8, scale = 0.00390625 : f32, zero = 0>}
      : tensor<?x4x?x16xf32>, tensor<?x4x?x16xf32>, tensor<?x4x?x16xf32>, tensor<?xi64> -> tensor<?x4x?x16xf32>
  %y0 = miura.merge_heads %a0 : tensor<?x4x?x16xf32> -> tensor<?x?x64xf32>
  %h1 = miura.split_heads %q : tensor<?x?x64xf32> -> tensor<?x4x?x16xf32>
  %a1 = miura.cached_attention %h1, %k, %v at %n scale 0.25 causal {key_rounding = #miura.rounding<ui8, scale = 0.25 : f32, zero = 3>,
      weight_rounding = #miura.rounding<ui8, scale = 0.00390625 : f32, zero = 1>}
      : tensor<?x4x?x16xf32>, tensor<?x4x?x16xf32>, tensor<?x4x?x16xf32>, tensor<?xi64> -> tensor<?x4x?x16xf32>
  %y1 = miura.merge_heads %a1 : tensor<?x4x?x16xf32> -> tensor<?x?x64xf32>
  %h2 = miura.split_heads %q : tensor<?x?x64xf32> -> tensor<?x4x?x16xf32>
  %a2 = miura.cached_attention %h2, %k, %v at %n scale 0.25 causal {key_rounding = #miura.rounding<ui8, scale = 0.25 : f32, zero = 3>,
      weight_rounding = #miura.rounding<si8, scale = 0.0078125 : f32, zero = 0>}
      : tensor<?x4x?x16xf32>, tensor<?x4x?x16xf32>, tensor<?x4x?x16xf32>, tensor<?xi64> -> tensor<?x4x?x16xf32>
  %y2 = miura.merge_heads %a2 : tensor<?x4x?x16xf32> -> tensor<?x?x64xf32>
  return %y0, %y1, %y2 : tensor<?x?x64xf32>, tensor<?x?x64xf32>, tensor<?x?x64xf32>
}
