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
import operator
from pathlib import Path

import numpy as np


# As the command line has it.
_MOST_THREADS = 4096


class ArtifactError(RuntimeError):
    """What miura_error() said, or what is wrong with an argument."""


# What is called here, by what it returns.
_FUNCTIONS = {
    ctypes.c_void_p: ("miura_open", "miura_session_create", "miura_model_get_info"),
    ctypes.c_char_p: ("miura_error",),
    ctypes.c_int64: ("miura_session_length", "miura_session_capacity"),
    ctypes.c_int: ("miura_session_step_masked", "miura_session_cache",
                   "miura_session_set_length", "miura_session_set_visible",
                   "miura_session_reset"),
    None: ("miura_close", "miura_session_destroy"),
}


class _Info(ctypes.Structure):
    # The head of miura_model_info.
    _fields_ = [(name, ctypes.c_int64) for name in
                ("vocabulary", "layers", "context", "kernels", "weight_bytes")]


def _pointer(name, array, shape, dtype, ctype):
    """A pointer to `array` as `dtype`, and what keeps it alive. It must be of
    `shape`, in which None is any size, and hold whole numbers that fit."""
    if array is None:
        return None, None
    try:
        given = np.asarray(array)
    except ValueError as error:
        raise ArtifactError(f"{name} should be an array: {error}") from None
    if given.ndim != len(shape) or any(b not in (None, a) for a, b in zip(given.shape, shape)):
        wanted = ", ".join("n" if size is None else str(size) for size in shape)
        raise ArtifactError(f"{name} should have the shape [{wanted}], but has {list(given.shape)}")
    if given.dtype.kind not in "biu":
        raise ArtifactError(f"{name} should be integers, but are {given.dtype}")
    array = np.ascontiguousarray(given, dtype)
    if not np.array_equal(array, given):
        raise ArtifactError(f"{name} should fit {np.dtype(dtype)}")
    return array.ctypes.data_as(ctypes.POINTER(ctype)), array


def _whole(name, value, least=None):
    """`value` as an int64; a float is not rounded in silence."""
    try:
        value = operator.index(value)
    except TypeError:
        raise ArtifactError(f"{name} should be an integer, but is {value!r}") from None
    if least is not None and value < least or not -2**63 <= value < 2**63:
        raise ArtifactError(f"{name} is out of range: {value}")
    return ctypes.c_int64(value)


class Artifact:
    """A library with its weights mapped and its threads running: `threads` of
    them, or as many as the process may run on where it is 0."""

    def __init__(self, path, threads=0):
        self.model = None
        path = Path(path).resolve()
        threads = _whole("threads", threads, 0).value
        if threads > _MOST_THREADS:
            raise ArtifactError(f"threads is {threads}; at most {_MOST_THREADS} make sense")
        try:
            self.lib = ctypes.CDLL(str(path))
        except OSError as error:
            raise ArtifactError(f"{path}: {error}") from None
        for restype, names in _FUNCTIONS.items():
            for name in names:
                try:
                    getattr(self.lib, name).restype = restype
                except AttributeError:
                    raise ArtifactError(
                        f"{path}: is not a compiled model: it has no function "
                        f"{name} (write one with miura compile)") from None
        self.model = ctypes.c_void_p(self._check(self.lib.miura_open(None, threads)))
        self.info = _Info.from_address(self.lib.miura_model_get_info(self.model))

    def _check(self, value, ok=bool):
        if not ok(value):
            raise ArtifactError(self.lib.miura_error().decode())
        return value

    def session(self, batch=1, capacity=1024):
        """A batch of sequences of at most `capacity` tokens."""
        if not self.model:
            raise ArtifactError("the model is closed")
        return Session(self, batch, capacity)

    def close(self):
        """Frees the model; its sessions must be closed before."""
        if self.model:
            self.lib.miura_close(self.model)
        self.model = None


class Session:
    def __init__(self, artifact, batch, capacity):
        self.artifact, self.lib, self.batch = artifact, artifact.lib, batch
        self.handle = ctypes.c_void_p(artifact._check(self.lib.miura_session_create(
            artifact.model, _whole("batch", batch), _whole("capacity", capacity))))

    def _call(self, function, *arguments):
        if not self.handle:
            raise ArtifactError("the session is closed")
        self.artifact._check(getattr(self.lib, function)(self.handle, *arguments),
                             lambda code: code == 0)

    def step(self, tokens, positions=None, mask=None, all_positions=False):
        """Appends `tokens` [batch, n]. The logits, [batch, vocabulary] or with
        `all_positions` [batch, n, vocabulary], are the session's and valid
        until its next step. `positions` and `mask` are [batch, n] too."""
        tokens, kept = _pointer("tokens", tokens, (self.batch, None), np.int64, ctypes.c_int64)
        if kept is None:
            raise ArtifactError("tokens are missing")
        batch, n = kept.shape
        positions, _1 = _pointer("positions", positions, (batch, n), np.int64, ctypes.c_int64)
        mask, _2 = _pointer("mask", mask, (batch, n), np.uint8, ctypes.c_uint8)
        out = ctypes.POINTER(ctypes.c_float)()
        self._call("miura_session_step_masked", tokens, positions, mask,
                   ctypes.c_int64(n), None, int(all_positions), ctypes.byref(out))
        vocabulary = self.artifact.info.vocabulary
        shape = (batch, n, vocabulary) if all_positions else (batch, vocabulary)
        return np.ctypeslib.as_array(out, shape)

    def cache(self, layer, is_value):
        """Keys or values of a layer in place, [batch, heads, capacity, size]."""
        data, shape = ctypes.POINTER(ctypes.c_float)(), (ctypes.c_int64 * 4)()
        self._call("miura_session_cache", _whole("layer", layer), int(is_value),
                   ctypes.byref(data), shape)
        return np.ctypeslib.as_array(data, tuple(shape))

    def set_length(self, row, length):
        self._call("miura_session_set_length", _whole("row", row), _whole("length", length))

    def set_visible(self, row, slot, visible):
        self._call("miura_session_set_visible", _whole("row", row), _whole("slot", slot),
                   int(visible))

    def reset(self, row=-1):
        self._call("miura_session_reset", _whole("row", row))

    def close(self):
        if self.handle:
            self.lib.miura_session_destroy(self.handle)
        self.handle = None
