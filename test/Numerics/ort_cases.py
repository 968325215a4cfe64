"""Small models of ONNX Runtime's own operators, of control flow and of sizes that only a run knows, through the oracle and through ONNX Runtime.

    ort_cases.py MIURA WORKDIR [NAME...] [--rtol 1e-5]

Each case is written as model.onnx with a data set whose outputs are ONNX Runtime's; `miura run --reference` has to agree, with and without raising. The
numbers come from a seed. Prints the largest error of each case; the exit code is 1 if one is above --rtol or is refused."""
import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime as ort
from onnx import TensorProto as T
from onnx import helper as h
from onnx import numpy_helper

rng = np.random.default_rng(20240607)
CASES = {}


def normal(*shape, dtype=np.float32):
    return rng.standard_normal(shape).astype(dtype)


def case(name, nodes, inputs, outputs, constants={}, opset=18):
    """inputs: name to array; outputs: name to (type, rank). Sizes of inputs are symbolic; constants are initializers."""
    CASES[name] = (nodes, inputs, outputs, constants, opset)


def node(op, inputs, outputs, domain="", **attributes):
    return h.make_node(op, inputs, outputs, domain=domain, **attributes)


def ms(op, inputs, outputs, **attributes):
    return node(op, inputs, outputs, "com.microsoft", **attributes)


def write(name, folder):
    nodes, inputs, outputs, constants, opset = CASES[name]
    sizes = lambda n, rank: [f"{n}_{d}" for d in range(rank)]
    # Files know how wide a token is.
    known = lambda n, a: sizes(n, a.ndim - 1) + [a.shape[-1]] if nodes[0].domain and a.ndim >= 3 else sizes(n, a.ndim)
    graph = h.make_graph(nodes, name, [h.make_tensor_value_info(n, h.np_dtype_to_tensor_dtype(a.dtype), known(n, a)) for n, a in inputs.items()],
                         [h.make_tensor_value_info(n, t, sizes(n, rank)) for n, (t, rank) in outputs.items()], [numpy_helper.from_array(a, n) for n, a in constants.items()])
    model = h.make_model(graph, opset_imports=[h.make_opsetid("", opset), h.make_opsetid("com.microsoft", 1)], ir_version=10)
    (folder / "test_data_set_0").mkdir(parents=True)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    options = ort.SessionOptions()
    options.log_severity_level = 3
    results = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"]).run(None, inputs)
    for stem, arrays in (("input", inputs.values()), ("output", results)):
        for i, array in enumerate(arrays):
            (folder / f"test_data_set_0/{stem}_{i}.pb").write_bytes(numpy_helper.from_array(np.asarray(array)).SerializeToString())


# ---- Products of integers --------------------------------------------------------------------------------------------------------------------------

