// RUN: rm -rf %t && mkdir -p %t
// RUN: env MIURA_WEIGHTS_DIR=%t miura-opt %s \
// RUN:   -pass-pipeline='builtin.module(miura-factorize-svd{rank=1},miura-verify-certificates{strict})' | FileCheck %s --check-prefixes=CHECK,F16
// RUN: env MIURA_WEIGHTS_DIR=%t miura-opt %s \
// RUN:   -pass-pipeline='builtin.module(miura-factorize-svd{energy=0.9 type=f32},miura-verify-certificates{strict})' | FileCheck %s --check-prefix=F32
// RUN: env MIURA_WEIGHTS_DIR=%t miura-opt %s \
// RUN:   -pass-pipeline='builtin.module(miura-factorize-svd{bytes=27},miura-verify-certificates{strict})' | FileCheck %s --check-prefixes=CHECK,F16
// RUN: env MIURA_WEIGHTS_DIR=%t miura-opt %s \
// RUN:   -pass-pipeline='builtin.module(miura-quantize-rtn{bits=2 block-size=0},miura-factorize-residual{rank=1},miura-verify-certificates{strict})' \
// RUN:   | FileCheck %s --check-prefix=RESIDUAL

// Of rank one but for rounding.

// CHECK: miura.weight_data private @q = bytes<"b3-{{[0-9a-f]+}}", offset = 0, length = 48> : tensor<3x4xf32>
// CHECK-LABEL: @linear
// CHECK-DAG: %[[L:.*]] = arith.constant dense<{{.*}}> : tensor<3x1xf16>
// CHECK-DAG: %[[R:.*]] = arith.constant dense<{{.*}}> : tensor<1x4xf16>
// CHECK: %[[M:.*]] = miura.matmul %[[L]], %[[R]] : tensor<3x1xf16>, tensor<1x4xf16> -> tensor<3x4xf32>
// F16: %[[W:.*]] = miura.approximate %[[M]] of @q certificate <error = {{[0-9.]+}}E-4 : f64
// F32: miura.matmul %{{.*}}, %{{.*}} : tensor<3x1xf32>, tensor<1x4xf32> -> tensor<3x4xf32>
// F32: miura.approximate %{{.*}} of @q certificate <error = {{[0-9.]+}}E-{{[789]}} : f64
// CHECK: miura.linear %arg0, %[[W]] id("q") compute(f32, f32)

// RESIDUAL: %[[D:.*]] = miura.dequantize
// RESIDUAL: %[[M:.*]] = miura.matmul %{{.*}}, %{{.*}} : tensor<3x1xf16>, tensor<1x4xf16> -> tensor<3x4xf32>
// RESIDUAL: %[[S:.*]] = miura.add %[[D]], %[[M]] : tensor<3x4xf32>, tensor<3x4xf32> -> tensor<3x4xf32>
// RESIDUAL: miura.approximate %[[S]] of @q certificate
func.func @linear(%x: tensor<?x4xf32>) -> tensor<?x3xf32> {
  %w = arith.constant dense<[[1.1, -2.3, 3.7, 0.3], [2.2, -4.6, 7.4, 0.6], [3.3, -6.9, 11.1, 0.9]]> : tensor<3x4xf32>
  %y = miura.linear %x, %w id("q") compute(f32, f32) : (tensor<?x4xf32>, tensor<3x4xf32>) -> tensor<?x3xf32>
  return %y : tensor<?x3xf32>
}
