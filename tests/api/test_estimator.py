from __future__ import annotations

import inspect
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pandas
import polars
import pyarrow
import pytest
import scipy.sparse
import torch
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

import aecompress
from aecompress import Autoencoder
from aecompress.api.parameters import FIELD_OF
from aecompress.deploy.checkpoint import load_model
from aecompress.errors import AecompressError, InputError, OutputError
from aecompress.runs import front
from aecompress.runs.job import prepare
from aecompress.runs.run import run
from aecompress.spec.fields import FIELDS
from aecompress.spec.resolve import resolve

QUICK: dict[str, Any] = {"epochs": 2, "hidden": 6, "cells": 3}
SETTINGS = {"train.epochs": 2, "model.hidden": [6], "evolve.cells": 3}
"""The same as fields."""


def made(count: int = 80, seed: int = 0) -> NDArray[np.float64]:
    """Rows on a plane in eight dimensions, far from 0."""
    draws = np.random.default_rng(seed)
    return np.asarray(draws.normal(size=(count, 2)) @ np.random.default_rng(9).normal(size=(2, 8)) * 20 + 300)


@pytest.fixture(scope="module")
def rows() -> NDArray[np.float64]:
    return made()


@pytest.fixture(scope="module")
def fitted(rows: NDArray[np.float64]) -> Autoencoder:
    return Autoencoder(**QUICK).fit(rows)


