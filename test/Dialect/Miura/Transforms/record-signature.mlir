// RUN: miura-opt %s -miura-record-signature -split-input-file | FileCheck %s

// Order, names, roles and types; an argument without a role is there too.
// CHECK: module attributes {
// CHECK-SAME: miura.inputs = [
// CHECK-SAME: {name = "past", role = #miura.role<cache_key, layer = 3>, type = tensor<?x2x?x4xf32>},
// CHECK-SAME: {name = "ids", role = #miura.role<tokens>, type = tensor<?x?xi64>},
// CHECK-SAME: {name = "flag", role = #miura.role<other>, type = tensor<i1>}]
// CHECK-SAME: miura.outputs = [
// CHECK-SAME: {name = "present", role = #miura.role<cache_key, layer = 3>, type = tensor<?x2x?x4xf32>}]
func.func @main_graph(%past: tensor<?x2x?x4xf32> {miura.name = "past", miura.role = #miura.role<cache_key, layer = 3>},
                      %ids: tensor<?x?xi64> {miura.name = "ids", miura.role = #miura.role<tokens>},
                      %flag: tensor<i1> {miura.name = "flag"})
    -> (tensor<?x2x?x4xf32> {miura.name = "present", miura.role = #miura.role<cache_key, layer = 3>}) {
  return %past : tensor<?x2x?x4xf32>
}

// -----

// No decoder: nothing is noted.
// CHECK: module {
// CHECK-NEXT: func.func @f(
func.func @f(%x: tensor<4xf32>) -> tensor<4xf32> {
  return %x : tensor<4xf32>
}
