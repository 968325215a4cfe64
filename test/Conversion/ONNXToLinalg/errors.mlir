// RUN: miura-opt %s -miura-onnx-to-linalg -split-input-file -verify-diagnostics

func.func @unknown_operator(%x: tensor<4xf32>) -> tensor<4xf32> {
  // expected-error @+2 {{node 'n7' (Frobnicate) has no lowering (domain 'acme')}}
  // expected-error @+1 {{failed to legalize operation 'miura.onnx_node'}}
  %0 = miura.onnx_node "Frobnicate"(%x) domain("acme") name("n7") : (tensor<4xf32>) -> tensor<4xf32>
  return %0 : tensor<4xf32>
}

// -----

func.func @unknown_rank(%x: tensor<*xf32>) -> tensor<*xf32> {
  // expected-error @+2 {{node 'n' (Relu) has operand 0 of type 'tensor<*xf32>'; only tensors of known rank are lowered (run miura-onnx-normalize before)}}
  // expected-error @+1 {{failed to legalize operation 'miura.onnx_node'}}
  %0 = miura.onnx_node "Relu"(%x) name("n") : (tensor<*xf32>) -> tensor<*xf32>
  return %0 : tensor<*xf32>
}

// -----

func.func @axes_from_data(%x: tensor<4x4xf32>, %axes: tensor<1xi64>) -> tensor<4xf32> {
  // expected-error @+2 {{node 'r' (ReduceSum) has axes that are not a constant}}
  // expected-error @+1 {{failed to legalize operation 'miura.onnx_node'}}
  %0 = miura.onnx_node "ReduceSum"(%x, %axes) {keepdims = 0 : si64} name("r") : (tensor<4x4xf32>, tensor<1xi64>) -> tensor<4xf32>
  return %0 : tensor<4xf32>
}

// -----

func.func @wrong_type(%x: tensor<4x5xf32>) -> tensor<4x4xf32> {
  // expected-error @+2 {{node 't' (Transpose) computes result 0 of type 'tensor<5x4xf32>', but is declared to give 'tensor<4x4xf32>'}}
  // expected-error @+1 {{failed to legalize operation 'miura.onnx_node'}}
  %0 = miura.onnx_node "Transpose"(%x) name("t") : (tensor<4x5xf32>) -> tensor<4x4xf32>
  return %0 : tensor<4x4xf32>
}

// -----

func.func @equation(%x: tensor<4x5xf32>) -> tensor<4x4xf32> {
  // expected-error @+2 {{node 'e' (Einsum) has the equation 'ijk->ik', which does not name the dimensions of its operands}}
  // expected-error @+1 {{failed to legalize operation 'miura.onnx_node'}}
  %0 = miura.onnx_node "Einsum"(%x) {equation = "ijk->ik"} version(12) name("e") : (tensor<4x5xf32>) -> tensor<4x4xf32>
  return %0 : tensor<4x4xf32>
}
