// A graph in which one node cannot be lowered shrinks to that node.

// DEFINE: %{reduce} = %obj/bin/miura-reduce --miura-reduce-graph="test=%src/test/Tools/Reduce/Inputs/refused.sh test-arg=%obj/bin/miura-opt"
// RUN: %{reduce} %s | FileCheck %s

// It fails where there is nothing to find.
// RUN: echo 'module {}' > %t.mlir
// RUN: not %{reduce} %t.mlir 2>&1 | FileCheck %s --check-prefix=NOTHING
// NOTHING: does not find the module interesting: it must exit with 1 where the failure is there

// CHECK: func.func @main()
// CHECK-NEXT: %[[X:.*]] = ub.poison : tensor<4xf32>
// CHECK-NEXT: miura.onnx_node "Mystery"(%[[X]])
// CHECK-NEXT: return
// CHECK-NEXT: }
// CHECK-NEXT: }

miura.weight_data private @w = bytes<"nowhere", offset = 0, length = 64> : tensor<4x4xf32>
func.func @unused(%x: tensor<4xf32>) -> tensor<4xf32> {
  return %x : tensor<4xf32>
}
func.func @main(%x: tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>) {
  %w = miura.weight @w : tensor<4x4xf32>
  %0 = miura.onnx_node "MatMul"(%x, %w) version(13) outputs(["a"]) : (tensor<4xf32>, tensor<4x4xf32>) -> tensor<4xf32>
  %1 = miura.onnx_node "Relu"(%0) version(14) outputs(["b"]) : (tensor<4xf32>) -> tensor<4xf32>
  %2 = miura.onnx_node "Mystery"(%1) version(1) outputs(["c"]) : (tensor<4xf32>) -> tensor<4xf32>
  %3 = miura.onnx_node "Add"(%2, %0) version(14) outputs(["d"]) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  %4 = miura.onnx_node "Softmax"(%3) version(13) outputs(["e"]) : (tensor<4xf32>) -> tensor<4xf32>
  return %4, %1 : tensor<4xf32>, tensor<4xf32>
}
