"""What a new run reads before torch: in which order it is checked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aecompress.errors import DataError, DeviceError, OutputError, TableError
from aecompress.runs.inputs import files_of, read_inputs
from aecompress.spec.resolve import Resolved, resolve


def spec(**fields: Any) -> Resolved:
    return resolve({path.replace("_", ".", 1): ("test", value) for path, value in fields.items()})


def test_rows_and_folder_are_what_the_run_gets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("rows.npy", np.random.default_rng(0).random((20, 3)))
    inputs = read_inputs(spec(data_source="rows.npy"))
    assert len(inputs.dataset.train) == 16 and inputs.folder.parent == Path("runs")
    assert not inputs.folder.exists(), "nothing is written"
    assert read_inputs(spec(data_source="rows.npy"), Path("here")).folder == Path("here")


def test_the_folder_is_checked_first_then_the_device_then_the_rows(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    missing = str(tmp_path / "missing.npy")
    with pytest.raises(OutputError):
        read_inputs(spec(data_source=missing, device="cuda:99"), tmp_path)
    with pytest.raises(DeviceError):
        read_inputs(spec(data_source=missing, device="cuda:99"), tmp_path / "new")
    with pytest.raises(DataError, match="no such file"):
        read_inputs(spec(data_source=missing, device="cpu"), tmp_path / "new")


def test_columns_that_float32_does_not_hold_are_refused_with_the_command_without_them(tmp_path: Path) -> None:
    lines = [f"{row % 7},{1e12 + row},{row % 5}" for row in range(40)]
    (tmp_path / "rows.csv").write_text("\n".join(["a,far,b", *lines]) + "\n")
    with pytest.raises(TableError, match="column 1 .'far'. has values") as fault:
        read_inputs(spec(data_source=str(tmp_path / "rows.csv")), tmp_path / "new")
    assert fault.value.command.endswith("rows.csv --columns a,b")


def test_every_file_of_a_spec_is_an_input(tmp_path: Path) -> None:
    found = files_of(spec(data_source="a.npy", data_test="t.npy", data_val="v.npy").spec)
    assert found == [Path("a.npy"), Path("v.npy"), Path("t.npy")]
