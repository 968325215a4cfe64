#!/usr/bin/env python3
"""Compresses models by several schemes and prints, per scheme: quality, size, compile time, and rates beside ONNX Runtime's.

    benchmarks/models.py [--smollm2 FOLDER] [--schemes fp32,w8,w4,w3,w4a8,w4+r32,50%+w4,2:4+w4] [--rounds 7] [--json]
    benchmarks/models.py --model FILE.onnx --tokenizer T --text FILE [--documents A:N | --windows N] [--context N]

Without --model: stories15M of the test data (MIURA_TEST_DATA, by default ../shared/data beside the checkout), the shipped example, and SmolLM2 where
its folder is given. Perplexity and KL are those of `miura eval` (the reference of KL is the model itself); bytes are the whole bundle's, or the
ONNX file's with its external data; seconds are CPU seconds of `miura compile`; rates are medians over rounds, in each of which every scheme and ONNX
Runtime take their turn on the same number of threads; × ORT is the median of the ratios within a round. ONNX Runtime keeps its cache in OrtValues,
without copies to NumPy. Needs numpy, onnx and onnxruntime."""
import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from environment import need

need("numpy", "onnx", "onnxruntime")

ROOT = Path(__file__).resolve().parent.parent


class OrtRunner:
    """Prefill and decode of the same file by ONNX Runtime; None for files without a cache."""

    def __init__(self, path, threads):
        import numpy as np
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        self.np, self.ort = np, ort
        self.session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.inputs = {i.name: i for i in self.session.get_inputs()}
        self.outputs = [o.name for o in self.session.get_outputs()]
        self.past = [n for n in self.inputs if n.startswith("past")]
        # Outputs after the logits are the cache, in the order of its inputs.
        self.present = [n for n in self.outputs if n != "logits"]
        if len(self.past) != len(self.present):
            raise ValueError("its cache is not named in a way that is known")

    def value(self, array):
        return self.ort.OrtValue.ortvalue_from_numpy(array)

    def step(self, tokens, start, cache):
        np, n = self.np, len(tokens)
        feeds = {"input_ids": np.array([tokens], np.int64), "position_ids": np.arange(start, start + n)[None],
                 "attention_mask": np.ones((1, start + n), np.int64)}
        feeds = {k: self.value(v) for k, v in feeds.items() if k in self.inputs} | cache
        results = self.session.run_with_ort_values(self.outputs, feeds)
        named = dict(zip(self.outputs, results))
        return dict(zip(self.past, (named[n] for n in self.present)))

    def run(self, prompt, new):
        """Tokens per second of prefill and of decode."""
        np = self.np
        cache = {}
        for name in self.past:
            shape = [1 if i == 0 else (0 if i == 2 else d) for i, d in enumerate(self.inputs[name].shape)]
            cache[name] = self.value(np.zeros(shape, np.float32))
        begin = time.perf_counter()
        cache = self.step([1] * prompt, 0, cache)
        middle = time.perf_counter()
        for i in range(new):
            cache = self.step([1], prompt + i, cache)
        end = time.perf_counter()
        return prompt / (middle - begin), new / (end - middle)


def run_json(a, *words):
    command = [str(w) for w in (a.miura, *words, "--json", "--quiet", "--threads", a.threads)]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        sys.exit(f"{' '.join(command)}\n{result.stderr}")
    return json.loads(result.stdout)


def measure_model(a, model, work):
    print(f"{model['name']}:", file=sys.stderr)
    rows = []
    text = ["--text", model["text"], "--tokenizer", model["tokenizer"], *model["protocol"]] if model.get("text") else None
    reference = None
    for scheme in a.schemes.split(","):
        print(f"  {scheme}", file=sys.stderr)
        source = model["file"]
        if scheme != "fp32":
            source = work / f"{scheme}.miura"
            run_json(a, "compress", model["file"], "--scheme", scheme, "-o", source)
        report = run_json(a, "inspect", source)
        library = work / f"{scheme}.so"
        row = {"scheme": scheme, "bytes": report["bytes"], "resident_bytes": report["resident_bytes"], "bits_per_weight": report["bits_per_weight"],
               "compile_seconds": run_json(a, "compile", source, "-o", library)["seconds"], "library": library}
        if text:
            against = ["--against", reference] if reference else []
            quality = run_json(a, "eval", library, *text, *against)
            row |= {"perplexity": quality["perplexity"], "kl": quality["kl"], "top1": quality["top1"]}
        if scheme == "fp32":
            reference = library
        rows.append(row)

    ort = None
    try:
        ort = OrtRunner(model["file"], a.threads)
    except Exception as error:  # noqa: BLE001 (a peer that does not run is no fault of ours)
        print(f"  ONNX Runtime does not run it: {error}", file=sys.stderr)
    print("  rates", file=sys.stderr)
    rates = {row["scheme"]: [] for row in rows} | {"ort": []}
    for _ in range(a.rounds):
        if ort:
            ort.run(a.prompt_tokens, 2)
            rates["ort"].append(ort.run(a.prompt_tokens, a.new_tokens))
        for row in rows:
            r = run_json(a, "bench", row["library"], "--rounds", 1, "--prompt-tokens", a.prompt_tokens, "--new-tokens", a.new_tokens)
            rates[row["scheme"]].append((r["prefill_tokens_per_s"], r["decode_tokens_per_s"]))
    for row in rows:
        del row["library"]
        for i, kind in enumerate(("prefill", "decode")):
            mine = [r[i] for r in rates[row["scheme"]]]
            row[kind + "_tokens_per_s"] = statistics.median(mine)
            row[kind + "_of_ort"] = statistics.median(m / o[i] for m, o in zip(mine, rates["ort"])) if ort else None
    result = {"model": model["name"], "schemes": rows}
    if ort:
        result |= {"ort_prefill_tokens_per_s": statistics.median(r[0] for r in rates["ort"]),
                   "ort_decode_tokens_per_s": statistics.median(r[1] for r in rates["ort"])}
    return result


