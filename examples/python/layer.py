"""One layer in Python: build a kernel, prepare it with weights, call it, save it, load it again."""

import tempfile
from pathlib import Path

import numpy as np

import tvmconv

kernel = tvmconv.build("ic16ih14oc32kh3ph1", algorithm="indirect")
print(f"{kernel.shape}: {kernel.algorithm}, x {kernel.x_shape}, y {kernel.y_shape}")

rng = np.random.default_rng(0)
w = rng.standard_normal((32, 16, 3, 3), np.float32) / 10  # OIHW
bias = rng.standard_normal(32, np.float32)
x = rng.standard_normal(kernel.x_shape, np.float32)  # NHWC

conv = kernel.prepare(w, bias, clamp=(0, 6))  # packs the weights, once
y = conv(x)

# In loops: memory of one's own, so that a call allocates nothing.
out, workspace = np.empty_like(y), conv.new_workspace()
conv(x, out=out, workspace=workspace)
assert np.array_equal(out, y)

# The file needs neither this project nor TVM to run; Python reads it again, and computes with two threads.
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "layer.so"
    kernel.save(path)
    again = tvmconv.load(path).prepare(w, bias, clamp=(0, 6), threads=2)
    assert np.array_equal(again(x), y)

# The definition, for one output.
patch = x[0, 3:6, 4:7, :].transpose(2, 0, 1)  # the pixels around (4, 5), channels first
expected = np.clip(np.sum(patch * w[14]) + bias[14], 0, 6)
assert np.isclose(y[0, 4, 5, 14], expected, atol=1e-4)
print(f"y[0, 4, 5, 14] = {y[0, 4, 5, 14]:.4f}, by the definition {expected:.4f}")
