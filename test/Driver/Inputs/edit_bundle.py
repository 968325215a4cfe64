#===- edit_bundle.py - Change a bundle's text and its digest ------------===//
#
# Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===//
"""Replaces text in model.mlir. The digest in report.json is made to agree: LLVM's BLAKE3 is not in Python, so the program says what it expects.

usage: edit_bundle.py BUNDLE [--pattern] FROM TO   (MIURA: the driver)"""
import os
import re
import subprocess
import sys

bundle, *arguments = sys.argv[1:]
pattern = "--pattern" in arguments
before, after = [a for a in arguments if a != "--pattern"]
path = os.path.join(bundle, "model.mlir")
text = open(path).read()
changed = re.sub(before if pattern else re.escape(before), after if pattern else after.replace("\\", r"\\"), text)
assert changed != text
open(path, "w").write(changed)

# The message of the refusal has both digests.
refusal = subprocess.run([os.environ["MIURA"], "inspect", bundle], capture_output=True, text=True).stderr
expected, got = re.search(r"expects the digest ([0-9a-f]{64}), but got ([0-9a-f]{64})", refusal).groups()
report = os.path.join(bundle, "report.json")
text = open(report).read()
open(report, "w").write(text.replace(expected, got))
