// Quantize, prune and factorize compose on one weight, in any order; every tree
// is certified against the original, from what was stored.

// RUN: rm -rf %t && mkdir -p %t/w && cp %s %t/in.mlir
// RUN: python3 -c "import struct, random; random.seed(1); l = [random.gauss(0, 1) for i in range(64)]; r = [random.gauss(0, 1) for i in range(128)]; open(r'%t/w.bin', 'wb').write(struct.pack('<8192f', *[random.gauss(0, 1) + 2 * l[i // 128] * r[i %% 128] for i in range(8192)]))"

// RUN: env MIURA_WEIGHTS_DIR=%t/w miura-opt %t/in.mlir -pass-pipeline='builtin.module(miura-prune-magnitude,miura-quantize-rtn,miura-verify-certificates{strict})' | FileCheck %s --check-prefix=PQ
// PQ-LABEL: @layers
// PQ-DAG: %[[C:[0-9]+]] = miura.weight @q.codes : tensor<4096xi4>
// PQ-DAG: %[[I:[0-9]+]] = miura.weight @q.index : tensor<64x16xi8>
// PQ: %[[U:[0-9]+]] = miura.unprune %[[C]], %[[I]] "bitmap" : tensor<4096xi4>, tensor<64x16xi8> -> tensor<64x128xi4>
// PQ: %[[S:[0-9]+]] = miura.weight @q.scales : tensor<64x4xf16>
// PQ: %[[D:[0-9]+]] = miura.dequantize %[[U]], %[[S]] block [1, 32] : tensor<64x128xi4>, tensor<64x4xf16> -> tensor<64x128xf32>
// PQ: miura.approximate %[[D]] of @q certificate

// RUN: env MIURA_WEIGHTS_DIR=%t/w miura-opt %t/in.mlir -pass-pipeline='builtin.module(miura-quantize-rtn,miura-prune-magnitude{n=2 m=4},miura-verify-certificates{strict})' | FileCheck %s --check-prefix=QP
// QP-LABEL: @layers
// QP: %[[U:.*]] = miura.unprune %{{.*}}, %{{.*}} "nm" group [2, 4] : tensor<64x64xi4>, tensor<64x64xi2> -> tensor<64x128xi4>
// QP: miura.dequantize %[[U]], %{{.*}} block [1, 32]

// RUN: env MIURA_WEIGHTS_DIR=%t/w miura-opt %t/in.mlir -pass-pipeline='builtin.module(miura-factorize-svd{rank=16},miura-quantize-rtn,miura-verify-certificates{strict})' | FileCheck %s --check-prefix=FQ
// FQ-LABEL: @layers
// FQ: %[[L:.*]] = miura.dequantize %{{.*}}, %{{.*}} block [1, 32] : tensor<64x16xi4>, tensor<64x1xf16> -> tensor<64x16xf32>
// FQ: %[[R:.*]] = miura.dequantize %{{.*}}, %{{.*}} block [1, 32] : tensor<16x128xi4>, tensor<16x4xf16> -> tensor<16x128xf32>
// FQ: %[[M:.*]] = miura.matmul %[[L]], %[[R]]
// FQ: miura.approximate %[[M]] of @q certificate

// RUN: env MIURA_WEIGHTS_DIR=%t/w miura-opt %t/in.mlir -pass-pipeline='builtin.module(miura-quantize-rtn,miura-factorize-svd{rank=16},miura-verify-certificates{strict})' | FileCheck %s --check-prefix=QF
// QF-LABEL: @layers
// QF-NOT: miura.dequantize
// QF: miura.matmul %{{.*}}, %{{.*}} : tensor<64x16xf16>, tensor<16x128xf16> -> tensor<64x128xf32>

// RUN: env MIURA_WEIGHTS_DIR=%t/w miura-opt %t/in.mlir -pass-pipeline='builtin.module(miura-prune-magnitude,miura-factorize-svd{rank=16},miura-verify-certificates{strict})' | FileCheck %s --check-prefix=PF
// PF-LABEL: @layers
// PF-NOT: miura.unprune
// PF: miura.matmul

