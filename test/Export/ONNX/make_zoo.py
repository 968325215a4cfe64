#===- make_zoo.py - Models with every construct of onnx.proto -----------===//
#
# Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===//
"""Writes FOLDER/NAME/model.onnx for constructs that real files rarely have, so
that import and export of each is tested: kinds of attributes and types, fields
of tensors, metadata at every place, operators that nobody knows.

usage: make_zoo.py FOLDER
"""
import os
import sys

import numpy
import onnx
from onnx import AttributeProto, TensorProto, helper

root = sys.argv[1]
random = numpy.random.default_rng(7)


def save(name, model):
    os.makedirs(os.path.join(root, name), exist_ok=True)
    with open(os.path.join(root, name, "model.onnx"), "wb") as file:
        file.write(model.SerializeToString())


def value(name, shape=("n",), dtype=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, dtype, shape)


def model(nodes, initializers=(), inputs=None, outputs=None, functions=(),
          **keywords):
    graph = helper.make_graph(list(nodes), "graph", inputs or [value("x")],
                              outputs or [value("y")], list(initializers))
    return helper.make_model(
        graph, functions=list(functions), ir_version=11, opset_imports=[
            helper.make_opsetid("", 23), helper.make_opsetid("nobody", 3)],
        **keywords)


relu = helper.make_node("Relu", ["x"], ["y"])

# Every element type, small (in the IR) and large (in the file), with an odd
# last dimension where elements share bytes.
BITS = {"FLOAT": 32, "UINT8": 8, "INT8": 8, "UINT16": 16, "INT16": 16,
        "INT32": 32, "INT64": 64, "BOOL": 8, "FLOAT16": 16, "DOUBLE": 64,
        "UINT32": 32, "UINT64": 64, "COMPLEX64": 64, "COMPLEX128": 128,
        "BFLOAT16": 16, "FLOAT8E4M3FN": 8, "FLOAT8E4M3FNUZ": 8,
        "FLOAT8E5M2": 8, "FLOAT8E5M2FNUZ": 8, "UINT4": 4, "INT4": 4,
        "FLOAT4E2M1": 4, "FLOAT8E8M0": 8, "UINT2": 2, "INT2": 2}
tensors = []
for name, bits in BITS.items():
    for dims in ((), (0, 3), (3, 5), (97, 201)):
        count = int(numpy.prod(dims))
        size = (count * bits + 7) // 8
        data = bytearray(random.integers(0, 256, size, dtype=numpy.uint8))
        if name == "BOOL":
            data = bytearray(b & 1 for b in data)
        if count * bits % 8:
            data[-1] &= (1 << count * bits % 8) - 1  # padding is zero
        tensors.append(TensorProto(
            name="%s_%d" % (name, count), dims=dims,
            data_type=TensorProto.DataType.Value(name), raw_data=bytes(data)))
save("types-raw", model([relu], tensors))


# The other fields.
def typed(name, dtype, field, numbers, dims=None):
    t = TensorProto(name=name, data_type=dtype,
                    dims=dims or [len(numbers)])
    getattr(t, field).extend(numbers)
    return t


T = TensorProto
fields = []
for suffix, n in (("small", 7), ("large", 5001)):
    ints = [int(v) for v in random.integers(-100, 100, n)]
    words = [int(v) for v in random.integers(0, 1 << 15, n)]
    floats = [float(v) for v in random.standard_normal(2 * n).astype("f4")]
    fields += [
        typed("float_" + suffix, T.FLOAT, "float_data", floats[:n]),
        typed("complex_" + suffix, T.COMPLEX64, "float_data", floats, [n]),
        typed("double_" + suffix, T.DOUBLE, "double_data", floats[:n]),
        typed("int64_" + suffix, T.INT64, "int64_data", ints),
        typed("int32_" + suffix, T.INT32, "int32_data", ints),
        typed("int16_" + suffix, T.INT16, "int32_data", ints),
        typed("int8_" + suffix, T.INT8, "int32_data", ints),
        typed("uint8_" + suffix, T.UINT8, "int32_data",
              [w & 255 for w in words]),
        typed("bool_" + suffix, T.BOOL, "int32_data", [w & 1 for w in words]),
        typed("f16_" + suffix, T.FLOAT16, "int32_data", words),
        typed("bf16_" + suffix, T.BFLOAT16, "int32_data", words),
        typed("uint32_" + suffix, T.UINT32, "uint64_data", words),
        typed("uint64_" + suffix, T.UINT64, "uint64_data",
              [w << 40 for w in words]),
        typed("int4_" + suffix, T.INT4, "int32_data",
              [w & 255 for w in words], [2 * n]),
        typed("string_" + suffix, T.STRING, "string_data",
              [b"a\xff\n\"%d" % i for i in range(n)]),
    ]
save("types-fields", model([relu], fields))

