// A batch of experts' matrices: every row of every expert has its own codes and
// places, every expert its own factors, at one rank.

// RUN: rm -rf %t && mkdir -p %t
// RUN: env MIURA_WEIGHTS_DIR=%t miura-opt %s -pass-pipeline='builtin.module(miura-prune-magnitude,miura-quantize-rtn{block-size=3 activation=i8},miura-verify-certificates{strict})' | FileCheck %s --check-prefix=PQ
// PQ: %[[U:.*]] = miura.unprune %{{.*}}, %{{.*}} "bitmap" : tensor<36xi4>, tensor<3x4x1xi8> -> tensor<3x4x6xi4>
// PQ: %[[D:.*]] = miura.dequantize %[[U]], %{{.*}} block [1, 1, 3] : tensor<3x4x6xi4>, tensor<3x4x2xf16> -> tensor<3x4x6xf32>
// PQ: %[[W:.*]] = miura.approximate %[[D]] of @up certificate
// PQ: miura.expert_linear %{{.*}}, %[[W]] at %{{.*}} id("up") compute <i8, f32>

// RUN: env MIURA_WEIGHTS_DIR=%t miura-opt %s -pass-pipeline='builtin.module(miura-quantize-rtn{bits=2 block-size=0},miura-factorize-residual{rank=2},miura-quantize-rtn{bits=8 block-size=0},miura-verify-certificates{strict})' | FileCheck %s --check-prefix=QRQ
// QRQ: %[[L:.*]] = miura.dequantize %{{.*}} block [1, 1, 0] : tensor<3x4x2xi8>, tensor<3x4x1xf16> -> tensor<3x4x2xf32>
// QRQ: %[[R:.*]] = miura.dequantize %{{.*}} block [1, 1, 0] : tensor<3x2x6xi8>, tensor<3x2x1xf16> -> tensor<3x2x6xf32>
// QRQ: miura.matmul %[[L]], %[[R]] : tensor<3x4x2xf32>, tensor<3x2x6xf32> -> tensor<3x4x6xf32>

// RUN: env MIURA_WEIGHTS_DIR=%t miura-opt %s -o /dev/null -pass-pipeline='builtin.module(miura-prune-magnitude{n=1 m=3},miura-quantize-rtn{block-size=-1},miura-verify-certificates{strict})'
// RUN: env MIURA_WEIGHTS_DIR=%t miura-opt %s -o /dev/null -pass-pipeline='builtin.module(miura-prune-magnitude{block=2,3},miura-quantize-rtn{block-size=3 symmetric=false},miura-verify-certificates{strict})'
// RUN: env MIURA_WEIGHTS_DIR=%t miura-opt %s -o /dev/null -pass-pipeline='builtin.module(miura-factorize-svd{energy=0.7},miura-prune-magnitude,miura-verify-certificates{strict})'

// A batch is stored in x out too.
// RUN: env MIURA_WEIGHTS_DIR=%t miura-opt %s -o /dev/null -pass-pipeline='builtin.module(miura-quantize-rtn{block-size=2},miura-prune-magnitude,miura-verify-certificates{strict})'

func.func @experts(%x: tensor<?x6xf32>, %e: tensor<?xi64>) -> (tensor<?x4xf32>, tensor<?x2xf32>) {
  %w = arith.constant dense<[[[-1.179, -1.148, 0.669, -2.294, -0.143, -2.256], [1.101, 0.203, 1.356, -0.504, 0.398, -0.286], [-0.738, 0.145, -1.257, -0.355, 0.697, 0.058], [-0.410, 2.189, 0.058, -0.587, 0.160, -0.523]], [[-0.385, -0.350, 2.025, 0.023, 0.176, 0.674], [2.017, -0.224, -0.624, 2.475, -1.460, -0.367], [0.667, 2.284, -0.950, -2.428, 0.662, -0.522], [-0.387, 0.461, 0.224, 0.291, -0.431, 1.289]], [[1.505, 0.032, -0.452, 0.733, 0.478, -1.040], [-0.460, 1.049, -0.096, -0.329, 0.212, -0.034], [-0.002, -1.931, 1.749, 0.199, -0.877, 0.980], [0.309, 0.018, 1.048, 2.261, 0.554, 1.585]]]> : tensor<3x4x6xf32>
  %y = miura.expert_linear %x, %w at %e id("up") compute<f32, f32> : (tensor<?x6xf32>, tensor<3x4x6xf32>, tensor<?xi64>) -> tensor<?x4xf32>
  %s = arith.constant dense<[[[2.157, -1.021], [-0.523, 0.776], [-1.708, -0.267], [1.293, 1.043], [0.579, -1.895], [2.351, 0.551]], [[0.767, 0.495], [-1.716, -1.435], [-1.217, 1.918], [-0.831, -0.242], [-0.255, 0.571], [0.501, 0.268]], [[-1.262, -3.139], [0.166, 0.268], [1.231, -0.103], [-0.611, 0.410], [-1.554, -1.042], [-1.006, 0.288]]]> : tensor<3x6x2xf32>
  %t = miura.transpose %s : tensor<3x6x2xf32> -> tensor<3x2x6xf32>
  %z = miura.expert_linear %x, %t at %e id("other") compute<f32, f32> : (tensor<?x6xf32>, tensor<3x2x6xf32>, tensor<?xi64>) -> tensor<?x2xf32>
  return %y, %z : tensor<?x4xf32>, tensor<?x2xf32>
}
