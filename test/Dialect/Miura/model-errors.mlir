// RUN: miura-opt %s -split-input-file -verify-diagnostics

func.func @linear_sizes(%x: tensor<2x3xf32>, %w: tensor<5x4xf32>) {
  // expected-error @below {{'miura.linear' op expects dimension 1 of input to be 4, but got 'tensor<2x3xf32>'}}
  %y = miura.linear %x, %w id("a") compute(f32, f32) : (tensor<2x3xf32>, tensor<5x4xf32>) -> tensor<2x5xf32>
  return
}

// -----

func.func @heads(%q: tensor<1x5x2x8xf32>, %k: tensor<1x2x2x8xf32>) {
  // expected-error @below {{expects query heads to be a multiple of key/value heads}}
  %y = miura.attention %q, %k, %k scale 1.0 : tensor<1x5x2x8xf32>, tensor<1x2x2x8xf32>, tensor<1x2x2x8xf32> -> tensor<1x5x2x8xf32>
  return
}

// -----

func.func @scales(%c: tensor<4x32xi4>, %s: tensor<4x3xf16>) {
  // expected-error @below {{expects 2 scales in dimension 1 for a size of 32 and a block of 16, but got 3}}
  %w = miura.dequantize %c, %s block [1, 16] : tensor<4x32xi4>, tensor<4x3xf16> -> tensor<4x32xf32>
  return
}

// -----

// expected-error @below {{expects 64 bytes for 'tensor<4x4xf32>', but got 60}}
miura.weight_data private @q = bytes<"a.bin", offset = 0, length = 60> : tensor<4x4xf32>

// -----

func.func @sinks(%q: tensor<1x4x2x8xf32>, %k: tensor<1x2x2x8xf32>, %s: tensor<3xf32>) {
  // expected-error @below {{'miura.attention' op expects dimension 0 of sinks to be 4, but got 'tensor<3xf32>'}}
  %y = miura.attention %q, %k, %k sinks %s : tensor<3xf32> scale 1.0 : tensor<1x4x2x8xf32>, tensor<1x2x2x8xf32>, tensor<1x2x2x8xf32> -> tensor<1x4x2x8xf32>
  return
}

// -----

func.func @expert_bias(%x: tensor<?x4xf32>, %w: tensor<3x8x4xf32>, %e: tensor<?xi64>, %b: tensor<3x7xf32>) {
  // expected-error @below {{'miura.expert_linear' op expects dimension 1 of bias to be 8, but got 'tensor<3x7xf32>'}}
  %y = miura.expert_linear %x, %w at %e, %b id("up") compute <f32, f32>
      : (tensor<?x4xf32>, tensor<3x8x4xf32>, tensor<?xi64>, tensor<3x7xf32>) -> tensor<?x8xf32>
  return
}

// -----

func.func @new_tokens(%m: tensor<?x?xi64>, %ids: tensor<?x3xi64>) {
  // expected-error @below {{'miura.take_new' op expects dimension 1 of the result to be 3}}
  %y = miura.take_new %m for %ids : tensor<?x?xi64>, tensor<?x3xi64> -> tensor<?x2xi64>
  return
}

// -----

func.func @biases(%k: tensor<?x2x5x4xf32>) -> tensor<1x3x1x5xf32> {
  // expected-error @below {{'miura.linear_bias' op expects dimension 1 of the result to be 2}}
  %y = miura.linear_bias %k slopes [0.25, 0.5] : tensor<?x2x5x4xf32> -> tensor<1x3x1x5xf32>
  return %y : tensor<1x3x1x5xf32>
}

// -----

func.func @signless_code(%x: tensor<4xf32>) {
  // expected-error @below {{expects codes of 2 to 16 bits with or without a sign, as ui8, but got 'i8'}}
  %y = miura.fake_quantize %x to <i8, scale = 1.0 : f32, zero = 0> : tensor<4xf32>
  return
}

// -----

func.func @no_step(%x: tensor<4xf32>) {
  // expected-error @below {{expects a scale that is a positive number}}
  %y = miura.fake_quantize %x to <ui8, scale = 0.0 : f32, zero = 0> : tensor<4xf32>
  return
}

// -----

func.func @zero_is_no_code(%x: tensor<4xf32>) {
  // expected-error @below {{expects a zero point that is a code of 'si8', but got 128}}
  %y = miura.fake_quantize %x to <si8, scale = 1.0 : f32, zero = 128> : tensor<4xf32>
  return
}
