"""The Python packages of the benchmarks: those of the tests, which utils/setup installs into the cache folder."""
import importlib.util
import os
import sys
from pathlib import Path


def need(*packages):
    """Goes on in the tests' environment where this Python lacks one of `packages`."""
    missing = [p for p in packages if not importlib.util.find_spec(p)]
    if not missing:
        return
    folder = Path(os.environ.get("MIURA_CACHE") or Path.home() / ".cache/miura") / "python"
    python = folder / "bin/python"
    if not python.exists() or Path(sys.prefix) == folder:
        sys.exit(f"{sys.argv[0]}: needs the Python packages {', '.join(missing)}; utils/setup installs them")
    os.execv(python, [str(python), *sys.argv])
