"""Code that a run begins with: never without trust, once in the life of a run, and written down."""

from __future__ import annotations

import hashlib
import json
import textwrap
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from aecompress import event_log, events
from aecompress.errors import DataError, SpecError
from aecompress.runs.again import export_again
from aecompress.runs.job import Job, prepare, prepare_resume
from aecompress.runs.run import run
from aecompress.spec.resolve import resolve

SOURCE = textwrap.dedent(
    """
    from pathlib import Path
    import torch
    from torch import nn
    from torch.nn.utils import prune

    with Path(__file__).with_suffix(".log").open("a") as log:
        log.write("run\\n")
    print("a line that is not for stdout")

    def make():
        net = nn.Sequential(nn.Linear(30, 6), nn.ReLU(), nn.Linear(6, 30), nn.Sigmoid())
        prune.random_unstructured(net[0], "weight", 0.5)
        nn.init.constant_(net[2].bias, 0.1)
        return net
    """
)
SMALL = {
    "data.source": "binary-clusters:4x10x30",
    "mode": "canonical",
    "train.epochs": 4,
    "train.batch": 8,
    "prune.target_sparsity": 0.6,
    "prune.regrowth": 0.0,
    "checkpoint_every": 1,
}


def job(folder: Path, init: str, trusted: bool = True, **changes: Any) -> Job:
    flags = {**SMALL, "model.init": init, **changes}
    return prepare(resolve({path: ("test", value) for path, value in flags.items()}), folder, trusted=trusted)


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("code") / "net.py"
    path.write_text(SOURCE)
    return path


def test_nothing_of_a_file_runs_without_trust(code: Path, tmp_path: Path) -> None:
    log = code.with_suffix(".log")
    before = log.read_text() if log.exists() else ""
    with pytest.raises(SpecError, match=r"net.py:make: a module in a file of Python runs that file .* --trust-code"):
        job(tmp_path / "r", f"{code}:make", trusted=False)
    with pytest.raises(SpecError, match=r"name the module in it, as .*net.py:NAME"):
        job(tmp_path / "r", str(code))
    assert not (tmp_path / "r").exists() and (log.read_text() if log.exists() else "") == before


def test_code_runs_once_is_written_down_and_a_resumed_run_needs_it_no_more(
    code: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = code.with_suffix(".log")
    log.unlink(missing_ok=True)
    running = run(job(tmp_path / "r", f"{code}:make"))
    for event in running:
        if isinstance(event, events.Generation) and event.generation == 2:
            break
    running.close()
    code.unlink()
    list(run(prepare_resume(tmp_path / "r")))
    assert log.read_text() == "run\n" and capsys.readouterr().out == ""
    digest = hashlib.sha256(SOURCE.encode()).hexdigest()
    status, config = (json.loads((tmp_path / "r" / name).read_text()) for name in ("run.json", "model/config.json"))
    assert status["code"] == config["code"] == {"file": str(code), "name": "make", "sha256": digest}
    card = (tmp_path / "r/model/README.md").read_text()
    assert f"came from code that was trusted (`--trust-code`) and run: make in {code}, sha256 {digest}." in card
    generations = [
        event for event in event_log.read_log(tmp_path / "r/events.jsonl") if isinstance(event, events.Generation)
    ]
    # Half of the first layer was pruned by torch.nn.utils.prune: it stays so from the first epoch on.
    assert min(generations[0].sparsity) >= 90 / 396
    for path in (tmp_path / "r/pretrained").iterdir():
        path.unlink()
    (tmp_path / "r/pretrained").rmdir()
    with pytest.raises(DataError, match="pretrained: is gone, which has the model that the run began with"):
        prepare_resume(tmp_path / "r")


def test_a_resumed_run_and_an_export_say_what_was_assumed_of_the_model(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(30, 6), nn.ReLU(), nn.Linear(6, 30), nn.Sigmoid())
    torch.save(module.state_dict(), tmp_path / "a.pt")
    named = {"model.activation": "relu", "model.latent_activation": "relu", "model.output": "sigmoid"}
    running = run(job(tmp_path / "r", str(tmp_path / "a.pt"), **named))
    for event in running:
        if isinstance(event, events.Generation) and event.generation == 2:
            break
    running.close()
    list(run(prepare_resume(tmp_path / "r")))
    export_again(tmp_path / "r", {}, output=tmp_path / "again", dense=False)
    for folder in ("r/model", "again"):
        card, config = ((tmp_path / folder / name).read_text() for name in ("README.md", "config.json"))
        assert "its file holds no activations; as requested: relu" in card
        assert "its file holds no activations" in " ".join(json.loads(config)["decisions"])
