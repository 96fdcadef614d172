"""Run every file in one client and print what came out, a JSON line a file; needs the client and NumPy alone.

    python -I run.py KIND FOLDER FIRST

FOLDER has ``cases.json``, the files and what they are to give (:mod:`tests.clients.files`). Files from number FIRST on
are run, so that whoever reads the lines can go on after a client that took the process down.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np


def onnxruntime_session(path, options):
    import onnxruntime as library

    options.intra_op_num_threads, options.log_severity_level = 1, 4
    return library.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def onnxruntime(path):
    import onnxruntime as library

    session = onnxruntime_session(path, library.SessionOptions())
    name = session.get_inputs()[0].name
    return lambda rows: session.run(None, {name: rows})[0]


def onnxruntime_operators(path, rows):
    """The operators that a call runs, with their numbers: what is left of the graph once it is loaded."""
    import onnxruntime as library

    with tempfile.TemporaryDirectory() as folder:
        options = library.SessionOptions()
        options.enable_profiling, options.profile_file_prefix = True, str(Path(folder) / "profile")
        session = onnxruntime_session(path, options)
        session.run(None, {session.get_inputs()[0].name: rows})
        found = json.loads(Path(session.end_profiling()).read_text())
    names = [one["args"]["op_name"] for one in found if one["cat"] == "Node" and one["name"].endswith("_kernel_time")]
    return dict(sorted(Counter(names).items()))


def openvino(path):
    import openvino as library

    compiled = library.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda rows: compiled({0: rows})[0]


def openvino_by_default(path, rows):
    """Run once as users do, in bfloat16 where the processor has it, which is to work too; it lists no operators."""
    import openvino as library

    library.Core().compile_model(str(path), "CPU")({0: rows})
    return {}


def onnx(path):
    from onnx.reference import ReferenceEvaluator

    evaluator = ReferenceEvaluator(str(path))
    return lambda rows: evaluator.run(None, {evaluator.input_names[0]: rows})[0]


def tract(path):
    import tract as library

    runnable = library.onnx().load(str(path)).into_model().into_runnable()
    return lambda rows: runnable.run([rows])[0].to_numpy()


def opencv(path):
    import cv2 as library

    network = library.dnn.readNetFromONNX(str(path))

    def call(rows):
        network.setInput(rows)
        return network.forward()

    return call


CLIENTS = {"onnxruntime": onnxruntime, "openvino": openvino, "onnx": onnx, "tract": tract, "opencv": opencv}
"""Each loads a file and gives what runs it on rows."""
BESIDE = {"onnxruntime": onnxruntime_operators, "openvino": openvino_by_default}
"""What else is seen of a file; it gives the operators that are left."""


def numbers(path, ending, kind, shape):
    return np.fromfile(path.with_name(f"{path.name}.{ending}"), kind).reshape(shape)


def compared(got, right, allowed):
    """The largest difference, and the largest as a share of the allowed one; None where there is none."""
    got = np.asarray(got)
    if got.shape != right.shape or not np.isfinite(got).all():
        return None
    off = np.abs(got.astype(np.float64) - right)
    return float(off.max(initial=0.0)), float((off / allowed).max(initial=0.0))


def answer(kind, folder, case):
    path = folder / case["file"]
    shape, rows = case["right_shape"], numbers(path, "given", "<f4", case["given_shape"])
    allowed = numbers(path, "allowed", "<f8", shape)
    right = {1: numbers(path, "one", "<f8", [1, *shape]), len(rows): numbers(path, "right", "<f8", [len(rows), *shape])}
    try:
        begun = time.perf_counter()
        call = CLIENTS[kind](path)
        milliseconds = 1000 * (time.perf_counter() - begun)
        found = [compared(call(np.ascontiguousarray(rows[:many])), right[many], allowed) for many in right]
        operators = BESIDE[kind](path, rows) if kind in BESIDE else {}
    except Exception as fault:
        return {"refused": " ".join(f"{type(fault).__name__}: {fault}".split())[:300]}
    off, share = (None, None) if None in found else map(max, zip(*found, strict=True))
    return {"off": off, "share": share, "milliseconds": milliseconds, "operators": operators}


def main(kind, folder, first):
    for case in json.loads((folder / "cases.json").read_text())[first:]:
        print(json.dumps(answer(kind, folder, case)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
