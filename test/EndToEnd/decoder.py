"""Runs every data set of a decoder through a library that `miura compile` made, by its C interface, and compares with the stored outputs.

    decoder.py LIBRARY FOLDER [--tolerance 1e-4] [--greedy]

Past keys and values are written into the session's cache, the mask hides slots, positions are the file's. Prints the relative error by norm of every
output and fails if one is above the tolerance. --greedy also continues the prompt of facts.json, token by token, and compares the ids."""
import argparse
import json
import re
import sys
from pathlib import Path

import numpy as np
import onnx

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "python"))
from miura import Artifact  # noqa: E402


def read(path):
    return onnx.numpy_helper.to_array(onnx.TensorProto.FromString(path.read_bytes()))


def cache_of(name):
    """The layer of a past or present key or value, and which it is; nothing for other names."""
    rest = name.replace("past_key_values", "")
    kind = 0 if "key" in rest else 1 if "value" in rest else None
    return None if kind is None else (int(re.search(r"\d+", rest)[0]), kind)


def run_set(library, graph, folder):
    stored = {t.name for t in graph.initializer}
    inputs = {v.name: read(folder / f"input_{i}.pb") for i, v in enumerate(v for v in graph.input if v.name not in stored)}
    expected = {v.name: read(folder / f"output_{i}.pb") for i, v in enumerate(graph.output)}
    caches = [n for n, a in inputs.items() if a.ndim == 4 and cache_of(n)]
    tokens = inputs["input_ids"]
    length = inputs[caches[0]].shape[2] if caches else 0
    batch, n = tokens.shape
    session = library.session(batch, length + n)
    for name in caches:
        session.cache(*cache_of(name))[:, :, :length] = inputs[name]
    mask = inputs.get("attention_mask", np.ones((batch, length + n), np.int64))
    for row in range(batch):
        session.set_length(row, length)
        for slot in range(length):
            session.set_visible(row, slot, mask[row, slot])
    results = {"logits": session.step(tokens, inputs.get("position_ids"), mask[:, length:], all_positions=True).copy()}
    for name in expected:
        if cache_of(name):
            results[name] = session.cache(*cache_of(name))[:, :, :length + n].copy()
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
    library = Artifact(a.library, a.threads)
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
            ids.append(int(session.step([feed])[0].argmax()))
            feed = [ids[-1]]
        session.close()
        good = ids == facts["greedy_ids"]
        failed |= not good
        print(f"greedy: {len(ids)} ids {'ok' if good else f'FAILED: {ids}'}")
    sys.exit(1 if failed else 0)


main()