# Numbers that text could lose.
special = numpy.array([0x7FC00001, 0xFFC12345, 0x7F800000, 0xFF800000,
                       0x80000000, 0x00000001, 0x3F800001], numpy.uint32)
save("special-floats", model([relu], [TensorProto(
    name="w", dims=[7], data_type=T.FLOAT, raw_data=special.tobytes())]))

# Attributes of every kind on an operator that nobody knows.
small = TensorProto(name="t", dims=[2], data_type=T.FLOAT, doc_string="doc",
                    raw_data=bytes(8))
big = TensorProto(dims=[50, 50], data_type=T.FLOAT, raw_data=random.bytes(10000))
sparse = onnx.SparseTensorProto(
    dims=[10, 10],
    values=TensorProto(name="v", dims=[2], data_type=T.FLOAT,
                       float_data=[1, 2]),
    indices=TensorProto(dims=[2], data_type=T.INT64, int64_data=[3, 50]))
body = helper.make_graph([helper.make_node("Add", ["x", "c"], ["z"])], "body",
                         [], [value("z")],
                         [TensorProto(name="c", dims=[1], data_type=T.FLOAT,
                                      float_data=[2])])
odd = helper.make_node("Odd", ["x", "", "x", ""], ["y", "", "u", ""],
                       name="odd one", domain="nobody", doc_string="docs",
                       overload="v2")
odd.attribute.extend([
    AttributeProto(name="z", type=AttributeProto.FLOAT, f=0.1),
    AttributeProto(name="i", type=AttributeProto.INT, i=-(1 << 63)),
    AttributeProto(name="s", type=AttributeProto.STRING, s=b"\x00\xffa\""),
    AttributeProto(name="t", type=AttributeProto.TENSOR, t=small),
    AttributeProto(name="T", type=AttributeProto.TENSOR, t=big),
    AttributeProto(name="g", type=AttributeProto.GRAPH, g=body),
    AttributeProto(name="sparse", type=AttributeProto.SPARSE_TENSOR,
                   sparse_tensor=sparse),
    AttributeProto(name="fs", type=AttributeProto.FLOATS, floats=[1, .1, -0.0]),
    AttributeProto(name="is", type=AttributeProto.INTS, ints=[1, -2, 3]),
    AttributeProto(name="ss", type=AttributeProto.STRINGS, strings=[b"a", b""]),
    AttributeProto(name="ts", type=AttributeProto.TENSORS, tensors=[small, big]),
    AttributeProto(name="gs", type=AttributeProto.GRAPHS, graphs=[body, body]),
    AttributeProto(name="sps", type=AttributeProto.SPARSE_TENSORS,
                   sparse_tensors=[sparse]),
    AttributeProto(name="tp", type=AttributeProto.TYPE_PROTO,
                   tp=helper.make_sequence_type_proto(
                       helper.make_tensor_type_proto(T.INT64, ["a", 2]))),
    AttributeProto(name="tps", type=AttributeProto.TYPE_PROTOS, type_protos=[
        helper.make_optional_type_proto(
            helper.make_tensor_type_proto(T.STRING, None))]),
    AttributeProto(name="none-f", type=AttributeProto.FLOATS),
    AttributeProto(name="none-i", type=AttributeProto.INTS),
    AttributeProto(name="none-s", type=AttributeProto.STRINGS),
    AttributeProto(name="none-t", type=AttributeProto.TENSORS),
    AttributeProto(name="none-g", type=AttributeProto.GRAPHS),
    AttributeProto(name="documented", type=AttributeProto.INT, i=0,
                   doc_string="of the attribute"),
])
save("attributes", model([odd]))

# Types of values beside tensors, and types that say little.
sequence = onnx.ValueInfoProto(
    name="s", type=helper.make_sequence_type_proto(
        helper.make_tensor_type_proto(T.FLOAT, ["a", None, 3])))
optional = onnx.ValueInfoProto(
    name="o", type=helper.make_optional_type_proto(
        helper.make_sequence_type_proto(
            helper.make_tensor_type_proto(T.INT64, None))))
mapping = onnx.ValueInfoProto(
    name="m", type=helper.make_map_type_proto(
        T.STRING, helper.make_tensor_type_proto(T.FLOAT, [])))
sparse_value = onnx.ValueInfoProto(
    name="p", type=helper.make_sparse_tensor_type_proto(T.FLOAT, [2, "k"]))
opaque = onnx.ValueInfoProto(name="q")
opaque.type.opaque_type.domain = "d"
opaque.type.opaque_type.name = "n"
untyped = onnx.ValueInfoProto(name="y")
denoted = value("x", ["n", 3])
denoted.type.denotation = "IMAGE"
denoted.type.tensor_type.shape.dim[0].denotation = "BATCH"
save("value-types", model(
    [helper.make_node("Odd", ["x", "s", "o", "m", "p", "q"], ["y"],
                      domain="nobody")],
    inputs=[denoted, sequence, optional, mapping, sparse_value, opaque],
    outputs=[untyped]))

