// RUN: miura-opt %s -miura-verify-level=level=normalized -split-input-file -verify-diagnostics

// Behind an operator that nobody knows there are no types.
func.func @main(%x: tensor<4xf32>) -> !miura.unknown {
  %0 = miura.onnx_node "Strange"(%x) domain("elsewhere") version(1) outputs(["a"]) : (tensor<4xf32>) -> !miura.unknown
  %1 = miura.onnx_node "Relu"(%0) version(14) outputs(["b"]) : (!miura.unknown) -> !miura.unknown
  return %1 : !miura.unknown
}

// -----

func.func @main(%x: tensor<4xf32>) -> !miura.unknown {
  // expected-error @+1 {{'miura.onnx_node' op 'r' has results of no known type though its operands have types; run miura-onnx-normalize}}
  %0 = miura.onnx_node "Relu"(%x) version(14) name("r") outputs(["b"]) : (tensor<4xf32>) -> !miura.unknown
  return %0 : !miura.unknown
}

// -----

// expected-error @+1 {{'func.func' op is a function of the file, which normalized modules have inlined; run miura-onnx-normalize}}
func.func private @square(%x: tensor<4xf32>) -> tensor<4xf32> attributes {miura.function = {domain = "local", name = "square"}} {
  return %x : tensor<4xf32>
}

// -----

func.func @raised(%x: tensor<4xf32>) -> tensor<4xf32> {
  // expected-error @+1 {{'miura.silu' op is not of the onnx level}}
  %0 = miura.silu %x : tensor<4xf32>
  return %0 : tensor<4xf32>
}
