// RUN: rm -rf %t && mkdir -p %t
// RUN: env MIURA_WEIGHTS_DIR=%t miura-opt %s -split-input-file \
// RUN:   -pass-pipeline='builtin.module(miura-prune-magnitude{sparsity=0.5 scope=tensor},miura-verify-certificates{strict})' | FileCheck %s
// RUN: env MIURA_WEIGHTS_DIR=%t miura-opt %s -split-input-file \
// RUN:   -pass-pipeline='builtin.module(miura-prune-magnitude,miura-verify-certificates{strict})' | FileCheck %s --check-prefix=ROW
// RUN: env MIURA_WEIGHTS_DIR=%t miura-opt %s -split-input-file \
// RUN:   -pass-pipeline='builtin.module(miura-prune-magnitude{n=2 m=4},miura-verify-certificates{strict})' | FileCheck %s --check-prefix=NM
// RUN: env MIURA_WEIGHTS_DIR=%t miura-opt %s -split-input-file \
// RUN:   -pass-pipeline='builtin.module(miura-prune-magnitude{block=1,2},miura-verify-certificates{strict})' | FileCheck %s --check-prefix=BLOCK

// Doing it again changes nothing.
// RUN: env MIURA_WEIGHTS_DIR=%t miura-opt %s -split-input-file -o %t/once.mlir \
// RUN:   -pass-pipeline='builtin.module(miura-prune-magnitude)'
// RUN: env MIURA_WEIGHTS_DIR=%t miura-opt %s -split-input-file -o %t/twice.mlir \
// RUN:   -pass-pipeline='builtin.module(miura-prune-magnitude,miura-prune-magnitude)'
// RUN: cmp %t/once.mlir %t/twice.mlir
// RUN: env MIURA_WEIGHTS_DIR=%t miura-opt %s -split-input-file -o %t/once.mlir \
// RUN:   -pass-pipeline='builtin.module(miura-prune-magnitude{n=1 m=2})'
// RUN: env MIURA_WEIGHTS_DIR=%t miura-opt %s -split-input-file -o %t/twice.mlir \
// RUN:   -pass-pipeline='builtin.module(miura-prune-magnitude{n=1 m=2},miura-prune-magnitude{n=1 m=2})'
// RUN: cmp %t/once.mlir %t/twice.mlir

// Of the two ones the first goes; bits of the index are columns, lowest first.

// CHECK: miura.weight_data private @q = bytes<"b3-{{[0-9a-f]+}}", offset = 0, length = 32> : tensor<2x4xf32>
// CHECK-LABEL: @linear
// CHECK-DAG: %[[V:.*]] = arith.constant dense<[3.500000e+00, -8.000000e+00, 1.000000e+00, 1.750000e+00]> : tensor<4xf32>
// CHECK-DAG: %[[I:.*]] = arith.constant dense<{{\[}}[13], [4]]> : tensor<2x1xi8>
// CHECK: %[[U:.*]] = miura.unprune %[[V]], %[[I]] "bitmap" : tensor<4xf32>, tensor<2x1xi8> -> tensor<2x4xf32>
// CHECK: %[[W:.*]] = miura.approximate %[[U]] of @q certificate <error = 0.1{{[0-9]+}} : f64, original = "{{[0-9a-f]+}}", tree = "{{[0-9a-f]+}}"> : tensor<2x4xf32>
// CHECK: miura.linear %arg0, %[[W]] id("q") compute(f32, f32)

// ROW-LABEL: @linear
// ROW-DAG: arith.constant dense<[3.500000e+00, -8.000000e+00, 1.750000e+00, 7.500000e-01]> : tensor<4xf32>
// ROW-DAG: arith.constant dense<{{\[}}[5], [12]]> : tensor<2x1xi8>

// Places 2 and 3 read as unsigned are -2 and -1 of i2.
// NM-LABEL: @linear
// NM-DAG: %[[V:.*]] = arith.constant dense<{{\[}}[3.500000e+00, -8.000000e+00], [1.750000e+00, 7.500000e-01]]> : tensor<2x2xf32>
// NM-DAG: %[[I:.*]] = arith.constant dense<{{\[}}[0, -2], [-2, -1]]> : tensor<2x2xi2>
// NM: miura.unprune %[[V]], %[[I]] "nm" group [2, 4] : tensor<2x2xf32>, tensor<2x2xi2> -> tensor<2x4xf32>

// BLOCK-LABEL: @linear
// BLOCK-DAG: %[[V:.*]] = arith.constant dense<{{\[\[}}[3.500000e+00, -1.000000e+00]], {{\[\[}}-8.000000e+00, 1.000000e+00]]]> : tensor<2x1x2xf32>
// BLOCK-DAG: %[[I:.*]] = arith.constant dense<{{\[}}[3], [0]]> : tensor<2x1xi8>
// BLOCK: miura.unprune %[[V]], %[[I]] "block" group [1, 2] : tensor<2x1x2xf32>, tensor<2x1xi8> -> tensor<2x4xf32>
func.func @linear(%x: tensor<?x4xf32>) -> tensor<?x2xf32> {
  %w = arith.constant dense<[[3.5, -1.0, -8.0, 1.0], [0.0, 0.5, 1.75, 0.75]]> : tensor<2x4xf32>
  %y = miura.linear %x, %w id("q") compute(f32, f32) : (tensor<?x4xf32>, tensor<2x4xf32>) -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}

// -----

// A weight stored in x out is pruned as out x in; values keep the stored type.

// CHECK-LABEL: @transposed
// CHECK-DAG: arith.constant dense<[3.500000e+00, -8.000000e+00, 1.000000e+00, 1.750000e+00]> : tensor<4xf16>
// CHECK-DAG: arith.constant dense<{{\[}}[13], [4]]> : tensor<2x1xi8>
// CHECK: miura.unprune %{{.*}}, %{{.*}} "bitmap" : tensor<4xf16>, tensor<2x1xi8> -> tensor<2x4xf32>
// CHECK: miura.approximate %{{.*}} of @q transposed certificate
func.func @transposed(%x: tensor<?x4xf32>) -> tensor<?x2xf32> {
  %s = arith.constant dense<[[3.5, 0.0], [-1.0, 0.5], [-8.0, 1.75], [1.0, 0.75]]> : tensor<4x2xf16>
  %t = miura.transpose %s : tensor<4x2xf16> -> tensor<2x4xf16>
  %w = miura.convert %t : tensor<2x4xf16> -> tensor<2x4xf32>
  %y = miura.linear %x, %w id("q") compute(f32, f32) : (tensor<?x4xf32>, tensor<2x4xf32>) -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}

// -----

// A tied weight is pruned once.

// CHECK-LABEL: @tied
// CHECK-COUNT-1: miura.unprune
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
