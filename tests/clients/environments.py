"""The place where a client is installed, and the process that runs files in it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.clients.table import Client

HERE = Path(__file__).parent
PYTHON = shutil.which("python3.11") or sys.executable
"""For which every version of the table has a wheel."""
SECONDS = 600
"""The most for all files of a client, and for its installation."""


def installed(client: Client, place: Path) -> Path:
    """Install a client into ``place``, where it is not there in these versions already; return ``place``.

    Raises:
        subprocess.CalledProcessError: it cannot be had here; pip or npm has printed why.
    """
    wanted, stamp = "\n".join(client.packages), place / "installed.txt"
    if stamp.exists() and stamp.read_text() == wanted:
        return place
    if client.node:
        place.mkdir(parents=True, exist_ok=True)
        # Its install script fetches libraries for GPUs.
        quiet = ["--ignore-scripts", "--no-audit", "--no-fund", "--silent", "--no-save"]
        lines = [["npm", "install", "--prefix", str(place), *quiet, *client.packages]]
    else:
        quiet = ["--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary", ":all:"]
        lines = [
            [PYTHON, "-m", "venv", "--clear", str(place)],
            [str(place / "bin" / "python"), "-m", "pip", "install", *quiet, *client.packages],
        ]
    for line in lines:
        subprocess.run(line, check=True, timeout=SECONDS)
    stamp.write_text(wanted)
    return place


def answers(client: Client, place: Path, files: Path, count: int) -> Iterator[dict[str, Any]]:
    """Run the ``count`` files of a folder in a client; give what it printed of each, in order.

    Where the process dies, the file that it was at counts as refused, and the next ones get another process.
    """
    done = 0
    while done < count:
        if client.node:
            line = ["node", str(HERE / "run.mjs"), client.kind, str(files), str(done), str(place)]
        else:
            line = [str(place / "bin" / "python"), "-I", str(HERE / "run.py"), client.kind, str(files), str(done)]
        result = subprocess.run(line, capture_output=True, text=True, timeout=SECONDS)
        found = [json.loads(text) for text in result.stdout.splitlines() if text.startswith("{")]
        yield from found
        done += len(found)
        if done < count:
            last = " ".join(result.stderr.split())[-200:]
            yield {"refused": f"the process ended with {result.returncode}: {last}"}
            done += 1