def show(value, form, scale=1):
    return "-" if value is None else format(value * scale, form)


COLUMNS = ["model", "scheme", "perplexity", "KL", "top-1 %", "MB", "resident MB", "bits", "compile s", "decode/s", "× ORT", "prefill/s", "× ORT"]


def print_head():
    print("| " + " | ".join(COLUMNS) + " |\n" + "|---" * len(COLUMNS) + "|")


def print_rows(result):
    if "ort_decode_tokens_per_s" in result:
        rates = [show(result[f"ort_{kind}_tokens_per_s"], ".1f") for kind in ("decode", "prefill")]
        print("| " + " | ".join([result["model"], "ONNX Runtime", *["-"] * 7, rates[0], "1.00", rates[1], "1.00"]) + " |")
    for r in result["schemes"]:
        print("| " + " | ".join([result["model"], r["scheme"], show(r.get("perplexity"), ".4f"), show(r.get("kl"), ".5f"), show(r.get("top1"), ".1f", 100),
                                 show(r["bytes"], ".2f", 1e-6), show(r["resident_bytes"], ".2f", 1e-6), show(r["bits_per_weight"], ".2f"),
                                 show(r["compile_seconds"], ".1f"), show(r["decode_tokens_per_s"], ".1f"), show(r["decode_of_ort"], ".2f"),
                                 show(r["prefill_tokens_per_s"], ".1f"), show(r["prefill_of_ort"], ".2f")]) + " |", flush=True)


def get_models(a):
    if a.model:
        protocol = ["--context", a.context] + (["--documents", a.documents] if a.documents else []) + (["--windows", a.windows] if a.windows else [])
        return [{"name": str(a.model), "file": a.model, "text": a.text, "tokenizer": a.tokenizer, "protocol": protocol}]
    data = Path(os.environ.get("MIURA_TEST_DATA", ROOT.parent / "shared" / "data"))
    models = [
        {"name": "stories15M", "file": data / "onnx" / "stories15M-dynamo-kv-op18" / "model.onnx", "text": data / "text" / "tinystories" / "stories.txt",
         "tokenizer": data / "tokenizers" / "llama2" / "tokenizer.model", "protocol": ["--documents", "0:60", "--context", 256]},
        {"name": "examples/stories", "file": ROOT / "examples" / "stories" / "model.onnx", "text": ROOT / "examples" / "stories" / "eval.txt",
         "tokenizer": "bytes", "protocol": ["--documents", "0:60", "--context", 512]}]
    if a.smollm2:
        models.append({"name": "SmolLM2-135M", "file": a.smollm2 / "model.onnx", "text": data / "text" / "wikitext-2-raw" / "wiki.test.raw",
                       "tokenizer": a.smollm2 / "tokenizer.json", "protocol": ["--windows", 8, "--context", 512]})
    there = [m for m in models if m["file"].exists()]
    for m in models:
        if m not in there:
            print(f"{m['name']}: there is no {m['file']}, it is left out", file=sys.stderr)
        elif not Path(m["text"]).exists():
            print(f"{m['name']}: there is no {m['text']}, quality is left out", file=sys.stderr)
            m["text"] = None
    return there


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--miura", type=Path, default=ROOT / "build" / "release" / "bin" / "miura",
                   help="the command (default: the release build's)")
    p.add_argument("--smollm2", type=Path,
                   help="a folder with SmolLM2-135M's model.onnx and tokenizer.json, to measure it too")
    p.add_argument("--model", type=Path,
                   help="measure this ONNX file instead of the known ones")
    p.add_argument("--tokenizer",
                   help="its tokenizer, for --text")
    p.add_argument("--text", type=Path,
                   help="the text whose perplexity is measured (default: none)")
    p.add_argument("--documents",
                   help="documents of the text, as miura eval takes them")
    p.add_argument("--windows", type=int,
                   help="windows of the text, as miura eval takes them")
    p.add_argument("--context", type=int, default=512,
                   help="tokens of a window or document (default: 512)")
    p.add_argument("--schemes", default="fp32,w8,w4,w3,w4a8,w4+r32,50%+w4,2:4+w4",
                   help="schemes, with commas between; fp32 is none (default: those of the README)")
    p.add_argument("--rounds", type=int, default=7,
                   help="interleaved rounds to take medians of (default: 7)")
    p.add_argument("--prompt-tokens", type=int, default=128,
                   help="tokens of the prompt (default: 128)")
    p.add_argument("--new-tokens", type=int, default=32,
                   help="tokens decoded after it (default: 32)")
    p.add_argument("--threads", type=int, default=2,
                   help="threads of both sides (default: 2)")
    p.add_argument("--json", action="store_true",
                   help="print JSON instead of a table")
    a = p.parse_args()
    if a.text and not a.tokenizer:
        p.error("--text needs --tokenizer")

    if not a.json:
        print_head()
    results = []
    for model in get_models(a):
        work = Path(tempfile.mkdtemp(prefix="miura-models-"))
        try:
            results.append(measure_model(a, model, work))
        finally:
            shutil.rmtree(work)
        if not a.json:
            print_rows(results[-1])
    if a.json:
        print(json.dumps(results))


if __name__ == "__main__":
    main()
