#===- check_report.py - The figures of a report agree -------------------===//
#
# Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===//
"""Checks a report of `inspect` or `compress` against the bundle that it is of: the totals against the files, each layer against its shape.

usage: check_report.py REPORT.json BUNDLE --scheme NAME --error MOST --bits MOST"""
import argparse
import json
import math
import os

parser = argparse.ArgumentParser()
parser.add_argument("report")
parser.add_argument("bundle")
parser.add_argument("--scheme")
parser.add_argument("--error", type=float)
parser.add_argument("--bits", type=float)
a = parser.parse_args()

with open(a.report) as file:
    report = json.load(file)
size = sum(os.path.getsize(os.path.join(a.bundle, name)) for name in ("model.mlir", "weights.safetensors"))
assert report["bytes"] == size, (report["bytes"], size)
assert 0 < report["resident_bytes"] < size
assert math.isclose(report["bits_per_weight"], 8 * report["bytes"] / report["parameters"])
assert report["bits_per_weight"] < a.bits, report["bits_per_weight"]
assert report["layers"]
elements = total = 0
for layer in report["layers"]:
    assert layer["scheme"] == a.scheme, layer
    assert 0 < layer["error"] < a.error, layer
    count = math.prod(layer["shape"])
    assert math.isclose(layer["bits"], 8 * layer["bytes"] / count), layer
    if "shared_with" not in layer:
        elements += count
        total += layer["bytes"]
names = [layer["name"] for layer in report["layers"]]
assert len(set(names)) == len(names), names
# Norms are parameters too, but not layers.
assert elements < report["parameters"] < 1.05 * elements
assert total <= report["resident_bytes"]
