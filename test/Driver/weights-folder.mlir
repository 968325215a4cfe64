// Where tensors that passes make go: beside the output, where whoever reads it looks for them, or where --weights-dir says.

// RUN: rm -rf %t && mkdir -p %t/elsewhere
// RUN: miura-opt %s --miura-quantize-rtn='bits=8 block-size=0' -o %t/a.mlir
// RUN: ls %t/a.mlir.weights | grep -c b3- | FileCheck %s --check-prefix=COUNT
// COUNT: 3
// RUN: cd %t/elsewhere && miura-opt ../a.mlir --miura-verify-certificates | FileCheck %s
// CHECK: miura.weight_data private @w.codes
// RUN: %miura inspect %t/a.mlir | FileCheck %s --check-prefix=INSPECT
// INSPECT: w {{ *}}int8/row {{ *}}48x32 {{ *}}8.500

// RUN: miura-opt %s --miura-quantize-rtn='bits=8 block-size=0' --weights-dir %t/w -o=%t/b.mlir
// RUN: diff -r %t/w %t/a.mlir.weights
// RUN: not ls %t/b.mlir.weights
// RUN: env MIURA_WEIGHTS_DIR=%t/e miura-opt %s --miura-quantize-rtn='bits=8 block-size=0' -o %t/c.mlir
// RUN: diff -r %t/w %t/e
// RUN: cd %t/elsewhere && miura-opt %s --miura-quantize-rtn='bits=8 block-size=0' -o /dev/null
// RUN: diff -r %t/w %t/elsewhere/miura-weights

func.func @f(%x: tensor<?x32xf32>) -> tensor<?x48xf32> {
  %w = arith.constant dense<1.0> : tensor<48x32xf32>
  %y = miura.linear %x, %w id("w") compute(f32, f32) : (tensor<?x32xf32>, tensor<48x32xf32>) -> tensor<?x48xf32>
  return %y : tensor<?x48xf32>
}
