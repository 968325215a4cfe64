#===- same_logits.py - Threads change no bit ----------------------------===//
#
# Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===//
"""Steps a compiled model with one, two and three threads, a prompt and then single tokens, and compares the logits bit by bit.

    same_logits.py LIBRARY..."""
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "python"))
from miura import Artifact  # noqa: E402

for path in sys.argv[1:]:
    runs = []
    for threads in 1, 2, 3:
        model = Artifact(path, threads)
        tokens = np.random.default_rng(0).integers(0, model.info.vocabulary, (2, 53))
        session = model.session(2, 64)
        logits = [session.step(tokens[:, :37], all_positions=True).copy()]
        for i in range(37, 53):
            logits.append(session.step(tokens[:, i:i + 1]).copy())
        session.close()
        model.close()
        runs.append(np.concatenate([part.ravel() for part in logits]))
    assert np.isfinite(runs[0]).all() and runs[0].std() > 0
    assert runs[0].tobytes() == runs[1].tobytes() == runs[2].tobytes(), path
