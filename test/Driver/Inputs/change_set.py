"""Copies a data set with one thing changed.

    change_set.py FROM TO CHANGE [NUMBER [ARGUMENTS...]]

cut N           input_N.pb loses its second half
remove STEM N   STEM_N.pb goes
cast N TYPE     input_N gets another element type
shape N SIZES   input_N gets another shape, filled with ones
npy             every tensor becomes STEM_N.npy
npz NAMES...    one inputs.npz whose arrays have these names, and one outputs.npz whose arrays are called output_N"""
import shutil
import sys
from pathlib import Path

import numpy as np
import onnx


def read(path):
    return onnx.numpy_helper.to_array(onnx.TensorProto.FromString(path.read_bytes()))


def write(path, array):
    path.write_bytes(onnx.numpy_helper.from_array(array).SerializeToString())


def main():
    source, to, change, *rest = sys.argv[1:]
    to = Path(to)
    shutil.rmtree(to, ignore_errors=True)
    shutil.copytree(source, to)
    if change == "remove":
        (to / f"{rest[0]}_{rest[1]}.pb").unlink()
    elif change == "npy":
        for path in to.glob("*.pb"):
            np.save(path.with_suffix(".npy"), read(path))
            path.unlink()
    elif change == "npz":
        np.savez(to / "inputs.npz", **{name: read(to / f"input_{i}.pb") for i, name in enumerate(rest)})
        np.savez_compressed(to / "outputs.npz", **{path.stem: read(path) for path in to.glob("output_*.pb")})
        for path in to.glob("*.pb"):
            path.unlink()
    else:
        path = to / f"input_{rest[0]}.pb"
        if change == "cut":
            data = path.read_bytes()
            path.write_bytes(data[:len(data) // 2])
        elif change == "cast":
            write(path, read(path).astype(rest[1]))
        elif change == "shape":
            write(path, np.ones([int(s) for s in rest[1].split("x") if s], read(path).dtype))
        else:
            sys.exit(f"unknown change {change}")


main()
