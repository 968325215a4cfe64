// RUN: rm -rf %t && mkdir -p %t
// RUN: env MIURA_WEIGHTS_DIR=%t miura-opt %s -split-input-file \
// RUN:   -pass-pipeline='builtin.module(miura-quantize-rtn{bits=4 block-size=2})' | FileCheck %s
// RUN: env MIURA_WEIGHTS_DIR=%t miura-opt %s -split-input-file \
// RUN:   -pass-pipeline='builtin.module(miura-quantize-rtn{bits=8 block-size=0 symmetric=false scale-type=f32 activation=i8})' \
// RUN:   | FileCheck %s --check-prefix=ASYM
// RUN: env MIURA_WEIGHTS_DIR=%t miura-opt %s -split-input-file \
// RUN:   -pass-pipeline='builtin.module(miura-quantize-rtn{bits=4 block-size=-1})' | FileCheck %s --check-prefix=TENSOR

// Values on a grid are kept exactly: 3.5 is 7 steps of 0.5, -8 is -8 of 1.

// CHECK: miura.weight_data private @q = bytes<"b3-{{[0-9a-f]+}}", offset = 0, length = 32> : tensor<2x4xf32>
// CHECK-LABEL: @linear
// CHECK-DAG: %[[C:.*]] = arith.constant dense<{{\[}}[7, -2, -8, 1], [0, 0, 7, 3]]> : tensor<2x4xi4>
// CHECK-DAG: %[[S:.*]] = arith.constant dense<{{\[}}[5.000000e-01, 1.000000e+00], [0.000000e+00, 2.500000e-01]]> : tensor<2x2xf16>
// CHECK: %[[D:.*]] = miura.dequantize %[[C]], %[[S]] block [1, 2] : tensor<2x4xi4>, tensor<2x2xf16> -> tensor<2x4xf32>
// CHECK: %[[W:.*]] = miura.approximate %[[D]] of @q certificate <error = 0.000000e+00 : f64, original = "{{[0-9a-f]+}}", tree = "{{[0-9a-f]+}}"> : tensor<2x4xf32>
// CHECK: miura.linear %arg0, %[[W]] id("q") compute(f32, f32)

// ASYM-LABEL: @linear
// ASYM-DAG: arith.constant dense<{{.*}}> : tensor<2x4xi8>
// ASYM-DAG: arith.constant dense<{{.*}}> : tensor<2x1xf32>
// ASYM-DAG: arith.constant dense<{{.*}}> : tensor<2x1xi8>
// ASYM: miura.dequantize %{{.*}}, %{{.*}}, %{{.*}} block [1, 0] unsigned : tensor<2x4xi8>, tensor<2x1xf32>, tensor<2x1xi8> -> tensor<2x4xf32>
// ASYM: miura.linear {{.*}} id("q") compute(i8, f32)

// TENSOR-LABEL: @linear
// TENSOR: miura.dequantize %{{.*}}, %{{.*}} block [0, 0] : tensor<2x4xi4>, tensor<1x1xf16> -> tensor<2x4xf32>
func.func @linear(%x: tensor<?x4xf32>) -> tensor<?x2xf32> {
  %w = arith.constant dense<[[3.5, -1.0, -8.0, 1.0], [0.0, 0.0, 1.75, 0.75]]> : tensor<2x4xf32>
  %y = miura.linear %x, %w id("q") compute(f32, f32) : (tensor<?x4xf32>, tensor<2x4xf32>) -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}

// -----

// A weight stored in x out is quantized along in, and its codes are out x in.

// CHECK: miura.weight_data private @q = {{.*}} : tensor<4x2xf32>
// CHECK-LABEL: @transposed
// CHECK-DAG: arith.constant dense<{{\[}}[7, -2, -8, 1], [0, 0, 7, 3]]> : tensor<2x4xi4>
// CHECK: miura.approximate %{{.*}} of @q transposed certificate <error = 0.000000e+00 : f64
func.func @transposed(%x: tensor<?x4xf32>) -> tensor<?x2xf32> {
  %s = arith.constant dense<[[3.5, 0.0], [-1.0, 0.0], [-8.0, 1.75], [1.0, 0.75]]> : tensor<4x2xf32>
  %w = miura.transpose %s : tensor<4x2xf32> -> tensor<2x4xf32>
  %y = miura.linear %x, %w id("q") compute(f32, f32) : (tensor<?x4xf32>, tensor<2x4xf32>) -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}

// -----

// A tied weight is quantized once.

// CHECK-LABEL: @tied
// CHECK-COUNT-1: miura.dequantize
// CHECK: %[[W:.*]] = miura.approximate
// CHECK-NOT: miura.approximate
// CHECK: miura.embedding %arg0, %[[W]] id("embedding")
// CHECK: miura.linear %{{.*}}, %[[W]] id("head")
func.func @tied(%ids: tensor<?xi64>) -> tensor<?x2xf32> {
  %w = arith.constant dense<[[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]]> : tensor<2x4xf32>
  %x = miura.embedding %ids, %w id("embedding") : (tensor<?xi64>, tensor<2x4xf32>) -> tensor<?x4xf32>
  %y = miura.linear %x, %w id("head") compute(f32, f32) : (tensor<?x4xf32>, tensor<2x4xf32>) -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}
