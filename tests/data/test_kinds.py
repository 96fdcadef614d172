"""Every kind of data: loaded, split, described; refused where its module is missing."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from aecompress.cli.main import app
from aecompress.data.base import Request
from aecompress.data.dataset import load, write_npz
from aecompress.data.describe import describe
from aecompress.data.kinds import check_installed
from aecompress.data.sources.registry import kind_of
from aecompress.data.sparse import few
from aecompress.errors import DataError
from aecompress.registry import SOURCES
from aecompress.spec.fields import DataSpec
from tests.commands import aecompress
from tests.data import ordered
from tests.data.test_interactions import SMALL

EXAMPLES = {"rows": "digits", "interactions": f"interactions:{SMALL}"}
"""A source of each kind: a new kind needs one here."""
KINDS = {kind.name: kind for kind in (kind_of(name) for name in SOURCES)}


def test_every_kind_has_a_source_and_an_example_here() -> None:
    assert EXAMPLES.keys() == KINDS.keys()
    assert all(kind.why_only and set(kind.only) < set(DataSpec.model_fields) for kind in KINDS.values() if kind.only)


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_is_loaded_and_described(kind: str) -> None:
    dataset = load(Request(source=EXAMPLES[kind]))
    assert dataset.kind.name == kind
    assert dataset.facts.sparse == KINDS[kind].sparse
    assert dataset.facts.shape == dataset.shape and np.prod(dataset.shape) == dataset.facts.inputs
    assert list(dataset.splits) == ["train", "validation", "test"]
    for rows in dataset.splits.values():
        assert rows.shape == (len(rows), dataset.facts.inputs)
        assert few(rows).dtype == np.float32
        assert rows.min() <= few(rows).min() and few(rows).max() <= rows.max()
    assert dataset.facts.rows == len(dataset.train)
    described = describe(dataset)
    assert json.loads(json.dumps(described, allow_nan=False)) == described
    assert described["constant_mse"] == pytest.approx(dense(dataset.train).var(0, dtype=float).mean())


def dense(rows: object) -> np.ndarray:
    return rows[:]  # type: ignore[index]


@pytest.mark.parametrize("kind", KINDS)
def test_the_seed_draws_the_split_of_every_kind(kind: str) -> None:
    request = Request(source=EXAMPLES[kind])
    first, again, other = load(request), load(request), load(replace(request, seed=1))
    assert first.fingerprint == again.fingerprint != other.fingerprint
    assert len(first.fingerprint) == 16
    sizes = [{name: len(rows) for name, rows in dataset.splits.items()} for dataset in (first, other)]
    assert sizes[0] == sizes[1]
    whole = [
        sorted(map(tuple, np.concatenate([dense(rows) for rows in one.splits.values()]))) for one in (first, other)
    ]
    assert whole[0] == whole[1]


@pytest.mark.parametrize("kind", KINDS)
def test_rows_are_written_where_they_are_not_sparse(tmp_path: Path, kind: str) -> None:
    dataset, path = load(Request(source=EXAMPLES[kind])), tmp_path / "rows.npz"
    if KINDS[kind].sparse:
        with pytest.raises(DataError, match=f"{kind} are kept sparse"):
            write_npz(dataset, path)
    else:
        write_npz(dataset, path)
    assert path.exists() != KINDS[kind].sparse


@pytest.mark.parametrize("kind", [kind for kind, row in KINDS.items() if row.needs])
@pytest.mark.parametrize("command", ["prune", "data"])
def test_a_kind_whose_module_is_missing_is_refused_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, command: str
) -> None:
    module = KINDS[kind].needs
    check_installed(KINDS[kind])
    monkeypatch.setitem(sys.modules, module, None)  # what an import finds where the module is not installed
    missing = f"{kind}:{tmp_path / 'not-even-there.csv'}"
    output = ["-o", str(tmp_path / "r")] if command == "prune" else []
    result = CliRunner().invoke(app, [command, missing, *output])
    assert result.exit_code == 2
    assert result.stderr.endswith(f"aecompress: {kind}: needs {module}; pip install 'aecompress[{kind}]'\n")
    assert result.stdout == "" and list(tmp_path.iterdir()) == []


def test_a_toy_kind_is_one_row_and_carries_out_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SOURCES, "ordered", ordered.ROW)
    rows = np.linspace(0, 1, 40)[:, None] * np.ones(6)
    np.savetxt(tmp_path / "rows.txt", rows)
    words = [f"ordered:{tmp_path / 'rows.txt'}", "--epochs", "2", "--cells", "3", "--hidden", "4", "--latent", "2"]
    refused = aecompress("prune", *words, "--test", "t.npy", "-o", tmp_path / "r")
    assert refused.returncode == 2 and not (tmp_path / "r").exists()
    assert refused.stderr.endswith(
        "aecompress: data.test = 't.npy': ordered rows are cut where the shares end; leave it out\n"
    )
    done = aecompress("prune", *words, "--quiet", "-o", tmp_path / "r")
    assert done.returncode == 0, done.stderr
    metrics = json.loads((tmp_path / "r" / "model" / "config.json").read_text())["metrics"]
    assert metrics["test_drift"] == pytest.approx(rows[-1, 0] - rows[36, 0], abs=1e-6)
