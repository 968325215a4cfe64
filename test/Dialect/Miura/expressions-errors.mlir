// RUN: miura-opt %s -split-input-file -verify-diagnostics

// expected-error @below {{expects a static shape, but got 'tensor<?x4xf32>'}}
miura.weight_data private @w = bytes<"w.bin", offset = 0, length = 64> : tensor<?x4xf32>

// -----

// Three codes of 3 bits are two bytes a row.
// expected-error @below {{expects 8 bytes for 'tensor<4x3xi3>', but got 5}}
miura.weight_data private @w = bytes<"w.bin", offset = 0, length = 5> : tensor<4x3xi3>

// -----

// expected-error @below {{expects an offset and a length that are not negative, but got -1 and 64}}
miura.weight_data private @w = bytes<"w.bin", offset = -1, length = 64> : tensor<4x4xf32>

// -----

// expected-error @below {{expects a digest of 64 hexadecimal digits, but got 'xy'}}
miura.weight_data private @w = bytes<"w.bin", offset = 0, length = 64, digest = "xy"> : tensor<4x4xf32>

// -----

func.func @f() {
  // expected-error @below {{refers to '@none', which is not a miura.weight_data}}
  %0 = miura.weight @none : tensor<4x4xf32>
  return
}

// -----

miura.weight_data private @w digest("0f") : tensor<4x4xf32>
func.func @f() {
  // expected-error @below {{expects the type of '@w', 'tensor<4x4xf32>', but got 'tensor<4x4xf16>'}}
  %0 = miura.weight @w : tensor<4x4xf16>
  return
}

// -----

func.func @f(%c: tensor<4x4xi32>, %s: tensor<4x1xf16>) {
  // expected-error @below {{expects codes of 2 to 16 bits, but got 'tensor<4x4xi32>'}}
  %0 = miura.dequantize %c, %s block [1, 4] : tensor<4x4xi32>, tensor<4x1xf16> -> tensor<4x4xf32>
  return
}

// -----

func.func @f(%c: tensor<4x4xi4>, %s: tensor<4x1xf16>) {
  // expected-error @below {{expects codes and a result of one shape, but got 'tensor<4x4xi4>' and 'tensor<4x5xf32>'}}
  %0 = miura.dequantize %c, %s block [1, 4] : tensor<4x4xi4>, tensor<4x1xf16> -> tensor<4x5xf32>
  return
}

// -----

func.func @f(%c: tensor<4x4xi4>, %s: tensor<4x1xf16>) {
  // expected-error @below {{expects a block size and a dimension of the scales for each of the 2 dimensions of the codes}}
  %0 = miura.dequantize %c, %s block [4] : tensor<4x4xi4>, tensor<4x1xf16> -> tensor<4x4xf32>
  return
}

// -----

func.func @f(%c: tensor<4x4xi4>, %s: tensor<4x1xf16>) {
  // expected-error @below {{expects block sizes that are not negative}}
  %0 = miura.dequantize %c, %s block [1, -4] : tensor<4x4xi4>, tensor<4x1xf16> -> tensor<4x4xf32>
  return
}

// -----

func.func @f(%c: tensor<4x4xi4>, %s: tensor<4x2xf16>, %z: tensor<4x1xi4>) {
  // expected-error @below {{expects zeros of the shape of the scales, but got 'tensor<4x1xi4>' and 'tensor<4x2xf16>'}}
  %0 = miura.dequantize %c, %s, %z block [1, 2] : tensor<4x4xi4>, tensor<4x2xf16>, tensor<4x1xi4> -> tensor<4x4xf32>
  return
}

// -----

func.func @f(%c: tensor<4x4xi4>, %b: tensor<16x2xf16>) {
  // expected-error @below {{expects rows of 8 values for the codes and the codebook, but got 'tensor<4x4xf32>'}}
  %0 = miura.lookup %c, %b : tensor<4x4xi4>, tensor<16x2xf16> -> tensor<4x4xf32>
  return
}

// -----

func.func @f(%v: tensor<4x4xf32>, %i: tensor<4x4xi2>) {
  // expected-error @below {{expects 2 of 4 entries of each row of 6, but got 4}}
  %0 = miura.unprune %v, %i "nm" group [2, 4] : tensor<4x4xf32>, tensor<4x4xi2> -> tensor<4x6xf32>
  return
}

// -----

func.func @f(%v: tensor<4x4xf32>, %i: tensor<4x4xi2>) {
  // expected-error @below {{expects the format bitmap, nm or block, but got 'csr'}}
  %0 = miura.unprune %v, %i "csr" : tensor<4x4xf32>, tensor<4x4xi2> -> tensor<4x6xf32>
  return
}

// -----

func.func @f(%v: tensor<5xf32>, %i: tensor<4x6xi1>) {
  // expected-error @below {{expects a bitmap of i8, eight places a byte, but got 'tensor<4x6xi1>'}}
  %0 = miura.unprune %v, %i "bitmap" : tensor<5xf32>, tensor<4x6xi1> -> tensor<4x6xf32>
  return
}

// -----

func.func @f(%v: tensor<5xf32>, %i: tensor<4x2xi8>) {
  // expected-error @below {{expects a bitmap of 'tensor<4x1xi8>' for 'tensor<4x6xf32>', but got 'tensor<4x2xi8>'}}
  %0 = miura.unprune %v, %i "bitmap" : tensor<5xf32>, tensor<4x2xi8> -> tensor<4x6xf32>
  return
}

