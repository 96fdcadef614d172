"""The front: what a run leaves, what a user lists, plots and picks of it."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from aecompress.deploy.checkpoint import Model, load_model
from aecompress.errors import DataError, SpecError
from aecompress.event_log import read_log
from aecompress.events import Generation
from aecompress.runs.front import Member, check, knee, load, losses_of, pick, save
from tests.commands import aecompress
from tests.deploy.models import tiny_model

SMALL = ["digits", "--hidden", "16", "--latent", "6", "--epochs", "12", "--cells", "4", "--quiet"]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("front") / "run"
    done = aecompress("prune", *SMALL, "--target-sparsity", "0.8", "-o", folder)
    assert done.returncode == 0, done.stderr
    return folder


def test_members_are_ordered_by_number_past_a_hundred(tmp_path: Path) -> None:
    model = replace(tiny_model(), about={"losses": {"validation": 0.5}, "metric": "mse"})
    written = save(tmp_path, [model] * 102)
    (tmp_path / "front" / "1 copy").mkdir()
    assert [member.path for member in load(tmp_path)] == written


def members(*points: tuple[int, float]) -> list[Member]:
    return [Member(Path(str(n)), n, 1000, "mse", {"validation": loss}) for n, loss in points]


FRONT = members((50, 0.9), (100, 0.3), (200, 0.1), (600, 0.09), (1000, 0.088))


@pytest.mark.parametrize(
    ("text", "nonzeros"),
    [
        ("knee", 200),
        ("sparsity=0.9", 100),
        ("sparsity = 0.85", 100),
        ("sparsity=0", 1000),
        ("loss<=0.1", 200),
        ("loss <= 0.5", 100),
        ("bytes<=2400", 200),
        ("bytes<=2e4", 1000),
    ],
)
def test_a_member_is_picked_by_what_it_must_meet(text: str, nonzeros: int) -> None:
    assert pick(FRONT, text, lambda member: 10 * member.nonzeros + 400).nonzeros == nonzeros


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sparsity=0.99", "the highest sparsity is 0.9500"),
        ("loss<=0.01", "the lowest validation loss is 0.088"),
        ("bytes<=100", "the smallest file has 500 bytes"),
        ("loss=0.1", "write knee, sparsity=SHARE"),
        ("bytes<=many", "write knee"),
        ("loss<=1e", "write knee"),
        ("", "write knee"),
    ],
)
def test_a_pick_that_cannot_be_is_refused(text: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        pick(FRONT, text, lambda member: 10 * member.nonzeros)


def test_the_knee_by_hand() -> None:
    assert knee([(1, 100.0), (10, 2.0), (100, 1.0)]) == 1
    assert knee([(1, 100.0), (10, 90.0), (20, 2.0), (100, 1.0)]) == 2
    assert knee([(5, 0.1)]) == 0
    assert knee([(5, 0.1), (6, 0.1)]) == 0


def test_a_run_leaves_its_front_and_the_chosen_model_has_the_target_sparsity(ran: Path) -> None:
    found = load(ran)
    nonzeros, losses = [one.nonzeros for one in found], [one.loss for one in found]
    assert nonzeros == sorted(nonzeros) and losses == sorted(losses, reverse=True) and len(found) >= 4
    model = load_model(ran / "model")
    assert model.sparsity >= 0.8
    sparse = [one for one in found if one.sparsity >= 0.8]
    assert model.about["metrics"]["validation_mse"] == pytest.approx(min(one.loss for one in sparse), rel=1e-5)
    assert not (ran / ".front.part").exists()


def test_front_lists_plots_and_gives_json(ran: Path, tmp_path: Path) -> None:
    picture = tmp_path / "f.svg"
    done = aecompress("front", ran, "--plot", picture)
    assert done.returncode == 0, done.stderr
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    assert lines[0] == ["path", "nonzeros", "sparsity", "validation_mse", "test_mse", "knee"]
    assert [int(line[1]) for line in lines[1:]] == [one.nonzeros for one in load(ran)]
    assert [line[5] for line in lines[1:]].count("*") == 1
    assert "validation mse" in picture.read_text()
    listed: dict[str, Any] = json.loads(aecompress("front", ran, "--json").stdout)
    assert [one["nonzeros"] for one in listed["members"]] == [one.nonzeros for one in load(ran)]


def test_any_member_is_exported_without_another_run(ran: Path, tmp_path: Path) -> None:
    before = (ran / "model" / "model.safetensors").read_bytes()
    done = aecompress("export", ran, "--pick", "loss<=1", "--variants", "packed", "-o", tmp_path / "m")
    assert done.returncode == 0, done.stderr
    sparsest, model = load(ran)[0], load_model(tmp_path / "m")
    assert model.parameters - model.zeros == sparsest.nonzeros
    assert model.about["metrics"]["test_mse"] == pytest.approx(sparsest.losses["test"], rel=1e-5)
    assert aecompress("verify", tmp_path / "m" / "autoencoder.onnx", tmp_path / "m").returncode == 0
    assert (ran / "model" / "model.safetensors").read_bytes() == before
    before_pick = load(ran)
    done = aecompress("export", ran, "--pick", "knee")
    assert done.returncode == 0, done.stderr
    assert f"{ran / 'front'}" in done.stdout and load(ran) == before_pick
    assert (ran / "model" / "model.safetensors").read_bytes() == before
    assert aecompress("export", ran, "--pick", "bytes<=7").returncode == 2
    size = (tmp_path / "m" / "autoencoder.packed.onnx").stat().st_size + 400
    done = aecompress("export", ran, "--pick", f"bytes<={size}", "--variants", "packed", "-o", tmp_path / "n")
    assert done.returncode == 0, done.stderr
    assert min(path.stat().st_size for path in (tmp_path / "n").glob("autoencoder*.onnx")) <= size


def test_a_run_without_a_front_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no front"):
        load(tmp_path)
    assert aecompress("front", tmp_path).returncode == 2


@pytest.mark.parametrize("mode", ["coevo", pytest.param("canonical", marks=pytest.mark.slow)])
def test_a_largest_loss_increase_is_met_on_validation_rows_and_reported_on_test_rows(tmp_path: Path, mode: str) -> None:
    flags = [*SMALL[:7], "--quiet", "--mode", mode, "--target-sparsity", "0.5"]
    done = aecompress("prune", *flags, "--max-loss-increase", "60%", "-o", tmp_path / "r")
    assert done.returncode == 0, done.stderr
    metrics = load_model(tmp_path / "r" / "model").about["metrics"]
    assert metrics["validation_loss_increase"] <= 0.6
    assert "test_loss_increase" in metrics
    done = aecompress("prune", *flags, "--max-loss-increase", "0.0001%", "-o", tmp_path / "s")
    assert done.returncode == 1
    assert "above the dense model" in done.stderr
    assert not (tmp_path / "s" / "model").exists()


def test_without_a_target_the_sparsest_within_the_limit_is_taken(tmp_path: Path) -> None:
    done = aecompress("prune", *SMALL, "--max-loss-increase", "30%", "-o", tmp_path / "r")
    assert done.returncode == 0, done.stderr
    model, found = load_model(tmp_path / "r" / "model"), load(tmp_path / "r")
    dense = model.about["metrics"]["validation_mse"] / (1 + model.about["metrics"]["validation_loss_increase"])
    good = [one.nonzeros for one in found if one.loss <= 1.3 * dense * (1 + 1e-6)]
    assert model.parameters - model.zeros == min(good)
    # The spec that the run wrote gives the same.
    done = aecompress("prune", "--spec", tmp_path / "r" / "spec.toml", "-o", tmp_path / "again", "--quiet")
    assert done.returncode == 0, done.stderr
    again, first = (tmp_path / name / "model" / "model.safetensors" for name in ("again", "r"))
    assert again.read_bytes() == first.read_bytes()


@pytest.mark.slow
def test_the_dense_cell_stays_a_dense_model(tmp_path: Path) -> None:
    for seed in ("0", "2", "3"):
        done = aecompress("prune", *SMALL, "--target-sparsity", "0.8", "--seed", seed, "-o", tmp_path / seed)
        assert done.returncode == 0, done.stderr
        log = read_log(tmp_path / seed / "events.jsonl")
        assert {event.sparsity[0] for event in log if isinstance(event, Generation)} == {0.0}


@pytest.mark.slow
def test_after_a_missed_limit_the_front_is_there_all_the_same(tmp_path: Path) -> None:
    done = aecompress(
        "prune", *SMALL, "--max-loss-increase", "0.0001%", "--target-sparsity", "0.8", "-o", tmp_path / "r"
    )
    assert done.returncode == 1 and not (tmp_path / "r" / "model").exists()
    done = aecompress("export", tmp_path / "r", "--pick", "knee")
    assert done.returncode == 0, done.stderr
    (folder,) = {Path(line.split("\t")[1]).parent for line in done.stdout.splitlines()}
    assert folder in [one.path for one in load(tmp_path / "r")]
    assert aecompress("verify", folder / "autoencoder.onnx", folder).returncode == 0
    assert not (tmp_path / "r" / "model").exists()


def test_a_limit_of_bytes_holds_for_the_file_that_is_written(tmp_path: Path) -> None:
    flags = ["--variants", "packed", "--set", "export.variant_loss=0.000001"]
    done = aecompress("prune", *SMALL, *flags, "--target-sparsity", "0.8", "-o", tmp_path / "r")
    assert done.returncode == 0, done.stderr
    # Estimated with values in eight bits, which lose more than is allowed here.
    for most in (4200, 3000):
        done = aecompress("export", tmp_path / "r", "--pick", f"bytes<={most}", "-o", tmp_path / str(most))
        if done.returncode == 0:
            assert min(path.stat().st_size for path in (tmp_path / str(most)).glob("autoencoder*.onnx")) <= most
        else:
            assert done.returncode == 2 and "no model of the front meets it" in done.stderr
            assert not (tmp_path / str(most)).exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--set", "evolve.budgets=[0.5,0.9]"], "gives 2 for 4 cells"),
        (["--set", "evolve.budgets=[0.1,0.2,0.3,0.9]", "--rule", "pair"], "can differ under evolve.rule = 'dominance'"),
        (["--rule", "dominance", "--set", "evolve.order=asynchronous"], "in synchronous order"),
        (["--rule", "pair", "--max-loss-increase", "5%"], "needs a dense cell"),
        (["--set", "evolve.budgets=[0,0.5,0.6,0.7]"], "none reaches prune.target_sparsity = 0.8"),
        (["--max-loss-increase", "5%", "--set", "data.split=[0.8,0,0.2]"], "kept on validation rows"),
        (["--max-loss-increase", "five"], "budget.max_loss_increase"),
        (["--set", "evolve.budgets=[0,0.5,0.9,1.5]"], "evolve.budgets"),
        (["--regrowth", "2"], "prune.regrowth"),
        (["--set", "prune.masks=free", "--regrowth", "0.3"], "prune.regrowth"),
    ],
)
def test_budgets_that_cannot_be_are_refused(tmp_path: Path, flags: list[str], message: str) -> None:
    done = aecompress("prune", *SMALL, *flags, "-o", tmp_path / "r")
    assert done.returncode == 2, done.stderr
    assert message in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize("losses", [None, [], {"test": 1.0}, {"validation": "low"}, {"validation": math.nan}], ids=str)
def test_a_member_without_losses_is_named(losses: Any) -> None:
    model = cast(Model, SimpleNamespace(about={"losses": losses, "metric": "mse"}))
    with pytest.raises(DataError, match=r"00.config.json: does not have the model's losses"):
        losses_of(Path("front/00"), model)


@pytest.mark.parametrize("gone", ["03", "00", "all but one"])
def test_a_model_of_the_front_that_is_gone_is_named(ran: Path, tmp_path: Path, gone: str) -> None:
    run = shutil.copytree(ran, tmp_path / "run")
    members = sorted(path for path in (run / "front").iterdir() if path.is_dir())
    removed = members[1:] if gone == "all but one" else [run / "front" / gone]
    for path in removed:
        shutil.rmtree(path)
    for command in (["front"], ["inspect"], ["report"], ["export", "--pick", "knee"]):
        done = aecompress(*command, run)
        assert done.returncode == 2
        assert done.stderr == (
            f"aecompress: {removed[0]}: is gone, and {run}/front/SHA256SUMS lists it; restore it, or carry the run out "
            "again\n"
        )
        assert done.stdout == ""
    assert not (run / "report.html").exists()


def test_a_front_is_held_to_its_list(ran: Path, tmp_path: Path) -> None:
    run = shutil.copytree(ran, tmp_path / "run")
    assert [path.name for path in check(run)] == sorted(path.name for path in (run / "front").glob("[0-9]*"))
    shutil.copytree(run / "front" / "00", run / "front" / "77")
    with pytest.raises(DataError, match=r"front/77: is not listed in .*front/SHA256SUMS; move it elsewhere"):
        check(run)
    shutil.rmtree(run / "front" / "77")
    shutil.rmtree(run / "front" / "01")
    shutil.copytree(run / "front" / "00", run / "front" / "01")
    with pytest.raises(DataError, match=r"front/01/model\.safetensors: was changed or damaged"):
        check(run)
    (run / "front" / "SHA256SUMS").unlink()
    with pytest.raises(DataError, match=r"front/SHA256SUMS: is not there, so that a model which is gone would not be"):
        check(run)


def test_an_exported_model_of_the_front_stays_listed(ran: Path, tmp_path: Path) -> None:
    run = shutil.copytree(ran, tmp_path / "run")
    assert aecompress("export", run, "--pick", "knee").returncode == 0
    assert len(check(run)) == len(check(ran))
    assert aecompress("prune", *SMALL, "--target-sparsity", "0.8", "-o", run, "--force").returncode == 0
