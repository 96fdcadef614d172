"""The control file of a run that is carried out; tests/runs/test_resume.py gives the orders."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from aecompress.errors import Interrupted
from aecompress.runs.control import Control


def test_an_order_is_obeyed_and_a_link_or_a_pipe_is_none(tmp_path: Path) -> None:
    def poll() -> None:
        Control(tmp_path, lambda: None, lambda event: None).poll()

    (tmp_path / "order").write_text("stop\n")
    (tmp_path / "control").symlink_to(tmp_path / "order")
    poll()
    (tmp_path / "control").unlink()
    os.mkfifo(tmp_path / "control")
    poll()
    (tmp_path / "control").unlink()
    (tmp_path / "control").write_bytes(b" stop\xff\n")
    poll()
    (tmp_path / "control").write_text("stop\n")
    with pytest.raises(Interrupted, match="stopped by control"):
        poll()
