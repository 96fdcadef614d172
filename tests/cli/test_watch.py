from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from tests.tui.conftest import write_run

PATIENCE = 45.0
COMMAND = [sys.executable, "-m", "aecompress"]


def refused(*arguments: str, cwd: Path | None = None) -> str:
    done = subprocess.run(
        [*COMMAND, *arguments], capture_output=True, text=True, stdin=subprocess.DEVNULL, cwd=cwd, timeout=60
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr
    return done.stderr.strip()


def test_what_cannot_be_watched_or_steered_is_refused_in_one_sentence(tmp_path: Path) -> None:
    finished = str(write_run(tmp_path / "done"))
    killed = str(write_run(tmp_path / "killed", "running"))
    cases = {
        ("watch", str(tmp_path / "nowhere")): "is not a folder",
        ("watch", finished): "without a terminal",
        ("control", str(tmp_path / "nowhere"), "stop"): "cannot be read",
        ("control", finished, "stop"): "is finished",
        ("control", killed, "pause"): "--resume",
        ("control", finished, "jump"): "is not one of pause, resume, stop",
        ("prune", "digits", "--tui"): "is not a terminal",
        ("prune", "-", "--tui"): "stdin",
    }
    for arguments, words in cases.items():
        message = refused(*arguments, cwd=tmp_path)
        assert words in message and len(message.splitlines()) == 1, (arguments, message)
    assert not (tmp_path / "done" / "control").exists()
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("arguments", [["--help"], ["watch", "--help"], ["control", "--help"]])
def test_help_loads_neither_torch_nor_textual(arguments: list[str]) -> None:
    code = (
        "import sys; from aecompress.cli.main import app\n"
        f"try: app({arguments!r})\nexcept SystemExit: pass\n"
        "sys.exit(len({'torch', 'textual', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr


def in_terminal(command: list[str], cwd: Path, awaited: bytes) -> tuple[int, bytes]:
    """Run a command in a pseudo terminal, leave it once ``awaited`` is drawn; its exit code and all it drew."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(cwd)
        os.execve(command[0], command, {**os.environ, "TERM": "xterm-256color"})
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    drawn, left, deadline = b"", 0.0, time.monotonic() + PATIENCE
    try:
        while time.monotonic() < deadline:
            if select.select([terminal], [], [], 0.2)[0]:
                try:
                    drawn += os.read(terminal, 65536)
                except OSError:  # the other end is closed: the command has ended
                    break
            if awaited in drawn and time.monotonic() - left > 1:
                os.write(terminal, b"q")
                left = time.monotonic()
        else:
            os.kill(pid, signal.SIGKILL)
    finally:
        _, status = os.waitpid(pid, 0)
        os.close(terminal)
    return os.waitstatus_to_exitcode(status), drawn


def test_watching_imports_no_torch(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "done")
    (tmp_path / "watch.py").write_text(
        "import sys, atexit\n"
        "atexit.register(lambda: open('loaded', 'w').write(' '.join(sys.modules)))\n"
        f"sys.argv[1:] = ['watch', {str(folder)!r}]\n"
        "from aecompress.cli.main import main; main()"
    )
    code, _ = in_terminal([sys.executable, "watch.py"], tmp_path, b"sparsity by layer")
    assert code == 0
    loaded = set((tmp_path / "loaded").read_text().split())
    assert "textual" in loaded
    assert not {"torch", "numpy", "onnx", "onnxruntime"} & loaded


def test_prune_with_the_ui_in_front_does_not_stop_the_run_and_ends_with_its_files(tmp_path: Path) -> None:
    prune = [*COMMAND, "prune", "digits", "--tui", "-o"]
    code, drawn = in_terminal([*prune, "one", "--epochs", "5"], tmp_path, b"finished in")
    assert code == 0 and b" one/model/autoencoder.onnx " in drawn.split(b"\x1b[?1049l")[-1]
    long = [*prune, "two", "--epochs", "100000", "--compile", "off"]  # the compiler would take most of the patience
    code, drawn = in_terminal(long, tmp_path, b"sparsity by layer")
    assert code == 0 and b"the run continues in two" in drawn
    stopped = subprocess.run([*COMMAND, "control", str(tmp_path / "two"), "stop"], capture_output=True, timeout=60)
    assert stopped.returncode == 0, stopped.stderr


@pytest.mark.slow
def test_prune_with_the_ui_in_front_ends_with_the_fault_of_its_input(tmp_path: Path) -> None:
    code, drawn = in_terminal([*COMMAND, "prune", "missing.npy", "-o", "three", "--tui"], tmp_path, b"never")
    assert code == 2 and b"missing.npy: no such file" in drawn
    assert not (tmp_path / "three").exists()
