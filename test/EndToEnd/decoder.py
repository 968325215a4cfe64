"""Runs every data set of a decoder through a library that `miura compile` made, by its C interface, and compares with the stored outputs.

    decoder.py LIBRARY FOLDER [--tolerance 1e-4] [--greedy]

Past keys and values are written into the session's cache, the mask hides slots, positions are the file's. Prints the relative error by norm of every
output and fails if one is above the tolerance. --greedy also continues the prompt of facts.json, token by token, and compares the ids."""
import argparse
import ctypes
import json
import sys
from pathlib import Path

import numpy as np
import onnx

I64, FLOATS = ctypes.POINTER(ctypes.c_int64), ctypes.POINTER(ctypes.POINTER(ctypes.c_float))


class Info(ctypes.Structure):
    _fields_ = [(n, ctypes.c_int64) for n in ("vocabulary", "layers", "context", "kernels", "weight_bytes")]


class Library:
    def __init__(self, path, threads):
        self.lib = ctypes.CDLL(str(path))
        for name in ("miura_open", "miura_session_create", "miura_model_get_info"):
            getattr(self.lib, name).restype = ctypes.c_void_p
        self.lib.miura_error.restype = ctypes.c_char_p
        self.model = self.check(self.lib.miura_open(None, threads))
        self.info = Info.from_address(self.lib.miura_model_get_info(ctypes.c_void_p(self.model)))

    def check(self, value, failed=lambda v: not v):
        if failed(value):
            sys.exit("error: " + self.lib.miura_error().decode())
        return value

    def session(self, batch, capacity):
        return Session(self, batch, capacity)


class Session:
    def __init__(self, library, batch, capacity):
        self.l, self.lib, self.batch = library, library.lib, batch
        self.handle = ctypes.c_void_p(
            library.check(self.lib.miura_session_create(ctypes.c_void_p(library.model), ctypes.c_int64(batch), ctypes.c_int64(capacity))))

    def ok(self, code):
        self.l.check(code, lambda v: v != 0)

    def cache(self, layer, is_value):
        data, shape = ctypes.POINTER(ctypes.c_float)(), (ctypes.c_int64 * 4)()
        self.ok(self.lib.miura_session_cache(self.handle, ctypes.c_int64(layer), is_value, ctypes.byref(data), shape))
        return np.ctypeslib.as_array(data, tuple(shape))

    def step(self, tokens, positions=None, mask=None, all_positions=True):
        tokens = np.ascontiguousarray(tokens, np.int64)
        n, out = tokens.shape[1], ctypes.POINTER(ctypes.c_float)()
        give = lambda a, t, c: None if a is None else np.ascontiguousarray(a, t).ctypes.data_as(ctypes.POINTER(c))
        self.ok(self.lib.miura_session_step_masked(
            self.handle, give(tokens, np.int64, ctypes.c_int64), give(positions, np.int64, ctypes.c_int64), give(mask, np.uint8, ctypes.c_uint8),
            ctypes.c_int64(n), None, int(all_positions), ctypes.byref(out)))
        shape = (self.batch, n, self.l.info.vocabulary) if all_positions else (self.batch, self.l.info.vocabulary)
        return np.ctypeslib.as_array(out, shape)

    def close(self):
        self.lib.miura_session_destroy(self.handle)


def read(path):
    return onnx.numpy_helper.to_array(onnx.TensorProto.FromString(path.read_bytes()))


def run_set(library, graph, folder):
    inputs = {v.name: read(folder / f"input_{i}.pb") for i, v in enumerate(graph.input)}
    expected = {v.name: read(folder / f"output_{i}.pb") for i, v in enumerate(graph.output)}
    past = sorted(n for n in inputs if n.startswith("past"))
    tokens, length = inputs["input_ids"], inputs[past[0]].shape[2]
    batch, n = tokens.shape
    session = library.session(batch, length + n)
    for layer in range(library.info.layers):
        for is_value, kind in enumerate(("key", "value")):
            session.cache(layer, is_value)[:, :, :length] = inputs[f"past_key_values.{layer}.{kind}"]
    mask = inputs["attention_mask"]
    for row in range(batch):
        session.ok(session.lib.miura_session_set_length(session.handle, ctypes.c_int64(row), ctypes.c_int64(length)))
        for slot in range(length):
            session.ok(session.lib.miura_session_set_visible(session.handle, ctypes.c_int64(row), ctypes.c_int64(slot), int(mask[row, slot])))
    results = {"logits": session.step(tokens, inputs["position_ids"], mask[:, length:]).copy()}
    for layer in range(library.info.layers):
        for is_value, kind in enumerate(("key", "value")):
            results[f"present.{layer}.{kind}"] = session.cache(layer, is_value)[:, :, :length + n].copy()
    session.close()
    return {name: np.linalg.norm((results[name] - want).ravel()) / np.linalg.norm(want.ravel()) for name, want in expected.items()}


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("library", type=Path)
    p.add_argument("folder", type=Path)
    p.add_argument("--tolerance", type=float, default=1e-4)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--greedy", action="store_true")
    a = p.parse_args()
    library = Library(a.library.resolve(), a.threads)
    graph = onnx.load(a.folder / "model.onnx", load_external_data=False).graph
    sets = sorted(a.folder.glob("test_data_set_*"))
    if not sets:
        sys.exit(f"{a.folder}: no data sets")
    failed = False
    for folder in sets:
        errors = run_set(library, graph, folder)
        name = max(errors, key=errors.get)
        # NaN is no pass.
        good = errors[name] <= a.tolerance and not np.isnan(list(errors.values())).any()
        failed |= not good
        print(f"{folder.name}: logits {errors['logits']:.1e}, worst of {len(errors)} outputs {errors[name]:.1e} ({name}) {'ok' if good else 'FAILED'}")
    if a.greedy:
        facts = json.loads((a.folder / "facts.json").read_text())
        session = library.session(1, 256)
        ids, feed = [], facts["prompt_ids"]
        while len(ids) < len(facts["greedy_ids"]):
            ids.append(int(session.step([feed], all_positions=False)[0].argmax()))
            feed = [ids[-1]]
        session.close()
        good = ids == facts["greedy_ids"]
        failed |= not good
        print(f"greedy: {len(ids)} ids {'ok' if good else f'FAILED: {ids}'}")
    sys.exit(1 if failed else 0)


main()
