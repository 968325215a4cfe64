#===- fused_attention.py - Decoders of ONNX Runtime's attentions ---------===//
#
# Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===//
"""Writes decoders of one layer around MultiHeadAttention and Attention of
com.microsoft, with inputs and ONNX Runtime's outputs.

usage: fused_attention.py FOLDER
"""
import os
import sys

import numpy
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

VOCABULARY, WIDTH, HEADS = 32, 24, 3
SIZE = WIDTH // HEADS
rng = numpy.random.default_rng(0)


class Model:
    """A graph under construction: values by name."""

    def __init__(self):
        self.nodes, self.weights = [], []
        self.inputs, self.outputs = [], []

    def weight(self, *shape, scale=0.3):
        name = f"w{len(self.weights)}"
        value = (rng.standard_normal(shape) * scale).astype(numpy.float32)
        self.weights.append(numpy_helper.from_array(value, name))
        return name

    def constant(self, value):
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(numpy.asarray(value), name))
        return name

    def node(self, kind, *inputs, outputs=1, domain="", **attributes):
        names = [f"v{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(
            helper.make_node(kind, inputs, names, name=f"n{len(self.nodes)}",
                             domain=domain, **attributes))
        return names if outputs > 1 else names[0]

    def input(self, name, kind, *shape):
        self.inputs.append(helper.make_tensor_value_info(name, kind, shape))
        return name

    def output(self, value, name, *shape):
        self.nodes.append(helper.make_node("Identity", [value], [name]))
        self.outputs.append(
            helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))

    def logits(self, hidden):
        self.output(self.node("MatMul", hidden, self.weight(WIDTH, VOCABULARY)),
                    "logits", "batch", "sequence", VOCABULARY)

    def save(self, folder, sets):
        """One data set per entry: inputs, and ONNX Runtime's outputs. An input
        that is a function takes the outputs of the set before."""
        os.makedirs(folder)
        graph = helper.make_graph(self.nodes, "g", self.inputs, self.outputs,
                                  self.weights)
        opsets = [helper.make_opsetid("", 18),
                  helper.make_opsetid("com.microsoft", 1)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
        path = os.path.join(folder, "model.onnx")
        onnx.save(model, path)
        session = onnxruntime.InferenceSession(
            path, providers=["CPUExecutionProvider"])
        names = [o.name for o in session.get_outputs()]
        found = {}
        for number, feeds in enumerate(sets):
            feeds = {k: v(found) if callable(v) else v
                     for k, v in feeds.items()}
            found = dict(zip(names, session.run(names, feeds)))
            data = os.path.join(folder, f"test_data_set_{number}")
            os.makedirs(data)
            for kind, values in (("input", {i.name: feeds[i.name]
                                            for i in session.get_inputs()}),
                                 ("output", found)):
                for i, (name, value) in enumerate(values.items()):
                    tensor = numpy_helper.from_array(value, name)
                    with open(os.path.join(data, f"{kind}_{i}.pb"),
                              "wb") as file:
                        file.write(tensor.SerializeToString())


def ids(length):
    return rng.integers(0, VOCABULARY, (2, length))


def multi_head(masked):
    """Keys and values behind a cache; biases inside the node."""
    m = Model()
    tokens = m.input("input_ids", TensorProto.INT64, "batch", "sequence")
    mask = m.input("attention_mask", TensorProto.INT64, "batch",
                   "total") if masked else ""
    pasts = [m.input(f"past.0.{kind}", TensorProto.FLOAT, "batch", HEADS,
                     "past", SIZE) for kind in ("key", "value")]
    x = m.node("Gather", m.weight(VOCABULARY, WIDTH), tokens)
    operands = [m.node("MatMul", x, m.weight(WIDTH, WIDTH)) for _ in range(3)]
    operands.append(m.weight(3 * WIDTH))
    if masked:
        mask = m.node("Cast", mask, to=TensorProto.INT32)
    attended, key, value = m.node(
        "MultiHeadAttention", *operands, mask, "", *pasts, outputs=3,
        domain="com.microsoft", num_heads=HEADS, unidirectional=1)
    m.logits(m.node("Add", x, attended))
    for name, present in (("key", key), ("value", value)):
        m.output(present, f"present.0.{name}", "batch", HEADS, "total", SIZE)
    empty = numpy.zeros((2, HEADS, 0, SIZE), numpy.float32)
    first = {"input_ids": ids(7), "past.0.key": empty, "past.0.value": empty}
    second = {"input_ids": ids(1)}
    for name in ("key", "value"):
        second[f"past.0.{name}"] = lambda f, n=name: f[f"present.0.{n}"]
    if masked:
        first["attention_mask"] = numpy.ones((2, 7), numpy.int64)
        # The first two tokens of the second row are no longer seen.
        second["attention_mask"] = numpy.ones((2, 8), numpy.int64)
        second["attention_mask"][1, :2] = 0
    return m, [first, second]


def attention():
    """Projections inside the node; no cache."""
    m = Model()
    tokens = m.input("input_ids", TensorProto.INT64, "batch", "sequence")
    x = m.node("Gather", m.weight(VOCABULARY, WIDTH), tokens)
    attended = m.node("Attention", x, m.weight(WIDTH, 3 * WIDTH),
                      m.weight(3 * WIDTH), domain="com.microsoft",
                      num_heads=HEADS, unidirectional=1)
    m.logits(m.node("Add", x, attended))
    return m, [{"input_ids": ids(7)}]


root = sys.argv[1]
for name, (model, sets) in {
        "multi-head": multi_head(False),
        "multi-head-masked": multi_head(True),
        "projections": attention(),
}.items():
    model.save(os.path.join(root, name), sets)
