"""The clients with their versions, and what is known not to work in which: one row each."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from tests.clients.files import Case


class Client(NamedTuple):
    """A runtime of one version."""

    kind: str
    """A name in CLIENTS of run.py, or a package of npm that run.mjs runs."""
    packages: tuple[str, ...]
    """All that is installed, dependencies too, each of one version."""
    opset: int = 24
    """The newest opset that it takes; it refuses files of later ones."""

    @property
    def node(self) -> bool:
        """Return whether it comes from npm."""
        return "@" in self.packages[0]


OLD, NEW = "numpy==1.26.4", "numpy==2.4.6"
WEB = "onnxruntime-common@1.30.0"
CLIENTS: dict[str, Client] = {
    "onnxruntime 1.15.0": Client("onnxruntime", ("onnxruntime==1.15.0", OLD), opset=19),
    "onnxruntime 1.16.3": Client("onnxruntime", ("onnxruntime==1.16.3", OLD), opset=19),
    "onnxruntime 1.20.1": Client("onnxruntime", ("onnxruntime==1.20.1", NEW), opset=21),
    "onnxruntime 1.32.0": Client("onnxruntime", ("onnxruntime==1.32.0", NEW)),
    "OpenVINO 2024.6.0": Client("openvino", ("openvino==2024.6.0", OLD, "packaging==26.3")),
    "OpenVINO 2025.4.1": Client("openvino", ("openvino==2025.4.1", OLD, "packaging==26.3")),
    "OpenVINO 2026.4.1": Client("openvino", ("openvino==2026.4.1", NEW, "packaging==26.3")),
    "onnx evaluator 1.16.2": Client("onnx", ("onnx==1.16.2", OLD, "protobuf==4.25.8")),
    "onnx evaluator 1.23.2": Client(
        "onnx", ("onnx==1.23.2", NEW, "protobuf==7.36.2", "ml_dtypes==0.6.0", "typing_extensions==4.16.0")
    ),
    "tract 0.23.9": Client("tract", ("tract==0.23.9", NEW)),
    "OpenCV 5.0.0": Client("opencv", ("opencv-python-headless==5.0.0.93", NEW)),
    "onnxruntime-node 1.30.0": Client("onnxruntime-node", ("onnxruntime-node@1.30.0", WEB)),
    "onnxruntime-web 1.30.0": Client("onnxruntime-web", ("onnxruntime-web@1.30.0", WEB)),
}


class Limit(NamedTuple):
    """Files that a client is known not to compute."""

    client: str
    """How its name begins."""
    where: Callable[[Case], bool]
    outcome: str
    """"refused" or "wrong"."""
    why: str


LIMITS: tuple[Limit, ...] = (
    Limit(
        client="onnx evaluator",
        where=lambda case: "int8" in case.variant.split() and case.opset < 19,
        outcome="refused",
        why="DequantizeLinear from opset 19 on",
    ),
    Limit(
        client="OpenCV",
        where=lambda case: case.variant in ("int8", "scorer int8") and case.part in ("autoencoder", "scorer"),
        outcome="refused",
        why="an assertion of its own",
    ),
)
"""The first that fits holds."""


def expectation(name: str, case: Case) -> tuple[str, str]:
    """Return what a client is expected to make of a file, "right", "refused" or "wrong", and why."""
    if case.opset > CLIENTS[name].opset:
        return "refused", f"takes opsets up to {CLIENTS[name].opset}"
    for limit in LIMITS:
        if name.startswith(limit.client) and limit.where(case):
            return limit.outcome, limit.why
    return "right", ""
