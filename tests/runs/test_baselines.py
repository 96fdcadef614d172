"""A model beside the mean row and PCA, in every place that shows its loss; and PCA itself as the model."""

from __future__ import annotations

import math
import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnxruntime
import pytest
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

from aecompress import events
from aecompress.cli.tables import before_and_after
from aecompress.data import pca
from aecompress.data.dataset import Dataset
from aecompress.deploy.checkpoint import load_model
from aecompress.errors import DataError, SpecError
from aecompress.plan.export import export_of
from aecompress.runs.again import export_again
from aecompress.runs.baselines import against_pca, remedies
from aecompress.runs.job import prepare
from aecompress.runs.run import run
from aecompress.spec.resolve import resolve
from aecompress.study.report import of_run
from tests.commands import aecompress

CODE = 3


class Done(NamedTuple):
    """A run that is finished."""

    folder: Path
    dataset: Dataset
    compared: events.Compared
    finished: events.Finished


def carried_out(folder: Path, source: Path, **changes: Any) -> Done:
    fields = {"data.source": str(source), "model.latent": CODE, "device": "cpu"} | changes
    job = prepare(resolve({path: ("test", value) for path, value in fields.items()}), folder)
    log = list(run(job))
    compared, finished = (
        next(event for event in log if isinstance(event, kind)) for kind in (events.Compared, events.Finished)
    )
    return Done(folder, job.dataset, compared, finished)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows of four directions and a little noise, which a network that is hardly trained does not find."""
    draw = np.random.default_rng(0)
    rows = (draw.normal(size=(150, 4)) * [3, 2, 1, 0.7]) @ draw.normal(size=(4, 8)) + 0.1 * draw.normal(size=(150, 8))
    path = tmp_path_factory.mktemp("rows") / "low rank.npy"
    np.save(path, rows)
    return path


@pytest.fixture(scope="module")
def beaten(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Done:
    flags = {"train.epochs": 2, "seed": 3, "data.split": (0.6, 0.2, 0.2), "model.initial": "torch"}
    return carried_out(tmp_path_factory.mktemp("run") / "run", source, **flags)


def oracle(dataset: Dataset, count: int = CODE) -> PCA:
    return PCA(count, svd_solver="full").fit(np.asarray(dataset.train, float))


def reconstructed(found: PCA, rows: Any) -> Any:
    return found.inverse_transform(found.transform(rows.astype(float)))


def test_the_table_has_the_mean_row_and_pca_as_scikit_learn_has_them(beaten: Done) -> None:
    train, test = (np.asarray(rows, float) for rows in (beaten.dataset.train, beaten.dataset.test))
    constant = np.square(test - train.mean(0)).mean()
    components = np.square(test - reconstructed(oracle(beaten.dataset), test)).mean()
    assert beaten.compared.baselines == ("constant", "PCA, same code")
    np.testing.assert_allclose(beaten.compared.baseline_losses, [constant, components], rtol=1e-5)
    assert beaten.compared.baseline_nonzeros == (8, 2 * 8 * CODE + 8 + CODE)
    assert beaten.finished.metrics["test_mse_constant"] == pytest.approx(constant, rel=1e-5)
    assert beaten.finished.metrics["test_mse_pca"] == pytest.approx(components, rel=1e-5)
    assert beaten.compared.losses[0] == beaten.finished.metrics["test_mse_dense"]
    assert set(beaten.finished.by_split["test"]) == {"l1", "mse"}, "these are of other models"
    assert load_model(beaten.folder / "model").about["metrics"] == beaten.finished.metrics


def test_one_line_says_that_pca_is_better_and_how_to_have_it(beaten: Done, tmp_path: Path) -> None:
    (line,) = (note for note in beaten.compared.notes if "PCA" in note)
    ratio = beaten.compared.baseline_losses[1] / beaten.compared.losses[1]
    assert line.startswith(f"PCA with the same code has {ratio:.2f}x the mse of autoencoder.onnx: ")
    assert "a larger code (--latent 6) or more rows may help, or take PCA itself: `" in line
    words = shlex.split(line.split("`")[1])
    assert words[:2] == ["aecompress", "prune"] and words[-4:] == ["--network", "pca", "--latent", str(CODE)]
    done = aecompress(*words[1:], "-o", tmp_path / "pca")
    assert done.returncode == 0 and "itself" not in done.stderr
    metrics = load_model(tmp_path / "pca/model").about["metrics"]
    assert metrics["test_mse"] == pytest.approx(beaten.compared.baseline_losses[1], rel=1e-5)


def test_the_card_the_narrow_table_and_the_report_show_them(beaten: Done) -> None:
    card = (beaten.folder / "model/README.md").read_text()
    (line,) = (note for note in beaten.compared.notes if "PCA" in note)
    pca_row = f"{beaten.compared.baseline_losses[1]:.6f}"
    assert f"\n- {line}\n" in card and re.search(rf"\n\| PCA, same code \|.*\| {pca_row} \| 59 \|\n", card)
    narrow = before_and_after(beaten.compared, 80).splitlines()
    assert max(map(len, narrow)) <= 80
    assert [row.split()[-1] for row in narrow if row.startswith("PCA, same code")] == [pca_row]
    content, _ = of_run(beaten.folder)
    (table,) = (each for each in content["tables"] if each["title"] == "Before and after")
    assert [row[-2] for row in table["rows"] if row[0] == "PCA, same code"] == [pca_row] and line in table["note"]


def test_another_model_of_the_front_is_held_against_the_same(beaten: Done) -> None:
    package = export_again(beaten.folder, {}, None, False, pick="sparsity=0")
    assert package.compared.baselines == beaten.compared.baselines
    np.testing.assert_allclose(package.compared.baseline_losses, beaten.compared.baseline_losses, rtol=1e-9)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Done:
    flags = {"model.network": "pca", "export.variants": ["packed", "int8"], "export.int8": "always"}
    return carried_out(tmp_path_factory.mktemp("pca") / "run", Path("digits"), **flags)


def test_an_exported_pca_is_that_of_scikit_learn(exported: Done) -> None:
    model, found = load_model(exported.folder / "model"), oracle(exported.dataset)
    assert [layer.activation for layer in model.layers] == ["identity", "identity"]
    raw, scaling = load_digits().data, exported.dataset.scaling
    scaled = (raw - scaling.offset) / scaling.divisor
    session = onnxruntime.InferenceSession(exported.folder / "model/autoencoder.onnx")
    out = (session.run(None, {"input": raw.astype(np.float32)})[0] - scaling.offset) / scaling.divisor
    np.testing.assert_allclose(out, reconstructed(found, scaled), atol=1e-5)
    encoder = onnxruntime.InferenceSession(exported.folder / "model/encoder.onnx")
    code = encoder.run(None, {"input": raw.astype(np.float32)})[0]
    np.testing.assert_allclose(code, found.transform(scaled), atol=1e-5)


def test_an_exported_pca_is_verified_and_read_like_any_model(exported: Done) -> None:
    assert not [note for note in exported.compared.notes if "PCA" in note], "it is PCA itself"
    assert exported.compared.losses[1] == pytest.approx(exported.compared.baseline_losses[1], rel=1e-5)
    assert {"autoencoder.packed.onnx", "autoencoder.int8.onnx"} <= set(exported.compared.files)
    model = exported.folder / "model"
    for arguments in (("verify", model / "autoencoder.onnx", exported.folder), ("inspect", exported.folder)):
        assert aecompress(*arguments).returncode == 0


def test_a_pca_can_be_pruned(source: Path, tmp_path: Path) -> None:
    flags = {"model.network": "pca", "prune.target_sparsity": 0.5, "mode": "canonical"}
    pruned = carried_out(tmp_path / "run", source, **flags)
    assert pruned.finished.sparsity == pytest.approx(0.5, abs=0.02)
    (line,) = (note for note in pruned.compared.notes if "PCA" in note)
    assert "a lower sparsity may help" in line


def test_components_of_too_many_rows_are_left_out_with_the_reason(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pca, "MOST_PRODUCTS", 0)
    done = carried_out(tmp_path / "run", source, **{"train.epochs": 1, "mode": "canonical"})
    why = "it would take too long on 120 rows of 8 inputs"
    assert done.compared.baselines == ("constant",)
    assert done.compared.notes[-1] == f"PCA with the same code was not computed: {why}"
    with pytest.raises(DataError, match=f"^model.network = 'pca': {why}; choose another network$"):
        carried_out(tmp_path / "other", source, **{"model.network": "pca"})
    assert not (tmp_path / "other").exists()


def test_cross_entropy_takes_clipped_outputs_and_the_table_says_so(tmp_path: Path) -> None:
    flags = {"train.loss": "bce", "train.epochs": 1, "mode": "canonical"}
    done = carried_out(tmp_path / "run", Path("binary-clusters:3x6x12"), **flags)
    test = np.asarray(done.dataset.test, float)
    out = np.clip(reconstructed(oracle(done.dataset), test), 1e-6, 1 - 1e-6)
    expected = -(test * np.log(out) + (1 - test) * np.log1p(-out)).mean()
    assert done.compared.baselines[1] == "PCA, same code, clipped"
    assert done.compared.baseline_losses[1] == pytest.approx(expected, rel=1e-3), "1 - 1e-6 as float32"


@pytest.mark.parametrize(
    "more",
    [{"model.hidden": [4]}, {"model.output": "sigmoid"}, {"model.family": "variational"}, {"model.initial": "torch"}],
)
def test_what_is_no_pca_is_refused(source: Path, tmp_path: Path, more: dict[str, Any]) -> None:
    with pytest.raises(SpecError, match="model.network = 'pca': is the principal components"):
        carried_out(tmp_path / "run", source, **{"model.network": "pca"}, **more)


def test_what_may_help_is_less_pruning_or_more_to_learn_from(beaten: Done) -> None:
    model, export = load_model(beaten.folder / "model"), export_of(resolve({}).spec)
    more = ["a larger code (--latent 6)", "more rows"]
    assert remedies(model, export, CODE, loss=0.3, dense=0.1, pca=0.2) == ["a lower sparsity"]
    assert remedies(model, export, CODE, loss=0.31, dense=0.3, pca=0.2) == more
    assert remedies(model, export, CODE, loss=0.5, dense=0.3, pca=0.2) == ["a lower sparsity", *more]
    assert remedies(model, export, CODE, loss=0.5, dense=math.inf, pca=0.2) == ["a lower sparsity", *more]
    brought = replace(export, brought=True)
    assert remedies(model, brought, CODE, loss=0.31, dense=0.3, pca=0.2) == ["a larger code", "more rows"]


def test_nothing_is_concluded_from_rows_with_labelled_anomalies(beaten: Done) -> None:
    model, export = load_model(beaten.folder / "model"), replace(export_of(resolve({}).spec), metric="mse")
    assert against_pca(model, beaten.dataset, "test", export, 1.0, math.inf)
    labelled = replace(beaten.dataset, labels=np.zeros(len(beaten.dataset.test), int))
    assert not against_pca(model, labelled, "test", export, 1.0, math.inf)


def test_the_command_for_pca_takes_the_rows_as_the_run_did() -> None:
    flags = {"data.source": "a b.csv", "data.more": ["c.csv"], "data.window": 8, "data.split": (0.5, 0.25, 0.25)}
    spec = resolve({path: ("test", value) for path, value in flags.items()} | {"seed": ("test", 4)}).spec
    assert shlex.split(export_of(spec).pca_command) == [
        "aecompress", "prune", "a b.csv", "c.csv", "--split", "0.5,0.25,0.25", "--window", "8", "--seed", "4",
        "--network", "pca",
    ]  # fmt: skip
