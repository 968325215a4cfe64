// RUN: rm -rf %t && mkdir -p %t
// RUN: env MIURA_WEIGHTS_DIR=%t miura-opt %s -o /dev/null --remarks-filter='miura-.*' \
// RUN:   -pass-pipeline='builtin.module(miura-quantize-rtn{block-size=4 exclude=head})' 2>&1 | FileCheck %s
// RUN: env MIURA_WEIGHTS_DIR=%t miura-opt %s -o /dev/null --remarks-filter-passed='miura-prune.*' \
// RUN:   -pass-pipeline='builtin.module(miura-quantize-rtn{block-size=4 exclude=head})' 2>&1 | FileCheck %s --check-prefix=OTHER

// CHECK-DAG: remark: [Passed] Compressed {{.*}}miura-quantize-rtn{{.*}}'q' is 8 bytes, with an error of 0.
// CHECK-DAG: remark: [Missed] Kept {{.*}}miura-quantize-rtn{{.*}}'head' is kept as it is: it is excluded
// CHECK-NOT: is kept
// OTHER-NOT: Passed
// OTHER: remark: 'head' is kept as it is: it is excluded
func.func @f(%x: tensor<?x4xf32>) -> (tensor<?x2xf32>, tensor<?x2xf32>) {
  %w = arith.constant dense<[[3.5, -1.0, -7.7, 1.0], [0.0, 0.4, 1.75, 0.75]]> : tensor<2x4xf32>
  %h = arith.constant dense<2.0> : tensor<2x4xf32>
  %y = miura.linear %x, %w id("q") compute(f32, f32) : (tensor<?x4xf32>, tensor<2x4xf32>) -> tensor<?x2xf32>
  %z = miura.linear %x, %h id("head") compute(f32, f32) : (tensor<?x4xf32>, tensor<2x4xf32>) -> tensor<?x2xf32>
  return %y, %z : tensor<?x2xf32>, tensor<?x2xf32>
}
