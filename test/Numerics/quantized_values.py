#===- quantized_values.py - Weights of random codes ---------------------===//
#
# Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===//
"""Writes models of one quantized product or look-up with random weights and odd
sizes, runs each in ONNX Runtime on the unit matrix (so that the output is the
dequantized weight), and compares what `miura run --reference` gives, which
evaluates the raised expression. Prints the largest error by norm.

usage: quantized_values.py MIURA [SEED]
"""
import os
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto as T
from onnx import helper, numpy_helper

miura = sys.argv[1]
rng = np.random.default_rng(int(sys.argv[2]) if len(sys.argv) > 2 else 0)
count = 0


def tensor(name, type, shape, raw):
    return helper.make_tensor(name, type, shape, raw, raw=True)


def codes(*shape):
    return rng.integers(0, 256, shape, dtype=np.uint8)


def scales(*shape):
    return rng.uniform(0.01, 0.1, shape).astype(np.float32)


def check(title, nodes, initializers, x, output, version=21):
    """x enters the nodes as "x", "y" leaves with the shape `output`."""
    global count
    kind = T.FLOAT if x.dtype == np.float32 else T.INT64
    graph = helper.make_graph(
        nodes, "g",
        [helper.make_tensor_value_info("x", kind, ["m", *x.shape[1:]])],
        [helper.make_tensor_value_info("y", T.FLOAT, ["m", *output])],
        initializers)
    model = helper.make_model(
        graph, ir_version=10,
        opset_imports=[helper.make_opsetid("", version),
                       helper.make_opsetid("com.microsoft", 1)])
    options = ort.SessionOptions()
    options.log_severity_level = 3
    # Optimizers round activations of what they fuse.
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    expected = ort.InferenceSession(
        model.SerializeToString(), options,
        providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]
    with tempfile.TemporaryDirectory() as work:
        path = os.path.join(work, "model.onnx")
        onnx.save(model, path)
        for name, value in ("input_0.pb", x), ("output_0.pb", expected):
            with open(os.path.join(work, name), "wb") as file:
                file.write(numpy_helper.from_array(value).SerializeToString())
        done = subprocess.run(
            [miura, "run", path, "--inputs", work, "--check", "--reference",
             "--rtol", "2e-6", "--quiet", "--json"],
            capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{title}: {done.stdout}{done.stderr}")
    count += 1


# MatMulNBits: K is sometimes no multiple of the block, block counts are odd.
for bits in 2, 4, 8:
    for K, N, block in (16, 3, 16), (20, 5, 16), (172, 7, 32), (176, 33, 16), (200, 9, 128):
        # ONNX Runtime has no kernel of 8 bits with zero points that are floats.
        for zeros in ("none", "packed", "float") if bits < 8 else ("none", "packed"):
            blocks = -(-K // block)
            inputs = ["x", "B", "s"]
            weights = [
                tensor("B", T.UINT8, [N, blocks, block * bits // 8],
                       codes(N, blocks, block * bits // 8).tobytes()),
                tensor("s", T.FLOAT, [N * blocks], scales(N, blocks).tobytes())]
            if zeros == "packed":
                width = -(-blocks * bits // 8)
                weights.append(tensor("z", T.UINT8, [N * width], codes(N, width).tobytes()))
                inputs.append("z")
            elif zeros == "float":
                value = rng.uniform(0, 2**bits - 1, (N * blocks,)).astype(np.float32)
                weights.append(tensor("z", T.FLOAT, [N * blocks], value.tobytes()))
                inputs.append("z")
            node = helper.make_node("MatMulNBits", inputs, ["y"], domain="com.microsoft",
                                    K=K, N=N, bits=bits, block_size=block)
            check(f"MatMulNBits {bits} bits, K {K}, N {N}, block {block}, zeros {zeros}",
                  [node], weights, np.eye(K, dtype=np.float32), [N])

# MatMulBnb4: blocks may straddle rows.
for kind in 0, 1:
    for K, N, block in (64, 3, 16), (172, 6, 64), (48, 5, 32):
        weights = [
            tensor("B", T.UINT8, [K * N // 2], codes(K * N // 2).tobytes()),
            tensor("s", T.FLOAT, [-(-K * N // block)], scales(-(-K * N // block)).tobytes())]
        node = helper.make_node("MatMulBnb4", ["x", "B", "s"], ["y"], domain="com.microsoft",
                                K=K, N=N, block_size=block, quant_type=kind)
        check(f"MatMulBnb4 type {kind}, K {K}, N {N}, block {block}", [node], weights,
              np.eye(K, dtype=np.float32), [N])

# GatherBlockQuantized: uint8 that holds codes, and 4-bit types.
for type, bits in (T.UINT8, 4), (T.UINT8, 8), (T.INT4, 4), (T.UINT4, 4):
    for rows, columns, block in (5, 32, 16), (7, 96, 32), (3, 80, 16):
        for zeros in False, True:
            blocks = -(-columns // block)
            stored = columns * bits // 8 if type == T.UINT8 else columns
            inputs = ["W", "x", "s"]
            weights = [
                tensor("W", type, [rows, stored], codes(rows, columns * bits // 8).tobytes()),
                tensor("s", T.FLOAT, [rows, blocks], scales(rows, blocks).tobytes())]
            if zeros:
                width = -(-blocks * bits // 8)
                shape = [rows, width if type == T.UINT8 else blocks]
                size = rows * width if type == T.UINT8 else -(-rows * blocks // 2)
                weights.append(tensor("z", type, shape, codes(size).tobytes()))
                inputs.append("z")
            attributes = {"bits": bits} if type == T.UINT8 else {}
            node = helper.make_node("GatherBlockQuantized", inputs, ["y"], domain="com.microsoft",
                                    block_size=block, gather_axis=0, quantize_axis=1, **attributes)
            check(f"GatherBlockQuantized {T.DataType.Name(type)} {rows} x {columns}, block {block}",
                  [node], weights, np.arange(rows, dtype=np.int64).reshape(-1, 1), [1, columns])

# DequantizeLinear before MatMul, stored in x out or (through Transpose) out x
# in; per tensor, per channel, in blocks of either axis.
for type, bits in (T.INT2, 2), (T.UINT2, 2), (T.INT4, 4), (T.UINT4, 4), (T.INT8, 8), (T.UINT8, 8):
    for rows, columns in (20, 3), (33, 7), (64, 5):
        for axis, block in (None, 0), (0, 0), (1, 0), (0, 16), (1, 2):
            for zeros in False, True:
                shape = ([] if axis is None else
                         [(rows, columns)[axis]] if block == 0 else
                         [-(-rows // block), columns] if axis == 0 else
                         [rows, -(-columns // block)])
                size = int(np.prod(shape, dtype=int))
                inputs = ["W", "s"]
                weights = [
                    tensor("W", type, [rows, columns],
                           codes(-(-rows * columns * bits // 8)).tobytes()),
                    tensor("s", T.FLOAT, shape, scales(size).tobytes())]
                if zeros:
                    weights.append(tensor("z", type, shape, codes(-(-size * bits // 8)).tobytes()))
                    inputs.append("z")
                attributes = {} if axis is None else {"axis": axis}
                if block:
                    attributes["block_size"] = block
                nodes = [helper.make_node("DequantizeLinear", inputs, ["d"], **attributes)]
                transposed = rng.integers(2) == 1
                if transposed:
                    nodes.append(helper.make_node("Transpose", ["d"], ["t"], perm=[1, 0]))
                nodes.append(helper.make_node("MatMul", ["x", "t" if transposed else "d"], ["y"]))
                inner, outer = (columns, rows) if transposed else (rows, columns)
                check(f"DequantizeLinear {T.DataType.Name(type)} {rows} x {columns}, axis {axis}, block {block}",
                      nodes, weights, np.eye(inner, dtype=np.float32), [outer], 25 if bits == 2 else 21)

print(f"{count} weights equal")
