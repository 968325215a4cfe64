// RUN: not miura-opt %s -pass-pipeline='builtin.module(miura-factorize-svd)' 2>&1 | FileCheck %s --check-prefix=NONE
// RUN: not miura-opt %s -pass-pipeline='builtin.module(miura-factorize-residual{rank=4 bytes=8})' 2>&1 | FileCheck %s --check-prefix=TWO
// RUN: not miura-opt %s -pass-pipeline='builtin.module(miura-factorize-svd{rank=-1})' 2>&1 | FileCheck %s --check-prefix=RANK
// RUN: not miura-opt %s -pass-pipeline='builtin.module(miura-factorize-svd{bytes=-1})' 2>&1 | FileCheck %s --check-prefix=BYTES
// RUN: not miura-opt %s -pass-pipeline='builtin.module(miura-factorize-residual{energy=1})' 2>&1 | FileCheck %s --check-prefix=ENERGY
// RUN: not miura-opt %s -pass-pipeline='builtin.module(miura-factorize-svd{rank=1 exclude=[})' 2>&1 | FileCheck %s --check-prefix=GLOB
// NONE: error: miura-factorize-svd: give one of rank, energy and bytes
// TWO: error: miura-factorize-residual: give one of rank, energy and bytes
// RANK: error: miura-factorize-svd: rank must be positive, but got -1
// BYTES: error: miura-factorize-svd: bytes must be positive, but got -1
// ENERGY: error: miura-factorize-residual: energy must be above 0 and below 1, but got 1
// GLOB: error: miura-factorize-svd: '[' is not a pattern
module {}
