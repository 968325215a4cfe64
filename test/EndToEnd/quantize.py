"""Quantizes a float decoder in the ways of ONNX's quantizers, with its data sets.

    quantize.py FOLDER OUT NAME...

OUT/NAME gets model.onnx and, for each of FOLDER's data sets, the inputs and what ONNX Runtime computes of them without fusing (it rounds the activations
of a product that it fused, as the file does not say)."""
import shutil
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static

source, out = Path(sys.argv[1]), Path(sys.argv[2])
NF4 = [-1, -0.6961928, -0.52507305, -0.3949175, -0.28444138, -0.18477343, -0.091050036, 0,
       0.0795803, 0.1609302, 0.2461123, 0.33791524, 0.44070983, 0.562617, 0.72295684, 1]
FP4 = [0, 5.208333333e-03, 0.66666667, 1, 0.33333333, 0.5, 0.16666667, 0.25]
FP4 += [-v for v in FP4]


def pack(codes, bits, high_first=False):
    """Rows of codes, each row padded to a byte."""
    per = 8 // bits
    codes = np.pad(codes, [(0, 0), (0, -codes.shape[1] % per)]).astype(np.uint8).reshape(codes.shape[0], -1, per)
    order = range(per - 1, -1, -1) if high_first else range(per)
    return sum(codes[:, :, i] << (bits * place) for i, place in zip(range(per), order)).astype(np.uint8)


def to_blocks(w, bits, block, symmetric):
    """Rows of w in blocks: codes, scales, zero points, all per row and block."""
    rows, columns = w.shape
    padded = np.pad(w, [(0, 0), (0, -columns % block)]).reshape(rows, -1, block)
    top = 2**bits - 1
    if symmetric:
        scale = np.abs(padded).max(-1) / 2 ** (bits - 1)
        zero = np.full(scale.shape, 2 ** (bits - 1))
    else:
        low, high = np.minimum(padded.min(-1), 0), np.maximum(padded.max(-1), 0)
        scale = (high - low) / top
        zero = np.rint(-low / np.where(scale == 0, 1, scale))
    scale = np.where(scale == 0, 1, scale).astype(np.float32)
    codes = np.clip(np.rint(padded / scale[..., None]) + zero[..., None], 0, top)
    return codes.astype(np.uint8), scale, zero.astype(np.uint8)


def rewrite(product, gather=None):
    """The model with every MatMul (and Gather) of a stored matrix replaced."""
    model = onnx.load(source / "model.onnx")
    graph, nodes = model.graph, []
    stored = {t.name: t for t in graph.initializer}

    def keep(name, array, type=None, shape=None):
        if type is None:
            graph.initializer.append(numpy_helper.from_array(array, name))
        else:
            graph.initializer.append(helper.make_tensor(name, type, shape, array.tobytes(), raw=True))
        return name

    for node in graph.node:
        at = {"MatMul": 1, "Gather": 0}.get(node.op_type)
        tensor = stored.get(node.input[at]) if at is not None else None
        make = product if at == 1 else gather
        if tensor is None or make is None or len(tensor.dims) != 2:
            nodes.append(node)
            continue
        nodes += make(node, numpy_helper.to_array(tensor), keep)
    del graph.node[:]
    graph.node.extend(nodes)
    used = {name for node in nodes for name in node.input}
    rest = [t for t in graph.initializer if t.name in used]
    del graph.initializer[:]
    graph.initializer.extend(rest)
    del model.opset_import[:]
    model.opset_import.extend([helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)])
    model.ir_version = 10
    return model


def nbits(bits, block, symmetric, level=0, gather=False):
    def product(node, w, keep):
        name, (K, N) = node.output[0], w.shape
        codes, scale, zero = to_blocks(w.T, bits, block, symmetric)
        packed = pack(codes.reshape(N, -1), bits).reshape(N, codes.shape[1], -1)
        inputs = [node.input[0], keep(name + ".q", packed), keep(name + ".s", scale)]
        if not symmetric:
            inputs.append(keep(name + ".z", pack(zero, bits)))
        return [helper.make_node("MatMulNBits", inputs, list(node.output), name=name, domain="com.microsoft", K=K, N=N, bits=bits,
                                 block_size=block, accuracy_level=level)]

    def look_up(node, w, keep):
        name = node.output[0]
        codes, scale, _ = to_blocks(w, bits, block, True)
        inputs = [keep(name + ".q", pack(codes.reshape(len(w), -1), bits)), node.input[1], keep(name + ".s", scale)]
        return [helper.make_node("GatherBlockQuantized", inputs, list(node.output), name=name, domain="com.microsoft", bits=bits,
                                 block_size=block, gather_axis=0, quantize_axis=1)]

    return rewrite(product, look_up if gather else None)