@pytest.fixture(scope="module")
def run_folder(rows: NDArray[np.float64], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of the command line on the same rows."""
    where = tmp_path_factory.mktemp("run")
    np.save(where / "rows.npy", rows)
    flags = {"data.source": str(where / "rows.npy"), "export.variants": ["scorer"]} | SETTINGS
    list(run(prepare(resolve({path: ("test", value) for path, value in flags.items()}), where / "r")))
    return where / "r"


def failed(results: list[dict[str, Any]]) -> list[str]:
    return [f"{one['check_name']}: {one['exception']!r}" for one in results if one["status"] != "passed"]


def test_scikit_learn_finds_nothing_wrong_with_a_short_fit() -> None:
    results = check_estimator(Autoencoder(epochs=1, mode="canonical"), on_fail=None, on_skip=None)
    assert len(results) >= 50
    wrong = failed(results)
    assert not [one for one in wrong if "SCIPY_ARRAY_API" not in one], wrong


@pytest.mark.slow
def test_scikit_learn_finds_nothing_wrong_with_the_defaults() -> None:
    script = (
        "from aecompress import Autoencoder; from sklearn.utils.estimator_checks import check_estimator\n"
        "results = check_estimator(Autoencoder(), on_skip=None)\n"
        "assert len(results) >= 50 and {one['status'] for one in results} == {'passed'}"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", script], check=True, env=os.environ | {"SCIPY_ARRAY_API": "1"})


def test_every_parameter_has_the_default_of_the_command_line() -> None:
    given = {name: one.default for name, one in inspect.signature(Autoencoder.__init__).parameters.items()}
    others = {"self", "settings", "random_state", "verbose"}
    assert given.keys() - others == FIELD_OF.keys()
    assert all(given[name] == FIELDS[field] for name, field in FIELD_OF.items())
    assert given["random_state"] == FIELDS["seed"] and given["verbose"] == 0
    text = Autoencoder.__doc__ or ""
    assert all(f"\n        {name}: " in text for name in given if name != "self")


def test_a_fit_gives_the_weights_of_the_command_line(
    rows: NDArray[np.float64], fitted: Autoencoder, run_folder: Path
) -> None:
    right = load_model(run_folder / "model")
    mine = fitted._trained
    assert all(np.array_equal(mine.model.tensors[name], right.tensors[name]) for name in right.tensors)
    assert fitted.report_["metrics"] == right.about["metrics"] and fitted.report_["sparsity"] == right.sparsity
    assert mine.model.scaling == right.scaling
    path = Autoencoder(**QUICK).fit(run_folder.parent / "rows.npy")
    assert all(np.array_equal(path._trained.model.tensors[name], right.tensors[name]) for name in right.tensors)
    np.testing.assert_array_equal(path.transform(run_folder.parent / "rows.npy"), fitted.transform(rows))


def test_codes_reconstructions_and_scores_are_those_of_the_files(
    rows: NDArray[np.float64], fitted: Autoencoder, run_folder: Path
) -> None:
    def file(name: str, given: NDArray[Any]) -> NDArray[Any]:
        session = onnxruntime.InferenceSession(run_folder / "model" / name)
        found: NDArray[Any] = session.run(None, {session.get_inputs()[0].name: given.astype(np.float32)})[0]
        return found

    codes = fitted.transform(rows)
    np.testing.assert_allclose(codes, file("encoder.onnx", rows), atol=1e-4)
    np.testing.assert_allclose(fitted.inverse_transform(codes), file("decoder.onnx", codes), rtol=1e-5)
    np.testing.assert_allclose(fitted.reconstruct(rows), file("autoencoder.onnx", rows), rtol=1e-5)
    np.testing.assert_allclose(-fitted.score_samples(rows), file("scorer.onnx", rows), rtol=1e-3, atol=1e-6)
    assert fitted.score(rows) == pytest.approx(fitted.score_samples(rows).mean())
    limit = json.loads((run_folder / "model" / "config.json").read_text())["thresholds"]["scorer.onnx"]
    assert -fitted.offset_ == pytest.approx(limit, rel=1e-3)
    far = rows[:3] + 1000
    assert fitted.predict(np.concatenate([rows[:3], far])).tolist() == [1, 1, 1, -1, -1, -1]


def test_the_front_is_that_of_the_run_and_another_model_of_it_can_be_picked(
    rows: NDArray[np.float64], fitted: Autoencoder, run_folder: Path
) -> None:
    members = front.load(run_folder)
    assert [one.loss for one in fitted.front_] == [member.loss for member in members]
    assert [one.sparsity for one in fitted.front_] == [member.sparsity for member in members]
    assert [one.knee for one in fitted.front_].count(True) == 1 and fitted.front_ is fitted.front_
    picked = fitted.pick("sparsity=0.9")
    right = load_model(members[0].path)
    assert right.sparsity > 0.89 and picked.report_["sparsity"] == right.sparsity
    assert all(np.array_equal(picked._trained.model.tensors[name], right.tensors[name]) for name in right.tensors)
    assert picked.get_params() == fitted.get_params() and picked.offset_ != fitted.offset_
    assert picked.n_features_in_ == 8 and picked.transform(rows).shape == (80, fitted.transform(rows).shape[1])
    with pytest.raises(InputError, match="pick: nonsense: write knee, sparsity=SHARE"):
        fitted.pick("nonsense")


def test_validation_rows_choose_the_model_and_are_not_trained_on(rows: NDArray[np.float64], tmp_path: Path) -> None:
    found = Autoencoder(**QUICK, split=(1.0, 0.0, 0.0)).fit(rows, validation=made(20, 5))
    assert found._trained.dataset is not None
    assert {name: len(part) for name, part in found._trained.dataset.splits.items()} == {"train": 80, "validation": 20}
    for name, part in (("rows", rows), ("validation", made(20, 5))):
        np.save(tmp_path / f"{name}.npy", part)
    paths = [tmp_path / "rows.npy", str(tmp_path / "validation.npy")]
    again = Autoencoder(**QUICK, split=(1.0, 0.0, 0.0)).fit(paths[0], validation=paths[1])
    np.testing.assert_array_equal(again.transform(rows), found.transform(rows))
    with pytest.raises(ValueError, match="7 features"):
        Autoencoder(**QUICK).fit(rows, validation=rows[:, :7])
    with pytest.raises(InputError, match="give both as paths"):
        Autoencoder(**QUICK).fit(rows, validation="rows.npy")


def test_an_exported_model_loads_and_gives_the_same(
    rows: NDArray[np.float64], fitted: Autoencoder, tmp_path: Path
) -> None:
    files = fitted.export(tmp_path / "model", variants=["scorer"])
    assert files["scorer"] == tmp_path / "model" / "scorer.onnx" and not list(tmp_path.glob(".*"))
    same = Autoencoder.load(tmp_path / "model")
    np.testing.assert_array_equal(same.transform(rows), fitted.transform(rows))
    np.testing.assert_array_equal(same.predict(rows), fitted.predict(rows))
    assert same.offset_ == fitted.offset_ and same.n_features_in_ == 8 and len(same.front_) == 1
    assert same.report_["metrics"].items() >= fitted.report_["metrics"].items()
    with pytest.raises(InputError, match="export: needs the rows"):
        same.export(tmp_path / "again")
    with pytest.raises(AttributeError, match="load the run folder"):
        same.history_  # noqa: B018
    with pytest.raises(OutputError, match="is not empty; choose another folder, or force=True"):
        fitted.export(tmp_path / "model")
    with pytest.raises(InputError, match="variants"):
        fitted.export(tmp_path / "other", variants=["packd"])
    assert not (tmp_path / "other").exists()
    stricter = clone(fitted).fit(rows)
    stricter.offset_ = -1e-9
    stricter.export(tmp_path / "model", force=True)
    assert (Autoencoder.load(tmp_path / "model").predict(rows) == -1).all()
    assert not (tmp_path / "model" / "scorer.onnx").exists()


def test_a_run_folder_and_a_member_of_its_front_load(
    rows: NDArray[np.float64], fitted: Autoencoder, run_folder: Path, tmp_path: Path
) -> None:
    same = Autoencoder.load(run_folder)
    np.testing.assert_array_equal(same.reconstruct(rows), fitted.reconstruct(rows))
    assert same.offset_ == pytest.approx(fitted.offset_, rel=1e-3) and same.n_iter_ == 2
    assert [one.loss for one in same.front_] == [one.loss for one in fitted.front_]
    assert (same.epochs, same.cells, same.random_state) == (2, 3, 0)
    again = clone(same).fit(rows)
    np.testing.assert_array_equal(again.transform(rows), fitted.transform(rows))
    picked = same.pick("sparsity=0.9")
    np.testing.assert_array_equal(picked.predict(rows), fitted.pick("sparsity=0.9").predict(rows))
    files = same.export(tmp_path / "model")
    assert files["weights"].read_bytes() == (run_folder / "model" / "model.safetensors").read_bytes()
    member = Autoencoder.load(run_folder / "front" / "00")
    np.testing.assert_array_equal(member.transform(rows), fitted.pick("sparsity=0.9").transform(rows))
    with pytest.raises(InputError, match=r"no threshold.*set offset_"):
        member.predict(rows)
    member.offset_ = -1e-9
    assert (member.predict(rows) == -1).all()
    with pytest.raises(InputError, match="name a model folder"):
        Autoencoder.load(run_folder.parent)


def test_a_config_that_is_not_ours_is_refused(run_folder: Path, tmp_path: Path) -> None:
    from aecompress.api.loading import described

    model = load_model(run_folder / "model")
    for name, value in (("metric", "l3"), ("inputs", ["a"]), ("row_shape", [2]), ("threshold", {"value": "high"})):
        object.__setattr__(model, "about", {**load_model(run_folder / "model").about, name: value})
        with pytest.raises(AecompressError, match="is not that of a model"):
            described(tmp_path, model)


def test_a_pickled_estimator_gives_the_same_and_holds_no_rows(rows: NDArray[np.float64], fitted: Autoencoder) -> None:
    data = pickle.dumps(fitted)
    same = pickle.loads(data)  # noqa: S301
    np.testing.assert_array_equal(same.predict(rows), fitted.predict(rows))
    assert same._trained.dataset is None and fitted._trained.dataset is not None
    assert len(same.history_.epochs) == 2 and len(same.front_) == len(fitted.front_)


def test_it_works_in_a_pipeline_and_a_grid_search(rows: NDArray[np.float64]) -> None:
    pipeline = make_pipeline(StandardScaler(), Autoencoder(**QUICK, mode="canonical"))
    search = GridSearchCV(pipeline, {"autoencoder__target_sparsity": np.array([0.2, 0.9])}, cv=2).fit(rows)
    assert search.best_params_ == {"autoencoder__target_sparsity": 0.2}
    assert 0.2 <= search.best_estimator_[-1].report_["sparsity"] < 0.25
    assert search.transform(rows).shape == (80, 1) and search.predict(rows).shape == (80,)


def test_frames_go_in_with_their_names_and_come_out(rows: NDArray[np.float64], fitted: Autoencoder) -> None:
    names = [f"s{place}" for place in range(8)]
    right = fitted.transform(rows)
    frames = {
        "pandas": pandas.DataFrame(rows, columns=names, index=[f"r{place}" for place in range(80)]),
        "polars": polars.DataFrame(rows, schema=names),
    }
    for library, frame in frames.items():
        found = Autoencoder(**QUICK).set_output(transform=library).fit(frame)
        assert found.feature_names_in_.tolist() == names
        out = found.transform(frame)
        assert type(out) is type(frame) and list(out.columns) == ["autoencoder0"]
        np.testing.assert_array_equal(out.to_numpy(), right)
        with pytest.raises(ValueError, match="feature names"):
            found.transform(frame[names[::-1]])
    assert found.get_feature_names_out().tolist() == ["autoencoder0"]


def test_rows_come_as_tensors_data_sets_and_sparse_matrices(rows: NDArray[np.float64], fitted: Autoencoder) -> None:
    right = fitted.transform(rows)
    tensor = torch.from_numpy(rows)
    labelled = torch.utils.data.TensorDataset(tensor, torch.zeros(80))
    shuffled = torch.utils.data.DataLoader(labelled, batch_size=7, shuffle=True)
    for given in (tensor, labelled, shuffled, scipy.sparse.coo_array(rows), rows.tolist()):
        np.testing.assert_array_equal(fitted.transform(given), right)

    class Stream(torch.utils.data.IterableDataset[torch.Tensor]):
        def __iter__(self) -> Iterator[torch.Tensor]:
            return iter(tensor)

    np.testing.assert_array_equal(fitted.transform(Stream()), right)
    columns = {f"s{place}": rows[:, place] for place in range(8)}
    np.testing.assert_array_equal(fitted.transform(pyarrow.table(columns)), right)
    with pytest.raises(InputError, match="X: has 1 inputs, the model 8"):
        fitted.transform(pyarrow.table({"s0": rows[:, 0]}))
    half = fitted.transform(tensor.to(torch.bfloat16))
    assert half.dtype == np.float32 and half.shape == right.shape
    with pytest.raises(InputError, match="different shapes"):
        fitted.transform(torch.utils.data.StackDataset([torch.zeros(8), torch.zeros(7)]))


def test_pictures_keep_their_shape() -> None:
    pictures = np.random.default_rng(0).random((40, 4, 3)).astype(np.float32)
    found = Autoencoder(**QUICK).fit(pictures)
    assert found.n_features_in_ == 12 and found.reconstruct(pictures).shape == (40, 4, 3)
    codes = found.transform(pictures)
    assert codes.dtype == np.float32 and found.inverse_transform(codes).shape == (40, 4, 3)
    np.testing.assert_array_equal(found.transform(pictures.reshape(40, 12)), codes)


def test_zeros_and_ones_that_are_sparse_stay_sparse() -> None:
    pytest.importorskip("torchmetrics")
    plays = scipy.sparse.csr_array(np.random.default_rng(0).random((60, 12)) < 0.3).astype(np.float64)
    found = Autoencoder(**QUICK).fit(plays)
    assert "test_recall@20" in found.report_["metrics"] and found.report_["metric"] == "bce"
    np.testing.assert_allclose(found.transform(plays), found.transform(plays.toarray()), atol=1e-6)
    assert found.predict(plays).shape == (60,)


def test_what_cannot_be_used_is_a_value_error_that_names_it(rows: NDArray[np.float64]) -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({"target_sparsity": 2}, r"prune.target_sparsity = 2 \(target_sparsity\)"),
        ({"operator": "magic"}, r"prune.operator = \"magic\" \(operator\)"),
        ({"settings": {"train.epoch": 3}}, "did you mean train.epochs"),
        ({"random_state": -1}, r"seed = -1 \(random_state\)"),
    ]
    for parameters, message in cases:
        with pytest.raises(ValueError, match=message) as fault:
            Autoencoder(**(QUICK | parameters)).fit(rows)
        assert isinstance(fault.value, AecompressError)
    with pytest.raises(InputError, match=r"nowhere\.npy: no such file"):
        Autoencoder(**QUICK).fit("nowhere.npy")
    for name in ("transform", "inverse_transform", "score_samples", "predict", "export", "pick"):
        with pytest.raises(NotFittedError):
            getattr(Autoencoder(), name)(rows if name not in ("export", "pick") else "knee")
    assert not hasattr(Autoencoder(), "front_") and not hasattr(Autoencoder(), "history_")


def test_nothing_is_written_and_nothing_is_printed_unless_requested(
    rows: NDArray[np.float64], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    Autoencoder(**QUICK).fit(rows)
    assert capfd.readouterr() == ("", "") and not list(tmp_path.iterdir())
    Autoencoder(**QUICK, verbose=1).fit(rows)
    lines = capfd.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines] == ["1/2", "2/2"]


def test_other_settings_and_other_seeds_are_used(rows: NDArray[np.float64], fitted: Autoencoder) -> None:
    base = fitted.transform(rows)
    for more in ({"random_state": 1}, {"settings": {"train": {"warmup": 0.5}}}, {"random_state": None}):
        assert not np.array_equal(Autoencoder(**QUICK, **more).fit(rows).transform(rows), base)
    drawn = [Autoencoder(**QUICK, random_state=np.random.RandomState(3)).fit(rows).transform(rows) for _ in range(2)]
    np.testing.assert_array_equal(*drawn)


def test_the_class_is_resolved_when_it_is_used() -> None:
    script = "import sys, aecompress; assert not {'torch', 'sklearn', 'numpy'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", script], check=True)
    assert "Autoencoder" in aecompress.__all__ and aecompress.Autoencoder is Autoencoder


def mixed(count: int = 80) -> pandas.DataFrame:
    """A table of numbers, texts and a few missing cells."""
    draws = np.random.default_rng(3)
    rows = made(count)[:, :3]
    rows[::9, 1] = np.nan
    return pandas.DataFrame(
        {"a": rows[:, 0], "b": rows[:, 1], "c": rows[:, 2], "kind": draws.choice(["pump", "fan"], count)}
    )


def test_a_frame_of_numbers_and_texts_is_treated_as_its_file_is(tmp_path: Path) -> None:
    frame = mixed()
    found = Autoencoder(**QUICK, missing="median").fit(frame)
    assert found.n_features_in_ == 4 and found.feature_names_in_.tolist() == ["a", "b", "c", "kind"]
    codes = found.transform(frame)
    assert found.reconstruct(frame).shape == (80, 5) and len(found.predict(frame)) == 80
    frame.to_csv(tmp_path / "rows.csv", index=False)
    from_file = Autoencoder(**QUICK, missing="median").fit(tmp_path / "rows.csv")
    np.testing.assert_array_equal(from_file.transform(tmp_path / "rows.csv"), codes)
    others = {
        "polars": polars.from_pandas(frame),
        "pyarrow": pyarrow.Table.from_pandas(frame, preserve_index=False),
        "shuffled": frame[["kind", "c", "a", "b"]],
    }
    for given in others.values():
        np.testing.assert_array_equal(found.transform(given), codes)
    np.testing.assert_array_equal(Autoencoder(**QUICK, missing="median").fit(others["pyarrow"]).transform(frame), codes)
    found.export(tmp_path / "model")
    same = Autoencoder.load(tmp_path / "model")
    np.testing.assert_array_equal(same.transform(others["polars"]), codes)
    assert same.feature_names_in_.tolist() == ["a", "b", "c", "kind"]
    with pytest.raises(InputError, match="X: lacks column 'b'"):
        same.transform(frame.drop(columns="b"))
    with pytest.warns(UserWarning, match="with texts that training rows lack"):
        same.transform(frame.assign(kind="valve"))
    with pytest.raises(InputError, match=r"column 'b'.*missing='median'"):
        Autoencoder(**QUICK).fit(frame)


def test_a_column_of_labels_is_no_input_and_evaluates_the_scores() -> None:
    frame = pandas.DataFrame(made(), columns=list("abcdefgh"))
    frame.iloc[:10] += 1000
    labelled = frame.assign(bad=[1] * 10 + [0] * 70)
    found = Autoencoder(**QUICK, label="bad").fit(polars.from_pandas(labelled).lazy())
    assert found.feature_names_in_.tolist() == list("abcdefgh") and found.n_features_in_ == 8
    assert found.report_["metrics"]["test_auroc"] == 1 and found.predict(labelled)[:10].tolist() == [-1] * 10
    np.testing.assert_array_equal(found.predict(frame), found.predict(labelled))
    with pytest.warns(UserWarning, match="feature names"):
        np.testing.assert_array_equal(found.predict(frame.to_numpy()), found.predict(frame))
    for column in (frame["a"], polars.Series(frame["a"])):
        with pytest.raises(ValueError, match="Expected"):
            Autoencoder(**QUICK).fit(column)


def test_missing_numbers_of_an_array_are_filled_and_dropped_rows_are_named() -> None:
    rows = made()
    rows[3, 2] = np.nan
    with pytest.raises(ValueError, match="contains NaN"):
        Autoencoder(**QUICK).fit(rows)
    filled = Autoencoder(**QUICK, missing="mean").fit(rows)
    assert np.isfinite(filled.transform(rows)).all() and filled.n_features_in_ == 8
    dropped = Autoencoder(**QUICK, missing="drop").fit(mixed())
    assert dropped._trained.dataset is not None
    assert sum(len(part) for part in dropped._trained.dataset.splits.values()) == 71
    with (
        pytest.raises(InputError, match=r"some rows \(9\) have missing cells"),
        pytest.warns(UserWarning, match="left out"),
    ):
        dropped.transform(mixed())


def test_columns_too_fine_for_files_of_raw_rows_are_refused_by_the_export_alone(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).random((60, 3)) * 60 + 1.7e9
    found = Autoencoder(**QUICK).fit(rows)
    assert np.abs(found.reconstruct(rows) - rows).max() < 60 and (found.predict(rows) == 1).sum() > 55
    with pytest.raises(InputError, match="too coarse for files that take raw rows"):
        found.export(tmp_path / "model")
    Autoencoder(**QUICK, settings={"export.embed_scaling": False}).fit(rows).export(tmp_path / "model")


def test_windows_of_a_series_are_coded(tmp_path: Path) -> None:
    series = made(100)
    found = Autoencoder(**QUICK, settings={"data.window": 5, "data.stride": 5}).fit(series)
    assert found.n_features_in_ == 8
    assert found.transform(series).shape[0] == 20 and found.reconstruct(series).shape == (20, 5, 8)
    found.export(tmp_path / "model")
    same = Autoencoder.load(tmp_path / "model")
    assert same.n_features_in_ == 8
    np.testing.assert_array_equal(same.transform(series), found.transform(series))
