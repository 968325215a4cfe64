#===- make_unknown.py - A model with an operator of nobody's ------------===//
#
# Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===//
"""Writes a decoder's shape with one operator that no schema has.

usage: make_unknown.py FILE.onnx"""
import sys

import numpy
import onnx
from onnx import TensorProto, helper

value = helper.make_tensor_value_info
table = numpy.arange(8 * 4, dtype=numpy.float32).reshape(8, 4)
graph = helper.make_graph(
    [helper.make_node("Gather", ["embed", "input_ids"], ["x"], name="embedding"),
     helper.make_node("Strange", ["x"], ["h"], name="odd_one", domain="elsewhere", degree=3),
     helper.make_node("MatMul", ["h", "head"], ["logits"], name="project")],
    "graph", [value("input_ids", TensorProto.INT64, ["batch", "sequence"])],
    [value("logits", TensorProto.FLOAT, ["batch", "sequence", 8])],
    [onnx.numpy_helper.from_array(table, "embed"), onnx.numpy_helper.from_array(table.T.copy(), "head")],
    value_info=[value("h", TensorProto.FLOAT, ["batch", "sequence", 4])])
onnx.save(helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 18), helper.make_opsetid("elsewhere", 1)]), sys.argv[1])
