"""Files of strangers, by every command that reads them: exit 2 (3 of `verify`), a short sentence, nothing written.

What each reader refuses has its own tests; these are the commands, with the files that once gave a traceback.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import safetensors.numpy
import torch
from onnx import TensorProto, helper, numpy_helper

from tests.commands import aecompress
from tests.deploy.models import INPUTS, tiny_model, write_model

LONG = "9" * 5000
EVIL = "\x1b]0;title\x07"
TEXTS = {
    "deep.toml": "a = " + "[" * 3000 + "]" * 3000,
    "digits.toml": "seed = " + LONG,
    "dotted.toml": "[" + ".".join("a" * 3000) + "]\nx = 1\n",
    "rows.csv": "1,2\n3,4\n5,6\n",
    "names.csv": f"{EVIL}name,b\n1,2\n3,4\n5,6\n",
    "pairs.csv": "a,b\na,c\nb,c\n",
    "report.onnx": "mine",
}


def weights(first: str, kind: str = "f4") -> dict[str, np.ndarray]:
    return {f"{first}.weight": np.zeros((4, INPUTS), kind), "b.weight": np.zeros((INPUTS, 4), "f4")}


def torch_file(state: dict[object, np.ndarray]) -> Callable[[Path], None]:
    return lambda path: torch.save({key: torch.from_numpy(value) for key, value in state.items()}, path)


def safetensors_file(state: dict[str, np.ndarray]) -> Callable[[Path], None]:
    return lambda path: safetensors.numpy.save_file(state, path)


def elsewhere(location: str) -> TensorProto:
    tensor = TensorProto(
        name="w", data_type=TensorProto.FLOAT, dims=(INPUTS, INPUTS), data_location=TensorProto.EXTERNAL
    )
    tensor.external_data.add(key="location", value=location)
    return tensor


def onnx_file(
    nodes: list[onnx.NodeProto], stored: tuple[TensorProto, ...] = (), inputs: int = 1
) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        names = [*(f"x{number}" for number in range(inputs)), "y"]
        ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", INPUTS]) for name in names]
        graph = helper.make_graph(nodes, "g", ports[:-1], ports[-1:], stored)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
        path.write_bytes(model.SerializeToString())

    return write


PRODUCT = helper.make_node("Gemm", ["x0", "w"], ["y"])
FILES: dict[str, Callable[[Path], None]] = {
    "numbers.pt": torch_file({1: weights("a")["a.weight"], 2: weights("a")["b.weight"]}),
    "digits.pt": torch_file({**weights(LONG)}),
    "digits.safetensors": safetensors_file(weights(LONG)),
    "names.safetensors": safetensors_file(weights(EVIL, "i8")),
    "constant.onnx": onnx_file([helper.make_node("Constant", [], ["w"], value=elsewhere("../../etc/passwd")), PRODUCT]),
    "long.onnx": onnx_file([PRODUCT], (elsewhere("x" * 5000),)),
    "two.onnx": onnx_file([helper.make_node("Add", ["x0", "x1"], ["y"])], inputs=2),
    "beyond.onnx": onnx_file(
        [helper.make_node("Gather", ["w", "far"], ["row"]), helper.make_node("Add", ["x0", "row"], ["y"])],
        (
            numpy_helper.from_array(np.eye(INPUTS, dtype=np.float32), "w"),
            numpy_helper.from_array(np.array(9999), "far"),
        ),
    ),
}
ONNX = [name for name in FILES if name.endswith(".onnx")]
ENDLESS = ("pipe.onnx", "zero.onnx")
"""Files that are never read to their end: a pipe that nothing writes into, and a link to a device."""
COMMANDS = [
    *(["spec", "--spec", name] for name in ("deep.toml", "digits.toml", "dotted.toml")),
    *(["sweep", name, "-o", "out"] for name in ("deep.toml", "digits.toml", "dotted.toml")),
    ["spec", "--set", f"seed={LONG}"],
    ["spec", "--set", "data.split=" + "[" * 3000],
    ["data", "interactions:pairs.csv", "--columns", "²,0"],
    ["data", "rows.csv", "--columns", LONG],
    ["data", "names.csv", "--columns", "zz"],
    *(["prune", "digits", "--init", name, "--epochs", "1", "-o", "out", "--quiet"] for name in FILES),
    *(["verify", name, "model"] for name in (*ONNX, *ENDLESS)),
    *(["bench", name, "--seconds", "0.01"] for name in (*ONNX, *ENDLESS)),
    ["bench", "beyond.onnx", "--batch", LONG],
    ["front", "\n".join([LONG[:3000]] * 3)],
    ["data", f"binary-clusters:{LONG}x1x1"],
    *(["export", name, "--dense", "-o", "report.onnx"] for name in (*ONNX, *ENDLESS)),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hostile")
    for name, text in TEXTS.items():
        (folder / name).write_text(text)
    for name, write in FILES.items():
        write(folder / name)
    os.mkfifo(folder / ENDLESS[0])
    (folder / ENDLESS[1]).symlink_to("/dev/zero")
    (folder / "model").mkdir()
    write_model(folder / "model", tiny_model())
    return folder


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: " ".join(words)[:50])
def test_a_command_refuses_it_in_a_short_sentence(folder: Path, words: list[str]) -> None:
    before = content(folder)
    done = aecompress(*words, cwd=folder)
    assert done.returncode == (3 if words[0] == "verify" and words[1] not in ENDLESS else 2), done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("aecompress: ") and line.isprintable() and len(line) <= 1000
    assert (done.stdout == "" or words[0] == "verify") and done.stdout.replace("\t", "").replace("\n", "").isprintable()
    assert content(folder) == before and not (folder / "out").exists()
