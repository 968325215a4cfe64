#===- bad_arguments.py - What Python's wrapper does not take ------------===//
#
# Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===//
"""Prints the error of one wrong call after the other.

usage: bad_arguments.py LIBRARY"""
import sys

from miura import Artifact, ArtifactError

path = sys.argv[1]


def attempt(name, function):
    try:
        print(f"{name}: {function()}")
    except ArtifactError as error:
        print(f"{name}: {error}")


attempt("foreign", lambda: Artifact(next(line.split()[-1] for line in open("/proc/self/maps") if "libm.so.6" in line)))
attempt("missing", lambda: Artifact(path + ".none"))
attempt("many threads", lambda: Artifact(path, threads=100000))
attempt("negative threads", lambda: Artifact(path, threads=-1))
model = Artifact(path, threads=1)
session = model.session(batch=1, capacity=8)
attempt("one dimension", lambda: session.step([1, 2]))
attempt("floats", lambda: session.step([[1.5]]))
attempt("rows", lambda: session.step([[1], [2]]))
attempt("ragged", lambda: session.step([[1], [2, 3]]))
attempt("large", lambda: session.step([[2**64]]))
attempt("vocabulary", lambda: session.step([[256]]))
attempt("positions", lambda: session.step([[1, 2]], positions=[[0]]))
attempt("mask", lambda: session.step([[1, 2]], mask=[[1, 256]]))
attempt("capacity", lambda: model.session(1, 1.5))
attempt("layer", lambda: session.cache(99, 0))
attempt("fine", lambda: session.step([[1, 2]]).shape)
session.close()
attempt("closed session", lambda: session.step([[1]]))
model.close()
attempt("closed model", lambda: model.session())
