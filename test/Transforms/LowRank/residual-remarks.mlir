// RUN: rm -rf %t && mkdir -p %t
// RUN: env MIURA_WEIGHTS_DIR=%t miura-opt %s -split-input-file -verify-diagnostics \
// RUN:   -pass-pipeline='builtin.module(miura-quantize-rtn{bits=4 block-size=0 exclude=original},miura-factorize-residual{bytes=27})'

// expected-warning @below {{the pattern 'original' names no layer}}
module {
func.func @kept(%x: tensor<?x4xf32>) {
  %w = arith.constant dense<[[1.1, -2.3, 3.7, 0.3], [2.2, -4.6, 7.4, 0.6], [3.3, -6.9, 11.1, 0.9]]> : tensor<3x4xf32>
  %w1 = arith.constant dense<1.0> : tensor<3x4xf32>
  %w2 = arith.constant dense<[[3.1, -2.3, 3.7, 0.3], [2.2, -1.6, 7.4, 1.6], [3.3, -0.9, 11.1, 4.9], [1.0, -0.9, 1.1, 1.1], [0.0, -0.3, 0.1, 0.5], [0.1, 0.2, 0.3, 0.6], [0.1, 0.1, 0.3, 0.7], [0.1, 0.1, 0.3, 0.7], [0.1, 0.1, 0.3, 0.8], [0.1, 0.1, 0.3, 0.7]]> : tensor<10x4xf32>
  %0 = miura.linear %x, %w id("q") compute(f32, f32) : (tensor<?x4xf32>, tensor<3x4xf32>) -> tensor<?x3xf32>
  // expected-remark @below {{'exact' is kept as it is: its expression misses nothing}}
  %1 = miura.linear %x, %w1 id("exact") compute(f32, f32) : (tensor<?x4xf32>, tensor<3x4xf32>) -> tensor<?x3xf32>
  // expected-remark @below {{'long' is kept as it is: 27 bytes do not hold factors of rank 1, which take 28}}
  %2 = miura.linear %x, %w2 id("long") compute(f32, f32) : (tensor<?x4xf32>, tensor<10x4xf32>) -> tensor<?x10xf32>
  return
}
}

// -----

// expected-error @below {{miura-factorize-residual: no layer fits 27 bytes; the remarks say why each was kept}}
module {
  func.func @none(%x: tensor<?x4xf32>) {
    %w = arith.constant dense<1.0> : tensor<3x4xf32>
    %w1 = arith.constant dense<2.0> : tensor<3x4xf32>
    // expected-remark @below {{'original' is kept as it is: it is excluded}}
    // expected-remark @below {{'original' is kept as it is: its weight is the original, so nothing is missed; compress it first}}
    %0 = miura.linear %x, %w id("original") compute(f32, f32) : (tensor<?x4xf32>, tensor<3x4xf32>) -> tensor<?x3xf32>
    // expected-remark @below {{'exact' is kept as it is: its expression misses nothing}}
    %1 = miura.linear %x, %w1 id("exact") compute(f32, f32) : (tensor<?x4xf32>, tensor<3x4xf32>) -> tensor<?x3xf32>
    return
  }
}
