"""The files of layers that docs/models.md shows."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from aecompress.layers.kinds import KINDS
from aecompress.plan.network import network_of
from aecompress.spec.fields import RunSpec

TEXT = (Path(__file__).parents[1] / "docs" / "models.md").read_text(encoding="utf-8")
FILES = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)
SHAPES = [(8, 8), (64, 3)]


@pytest.mark.parametrize(("file", "shape"), list(zip(FILES, SHAPES, strict=True)))
def test_every_file_of_layers_is_a_network_of_its_rows(file: str, shape: tuple[int, ...]) -> None:
    spec = RunSpec.model_validate(tomllib.loads(file))
    net = network_of(spec.model, shape, spec.data.window > 0)
    assert net.shape == net.decoder[-1].gives == shape


def test_the_table_has_every_kind() -> None:
    table = TEXT[TEXT.index("| kind |") : TEXT.index("## Activations")]
    first = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    assert set(re.findall(r"`([a-z0-9-]+)`", " ".join(first))) == set(KINDS)
