// RUN: miura-opt %s --miura-place-barriers --miura-plan-workspace --cse -split-input-file -verify-diagnostics | FileCheck %s

func.func private @a(memref<?x?xf32> {miura.writes}, index, index, index)
func.func private @b(memref<?x?xf32>, memref<?x?xf32> {miura.writes}, index, index, index)

// Three buffers of one size in turn: the third takes the first one's place.
// CHECK-LABEL: func.func @step(
// CHECK-SAME: %[[TOKENS:[a-z0-9]*]]: memref<?x?xi64>
// CHECK-NOT: memref.alloc
// CHECK: %[[X:.*]] = memref.view %{{.*}}[%{{.*}}][
// CHECK: %[[Y:.*]] = memref.view %{{.*}}[%{{.*}}][
// CHECK: call @a(%[[X]]
// CHECK-NEXT: call @miura_barrier
// CHECK-NEXT: call @b(%[[X]], %[[Y]]
// CHECK-NEXT: call @miura_barrier
// CHECK-NEXT: call @b(%[[Y]], %[[X]]
// CHECK: func.func @step_workspace(%[[B:.*]]: index, %[[T:.*]]: index, %{{.*}}: index, %{{.*}}: index) -> index
func.func @step(%tokens: memref<?x?xi64> {miura.role = #miura.role<tokens>}, %positions: memref<?x?xi64>,
                %padding: memref<?x?xi8> {miura.role = #miura.role<mask>},
                %logits: memref<?x1x4xf32>, %arena: memref<?xi8>, %weights: memref<?xi8>,
                %team: index, %tid: index, %threads: index) attributes {miura.session} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %b = memref.dim %tokens, %c0 : memref<?x?xi64>
  %t = memref.dim %tokens, %c1 : memref<?x?xi64>
  %x = memref.alloc(%b, %t) : memref<?x?xf32>
  %y = memref.alloc(%b, %t) : memref<?x?xf32>
  %z = memref.alloc(%b, %t) : memref<?x?xf32>
  call @a(%x, %team, %tid, %threads) : (memref<?x?xf32>, index, index, index) -> ()
  call @b(%x, %y, %team, %tid, %threads) : (memref<?x?xf32>, memref<?x?xf32>, index, index, index) -> ()
  call @b(%y, %z, %team, %tid, %threads) : (memref<?x?xf32>, memref<?x?xf32>, index, index, index) -> ()
  return
}

// -----

func.func @size_from_data(%tokens: memref<?x?xi64> {miura.role = #miura.role<tokens>}, %positions: memref<?x?xi64>,
                %padding: memref<?x?xi8>, %logits: memref<?x1x4xf32>, %arena: memref<?xi8>, %weights: memref<?xi8>,
                %team: index, %tid: index, %threads: index) attributes {miura.session} {
  %c0 = arith.constant 0 : index
  %n = memref.load %tokens[%c0, %c0] : memref<?x?xi64>
  %i = arith.index_cast %n : i64 to index
  // expected-error @+1 {{has a size that depends on data}}
  %x = memref.alloc(%i) : memref<?xf32>
  return
}

// -----

func.func private @read(memref<?x?xf32>, index, index, index)
func.func private @write(memref<?x?xf32> {miura.writes}, index, index, index)

// Readers side by side need no barrier; a write after a read does.
// CHECK-LABEL: func.func @step(
// CHECK: call @read
// CHECK-NEXT: call @read
// CHECK-NEXT: call @miura_barrier
// CHECK-NEXT: call @write
func.func @step(%tokens: memref<?x?xi64> {miura.role = #miura.role<tokens>}, %x: memref<?x?xf32>,
                %padding: memref<?x?xi8>, %logits: memref<?x1x4xf32>, %arena: memref<?xi8>, %weights: memref<?xi8>,
                %team: index, %tid: index, %threads: index) attributes {miura.session} {
  call @read(%x, %team, %tid, %threads) : (memref<?x?xf32>, index, index, index) -> ()
  call @read(%x, %team, %tid, %threads) : (memref<?x?xf32>, index, index, index) -> ()
  call @write(%x, %team, %tid, %threads) : (memref<?x?xf32>, index, index, index) -> ()
  return
}