// RUN: env MIURA_WEIGHTS_DIR=%t/w miura-opt %t/in.mlir -pass-pipeline='builtin.module(miura-factorize-svd{rank=16},miura-prune-magnitude,miura-verify-certificates{strict})' | FileCheck %s --check-prefix=FP
// FP-LABEL: @layers
// FP: %[[L:.*]] = miura.unprune %{{.*}}, %{{.*}} "bitmap" : tensor<512xf16>, tensor<64x2xi8> -> tensor<64x16xf16>
// FP: %[[R:.*]] = miura.unprune %{{.*}}, %{{.*}} "bitmap" : tensor<1024xf16>, tensor<16x16xi8> -> tensor<16x128xf16>
// FP: miura.matmul %[[L]], %[[R]]

// Residuals of each, and what comes after them acts on both terms.
// RUN: env MIURA_WEIGHTS_DIR=%t/w miura-opt %t/in.mlir -pass-pipeline='builtin.module(miura-quantize-rtn,miura-factorize-residual{rank=4},miura-verify-certificates{strict})' | FileCheck %s --check-prefix=QR
// QR-LABEL: @layers
// QR: %[[D:.*]] = miura.dequantize
// QR: %[[M:.*]] = miura.matmul %{{.*}}, %{{.*}} : tensor<64x4xf16>, tensor<4x128xf16> -> tensor<64x128xf32>
// QR: %[[A:.*]] = miura.add %[[D]], %[[M]]
// QR: miura.approximate %[[A]] of @q certificate

// RUN: env MIURA_WEIGHTS_DIR=%t/w miura-opt %t/in.mlir -pass-pipeline='builtin.module(miura-prune-magnitude,miura-factorize-residual{rank=4},miura-quantize-rtn{bits=8},miura-verify-certificates{strict})' | FileCheck %s --check-prefix=PRQ
// PRQ-LABEL: @layers
// PRQ: %[[D:.*]] = miura.dequantize %{{.*}}, %{{.*}} block [1, 32] : tensor<64x128xi8>
// PRQ: %[[M:.*]] = miura.matmul %{{.*}}, %{{.*}} : tensor<64x4xf32>, tensor<4x128xf32> -> tensor<64x128xf32>
// PRQ: miura.add %[[D]], %[[M]]

// RUN: env MIURA_WEIGHTS_DIR=%t/w miura-opt %t/in.mlir -pass-pipeline='builtin.module(miura-factorize-svd{rank=4},miura-factorize-residual{rank=4},miura-prune-magnitude{block=4,2},miura-quantize-rtn{symmetric=false},miura-verify-certificates{strict})' | FileCheck %s --check-prefix=FRPQ
// FRPQ-LABEL: @layers
// FRPQ-COUNT-4: miura.unprune {{.*}} "block" group [4, 2]
// FRPQ: miura.approximate

// With zero points, the places that have none get the codes of zero.
// RUN: env MIURA_WEIGHTS_DIR=%t/w miura-opt %t/in.mlir -pass-pipeline='builtin.module(miura-prune-magnitude,miura-quantize-rtn{symmetric=false},miura-verify-certificates{strict})' | FileCheck %s --check-prefix=ASYM
// RUN: env MIURA_WEIGHTS_DIR=%t/w miura-opt %t/in.mlir -pass-pipeline='builtin.module(miura-quantize-rtn{symmetric=false},miura-prune-magnitude,miura-verify-certificates{strict})' | FileCheck %s --check-prefix=ASYM
// ASYM-LABEL: @layers
// ASYM: %[[Z:.*]] = miura.weight @q.zeros : tensor<64x4xi4>
// ASYM: %[[U:.*]] = miura.unprune %{{.*}}, %{{.*}} "bitmap" fill %[[Z]] block [1, 32] : tensor<4096xi4>, tensor<64x16xi8>, tensor<64x4xi4> -> tensor<64x128xi4>
// ASYM: miura.dequantize %[[U]], %{{.*}}, %[[Z]] block [1, 32] unsigned : tensor<64x128xi4>, tensor<64x4xf16>, tensor<64x4xi4> -> tensor<64x128xf32>

// Zeros that two ops share go with both.
// RUN: env MIURA_WEIGHTS_DIR=%t/w miura-opt %t/in.mlir -pass-pipeline='builtin.module(miura-prune-magnitude,miura-quantize-rtn{symmetric=false},miura-factorize-svd{rank=4},miura-verify-certificates{strict})' | FileCheck %s --check-prefix=GONE
// GONE-NOT: miura.unprune

