// RUN: miura-opt %s -pass-pipeline='builtin.module(func.func(miura-promote-accumulators))' | FileCheck %s

// Both loops carry the sum; memory is touched once before and once after.
// CHECK-LABEL: func @nested
// CHECK: %[[INIT:.*]] = memref.load %{{.*}}[%{{.*}}]
// CHECK-NEXT: %[[OUT:.*]] = scf.for {{.*}} iter_args(%[[A:.*]] = %[[INIT]])
// CHECK-NEXT: %[[IN:.*]] = scf.for {{.*}} iter_args(%[[B:.*]] = %[[A]])
// CHECK: arith.addf %[[B]]
// CHECK: scf.yield
// CHECK: scf.yield %[[IN]]
// CHECK: memref.store %[[OUT]]
func.func @nested(%x: memref<?x?xf32>, %s: memref<?xf32>, %i: index, %n: index) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  scf.for %j = %c0 to %n step %c1 {
    scf.for %k = %c0 to %n step %c1 {
      %v = memref.load %x[%j, %k] : memref<?x?xf32>
      %a = memref.load %s[%i] : memref<?xf32>
      %b = arith.addf %a, %v : f32
      memref.store %b, %s[%i] : memref<?xf32>
    }
  }
  return
}

// The place changes with the loop.
// CHECK-LABEL: func @moving_place_is_kept
// CHECK-NOT: iter_args
func.func @moving_place_is_kept(%s: memref<?xf32>, %n: index) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  scf.for %k = %c0 to %n step %c1 {
    %a = memref.load %s[%k] : memref<?xf32>
    %b = arith.addf %a, %a : f32
    memref.store %b, %s[%k] : memref<?xf32>
  }
  return
}

// Another place of the same buffer is read.
// CHECK-LABEL: func @other_reads_are_kept
// CHECK-NOT: iter_args
func.func @other_reads_are_kept(%s: memref<?xf32>, %i: index, %n: index) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  scf.for %k = %c0 to %n step %c1 {
    %v = memref.load %s[%k] : memref<?xf32>
    %a = memref.load %s[%i] : memref<?xf32>
    %b = arith.addf %a, %v : f32
    memref.store %b, %s[%i] : memref<?xf32>
  }
  return
}
