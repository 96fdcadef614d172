"""The front of a run on disk: its non-dominated models, one folder each, and how a user picks one of them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aecompress.deploy import checkpoint
from aecompress.deploy.checkpoint import Model
from aecompress.digests import SUMS, check_sum, read_sums, write_sums
from aecompress.errors import DataError, SpecError
from aecompress.files import standing
from aecompress.parsing import quoted
from aecompress.runs.folder import staged

WEIGHTS = "model.safetensors"
CURE = "restore it, or carry the run out again"
PICKS = "knee, sparsity=SHARE, loss<=VALUE or bytes<=NUMBER"


@dataclass(frozen=True)
class Member:
    """One model of the front."""

    path: Path
    nonzeros: int
    parameters: int
    metric: str
    losses: dict[str, float]
    """The reported metric by split: validation, or train where the run had no validation rows, and test."""

    @property
    def loss(self) -> float:
        """Return the loss on validation rows; where the run had none, on training rows."""
        return self.losses[self.split]

    @property
    def split(self) -> str:
        """Return the split of :attr:`loss`."""
        return "validation" if "validation" in self.losses else "train"

    @property
    def sparsity(self) -> float:
        """Return the share of all weights and biases that are exactly zero."""
        return 1 - self.nonzeros / self.parameters


def save(run: Path, models: Sequence[Model]) -> list[Path]:
    """Write the models, fewest non-zeros first, and let all of them appear together; return their folders."""
    names = [f"{number:02d}" for number in range(len(models))]
    with staged(run / "front") as folder:
        for name, model in zip(names, models, strict=True):
            (folder / name).mkdir()
            checkpoint.save_model(folder / name, model)
        write_sums(folder, f"*/{WEIGHTS}")
    return [run / "front" / name for name in names]


def check(run: Path) -> list[Path]:
    """Return the folders of a front's models, fewest non-zeros first; none where the run has no front.

    Raises:
        DataError: a model that the front's list of checksums has is missing or was changed, or one is not listed.
    """
    where = standing(run / "front")
    found = (re.fullmatch(r"([0-9]{2,9})|\.([0-9]{2,9})\.old", path.name) for path in where.glob("*"))
    names = {name[1] or name[2] for name in found if name}
    sums = {name.removesuffix(f"/{WEIGHTS}"): digest for name, digest in read_sums(where).items()}
    if where.exists() and not sums:
        raise DataError(f"{where / SUMS}: is not there, so that a model which is gone would not be missed; {CURE}")
    for name in sorted({*names, *sums}, key=lambda name: (len(name), name)):
        if name not in names:
            raise DataError(f"{where / name}: is gone, and {where / SUMS} lists it; {CURE}")
        if name not in sums:
            raise DataError(f"{where / name}: is not listed in {where / SUMS}; move it elsewhere")
        check_sum(standing(where / name) / WEIGHTS, sums[name])
    return [where / name for name in sorted(names, key=int)]


def load(run: Path) -> list[Member]:
    """Read the front of a finished run, fewest non-zeros first.

    Raises:
        DataError: the run has none, or one that is not whole.
    """
    folders = check(run)
    if not folders:
        raise DataError(
            f"{run}: has no front; a finished run whose cells have budgets of their own (--mode coevo) writes one"
        )
    members = []
    for path in folders:
        model = checkpoint.load_model(standing(path))
        losses, metric = losses_of(path, model)
        members.append(
            Member(
                path=path,
                nonzeros=model.parameters - model.zeros,
                parameters=model.parameters,
                metric=metric,
                losses=losses,
            )
        )
    return members


def losses_of(path: Path, model: Model) -> tuple[dict[str, float], str]:
    """Return the losses of a member by split, and the metric that they are of.

    Raises:
        DataError: its config does not have them.
    """
    losses: Any = model.about.get("losses")
    metric = model.about.get("metric")
    right = isinstance(losses, dict) and {"validation", "train"} & losses.keys()
    if not right or not all(type(loss) is float and loss >= 0 for loss in losses.values()) or type(metric) is not str:
        raise DataError(f"{path / 'config.json'}: does not have the model's losses; carry the run out again")
    return losses, metric


def knee(points: Sequence[tuple[float, float]]) -> int:
    """Return the index of the point farthest below the straight line between the ends.

    Both axes are logarithmic and scaled to [0, 1].

    After Satopaa et al. 2011, "Finding a Kneedle in a Haystack".

    Args:
        points: (non-zeros, loss), both falling or rising together; one or more.
    """
    ends = min(points), max(points)
    width = math.log(max(ends[1][0], 1) / max(ends[0][0], 1))
    height = math.log(max(ends[0][1], 1e-300) / max(ends[1][1], 1e-300))
    if width <= 0 or height <= 0:
        return points.index(ends[0])

    def below(point: tuple[float, float]) -> float:
        across = math.log(max(point[0], 1) / max(ends[0][0], 1)) / width
        up = math.log(max(point[1], 1e-300) / max(ends[1][1], 1e-300)) / height
        return 1 - across - up

    return max(range(len(points)), key=lambda at: below(points[at]))


def parsed(text: str) -> tuple[str, float]:
    """Return what ``--pick`` names: knee (and not-a-number), sparsity, loss or bytes, and the value.

    Raises:
        SpecError: it names none of these.
    """
    if text.strip() == "knee":
        return "knee", math.nan
    match = re.fullmatch(r"\s*(sparsity\s*=|loss\s*<=|bytes\s*<=)\s*([0-9.eE+-]+)\s*", text)
    try:
        value = float(match.group(2)) if match else math.nan
    except ValueError:
        value = math.nan
    if not match or math.isnan(value):
        raise SpecError(f"--pick {quoted(text)}: write {PICKS}")
    return match.group(1).rstrip("<= ").strip(), value


def pick(members: Sequence[Member], text: str, size_of: Callable[[Member], int]) -> Member:
    """Return the member that ``text`` names.

    ``knee``; ``sparsity=S``: the lowest loss with at least that sparsity; ``loss<=V``: the fewest non-zeros with at
    most that validation loss; ``bytes<=N``: the lowest loss whose file has at most so many bytes.

    Args:
        size_of: bytes of a member's file.

    Raises:
        SpecError: it names none of these, or no member meets it.
    """
    kind, value = parsed(text)
    if kind == "knee":
        return members[knee([(float(member.nonzeros), member.loss) for member in members])]
    if kind == "loss":
        candidates = [member for member in members if member.loss <= value]
        chosen = min(candidates, key=lambda member: member.nonzeros, default=None)
    else:
        if kind == "sparsity":
            candidates = [member for member in members if member.sparsity >= value - 0.5 / member.parameters]
        else:
            candidates = [member for member in members if size_of(member) <= value]
        chosen = min(candidates, key=lambda member: member.loss, default=None)
    if chosen is None:
        raise SpecError(f"--pick {quoted(text)}: no model of the front meets it; {_nearest(members, kind, size_of)}")
    return chosen


def _nearest(members: Sequence[Member], kind: str, size_of: Callable[[Member], int]) -> str:
    """Return the best value of the front, as a clause."""
    if kind == "loss":
        lowest = min(members, key=lambda member: member.loss)
        return f"the lowest {lowest.split} loss is {lowest.loss:.6g}"
    if kind == "sparsity":
        return f"the highest sparsity is {max(member.sparsity for member in members):.4f}"
    return f"the smallest file has {min(map(size_of, members))} bytes"
