// RUN: miura-opt %s -miura-onnx-to-linalg -split-input-file | FileCheck %s

// Equal names are equal sizes: both operands are read through maps.
// CHECK: #[[ID:.*]] = affine_map<(d0, d1) -> (d0, d1)>
// CHECK-LABEL: func @same_names
// CHECK-SAME: %[[A:.*]]: tensor<?x8xf32>, %[[B:.*]]: tensor<?x8xf32>
// CHECK: linalg.generic {indexing_maps = [#[[ID]], #[[ID]], #[[ID]]]
// CHECK-SAME: ins(%[[A]], %[[B]] :
// CHECK: arith.addf
func.func @same_names(%a: tensor<?x8xf32, #miura.dims<"n", "">>, %b: tensor<?x8xf32, #miura.dims<"n", "">>)
    -> tensor<?x8xf32, #miura.dims<"n", "">> {
  %0 = miura.onnx_node "Add"(%a, %b) : (tensor<?x8xf32, #miura.dims<"n", "">>, tensor<?x8xf32, #miura.dims<"n", "">>) -> tensor<?x8xf32, #miura.dims<"n", "">>
  return %0 : tensor<?x8xf32, #miura.dims<"n", "">>
}

// -----

// Either size may be 1 at run time.
// CHECK-LABEL: func @unknown_sizes
// CHECK: linalg.generic
// CHECK: arith.cmpi eq
// CHECK: tensor.extract
func.func @unknown_sizes(%a: tensor<?x8xf32>, %b: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %0 = miura.onnx_node "Add"(%a, %b) : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  return %0 : tensor<?x8xf32>
}

// -----

// Signedness decides the instruction and goes away.
// CHECK-LABEL: func @unsigned
// CHECK-SAME: tensor<9xi8>
// CHECK: arith.divui
func.func @unsigned(%a: tensor<9xui8>, %b: tensor<9xui8>) -> tensor<9xui8> {
  %0 = miura.onnx_node "Div"(%a, %b) : (tensor<9xui8>, tensor<9xui8>) -> tensor<9xui8>
  return %0 : tensor<9xui8>
}

// -----

// Shape arithmetic is scalars, no loops.
// CHECK-LABEL: func @shapes
// CHECK-NOT: linalg
// CHECK: tensor.from_elements
// CHECK-NOT: linalg
// CHECK: return
func.func @shapes(%x: tensor<?x4x?xf32>) -> tensor<2xi64> {
  %axis = arith.constant dense<0> : tensor<1xi64>
  %four = arith.constant dense<4> : tensor<1xi64>
  %0 = miura.onnx_node "Shape"(%x) : (tensor<?x4x?xf32>) -> tensor<3xi64>
  %1 = miura.onnx_node "Gather"(%0, %axis) {axis = 0 : si64} : (tensor<3xi64>, tensor<1xi64>) -> tensor<1xi64>
  %2 = miura.onnx_node "Mul"(%1, %four) : (tensor<1xi64>, tensor<1xi64>) -> tensor<1xi64>
  %3 = miura.onnx_node "Concat"(%2, %four) {axis = 0 : si64} : (tensor<1xi64>, tensor<1xi64>) -> tensor<2xi64>
  return %3 : tensor<2xi64>
}

// -----

// Along a short axis, elements look for their updates side by side: no loop
// goes over the updates.
// CHECK-LABEL: func @scatter_along_a_short_axis
// CHECK: linalg.generic
// CHECK: scf.for
// CHECK-NOT: tensor.insert
// CHECK: return
func.func @scatter_along_a_short_axis(%x: tensor<?x4xf32>, %i: tensor<?x2xi64>, %u: tensor<?x2xf32>) -> tensor<?x4xf32> {
  %0 = miura.onnx_node "ScatterElements"(%x, %i, %u) {axis = 1 : si64} : (tensor<?x4xf32>, tensor<?x2xi64>, tensor<?x2xf32>) -> tensor<?x4xf32>
  return %0 : tensor<?x4xf32>
}
