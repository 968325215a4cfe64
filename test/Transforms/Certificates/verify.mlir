// One byte of the codes, one digit of the error or another original: each is a
// lie that the verifier tells apart.

// RUN: rm -rf %t && mkdir -p %t/w && cp %s %t/in.mlir
// RUN: python3 -c "import struct, random; random.seed(1); open(r'%t/w.bin', 'wb').write(struct.pack('<8192f', *[random.gauss(0, 1) for i in range(8192)]))"
// RUN: env MIURA_WEIGHTS_DIR=%t/w miura-opt %t/in.mlir -o %t/q.mlir \
// RUN:   -pass-pipeline='builtin.module(miura-quantize-rtn{bits=4},miura-verify-certificates{strict})'
// RUN: env MIURA_WEIGHTS_DIR=%t/w miura-opt %t/q.mlir -miura-verify-certificates='strict' -o /dev/null

// RUN: cp -r %t/w %t/tampered
// RUN: python3 -c "import re; name = re.search(r'q.codes = bytes<.(b3-[0-9a-f]+)', open(r'%t/q.mlir').read()).group(1); f = open(r'%t/tampered/' + name, 'r+b'); f.seek(100); b = f.read(1); f.seek(100); f.write(bytes([b[0] ^ 16]))"
// RUN: not env MIURA_WEIGHTS_DIR=%t/tampered miura-opt %t/q.mlir -miura-verify-certificates -o /dev/null 2>&1 | FileCheck %s --check-prefix=CODES
// CODES: error: 'miura.approximate' op has a certificate of another tree: expects {{[0-9a-f]+}}, but got {{[0-9a-f]+}}; the expression or its bytes were changed

// RUN: sed 's/certificate <error = [^ ]* /certificate <error = 1.0e-02 /' %t/q.mlir > %t/lie.mlir
// RUN: not env MIURA_WEIGHTS_DIR=%t/w miura-opt %t/lie.mlir -miura-verify-certificates -o /dev/null 2>&1 | FileCheck %s --check-prefix=VALUE
// VALUE: error: 'miura.approximate' op states an error of {{.*}}, but it is

// The original only declared, as in a bundle.
// RUN: sed 's/@q = bytes<[^>]*>/@q digest("0000")/' %t/q.mlir > %t/other.mlir
// RUN: not env MIURA_WEIGHTS_DIR=%t/w miura-opt %t/other.mlir -miura-verify-certificates -o /dev/null 2>&1 | FileCheck %s --check-prefix=ORIGINAL
// ORIGINAL: error: 'miura.approximate' op has a certificate of another original

// RUN: sed 's/^\(.*of @q certificate.*original = "\)\([0-9a-f]*\)\(.*\)$/\2/;t;d' %t/q.mlir > %t/digest
// RUN: sed "s/@q = bytes<[^>]*>/@q digest(\"$(cat %t/digest)\")/" %t/q.mlir > %t/declared.mlir
// RUN: env MIURA_WEIGHTS_DIR=%t/w miura-opt %t/declared.mlir -miura-verify-certificates -o /dev/null
// RUN: not env MIURA_WEIGHTS_DIR=%t/w miura-opt %t/declared.mlir -miura-verify-certificates='strict' -o /dev/null 2>&1 | FileCheck %s --check-prefix=STRICT
// STRICT: error: 'miura.approximate' op has an original without bytes, so its error cannot be recomputed; give original=
// RUN: env MIURA_WEIGHTS_DIR=%t/w miura-opt %t/declared.mlir -miura-verify-certificates='strict original=%t/in.mlir' -o /dev/null

miura.weight_data private @q = bytes<"w.bin", offset = 0, length = 32768> : tensor<64x128xf32>
func.func @linear(%x: tensor<?x128xf32>) -> tensor<?x64xf32> {
  %w = miura.weight @q : tensor<64x128xf32>
  %y = miura.linear %x, %w id("q") compute(f32, f32) : (tensor<?x128xf32>, tensor<64x128xf32>) -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}
