"""Operators, schedules and layer kinds of other packages, as an installed package brings them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import aecompress
from aecompress import plugins
from aecompress.deploy.checkpoint import load_model, save_model
from aecompress.deploy.reference import reconstruct
from aecompress.errors import DataError, SpecError
from aecompress.events import Finished
from aecompress.evolve.operators import operator_of
from aecompress.evolve.schedules import Shape, schedule
from aecompress.layers.dense import Dense
from aecompress.layers.kinds import kind_of
from aecompress.plan.first import first_population
from aecompress.runs.job import prepare
from aecompress.runs.model import model_of
from aecompress.runs.run import run
from aecompress.spec.resolve import Resolved, resolve

PACKAGE = Path(__file__).parent / "fixtures" / "plugin"


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the package in reach, as one that no test has loaded yet."""
    monkeypatch.syspath_prepend(str(PACKAGE))
    monkeypatch.delitem(sys.modules, "example_plugin", raising=False)


@pytest.mark.usefixtures("installed")
def test_an_installed_package_is_found_and_loaded_only_when_named() -> None:
    assert plugins.names(plugins.OPERATORS) == ["absent", "short", "signed", "wrong"]
    assert resolve({"prune.operator": ("--operator", "signed")}).spec.prune.operator == "signed"
    assert "example_plugin" not in sys.modules
    assert operator_of("signed").level == "weight"
    assert [schedule("halfway", Shape(0.5, 4))(t) for t in range(4)] == [0.0, 0.0, 0.5, 0.5]


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


def spec_of(*layers: dict[str, Any]) -> Resolved:
    """A spec whose encoder begins with these layers."""
    fields = {
        "data.source": "binary-clusters:4x10x30",
        "train.epochs": 3,
        "mode": "canonical",
        "prune.target_sparsity": 0.4,
        "model.encoder": [*layers, {"out": 3, "activation": "identity"}],
        "model.decoder": [{"kind": "dense", "out": 30, "activation": "sigmoid"}],
    }
    return resolve({path: ("test", value) for path, value in fields.items()})


SHIFT = {"kind": "shift", "out": 8, "by": [2, 1], "order": "backward"}


@pytest.mark.usefixtures("installed")
def test_a_run_has_a_layer_kind_of_a_plug_in(tmp_path: Path) -> None:
    *_, end = run(prepare(spec_of(SHIFT), tmp_path / "r"))
    assert isinstance(end, Finished)
    model = load_model(tmp_path / "r" / "model")
    assert [layer.kind for layer in model.layers] == ["shift", "dense", "dense"]
    config = json.loads((tmp_path / "r" / "model" / "config.json").read_text())
    assert config["encoder"][0] == {"in": 30, **SHIFT, "activation": "relu"}
    rows = np.random.default_rng(0).random((5, 30), dtype=np.float32)
    given = aecompress.load(tmp_path / "r")(torch.from_numpy(rows)).detach()
    np.testing.assert_allclose(given, reconstruct(model, rows)[1], rtol=1e-4, atol=1e-5)
    assert model.zeros == round(0.4 * model.parameters)


@pytest.mark.usefixtures("installed")
def test_our_own_layer_kinds_are_not_replaced() -> None:
    assert kind_of("dense") is Dense
    assert "dense" in plugins.names(plugins.LAYERS)


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("layer", "said"),
    [
        ({"kind": "missing"}, "layer 0: kind = 'missing': example_plugin_that_is_not_there:X cannot be loaded"),
        ({"kind": "nothing"}, "layer 0: kind = 'nothing': its package brings 'not an operator', .* no layer kind"),
        ({"kind": "renamed"}, "layer 0: kind = 'renamed': .* no layer kind of that name; ask its author"),
        ({"kind": "thawed"}, "layer 0: kind = 'thawed': .*Thawed'>, which is not a frozen dataclass; ask its author"),
        ({"kind": "swirl"}, "layer 0: kind = 'swirl': choose one of .*dense, .*lame, missing, nothing, renamed, shift"),
        ({"kind": "shift"}, "layer 0: a shift layer needs 'by', a whole number or a list of these; add it"),
        ({"kind": "shift", "by": "2"}, "layer 0: by = '2': a shift layer takes a whole number or a list of these"),
        ({"kind": "shift", "by": [2.5]}, r"layer 0: by = \[2.5\]: a shift layer takes a whole number or a list of th"),
        ({"kind": "shift", "by": [1], "order": "up"}, "order = 'up': a shift layer takes one of forward, backward "),
    ],
)  # fmt: skip
def test_a_layer_that_a_plug_in_cannot_make_is_named(layer: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        prepare(spec_of({"out": 8, **layer}))


@pytest.mark.usefixtures("installed")
def test_a_kind_whose_package_has_no_torch_side_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="kind = 'lame': its package brings .*, which is no torch side; ask its author"):
        prepare(spec_of(SHIFT | {"kind": "lame"}), tmp_path / "r")
    assert not (tmp_path / "r").exists()


def test_a_model_of_a_kind_that_is_not_installed_is_refused_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.syspath_prepend(str(PACKAGE))
        job = prepare(spec_of(SHIFT))
        row = first_population(job.first, job.net, job.dataset, job.device).weights[0]
        save_model(tmp_path, model_of(job, row, {}))
    with pytest.raises(DataError, match=r"kind = 'shift': choose one of dense"):
        load_model(tmp_path)


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
