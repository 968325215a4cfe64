#!/usr/bin/env python3
"""Measures what importing and compressing a large model costs: seconds, anonymous memory, size of the MLIR text.

    benchmarks/memory.py [--model MODEL.onnx] [--scheme w4] [--check] [--json]

Without --model, llama_shape.py writes a model of 1.1 billion parameters (4.4 GB, removed in the end; --work says where). Peak RssAnon is sampled from
/proc/PID/status every few milliseconds: memory that the process itself holds, without pages of mapped files, which the system can drop. --check
fails if a limit is exceeded: import in 3 s with 300 MiB, compression with 1 GiB, either text below 1 MB. Needs numpy and onnx to write the model."""
import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from environment import need

need("numpy", "onnx")

HERE = Path(__file__).resolve().parent
MIB = 1 << 20


def anonymous(pid):
    """RssAnon of a process in bytes; None once it is gone."""
    try:
        with open(f"/proc/{pid}/status") as status:
            for line in status:
                if line.startswith("RssAnon:"):
                    return int(line.split()[1]) * 1024
    except (FileNotFoundError, ProcessLookupError):
        pass
    return None


def measure(command):
    """Runs `command`; its seconds, CPU seconds and peak RssAnon."""
    begin = time.monotonic()
    process = subprocess.Popen(command)
    peak = samples = 0
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            break
        held = anonymous(process.pid)
        if held is not None:
            samples += 1
            peak = max(peak, held)
        time.sleep(0.004)
    seconds = time.monotonic() - begin
    if status:
        sys.exit(f"{' '.join(map(str, command))} failed")
    return {"seconds": round(seconds, 2), "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 2), "peak_rss_anon": peak, "samples": samples}


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--miura", type=Path, default=HERE.parent / "build" / "release" / "bin" / "miura",
                   help="the command (default: the release build's)")
    p.add_argument("--model", type=Path,
                   help="the ONNX file (default: one of random weights, made here)")
    p.add_argument("--work", type=Path, help="the folder for what is written (default: a temporary one)")
    p.add_argument("--scheme", default="w4",
                   help="the scheme to compress with (default: w4)")
    p.add_argument("--threads", type=int, default=2,
                   help="threads of every command (default: 2)")
    p.add_argument("--check", action="store_true",
                   help="fail where a command takes more memory than it may")
    p.add_argument("--json", action="store_true",
                   help="print JSON instead of a table")
    a = p.parse_args()

    work = Path(tempfile.mkdtemp(prefix="miura-memory-", dir=a.work))
    try:
        model = a.model
        if model is None:
            subprocess.run([sys.executable, HERE / "llama_shape.py", work / "model"], check=True, stdout=sys.stderr)
            model = work / "model" / "model.onnx"
        # Once to bring the file into the page cache: this is about Miura, not about the disk.
        for path in model.parent.iterdir():
            with open(path, "rb") as file:
                while file.read(1 << 24):
                    pass
        common = ["--quiet", "--threads", str(a.threads)]
        text, bundle = work / "model.mlir", work / "model.miura"
        results = {"import": measure([a.miura, "import", model, "-o", text, *common])}
        results["import"]["text_bytes"] = text.stat().st_size
        results["compress"] = measure([a.miura, "compress", model, "--scheme", a.scheme, "-o", bundle, *common])
        results["compress"]["text_bytes"] = (bundle / "model.mlir").stat().st_size
        results["compress"]["bundle_bytes"] = sum(f.stat().st_size for f in bundle.iterdir())
    finally:
        shutil.rmtree(work)

    if a.json:
        print(json.dumps(results))
    else:
        print(f"{'':10}{'seconds':>9}{'CPU':>9}{'anonymous':>12}{'text':>11}")
        for name, r in results.items():
            print(f"{name:10}{r['seconds']:9.2f}{r['cpu_seconds']:9.2f}{r['peak_rss_anon'] / MIB:8.1f} MiB{r['text_bytes'] / 1e6:8.2f} MB")
    limits = [("import", "seconds", 3), ("import", "peak_rss_anon", 300 * MIB), ("compress", "peak_rss_anon", 1024 * MIB),
              ("import", "text_bytes", 1e6), ("compress", "text_bytes", 1e6)]
    exceeded = [f"{name} {key}: {results[name][key]} is above {limit:.0f}" for name, key, limit in limits if results[name][key] >= limit]
    if a.check and exceeded:
        sys.exit("\n".join(exceeded))


if __name__ == "__main__":
    main()
