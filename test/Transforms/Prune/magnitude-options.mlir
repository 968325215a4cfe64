// RUN: not miura-opt %s -pass-pipeline='builtin.module(miura-prune-magnitude{sparsity=1})' 2>&1 | FileCheck %s --check-prefix=SPARSITY
// RUN: not miura-opt %s -pass-pipeline='builtin.module(miura-prune-magnitude{sparsity=-0.5})' 2>&1 | FileCheck %s --check-prefix=NEGATIVE
// RUN: not miura-opt %s -pass-pipeline='builtin.module(miura-prune-magnitude{sparsity=nan})' 2>&1 | FileCheck %s --check-prefix=NAN
// RUN: not miura-opt %s -pass-pipeline='builtin.module(miura-prune-magnitude{n=4 m=4})' 2>&1 | FileCheck %s --check-prefix=NM
// RUN: not miura-opt %s -pass-pipeline='builtin.module(miura-prune-magnitude{n=2})' 2>&1 | FileCheck %s --check-prefix=N
// RUN: not miura-opt %s -pass-pipeline='builtin.module(miura-prune-magnitude{n=2 m=4 sparsity=0.5})' 2>&1 | FileCheck %s --check-prefix=BOTH
// RUN: not miura-opt %s -pass-pipeline='builtin.module(miura-prune-magnitude{block=4})' 2>&1 | FileCheck %s --check-prefix=BLOCK
// RUN: not miura-opt %s -pass-pipeline='builtin.module(miura-prune-magnitude{block=4,4 scope=row})' 2>&1 | FileCheck %s --check-prefix=SCOPE
// RUN: not miura-opt %s -pass-pipeline='builtin.module(miura-prune-magnitude{include=[})' 2>&1 | FileCheck %s --check-prefix=GLOB
// SPARSITY: error: miura-prune-magnitude: sparsity must be above 0 and below 1, but got 1
// NEGATIVE: error: miura-prune-magnitude: sparsity must be above 0 and below 1, but got -5.0{{.*}}e-01
// NAN: error: miura-prune-magnitude: sparsity must be above 0 and below 1
// NM: error: miura-prune-magnitude: n must be 1 to m - 1 and m 2 to 256, but got n = 4 and m = 4
// N: error: miura-prune-magnitude: n must be 1 to m - 1 and m 2 to 256, but got n = 2 and m = 0
// BOTH: error: miura-prune-magnitude: n and m say how much is dropped; give neither sparsity nor block with them
// BLOCK: error: miura-prune-magnitude: block must be two positive numbers, rows and columns
// SCOPE: error: miura-prune-magnitude: blocks are chosen among all of a weight; scope=row is for single weights
// GLOB: error: miura-prune-magnitude: '[' is not a pattern
module {}
