// RUN: miura-opt %s --miura-bufferize-step | FileCheck %s

// Kernels flatten the leading dimensions of what they read. The rows of one
// head of a batch do not lie at one distance: they are copied. Columns do.
// CHECK-LABEL: func.func @step
func.func @step(%x: tensor<?x4x?x16xf32>, %w: tensor<16xf32>, %y: tensor<?x?x64xf32>, %v: tensor<32xf32>, %b: index, %t: index)
    -> (tensor<?x1x?x16xf32>, tensor<?x?x32xf32>) attributes {miura.session} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c2 = arith.constant 2 : index
  %xb = tensor.dim %x, %c0 : tensor<?x4x?x16xf32>
  %xt = tensor.dim %x, %c2 : tensor<?x4x?x16xf32>
  // CHECK: %[[HEAD:.*]] = memref.subview %{{.*}}[0, 2, 0, 0]
  // CHECK: memref.copy %[[HEAD]], %[[COPY:.*]] :
  // CHECK: miura.kernel ins(%[[COPY]],
  %head = tensor.extract_slice %x[0, 2, 0, 0] [%xb, 1, %xt, 16] [1, 1, 1, 1] : tensor<?x4x?x16xf32> to tensor<?x1x?x16xf32>
  %e = tensor.empty(%xb, %xt) : tensor<?x1x?x16xf32>
  %n = miura.kernel ins(%head, %w : tensor<?x1x?x16xf32>, tensor<16xf32>) outs(%e : tensor<?x1x?x16xf32>) {
  ^bb0(%a: tensor<?x?x?x?xf32>, %s: tensor<?xf32>):
    %r = miura.rms_norm %a, %s epsilon 1.0e-5 : tensor<?x?x?x?xf32>, tensor<?xf32>
    miura.kernel_yield %r : tensor<?x?x?x?xf32>
  } -> tensor<?x1x?x16xf32>
  %yb = tensor.dim %y, %c0 : tensor<?x?x64xf32>
  %yt = tensor.dim %y, %c1 : tensor<?x?x64xf32>
  // CHECK: %[[COLUMNS:.*]] = memref.subview %{{.*}}[0, 0, 32]
  // CHECK: miura.kernel ins(%[[COLUMNS]],
  %columns = tensor.extract_slice %y[0, 0, 32] [%yb, %yt, 32] [1, 1, 1] : tensor<?x?x64xf32> to tensor<?x?x32xf32>
  %f = tensor.empty(%yb, %yt) : tensor<?x?x32xf32>
  %m = miura.kernel ins(%columns, %v : tensor<?x?x32xf32>, tensor<32xf32>) outs(%f : tensor<?x?x32xf32>) {
  ^bb0(%a: tensor<?x?x?xf32>, %s: tensor<?xf32>):
    %r = miura.rms_norm %a, %s epsilon 1.0e-5 : tensor<?x?x?xf32>, tensor<?xf32>
    miura.kernel_yield %r : tensor<?x?x?xf32>
  } -> tensor<?x?x32xf32>
  return %n, %m : tensor<?x1x?x16xf32>, tensor<?x?x32xf32>
}