def qdq(block, symmetric):
    """4 bits in blocks along K of [K, N]."""
    def product(node, w, keep):
        name, (K, N) = node.output[0], w.shape
        codes, scale, zero = to_blocks(w.T, 4, block, symmetric)
        codes = codes.reshape(N, -1)[:, :K].T
        if symmetric:
            codes = (codes ^ 8) & 15
        kind = TensorProto.INT4 if symmetric else TensorProto.UINT4
        inputs = [keep(name + ".q", pack(codes.reshape(1, -1), 4), kind, [K, N]), keep(name + ".s", np.ascontiguousarray(scale.T))]
        if not symmetric:
            inputs.append(keep(name + ".z", pack(zero.T.reshape(1, -1), 4), kind, zero.T.shape))
        return [helper.make_node("DequantizeLinear", inputs, [name + ".d"], axis=0, block_size=block),
                helper.make_node("MatMul", [node.input[0], name + ".d"], list(node.output))]

    return rewrite(product)


def bnb4(table, kind, block):
    def product(node, w, keep):
        name, (K, N) = node.output[0], w.shape
        flat = w.T.reshape(-1, block)  # all sizes of the decoder divide
        scale = np.abs(flat).max(-1).astype(np.float32)
        codes = np.abs(flat[..., None] / scale[:, None, None] - np.array(table)).argmin(-1)
        inputs = [node.input[0], keep(name + ".q", pack(codes.reshape(1, -1), 4, high_first=True).reshape(-1)), keep(name + ".s", scale)]
        return [helper.make_node("MatMulBnb4", inputs, list(node.output), name=name, domain="com.microsoft", K=K, N=N, block_size=block,
                                 quant_type=kind)]

    return rewrite(product)


def dynamic(**options):
    quantize_dynamic(str(source / "model.onnx"), str(out / "dynamic.onnx"), **options)
    return onnx.load(out / "dynamic.onnx")


def read_inputs(data, model):
    names = [value.name for value in model.graph.input]
    return {name: numpy_helper.to_array(onnx.TensorProto.FromString((data / f"input_{i}.pb").read_bytes())) for i, name in enumerate(names)}


class Calibration(CalibrationDataReader):
    """The data sets themselves."""
    def __init__(self):
        model = onnx.load(source / "model.onnx")
        self.rest = [read_inputs(data, model) for data in sorted(source.glob("test_data_set_*"))]

    def get_next(self):
        return self.rest.pop() if self.rest else None


def static(activation, operators, **options):
    """QDQ pairs around the operators, or operators from codes to codes."""
    quantize_static(str(source / "model.onnx"), str(out / "static.onnx"), Calibration(), activation_type=activation, weight_type=QuantType.QInt8,
                    op_types_to_quantize=operators, **options)
    return onnx.load(out / "static.onnx")


MAKE = {
    "nbits4": lambda: nbits(4, 32, False),
    "nbits4-int8": lambda: nbits(4, 32, False, level=4),
    "nbits4-gather": lambda: nbits(4, 16, True, gather=True),
    "nbits8": lambda: nbits(8, 32, False),
    "nbits2": lambda: nbits(2, 16, False),
    "qdq4": lambda: qdq(32, False),
    "qdq4-symmetric": lambda: qdq(16, True),
    "nf4": lambda: bnb4(NF4, 1, 64),
    "fp4": lambda: bnb4(FP4, 0, 16),
    "dynamic": lambda: dynamic(),
    "static": lambda: static(QuantType.QUInt8, ["MatMul"], per_channel=True),
    "static-signed": lambda: static(QuantType.QInt8, ["MatMul", "Gather"], extra_options={"ActivationSymmetric": True}),
    "static16": lambda: static(QuantType.QUInt16, ["MatMul"], per_channel=True),
    # Operators from codes to codes; weights that a node of the graph quantizes; a Gemm's bias of int32 codes.
    "static-operators": lambda: static(QuantType.QUInt8, ["MatMul", "Gemm"], quant_format=QuantFormat.QOperator),
    "static-weights": lambda: static(QuantType.QUInt8, ["MatMul", "Gemm"], per_channel=True, extra_options={"AddQDQPairToWeight": True}),
    "static-gemm": lambda: static(QuantType.QUInt8, ["MatMul", "Gemm"]),
    # An embedding of 16-bit codes, by operators of com.microsoft.
    "static16-embedding": lambda: static(QuantType.QUInt16, ["MatMul", "Gather"], extra_options={"UseQDQContribOps": True,
                                         "OpTypesToExcludeOutputQuantization": ["MatMul"]}),
    "dynamic-channels": lambda: dynamic(weight_type=QuantType.QUInt8, per_channel=True, reduce_range=True),
}

for name in sys.argv[3:]:
    folder = out / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    model = MAKE[name]()
    onnx.save(model, folder / "model.onnx")
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"])
    for data in sorted(source.glob("test_data_set_*")):
        (folder / data.name).mkdir()
        feeds = read_inputs(data, model)
        for i in range(len(feeds)):
            shutil.copy(data / f"input_{i}.pb", folder / data.name)
        for i, (value, result) in enumerate(zip(model.graph.output, session.run(None, feeds))):
            (folder / data.name / f"output_{i}.pb").write_bytes(onnx.numpy_helper.from_array(result, value.name).SerializeToString())
