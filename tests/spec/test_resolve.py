from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from aecompress.errors import SpecError
from aecompress.spec.fields import RunSpec
from aecompress.spec.resolve import override, resolve


def faults_of(flags: dict[str, Any] | None = None, **kwargs: Any) -> list[str]:
    with pytest.raises(SpecError) as caught:
        resolve({path: (f"--set {path}", value) for path, value in (flags or {}).items()}, **kwargs)
    return caught.value.faults


def test_flags_beat_the_file_beats_the_preset_beats_the_default(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text('preset = "paper-coevo"\nseed = 3\n[train]\nbatch = 8\n')
    got = resolve({"seed": ("--seed", 4)}, file)
    assert (got.spec.seed, got.spec.train.batch, got.spec.prune.operator, got.spec.train.warmup) == (
        4,
        8,
        "random",
        0.1,
    )
    assert [got.sources[path] for path in ("seed", "train.batch", "prune.operator", "train.warmup")] == [
        "--seed",
        str(file),
        "preset paper-coevo",
        "default",
    ]


def test_every_fault_is_reported_at_once_with_its_place() -> None:
    faults = faults_of(
        {"train.batch": 0, "train.bach": 3, "prune.operator": "wish", "data.split": [0.5, 0.1, 0.1]}, preset="nope"
    )
    assert len(faults) == 5
    text = "\n".join(faults)
    for part in ("preset = 'nope'", "train.batch = 0 (--set train.batch)", "did you mean train.batch?",
                 'prune.operator = "wish"', "must add up to 1"):  # fmt: skip
        assert part in text, part


@pytest.mark.parametrize(
    ("flags", "fault"),
    [
        ({"data.split": [0.0, 0.5, 0.5]}, "of training rows, must be above 0"),
        ({"data.split": [0.5, 0.5]}, "data.split"),
        ({"prune.start": 0.9, "prune.end": 0.8}, "must start before it ends"),
        ({"prune.start": 1.0}, "must start before it ends"),
        ({"prune.target_sparsity": 1.0}, "prune.target_sparsity = 1.0"),
        ({"prune.target_sparsity": -0.1}, "prune.target_sparsity = -0.1"),
        ({"prune.operator": "none", "prune.target_sparsity": 0.5}, "cannot reach prune.target_sparsity"),
        ({"model.encoder": [{"out": 3}]}, "write model.decoder too"),
        ({"model.encoder": [{"out": 0}], "model.decoder": [{"out": 3}]}, "model.encoder"),
        ({"model.encoder": [{"out": 3}], "model.decoder": [{"out": 4}], "model.latent": 3}, "leave both out"),
        ({"train.loss": "bce", "model.output": "identity"}, "needs model.output = 'sigmoid'"),
        ({"device": "gpu"}, "choose auto, cpu, cuda"),
        ({"device": "cpu:1"}, "choose auto, cpu, cuda"),
        ({"train.learning_rate": float("nan")}, "train.learning_rate"),
        ({"train.epochs": "many"}, "train.epochs"),
        ({"model.hidden": [0]}, "model.hidden"),
        ({"export.opset": 12}, "export.opset = 12"),
        ({"seed": -1}, "seed = -1"),
        ({"train": 3}, "train = 3"),
        ({"data.source": os.fsdecode(b"\xff.npy")}, "is not UTF-8, as a spec file is; rename the file"),
    ],
)
def test_bad_values_are_named(flags: dict[str, Any], fault: str) -> None:
    assert fault in "\n".join(faults_of(flags))


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "broken.toml"
    broken.write_text("[train\n")
    assert "is not TOML" in faults_of(file=broken)[0]
    assert "cannot be read" in faults_of(file=tmp_path / "missing.toml")[0]


def test_true_and_false_are_no_numbers() -> None:
    assert faults_of({"train.batch": True}) == [
        "train.batch = true (--set train.batch): is true or false, which it cannot be"
    ]
    assert "which it cannot be" in faults_of({"model.hidden": [8, True]})[0]
    assert resolve({"export.embed_scaling": ("--embed-scaling", True)}).spec.export.embed_scaling


def test_a_field_that_is_overridden_has_a_new_source() -> None:
    before = resolve({"train.batch": ("--batch", 8)})
    after = override(before, "train.batch", 16, "test")
    assert (after.spec.train.batch, after.sources["train.batch"]) == (16, "test")
    assert (before.spec.train.batch, before.sources["train.batch"]) == (8, "--batch")
    assert after.spec == RunSpec.model_validate({"train": {"batch": 16}})


@pytest.mark.parametrize("rule", ["opponents", "panmictic"])
def test_a_way_of_training_is_refused_without_training(rule: str) -> None:
    flags = {"evolve.rule": ("test", rule), "train.epochs": ("test", 0), "model.init": ("test", "m.onnx")}
    with pytest.raises(SpecError, match="is a way of training"):
        resolve(flags)


def test_a_fault_quotes_little_of_what_is_long() -> None:
    long = "x" * 5000
    found = faults_of({"device": long, "seed": long, long: 1}) + faults_of(preset=long)
    assert len(found) >= 4 and max(map(len, found)) < 700, found
