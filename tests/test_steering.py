from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import pytest

from aecompress.errors import DataError, OutputError
from aecompress.files import write_text
from aecompress.steering import ORDERS, fingerprint_of, is_alive, new_folder, order, read_status, status_of

HOLD = (
    "import fcntl, sys; log = open(sys.argv[1], 'a'); fcntl.flock(log, fcntl.LOCK_EX); print('held', flush=True);"
    "sys.stdin.read()"
)


def a_run(folder: Path, status: str, host: str = platform.node()) -> Path:
    folder.mkdir()
    (folder / "events.jsonl").touch()
    (folder / "run.json").write_text(json.dumps({"status": status, "host": host}))
    return folder


def test_a_run_is_running_while_a_process_holds_its_log_and_killed_after(tmp_path: Path) -> None:
    folder = a_run(tmp_path / "run", "running")
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder / "events.jsonl")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with holder:
        assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
        assert status_of(folder) == "running"
        for word in ORDERS:
            order(folder, word)
            assert (folder / "control").read_text() == word + "\n"
        holder.kill()
    assert status_of(folder) == "killed"
    with pytest.raises(DataError, match=r"is killed, so it cannot stop; .*--resume"):
        order(folder, "stop")


@pytest.mark.parametrize("status", ["finished", "stopped", "failed"])
def test_a_run_that_has_ended_takes_no_orders(tmp_path: Path, status: str) -> None:
    folder = a_run(tmp_path / "run", status)
    assert status_of(folder) == status
    with pytest.raises(DataError, match=f"is {status}"):
        order(folder, "pause")
    assert not (folder / "control").exists()


def test_a_run_on_another_machine_is_taken_for_running(tmp_path: Path) -> None:
    folder = a_run(tmp_path / "run", "running", host="elsewhere")
    assert status_of(folder) == "running"
    order(folder, "stop")
    assert (folder / "control").read_text() == "stop\n"


def test_a_run_without_a_log_is_not_alive(tmp_path: Path) -> None:
    folder = a_run(tmp_path / "run", "running")
    (folder / "events.jsonl").unlink()
    assert not is_alive(folder, read_status(folder))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"status": 3}', "{", "\x00"])
def test_what_is_not_a_status_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(DataError, match=re.escape(f"{tmp_path / 'run.json'}: is not a run's status")):
        status_of(tmp_path)


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="name the folder of a run"):
        order(tmp_path, "stop")


def test_control_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    folder = a_run(tmp_path / "run", "running", host="elsewhere")
    (folder / ".control.part").mkdir()
    with pytest.raises(OutputError, match="cannot be written"):
        order(folder, "stop")


def test_a_new_folder_has_a_name_that_every_system_takes() -> None:
    assert re.fullmatch(r"runs/a-b-c\.d-\d{8}-\d{6}", str(new_folder("a b/c.d")))


def test_text_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "\ud800")
    assert path.read_text() == "old"
    write_text(path, "new é")
    assert path.read_text(encoding="utf-8") == "new é"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(("status", "resumes"), [("finished", False), ("stopped", True), ("failed", True)])
def test_a_refused_order_is_one_sentence_with_the_cure_where_there_is_one(
    tmp_path: Path, status: str, resumes: bool
) -> None:
    folder = a_run(tmp_path / "run", status)
    with pytest.raises(DataError) as refused:
        order(folder, "resume")
    message = str(refused.value)
    assert message.startswith(f"{folder}: is {status}, so it cannot resume") and "\n" not in message
    assert (f"`aecompress prune --resume {folder}`" in message) == resumes


def test_a_run_goes_by_who_holds_its_log_not_by_its_process_number(tmp_path: Path) -> None:
    folder = a_run(tmp_path / "run", "running")
    (folder / "run.json").write_text(json.dumps({"status": "running", "host": platform.node(), "pid": 1}))
    assert status_of(folder) == "killed"
    assert status_of(folder) == "killed", "looking leaves no lock behind"


@pytest.mark.parametrize(
    "text",
    ["[" * 100_000, "[]", '{"status": 5}', '{"status": "running", "dataset": []}', '{"status": "stopped", "pid": "x"}'],
    ids=lambda text: text[:30],
)
def test_a_status_of_another_form_is_one_sentence(tmp_path: Path, text: str) -> None:
    folder = a_run(tmp_path / "run", "stopped")
    (folder / "run.json").write_text(text)
    with pytest.raises(DataError, match="is not a run's status .*; name the folder of a run"):
        read_status(folder)


def test_a_status_that_does_not_name_its_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not name its rows"):
        fingerprint_of(tmp_path, {"status": "stopped"})
    assert fingerprint_of(tmp_path, {"dataset": {"fingerprint": "ab"}}) == "ab"


def test_a_pipe_for_a_status_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "run.json")
    with pytest.raises(DataError, match="not a file"):
        read_status(tmp_path)
