"""Signals in the first moments: one line, and the exit code of the signal."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from aecompress.children import PACKAGE_ROOT, isolated


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("after", [0.05, 0.8])
def test_a_signal_in_the_first_moments_ends_in_one_line(number: int, after: float, tmp_path: Path) -> None:
    arguments = ["prune", "digits", "--epochs", "100000", "-o", str(tmp_path / "run"), "--quiet"]
    child = subprocess.Popen(
        isolated("from aecompress.start import main; print(flush=True); main()", *arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(PACKAGE_ROOT)},
    )
    assert child.stdout is not None
    child.stdout.readline()
    time.sleep(after)
    child.send_signal(number)
    _, errors = child.communicate(timeout=20)
    assert child.returncode == 128 + number
    assert len(errors.splitlines()) == 1 and "stopped by SIG" in errors, errors


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    "moment", ["atexit.register(strike)", "class Last:\n  __del__ = lambda self: strike()\nlast = Last()"]
)
def test_a_signal_in_the_last_moments_changes_no_exit_code(number: int, moment: str) -> None:
    code = f"import atexit, os\nstrike = lambda kill=os.kill, own=os.getpid(): kill(own, {int(number)})\n{moment}\n"
    done = subprocess.run(
        isolated(f"{code}from aecompress.start import main; main()", "--version"),
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert (done.returncode, done.stderr) == (0, "") and done.stdout.startswith("aecompress ")


def test_libraries_are_not_taken_apart_at_the_end() -> None:
    code = (
        "import os, threading, time\nclass Last:\n  __del__ = lambda self, write=os.write: write(2, b'apart')\n"
        "last = Last()\nthreading.Thread(target=lambda: (time.sleep(0.3), print('waited for'))).start()\n"
        "from aecompress.start import main; main()"
    )
    for words, status in ((("--version",), 0), (("control", "nowhere", "stop"), 2)):
        done = subprocess.run(isolated(code, *words), capture_output=True, text=True, timeout=30)
        assert done.returncode == status and "apart" not in done.stderr and "waited for" in done.stdout


@pytest.mark.parametrize("at_once", [False, True])
def test_a_stopped_sweep_over_ray_leaves_without_what_was_registered_for_the_end(at_once: bool) -> None:
    code = (
        "import atexit\nfrom aecompress import start\nfrom aecompress.cli import main\n"
        "from aecompress.cli.exits import reported\nfrom aecompress.errors import Interrupted\n"
        "def stopped():\n  atexit.register(print, 'taken down')\n"
        f"  with reported():\n    raise Interrupted('stopped', 15, at_once={at_once})\n"
        "main.main = stopped\nstart.main()"
    )
    done = subprocess.run(isolated(code), capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (143, "aecompress: stopped\n")
    assert ("taken down" in done.stdout) is not at_once


def test_names_are_utf8_also_where_the_locale_is_ascii(tmp_path: Path) -> None:
    np.save(tmp_path / "dät€.npy", np.random.default_rng(0).random((20, 6)))
    environment = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    code = "from aecompress.start import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "data", "dät€.npy"],
        capture_output=True,
        cwd=tmp_path,
        env=environment | {"PYTHONPATH": str(PACKAGE_ROOT)},
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, b"") and "dät€" in done.stdout.decode()


@pytest.mark.parametrize(
    "closed", [pytest.param(">&-", marks=pytest.mark.slow), pytest.param("2>&-", marks=pytest.mark.slow), ">&- 2>&-"]
)
def test_a_stream_that_was_closed_before_is_no_fault(closed: str) -> None:
    command = shlex.join(isolated("from aecompress.start import main; main()", "spec"))
    done = subprocess.run(["sh", "-c", f"{command} {closed}"], capture_output=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")
