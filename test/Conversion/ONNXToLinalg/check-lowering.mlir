// RUN: miura-opt %s -miura-check-onnx-lowering -split-input-file -verify-diagnostics | FileCheck %s

// CHECK-LABEL: @known
func.func @known(%x: tensor<4xf32>) -> tensor<4xf32> {
  %0 = miura.onnx_node "Relu"(%x) name("n") : (tensor<4xf32>) -> tensor<4xf32>
  return %0 : tensor<4xf32>
}

// -----

func.func @unknown(%x: tensor<4xf32>) -> tensor<4xf32> {
  // expected-error @+1 {{node 'n7' is of the operator 'Frobnicate' (domain 'acme'), which cannot be compiled: no model op was found for it, and it has no lowering of its own; replace it in the file by operators that are known}}
  %0 = miura.onnx_node "Frobnicate"(%x) domain("acme") name("n7") : (tensor<4xf32>) -> tensor<4xf32>
  // expected-error @+1 {{node 'n8' is of the operator 'Frob', as are 1 more, which cannot be compiled}}
  %1 = miura.onnx_node "Frob"(%0) name("n8") : (tensor<4xf32>) -> tensor<4xf32>
  %2 = miura.onnx_node "Frob"(%1) name("n9") : (tensor<4xf32>) -> tensor<4xf32>
  return %2 : tensor<4xf32>
}
