"""State dicts: tensors come in, code does not."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from aecompress.deploy.pretrained.statedict import read_state_dict
from aecompress.errors import DataError


class Code:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.path}",)


def test_a_file_with_code_is_refused_and_the_code_not_run(tmp_path: Path) -> None:
    torch.save({"w": Code(tmp_path / "ran")}, tmp_path / "a.pt")
    with pytest.raises(DataError, match=r"a\.pt: holds more than tensors"):
        read_state_dict(tmp_path / "a.pt")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("held", [nn.Linear(2, 2), [torch.ones(2)], {}, {"a": 3}])
def test_what_is_no_state_dict_is_refused(tmp_path: Path, held: object) -> None:
    torch.save(held, tmp_path / "a.pt")
    with pytest.raises(DataError, match=r"a\.pt: holds .*torch\.save\(model\.state_dict\(\)"):
        read_state_dict(tmp_path / "a.pt")


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04 broken", b"text"])
def test_a_damaged_file_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.pt").write_bytes(data)
    with pytest.raises(DataError, match=r"a\.pt"):
        read_state_dict(tmp_path / "a.pt")


def test_masks_of_torchs_pruning_are_applied(tmp_path: Path) -> None:
    layer = nn.Linear(6, 5)
    prune.l1_unstructured(layer, "weight", 0.5)
    torch.save({"state_dict": layer.half().state_dict()}, tmp_path / "a.pt")
    found = read_state_dict(tmp_path / "a.pt")
    assert found.keys() == {"weight", "bias"}
    assert found["weight"].dtype == np.float32
    assert np.count_nonzero(found["weight"]) == 15
    assert found["weight"] == pytest.approx(layer.weight.detach().float().numpy(), rel=1e-3)


def test_sparse_tensors_are_refused(tmp_path: Path) -> None:
    torch.save({"a.weight": torch.eye(3).to_sparse()}, tmp_path / "a.pt")
    with pytest.raises(DataError, match=r"a\.weight is not a plain dense tensor"):
        read_state_dict(tmp_path / "a.pt")


def test_keys_that_are_no_names_are_no_state_dict(tmp_path: Path) -> None:
    torch.save({0: torch.zeros(3, 2)}, tmp_path / "a.pt")
    with pytest.raises(DataError, match="holds no state dict"):
        read_state_dict(tmp_path / "a.pt")


def test_tensors_that_the_memory_does_not_hold_are_refused_before_they_are_made(tmp_path: Path) -> None:
    torch.save({"a.weight": torch.rand(1).expand(1 << 40, 8)}, tmp_path / "a.pt")
    with pytest.raises(DataError, match=r"a\.weight repeats few values"):
        read_state_dict(tmp_path / "a.pt")


def test_a_mask_of_another_shape_is_named(tmp_path: Path) -> None:
    torch.save({"a.weight_orig": torch.zeros(3, 2), "a.weight_mask": torch.zeros(2)}, tmp_path / "a.pt")
    with pytest.raises(DataError, match="weight_orig and its mask have different shapes"):
        read_state_dict(tmp_path / "a.pt")


def test_a_state_dict_that_unpacks_to_far_more_is_refused_before_it_is_read(tmp_path: Path) -> None:
    torch.save({"a.weight": torch.zeros(2000, 2000)}, tmp_path / "plain.pt")
    with (
        zipfile.ZipFile(tmp_path / "plain.pt") as plain,
        zipfile.ZipFile(tmp_path / "a.pt", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for member in plain.infolist():
            packed.writestr(member.filename, plain.read(member))
    with pytest.raises(DataError, match=r"a\.pt: unpacks to more than 200 times its size"):
        read_state_dict(tmp_path / "a.pt")
