#===- check_bytes.py - A report's bytes are its files' ------------------===//
#
# Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===//
"""usage: check_bytes.py REPORT.json FILE..."""
import json
import os
import sys

report = json.load(open(sys.argv[1]))
size = sum(map(os.path.getsize, sys.argv[2:]))
assert report["bytes"] == size, (report["bytes"], size)
assert set(report) >= {"bytes", "resident_bytes", "parameters", "bits_per_weight", "layers"}
