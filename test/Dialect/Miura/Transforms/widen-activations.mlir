// RUN: miura-opt %s -split-input-file --miura-widen-activations --canonicalize 2>/dev/null | FileCheck %s
// RUN: miura-opt %s -split-input-file --miura-widen-activations 2>&1 >/dev/null | FileCheck %s --check-prefix=REMARK

// Activations, arguments and results become f32; the weight keeps its bytes and
// a scale of a norm does not.
// CHECK: miura.weight_data private @w = {{.*}} : tensor<8x64xf16>
// CHECK-LABEL: func @half(
// CHECK-SAME: %[[X:.*]]: tensor<?x?x64xf32>, %[[PAST:.*]]: tensor<?x1x?x8xf32>) -> tensor<?x?x8xf32>
// CHECK-DAG: %[[S:.*]] = arith.constant dense<5.000000e-01> : tensor<64xf32>
// CHECK-DAG: %[[W:.*]] = miura.weight @w : tensor<8x64xf16>
// CHECK-DAG: %[[V:.*]] = miura.convert %[[W]] : tensor<8x64xf16> -> tensor<8x64xf32>
// CHECK: %[[N:.*]] = miura.rms_norm %[[X]], %[[S]] epsilon 1.000000e-05 : tensor<?x?x64xf32>, tensor<64xf32>
// CHECK: miura.linear %[[N]], %[[V]] id("w") compute(f32, f32)
// CHECK: miura.onnx_node "Cast"({{.*}}) {to = 1 : si64}
// CHECK-NOT: arith.extf
// REMARK: remark: activations of 16 bits are computed in f32
miura.weight_data private @w = bytes<"w.bin", offset = 0, length = 1024> : tensor<8x64xf16>
func.func @half(%x: tensor<?x?x64xf16>, %past: tensor<?x1x?x8xf16>) -> tensor<?x?x8xf16> {
  %s = arith.constant dense<0.5> : tensor<64xf16>
  %w = miura.weight @w : tensor<8x64xf16>
  %n = miura.rms_norm %x, %s epsilon 1.0e-05 : tensor<?x?x64xf16>, tensor<64xf16>
  %y = miura.linear %n, %w id("w") compute(f16, f32) : (tensor<?x?x64xf16>, tensor<8x64xf16>) -> tensor<?x?x8xf16>
  %wide = arith.extf %y : tensor<?x?x8xf16> to tensor<?x?x8xf32>
  %narrow = miura.onnx_node "Cast"(%wide) {to = 10 : si64} version(13) : (tensor<?x?x8xf32>) -> tensor<?x?x8xf16>
  return %narrow : tensor<?x?x8xf16>
}

// -----

// Weights of 16 bits in a model that computes in f32 are none of its business.
// CHECK-LABEL: func @single(
// CHECK: %[[V:.*]] = miura.convert
// CHECK: miura.linear %{{.*}}, %[[V]]
// REMARK-NOT: remark
miura.weight_data private @w = bytes<"w.bin", offset = 0, length = 1024> : tensor<8x64xf16>
func.func @single(%x: tensor<?x?x64xf32>) -> tensor<?x?x8xf32> {
  %w = miura.weight @w : tensor<8x64xf16>
  %v = miura.convert %w : tensor<8x64xf16> -> tensor<8x64xf32>
  %y = miura.linear %x, %v id("w") compute(f32, f32) : (tensor<?x?x64xf32>, tensor<8x64xf32>) -> tensor<?x?x8xf32>
  return %y : tensor<?x?x8xf32>
}

// -----

// REMARK: widen-activations.mlir:{{.*}}: remark: activations of 16 bits
// CHECK-LABEL: func @brain(
// CHECK-SAME: tensor<?x4xf32>) -> tensor<?x4xf32>
// CHECK: arith.addf %{{.*}}, %{{.*}} : tensor<?x4xf32>
func.func @brain(%x: tensor<?x4xbf16>) -> tensor<?x4xbf16> {
  %y = arith.addf %x, %x : tensor<?x4xbf16>
  return %y : tensor<?x4xbf16>
}
