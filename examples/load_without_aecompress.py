"""Run a model folder with numpy and safetensors alone: python load_without_aecompress.py MODEL_FOLDER ROWS.npy"""

import json
import math
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

ACTIVATIONS = {"identity": lambda x: x, "relu": lambda x: x * (x > 0), "tanh": np.tanh,
               "gelu": lambda x: x * (1 + np.vectorize(math.erf)(x / 2**0.5)) / 2,
               "leaky-relu": lambda x: np.maximum(x, x / 100), "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
               "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))), "silu": lambda x: x / (1 + np.exp(-x)),
               "softplus": lambda x: np.logaddexp(0, x), "relu6": lambda x: np.clip(x, 0, 6)}  # fmt: skip


def reconstruct(folder: Path, raw: np.ndarray) -> np.ndarray:
    config, tensors = json.loads((folder / "config.json").read_text()), load_file(folder / "model.safetensors")
    offset, divisor = (np.asarray(config["scaling"][name]) for name in ("offset", "divisor"))
    values = (raw.reshape(len(raw), -1) - offset) / divisor
    for part in ("encoder", "decoder"):
        for index, layer in enumerate(config[part]):
            weight, bias = tensors[f"{part}.{index}.weight"], tensors[f"{part}.{index}.bias"]
            values = ACTIVATIONS[layer["activation"]](values @ weight.T + bias)
    return values * divisor + offset


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    np.save("reconstruction.npy", reconstruct(Path(sys.argv[1]), np.load(sys.argv[2], allow_pickle=False)))
