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


def onnxruntime(path, options=None):
    import onnxruntime as library

    options = options or library.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    session = library.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda rows: session.run(None, {name: rows})[0], session


def onnxruntime_operators(path, rows):
    """The operators that a call runs, with their numbers: what is left of the graph once it is loaded."""
    import onnxruntime as library

    with tempfile.TemporaryDirectory() as folder:
        options = library.SessionOptions()
        options.enable_profiling, options.profile_file_prefix = True, str(Path(folder) / "profile")
        call, session = onnxruntime(path, options)
        call(rows)
        found = json.loads(Path(session.end_profiling()).read_text())
    names = [one["args"]["op_name"] for one in found if one["cat"] == "Node" and one["name"].endswith("_kernel_time")]
    return dict(sorted(Counter(names).items()))


def openvino(path):
    import openvino as library

    compiled = library.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda rows: compiled({0: rows})[0], compiled


def onnx(path):
    from onnx.reference import ReferenceEvaluator

    evaluator = ReferenceEvaluator(str(path))
    return lambda rows: evaluator.run(None, {evaluator.input_names[0]: rows})[0], evaluator


def tract(path):
    import tract as library

    framework = library.onnx()
    model = getattr(framework, "load", None) or framework.model_for_path
    runnable = model(str(path)).into_model().into_runnable()
    return lambda rows: runnable.run([rows])[0].to_numpy(), runnable


def opencv(path):
    import cv2 as library

    network = library.dnn.readNetFromONNX(str(path))

    def call(rows):
        network.setInput(rows)
        return network.forward()

    return call, network


CLIENTS = {"onnxruntime": onnxruntime, "openvino": openvino, "onnx": onnx, "tract": tract, "opencv": opencv}


def difference(got, right):
    """The largest difference of two arrays; None where they are not comparable."""
    got = np.asarray(got)
    if got.shape != right.shape or not np.isfinite(got).all():
        return None
    return float(np.abs(got.astype(np.float64) - right).max(initial=0.0))


def answer(kind, folder, case):
    path = folder / case["file"]
    rows = np.fromfile(folder / case["given"], "<f4").reshape(case["given_shape"])
    count, shape = len(rows), case["right_shape"]
    right = {
        1: np.fromfile(folder / case["right_of_one"], "<f8").reshape([1, *shape]),
        count: np.fromfile(folder / case["right"], "<f8").reshape([count, *shape]),
    }
    try:
        begun = time.perf_counter()
        call, kept = CLIENTS[kind](path)
        milliseconds = 1000 * (time.perf_counter() - begun)
        differences = [difference(call(np.ascontiguousarray(rows[:many])), right[many]) for many in right]
        operators = onnxruntime_operators(path, rows) if kind == "onnxruntime" else {}
    except Exception as fault:
        return {"refused": " ".join(f"{type(fault).__name__}: {fault}".split())[:300]}
    worst = None if None in differences else max(differences)
    return {"difference": worst, "milliseconds": milliseconds, "operators": operators}


def main(kind, folder, first):
    for case in json.loads((folder / "cases.json").read_text())[first:]:
        print(json.dumps(answer(kind, folder, case)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
