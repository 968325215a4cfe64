#===- roundtrip.py - ONNX files in and out ------------------------------===//
#
# Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===//
"""Imports and exports every model given and compares the two files.

usage: roundtrip.py MIURA_TRANSLATE FOLDER_OR_FILE...
       roundtrip.py --compare A.onnx B.onnx

Compared, field by field: versions, producer, metadata, functions, inputs,
outputs, value_info (as a set), every node with inputs, outputs, attributes in
their order, doc strings and metadata, and the bytes of every tensor, whichever
field or file holds them. Only what protobuf calls presence is not: an empty
string equals an absent one. Prints a line per model; exits 1 if any differs.
"""
import os
import subprocess
import sys
import tempfile

import onnx

# Values that protobuf returns for an absent field: a field set to its default
# says the same.
_EMPTY = (0, 0.0, "", b"", False)


def is_message(value):
    return hasattr(value, "ListFields")


def is_list(value):
    return hasattr(value, "append") or hasattr(value, "add")


def fields(message):
    """The fields of a message that say something."""
    result = {}
    for descriptor, value in message.ListFields():
        # Members of a oneof say something even when they are zero.
        if (not is_message(value) and not is_list(value) and value in _EMPTY
                and descriptor.containing_oneof is None):
            continue
        result[descriptor.name] = value
    return result


class Comparison:
    def __init__(self, folder_a, folder_b):
        self.folders = (folder_a, folder_b)
        self.differences = []
        self.tensors = 0
        self.nodes = 0
        self.bytes = 0

    def differ(self, path, a, b):
        self.differences.append("%s: %.80r != %.80r" % (path, a, b))

    def message(self, path, a, b):
        if type(a).__name__ == "TensorProto":
            self.tensor(path, a, b)
            return
        if type(a).__name__ == "NodeProto":
            self.nodes += 1
        fa, fb = fields(a), fields(b)
        for name in sorted(set(fa) | set(fb)):
            va, vb = getattr(a, name), getattr(b, name)
            here = path + "." + name
            if (name in fa) != (name in fb):
                self.differ(here, fa.get(name), fb.get(name))
            elif is_message(va):
                self.message(here, va, vb)
            elif name == "value_info":
                self.named(here, va, vb)
            elif is_list(va):
                if len(va) != len(vb):
                    self.differ(here, len(va), len(vb))
                    continue
                for i, (x, y) in enumerate(zip(va, vb)):
                    if is_message(x):
                        self.message("%s[%d]" % (here, i), x, y)
                    elif x != y and not (x != x and y != y):
                        self.differ("%s[%d]" % (here, i), x, y)
            elif va != vb and not (va != va and vb != vb):
                self.differ(here, va, vb)

    def named(self, path, a, b):
        """Entries whose order says nothing, by name; duplicates kept."""
        def index(entries):
            result = {}
            for entry in entries:
                result.setdefault(entry.name, []).append(entry)
            return result
        ia, ib = index(a), index(b)
        for name in sorted(set(ia) | set(ib)):
            x, y = ia.get(name, []), ib.get(name, [])
            if len(x) != len(y):
                self.differ("%s[%s]" % (path, name), len(x), len(y))
                continue
            for p, q in zip(x, y):
                self.message("%s[%s]" % (path, name), p, q)

    def tensor(self, path, a, b):
        self.tensors += 1
        for name in sorted(set(fields(a)) | set(fields(b))):
            x, y = getattr(a, name), getattr(b, name)
            if is_list(x):
                x, y = list(x), list(y)
            if name == "float_data":
                import struct
                x, y = (struct.pack("%df" % len(v), *v) for v in (x, y))
            if x != y:
                self.differ(path + "." + name, x, y)
        x, y = (self.external(t, f) for t, f in zip((a, b), self.folders))
        self.bytes += len(a.raw_data) + len(x)
        if x != y:
            self.differ(path + " (external data)", x, y)

    @staticmethod
    def external(tensor, folder):
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            return b""
        entries = {e.key: e.value for e in tensor.external_data}
        with open(os.path.join(folder, entries["location"]), "rb") as file:
            file.seek(int(entries.get("offset", 0)))
            return file.read(int(entries.get("length", -1)))


def check(translate, path):
    with tempfile.TemporaryDirectory() as folder:
        mlir = os.path.join(folder, "model.mlir")
        out = os.path.join(folder, "out.onnx")
        env = {k: v for k, v in os.environ.items() if k != "MIURA_WEIGHTS_DIR"}
        for command in ([translate, "--import-onnx", path, "-o", mlir],
                        [translate, "--export-onnx", mlir, "-o", out]):
            done = subprocess.run(command, capture_output=True, text=True,
                                  env=env)
            if done.returncode or done.stderr:
                return None, [done.stderr.strip().splitlines()[0]
                              if done.stderr else "exit %d" % done.returncode]
        comparison = compare(path, out)
        size = os.path.getsize(mlir)
        return (comparison, size), comparison.differences


def compare(a, b):
    comparison = Comparison(os.path.dirname(os.path.abspath(a)),
                            os.path.dirname(os.path.abspath(b)))
    comparison.message("model", onnx.load(a, load_external_data=False),
                       onnx.load(b, load_external_data=False))
    return comparison


def main():
    translate, paths = sys.argv[1], sys.argv[2:]
    models = []
    for path in paths[:1] if translate == "--compare" else paths:
        if os.path.isfile(path):
            models.append(path)
        for folder, _, files in os.walk(path):
            models += [os.path.join(folder, f) for f in files
                       if f.endswith(".onnx")]
    failed = 0
    print("%-52s %6s %7s %12s %9s" % ("model", "nodes", "tensors", "bytes",
                                      "mlir"))
    for path in sorted(models):
        name = os.path.basename(os.path.dirname(path))
        if translate == "--compare":
            comparison = compare(path, paths[1])
            facts = comparison, 0
            differences = comparison.differences
        else:
            facts, differences = check(translate, path)
        if facts:
            comparison, size = facts
            print("%-52s %6d %7d %12d %9d %s" % (
                name, comparison.nodes, comparison.tensors, comparison.bytes,
                size, "differs" if differences else "equal"))
        else:
            print("%-52s failed" % name)
        for difference in differences[:5]:
            print("    " + difference)
        failed += bool(differences)
    print("%d models: %d equal, %d not" % (len(models), len(models) - failed,
                                           failed))
    return 1 if failed or not models else 0


if __name__ == "__main__":
    sys.exit(main())
