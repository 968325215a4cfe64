// RUN: rm -rf %t && mkdir -p %t
// RUN: env MIURA_WEIGHTS_DIR=%t miura-opt %s -split-input-file -verify-diagnostics \
// RUN:   -pass-pipeline='builtin.module(miura-prune-magnitude{n=2 m=4 exclude=*.lm_head include=m.*})'

func.func @kept(%x: tensor<?x4xf32>, %z: tensor<?x3xf32>, %v: tensor<2x4xf32>) {
  %w = arith.constant dense<1.0> : tensor<2x4xf32>
  %w1 = arith.constant dense<2.0> : tensor<2x4xf32>
  %w2 = arith.constant dense<1.0> : tensor<2x3xf32>
  %w3 = arith.constant dense<0x7FC00000> : tensor<2x4xf32>
  %w5 = arith.constant dense<3.0> : tensor<2x4xf32>
  %w6 = arith.constant dense<3.0> : tensor<2x4xf64>
  %w7 = miura.convert %w6 : tensor<2x4xf64> -> tensor<2x4xf32>
  %0 = miura.linear %x, %w id("m.q") compute(f32, f32) : (tensor<?x4xf32>, tensor<2x4xf32>) -> tensor<?x2xf32>
  // expected-remark @below {{'m.lm_head' is kept as it is: it is excluded}}
  %1 = miura.linear %x, %w1 id("m.lm_head") compute(f32, f32) : (tensor<?x4xf32>, tensor<2x4xf32>) -> tensor<?x2xf32>
  // expected-remark @below {{'m.odd' is kept as it is: a group of 4 does not divide its 3 columns}}
  %2 = miura.linear %z, %w2 id("m.odd") compute(f32, f32) : (tensor<?x3xf32>, tensor<2x3xf32>) -> tensor<?x2xf32>
  // expected-remark @below {{'m.nan' is kept as it is: its weight has a value that is not finite}}
  %3 = miura.linear %x, %w3 id("m.nan") compute(f32, f32) : (tensor<?x4xf32>, tensor<2x4xf32>) -> tensor<?x2xf32>
  // expected-remark @below {{'m.argument' is kept as it is: its weight is not a constant of the model}}
  %5 = miura.linear %x, %v id("m.argument") compute(f32, f32) : (tensor<?x4xf32>, tensor<2x4xf32>) -> tensor<?x2xf32>
  // expected-remark @below {{'other' is kept as it is: no include pattern names it}}
  %6 = miura.linear %x, %w5 id("other") compute(f32, f32) : (tensor<?x4xf32>, tensor<2x4xf32>) -> tensor<?x2xf32>
  // expected-remark @below {{'m.double' is kept as it is: its weight is stored as f64, and only f32, f16 and bf16 are compressed}}
  %7 = miura.linear %x, %w7 id("m.double") compute(f32, f32) : (tensor<?x4xf32>, tensor<2x4xf32>) -> tensor<?x2xf32>
  %s = arith.constant dense<1.0> : tensor<2x2xf16>
  %c = arith.constant dense<1> : tensor<2x4xi4>
  %e = miura.dequantize %c, %s block [1, 2] : tensor<2x4xi4>, tensor<2x2xf16> -> tensor<2x4xf32>
  // expected-remark @below {{'m.came' is kept as it is: its weight came as an expression ('miura.dequantize'), and there is no original to certify against}}
  %8 = miura.linear %x, %e id("m.came") compute(f32, f32) : (tensor<?x4xf32>, tensor<2x4xf32>) -> tensor<?x2xf32>
  return
}

// -----

// Zero points between two codes have no code for zero.
// expected-warning @+2 {{the pattern '*.lm_head' names no layer}}
// expected-error @below {{miura-prune-magnitude: no layer fits 2:4; the remarks say why each was kept}}
module {
  miura.weight_data private @q = bytes<"absent", offset = 0, length = 32> : tensor<2x4xf32>
  func.func @zeros(%x: tensor<?x4xf32>) {
    %c = arith.constant dense<1> : tensor<2x4xi4>
    %s = arith.constant dense<1.0> : tensor<2x1xf16>
    %z = arith.constant dense<0.5> : tensor<2x1xf16>
    %e = miura.dequantize %c, %s, %z block [1, 0] unsigned : tensor<2x4xi4>, tensor<2x1xf16>, tensor<2x1xf16> -> tensor<2x4xf32>
    %w = miura.approximate %e of @q : tensor<2x4xf32>
    // expected-remark @below {{'m.zeros' is kept as it is: zeros cannot be set in its expression ('miura.dequantize'); prune the original}}
    %0 = miura.linear %x, %w id("m.zeros") compute(f32, f32) : (tensor<?x4xf32>, tensor<2x4xf32>) -> tensor<?x2xf32>
    return
  }
}
