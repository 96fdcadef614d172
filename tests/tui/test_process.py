from __future__ import annotations

import os
from pathlib import Path

from aecompress.steering import status_of
from aecompress_tui import process


def test_a_run_is_started_detached_and_ends_well(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    child = process.start(["prune", "digits", "--epochs", "2", "--quiet", "-o", str(folder)], folder)
    assert os.getsid(child.process.pid) == child.process.pid != os.getsid(0)
    assert process.wait(child) is None
    assert child.process.wait(60) == 0
    assert status_of(folder) == "finished" and child.began() and child.fault() is None
    process.forget(child)
    assert not child.errors.exists()


def test_a_run_that_cannot_start_leaves_its_error_message_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    child = process.start(["prune", str(tmp_path / "missing.npy"), "--quiet", "-o", str(folder)], folder)
    fault = process.wait(child)
    assert fault is not None and "missing.npy: no such file" in fault and len(fault.splitlines()) == 1
    assert not folder.exists() and not child.errors.exists()
