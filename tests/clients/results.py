"""What came out, held against what is expected of each client; the table of docs/deploy.md."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from tests.clients.files import Case
from tests.clients.table import CLIENTS, expectation

VARIANTS = ("plain", "packed", "int8", "packed int8", "fp16", "scorer", "one layer")
"""The columns of the table; a scorer of any variant stands under scorer."""


@dataclass(frozen=True)
class Result:
    """One file in one client."""

    client: str
    case: Case
    outcome: str
    """"right", "wrong" or "refused"."""
    detail: str = ""
    milliseconds: float = 0.0
    """Of loading it."""
    operators: tuple[tuple[str, int], ...] = ()
    """What a call runs, where the client lists it."""

    @property
    def fault(self) -> str:
        """Return in which way it is not as expected, as a sentence; "" where it is."""
        wanted, why = expectation(self.client, self.case)
        if self.outcome == wanted:
            return ""
        reason = f" ({why})" if why else ""
        return f"{self.client}: {self.case.file}: {self.outcome}, expected {wanted}{reason}: {self.detail}"


def judged(client: str, cases: Sequence[Case], answers: Iterable[Mapping[str, Any]]) -> list[Result]:
    """Return the result of each case from what the client printed of it."""
    found = []
    for case, answer in zip(cases, answers, strict=True):
        if "refused" in answer:
            found.append(Result(client, case, "refused", answer["refused"]))
            continue
        off, share = answer["off"], answer["share"]
        words = "another shape, or not finite"
        if off is not None:
            words = f"largest difference {off:.2e}, {share:.3g} times what is allowed"
        found.append(
            Result(
                client=client,
                case=case,
                outcome="right" if share is not None and share <= 1 else "wrong",
                detail=words,
                milliseconds=answer["milliseconds"],
                operators=tuple(sorted(answer["operators"].items())),
            )
        )
    return found


def faults(results: Sequence[Result]) -> list[str]:
    """Return a sentence for each result that is not as expected, and for each file that does not fold."""
    found = [result.fault for result in results if result.fault]
    operators = {(result.client, result.case.file): result.operators for result in results}
    for result in results:
        plain = operators.get((result.client, result.case.plain), ())
        if result.outcome == "right" and plain and result.operators != plain:
            runs = ", ".join(f"{count} {name}" for name, count in result.operators)
            found.append(f"{result.client}: {result.case.file}: is not folded to its plain file's operators: {runs}")
    return found


def column(case: Case) -> str:
    """Return where a case stands in the table: under its variant, a scorer under scorer."""
    words = set(case.variant.split())
    return "scorer" if "scorer" in words else next(name for name in VARIANTS if set(name.split()) == words)


def markdown(results: Sequence[Result], date: str) -> str:
    """Return the table of docs/deploy.md: a row for each client, a column for each variant, files of its opsets."""
    clients = list(dict.fromkeys(result.client for result in results))
    present = [name for name in VARIANTS if any(column(result.case) == name for result in results)]
    files = [sum(column(result.case) == name for result in results) // len(clients) for name in present]
    heads = " | ".join(f"{name} ({count})" for name, count in zip(present, files, strict=True))
    lines = [f"| {date} | opset | {heads} | ms to load, plain / packed |", "|---" * (len(present) + 3) + "|"]
    for client in clients:
        newest = CLIENTS[client].opset
        own = [result for result in results if result.client == client and result.case.opset <= newest]
        cells = [summary([result for result in own if column(result.case) == name]) for name in present]
        times = " / ".join(load_time(own, name) for name in ("plain", "packed"))
        lines.append(f"| {client} | to {newest} | {' | '.join(cells)} | {times} |")
    return "\n".join(lines)


def summary(results: Sequence[Result]) -> str:
    """Return "right", or how many files were what and why."""
    outcomes = {result.outcome for result in results}
    if outcomes == {"right"}:
        return "right"
    words = []
    for outcome in ("right", "wrong", "refused"):
        some = [result for result in results if result.outcome == outcome]
        reasons = dict.fromkeys(expectation(result.client, result.case)[1] for result in some)
        why = "; ".join(reason for reason in reasons if reason)
        words += [f"{len(some)} {outcome}{f' ({why})' if why else ''}"] if some else []
    return ", ".join(words)


def load_time(results: Sequence[Result], name: str) -> str:
    """Return the median milliseconds that autoencoders of a variant take to load."""
    times = [
        result.milliseconds
        for result in results
        if column(result.case) == name and "/autoencoder." in result.case.file and result.outcome != "refused"
    ]
    return f"{median(times):.1f}" if times else "-"
