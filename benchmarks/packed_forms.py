"""Which operators should take the bits of a packed file apart: bytes, load time, what folds, and who is right.

    python benchmarks/packed_forms.py make FOLDER           # needs this package
    python benchmarks/packed_forms.py check FOLDER          # any Python with numpy and a runtime, old ones too

``make`` writes 784-256-64-256-784 with random zeros, int8 and int4, in each form. ``check`` compares what each file
gives with the plain file of the same tensors, in onnxruntime, onnx's evaluator and OpenVINO, whichever are installed.
In onnxruntime it also loads each file eleven times, and compares what is left after optimisation with the plain file's.
"""

from __future__ import annotations

import statistics
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

SIZES = (784, 256, 64, 256, 784)


def make(folder: Path) -> None:
    """Write the files and some rows, and print how many times the entropy bound each file takes."""
    from aecompress.deploy import graph, pack, rebuild

    usual = rebuild.isolated
    for sparsity in (0.93, 0.95):
        chain = network(1 - sparsity)
        for values, bits in (("int8", 8), ("int4", 4)):
            packed = pack.pack_all(chain, values)
            name = f"{values}-{sparsity:.0%}".rstrip("%")
            write(folder / f"{name}.plain.onnx", graph.build(pack.restored(chain, packed), "autoencoder", 13, {}))
            for form, isolated in {"int32": usual, "float": by_floats, "bits": by_shifts}.items():
                rebuild.isolated, opset = isolated, 18 if form == "bits" else 13
                proto = graph.build(chain, "autoencoder", opset, {}, product=graph.gemm(pack.stored(packed)))
                write(folder / f"{name}.{form}.onnx", proto)
                print(f"{name}.{form}: {proto.ByteSize():,} bytes, {proto.ByteSize() / bound(chain, bits):.3f}x")
    rebuild.isolated = usual
    np.save(folder / "rows.npy", np.random.default_rng(1).random((64, 784), dtype=np.float32))


def network(density: float) -> Any:
    """Return the chain with so many weights and biases at random places."""
    from aecompress.deploy.compact import Chain, Weighted
    from aecompress.layers.dense import dense

    random, layers = np.random.default_rng(0), []
    for number, (inputs, outputs) in enumerate(pairwise(SIZES)):
        shape = (inputs, outputs)
        weight = (random.normal(size=shape) * (random.random(shape) < density) / 4).astype(np.float32)
        bias = (random.normal(size=outputs) * (random.random(outputs) < density)).astype(np.float32)
        layers.append(Weighted(dense(f"layer.{number}", *shape, "relu"), weight, bias))
    return Chain((784,), tuple(layers))


def bound(chain: Any, bits: int) -> float:
    """Return the bytes of values and of the entropy of their places, as ``benchmarks/deploy.py`` counts them."""
    found = 0.0
    for layer in chain.layers:
        for tensor in layer.tensors.values():
            share = np.count_nonzero(tensor) / tensor.size
            entropy = -share * np.log2(share) - (1 - share) * np.log2(1 - share)
            found += (np.count_nonzero(tensor) * bits + tensor.size * entropy) / 8
    return found


def write(path: Path, proto: Any) -> None:
    """Write one file."""
    path.write_bytes(proto.SerializeToString(deterministic=True))


def by_floats(writer: Any, data: str, base: int) -> str:
    """Isolate digits in float32, which holds a byte exactly, by Mul, Floor and Sub."""
    from onnx import TensorProto

    byte = writer.op("Cast", data, to=TensorProto.FLOAT)
    scaled = writer.op("Mul", byte, writer.keep(0.5 ** np.arange(0, 8, base, dtype=np.float32)))
    upper = writer.op("Floor", scaled)
    above = writer.op("Floor", writer.op("Mul", upper, writer.keep(np.array([0.5**base], np.float32))))
    digits = writer.op("Sub", upper, writer.op("Mul", above, writer.keep(np.array([2.0**base], np.float32))))
    return str(writer.op("Cast", digits, to=TensorProto.INT32))


def by_shifts(writer: Any, data: str, base: int) -> str:
    """Isolate digits by BitShift and BitwiseAnd, which opset 18 has."""
    from onnx import TensorProto

    upper = writer.op("BitShift", data, writer.keep(np.arange(0, 8, base, dtype=np.uint8)), direction="RIGHT")
    bits = writer.op("BitwiseAnd", upper, writer.keep(np.array([2**base - 1], np.uint8)))
    return str(writer.op("Cast", bits, to=TensorProto.INT32))


def check(folder: Path) -> None:
    """Print a line per file and runtime."""
    rows = np.load(folder / "rows.npy")
    for path in sorted(folder.glob("*.onnx")):
        right = evaluated(plain_of(path), rows)
        for name, call in {"onnx": evaluated, "onnxruntime": in_onnxruntime, "openvino": in_openvino}.items():
            try:
                got = call(path, rows)
            except ImportError:
                continue
            except Exception as fault:  # every runtime raises what it likes
                print(f"{path.stem:14} {name:12} refused: {' '.join(str(fault).split())[:90]}")
                continue
            error = np.abs(got - right).max()
            word = "right" if error <= 1e-5 * np.abs(right).max() else f"WRONG by {error:.2g}"
            more = folded(path) if name == "onnxruntime" else ""
            version = sys.modules[name].__version__[:8]
            print(f"{path.stem:14} {path.stat().st_size:9,} {name:12} {version:9} {word} {more}")


def plain_of(path: Path) -> Path:
    """Return the plain file of the same tensors."""
    return path.with_name(path.name.split(".")[0] + ".plain.onnx")


def evaluated(path: Path, rows: np.ndarray) -> np.ndarray:
    """Run a file in onnx's evaluator."""
    import onnx
    from onnx.reference import ReferenceEvaluator

    found: np.ndarray = ReferenceEvaluator(onnx.load(path)).run(None, {"input": rows})[0]  # type: ignore[index]
    return found


def in_onnxruntime(path: Path, rows: np.ndarray) -> np.ndarray:
    """Run a file in onnxruntime."""
    found: np.ndarray = loaded(path).run(None, {"input": rows})[0]
    return found


def loaded(path: Path, keep: Path | None = None) -> Any:
    """Load a file as most users do, with one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    if keep is not None:
        options.optimized_model_filepath = str(keep)
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def folded(path: Path) -> str:
    """Say whether onnxruntime makes the plain file's graph of it, to the bit, and how long it takes to load."""
    import onnx
    from onnx import numpy_helper

    seconds = []
    for _ in range(11):
        begun = time.process_time()
        loaded(path)
        seconds.append(time.process_time() - begun)
    graphs = []
    for each in (path, plain_of(path)):
        keep = path.with_name("optimised.tmp")
        loaded(each, keep)
        found = onnx.load(keep).graph
        keep.unlink()
        tensors = {tensor.name: numpy_helper.to_array(tensor).tobytes() for tensor in found.initializer}
        graphs.append([(node.op_type, [tensors.get(name) for name in node.input]) for node in found.node])
    word = "folded" if graphs[0] == graphs[1] else "NOT folded"
    return f"{word}, {statistics.median(seconds) * 1e3:.1f} ms of CPU to load"


def in_openvino(path: Path, rows: np.ndarray) -> np.ndarray:
    """Run a file in OpenVINO, in float32."""
    import openvino

    model = openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    found: np.ndarray = model({0: rows})[0]
    return found


if __name__ == "__main__":
    Path(sys.argv[2]).mkdir(parents=True, exist_ok=True)
    {"make": make, "check": check}[sys.argv[1]](Path(sys.argv[2]))