// The order of prune and quantize decides the scales, hardly the error; a
// residual lowers it; what comes later adds to it.
// RUN: env MIURA_WEIGHTS_DIR=%t/w miura-opt %t/in.mlir -pass-pipeline='builtin.module(miura-quantize-rtn)' -o %t/q.mlir
// RUN: env MIURA_WEIGHTS_DIR=%t/w miura-opt %t/in.mlir -pass-pipeline='builtin.module(miura-quantize-rtn,miura-factorize-residual{rank=4})' -o %t/qr.mlir
// RUN: env MIURA_WEIGHTS_DIR=%t/w miura-opt %t/in.mlir -pass-pipeline='builtin.module(miura-prune-magnitude)' -o %t/p.mlir
// RUN: env MIURA_WEIGHTS_DIR=%t/w miura-opt %t/in.mlir -pass-pipeline='builtin.module(miura-prune-magnitude,miura-quantize-rtn)' -o %t/pq.mlir
// RUN: env MIURA_WEIGHTS_DIR=%t/w miura-opt %t/in.mlir -pass-pipeline='builtin.module(miura-quantize-rtn,miura-prune-magnitude)' -o %t/qp.mlir
// RUN: python3 %S/../Inputs/compare-certificates.py %t/q.mlir %t/qr.mlir 1.0
// RUN: python3 %S/../Inputs/compare-certificates.py %t/p.mlir %t/pq.mlir 1.1
// RUN: python3 %S/../Inputs/compare-certificates.py %t/p.mlir %t/qp.mlir 1.1

// The same bytes on one thread and on many: names are digests.
// RUN: env MIURA_WEIGHTS_DIR=%t/w miura-opt %t/in.mlir -pass-pipeline='builtin.module(miura-prune-magnitude,miura-quantize-rtn,miura-factorize-residual{rank=4},miura-quantize-rtn{bits=8})' -o %t/many.mlir
// RUN: env MIURA_WEIGHTS_DIR=%t/w miura-opt %t/in.mlir -mlir-disable-threading -pass-pipeline='builtin.module(miura-prune-magnitude,miura-quantize-rtn,miura-factorize-residual{rank=4},miura-quantize-rtn{bits=8})' -o %t/one.mlir
// RUN: cmp %t/many.mlir %t/one.mlir

// A lie about any part is found: bytes of the index, an attribute, the error.
// RUN: env MIURA_WEIGHTS_DIR=%t/w miura-opt %t/pq.mlir -miura-verify-certificates='strict' -o /dev/null
// RUN: cp -r %t/w %t/tampered
// RUN: python3 -c "import re; name = re.search(r'q.index = bytes<.(b3-[0-9a-f]+)', open(r'%t/pq.mlir').read()).group(1); f = open(r'%t/tampered/' + name, 'r+b'); b = f.read(1); f.seek(0); f.write(bytes([b[0] ^ 16]))"
// RUN: not env MIURA_WEIGHTS_DIR=%t/tampered miura-opt %t/pq.mlir -miura-verify-certificates -o /dev/null 2>&1 | FileCheck %s --check-prefix=TREE
// RUN: sed 's/block .1, 32./block [1, 33]/' %t/pq.mlir > %t/attribute.mlir
// RUN: not env MIURA_WEIGHTS_DIR=%t/w miura-opt %t/attribute.mlir -miura-verify-certificates -o /dev/null 2>&1 | FileCheck %s --check-prefix=TREE
// TREE: error: 'miura.approximate' op has a certificate of another tree

miura.weight_data private @q = bytes<"w.bin", offset = 0, length = 32768> : tensor<64x128xf32>
func.func @layers(%x: tensor<?x128xf32>) -> (tensor<?x64xf32>, tensor<?x64xf32>) {
  %w = miura.weight @q : tensor<64x128xf32>
  %y = miura.linear %x, %w id("q") compute(f32, f32) : (tensor<?x128xf32>, tensor<64x128xf32>) -> tensor<?x64xf32>
  // Used twice, by two values.
  %w2 = miura.weight @q : tensor<64x128xf32>
  %z = miura.linear %x, %w2 id("again") compute(f32, f32) : (tensor<?x128xf32>, tensor<64x128xf32>) -> tensor<?x64xf32>
  return %y, %z : tensor<?x64xf32>, tensor<?x64xf32>
}
