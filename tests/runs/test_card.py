"""The card is Markdown with every value filled in."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from aecompress.deploy.checkpoint import load_model
from aecompress.errors import printable
from aecompress.events import Compared
from aecompress.runs.job import prepare
from aecompress.runs.run import run
from aecompress.spec.resolve import resolve

FIELDS = {
    "data.source": "binary-clusters:4x10x30",
    "model.hidden": [8],
    "model.latent": 4,
    "train.epochs": 2,
    "mode": "canonical",
}


def test_the_card_of_a_run(tmp_path: Path) -> None:
    job = prepare(resolve({path: ("test", value) for path, value in FIELDS.items()}), tmp_path / "run")
    (compared,) = (event for event in run(job) if isinstance(event, Compared))
    model, text = load_model(tmp_path / "run/model"), (tmp_path / "run/model/README.md").read_text()
    lines, metrics = text.splitlines(), model.about["metrics"]
    assert lines[0] == f"# Autoencoder 30-8-4-8-30 for {job.dataset.name}"
    assert f"{model.zeros:,} of {model.parameters:,} weights and biases are zero ({model.sparsity:.2%})." in lines[2]
    assert lines[4:6] == ["| split | l1 | mse | bce |", "|---|---|---|---|"]
    values = [f"{metrics[f'test_{name}']:.6f}" for name in ("l1", "mse", "bce")]
    assert lines[8] == f"| test | {' | '.join(values)} |"
    assert [line for line in lines if line.startswith("## ")] == ["## Before and after", "## How to run it"]
    head = lines.index("## Before and after") + 2
    assert lines[head] == "| " + " | ".join(compared.table()[0]) + " |"
    assert set(lines[head + 1]) == {"|", "-"} and lines[head + 1].count("|") == len(compared.table()[0]) + 1
    assert lines[head + 2] == "| " + " | ".join(compared.table()[1]) + " |"
    assert not re.search(r"{{|{%|\n\n\n", text) and text.endswith(
        f"spec {job.export.spec_hash}, seed {job.export.seed}.\n"
    )


def test_a_name_of_others_stays_text_in_the_card(tmp_path: Path) -> None:
    name = "a\n# b \x1b]0;x\x07<img src=x>|[c](d)`e&#33;\u202e"
    np.save(tmp_path / f"{name}.npy", np.random.default_rng(0).random((30, 6)))
    fields = FIELDS | {"data.source": str(tmp_path / f"{name}.npy"), "model.latent": 2}
    list(run(prepare(resolve({path: ("test", value) for path, value in fields.items()}), tmp_path / "run")))
    text = (tmp_path / "run/model/README.md").read_text()
    assert printable(text) == text
    title = "a # b \\x1b]0;x\\x07&#60;img src=x>&#124;&#91;c](d)&#96;e&#38;#33;\\u202e"
    assert text.splitlines()[0] == f"# Autoencoder 6-8-2-8-6 for {title}"
    assert [line for line in text.splitlines() if line.startswith("## ")] == ["## Before and after", "## How to run it"]