# Inputs with defaults; outputs that are inputs, initializers, or named twice.
w = TensorProto(name="w", dims=[1], data_type=T.FLOAT, float_data=[3],
                doc_string="a default")
large = TensorProto(name="v", dims=[2000], data_type=T.FLOAT,
                    raw_data=random.bytes(8000))
save("defaults", model(
    [relu], [large, w], inputs=[value("w", [1]), value("x"), value("v", [2000])],
    outputs=[value("y"), value("x"), value("w", [1]), value("y", ["m"])]))

# Sparse initializers.
m = model([helper.make_node("Add", ["x", "sp"], ["y"])])
kept = m.graph.sparse_initializer.add()
kept.CopyFrom(sparse)
kept.values.name = "sp"
save("sparse", m)

# Nested control flow that sees outer values, with names used twice.
def branch(name):
    inner = helper.make_graph(
        [helper.make_node("Mul", ["x", "local"], ["r"], doc_string=name)],
        name, [], [value("r")],
        [TensorProto(name="local", dims=[1], data_type=T.FLOAT,
                     float_data=[1.5]),
         TensorProto(name="large", dims=[3000], data_type=T.FLOAT,
                     raw_data=random.bytes(12000))],
        value_info=[value("stale")])
    inner.metadata_props.add(key="k", value=name)
    return inner

nested = helper.make_graph(
    [helper.make_node("If", ["c"], ["r"], then_branch=branch("t"),
                      else_branch=branch("e"))], "outer", [], [value("r")])
save("control-flow", model(
    [helper.make_node("If", ["c"], ["y"], then_branch=nested,
                      else_branch=branch("other"))],
    inputs=[value("x"), value("c", [], T.BOOL)]))

# Functions with attributes, defaults, references and their own versions.
inner_node = helper.make_node("LeakyRelu", ["a"], ["b"])
reference = inner_node.attribute.add(name="alpha", type=AttributeProto.FLOAT)
reference.ref_attr_name = "slope"
function = helper.make_function(
    "nobody", "Leaky", ["a"], ["b"], [inner_node],
    [helper.make_opsetid("", 18)], attributes=["other"],
    attribute_protos=[helper.make_attribute("slope", 0.25)],
    value_info=[value("b")], doc_string="a function")
function.metadata_props.add(key="k", value="v")
overloaded = onnx.FunctionProto()
overloaded.CopyFrom(function)
overloaded.overload = "two"
save("functions", model(
    [helper.make_node("Leaky", ["x"], ["h"], domain="nobody", slope=0.5),
     helper.make_node("Leaky", ["h"], ["y"], domain="nobody", overload="two")],
    functions=[function, overloaded]))

# Metadata at every place.
m = model([relu, helper.make_node("Relu", ["y"], ["z"], name="named")],
          [small], producer_name="p", producer_version="1", domain="d",
          model_version=7, doc_string="model\n\x01")
m.graph.doc_string = "graph"
for owner in (m, m.graph, m.graph.node[0], m.graph.initializer[0],
              m.graph.input[0], m.graph.output[0]):
    owner.metadata_props.add(key="key", value="value \u00e9")
m.graph.node[1].doc_string = "node"
m.graph.value_info.append(value("z"))
m.graph.value_info.append(value("nowhere"))
m.graph.value_info[0].doc_string = "value"
annotation = m.graph.quantization_annotation.add(tensor_name="x")
annotation.quant_parameter_tensor_names.add(key="SCALE_TENSOR", value="t")
training = m.training_info.add()
training.algorithm.CopyFrom(body)
m.configuration.add(name="c", num_devices=2)
m.graph.node[0].device_configurations.add(configuration_id="c")
save("metadata", m)

# External data: small and large, entries missing or more than usual, gaps.
os.makedirs(os.path.join(root, "external", "deep"), exist_ok=True)
with open(os.path.join(root, "external", "deep", "w.bin"), "wb") as file:
    file.write(random.bytes(20000))
with open(os.path.join(root, "external", "whole.bin"), "wb") as file:
    file.write(random.bytes(8000))


def external(name, count, **entries):
    t = TensorProto(name=name, dims=[count], data_type=T.FLOAT,
                    data_location=T.EXTERNAL)
    for key, entry in entries.items():
        t.external_data.add(key=key, value=str(entry))
    return t


save("external", model([relu], [
    external("a", 10, location="deep/w.bin", offset=64, length=40),
    external("b", 2000, location="deep/w.bin", offset=4096, length=8000),
    external("c", 2000, location="whole.bin"),
    external("d", 100, location="deep/w.bin", offset=16000, length=400,
             checksum="00ff")]))
