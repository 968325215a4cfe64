"""Checks what `miura eval` and `miura generate` say against ONNX Runtime and against sums in NumPy over the same logits.

    evaluate.py MIURA MODEL.onnx TEXT --library A.so [--against B.so] [--flags ...]

The tokenizer is `bytes`, whose protocols are written down here once more: byte 0, then the text's bytes."""
import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "python"))
from miura import Artifact  # noqa: E402


class Runtime:
    """A decoder with a cache in ONNX Runtime."""

    def __init__(self, path):
        self.session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        self.past = {i.name: (1, i.shape[1], 0, i.shape[3]) for i in self.session.get_inputs() if i.name.startswith("past")}

    def logits(self, ids):
        n = len(ids)
        feeds = {"input_ids": np.array([ids], np.int64), "attention_mask": np.ones((1, n), np.int64), "position_ids": np.arange(n, dtype=np.int64)[None]}
        names = {i.name for i in self.session.get_inputs()}
        feeds = {k: v for k, v in feeds.items() if k in names} | {k: np.zeros(s, np.float32) for k, s in self.past.items()}
        return self.session.run(["logits"], feeds)[0][0]


class Compiled:
    def __init__(self, path, longest):
        self.session = Artifact(path, threads=2).session(1, longest)

    def logits(self, ids):
        self.session.reset()
        return self.session.step([ids], all_positions=True)[0].copy()


def log_softmax(logits):
    logits = logits.astype(np.float64)
    m = logits.max(-1, keepdims=True)
    return logits - m - np.log(np.exp(logits - m).sum(-1, keepdims=True))


def score(model, reference, sequences):
    nll, kl, same, count = 0.0, 0.0, 0, 0
    for ids in sequences:
        q = log_softmax(model.logits(ids[:-1]))
        nll -= q[np.arange(len(ids) - 1), ids[1:]].sum()
        count += len(ids) - 1
        if reference:
            p = log_softmax(reference.logits(ids[:-1]))
            kl += (np.exp(p) * (p - q)).sum()
            same += (p.argmax(-1) == q.argmax(-1)).sum()
    return {"nll": nll / count, "perplexity": np.exp(nll / count), "tokens": count, "kl": kl / count, "top1": same / count}


def cut(text, a):
    begin = [0] if a.bos is None else [] if a.bos == "none" else [int(a.bos)]
    if a.documents:
        first, _, count = a.documents.rpartition(":")
        documents = [d.strip() for d in text.decode().split(a.separator)]
        documents = [d for d in documents if d][int(first or 0):][:int(count)]
        return [s for s in ((begin + list(d.encode()))[:a.context] for d in documents) if len(s) > 1]
    ids = begin + list(text)
    windows = [ids[i:i + a.context] for i in range(0, len(ids) - a.context + 1, a.context)]
    return windows[:a.windows]


def miura(*arguments):
    result = subprocess.run([str(x) for x in arguments] + ["--json", "--quiet"], capture_output=True, text=True)
    if result.returncode:
        sys.exit(result.stderr)
    return json.loads(result.stdout)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("miura")
    p.add_argument("model")
    p.add_argument("text", type=Path)
    p.add_argument("--library")
    p.add_argument("--against")
    p.add_argument("--context", type=int, default=64)
    p.add_argument("--windows", type=int)
    p.add_argument("--documents")
    p.add_argument("--bos")
    p.add_argument("--separator", default="<|endoftext|>")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--greedy", help="continue this prompt instead")
    a = p.parse_args()
    common = ["--tokenizer", "bytes", "--threads", a.threads]
    runtime = Runtime(a.model)
    if a.greedy:
        got = miura(a.miura, "generate", a.library or a.model, *common, "--prompt", a.greedy, "--tokens", 40)
        ids = [0] + list(a.greedy.encode())
        for _ in range(40):
            ids.append(int(runtime.logits(ids)[-1].argmax()))
            if ids[-1] == 0:
                ids.pop()
                break
        want = ids[1 + len(a.greedy.encode()):]
        print(f"greedy: {got['tokens']} {'equal' if got['tokens'] == want else f'FAILED, expected {want}'}")
        sys.exit(got["tokens"] != want)

    flags = ["--text", a.text, "--context", a.context]
    for name in ("windows", "documents", "bos", "against"):
        if getattr(a, name) is not None:
            flags += [f"--{name}", getattr(a, name)]
    if a.documents:
        flags += ["--separator", a.separator]
    got = miura(a.miura, "eval", a.library, *common, *flags)
    sequences = cut(a.text.read_bytes(), a)
    want = score(Compiled(a.library, a.context), Compiled(a.against, a.context) if a.against else None, sequences)
    if not a.against:
        want |= {"kl": None, "top1": None}
        # The library was compiled from the file, so ONNX Runtime agrees but for rounding.
        outside = score(runtime, None, sequences)["nll"]
        if abs(outside - got["nll"]) > 1e-4 * outside:
            sys.exit(f"FAILED: nll {got['nll']}, by ONNX Runtime {outside}")
    for key, value in want.items():
        # The command puts several short sequences into a step, so that its kernels are of another shape and round otherwise.
        if got[key] != value if value is None or key in ("tokens", "top1") else abs(got[key] - value) > 1e-6 * max(1, abs(value)):
            sys.exit(f"FAILED: {key} is {got[key]}, expected {value}")
    print(f"{got} equal")


main()
