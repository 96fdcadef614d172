"""A run from Python: its events, its result, and what becomes of one that never starts."""

from __future__ import annotations

import gc
import itertools
import warnings
from pathlib import Path

import pytest
import torch

import aecompress
from aecompress import events
from aecompress.data.base import Request
from aecompress.data.dataset import load as load_data
from aecompress.errors import DataError, OutputError, RunError, SpecError
from aecompress.spec.fields import RunSpec
from aecompress.steering import status_of

SMALL = {"data": {"source": "binary-clusters:4x10x30"}, "train.epochs": 3, "model.hidden": [8]}
LONG = SMALL | {"train.epochs": 1000, "compile": "off"}


def test_a_run_yields_events_and_its_model_loads_as_a_torch_module(tmp_path: Path) -> None:
    run, log = aecompress.run(SMALL, tmp_path / "r"), []
    assert repr(run) == f"<Run in {tmp_path / 'r'}: not started>" and not (tmp_path / "r").exists()
    before = run._repr_html_()
    assert "not started" in before and "iterate over it, or call .result()" in before and "binary-clusters" in before
    for event in run:
        log.append(event)
        if isinstance(event, events.Generation) and event.generation == 2:
            assert "epoch 2 of 3" in run._repr_html_() and run._repr_html_().count("<svg") == 2
    assert isinstance(log[-1], events.Finished)
    assert ": finished in " in repr(run) and "finished in" in run._repr_html_()
    module = aecompress.load(tmp_path / "r")
    assert isinstance(module, torch.nn.Module) and not module.training
    assert sum(parameter.numel() for parameter in module.parameters()) == log[-1].parameters
    assert {"encoder.0.weight", "decoder.1.bias"} <= set(module.state_dict())
    rows = torch.from_numpy(load_data(Request(source="binary-clusters:4x10x30")).test)
    loss = float((module(module.scale(rows)) - rows).abs().mean().detach())
    assert loss == pytest.approx(log[-1].metrics["test_l1"], rel=1e-5)
    torch.testing.assert_close(module.unscale(module.scale(rows)), rows)
    assert run.result().metrics == log[-1].metrics, "also of a run that was iterated to its end"


def test_a_spec_may_be_an_object_or_a_file(tmp_path: Path) -> None:
    spec = RunSpec.model_validate({"data": SMALL["data"], "train": {"epochs": 2}})
    list(aecompress.run(spec, tmp_path / "a"))
    aecompress.run(tmp_path / "a" / "spec.toml", tmp_path / "b").result()
    read = [(tmp_path / name / "model" / "model.safetensors").read_bytes() for name in "ab"]
    assert read[0] == read[1]


def test_faults_are_raised_by_the_call_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="did you mean train.epochs"):
        aecompress.run({"train.epoch": 3}, tmp_path / "r")
    with pytest.raises(DataError, match="no-such-file"):
        aecompress.run({"data.source": "no-such-file.npy"}, tmp_path / "r")
    (tmp_path / "mine.txt").touch()
    with pytest.raises(OutputError, match="is not empty"):
        aecompress.run(SMALL, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    with pytest.raises(DataError, match="cannot be read"):
        aecompress.load(tmp_path)


def test_a_run_that_is_thrown_away_unrun_warns_in_one_sentence(tmp_path: Path) -> None:
    with pytest.warns(UserWarning) as met:
        aecompress.run(SMALL, tmp_path / "r")
        gc.collect()
    (warning,) = met
    where = tmp_path / "r"
    assert str(warning.message) == (
        f"the run in {where} was thrown away before it started: iterate over it, or call .result()"
    )
    assert not where.exists()


def test_a_run_that_was_closed_or_iterated_does_not_warn(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run = aecompress.run(SMALL, tmp_path / "closed")
        run.close()
        assert list(run) == [] and not (tmp_path / "closed").exists()
        with pytest.raises(RunError, match="was closed before it started, so it has no result; call aecompress.run"):
            run.result()
        del run
        for event in aecompress.run(LONG, tmp_path / "left"):
            if isinstance(event, events.Generation):
                break
        gc.collect()
    assert status_of(tmp_path / "left") == "stopped", "leaving the loop stops the run, with a checkpoint"
    assert list((tmp_path / "left" / "checkpoint").iterdir())


def test_a_closed_run_has_no_result_and_says_how_it_resumes(tmp_path: Path) -> None:
    run = aecompress.run(LONG, tmp_path / "r")
    assert sum(isinstance(event, events.Generation) for event in itertools.islice(run, 8)) > 1
    run.close()
    assert "ended after epoch" in repr(run)
    with pytest.raises(RunError, match=r"ended after epoch . of 1000, so it has no result; `aecompress prune --resum"):
        run.result()


def test_an_interrupt_in_result_stops_the_run_with_a_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = aecompress.run(LONG, tmp_path / "r")

    def struck(seen: object, event: events.Event) -> None:
        if isinstance(event, events.Generation):
            raise KeyboardInterrupt

    monkeypatch.setattr("aecompress.api.view.Seen.add", struck)
    with pytest.raises(KeyboardInterrupt):
        run.result()
    assert status_of(tmp_path / "r") == "stopped"


def test_the_page_of_a_run_obeys_no_name(tmp_path: Path) -> None:
    run = aecompress.run(SMALL, tmp_path / "<script>x")
    run.close()
    assert "&lt;script&gt;x" in run._repr_html_() and "<script>" not in run._repr_html_()
