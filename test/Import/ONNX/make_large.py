#===- make_large.py - An ONNX file over 4 GiB, nearly all of it a hole ---===//
#
# Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===//
"""Writes a model whose two initializers of 2.25 GiB each lie in the file itself,
byte by byte, as protobuf refuses to. The data are holes of a sparse file, but
for the last element of the second.

usage: make_large.py FILE
"""
import struct
import sys

ROWS, COLUMNS = 147456, 4096  # f32


def varint(value):
    out = b""
    while value >= 0x80:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def head(number, length):
    return varint(number << 3 | 2) + varint(length)


def field(number, content):
    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    if isinstance(content, str):
        content = content.encode()
    return head(number, len(content)) + content


def value(name, dims):
    shape = b"".join(field(1, field(1, d)) for d in dims)
    return field(1, name) + field(2, field(1, field(1, 1) + field(2, shape)))


size = ROWS * COLUMNS * 4
parts = []  # bytes, or the length of a hole
tensors = 0
for name in ("a", "b"):
    start = (field(1, ROWS) + field(1, COLUMNS) + field(2, 1) + field(8, name) +
             head(9, size))
    parts += [head(5, len(start) + size) + start, size]
    tensors += len(parts[-2]) + size
rest = (field(1, field(1, "a") + field(1, "b") + field(2, "c") +
              field(4, "Add") + field(3, "add")) +
        field(2, "large") + field(12, value("c", [ROWS, COLUMNS])))
with open(sys.argv[1], "wb") as file:
    file.write(field(1, 10) + field(8, field(1, "") + field(2, 18)) +
               head(7, tensors + len(rest)))
    for part in parts:
        if isinstance(part, int):
            file.seek(part, 1)
        else:
            file.write(part)
    file.seek(-4, 1)
    file.write(struct.pack("<f", 1.5))
    file.write(rest)
