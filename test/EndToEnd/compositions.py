"""Compositions of prune, quantize and factorize on every weight of a model.

    compositions.py MIURA MODEL SET WORK [--of 2] [--every N] [--tokenizer T]

Each one is verified while it is made, run by kernels on the inputs of SET and compared with the oracle, which reads the same bundle and decodes its weights
by their definitions; with a tokenizer it is also evaluated and generates. MODEL may be of any kind that `miura compress` takes. SET is a folder of inputs, or a
number of tokens with which a decoder that takes ids, mask, positions and caches is run. Prints what fails and exits with 1 if anything does. --every N takes
every N-th composition, for a test of sensible length; --random N draws N, with steps, options and order that nobody chose, from --seed."""
import argparse
import itertools
import json
import os
import random
import shutil
import struct
import subprocess
import sys
from pathlib import Path

PRUNE = {
    "50%": "miura-prune-magnitude{sparsity=0.5}",
    "2:4": "miura-prune-magnitude{n=2 m=4}",
    "4x8": "miura-prune-magnitude{sparsity=0.5 block=4,8}",
}
QUANTIZE = {
    "w4": "miura-quantize-rtn{bits=4 block-size=16}",
    "w3a": "miura-quantize-rtn{bits=3 block-size=16 symmetric=false}",
    "w8c": "miura-quantize-rtn{bits=8 block-size=0}",
    "w4ca": "miura-quantize-rtn{bits=4 block-size=0 symmetric=false}",
    "w6t": "miura-quantize-rtn{bits=6 block-size=-1}",
    "w4ta": "miura-quantize-rtn{bits=4 block-size=-1 symmetric=false}",
}
# What the steps before miss is nothing at first.
FACTORIZE = {"svd": "miura-factorize-svd{rank=12}", "res": "miura-factorize-residual{rank=8}"}


def compositions(of):
    for families in itertools.permutations((PRUNE, QUANTIZE, FACTORIZE), of):
        for names in itertools.product(*families):
            if names[0] != "res":
                yield "+".join(names), ",".join(f[n] for f, n in zip(families, names))


def draw_prune(rng):
    m = rng.choice((2, 4, 7, 8, 16, 32))
    return rng.choice((
        f"miura-prune-magnitude{{sparsity={rng.choice((0.1, 0.3, 0.5, 0.7, 0.9, 0.97))} scope={rng.choice(('row', 'tensor'))}}}",
        f"miura-prune-magnitude{{n={rng.randrange(1, m)} m={m}}}",
        f"miura-prune-magnitude{{sparsity={rng.choice((0.25, 0.5, 0.8))} block={rng.choice((1, 2, 4, 8))},{rng.choice((1, 2, 4, 8, 16))}}}",
    ))


def draw_quantize(rng):
    return (
        f"miura-quantize-rtn{{bits={rng.randrange(2, 9)} block-size={rng.choice((-1, 0, 8, 16, 32, 48, 64))} "
        f"symmetric={rng.choice(('true', 'false'))} scale-type={rng.choice(('f16', 'f32'))}}}"
    )


def draw_factorize(rng):
    size = rng.choice((f"rank={rng.choice((1, 2, 3, 5, 8, 12))}", f"energy={rng.choice((0.3, 0.6, 0.9))}", f"bytes={rng.choice((600, 1500, 4000))}"))
    return f"miura-factorize-{rng.choice(('svd', 'residual'))}{{{size} type={rng.choice(('f16', 'f32'))}}}"


def draw_compositions(number, seed):
    rng = random.Random(seed)
    for i in range(number):
        passes = ",".join(rng.choice((draw_prune, draw_quantize, draw_factorize))(rng) for _ in range(rng.choice((1, 2, 2, 3, 3, 4))))
        yield passes, passes


def write_numbers(path, shape, code, numbers):
    """An .npy file of format 1.0."""
    header = f"{{'descr': '{code}', 'fortran_order': False, 'shape': {tuple(shape)}, }}"
    header += " " * (-(len(header) + 11) % 64) + "\n"
    form = {"<i8": "q", "<f4": "f"}[code]
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + struct.pack(f"<{len(numbers)}{form}", *numbers))


def make_set(folder, tokens, caches, cache):
    """Two rows; the first tokens of the second are padding."""
    folder.mkdir()
    mask = [1] * tokens + [0] * 2 + [1] * (tokens - 2)
    inputs = [[(7 * i * i + 32) % 251 for i in range(2 * tokens)], mask, [*range(tokens), 0, 0, *range(tokens - 2)]]
    for i, numbers in enumerate(inputs):
        write_numbers(folder / f"input_{i}.npy", [2, tokens], "<i8", numbers)
    for i in range(caches):
        write_numbers(folder / f"input_{i + 3}.npy", [2, cache[0], 0, cache[1]], "<f4", [])


def main():
    parser = argparse.ArgumentParser()
    for name in ("miura", "model", "set", "work"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--caches", type=int, nargs=3, metavar=("NUMBER", "HEADS", "SIZE"))
    parser.add_argument("--of", type=int, nargs="*", default=[2])
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--random", type=int)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--tokenizer")
    parser.add_argument("--prompt", default="Once upon a time")
    parser.add_argument("--rtol", default="2e-5")
    args = parser.parse_args()
    miura, work = str(args.miura.absolute()), args.work.absolute()
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    os.environ["MIURA_COMPILED_DIR"] = str(work / "compiled")

    def run(*command):
        done = subprocess.run([miura, *map(str, command)], capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"miura {command[0]}: {(done.stderr.strip() or done.stdout.strip())[:400]}")
        return done.stdout

    tried, failed = 0, 0
    if args.random:
        names = [*draw_compositions(args.random, args.seed)]
    else:
        names = [c for of in args.of for c in compositions(of)]
    for name, passes in names[args.first::args.every]:
        if args.only and name not in args.only:
            continue
        bundle, case = work / "model.miura", work / "set"
        for old in (bundle, case, work / "compiled"):
            shutil.rmtree(old, ignore_errors=True)
        if str(args.set).isdigit():
            make_set(case, int(str(args.set)), args.caches[0], args.caches[1:])
        else:
            shutil.copytree(args.set, case)
            for old in case.glob("output_*"):
                old.unlink()
        try:
            tokenizer = ["--tokenizer", args.tokenizer] if args.tokenizer else []
            run("compress", args.model, "--pass-pipeline", passes + ",miura-verify-certificates{strict}", "-o", bundle, "--quiet", *tokenizer)
            run("run", bundle, "--reference", "--inputs", case, "--save", case, "--quiet")
            run("run", bundle, "--inputs", case, "--check", "--rtol", args.rtol, "--quiet")
            if args.tokenizer:
                text = work / "text.txt"
                text.write_text(args.prompt + ", there was a little girl who liked to play in the park.\n")
                result = json.loads(run("eval", bundle, "--text", text, "--context", 8, "--json", "--quiet"))
                if not result["perplexity"] > 1:
                    raise RuntimeError(f"eval: {result}")
                result = json.loads(run("generate", bundle, "--prompt", args.prompt, "--tokens", 4, "--json", "--quiet"))
                if len(result["tokens"]) != 4:
                    raise RuntimeError(f"generate: {result}")
            tried += 1
        except RuntimeError as error:
            # What was drawn need not fit any layer of the model.
            if args.random and "no layer fits" in str(error):
                continue
            tried += 1
            failed += 1
            print(f"{name}: {error}", flush=True)
    print(f"{tried} compositions, {failed} failed")
    return 1 if failed or not tried else 0


if __name__ == "__main__":
    sys.exit(main())
