#===- fuzz.py - Damaged files never crash the import --------------------===//
#
# Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===//
"""Damages model files at random (bytes changed, cut out, doubled) and imports
each: the exit code must be 0 or 1, with a message if it is 1.

usage: fuzz.py MIURA_TRANSLATE COUNT SEED FILE...
"""
import os
import random
import subprocess
import sys
import tempfile

translate, count, seed, files = (sys.argv[1], int(sys.argv[2]),
                                 int(sys.argv[3]), sys.argv[4:])
random.seed(seed)
refused = 0
with tempfile.TemporaryDirectory() as folder:
    for i in range(count):
        with open(files[i % len(files)], "rb") as file:
            data = bytearray(file.read())
        for _ in range(random.choice((1, 1, 2, 8))):
            at = random.randrange(len(data))
            kind = random.randrange(4)
            if kind == 0:
                data[at] = random.randrange(256)
            elif kind == 1:
                data[at] ^= 1 << random.randrange(8)
            elif kind == 2:
                del data[at:at + random.choice((1, 4, 50))]
            else:
                data[at:at] = data[at:at + random.choice((1, 4, 50))]
        path = os.path.join(folder, "model.onnx")
        with open(path, "wb") as file:
            file.write(data)
        done = subprocess.run(
            [translate, "--import-onnx", path],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            env=dict(os.environ, MIURA_WEIGHTS_DIR=folder))
        if done.returncode not in (0, 1) or (
                done.returncode == 1 and b"error: " not in done.stderr or b"Sanitizer" in done.stderr):
            kept = "damaged-%d-%d.onnx" % (seed, i)
            with open(kept, "wb") as file:
                file.write(data)
            print(done.stderr.decode(errors="replace")[:2000])
            sys.exit("exit code %d for %s" % (done.returncode, kept))
        refused += done.returncode
print("%d damaged files: %d refused, none crashed" % (count, refused))
