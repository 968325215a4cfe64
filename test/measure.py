#===- measure.py - Time and anonymous memory of a command ---------------===//
#
# Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===//
"""Runs a command and prints, on standard error, its seconds and the peak of its
anonymous resident memory (RssAnon, sampled every 5 ms: mapped files are not in
it). Exits with the command's code, or 1 if a limit is exceeded.

usage: measure.py [--max-mib N] [--max-seconds X] -- COMMAND...
"""
import subprocess
import sys
import time

split = sys.argv.index("--")
options = dict(zip(sys.argv[1:split:2], sys.argv[2:split:2]))
start = time.time()
process = subprocess.Popen(sys.argv[split + 1:])
peak = 0
while process.poll() is None:
    try:
        with open("/proc/%d/status" % process.pid) as file:
            for line in file:
                if line.startswith("RssAnon"):
                    peak = max(peak, int(line.split()[1]))
    except OSError:
        pass
    time.sleep(0.005)
seconds = time.time() - start
mib = peak / 1024
print("seconds %.2f, peak RssAnon %.1f MiB" % (seconds, mib), file=sys.stderr)
code = process.returncode
if mib > float(options.get("--max-mib", "inf")):
    print("more anonymous memory than allowed", file=sys.stderr)
    code = code or 1
if seconds > float(options.get("--max-seconds", "inf")):
    print("slower than allowed", file=sys.stderr)
    code = code or 1
sys.exit(code)
