"""Runs that are killed, and runs of which a file is damaged, a link or a pipe: the same bytes, or one sentence."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from aecompress.children import command_line
from tests.campaign.answers import RUN, answer, tensors

READERS = {
    "model": ("inspect", "verify", "export", "bench", "resume"),
    "front": ("front", "pick"),
    "checkpoint": ("resume",),
    "run.json": ("resume", "export", "report", "control"),
    "spec.toml": ("resume", "export", "pick"),
    "events.jsonl": ("resume", "report"),
}
"""By the part of a run that is damaged, the commands that read it."""
COMMANDS: dict[str, tuple[str, ...]] = {
    "inspect": ("inspect", "run"),
    "front": ("front", "run"),
    "verify": ("verify", "{file}", "run"),
    "bench": ("bench", "{file}", "--seconds", "0.01", "--batch", "1", "--threads", "1"),
    "export": ("export", "run", "-o", "new"),
    "pick": ("export", "run", "--pick", "knee", "-o", "new"),
    "resume": ("prune", "--resume", "run", "--quiet"),
    "report": ("report", "run"),
    "control": ("control", "run", "pause"),
}


def changed(change: Callable[[random.Random, bytearray], None]) -> Callable[[random.Random, Path], None]:
    """Return the damage that changes a file's bytes in place."""

    def damage(draw: random.Random, path: Path) -> None:
        data = bytearray(path.read_bytes())
        change(draw, data)
        path.write_bytes(data)

    return damage


def flip(draw: random.Random, data: bytearray) -> None:
    data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)


def cut(draw: random.Random, data: bytearray) -> None:
    del data[draw.choice((0, len(data) - 1, draw.randrange(len(data)))) :]


def zero(draw: random.Random, data: bytearray) -> None:
    begin, size = draw.randrange(len(data)), draw.choice((1, 16, 512))
    data[begin : begin + size] = bytes(len(data[begin : begin + size]))


def replaced(make: Callable[[Path], object]) -> Callable[[random.Random, Path], None]:
    """Return the damage that puts something else in a file's place."""

    def damage(draw: random.Random, path: Path) -> None:
        path.unlink()
        make(path)

    return damage


WAYS: list[Callable[[random.Random, Path], None]] = [
    *[changed(flip)] * 6,
    changed(cut),
    changed(zero),
    changed(lambda draw, data: data.extend(draw.randbytes(9))),
    replaced(lambda path: None),
    replaced(Path.mkdir),
    replaced(os.mkfifo),
    replaced(lambda path: path.symlink_to("/dev/null")),
    replaced(lambda path: path.symlink_to("/dev/zero")),
    replaced(lambda path: path.symlink_to(path.name)),
]


def kill(draw: random.Random, good: Path, folder: Path) -> str:
    """Kill a run at any moment; resumed, or begun again, it has the bytes of one that was not."""
    child = subprocess.Popen(command_line("prune", *RUN, "-o", "run"), cwd=folder, stdout=subprocess.DEVNULL)
    time.sleep(draw.uniform(0.5, 5))
    child.kill()
    child.wait()
    resume = ("--resume", "run", "--quiet")
    begun = (folder / "run" / "run.json").exists()
    done, wrong = answer(folder, "prune", *(resume if begun else (*RUN, "-o", "run", "--force")))
    same = done.returncode == 0 and tensors(folder / "run") == tensors(good)
    return wrong or ("" if same else f"kill: exit {done.returncode}, other bytes")


def damage(draw: random.Random, good: Path, folder: Path) -> str:
    """Damage a file of a finished run; a command that reads it gives what it gave before, or refuses."""
    run = Path(shutil.copytree(good, folder / "run"))
    part = draw.choice(list(READERS))
    files = sorted(path for path in ([run / part] if (run / part).is_file() else (run / part).rglob("*.*")))
    path = draw.choice([file for file in files if file.is_file()])
    draw.choice(WAYS)(draw, path)
    name = draw.choice(READERS[part])
    file = path if path.suffix == ".onnx" else run / "model" / "autoencoder.onnx"
    before = {str(path.relative_to(run)): whole(path) for path in [*run.rglob("*.onnx"), *run.rglob("*.safetensors")]}
    done, wrong = answer(folder, *(word.format(file=file.relative_to(folder)) for word in COMMANDS[name]))
    if wrong or done.returncode:
        return wrong or ("damage: a refused export left its folder" if (folder / "new").exists() else "")
    right = tensors(good)
    fault = f"damage: {path.relative_to(run)}: {name} takes it as sound"
    if name in ("verify", "bench"):
        names = (str(file.relative_to(run)), *(["model/model.safetensors"] if name == "verify" else []))
        return "" if all(before.get(name) == right[name] for name in names) else fault
    if name == "inspect":
        return "" if before.get("model/model.safetensors") == right["model/model.safetensors"] else fault
    if name == "export":
        return "" if tensors_of(folder / "new") == tensors_of(good / "model") else fault
    if name == "resume":
        return "" if tensors(run) == right else fault
    return ""


def stopped(draw: random.Random, good: Path, folder: Path) -> str:
    """Damage a file of a run that was stopped half-way; it is resumed to the same bytes, or refused."""
    run = Path(shutil.copytree(good, folder / "run"))
    for part in ("model", "front"):
        shutil.rmtree(run / part)
    for path in (run / "checkpoint").glob("generation-000006.*"):
        path.unlink()
    (run / "run.json").write_text((run / "run.json").read_text().replace('"finished"', '"stopped"'))
    path = draw.choice(sorted(path for path in run.rglob("*.*") if path.is_file()))
    draw.choice(WAYS)(draw, path)
    done, wrong = answer(folder, "prune", "--resume", "run", "--quiet")
    same = done.returncode != 0 or tensors(run) == tensors(good)
    return wrong or ("" if same else f"stopped: {path.relative_to(run)}: resumed to other bytes")


def whole(path: Path) -> bytes:
    """Return the bytes of a regular file; none of anything else, which would be followed or waited for."""
    return path.read_bytes() if path.is_file() and not path.is_symlink() else b""


def tensors_of(model: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in model.iterdir() if path.suffix in (".onnx", ".safetensors")}
