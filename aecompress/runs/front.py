"""The front of a run on disk: its non-dominated pairs, one folder each, and how a user picks one of them."""

from __future__ import annotations

import math
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from aecompress.deploy import checkpoint
from aecompress.deploy.checkpoint import Model
from aecompress.errors import DataError, SpecError

PICKS = "knee, sparsity=SHARE, loss<=VALUE or bytes<=NUMBER"


@dataclass(frozen=True)
class Member:
    """One pair of the front."""

    path: Path
    nonzeros: int
    parameters: int
    metric: str
    losses: dict[str, float]
    """Of the reported metric, by split: validation, or train where the run had no validation rows, and test."""

    @property
    def loss(self) -> float:
        """On validation rows; where the run had none, on training rows."""
        return self.losses[self.split]

    @property
    def split(self) -> str:
        """The rows of :attr:`loss`."""
        return "validation" if "validation" in self.losses else "train"

    @property
    def sparsity(self) -> float:
        """Share of all weights and biases that are exactly zero."""
        return 1 - self.nonzeros / self.parameters


def save(run: Path, models: Sequence[Model]) -> list[Path]:
    """Write the pairs, fewest non-zeros first, under a temporary name, and rename them into place together."""
    temporary, final = run / ".front.part", run / "front"
    shutil.rmtree(temporary, ignore_errors=True)
    names = [f"{number:02d}" for number in range(len(models))]
    for name, model in zip(names, models, strict=True):
        (temporary / name).mkdir(parents=True)
        checkpoint.save_model(temporary / name, model)
    shutil.rmtree(final, ignore_errors=True)
    temporary.replace(final)
    return [final / name for name in names]


def load(run: Path) -> list[Member]:
    """The front of a finished run, fewest non-zeros first.

    Raises:
        DataError: the run has none.
    """
    folders = sorted((run / "front").glob("[0-9]*")) if (run / "front").is_dir() else []
    if not folders:
        raise DataError(
            f"{run}: has no front; a finished run with budgets of its own for each cell (--mode coevo) writes one"
        )
    found = []
    for path in folders:
        model = checkpoint.load_model(path)
        losses = {str(split): float(loss) for split, loss in model.about["losses"].items()}
        metric = str(model.about["metric"])
        found.append(Member(path, model.parameters - model.zeros, model.parameters, metric, losses))
    return found


def knee(points: Sequence[tuple[float, float]]) -> int:
    """The point farthest below the straight line between the ends, both axes logarithmic and scaled to [0, 1].

    After Satopaa et al. 2011, "Finding a Kneedle in a Haystack".

    Args:
        points: (non-zeros, loss), both falling or rising together; one or more.
    """
    ends = min(points), max(points)
    width = math.log(ends[1][0] / ends[0][0])
    height = math.log(max(ends[0][1], 1e-300) / max(ends[1][1], 1e-300))
    if width <= 0 or height <= 0:
        return points.index(ends[0])

    def below(point: tuple[float, float]) -> float:
        across = math.log(point[0] / ends[0][0]) / width
        up = math.log(max(point[1], 1e-300) / max(ends[1][1], 1e-300)) / height
        return 1 - across - up

    return max(range(len(points)), key=lambda at: below(points[at]))


def parsed(asked: str) -> tuple[str, float]:
    """What ``--pick`` asks for: knee (and nothing), sparsity, loss or bytes, and the value.

    Raises:
        SpecError: it names none of these.
    """
    if asked.strip() == "knee":
        return "knee", math.nan
    match = re.fullmatch(r"\s*(sparsity\s*=|loss\s*<=|bytes\s*<=)\s*([0-9.eE+-]+)\s*", asked)
    try:
        value = float(match.group(2)) if match else math.nan
    except ValueError:
        value = math.nan
    if not match or math.isnan(value):
        raise SpecError(f"--pick {asked}: write {PICKS}")
    return match.group(1).rstrip("<= ").strip(), value


def pick(members: Sequence[Member], asked: str, size_of: Callable[[Member], int]) -> Member:
    """The member that ``asked`` names.

    ``knee``; ``sparsity=S``: the lowest loss with at least that share of zeros; ``loss<=V``: the fewest non-zeros with
    at most that validation loss; ``bytes<=N``: the lowest loss whose file has at most so many bytes.

    Args:
        size_of: bytes of a member's file.

    Raises:
        SpecError: it names none of these, or no member meets it.
    """
    kind, value = parsed(asked)
    if kind == "knee":
        return members[knee([(float(member.nonzeros), member.loss) for member in members])]
    if kind == "loss":
        good = [member for member in members if member.loss <= value]
        lowest = min(members, key=lambda member: member.loss)
        reached = f"the lowest {lowest.split} loss is {lowest.loss:.6g}"
        chosen = min(good, key=lambda member: member.nonzeros, default=None)
    else:
        if kind == "sparsity":
            good = [member for member in members if member.sparsity >= value - 0.5 / member.parameters]
            reached = f"the sparsest has {max(member.sparsity for member in members):.4f}"
        else:
            good = [member for member in members if size_of(member) <= value]
            reached = f"the smallest has {min(size_of(member) for member in members)}" if not good else ""
        chosen = min(good, key=lambda member: member.loss, default=None)
    if chosen is None:
        raise SpecError(f"--pick {asked}: no member of the front meets it; {reached}")
    return chosen
