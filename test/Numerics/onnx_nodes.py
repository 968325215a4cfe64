"""The ONNX standard's own node tests through the oracle.

    onnx_nodes.py MIURA WORKDIR [OPERATOR...] [--rtol X]

The cases come from the package onnx; one per file, of those with a single node (of OPERATOR, if given). What a case gives as a small integer input
behind the first (axes, shapes, pads) becomes a constant, as it is in files. Prints the cases that differ, the refusals by reason, and a count; the exit
code is 1 if a case differs or a run ends in a fault instead of a refusal. fp16 and bf16 cases get 1e-2; some
expectations are written with four digits."""
import argparse
import collections
import re
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.backend.test.case.node import collect_testcases


def write(case, folder):
    graph = case.model.graph
    inputs, outputs = case.data_sets[0]
    folder.mkdir(parents=True)
    (folder / "test_data_set_0").mkdir()
    names = [i for i in graph.node[0].input if i]
    kept = 0
    for info, value in zip(list(graph.input), inputs):
        tensor = numpy_helper.from_array(value, info.name)
        if names.index(info.name) > 0 and tensor.data_type == onnx.TensorProto.INT64 and value.ndim <= 1 and value.size <= 16:
            graph.initializer.append(tensor)
            graph.input.remove(info)
            continue
        (folder / f"test_data_set_0/input_{kept}.pb").write_bytes(tensor.SerializeToString())
        kept += 1
    for i, (info, value) in enumerate(zip(graph.output, outputs)):
        (folder / f"test_data_set_0/output_{i}.pb").write_bytes(numpy_helper.from_array(np.asarray(value), info.name).SerializeToString())
    onnx.save(case.model, folder / "model.onnx")


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("miura")
    p.add_argument("workdir", type=Path)
    p.add_argument("operators", nargs="*")
    p.add_argument("--rtol", type=float, default=2e-4)
    a = p.parse_intermixed_args()
    warnings.simplefilter("ignore")
    shutil.rmtree(a.workdir, ignore_errors=True)
    passed, failed, refused = 0, [], collections.Counter()
    for case in collect_testcases(None):
        graph = case.model.graph
        if len(graph.node) != 1 or graph.node[0].domain not in ("", "ai.onnx") or (a.operators and graph.node[0].op_type not in a.operators):
            continue
        folder = a.workdir / case.name
        try:
            write(case, folder)
        except Exception:  # values that are no tensors
            continue
        low = any(i.type.tensor_type.elem_type in (onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16) for i in (*graph.input, *graph.output))
        done = subprocess.run([a.miura, "run", folder / "model.onnx", "--reference", "--no-raise", "--check", "--quiet", "--inputs",
                               folder / "test_data_set_0", "--rtol", str(max(a.rtol, 1e-2) if low else a.rtol)], capture_output=True, text=True)
        if done.returncode == 0:
            passed += 1
        elif done.returncode == 1 and "differs by" not in done.stderr:
            reason = done.stderr.splitlines()[0].split(": ")[-1]
            refused[re.sub(r"^node '[^']*' ", "", reason)] += 1
        else:
            failed.append(case.name)
            print(f"{case.name}: {(done.stderr or 'no message').splitlines()[0]}")
    for reason, count in refused.most_common():
        print(f"{count} refused: {reason}")
    print(f"{passed} passed, {len(failed)} differ, {sum(refused.values())} refused")
    sys.exit(bool(failed))


main()
