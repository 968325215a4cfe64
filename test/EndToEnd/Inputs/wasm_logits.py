#===- wasm_logits.py - A browser's logits against the host's ------------===//
#
# Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===//
"""Steps the host's library as wasm_logits.mjs does a module, and compares by
norm: products are rounded there and not here, nothing else differs.

    wasm_logits.py LIBRARY LOGITS"""
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "python"))
from miura import Artifact  # noqa: E402

library, logits = sys.argv[1:]
model = Artifact(library, 1)
session = model.session(1, 25)
tokens = (np.arange(25) * 37 + 5) % model.info.vocabulary
expected = [session.step(tokens[None, :20]).copy()]
for token in tokens[20:]:
    expected.append(session.step(np.array([[token]])).copy())
expected = np.concatenate(expected, axis=None)
got = np.fromfile(logits, np.float32)
assert got.shape == expected.shape and expected.std() > 0
error = np.linalg.norm(got - expected) / np.linalg.norm(expected)
print(f"{Path(library).parent.name}: {'equal' if error < 1e-5 else error}")
