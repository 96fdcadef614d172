"""Models in safetensors files."""

from __future__ import annotations

import json
import struct
import time
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch

from aecompress.deploy.checkpoint import save_model
from aecompress.deploy.pretrained import safetensors as safetensors_format
from aecompress.errors import DataError
from tests.deploy.models import tiny_model
from tests.deploy.pretrained.modules import Plain, shapes


def test_our_own_model_folder_brings_its_activations(tmp_path: Path) -> None:
    model = tiny_model("tanh")
    save_model(tmp_path, model)
    pretrained = safetensors_format.read(tmp_path / "model.safetensors")
    assert shapes(pretrained) == shapes(model)


def test_bfloat16_comes_in_and_a_config_of_another_program_is_passed_over(tmp_path: Path) -> None:
    state = {name: tensor.bfloat16() for name, tensor in Plain().state_dict().items()}
    safetensors.torch.save_file(state, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text('{"model_type": "other"}')
    pretrained = safetensors_format.read(tmp_path / "model.safetensors")
    assert np.array_equal(pretrained.tensors["encoder.0.weight"], state["encoder.0.weight"].float().numpy().T)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff" * 40,
        struct.pack("<Q", 1 << 60) + b"{}",
        struct.pack("<Q", 90) + b"{" * 90,
        *(
            struct.pack("<Q", len(header)) + header + b"\0" * 16
            for header in (
                json.dumps({"w": {"dtype": "F32", "shape": [1 << 40, 1 << 40], "data_offsets": [0, 16]}}).encode(),
                json.dumps({"w": {"dtype": "F32", "shape": [4], "data_offsets": [0, 1 << 50]}}).encode(),
                json.dumps({"w": {"dtype": "F32", "shape": [2, 2], "data_offsets": [16, 0]}}).encode(),
            )
        ),
    ],
)
def test_hostile_safetensors_are_refused_at_once(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.safetensors").write_bytes(data)
    began = time.perf_counter()
    with pytest.raises(DataError, match=r"a\.safetensors"):
        safetensors_format.read(tmp_path / "a.safetensors")
    assert time.perf_counter() - began < 5


def test_a_file_of_a_million_tensors_is_refused_by_its_head(tmp_path: Path) -> None:
    with (tmp_path / "a.safetensors").open("wb") as file:
        file.write((5 << 20).to_bytes(8, "little"))
        file.truncate(6 << 20)
    with pytest.raises(DataError, match=r"a\.safetensors: has a list of tensors of 5 MiB; give the weights of one"):
        safetensors_format.read(tmp_path / "a.safetensors")