dynamic = [node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"])]
for i, (rows, columns) in enumerate([(64, 172), (64, 40)]):
    # The centred activations are shared by products of different widths.
    dynamic += [node("MatMulInteger", ["q", f"w{i}", "z", f"zw{i}"], [f"i{i}"]), node("Cast", [f"i{i}"], [f"f{i}"], to=T.FLOAT),
                node("Mul", [f"f{i}", "s"], [f"y{i}"])]
case("dynamic-quantize", dynamic, {"x": normal(2, 3, 64)}, {"y0": (T.FLOAT, 3), "y1": (T.FLOAT, 3)},
     {"w0": rng.integers(-127, 127, (64, 172)).astype(np.int8), "w1": rng.integers(-127, 127, (64, 40)).astype(np.int8),
      "zw0": np.array(7, np.int8), "zw1": rng.integers(-9, 9, 40).astype(np.int8)})

# ---- Weights of a few bits -------------------------------------------------------------------------------------------------------------------------


def nbits(name, bits, zeros, level, n=24, k=72, block=32):
    blocks = -(-k // block)
    constants = {"w": rng.integers(0, 256, (n, blocks, block * bits // 8)).astype(np.uint8), "s": np.abs(normal(n * blocks)) + 0.1}
    if zeros:
        constants["z"] = rng.integers(0, 256, n * -(-blocks * bits // 8)).astype(np.uint8)
    case(name, [ms("MatMulNBits", ["x", "w", "s"] + (["z"] if zeros else []), ["y"], N=n, K=k, bits=bits, block_size=block, accuracy_level=level)],
         {"x": normal(2, 3, k)}, {"y": (T.FLOAT, 3)}, constants)


nbits("nbits-4", 4, False, 0)
nbits("nbits-4-zeros", 4, True, 0)
nbits("nbits-4-integers", 4, True, 4)
nbits("nbits-8", 8, False, 0)
nbits("nbits-2-zeros", 2, True, 0, block=16)
for kind in (0, 1):
    case(f"bnb4-{kind}", [ms("MatMulBnb4", ["x", "w", "s"], ["y"], N=24, K=64, block_size=32, quant_type=kind)], {"x": normal(3, 64)},
         {"y": (T.FLOAT, 2)}, {"w": rng.integers(0, 256, 24 * 32).astype(np.uint8), "s": np.abs(normal(24 * 2))})
for zeros in (False, True):
    case(f"gather-blocks-{zeros}", [ms("GatherBlockQuantized", ["w", "t", "s"] + (["z"] if zeros else []), ["y"], gather_axis=0, quantize_axis=1,
                                       block_size=16, bits=4)],
         {"t": rng.integers(0, 50, (2, 5))}, {"y": (T.FLOAT, 3)},
         {"w": rng.integers(0, 256, (50, 32)).astype(np.uint8), "s": np.abs(normal(50, 4)), "z": rng.integers(0, 256, (50, 2)).astype(np.uint8)})

# ---- Attention -------------------------------------------------------------------------------------------------------------------------------------


def gqa(name, past=0, new=3, packed=False, heads=4, shared=2, size=16, sink=False, **attributes):
    total = past + new
    q, kv = heads * size, shared * size
    inputs = {"q": normal(2, new, q + 2 * kv if packed else q)}
    operands = ["q", "", ""]
    if not packed:
        inputs |= {"k": normal(2, new, kv), "v": normal(2, new, kv)}
        operands = ["q", "k", "v"]
    inputs |= {"pk": normal(2, shared, past, size), "pv": normal(2, shared, past, size)}
    constants = {"n": np.full(2, total - 1, np.int32), "t": np.array(total, np.int32)}
    operands += ["pk", "pv", "n", "t"]
    if attributes.get("do_rotary"):
        angles = np.arange(64)[:, None] * 10000.0 ** -(np.arange(size // 2) / (size // 2))
        constants |= {"cos": np.cos(angles).astype(np.float32), "sin": np.sin(angles).astype(np.float32)}
        operands += ["cos", "sin"]
    if sink:
        constants["sink"] = normal(heads)
        operands += [""] * (11 - len(operands)) + ["sink"]
    case(name, [ms("GroupQueryAttention", operands, ["y", "nk", "nv"], num_heads=heads, kv_num_heads=shared, **attributes)], inputs,
         {"y": (T.FLOAT, 3), "nk": (T.FLOAT, 4), "nv": (T.FLOAT, 4)}, constants)


gqa("gqa-prompt")
gqa("gqa-step", past=5, new=1)
gqa("gqa-rotary", past=5, new=1, packed=True, do_rotary=1)
gqa("gqa-interleaved", packed=True, do_rotary=1, rotary_interleaved=1, shared=4)
gqa("gqa-window", new=7, local_window_size=3, softcap=2.0)
gqa("gqa-sink", new=4, sink=True, scale=0.2)
for interleaved in (0, 1):
    case(f"rotary-{interleaved}", [ms("RotaryEmbedding", ["x", "p", "c", "s"], ["y"], interleaved=interleaved, num_heads=2)],
         {"x": normal(2, 3, 32), "p": rng.integers(0, 9, (2, 3))}, {"y": (T.FLOAT, 3)}, {"c": normal(9, 8), "s": normal(9, 8)})
case("skip-norm", [ms("SkipLayerNormalization", ["x", "k", "g", "b", "o"], ["y", "", "", "sum"], epsilon=1e-5)],
     {"x": normal(2, 3, 8), "k": normal(2, 3, 8)}, {"y": (T.FLOAT, 3), "sum": (T.FLOAT, 3)}, {"g": normal(8), "b": normal(8), "o": normal(8)})

# ---- Control flow ----------------------------------------------------------------------------------------------------------------------------------

value = lambda n, t, *shape: h.make_tensor_value_info(n, t, shape)
step = h.make_graph([node("Add", ["s", "x"], ["s2"]), node("Mul", ["s2", "x"], ["o"])], "step", [value("s", T.FLOAT, "k"), value("x", T.FLOAT, "k")],
                    [value("s2", T.FLOAT, "k"), value("o", T.FLOAT, "k")])
case("scan", [node("Scan", ["s0", "xs"], ["s1", "os"], body=step, num_scan_inputs=1)], {"s0": normal(4), "xs": normal(6, 4)},
     {"s1": (T.FLOAT, 1), "os": (T.FLOAT, 2)})
case("scan-columns-backward", [node("Scan", ["s0", "xs"], ["s1", "os"], body=step, num_scan_inputs=1, scan_input_axes=[1], scan_output_axes=[-1],
                                    scan_input_directions=[1])],
     {"s0": normal(4), "xs": normal(4, 7)}, {"s1": (T.FLOAT, 1), "os": (T.FLOAT, 2)})
turn = h.make_graph([node("Add", ["v", "d"], ["v2"]), node("ReduceSum", ["v2"], ["sum"], keepdims=0), node("Less", ["sum", "limit"], ["go"]),
                     node("Mul", ["v2", "v"], ["o"])], "turn", [value("i", T.INT64), value("c", T.BOOL), value("v", T.FLOAT, "k")],
                    [value("go", T.BOOL), value("v2", T.FLOAT, "k"), value("o", T.FLOAT, "k")])
for most in (0, 3, 100):
    case(f"loop-{most}", [node("Loop", ["m", "c0", "v0"], ["v1", "os"], body=turn)], {"v0": np.abs(normal(4)), "d": np.abs(normal(4))},
         {"v1": (T.FLOAT, 1), "os": (T.FLOAT, 2)}, {"m": np.array(most, np.int64), "c0": np.array(True), "limit": np.array(30, np.float32)})
twice = h.make_graph([node("Concat", ["x", "x"], ["t"], axis=0)], "twice", [], [value("t", T.FLOAT, "a", "b")])
once = h.make_graph([node("Relu", ["x"], ["e"])], "once", [], [value("e", T.FLOAT, "c", "b")])
for given in (True, False):
    case(f"if-{given}", [node("If", ["c"], ["y"], then_branch=twice, else_branch=once)], {"c": np.array(given), "x": normal(2, 3)}, {"y": (T.FLOAT, 2)})
case("lstm", [node("LSTM", ["x", "w", "r", "b", "", "h", "c"], ["y", "yh", "yc"], hidden_size=3, direction="bidirectional")],
     {"x": normal(5, 2, 6), "h": normal(2, 2, 3), "c": normal(2, 2, 3)}, {"y": (T.FLOAT, 4), "yh": (T.FLOAT, 3), "yc": (T.FLOAT, 3)},
     {"w": normal(2, 12, 6), "r": normal(2, 12, 3), "b": normal(2, 24)})
case("lstm-reverse", [node("LSTM", ["x", "w", "r"], ["y", "", "yc"], hidden_size=3, direction="reverse")], {"x": normal(5, 2, 6)},
     {"y": (T.FLOAT, 4), "yc": (T.FLOAT, 3)}, {"w": normal(1, 12, 6), "r": normal(1, 12, 3)})

# ---- Windows over images of any size ---------------------------------------------------------------------------------------------------------------

for name, attributes in {"same-upper": {"auto_pad": "SAME_UPPER", "strides": [2, 2]}, "same-lower": {"auto_pad": "SAME_LOWER", "strides": [2, 3]},
                         "dilated": {"dilations": [2, 1], "pads": [1, 2, 3, 0]}, "groups": {"group": 2, "strides": [3, 1]}}.items():
    case(f"conv-{name}", [node("Conv", ["x", "w", "b"], ["y"], **attributes)], {"x": normal(2, 4, 9, 7)}, {"y": (T.FLOAT, 4)},
         {"w": normal(6, 4 // attributes.get("group", 1), 3, 3), "b": normal(6)})
case("conv-1d", [node("Conv", ["x", "w"], ["y"], pads=[1, 1])], {"x": normal(2, 4, 9)}, {"y": (T.FLOAT, 3)}, {"w": normal(5, 4, 3)})
for op in ("MaxPool", "AveragePool"):
    case(f"{op}-ceil", [node(op, ["x"], ["y"], kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 1, 1], ceil_mode=1)], {"x": normal(2, 4, 9, 7)},
         {"y": (T.FLOAT, 4)}, opset=19)
case("average-with-padding", [node("AveragePool", ["x"], ["y"], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], count_include_pad=1)],
     {"x": normal(2, 4, 9, 7)}, {"y": (T.FLOAT, 4)}, opset=19)


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("miura")
    p.add_argument("workdir", type=Path)
    p.add_argument("names", nargs="*")
    p.add_argument("--rtol", type=float, default=1e-5)
    a = p.parse_intermixed_args()
    shutil.rmtree(a.workdir, ignore_errors=True)
    bad = count = 0
    for name in CASES:
        if a.names and not any(n in name for n in a.names):
            continue
        folder = a.workdir / name
        write(name, folder)
        count += 1
        for mode in (["--no-raise"], []):
            done = subprocess.run([a.miura, "run", folder / "model.onnx", "--reference", *mode, "--check", "--json", "--quiet", "--rtol", str(a.rtol),
                                   "--inputs", folder / "test_data_set_0"], capture_output=True, text=True)
            try:
                report = json.loads(done.stdout)
                text = report.get("error") or f"{max(o['max_rel_error'] if o['max_rel_error'] is not None else float('inf') for o in report['outputs']):.1e}"
            except ValueError:
                text = (done.stderr or f"exit code {done.returncode}").splitlines()[0]
            bad += done.returncode != 0
            print(f"{name:24} {'as it is' if mode else 'raised':9} {text}{' FAILED' if done.returncode else ''}")
    print(f"{count} cases, {bad} failures")
    sys.exit(bool(bad))


main()