// -----

func.func @f(%v: tensor<5x1xf32>, %i: tensor<4x1xi8>) {
  // expected-error @below {{expects values of rank 1, but got 'tensor<5x1xf32>'}}
  %0 = miura.unprune %v, %i "bitmap" : tensor<5x1xf32>, tensor<4x1xi8> -> tensor<4x6xf32>
  return
}

// -----

func.func @f(%v: tensor<5xi4>, %i: tensor<4x1xi8>) {
  // expected-error @below {{expects values and a result that are both floating-point or codes of one type, but got 'i4' and 'f32'}}
  %0 = miura.unprune %v, %i "bitmap" : tensor<5xi4>, tensor<4x1xi8> -> tensor<4x6xf32>
  return
}

// -----

func.func @f(%v: tensor<4x2x4xf32>, %i: tensor<2x1xi8>) {
  // expected-error @below {{expects blocks of 4 to divide the size of 6 of dimension 1}}
  %0 = miura.unprune %v, %i "block" group [2, 4] : tensor<4x2x4xf32>, tensor<2x1xi8> -> tensor<4x6xf32>
  return
}

// -----

func.func @f(%v: tensor<4x2x3xf32>, %i: tensor<2x1xi8>) {
  // expected-error @below {{expects values of kept x 2 x 2, but got 'tensor<4x2x3xf32>'}}
  %0 = miura.unprune %v, %i "block" group [2, 2] : tensor<4x2x3xf32>, tensor<2x1xi8> -> tensor<4x6xf32>
  return
}

// -----

func.func @f(%v: tensor<5xi4>, %i: tensor<4x1xi8>, %z: tensor<4x3xi3>) {
  // expected-error @below {{expects a fill of the result's type, but got 'tensor<4x3xi3>' and 'tensor<4x6xi4>'}}
  %0 = miura.unprune %v, %i "bitmap" fill %z block [1, 2] : tensor<5xi4>, tensor<4x1xi8>, tensor<4x3xi3> -> tensor<4x6xi4>
  return
}

// -----

func.func @f(%v: tensor<5xi4>, %i: tensor<4x1xi8>, %z: tensor<4x2xi4>) {
  // expected-error @below {{expects 3 numbers of the fill in dimension 1, but got 2}}
  %0 = miura.unprune %v, %i "bitmap" fill %z block [1, 2] : tensor<5xi4>, tensor<4x1xi8>, tensor<4x2xi4> -> tensor<4x6xi4>
  return
}

// -----

func.func @f(%v: tensor<5xi4>, %i: tensor<4x1xi8>, %z: tensor<4x3xi4>) {
  // expected-error @below {{expects a block size and a dimension of the fill for each of the 2 dimensions of the result}}
  %0 = miura.unprune %v, %i "bitmap" fill %z block [2] : tensor<5xi4>, tensor<4x1xi8>, tensor<4x3xi4> -> tensor<4x6xi4>
  return
}

// -----

func.func @f(%v: tensor<4x4xf32>, %i: tensor<4x4xi2>) {
  // expected-error @below {{expects an index whose type holds places 0 to 7, but got 'tensor<4x4xi2>'}}
  %0 = miura.unprune %v, %i "nm" group [4, 8] : tensor<4x4xf32>, tensor<4x4xi2> -> tensor<4x8xf32>
  return
}

// -----

func.func @f(%l: tensor<4x2xf16>, %r: tensor<3x6xf16>) {
  // expected-error @below {{expects out x r by r x in to be out x in, but got 'tensor<4x2xf16>', 'tensor<3x6xf16>' and 'tensor<4x6xf32>'}}
  %0 = miura.matmul %l, %r : tensor<4x2xf16>, tensor<3x6xf16> -> tensor<4x6xf32>
  return
}

// -----

func.func @f(%a: tensor<4x6xf32>, %b: tensor<4x5xf32>) {
  // expected-error @below {{expects operands of the result's shape}}
  %0 = miura.add %a, %b : tensor<4x6xf32>, tensor<4x5xf32> -> tensor<4x6xf32>
  return
}

// -----

func.func @f(%a: tensor<4x6xf32>, %c: tensor<4xf32>) {
  // expected-error @below {{expects 6 columns, but got 'tensor<4xf32>'}}
  %0 = miura.scale %a columns %c : tensor<4xf32> : tensor<4x6xf32> -> tensor<4x6xf32>
  return
}

// -----

func.func @f(%a: tensor<4x6xf32>) {
  // expected-error @below {{expects a result with the last two dimensions of the input swapped, but got 'tensor<4x6xf32>' and 'tensor<4x6xf32>'}}
  %0 = miura.transpose %a : tensor<4x6xf32> -> tensor<4x6xf32>
  return
}

// -----

miura.weight_data private @w digest("0f") : tensor<4x6xf32>
func.func @f(%a: tensor<4x6xf32>) {
  // expected-error @below {{expects the shape of '@w', transposed, 'tensor<4x6xf32>', but got 'tensor<4x6xf32>'}}
  %0 = miura.approximate %a of @w transposed : tensor<4x6xf32>
  return
}

// -----

func.func @f(%a: tensor<4x6xf32>) {
  // expected-error @below {{refers to '@none', which is not a miura.weight_data}}
  %0 = miura.approximate %a of @none : tensor<4x6xf32>
  return
}
