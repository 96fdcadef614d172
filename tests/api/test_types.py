"""The types that a caller's type checker sees."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CALLER = Path(__file__).with_name("typed_caller.py")


@pytest.mark.slow
def test_a_caller_is_typed_under_mypy_strict(tmp_path: Path) -> None:
    assert (ROOT / "aecompress" / "py.typed").is_file()
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file", str(ROOT / "pyproject.toml")]
    command += ["--cache-dir", str(ROOT / ".mypy_cache")]
    done = subprocess.run([*command, str(CALLER)], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout
    wrong = tmp_path / "wrong.py"
    wrong.write_text(re.sub(r"result\.sparsity, float", "result.sparsity, str", CALLER.read_text()))
    done = subprocess.run([*command, str(wrong)], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 1 and "assert-type" in done.stdout, "the check sees a wrong type"
