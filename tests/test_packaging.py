"""The wheel holds every file of both packages: what runs from a checkout also runs when installed."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCES = {"aecompress": "aecompress", "tui": "aecompress_tui"}  # folder: name when installed


def sources() -> set[str]:
    """Paths in a wheel of every file under the two folders, leftovers of Python's own apart."""
    files = ((folder, path) for folder in SOURCES for path in (ROOT / folder).rglob("*") if path.is_file())
    return {
        f"{SOURCES[folder]}/{path.relative_to(ROOT / folder).as_posix()}"
        for folder, path in files
        if "__pycache__" not in path.parts
    }


def test_the_wheel_holds_every_file_of_both_packages(tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    for folder in SOURCES:
        shutil.copytree(ROOT / folder, checkout / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, checkout)
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index"]
    done = subprocess.run([*build, "-w", tmp_path, checkout], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    expected = sources()
    assert len(expected) > 50
    assert held == expected
