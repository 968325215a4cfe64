// RUN: rm -rf %t && mkdir -p %t
// RUN: env MIURA_WEIGHTS_DIR=%t miura-opt %s -split-input-file -verify-diagnostics \
// RUN:   -pass-pipeline='builtin.module(miura-quantize-rtn{bits=4 block-size=2 exclude=*.lm_head include=m.*})'

func.func @kept(%x: tensor<?x4xf32>, %z: tensor<?x3xf32>, %v: tensor<2x4xf32>) {
  %w = arith.constant dense<1.0> : tensor<2x4xf32>
  %w1 = arith.constant dense<2.0> : tensor<2x4xf32>
  %w2 = arith.constant dense<1.0> : tensor<2x3xf32>
  %w3 = arith.constant dense<0x7FC00000> : tensor<2x4xf32>
  %w4 = arith.constant dense<1.0e+9> : tensor<2x4xf32>
  %w5 = arith.constant dense<3.0> : tensor<2x4xf32>
  %0 = miura.linear %x, %w id("m.q") compute(f32, f32) : (tensor<?x4xf32>, tensor<2x4xf32>) -> tensor<?x2xf32>
  // expected-remark @below {{'m.lm_head' is kept as it is: it is excluded}}
  %1 = miura.linear %x, %w1 id("m.lm_head") compute(f32, f32) : (tensor<?x4xf32>, tensor<2x4xf32>) -> tensor<?x2xf32>
  // expected-remark @below {{'m.odd' is kept as it is: a block of 2 does not divide its 3 columns; choose a divisor, or block-size=0}}
  %2 = miura.linear %z, %w2 id("m.odd") compute(f32, f32) : (tensor<?x3xf32>, tensor<2x3xf32>) -> tensor<?x2xf32>
  // expected-remark @below {{'m.nan' is kept as it is: its weight has a value that is not finite}}
  %3 = miura.linear %x, %w3 id("m.nan") compute(f32, f32) : (tensor<?x4xf32>, tensor<2x4xf32>) -> tensor<?x2xf32>
  // expected-remark @below {{'m.large' is kept as it is: a scale is too large for f16; choose scale-type=f32}}
  %4 = miura.linear %x, %w4 id("m.large") compute(f32, f32) : (tensor<?x4xf32>, tensor<2x4xf32>) -> tensor<?x2xf32>
  // expected-remark @below {{'m.argument' is kept as it is: its weight is not a constant of the model}}
  %5 = miura.linear %x, %v id("m.argument") compute(f32, f32) : (tensor<?x4xf32>, tensor<2x4xf32>) -> tensor<?x2xf32>
  // expected-remark @below {{'other' is kept as it is: no include pattern names it}}
  %6 = miura.linear %x, %w5 id("other") compute(f32, f32) : (tensor<?x4xf32>, tensor<2x4xf32>) -> tensor<?x2xf32>
  %s = arith.constant dense<1.0> : tensor<2x2xf16>
  %c = arith.constant dense<1> : tensor<2x4xi4>
  %e = miura.dequantize %c, %s block [1, 2] : tensor<2x4xi4>, tensor<2x2xf16> -> tensor<2x4xf32>
  // expected-remark @below {{'m.twice' is kept as it is: its weight came as an expression ('miura.dequantize'), and there is no original to certify against}}
  %7 = miura.linear %x, %e id("m.twice") compute(f32, f32) : (tensor<?x4xf32>, tensor<2x4xf32>) -> tensor<?x2xf32>
  return
}

// -----

// expected-warning @+2 {{the pattern '*.lm_head' names no layer}}
// expected-error @below {{miura-quantize-rtn: no layer fits 4 bits in blocks of 2}}
module {
  func.func @none(%z: tensor<?x3xf32>) {
    %w = arith.constant dense<1.0> : tensor<2x3xf32>
    // expected-remark @below {{does not divide its 3 columns}}
    %0 = miura.linear %z, %w id("m.odd") compute(f32, f32) : (tensor<?x3xf32>, tensor<2x3xf32>) -> tensor<?x2xf32>
    return
  }
}

// -----

// expected-warning @below {{the pattern '*.lm_head' names no layer}}
module {
miura.weight_data private @gone = bytes<"no-such-file", offset = 0, length = 32> : tensor<2x4xf32> // expected-error {{cannot find the file 'no-such-file'}}
func.func @unreadable(%x: tensor<?x4xf32>) {
  %w = miura.weight @gone : tensor<2x4xf32>
  // expected-error @below {{cannot quantize 'm.gone': the weight cannot be read}}
  %0 = miura.linear %x, %w id("m.gone") compute(f32, f32) : (tensor<?x4xf32>, tensor<2x4xf32>) -> tensor<?x2xf32>
  return
}
}
