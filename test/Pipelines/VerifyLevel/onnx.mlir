// RUN: miura-opt %s -miura-verify-level=level=onnx -split-input-file -verify-diagnostics

func.func @main(%x: tensor<4xf32>) -> !miura.unknown {
  %c = arith.constant dense<1.0> : tensor<4xf32>
  %0 = miura.onnx_node "Add"(%x, %c) version(14) outputs(["a"]) : (tensor<4xf32>, tensor<4xf32>) -> !miura.unknown
  return %0 : !miura.unknown
}

// -----

// Once per kind of op.
func.func @raised(%x: tensor<4xf32>) -> tensor<4xf32> {
  // expected-error @+1 {{'miura.silu' op is not of the onnx level: only nodes of the file, weights and constants are; what works on nodes must run before miura-raise}}
  %0 = miura.silu %x : tensor<4xf32>
  %1 = miura.silu %0 : tensor<4xf32>
  // expected-error @+1 {{'arith.addf' op is not of the onnx level}}
  %2 = arith.addf %1, %1 : tensor<4xf32>
  return %2 : tensor<4xf32>
}
