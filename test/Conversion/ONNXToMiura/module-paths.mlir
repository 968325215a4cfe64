// A layer notes where in the trained model it lies: what import read from the
// metadata of its node, else the path in the node's name.
// RUN: miura-opt %s --miura-raise | FileCheck %s

// CHECK-LABEL: @main_graph
// CHECK: miura.linear %{{.*}}, %{{.*}} id("val_1") compute(f32, f32) {miura.path = "model.layers.0.self_attn.q_proj"}
// CHECK: miura.linear %{{.*}}, %{{.*}} id("onnx::MatMul_7") compute(f32, f32) {miura.path = "model.layers.0.mlp.up_proj"}
// CHECK: miura.linear %{{.*}}, %{{.*}} id("w3") compute(f32, f32) :
miura.weight_data private @val_1 = bytes<"none", offset = 0, length = 64> : tensor<4x4xf32>
miura.weight_data private @"onnx::MatMul_7" = bytes<"none", offset = 64, length = 64> : tensor<4x4xf32>
miura.weight_data private @w3 = bytes<"none", offset = 128, length = 64> : tensor<4x4xf32>
func.func @main_graph(%x: tensor<2x4xf32>) -> tensor<2x4xf32> {
  %1 = miura.weight @val_1 : tensor<4x4xf32>
  %2 = miura.weight @"onnx::MatMul_7" : tensor<4x4xf32>
  %3 = miura.weight @w3 : tensor<4x4xf32>
  %a = miura.onnx_node "MatMul"(%x, %1) version(18) name("node_linear") outputs(["a"]) attributes {miura.path = "model.layers.0.self_attn.q_proj"} : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
  %b = miura.onnx_node "MatMul"(%a, %2) version(18) name("/model/layers.0/mlp/up_proj/MatMul") outputs(["b"]) : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
  %c = miura.onnx_node "MatMul"(%b, %3) version(18) name("/MatMul_3") outputs(["c"]) : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
  return %c : tensor<2x4xf32>
}
