#===- refuse_all.py - No command takes a broken file --------------------===//
#
# Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===//
"""Gives every broken file in a folder to the driver's commands.

usage: refuse_all.py MIURA FOLDER OUT"""
import glob
import json
import os
import subprocess
import sys

miura, folder, out = sys.argv[1:]
valid = {"valid", "external"}
COMMANDS = {"import": ["-o", os.path.join(out, "x.mlir")], "inspect": [],
            "compress": ["--scheme", "w4", "-o", os.path.join(out, "x.miura")],
            "compile": ["-o", os.path.join(out, "x.so")]}
files = sorted(glob.glob(os.path.join(folder, "*.onnx")))
assert len(files) > 30
for i, path in enumerate(files):
    name = os.path.splitext(os.path.basename(path))[0]
    if name in valid:
        continue
    # Import refuses all; the others share its reader, and take turns.
    for command in ["import", ["inspect", "compress", "compile"][i % 3]]:
        result = subprocess.run([miura, command, path, "--json", *COMMANDS[command]], capture_output=True, text=True, timeout=60)
        assert result.returncode == 1, (command, name, result)
        report = json.loads(result.stdout)
        assert set(report) == {"error", "file", "node"}, report
        assert name in report["error"] + report["file"], (command, name, report)
        assert os.listdir(out) == [], (command, name, os.listdir(out))
