"""A study that is over in seconds, carried out once for all tests that only read it."""

from __future__ import annotations

from pathlib import Path

import pytest

from aecompress.study.design import Study, read_study
from aecompress.study.sweep import serial, sweep

TINY = """
name = "tiny"
question = "What <does> pruning do?"
seeds = 3
preset = "paper-coevo-sync"
[spec]
data.source = "binary-clusters:2x10x20"
train.epochs = 4
train.learning_rate = 1e-3
evolve.cells = 3
prune.schedule = "fixed"
[[group]]
name = "one"
preset = "paper-canonical"
spec = { prune.operator = "none" }
expected = 0.5
within = 0.1
[[group]]
name = "ring"
grid = { prune.operator = ["random", "variance"] }
[[claim]]
text = "Ring beats one"
lower = "ring, random"
higher = "one"
"""


def tiny(folder: Path, text: str = TINY) -> Study:
    path = folder / "study-file.toml"
    path.write_text(text)
    return read_study(path)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its folder; not to be changed."""
    folder = tmp_path_factory.mktemp("finished")
    sweep(tiny(folder), folder / "tiny", serial, 1, lambda: None, lambda progress: None)
    return folder / "tiny"
