"""Runs the blocks of a Markdown page in a folder: a block whose info string says `file=NAME` is written there, one that says `run` is executed
by bash. Fails with the command's output where one fails, and where the page has nothing to run.

    run_doc.py PAGE FOLDER"""
import re
import subprocess
import sys
from pathlib import Path

page, folder = Path(sys.argv[1]), Path(sys.argv[2])
folder.mkdir(parents=True, exist_ok=True)
ran = 0
for info, body in re.findall(r"^```([^\n]*)\n(.*?)^```$", page.read_text(), re.M | re.S):
    words = info.split()
    for word in words:
        if word.startswith("file="):
            (folder / word[5:]).write_text(body)
    if "run" in words:
        done = subprocess.run(["bash", "-euo", "pipefail", "-c", body], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode:
            sys.exit(f"{page.name}: exit code {done.returncode} of\n{body}\n{done.stdout}")
        ran += 1
if not ran:
    sys.exit(f"{page.name}: nothing to run")
print(f"{page.name}: {ran} blocks ran")
