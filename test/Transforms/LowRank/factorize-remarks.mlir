// RUN: rm -rf %t && mkdir -p %t
// RUN: env MIURA_WEIGHTS_DIR=%t miura-opt %s -split-input-file -verify-diagnostics \
// RUN:   -pass-pipeline='builtin.module(miura-factorize-svd{rank=2 exclude=head})'

// expected-warning @below {{the pattern 'head' names no layer}}
module {
func.func @kept(%x: tensor<?x4xf32>) {
  %w = arith.constant dense<1.0> : tensor<3x4xf32>
  %w1 = arith.constant dense<2.0> : tensor<2x4xf32>
  %w2 = arith.constant dense<0x7F800000> : tensor<3x4xf32>
  %w3 = arith.constant dense<1.0e+20> : tensor<3x4xf32>
  %0 = miura.linear %x, %w id("q") compute(f32, f32) : (tensor<?x4xf32>, tensor<3x4xf32>) -> tensor<?x3xf32>
  // expected-remark @below {{'thin' is kept as it is: a rank of 2 is not below its smaller dimension of 2}}
  %1 = miura.linear %x, %w1 id("thin") compute(f32, f32) : (tensor<?x4xf32>, tensor<2x4xf32>) -> tensor<?x2xf32>
  // expected-remark @below {{'infinite' is kept as it is: its weight has a value that is not finite}}
  %2 = miura.linear %x, %w2 id("infinite") compute(f32, f32) : (tensor<?x4xf32>, tensor<3x4xf32>) -> tensor<?x3xf32>
  // expected-remark @below {{'large' is kept as it is: a factor is too large for f16; choose type=f32}}
  %3 = miura.linear %x, %w3 id("large") compute(f32, f32) : (tensor<?x4xf32>, tensor<3x4xf32>) -> tensor<?x3xf32>
  return
}
}

// -----

// expected-error @below {{miura-factorize-svd: no layer fits rank 2; the remarks say why each was kept}}
module {
  func.func @none(%x: tensor<?x4xf32>) {
    %w = arith.constant dense<1.0> : tensor<3x4xf32>
    // expected-remark @below {{'head' is kept as it is: it is excluded}}
    %0 = miura.linear %x, %w id("head") compute(f32, f32) : (tensor<?x4xf32>, tensor<3x4xf32>) -> tensor<?x3xf32>
    return
  }
}
