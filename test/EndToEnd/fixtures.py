"""Runs every model of a folder through the kernels and through the oracle, on all of its data sets, and prints a table.

    fixtures.py MIURA FOLDER [NAME...] [--only compiled|reference|file] [--rtol X] [--timeout S] [--json FILE]

FOLDER has one folder per model, with model.onnx and test_data_set_*. NAME picks those whose name contains it. A row has the largest error by norm of
all outputs of all sets (`file` is the oracle on the file's nodes as they are, without raising) and the seconds, or the first words of the refusal. The
exit code is 1 if an error is above --rtol or a run ends in a fault instead of a refusal."""
import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

MODES = {"compiled": [], "reference": ["--reference"], "file": ["--reference", "--no-raise"]}


def run(miura, folder, options, rtol, timeout):
    sets = sorted(folder.glob("test_data_set_*"))
    command = [miura, "run", folder / "model.onnx", "--check", "--json", "--quiet", "--rtol", str(rtol), *options]
    for path in sets:
        command += ["--inputs", path]
    begin = time.monotonic()
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout)
    except subprocess.TimeoutExpired:
        return {"refusal": f"took more than {timeout} s", "code": -1}
    result = {"seconds": time.monotonic() - begin, "code": done.returncode}
    try:
        report = json.loads(done.stdout)
    except ValueError:
        result["refusal"] = (done.stderr.strip() or f"signal {-done.returncode}").splitlines()[0]
        return result
    if "error" in report:
        result["refusal"] = report["error"]
        return result
    errors = [o.get("max_rel_error") for o in report["outputs"]]
    result["error"] = float("inf") if None in errors else max(errors, default=0.0)
    result["passed"] = report["passed"]
    return result


def describe(result):
    if "error" in result:
        return f"{result['error']:.1e}{' ' if result['passed'] else '!'} {result['seconds']:5.1f}s"
    return {1: "refused", -1: "too long"}.get(result["code"], f"FAULT {result['code']}")


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("miura", type=Path)
    p.add_argument("folder", type=Path)
    p.add_argument("names", nargs="*")
    p.add_argument("--only", choices=MODES, action="append")
    p.add_argument("--rtol", type=float, default=1e-4)
    p.add_argument("--timeout", type=float, default=120)
    p.add_argument("--json", type=Path)
    a = p.parse_intermixed_args()
    modes = a.only or ["reference", "compiled"]
    folders = [f.parent for f in sorted(a.folder.glob("*/model.onnx")) if not a.names or any(n in f.parent.name for n in a.names)]
    if not folders:
        sys.exit(f"{a.folder}: no model.onnx in its folders")
    table, bad = {}, False
    print(f"{'model':48}" + "".join(f"{m:18}" for m in modes) + "refusal")
    for folder in folders:
        row = table[folder.name] = {m: run(a.miura, folder, MODES[m], a.rtol, a.timeout) for m in modes}
        refusals = dict.fromkeys(r["refusal"].split("; note:")[0].replace(str(folder) + "/", "") for r in row.values() if "refusal" in r)
        print(f"{folder.name:47} " + "".join(f"{describe(r):18}" for r in row.values()) + " | ".join(refusals)[:240], flush=True)
        bad |= any(not r.get("passed", True) or r["code"] not in (0, 1) for r in row.values())
    for m in modes:
        ran = [r for r in (row[m] for row in table.values()) if "error" in r]
        print(f"{m}: {len(table)} models, {len(ran)} run, {sum(r['passed'] for r in ran)} within {a.rtol:g}")
    if a.json:
        a.json.write_text(json.dumps(table, indent=1))
    sys.exit(bad)


if __name__ == "__main__":
    main()
