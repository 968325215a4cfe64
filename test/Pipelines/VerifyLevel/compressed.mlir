// RUN: miura-opt %s -miura-verify-level=level=compressed -split-input-file -verify-diagnostics

// A node that cannot be lowered may be in a bundle.
miura.weight_data private @w digest("1111111111111111111111111111111111111111111111111111111111111111") : tensor<32x32xf32>
miura.weight_data private @c = bytes<"nowhere", offset = 0, length = 512> : tensor<32x32xi4>
miura.weight_data private @s = bytes<"nowhere", offset = 512, length = 64> : tensor<32x1xf16>
func.func @main(%x: tensor<32xf32>) -> tensor<32xf32> {
  %c = miura.weight @c : tensor<32x32xi4>
  %s = miura.weight @s : tensor<32x1xf16>
  %q = miura.dequantize %c, %s block [1, 32] : tensor<32x32xi4>, tensor<32x1xf16> -> tensor<32x32xf32>
  %w = miura.approximate %q of @w certificate <error = 0.1 : f64, original = "1111111111111111111111111111111111111111111111111111111111111111", tree = "22"> : tensor<32x32xf32>
  %0 = miura.linear %x, %w id("w") compute(f32, f32) : (tensor<32xf32>, tensor<32x32xf32>) -> tensor<32xf32>
  %1 = miura.onnx_node "Frob"(%0) name("n") : (tensor<32xf32>) -> tensor<32xf32>
  return %1 : tensor<32xf32>
}

// -----

miura.weight_data private @w digest("1111111111111111111111111111111111111111111111111111111111111111") : tensor<32x32xf32>
miura.weight_data private @c = bytes<"nowhere", offset = 0, length = 512> : tensor<32x32xi4>
miura.weight_data private @s = bytes<"nowhere", offset = 512, length = 64> : tensor<32x1xf16>
func.func @main(%x: tensor<32xf32>) -> tensor<32xf32> {
  %c = miura.weight @c : tensor<32x32xi4>
  %s = miura.weight @s : tensor<32x1xf16>
  %q = miura.dequantize %c, %s block [1, 32] : tensor<32x32xi4>, tensor<32x1xf16> -> tensor<32x32xf32>
  // expected-error @+1 {{'miura.approximate' op has no certificate; the pass that made it must certify it against the original}}
  %w = miura.approximate %q of @w : tensor<32x32xf32>
  // expected-error @+1 {{'miura.approximate' op is certified against another weight than '@w': the digests differ; certify it anew}}
  %v = miura.approximate %q of @w certificate <error = 0.1 : f64, original = "33", tree = "22"> : tensor<32x32xf32>
  // expected-error @+1 {{'miura.approximate' op is an operand of 'miura.add', but it is the root of a weight's expression; rewrite below it and certify the whole anew}}
  %u = miura.approximate %q of @w certificate <error = 0.1 : f64, original = "1111111111111111111111111111111111111111111111111111111111111111", tree = "22"> : tensor<32x32xf32>
  %a = miura.add %u, %q : tensor<32x32xf32>, tensor<32x32xf32> -> tensor<32x32xf32>
  %0 = miura.linear %x, %w id("a") compute(f32, f32) : (tensor<32xf32>, tensor<32x32xf32>) -> tensor<32xf32>
  %1 = miura.linear %0, %v id("b") compute(f32, f32) : (tensor<32xf32>, tensor<32x32xf32>) -> tensor<32xf32>
  %2 = miura.linear %1, %a id("c") compute(f32, f32) : (tensor<32xf32>, tensor<32x32xf32>) -> tensor<32xf32>
  // expected-error @+1 {{'tensor.cast' op gives a value of type 'tensor<*xf32>'}}
  %3 = tensor.cast %2 : tensor<32xf32> to tensor<*xf32>
  return %2 : tensor<32xf32>
}
