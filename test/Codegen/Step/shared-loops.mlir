// RUN: miura-opt %s '--miura-emit-kernels=target=avx2' --cse | FileCheck %s

// Loops that differ in their numbers only are one function, which takes them.
// Numbers that are equal by chance, as in the second call, do not make another.
// An exponent stays where it is: of a known one products are made.
// CHECK-LABEL: func.func private @miura_kernel_1_generic
// CHECK: %[[THREE:.*]] = arith.constant 3.0{{.*}} : f32
// CHECK: math.powf %{{.*}}, %[[THREE]]
// CHECK-LABEL: func.func private @miura_kernel_0_generic
// CHECK-SAME: (%{{.*}}: memref<?xf32>, %{{.*}}: memref<?xf32> {miura.writes}, %[[SCALE:[a-z0-9]+]]: f32, %[[ZERO:[a-z0-9]+]]: f32, %{{.*}}: index, %{{.*}}: index, %{{.*}}: index)
// CHECK: scf.for
// CHECK: arith.divf %{{.*}}, %[[SCALE]]
// CHECK: arith.addf %{{.*}}, %[[ZERO]]
// CHECK-NOT: func.func private @miura_kernel_0
// CHECK-LABEL: func.func @step
// CHECK-DAG: %[[A:.*]] = arith.constant 2.5{{.*}} : f32
// CHECK-DAG: %[[B:.*]] = arith.constant 3.0{{.*}} : f32
// CHECK: call @miura_kernel_0_generic(%{{.*}}, %{{.*}}, %[[A]], %[[B]],
// CHECK: %[[C:.*]] = arith.constant 7.0{{.*}} : f32
// CHECK: call @miura_kernel_0_generic(%{{.*}}, %{{.*}}, %[[C]], %[[C]],
// CHECK: call @miura_kernel_1_generic
#map = affine_map<(d0) -> (d0)>
func.func @step(%x: memref<16xf32>, %y: memref<16xf32>, %arena: memref<?xi8>, %weights: memref<?xi8>, %team: index, %thread: index, %threads: index) attributes {miura.session} {
  %scale = arith.constant 2.5 : f32
  linalg.generic {indexing_maps = [#map, #map], iterator_types = ["parallel"]} ins(%x : memref<16xf32>) outs(%y : memref<16xf32>) {
  ^bb0(%a: f32, %b: f32):
    %zero = arith.constant 3.0 : f32
    %d = arith.divf %a, %scale : f32
    %e = arith.addf %d, %zero : f32
    linalg.yield %e : f32
  }
  %seven = arith.constant 7.0 : f32
  linalg.generic {indexing_maps = [#map, #map], iterator_types = ["parallel"]} ins(%y : memref<16xf32>) outs(%x : memref<16xf32>) {
  ^bb0(%a: f32, %b: f32):
    %d = arith.divf %a, %seven : f32
    %e = arith.addf %d, %seven : f32
    linalg.yield %e : f32
  }
  %three = arith.constant 3.0 : f32
  linalg.generic {indexing_maps = [#map, #map], iterator_types = ["parallel"]} ins(%x : memref<16xf32>) outs(%y : memref<16xf32>) {
  ^bb0(%a: f32, %b: f32):
    %d = math.powf %a, %three : f32
    linalg.yield %d : f32
  }
  return
}
