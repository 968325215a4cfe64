// RUN: miura-opt %s -miura-verify-level=level=kernel -split-input-file -verify-diagnostics

// What a kernel decodes is its own affair; a row's sums and a small table are none of a weight's size.
#map = affine_map<(i) -> (i)>
miura.weight_data private @c = bytes<"nowhere", offset = 0, length = 1024> : tensor<32x64xi4>
miura.weight_data private @s = bytes<"nowhere", offset = 1024, length = 128> : tensor<32x2xf16>
func.func @step(%x: tensor<1x64xf32>, %e: tensor<1x32xf32>, %f: tensor<32x2xf32>) -> (tensor<1x32xf32>, tensor<32x2xf32>) {
  %c = miura.weight @c : tensor<32x64xi4>
  %s = miura.weight @s : tensor<32x2xf16>
  %y = miura.kernel ins(%x, %c, %s : tensor<1x64xf32>, tensor<32x64xi4>, tensor<32x2xf16>) outs(%e : tensor<1x32xf32>) {
  ^bb0(%a: tensor<?x?xf32>, %d: tensor<?x?xi4>, %t: tensor<?x?xf16>):
    %w = miura.dequantize %d, %t block [1, 32] : tensor<?x?xi4>, tensor<?x?xf16> -> tensor<?x?xf32>
    %l = miura.linear %a, %w id("") compute(f32, f32) : (tensor<?x?xf32>, tensor<?x?xf32>) -> tensor<?x?xf32>
    miura.kernel_yield %l : tensor<?x?xf32>
  } -> tensor<1x32xf32>
  %t = miura.convert %s : tensor<32x2xf16> -> tensor<32x2xf32>
  return %y, %t : tensor<1x32xf32>, tensor<32x2xf32>
}

// -----

miura.weight_data private @c = bytes<"nowhere", offset = 0, length = 1024> : tensor<32x64xi4>
miura.weight_data private @s = bytes<"nowhere", offset = 1024, length = 128> : tensor<32x2xf16>
func.func @step() -> tensor<32x64xf32> {
  %c = miura.weight @c : tensor<32x64xi4>
  %s = miura.weight @s : tensor<32x2xf16>
  // expected-error @+1 {{'miura.dequantize' op computes a whole weight of 'tensor<32x64xf32>' outside a kernel; a weight's expression must be decoded in the kernel that multiplies by it}}
  %w = miura.dequantize %c, %s block [1, 32] : tensor<32x64xi4>, tensor<32x2xf16> -> tensor<32x64xf32>
  return %w : tensor<32x64xf32>
}

// -----

// In loops as well, through views.
#map2 = affine_map<(i, j) -> (i, j)>
miura.weight_data private @c = bytes<"nowhere", offset = 0, length = 4096> : tensor<64x64xi8>
func.func @step() -> tensor<64x64xf32> {
  %c = miura.weight @c : tensor<64x64xi8>
  %t = miura.transpose %c : tensor<64x64xi8> -> tensor<64x64xi8>
  %e = tensor.empty() : tensor<64x64xf32>
  // expected-error @+1 {{'linalg.generic' op computes a whole weight of 'tensor<64x64xf32>' outside a kernel}}
  %w = linalg.generic {indexing_maps = [#map2, #map2], iterator_types = ["parallel", "parallel"]} ins(%t : tensor<64x64xi8>) outs(%e : tensor<64x64xf32>) {
  ^bb0(%a: i8, %b: f32):
    %f = arith.sitofp %a : i8 to f32
    linalg.yield %f : f32
  } -> tensor<64x64xf32>
  return %w : tensor<64x64xf32>
}

// -----

// What depends on the step's input is an activation, however large.
miura.weight_data private @w = bytes<"nowhere", offset = 0, length = 16384> : tensor<64x64xf32>
func.func @step(%x: tensor<64x64xf32>) -> tensor<64x64xf32> {
  %w = miura.weight @w : tensor<64x64xf32>
  %0 = arith.addf %x, %w : tensor<64x64xf32>
  return %0 : tensor<64x64xf32>
}

// -----

func.func @step(%n: index) {
  // expected-error @+1 {{'memref.alloc' op allocates inside a step; miura-plan-workspace gives every buffer a place in the session's arena}}
  %0 = memref.alloc(%n) : memref<?xf32>
  %1 = memref.alloc(%n) : memref<?xf32>
  return
}
