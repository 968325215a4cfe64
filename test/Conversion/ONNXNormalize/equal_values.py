#===- equal_values.py - Normalizing changes no value --------------------===//
#
# Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===//
"""Normalizes each model given, exports it, runs it in ONNX Runtime on its test
data and compares with the stored outputs, by norm.

usage: equal_values.py MIURA_TRANSLATE MIURA_OPT MODEL_FOLDER...
"""
import glob
import os
import subprocess
import sys
import tempfile

import numpy
import onnx
import onnxruntime

translate, opt = sys.argv[1:3]


def load(folder, kind):
    values = []
    for path in sorted(glob.glob(os.path.join(folder, kind + "_*.pb")),
                       key=lambda p: int(p.rsplit("_", 1)[1][:-3])):
        with open(path, "rb") as file:
            tensor = onnx.TensorProto.FromString(file.read())
        values.append((tensor.name, onnx.numpy_helper.to_array(tensor)))
    return values


worst = 0.0
for folder in sys.argv[3:]:
    with tempfile.TemporaryDirectory() as work:
        paths = [os.path.join(work, n) for n in ("a.mlir", "b.mlir", "c.onnx")]
        for command in (
                [translate, "--import-onnx", os.path.join(folder, "model.onnx"),
                 "-o", paths[0]],
                [opt, paths[0], "-o", paths[1], "--pass-pipeline="
                 "builtin.module(miura-onnx-normalize)"],
                [translate, "--export-onnx", paths[1], "-o", paths[2]]):
            # The side resource is not of interest: a warning says it is gone.
            subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
        session = onnxruntime.InferenceSession(
            paths[2], providers=["CPUExecutionProvider"])
        names = [value.name for value in session.get_inputs()]
        for data in sorted(glob.glob(os.path.join(folder, "test_data_set_*"))):
            inputs = load(data, "input")
            outputs = session.run(None, {
                name: value for name, (_, value) in zip(names, inputs)})
            for got, (name, expected) in zip(outputs, load(data, "output")):
                got, expected = (v.astype(numpy.float64)
                                 for v in (got, expected))
                norm = numpy.linalg.norm(expected)
                error = numpy.linalg.norm(got - expected) / max(norm, 1e-30)
                worst = max(worst, error)
                if not error <= 1e-4:
                    sys.exit("%s: %s differs by %g" % (folder, name, error))
    print("%s: equal" % os.path.basename(folder))
print("largest relative difference %.2g" % worst)
