// RUN: not miura-opt %s -pass-pipeline='builtin.module(miura-quantize-rtn{bits=9})' 2>&1 | FileCheck %s --check-prefix=BITS
// RUN: not miura-opt %s -pass-pipeline='builtin.module(miura-quantize-rtn{block-size=-2})' 2>&1 | FileCheck %s --check-prefix=BLOCK
// RUN: not miura-opt %s -pass-pipeline='builtin.module(miura-quantize-rtn{max-growth=0.5})' 2>&1 | FileCheck %s --check-prefix=GROWTH
// GROWTH: error: miura-quantize-rtn: max-growth must be 0 (any) or at least 1, but got 5.0{{.*}}e-01
// RUN: not miura-opt %s -pass-pipeline='builtin.module(miura-quantize-rtn{include=[})' 2>&1 | FileCheck %s --check-prefix=GLOB
// BITS: error: miura-quantize-rtn: bits must be 2 to 8, but got 9
// BLOCK: error: miura-quantize-rtn: block-size must be positive, 0 (channel) or -1 (tensor), but got -2
// GLOB: error: miura-quantize-rtn: '[' is not a pattern
module {}
