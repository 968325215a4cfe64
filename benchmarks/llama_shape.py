#!/usr/bin/env python3
"""Writes a LLaMA-type decoder of any shape as ONNX with random weights and external data.

    benchmarks/llama_shape.py OUT [--layers 22 --hidden 2048 --heads 32 --kv-heads 4 --intermediate 5632 --vocab 32000]

The default is the shape of a 1.1-billion-parameter model: 4.4 GB of fp32 in OUT/model.onnx.data. The file has no cache; it takes input_ids,
attention_mask and position_ids, each [batch, sequence], and gives logits. For sizes, times and memory: random weights say nothing about quality.
Needs numpy and onnx. The same --seed gives the same bytes."""
import argparse
from pathlib import Path

from environment import need

need("numpy", "onnx")

import numpy as np
import onnx
from onnx import TensorProto, helper

OPSET = 18
BLOCK = 1 << 22  # random values made at once


class Graph:
    """Collects nodes and initializers; large tensors go straight to the data file."""

    def __init__(self, data, seed):
        self.nodes, self.initializers, self.data, self.offset = [], [], data, 0
        self.random = np.random.default_rng(seed)
        self.count = 0

    def op(self, kind, *inputs, name=None, **attributes):
        self.count += 1
        out = name or f"v{self.count}"
        self.nodes.append(helper.make_node(kind, list(inputs), [out], name=f"node_{out}", **attributes))
        return out

    def constant(self, value, dtype):
        self.count += 1
        array = np.asarray(value, dtype)
        tensor = onnx.numpy_helper.from_array(array, f"c{self.count}")
        self.initializers.append(tensor)
        return tensor.name

    def ints(self, *values):
        return self.constant(list(values), np.int64)

    def weight(self, name, *shape, std=0.02):
        size = int(np.prod(shape))
        tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=shape, data_location=TensorProto.EXTERNAL)
        padding = -self.offset % 4096
        self.data.write(b"\0" * padding)
        self.offset += padding
        for key, value in (("location", "model.onnx.data"), ("offset", self.offset), ("length", size * 4)):
            tensor.external_data.add(key=key, value=str(value))
        for start in range(0, size, BLOCK):
            values = self.random.standard_normal(min(BLOCK, size - start), np.float32)
            self.data.write((values * np.float32(std)).tobytes())
        self.offset += size * 4
        self.initializers.append(tensor)
        return name


def rms_norm(g, x, name, size):
    scale = onnx.numpy_helper.from_array(np.ones(size, np.float32), name)
    g.initializers.append(scale)
    mean = g.op("ReduceMean", g.op("Mul", x, x), g.ints(-1), keepdims=1)
    root = g.op("Sqrt", g.op("Add", mean, g.constant(1e-5, np.float32)))
    return g.op("Mul", g.op("Div", x, root), name)


