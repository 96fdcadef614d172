"""Operators and schedules of other packages, as an installed package brings them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from aecompress import plugins
from aecompress.deploy.checkpoint import load_model
from aecompress.errors import SpecError
from aecompress.evolve.operators import operator_of
from aecompress.evolve.schedules import Shape, schedule
from aecompress.spec.resolve import resolve

PACKAGE = Path(__file__).parent / "fixtures" / "plugin"


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(PACKAGE))


@pytest.mark.usefixtures("installed")
def test_an_installed_package_is_found_and_loaded_only_when_named() -> None:
    assert plugins.names(plugins.OPERATORS) == ["absent", "short", "signed", "wrong"]
    assert resolve({"prune.operator": ("--operator", "signed")}).spec.prune.operator == "signed"
    assert "example_plugin" not in sys.modules
    assert operator_of("signed").level == "weight"
    assert [schedule("halfway", Shape(0.5, 4))(t) for t in range(4)] == [0.0, 0.0, 0.5, 0.5]
    sys.modules.pop("example_plugin")


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(("name", "said"), [("wrong", "is no Operator"), ("absent", "cannot be loaded")])
def test_a_package_that_is_broken_is_named(name: str, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        operator_of(name)


@pytest.mark.usefixtures("installed")
def test_a_schedule_that_is_no_function_is_named() -> None:
    with pytest.raises(SpecError, match="no function that makes"):
        schedule("number", Shape(0.5, 4))


def test_without_it_the_name_is_refused_with_ours() -> None:
    with pytest.raises(SpecError, match="'conjunctive' or a plug-in's name, and none is installed"):
        resolve({"prune.operator": ("--operator", "signed")})


@pytest.mark.usefixtures("installed")
def test_a_wrong_name_beside_it_is_refused_with_theirs() -> None:
    with pytest.raises(SpecError, match="a plug-in's: halfway, number"):
        resolve({"prune.schedule": ("--schedule", "sometimes")})


def pruned_by(operator: str, where: Path) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable, "-m", "aecompress", "prune", "binary-clusters:4x10x30", "--hidden", "8", "--latent", "4",
        "--epochs", "6", "--batch", "8", "--mode", "canonical", "--operator", operator, "--schedule", "halfway",
        "--target-sparsity", "0.4", "--regrowth", "0", "--quiet", "-o", str(where),
    ]  # fmt: skip
    return subprocess.run(command, env=os.environ | {"PYTHONPATH": str(PACKAGE)}, capture_output=True, text=True)


def test_scores_of_another_shape_are_told_to_whoever_brings_them(tmp_path: Path) -> None:
    done = pruned_by("short", tmp_path / "r")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "one per weight would be [1, " in done.stderr


def test_a_run_prunes_by_a_plug_in(tmp_path: Path) -> None:
    done = pruned_by("signed", tmp_path / "r")
    assert done.returncode == 0, done.stderr
    model = load_model(tmp_path / "r" / "model")
    values = np.concatenate([tensor.ravel() for tensor in model.tensors.values()])
    assert model.zeros == round(0.4 * model.parameters)
    assert (values > 0).sum() > 3 * (values < 0).sum()
