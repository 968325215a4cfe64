"""Whether the codes of a DynamicQuantizeLinear are those that its definition gives, to the last one, ties among them.

    dynamic_codes.py MIURA FOLDER

A sum in another order may put an activation on the other side of a tie, and then files with dynamic quantization differ by a code; that is right only
if the codes of equal activations are equal."""
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

miura, folder = sys.argv[1], Path(sys.argv[2])
node = helper.make_node("DynamicQuantizeLinear", ["x"], ["codes", "scale", "zero"])
model = helper.make_model(helper.make_graph(
    [node], "codes", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", 64])],
    [helper.make_tensor_value_info("codes", TensorProto.UINT8, ["rows", 64]), helper.make_tensor_value_info("scale", TensorProto.FLOAT, []),
     helper.make_tensor_value_info("zero", TensorProto.UINT8, [])]), opset_imports=[helper.make_opsetid("", 18)])
model.ir_version = 9
onnx.save(model, folder / "model.onnx")

random = np.random.default_rng(1)
# Every half of a code between −100 and 155 times an eighth: 255 ties.
ties = (np.resize(np.arange(-100, 155.5, 0.5), 512) / 8).astype(np.float32)
cases = {"ties": ties, "positive": np.abs(random.normal(size=256)).astype(np.float32), "negative": -np.abs(random.normal(size=256)).astype(np.float32),
         "zeros": np.zeros(64, np.float32), "one ulp beside ties": np.nextafter(ties, np.float32(9)).astype(np.float32)}
cases.update({f"random {i}": (random.normal(size=6400) * 10.0 ** random.integers(-6, 6)).astype(np.float32) for i in range(8)})
for name, x in cases.items():
    x = x.reshape(-1, 64)
    np.save(folder / "input_0.npy", x)
    subprocess.run([miura, "run", folder / "model.onnx", "--inputs", folder, "--reference", "--save", folder / "out", "--quiet"], check=True,
                   stdout=subprocess.DEVNULL)
    codes, scale, zero = (np.load(folder / "out" / f"output_{i}.npy") for i in range(3))
    low, high = np.minimum(x.min(), np.float32(0)), np.maximum(x.max(), np.float32(0))
    step = np.float32(np.float32(high - low) / np.float32(255))
    place = np.clip(np.rint(-low / step), 0, 255) if step else np.float32(0)
    wanted = np.clip(np.rint(x / step) + place, 0, 255) if step else np.zeros_like(x)
    print(f"{name}: {np.count_nonzero(codes != wanted)} of {x.size} codes differ, scale {'equal' if scale == step else scale}, "
          f"zero point {'equal' if zero == place else zero}")
