// Every op of a weight's expression, printed, parsed and printed again.
// RUN: miura-opt %s | miura-opt | FileCheck %s
// RUN: miura-opt %s -mlir-print-op-generic | miura-opt | FileCheck %s

// CHECK: miura.weight_data private @w = bytes<"w.bin", offset = 64, length = 64, file_size = 128, digest = "{{0+}}1"> : tensor<4x4xf32>
miura.weight_data private @w = bytes<"w.bin", offset = 64, length = 64, file_size = 128, digest = "0000000000000000000000000000000000000000000000000000000000000001"> : tensor<4x4xf32>
// CHECK: miura.weight_data @public = bytes<"w.bin", offset = 0, length = 8> : tensor<4x4xi4>
miura.weight_data @public = bytes<"w.bin", offset = 0, length = 8> : tensor<4x4xi4>
// CHECK: miura.weight_data private @declared digest("0f") : tensor<2x4xf16>
miura.weight_data private @declared digest("0f") : tensor<2x4xf16>

// CHECK-LABEL: @leaves
func.func @leaves(%codes: tensor<4x6xi3>, %scales: tensor<4x3xf16>, %zeros: tensor<4x3xi3>,
                  %fzeros: tensor<4x3xf32>, %book: tensor<8x2xf16>, %places: tensor<4x4xi2>,
                  %kept: tensor<4x4xf32>, %bitmap: tensor<4x1xi8>, %values: tensor<5xf32>,
                  %blocks: tensor<2x1xi8>, %dense: tensor<4x2x2xf32>, %some: tensor<5xi3>) {
  // CHECK: miura.weight @w : tensor<4x4xf32>
  %0 = miura.weight @w : tensor<4x4xf32>
  // CHECK: miura.dequantize %{{.*}}, %{{.*}} block [1, 2] : tensor<4x6xi3>, tensor<4x3xf16> -> tensor<4x6xf32>
  %1 = miura.dequantize %codes, %scales block [1, 2] : tensor<4x6xi3>, tensor<4x3xf16> -> tensor<4x6xf32>
  // CHECK: miura.dequantize %{{.*}}, %{{.*}}, %{{.*}} block [1, 2] unsigned : tensor<4x6xi3>, tensor<4x3xf16>, tensor<4x3xi3> -> tensor<4x6xf16>
  %2 = miura.dequantize %codes, %scales, %zeros block [1, 2] unsigned : tensor<4x6xi3>, tensor<4x3xf16>, tensor<4x3xi3> -> tensor<4x6xf16>
  // CHECK: miura.dequantize %{{.*}}, %{{.*}}, %{{.*}} block [1, 2] : tensor<4x6xi3>, tensor<4x3xf16>, tensor<4x3xf32> -> tensor<4x6xf32>
  %3 = miura.dequantize %codes, %scales, %fzeros block [1, 2] : tensor<4x6xi3>, tensor<4x3xf16>, tensor<4x3xf32> -> tensor<4x6xf32>
  // CHECK: miura.lookup %{{.*}}, %{{.*}} : tensor<4x6xi3>, tensor<8x2xf16> -> tensor<4x12xf32>
  %4 = miura.lookup %codes, %book : tensor<4x6xi3>, tensor<8x2xf16> -> tensor<4x12xf32>
  // CHECK: miura.unprune %{{.*}}, %{{.*}} "nm" group [2, 4] : tensor<4x4xf32>, tensor<4x4xi2> -> tensor<4x8xf32>
  %5 = miura.unprune %kept, %places "nm" group [2, 4] : tensor<4x4xf32>, tensor<4x4xi2> -> tensor<4x8xf32>
  // CHECK: miura.unprune %{{.*}}, %{{.*}} "bitmap" : tensor<5xf32>, tensor<4x1xi8> -> tensor<4x6xf32>
  %6 = miura.unprune %values, %bitmap "bitmap" : tensor<5xf32>, tensor<4x1xi8> -> tensor<4x6xf32>
  // CHECK: miura.unprune %{{.*}}, %{{.*}} "block" group [2, 2] : tensor<4x2x2xf32>, tensor<2x1xi8> -> tensor<4x6xf32>
  %7 = miura.unprune %dense, %blocks "block" group [2, 2] : tensor<4x2x2xf32>, tensor<2x1xi8> -> tensor<4x6xf32>
  // CHECK: miura.unprune %{{.*}}, %{{.*}} "bitmap" fill %{{.*}} block [1, 2] : tensor<5xi3>, tensor<4x1xi8>, tensor<4x3xi3> -> tensor<4x6xi3>
  %8 = miura.unprune %some, %bitmap "bitmap" fill %zeros block [1, 2] : tensor<5xi3>, tensor<4x1xi8>, tensor<4x3xi3> -> tensor<4x6xi3>
  return
}

// CHECK-LABEL: @combinations
func.func @combinations(%l: tensor<4x2xf16>, %r: tensor<2x6xf16>, %a: tensor<4x6xf32>,
                        %rows: tensor<4xf32>, %columns: tensor<6xf16>) {
  // CHECK: %[[M:.*]] = miura.matmul %{{.*}}, %{{.*}} : tensor<4x2xf16>, tensor<2x6xf16> -> tensor<4x6xf32>
  %0 = miura.matmul %l, %r : tensor<4x2xf16>, tensor<2x6xf16> -> tensor<4x6xf32>
  // CHECK: miura.add %{{.*}}, %[[M]] : tensor<4x6xf32>, tensor<4x6xf32> -> tensor<4x6xf32>
  %1 = miura.add %a, %0 : tensor<4x6xf32>, tensor<4x6xf32> -> tensor<4x6xf32>
  // CHECK: miura.scale %{{.*}} rows %{{.*}} : tensor<4xf32> columns %{{.*}} : tensor<6xf16> : tensor<4x6xf32> -> tensor<4x6xf32>
  %2 = miura.scale %a rows %rows : tensor<4xf32> columns %columns : tensor<6xf16> : tensor<4x6xf32> -> tensor<4x6xf32>
  // CHECK: miura.scale %{{.*}} columns %{{.*}} : tensor<6xf16> : tensor<4x6xf32> -> tensor<4x6xf32>
  %3 = miura.scale %a columns %columns : tensor<6xf16> : tensor<4x6xf32> -> tensor<4x6xf32>
  // CHECK: miura.transpose %{{.*}} : tensor<4x6xf32> -> tensor<6x4xf32>
  %4 = miura.transpose %a : tensor<4x6xf32> -> tensor<6x4xf32>
  // CHECK: %[[C:.*]] = miura.convert %{{.*}} : tensor<4x2xf16> -> tensor<4x2xf32>
  %5 = miura.convert %l : tensor<4x2xf16> -> tensor<4x2xf32>
  // CHECK: miura.approximate %{{.*}} of @declared transposed : tensor<4x2xf32>
  %6 = miura.approximate %5 of @declared transposed : tensor<4x2xf32>
  // CHECK: miura.approximate %{{.*}} of @w certificate <error = 5.000000e-01 : f64, original = "0f", tree = "a3", gram = "b1"> : tensor<4x4xf32>
  %7 = miura.weight @w : tensor<4x4xf32>
  %8 = miura.approximate %7 of @w certificate <error = 0.5 : f64, original = "0f", tree = "a3", gram = "b1"> : tensor<4x4xf32>
  return
}