def rotate(g, x, cos, sin, size):
    low = g.op("Slice", x, g.ints(0), g.ints(size // 2), g.ints(3))
    high = g.op("Slice", x, g.ints(size // 2), g.ints(size), g.ints(3))
    turned = g.op("Concat", g.op("Neg", high), low, axis=-1)
    return g.op("Add", g.op("Mul", x, cos), g.op("Mul", turned, sin))


def heads(g, x, count, size):
    return g.op("Transpose", g.op("Reshape", x, g.ints(0, 0, count, size)), perm=[0, 2, 1, 3])


def repeat(g, x, groups, kv_heads, size, shape):
    """[b, kv, t, d] as [b, kv * groups, t, d]."""
    if groups == 1:
        return x
    batch, length = shape
    wide = g.op("Concat", batch, g.ints(kv_heads, groups), length, g.ints(size), axis=0)
    flat = g.op("Concat", batch, g.ints(kv_heads * groups), length, g.ints(size), axis=0)
    return g.op("Reshape", g.op("Expand", g.op("Unsqueeze", x, g.ints(2)), wide), flat)


def build(a, data):
    g = Graph(data, a.seed)
    size, groups = a.hidden // a.heads, a.heads // a.kv_heads
    batch = g.op("Shape", "input_ids", start=0, end=1)
    length = g.op("Shape", "input_ids", start=1, end=2)

    # mask[b, 0, i, j] = j <= i and attention_mask[b, j]
    scalar = g.op("Squeeze", length)
    index = g.op("Range", g.constant(0, np.int64), scalar, g.constant(1, np.int64))
    causal = g.op("LessOrEqual", g.op("Unsqueeze", index, g.ints(0)), g.op("Unsqueeze", index, g.ints(1)))
    seen = g.op("Cast", g.op("Unsqueeze", "attention_mask", g.ints(1, 2)), to=TensorProto.BOOL)
    mask = g.op("Where", g.op("And", seen, causal), g.constant(0, np.float32), g.constant(-np.inf, np.float32))

    frequency = g.constant(a.theta ** (-np.arange(0, size, 2) / size), np.float32)
    angle = g.op("Mul", g.op("Cast", g.op("Unsqueeze", "position_ids", g.ints(2)), to=TensorProto.FLOAT), frequency)
    angle = g.op("Concat", angle, angle, axis=-1)
    cos = g.op("Unsqueeze", g.op("Cos", angle), g.ints(1))
    sin = g.op("Unsqueeze", g.op("Sin", angle), g.ints(1))

    x = g.op("Gather", g.weight("model.embed_tokens.weight", a.vocab, a.hidden), "input_ids")
    for layer in range(a.layers):
        p = f"model.layers.{layer}."

        def linear(y, name, rows, columns):
            return g.op("MatMul", y, g.weight(p + name + ".weight", rows, columns))

        y = rms_norm(g, x, p + "input_layernorm.weight", a.hidden)
        q = rotate(g, heads(g, linear(y, "self_attn.q_proj", a.hidden, a.hidden), a.heads, size), cos, sin, size)
        k = rotate(g, heads(g, linear(y, "self_attn.k_proj", a.hidden, a.kv_heads * size), a.kv_heads, size), cos, sin, size)
        v = heads(g, linear(y, "self_attn.v_proj", a.hidden, a.kv_heads * size), a.kv_heads, size)
        k, v = (repeat(g, t, groups, a.kv_heads, size, (batch, length)) for t in (k, v))
        scores = g.op("Mul", g.op("MatMul", q, g.op("Transpose", k, perm=[0, 1, 3, 2])), g.constant(size ** -0.5, np.float32))
        weights = g.op("Softmax", g.op("Add", scores, mask), axis=-1)
        # A row that sees no key gives zeros.
        weights = g.op("Where", g.op("IsNaN", weights), g.constant(0, np.float32), weights)
        o = g.op("Transpose", g.op("MatMul", weights, v), perm=[0, 2, 1, 3])
        x = g.op("Add", x, linear(g.op("Reshape", o, g.ints(0, 0, a.hidden)), "self_attn.o_proj", a.hidden, a.hidden))
        y = rms_norm(g, x, p + "post_attention_layernorm.weight", a.hidden)
        gate, up = linear(y, "mlp.gate_proj", a.hidden, a.intermediate), linear(y, "mlp.up_proj", a.hidden, a.intermediate)
        y = g.op("Mul", g.op("Mul", gate, g.op("Sigmoid", gate)), up)
        x = g.op("Add", x, linear(y, "mlp.down_proj", a.intermediate, a.hidden))
    x = rms_norm(g, x, "model.norm.weight", a.hidden)
    g.op("MatMul", x, g.weight("lm_head.weight", a.hidden, a.vocab), name="logits")

    shape = ["batch", "sequence"]
    graph = helper.make_graph(
        g.nodes, "main_graph",
        [helper.make_tensor_value_info(n, TensorProto.INT64, shape) for n in ("input_ids", "attention_mask", "position_ids")],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [*shape, a.vocab])], g.initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10), g.offset


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("out", type=Path)
    for name, value in (("layers", 22), ("hidden", 2048), ("heads", 32), ("kv-heads", 4), ("intermediate", 5632), ("vocab", 32000), ("seed", 0)):
        p.add_argument("--" + name, type=int, default=value)
    p.add_argument("--theta", type=float, default=10000.0)
    a = p.parse_args()
    if a.hidden % a.heads or a.heads % a.kv_heads:
        p.error("--hidden must be a multiple of --heads, and --heads of --kv-heads")
    a.out.mkdir(parents=True, exist_ok=True)
    with open(a.out / "model.onnx.data", "wb") as data:
        model, size = build(a, data)
    onnx.save(model, a.out / "model.onnx")
    print(f"{a.out}/model.onnx: {a.layers} layers, {size / 4e9:.2f} G parameters, {size / 1e9:.2f} GB")


if __name__ == "__main__":
    main()
