#===- make_bad.py - Small ONNX files that are wrong in one way ----------===//
#
# Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===//
"""Writes FOLDER/NAME.onnx for every case below. Each takes the same valid model
and spoils one thing; `valid.onnx` is the model itself.

usage: make_bad.py FOLDER
"""
import os
import sys

import numpy
import onnx
from onnx import TensorProto, helper

folder = sys.argv[1]
os.makedirs(folder, exist_ok=True)


def path(name):
    return os.path.join(folder, name)


def tensor(name, shape=(2, 3)):
    data = numpy.arange(numpy.prod(shape), dtype=numpy.float32).reshape(shape)
    return onnx.numpy_helper.from_array(data, name)


def make(nodes=None, inputs=None, outputs=None, initializers=None, opsets=None):
    """y = relu(x + w)"""
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes if nodes is not None else [
            helper.make_node("Add", ["x", "w"], ["sum"], name="add"),
            helper.make_node("Relu", ["sum"], ["y"], name="relu")],
        "graph",
        inputs or [value("x", TensorProto.FLOAT, ["n", 3])],
        outputs or [value("y", TensorProto.FLOAT, ["n", 3])],
        initializers if initializers is not None else [tensor("w", (3,))])
    return helper.make_model(
        graph, opset_imports=opsets or [helper.make_opsetid("", 18)],
        ir_version=10)


def save(name, model):
    data = model if isinstance(model, bytes) else model.SerializeToString()
    with open(path(name + ".onnx"), "wb") as file:
        file.write(data)


def external(name, **entries):
    """An initializer whose data is elsewhere."""
    t = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[64, 64],
                    data_location=TensorProto.EXTERNAL)
    for key, value in entries.items():
        t.external_data.add(key=key, value=str(value))
    node = helper.make_node("MatMul", ["x", "w"], ["y"], name="mul")
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 64])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 64])
    save(name, make([node], [x], [y], [t]))


# Files that are no models.
valid = make().SerializeToString()
save("valid", valid)
save("empty", b"")
large = make([helper.make_node("MatMul", ["x", "w"], ["y"], name="mul")],
             initializers=[tensor("w", (3, 1000))]).SerializeToString()
save("truncated", large[:5000])
save("magic", b"This is no model at all, but text.\n" * 10)
save("zip", b"PK\x03\x04" + bytes(100))
save("lfs", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
save("garbage", valid[:20] + b"\xff" * 60 + valid[80:])
save("no-graph", onnx.ModelProto(ir_version=10))
no_version = make()
no_version.ClearField("ir_version")
save("no-version", no_version)

# Names.
add = helper.make_node("Add", ["x", "w"], ["y"], name="add")
save("dangling", make([helper.make_node("Add", ["x", "nowhere"], ["y"],
                                        name="add")]))
save("cyclic", make([
    helper.make_node("Add", ["x", "b"], ["a"], name="first"),
    helper.make_node("Relu", ["a"], ["b"], name="second"),
    helper.make_node("Relu", ["b"], ["y"], name="third")]))
save("unsorted", make([
    helper.make_node("Relu", ["sum"], ["y"], name="relu"),
    helper.make_node("Add", ["x", "w"], ["sum"], name="add")]))
save("duplicate", make([add, helper.make_node("Relu", ["x"], ["y"],
                                              name="again")]))
save("duplicate-initializer", make([add], initializers=[tensor("w", (3,)),
                                                        tensor("w", (3,))]))
save("no-output", make([helper.make_node("Relu", ["x"], ["z"], name="relu")]))
save("no-domain", make([helper.make_node("Strange", ["x"], ["y"], name="odd",
                                         domain="elsewhere")]))
save("no-operator", make([onnx.NodeProto(name="none", input=["x"],
                                         output=["y"])]))

# Types and dimensions.
bad = tensor("w", (3,))
bad.data_type = 99
save("data-type", make([add], initializers=[bad]))
bad = tensor("w", (3,))
bad.dims[0] = -3
save("negative-dim", make([add], initializers=[bad]))
bad = tensor("w", (3,))
del bad.dims[:]
bad.dims.extend([1 << 40, 1 << 40])
save("huge-dim", make([add], initializers=[bad]))
x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [-7, 3])
save("negative-input", make(inputs=[x]))
x = helper.make_tensor_value_info("x", 99, ["n", 3])
save("input-type", make(inputs=[x]))
bad = tensor("w", (3,))
bad.dims[0] = 5
save("short-data", make([add], initializers=[bad]))
bad = tensor("w", (3,))
bad.float_data.extend([1, 2, 3])
save("two-fields", make([add], initializers=[bad]))
untyped = helper.make_node("Relu", ["x"], ["y"], name="relu")
untyped.attribute.add(name="alpha")
save("attribute-type", make([untyped]))
twice = helper.make_node("LeakyRelu", ["x"], ["y"], name="leaky", alpha=0.5)
twice.attribute.add().CopyFrom(twice.attribute[0])
save("attribute-twice", make([twice]))

# External data.
with open(path("weights.bin"), "wb") as file:
    file.write(bytes(64 * 64 * 4))
with open(path("short.bin"), "wb") as file:
    file.write(bytes(100))
external("external", location="weights.bin", offset=0, length=16384)
external("external-missing", location="nothing.bin", offset=0, length=16384)
external("external-short", location="short.bin", offset=0, length=16384)
external("external-behind", location="weights.bin", offset=16000, length=16384)
external("external-negative", location="weights.bin", offset=-4, length=16384)
external("external-overflow", location="weights.bin",
         offset=(1 << 63) - 1, length=16384)
external("external-huge", location="weights.bin", offset=10 ** 30)
external("external-length", location="weights.bin", offset=0, length=100)
external("external-escape", location="../weights.bin")
external("external-absolute", location="/etc/passwd")
external("external-nowhere", offset=0)
if not os.path.lexists(path("link.bin")):
    os.symlink("/etc/passwd", path("link.bin"))
external("external-link", location="link.bin")


# Nesting, written byte by byte: protobuf itself refuses to write it.
def varint(value):
    out = b""
    while value >= 0x80:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def field(number, content):
    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    if isinstance(content, str):
        content = content.encode()
    return varint(number << 3 | 2) + varint(len(content)) + content


def model_of(graph):
    return (field(1, 10) + field(8, field(1, "") + field(2, 18)) +
            field(7, graph))


graph = field(2, "innermost")
for depth in range(100):
    attribute = field(1, "then_branch") + field(20, 5) + field(6, graph)
    node = (field(1, "c") + field(2, "v%d" % depth) + field(4, "If") +
            field(5, attribute))
    graph = field(1, node) + field(2, "g%d" % depth)
save("deep-graphs", model_of(graph))
element = field(1, field(1, 1))
for depth in range(200):
    element = field(4, field(1, element))
save("deep-types", model_of(field(2, "g") + field(
    11, field(1, "x") + field(2, element))))
element = field(1, field(1, 1))
for depth in range(20000):
    element = field(4, field(1, element))
save("deeper-types", model_of(field(2, "g") + field(
    11, field(1, "x") + field(2, element))))
