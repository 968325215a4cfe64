"""Compiles several models into one output at once, several times, and opens what came of it."""
import subprocess
import sys

miura, output, *models = sys.argv[1:]
for _ in range(4):
    running = [subprocess.Popen([miura, "compile", model, "-o", output, "--quiet"]) for model in models]
    codes = [process.wait() for process in running]
    assert codes == [0] * len(models), codes
    subprocess.run([miura, "bench", output, "--quiet", "--rounds", "1", "--prompt-tokens", "2", "--new-tokens", "2"],
                   check=True, stdout=subprocess.DEVNULL)
