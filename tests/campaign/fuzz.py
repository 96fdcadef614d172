"""Odd files, flags, names and values of strangers: one sentence, and nothing of theirs on the terminal."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

from aecompress.deploy.graph import ROUNDED_KEY, SCALING_KEY
from aecompress.digests import SEAL, sealed, write_sums
from tests.campaign.answers import answer

ODD = ("\x1b]0;x\x07", "\u202e", "\x9b31m", "[/red]", "\x00", "é", "-", "9" * 30, "nan", ",,", "[" * 3000, "\n", "'")
NUMBERS = (0, -1, 2**63, 10**30, 1e999, -1e999, float("nan"), 1e-320)
VALUES: tuple[Any, ...] = (*ODD, *NUMBERS, "", "9" * 5000, True, None, [], {}, [[]], [1.5] * 3, {"a": {}})
WRITTEN = (
    "run.json",
    "events.jsonl",
    "model/config.json",
    "model/verification.json",
    "front/00/config.json",
    "checkpoint/generation-000006.json",
)
READERS = (
    "prune --resume run --quiet",
    "report run",
    "inspect run",
    "front run",
    "control run stop",
    "verify run/model/autoencoder.packed.onnx run",
    "export run -o new",
    "export run --pick knee -o new",
)
SWEEP = {"study": "s", "runs": 2, "workers": 1, "finished": [], "failed": {}, "status": "running", "specs": {}}
STUDY = 'name = "s"\nseeds = 1\nspec.data.source = "nowhere.npy"\n[[group]]\nname = "a"\n'


def texts(draw: random.Random, good: Path, folder: Path) -> str:
    """Give odd files, flags and names."""
    text = ",".join(draw.choice((*ODD, "1", "0.5", "a")) for _ in range(draw.randrange(1, 12)))
    name = "".join(draw.choice(ODD[:4]) for _ in range(2)).replace("/", "")
    file = folder / f"{name}{draw.choice(('.csv', '.npy', '.npz', '.toml', '.csv.gz'))}"
    file.write_text(f"{text}\n{text}\n", encoding="utf-8")
    words = draw.choice(
        (("data", file.name), ("spec", "--spec", file.name), ("spec", "--set", f"data.source={text[:500]}"),
         ("inspect", file.name), ("verify", file.name, str(good)), ("bench", file.name), ("sweep", file.name),
         ("bench", str(good / "model" / "encoder.onnx"), "--batch", text), ("data", f"binary-clusters:{text}x1x1"),
         ("front", str(good), "--plot", text), ("export", str(good), "--pick", text, "-o", str(folder / "new")))
    )  # fmt: skip
    return answer(folder, *words)[1]


def escapes(draw: random.Random, good: Path, folder: Path) -> str:
    """Name a run like an escape sequence; every command shows the name and does not send it."""
    name = f"run{draw.choice(ODD[:4]).replace('/', '')}"
    shutil.copytree(good, folder / name)
    found = [answer(folder, *words) for words in (("inspect", name), ("front", name), ("prune", "--resume", name))]
    return next((wrong or "escapes: a sound run is refused" for done, wrong in found if wrong or done.returncode), "")


def altered(draw: random.Random, values: Any) -> Any:
    """Return JSON values of which one, at any depth, is another."""
    if isinstance(values, dict) and values and draw.random() < 0.8:
        key = draw.choice(list(values))
        if draw.random() < 0.1:
            return {name: value for name, value in values.items() if name != key}
        return {**values, key: altered(draw, values[key])}
    if isinstance(values, list) and values and draw.random() < 0.8:
        place = draw.randrange(len(values))
        return [*values[:place], altered(draw, values[place]), *values[place + draw.choice((0, 1)) :]]
    return draw.choice(VALUES)


def values(draw: random.Random, good: Path, folder: Path) -> str:
    """Alter a value of what a run wrote, with the checksums as they should be then, as somebody who means harm does."""
    run = Path(shutil.copytree(good, folder / "run"))
    name = draw.choice(WRITTEN)
    path = run / name
    if name == "events.jsonl":
        lines = path.read_text().splitlines()
        place = draw.randrange(len(lines))
        lines[place] = json.dumps(altered(draw, json.loads(lines[place])))
        path.write_text("\n".join(lines) + "\n")
    else:
        new = altered(draw, {key: value for key, value in json.loads(path.read_text()).items() if key != SEAL})
        path.write_text(json.dumps(sealed(new) if "checkpoint" in name and isinstance(new, dict) else new))
        if name.startswith(("model", "front")):
            write_sums(path.parent)
    if draw.random() < 0.5:
        (run / "run.json").write_text((run / "run.json").read_text().replace('"finished"', '"stopped"'))
    return answer(folder, *draw.choice(READERS).split())[1]


def sweeps(draw: random.Random, good: Path, folder: Path) -> str:
    """Alter a value of a sweep's state, and read it."""
    (folder / "s.toml").write_text(STUDY)
    (folder / "sweep").mkdir()
    (folder / "sweep" / "study.toml").write_text(STUDY)
    (folder / "sweep" / "sweep.json").write_text(json.dumps(altered(draw, SWEEP)))
    return answer(folder, *draw.choice(("report sweep", "sweep s.toml -o sweep")).split())[1]


def graphs(draw: random.Random, good: Path, folder: Path) -> str:
    """Change bytes of an ONNX file and read it with every command; none takes another function as the model."""
    source = draw.choice(sorted((good / "model").glob("*.onnx")))
    data = bytearray(source.read_bytes())
    for _ in range(draw.choice((1, 1, 3))):
        place = draw.randrange(len(data))
        data[place : place + draw.choice((0, 1, 4))] = draw.randbytes(draw.choice((1, 4)))
    for key in (SCALING_KEY, ROUNDED_KEY):
        if draw.random() < 0.2:
            data += b"\x72" + bytes([len(key) + 7]) + b"\x0a" + bytes([len(key)]) + key.encode() + b"\x12\x03abc"
    (folder / "a.onnx").write_bytes(data)
    words = draw.choice(
        (
            f"verify a.onnx {good}",
            "bench a.onnx --seconds 0.01 --batch 1 --threads 1",
            "export a.onnx --dense -o plain.onnx",
            "prune digits --init a.onnx --epochs 0 -o new --quiet",
        )
    )
    return answer(folder, *words.split())[1]
