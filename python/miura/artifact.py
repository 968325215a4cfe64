#===- artifact.py - A compiled model, from Python -----------------------===//
#
# Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===//
"""Loads what `miura compile` wrote and steps it: miura-c/artifact.h by ctypes.

    model = Artifact("model.so", threads=2)
    session = model.session(batch=1, capacity=256)
    logits = session.step([[1, 2, 3]])          # [1, vocabulary]

Needs NumPy and nothing of Miura's but the library itself.
"""
import ctypes
from pathlib import Path

import numpy as np


class ArtifactError(RuntimeError):
    """What miura_error() said."""


class _Info(ctypes.Structure):
    # The head of miura_model_info.
    _fields_ = [(name, ctypes.c_int64) for name in
                ("vocabulary", "layers", "context", "kernels", "weight_bytes")]


def _pointer(array, dtype, ctype):
    """A pointer to `array` as `dtype`, and what keeps it alive."""
    if array is None:
        return None, None
    array = np.ascontiguousarray(array, dtype)
    return array.ctypes.data_as(ctypes.POINTER(ctype)), array


class Artifact:
    """A library with its weights mapped and its threads running."""

    def __init__(self, path, threads=0):
        path = Path(path).resolve()
        try:
            self.lib = ctypes.CDLL(str(path))
        except OSError as error:
            raise ArtifactError(f"{path}: {error}") from None
        for name in ("miura_open", "miura_session_create", "miura_model_get_info"):
            getattr(self.lib, name).restype = ctypes.c_void_p
        self.lib.miura_error.restype = ctypes.c_char_p
        for name in ("miura_session_length", "miura_session_capacity"):
            getattr(self.lib, name).restype = ctypes.c_int64
        self.model = ctypes.c_void_p(self._check(self.lib.miura_open(None, threads)))
        self.info = _Info.from_address(self.lib.miura_model_get_info(self.model))

    def _check(self, value, ok=bool):
        if not ok(value):
            raise ArtifactError(self.lib.miura_error().decode())
        return value

    def session(self, batch=1, capacity=1024):
        """A batch of sequences of at most `capacity` tokens."""
        return Session(self, batch, capacity)

    def close(self):
        """Frees the model; its sessions must be closed before."""
        self.lib.miura_close(self.model)
        self.model = None


class Session:
    def __init__(self, artifact, batch, capacity):
        self.artifact, self.lib, self.batch = artifact, artifact.lib, batch
        self.handle = ctypes.c_void_p(artifact._check(self.lib.miura_session_create(
            artifact.model, ctypes.c_int64(batch), ctypes.c_int64(capacity))))

    def _done(self, code):
        self.artifact._check(code, lambda c: c == 0)

    def step(self, tokens, positions=None, mask=None, all_positions=False):
        """Appends `tokens` [batch, n]. The logits, [batch, vocabulary] or with
        `all_positions` [batch, n, vocabulary], are the session's and valid
        until its next step. `positions` and `mask` are [batch, n] too."""
        tokens, _0 = _pointer(tokens, np.int64, ctypes.c_int64)
        positions, _1 = _pointer(positions, np.int64, ctypes.c_int64)
        mask, _2 = _pointer(mask, np.uint8, ctypes.c_uint8)
        batch, n = _0.shape
        if batch != self.batch:
            raise ArtifactError(f"{batch} rows for a session of {self.batch}")
        out = ctypes.POINTER(ctypes.c_float)()
        self._done(self.lib.miura_session_step_masked(
            self.handle, tokens, positions, mask, ctypes.c_int64(n), None,
            int(all_positions), ctypes.byref(out)))
        vocabulary = self.artifact.info.vocabulary
        shape = (batch, n, vocabulary) if all_positions else (batch, vocabulary)
        return np.ctypeslib.as_array(out, shape)

    def cache(self, layer, is_value):
        """Keys or values of a layer in place, [batch, heads, capacity, size]."""
        data, shape = ctypes.POINTER(ctypes.c_float)(), (ctypes.c_int64 * 4)()
        self._done(self.lib.miura_session_cache(
            self.handle, ctypes.c_int64(layer), int(is_value), ctypes.byref(data), shape))
        return np.ctypeslib.as_array(data, tuple(shape))

    def set_length(self, row, length):
        self._done(self.lib.miura_session_set_length(
            self.handle, ctypes.c_int64(row), ctypes.c_int64(length)))

    def set_visible(self, row, slot, visible):
        self._done(self.lib.miura_session_set_visible(
            self.handle, ctypes.c_int64(row), ctypes.c_int64(slot), int(visible)))

    def reset(self, row=-1):
        self._done(self.lib.miura_session_reset(self.handle, ctypes.c_int64(row)))

    def close(self):
        self.lib.miura_session_destroy(self.handle)
        self.handle = None
