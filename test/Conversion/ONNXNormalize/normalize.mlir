// RUN: miura-opt %s --pass-pipeline='builtin.module(miura-onnx-normalize)' -split-input-file -verify-diagnostics | FileCheck %s

// Shapes run through the standard's operators and symbolic dimensions stay; a
// weight keeps its bytes.
// CHECK-LABEL: module
// CHECK: miura.weight_data private @w = bytes<"x.onnx", offset = 100, length = 8192>
// CHECK: func.func @main_graph
// CHECK: "MatMul"
// CHECK-SAME: -> tensor<?x?x64xf32, #miura.dims<"batch", "sequence", "">>
module attributes {miura.onnx = {ir_version = 10 : i64, opset_import = [["", 18]]}} {
  miura.weight_data private @w = bytes<"x.onnx", offset = 100, length = 8192> : tensor<32x64xf32>
  func.func @main_graph(%x: tensor<?x?x32xf32, #miura.dims<"batch", "sequence", "">> {miura.name = "x"}) -> (!miura.unknown {miura.name = "y"}) attributes {miura.graph = "g"} {
    %w = miura.weight @w : tensor<32x64xf32>
    %0 = miura.onnx_node "MatMul"(%x, %w) version(18) outputs(["h"]) : (tensor<?x?x32xf32, #miura.dims<"batch", "sequence", "">>, tensor<32x64xf32>) -> !miura.unknown
    %1 = miura.onnx_node "Relu"(%0) version(18) outputs(["y"]) : (!miura.unknown) -> !miura.unknown
    return %1 : !miura.unknown
  }
}

// -----

// A model-local function is inlined, and its private function is gone.
// CHECK-LABEL: module
// CHECK-NOT: func.func private
// CHECK: func.func @main_graph
// CHECK-NOT: "Twice"
// CHECK: "Add"({{.*}}) version(18){{.*}} -> tensor<?x8xf32, #miura.dims<"n", "">>
module attributes {miura.onnx = {ir_version = 10 : i64, opset_import = [["", 18], ["mine", 1]]}} {
  func.func private @"mine::Twice"(%a: !miura.unknown {miura.name = "a"}) -> (!miura.unknown {miura.name = "b"}) attributes {miura.function = {name = "Twice", domain = "mine", opset_import = [["", 18]]}} {
    %0 = miura.onnx_node "Add"(%a, %a) version(18) outputs(["b"]) : (!miura.unknown, !miura.unknown) -> !miura.unknown
    return %0 : !miura.unknown
  }
  func.func @main_graph(%x: tensor<?x8xf32, #miura.dims<"n", "">> {miura.name = "x"}) -> (!miura.unknown {miura.name = "y"}) attributes {miura.graph = "g"} {
    %0 = miura.onnx_node "Twice"(%x) domain("mine") version(1) name("t") outputs(["y"]) : (tensor<?x8xf32, #miura.dims<"n", "">>) -> !miura.unknown
    return %0 : !miura.unknown
  }
}

// -----

// Our schemas carry shapes through contributed operators; nobody's operator
// keeps an unknown result. A wrong type that the file gives is replaced.
// CHECK-LABEL: module
// CHECK: "MatMulNBits"
// CHECK-SAME: -> tensor<?x?x16xf32, #miura.dims<"b", "s", "">>
// CHECK: "Constant"
// CHECK-SAME: -> tensor<1xi64>
// CHECK: "Mystery"
// CHECK-SAME: -> !miura.unknown
module attributes {miura.onnx = {ir_version = 10 : i64, opset_import = [["", 18], ["com.microsoft", 1], ["nobody", 1]]}} {
  func.func @main_graph(%x: tensor<?x?x32xf32, #miura.dims<"b", "s", "">> {miura.name = "x"}, %q: tensor<16x1x16xui8> {miura.name = "q"}, %s: tensor<16xf32> {miura.name = "s"}) -> (!miura.unknown {miura.name = "y"}) attributes {miura.graph = "g"} {
    %0 = miura.onnx_node "MatMulNBits"(%x, %q, %s) {K = 32 : si64, N = 16 : si64, bits = 4 : si64, block_size = 32 : si64} domain("com.microsoft") version(1) outputs(["h"]) : (tensor<?x?x32xf32, #miura.dims<"b", "s", "">>, tensor<16x1x16xui8>, tensor<16xf32>) -> !miura.unknown
    %1 = miura.onnx_node "Constant"() {value = dense<1> : tensor<1xi64>} version(18) outputs(["c"]) : () -> tensor<i64>
    %2 = miura.onnx_node "Mystery"(%0, %1) domain("nobody") version(1) outputs(["y"]) : (!miura.unknown, tensor<i64>) -> !miura.unknown
    return %2 : !miura.unknown
  }
}

// -----

// expected-error @below {{expects a module of the onnx level, with the function '@main_graph'}}
module {
}

// -----

module attributes {miura.onnx = {ir_version = 10 : i64, opset_import = [["", 18]]}} {
  func.func @main_graph(%x: tensor<4x8xf32>) -> tensor<4x8xf32> {
    // expected-error @below {{'miura.silu' op is not of the onnx level, and cannot be exported to an ONNX file; export before raising}}
    %0 = miura.silu %x : tensor<4x8xf32>
    return %0 : tensor<4x8xf32>
  }
}

// -----

// An operator that is known by its definition only is replaced by it, with the
// attributes that the node leaves out.
// CHECK-LABEL: opset_import = {{\[\[}}"", 22]]
// CHECK-NOT: "ThresholdedRelu"
// CHECK: value_float = 1.000000e+00 : f32
// CHECK: miura.onnx_node "Less"
// CHECK: miura.onnx_node "Where"
module attributes {miura.onnx = {ir_version = 10 : i64, opset_import = [["", 22]]}} {
  func.func @main_graph(%x: tensor<2x3xf32> {miura.name = "x"}) -> (tensor<2x3xf32> {miura.name = "y"}) {
    %y = miura.onnx_node "ThresholdedRelu"(%x) version(22) name("t") outputs(["y"]) : (tensor<2x3xf32>) -> tensor<2x3xf32>
    return %y : tensor<2x3xf32>
  }
}

// -----

// What contradicts itself is refused, by the node's name: types,
// expected-error @+1 {{(op_type:Concat, node name: c): inputs has inconsistent type tensor(int64)}}
module attributes {miura.onnx = {ir_version = 10 : i64, opset_import = [["", 22]]}} {
  func.func @main_graph(%x: tensor<2x3xf32> {miura.name = "x"}, %i: tensor<2x3xi64> {miura.name = "i"}) -> (tensor<4x3xf32> {miura.name = "y"}) {
    %y = miura.onnx_node "Concat"(%x, %i) {axis = 0 : si64} version(22) name("c") outputs(["y"]) : (tensor<2x3xf32>, tensor<2x3xi64>) -> tensor<4x3xf32>
    return %y : tensor<4x3xf32>
  }
}

// -----

// sizes,
// expected-error @+1 {{(op_type:MatMul, node name: m): [ShapeInferenceError] Incompatible dimensions}}
module attributes {miura.onnx = {ir_version = 10 : i64, opset_import = [["", 22]]}} {
  func.func @main_graph(%x: tensor<2x3xf32> {miura.name = "x"}, %i: tensor<2x3xi64> {miura.name = "i"}) -> (tensor<4x3xf32> {miura.name = "y"}) {
    %y = miura.onnx_node "MatMul"(%x, %x) version(22) name("m") outputs(["y"]) : (tensor<2x3xf32>, tensor<2x3xf32>) -> tensor<4x3xf32>
    return %y : tensor<4x3xf32>
  }
}

// -----

// an attribute that is not there,
// expected-error @+1 {{the ONNX library refuses the model: node 'c' (Concat): Required attribute 'axis' is missing}}
module attributes {miura.onnx = {ir_version = 10 : i64, opset_import = [["", 22]]}} {
  func.func @main_graph(%x: tensor<2x3xf32> {miura.name = "x"}, %i: tensor<2x3xi64> {miura.name = "i"}) -> (tensor<4x3xf32> {miura.name = "y"}) {
    %y = miura.onnx_node "Concat"(%x, %x) version(22) name("c") outputs(["y"]) : (tensor<2x3xf32>, tensor<2x3xf32>) -> tensor<4x3xf32>
    return %y : tensor<4x3xf32>
  }
}

// -----

// an input that may not be left out.
// expected-error @+1 {{the ONNX library refuses the model: node 'c' (Concat): input 1 is left out}}
module attributes {miura.onnx = {ir_version = 10 : i64, opset_import = [["", 22]]}} {
  func.func @main_graph(%x: tensor<2x3xf32> {miura.name = "x"}, %i: tensor<2x3xi64> {miura.name = "i"}) -> (tensor<4x3xf32> {miura.name = "y"}) {
    %none = miura.absent
    %y = miura.onnx_node "Concat"(%x, %none) {axis = 0 : si64} version(22) name("c") outputs(["y"]) : (tensor<2x3xf32>, !miura.absent) -> tensor<4x3xf32>
    return %y : tensor<4x3xf32>
  }
}
