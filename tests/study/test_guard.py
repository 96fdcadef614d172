"""What a sweep started ends with it, even where it is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from aecompress.study.guard import guarded, holders

CHILD = "import sys, time; file = open(sys.argv[1]); print('open', flush=True); time.sleep(60)"
DRIVER = f"""
import subprocess, sys, time
from aecompress.study.guard import guarded
with guarded(sys.argv[1]):
    command = [sys.executable, "-c", {CHILD!r}, sys.argv[1] + "/log"]
    child = subprocess.Popen(command, start_new_session=True, stdout=subprocess.PIPE)
    child.stdout.readline()
    print(child.pid, flush=True)
    time.sleep(60)
"""

pytestmark = pytest.mark.skipif(not Path("/proc").is_dir(), reason="processes are found in /proc")


def running(process: int) -> bool:
    """Return whether a process runs; one that has ended and was not waited for does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_killed_sweep_takes_the_processes_with_it_that_it_started(tmp_path: Path) -> None:
    (tmp_path / "log").touch()
    command = [sys.executable, "-c", DRIVER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as driver:
        assert driver.stdout is not None
        child = int(driver.stdout.readline())
        try:
            assert running(child)
            driver.send_signal(signal.SIGKILL)
            end = time.monotonic() + 10
            while running(child) and time.monotonic() < end:
                time.sleep(0.02)
            assert not running(child)
        finally:
            if running(child):
                os.kill(child, signal.SIGKILL)


def test_after_a_stop_nothing_waits_for_the_guard(tmp_path: Path) -> None:
    (tmp_path / "log").touch()
    stopped = DRIVER.removesuffix("time.sleep(60)\n") + "raise Interrupted('stopped', 15)\n"
    code = (
        "from aecompress.errors import Interrupted\n"
        f"try:\n{textwrap.indent(stopped, ' ')}\nexcept Interrupted:\n print(child.poll(), flush=True)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=30)
    child, left = done.stdout.split()
    assert left == "None"  # it was still there; it ends after the process that was stopped
    end = time.monotonic() + 10
    while running(int(child)) and time.monotonic() < end:
        time.sleep(0.02)
    assert not running(int(child))


def test_only_what_holds_a_file_of_the_session_is_ended(tmp_path: Path) -> None:
    for name in ("session", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "log").touch()
    own = (tmp_path / "session" / "log").open()  # as Ray's logs are open in the process that started it
    with own, guarded(str(tmp_path / "session")):
        session, other = (
            subprocess.Popen([sys.executable, "-c", CHILD, str(tmp_path / name / "log")], stdout=subprocess.PIPE)
            for name in ("session", "other")
        )
        for child in (session, other):
            assert child.stdout is not None and child.stdout.readline() == b"open\n"
        assert sorted(holders(tmp_path / "session")) == sorted([os.getpid(), session.pid])
    try:
        assert session.wait(10) == -signal.SIGKILL
        assert other.poll() is None
    finally:
        other.kill()
        for child in (session, other):
            child.communicate()
