#===- make_broken.py - Small files, each with one fault ------------------===//
#
# Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===//
"""Writes KIND.onnx into FOLDER for every kind, and an input for all of them.

usage: make_broken.py FOLDER"""
import sys

import numpy as np
from onnx import TensorProto, helper, numpy_helper

folder = sys.argv[1]


def save(name, nodes, weights, opset=18):
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 8])],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
                              [numpy_helper.from_array(w, n) for n, w in weights.items()])
    model = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", opset)])
    with open(f"{folder}/{name}.onnx", "wb") as file:
        file.write(model.SerializeToString())


product = [helper.make_node("MatMul", ["x", "w"], ["y"], name="product")]
save("opset", product, {"w": np.ones((8, 8), np.float32)}, opset=0)
fill = [helper.make_node("ConstantOfShape", ["s"], ["c"]), helper.make_node("Add", ["c", "c"], ["y"])]
save("memory", fill, {"s": np.array([1 << 40, 1 << 20])})
np.save(f"{folder}/input_0.npy", np.ones((2, 8), np.float32))
