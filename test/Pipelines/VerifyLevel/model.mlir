// RUN: miura-opt %s -miura-verify-level=level=model -split-input-file -verify-diagnostics
// The level is that by default.
// RUN: miura-opt %s -miura-verify-level -split-input-file -verify-diagnostics

miura.weight_data private @w = bytes<"nowhere", offset = 0, length = 4096> : tensor<32x32xf32>
func.func @main(%x: tensor<?x?x32xf32>) -> tensor<?x?x32xf32> {
  %w = miura.weight @w : tensor<32x32xf32>
  %0 = miura.linear %x, %w id("w") compute(f32, f32) : (tensor<?x?x32xf32>, tensor<32x32xf32>) -> tensor<?x?x32xf32>
  %1 = miura.onnx_node "Relu"(%0) version(14) outputs(["a"]) : (tensor<?x?x32xf32>) -> tensor<?x?x32xf32>
  %2 = arith.addf %0, %1 : tensor<?x?x32xf32>
  return %2 : tensor<?x?x32xf32>
}

// -----

func.func @unknown(%x: tensor<4xf32>) -> tensor<4xf32> {
  // expected-error @+1 {{node 'n' is of the operator 'Frob', which cannot be compiled: no model op was found for it, and it has no lowering of its own; replace it in the file by operators that are known}}
  %0 = miura.onnx_node "Frob"(%x) name("n") : (tensor<4xf32>) -> tensor<4xf32>
  return %0 : tensor<4xf32>
}

// -----

func.func @buffers(%x: tensor<4xf32>) -> tensor<4xf32> {
  // expected-error @+1 {{'memref.alloc' op is not of the model level: it must run before kernels are formed and buffers are made}}
  %m = memref.alloc() : memref<4xf32>
  return %x : tensor<4xf32>
}

// -----

func.func @kernel(%x: tensor<4xf32>) -> tensor<4xf32> {
  // expected-error @+1 {{'miura.kernel' op is not of the model level}}
  %y = miura.kernel ins(%x : tensor<4xf32>) outs(%x : tensor<4xf32>) {
  ^bb0(%a: tensor<?xf32>):
    %s = miura.silu %a : tensor<?xf32>
    miura.kernel_yield %s : tensor<?xf32>
  } -> tensor<4xf32>
  return %y : tensor<4xf32>
}

// -----

func.func @unranked(%x: tensor<4xf32>) -> tensor<*xf32> {
  // expected-error @+1 {{'tensor.cast' op gives a value of type 'tensor<*xf32>', but the model level has ranked tensors without encodings, and scalars}}
  %0 = tensor.cast %x : tensor<4xf32> to tensor<*xf32>
  return %0 : tensor<*xf32>
}

// -----

// expected-error @+1 {{'func.func' op takes a value of type 'memref<4xf32>', but the model level has ranked tensors without encodings, and scalars}}
func.func @effects(%m: memref<4xf32>, %x: f32) {
  // expected-error @+1 {{'linalg.fill' op has side effects, which the model level does not have: it works on values}}
  linalg.fill ins(%x : f32) outs(%m : memref<4xf32>)
  return
}

// -----

#map = affine_map<(i) -> (i)>
miura.weight_data private @w = bytes<"nowhere", offset = 0, length = 4096> : tensor<32x32xf32>
func.func @loops(%x: tensor<32xf32>) -> (tensor<32xf32>, tensor<32xf32>) {
  %w = miura.weight @w : tensor<32x32xf32>
  %0 = miura.linear %x, %w id("w") compute(f32, f32) : (tensor<32xf32>, tensor<32x32xf32>) -> tensor<32xf32>
  %1 = arith.addf %0, %0 : tensor<32xf32>
  // expected-error @+1 {{'linalg.generic' op stands behind a weight, where the model level has named ops only; raise it to one}}
  %2 = linalg.generic {indexing_maps = [#map, #map], iterator_types = ["parallel"]} ins(%1 : tensor<32xf32>) outs(%1 : tensor<32xf32>) {
  ^bb0(%a: f32, %b: f32):
    %s = arith.mulf %a, %a : f32
    linalg.yield %s : f32
  } -> tensor<32xf32>
  // Before one it may.
  %3 = linalg.generic {indexing_maps = [#map, #map], iterator_types = ["parallel"]} ins(%x : tensor<32xf32>) outs(%x : tensor<32xf32>) {
  ^bb0(%a: f32, %b: f32):
    %s = arith.mulf %a, %a : f32
    linalg.yield %s : f32
  } -> tensor<32xf32>
  return %2, %3 : tensor<32xf32>, tensor<32xf32>
}

// -----

miura.weight_data private @w = bytes<"nowhere", offset = 0, length = 4096> : tensor<32x32xf32>
func.func @main(%x: tensor<32xf32>) -> tensor<32xf32> {
  %w = miura.weight @w : tensor<32x32xf32>
  %0 = miura.linear %x, %w id("w") compute(f32, f32) : (tensor<32xf32>, tensor<32x32xf32>) -> tensor<32xf32>
  // expected-error @+1 {{'miura.linear' op has the id 'w', as another layer of the function has; ids must be unique for reports and profiles}}
  %1 = miura.linear %0, %w id("w") compute(f32, f32) : (tensor<32xf32>, tensor<32x32xf32>) -> tensor<32xf32>
  return %1 : tensor<32xf32>
}
