"""Proof that an ONNX file is the trained model: checker, then names, shapes and values in onnxruntime."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import numpy_helper

from aecompress.deploy import graph, reference
from aecompress.deploy.checkpoint import Floats, Model, kept_rows, load_model
from aecompress.deploy.evaluator import evaluate
from aecompress.deploy.expected import (
    Expectations,
    Expected,
    affine,
    embedded,
    expectations,
    of_variants,
    part_of,
    score_metric,
    unscaled,
)
from aecompress.deploy.graph import PARTS
from aecompress.deploy.reading import read_onnx
from aecompress.deploy.reconstruction import loss_of, raw_noise, reconstruction_of, row_losses_of
from aecompress.deploy.session import LARGEST_BATCH, SMALL_BATCH_ROWS, _one_line, attempt, run_batches, session
from aecompress.digests import check_listed
from aecompress.errors import DataError
from aecompress.files import read_own
from aecompress.parsing import parse_json, quoted
from aecompress.polling import Poll, no_poll

TOLERANCE = 1e-5
"""Allowed difference by default."""


VARIANT_LOSS = 0.02
"""Allowed rise of the loss of a rounded file by default."""


BATCHES = (1, 7)


FEW_ROWS = 7
"""Rows that are tried without optimisations, where packed files are slow."""


LEVELS = {
    "disabled": onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "basic": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC,
}


@dataclass(frozen=True)
class Check:
    """One comparison and how it came out."""

    name: str
    passed: bool
    detail: str
    difference: float = 0.0
    """Largest difference seen, where the check compares values."""


@dataclass(frozen=True)
class Verification:
    """All checks of a set of files."""

    checks: tuple[Check, ...]
    tolerance: float

    @property
    def passed(self) -> bool:
        """Return whether every check passed, and there was one."""
        return bool(self.checks) and all(check.passed for check in self.checks)

    @property
    def max_difference(self) -> float:
        """Return the largest difference of any value or loss."""
        return max((check.difference for check in self.checks), default=0.0)

    @property
    def first_failure(self) -> str:
        """Return the first failed check in words, or an empty string."""
        return next((f"{check.name}: {check.detail}" for check in self.checks if not check.passed), "")

    def to_json(self) -> dict[str, Any]:
        """Return the object of ``verification.json``."""
        return {
            "passed": self.passed,
            "max_difference": _json_number(self.max_difference),
            "tolerance": self.tolerance,
            "versions": {"onnx": onnx.__version__, "onnxruntime": onnxruntime.__version__},
            "checks": [asdict(check) | {"difference": _json_number(check.difference)} for check in self.checks],
        }


def _json_number(value: float) -> float | str:
    """Return a number as JSON has it: infinity, for which there is no word, as text."""
    return value if np.isfinite(value) else str(value)


class Opened(NamedTuple):
    """A file as far as it could be opened."""

    checks: list[Check]
    proto: onnx.ModelProto | None = None
    runner: onnxruntime.InferenceSession | None = None
    part: str = ""


def opened(path: Path, wanted: str | None = None) -> Opened:
    """Check and load one ONNX file; its input and output names say which part it is.

    Args:
        wanted: the part the file must be; None takes any.
    """
    label = path.name
    try:
        check_listed(path)
        proto = read_onnx(path)
        onnx.checker.check_model(proto, full_check=True)
    except DataError as fault:
        if not path.is_file():
            raise
        return Opened([Check(f"{label} checker", False, str(fault))])
    except MemoryError:  # says nothing of the file
        raise
    except Exception as fault:  # the checker and protobuf raise unrelated classes
        return Opened([Check(f"{label} checker", False, _one_line(fault))])
    checks = [Check(f"{label} checker", True, "onnx.checker with full_check")]
    try:
        runner = session(path, 1)
    except DataError as fault:
        return Opened([*checks, Check(f"{label} loads", False, str(fault))])
    names, part = [node.name for node in (*runner.get_inputs(), *runner.get_outputs())], part_of(runner)
    named = bool(part) and wanted in (None, part)
    checks.append(Check(f"{label} names", named, " -> ".join(names)))
    return Opened(checks, proto, runner, part if named else "")


def verify_file(
    path: Path,
    model: Model,
    expected: Expectations,
    tolerance: float,
    poll: Poll = no_poll,
    wanted: str | None = None,
) -> list[Check]:
    """Compare one ONNX file with what ``model`` is ``expected`` to give.

    Values are compared with the NumPy reference, at batch 1, 7 and all rows, in scaled units; the allowed difference is
    ``tolerance`` times the largest reference value, at least ``tolerance``, plus a multiple of what float32 rounding
    moves in NumPy on the same rows, and of what it moves in each column of raw rows. Where the file stores a tensor
    under the model's own name and shape, the two must be the same bits. Without graph optimisations, with basic ones,
    and in onnx's own evaluator, the file must give the same.

    Args:
        poll: called before each comparison; may raise to stop.
        wanted: the part the file must be; None takes any.
    """
    checks, proto, runner, part = opened(path, wanted)
    if proto is None or runner is None or not part:
        return checks
    label, cases = path.name, expected[part]
    fits = shapes(label, runner, cases[0])
    checks += [fits]
    if not fits.passed:
        return checks
    checks.append(_stored_tensors(label, proto, model))
    for given in cases:
        for batch in BATCHES:
            poll()
            got = attempt(runner, given.fed[:SMALL_BATCH_ROWS], batch)
            name = f"{label} values, {given.name}, batch {batch}"
            checks.append(compare(name, given.scaled(got), given.right[:SMALL_BATCH_ROWS], tolerance, given.noise))
        got = attempt(runner, given.fed, LARGEST_BATCH, poll)
        name = f"{label} values, all {len(given.fed)} {given.name}, batch {min(len(given.fed), LARGEST_BATCH)}"
        checks.append(compare(name, given.scaled(got), given.right, tolerance, given.noise))
    return checks + everywhere(path, proto, runner, cases[-1], tolerance, poll)


def rounded_file(
    path: Path,
    expected: Expectations,
    tolerance: float,
    poll: Poll = no_poll,
    wanted: str | None = None,
) -> list[Check]:
    """Check a file in rounded arithmetic: valid, loadable, named, shaped, and the same wherever it runs."""
    checks, proto, runner, part = opened(path, wanted)
    if proto is None or runner is None or not part:
        return checks
    case = expected[part][0]
    checks.append(shapes(path.name, runner, case))
    if not checks[-1].passed:
        return checks
    return checks + everywhere(path, proto, runner, case._replace(noise=case.noise + case.step), tolerance, poll)


def shapes(label: str, runner: onnxruntime.InferenceSession, case: Expected) -> Check:
    """Check for float32 with a dynamic batch, and the widths of the rows that go in and come out."""
    sides: list[tuple[Any, tuple[int, ...]]] = [
        (runner.get_inputs()[0], case.fed.shape),
        (runner.get_outputs()[0], case.right.shape),
    ]
    fit = all(
        len(node.shape) == len(shape)
        and not isinstance(node.shape[0], int)
        and list(node.shape[1:]) == list(shape[1:])
        and node.type == "tensor(float)"
        for node, shape in sides
    )
    return Check(f"{label} shapes", fit, " -> ".join(f"{node.type} {node.shape}" for node, _ in sides))


def everywhere(
    path: Path,
    proto: onnx.ModelProto,
    runner: onnxruntime.InferenceSession,
    case: Expected,
    tolerance: float,
    poll: Poll = no_poll,
) -> list[Check]:
    """Check for the same values at every level of graph optimisation and in onnx's evaluator, on a few rows."""
    rows = case.fed[:FEW_ROWS]
    usual = attempt(runner, rows, FEW_ROWS)
    if isinstance(usual, str):
        return [Check(f"{path.name} runs", False, usual, float("inf"))]
    checks, right = [], case.scaled(usual)
    assert not isinstance(right, str)
    for name, level in LEVELS.items():
        poll()
        try:
            got = attempt(session(path, 1, level), rows, FEW_ROWS)
        except DataError as fault:
            got = str(fault)
        checks.append(compare(f"{path.name} with optimisation {name}", case.scaled(got), right, tolerance, case.noise))
    poll()
    evaluated = evaluate(proto, runner.get_inputs()[0].name, rows)
    name = f"{path.name} in onnx's evaluator"
    check = compare(name, case.scaled(evaluated.output), right, tolerance, case.noise)
    return [*checks, replace(check, detail="; ".join(filter(None, (check.detail, evaluated.lent))))]


def _stored_tensors(label: str, proto: onnx.ModelProto, model: Model) -> Check:
    same, different = 0, []
    for initializer in proto.graph.initializer:
        mine = model.tensors.get(initializer.name)
        if mine is None:
            continue
        stored = numpy_helper.to_array(initializer)
        if stored.shape != mine.shape or stored.dtype != mine.dtype:
            continue
        count = int(np.count_nonzero(stored != mine))
        same += count == 0
        if count:
            different.append(f"{initializer.name} differs in {count} places")
    return Check(f"{label} stored tensors", not different, "; ".join(different) or f"{same} equal to the model's")


def compare(
    name: str,
    got: NDArray[np.floating] | str,
    expected: NDArray[np.floating],
    tolerance: float,
    noise: float | NDArray[np.float64] = 0.0,
) -> Check:
    """Check that arrays ``[N, ...]`` agree to ``tolerance`` x max(1, largest expected value), plus ``noise``.

    Args:
        noise: of all values, or of each of a row.
    """
    if isinstance(got, str):
        return Check(name, False, got, float("inf"))
    if got.shape != expected.shape:
        return Check(name, False, f"shape {got.shape}, expected {expected.shape}", float("inf"))
    if not np.isfinite(got).all():
        return Check(name, False, "not finite", float("inf"))
    largest = np.atleast_1d(reference.largest_difference(got, expected))
    most = max(float(expected.max()), -float(expected.min()))
    allowed = np.broadcast_to(tolerance * max(1.0, most) + noise, largest.shape)
    worst = int(np.argmax(largest - allowed))
    difference, most = float(largest.flat[worst]), float(allowed.flat[worst])
    where = f", column {worst}" if np.ndim(noise) else ""
    return Check(
        name, difference <= most, f"largest difference {difference:.2e}, allowed {most:.2e}{where}", difference
    )


def verify_set(
    folder: Path,
    model: Model,
    rows: Floats,
    tolerance: float,
    losses: Mapping[str, float],
    loss_tolerance: float,
    *,
    poll: Poll = no_poll,
    expected: Expectations | None = None,
) -> Verification:
    """Verify the three files of a model folder on ``rows`` and against the training side's ``losses``.

    Args:
        rows: scaled rows ``[N, *shape]``.
        losses: metric -> mean loss that torch computed on the same rows.
        poll: called before each comparison; may raise to stop.
        expected: where it is known already, of ``model`` on scaled ``rows``.
    """
    checks = []
    paths = {part: folder / f"{part}.onnx" for part in PARTS}
    try:
        scaling = embedded(onnx.load(paths["autoencoder"], load_external_data=False), model)
    except MemoryError:  # says nothing of the file
        raise
    except Exception:  # the checker below says what is wrong with it
        scaling = None
    expected = expected or expectations(model, rows, poll, scaling)
    given = expected if scaling is None else unscaled(expected, scaling)
    for part, path in paths.items():
        checks += verify_file(path, model, given, tolerance, poll, part)
    if all(check.passed for check in checks):
        for case in given["autoencoder"]:
            latent = _given(paths["encoder"], case.fed, poll)
            both = case.scaled(_given(paths["decoder"], latent, poll))
            whole = case.scaled(_given(paths["autoencoder"], case.fed, poll))
            assert not isinstance(whole, str)
            name = f"decoder after encoder equals autoencoder, {case.name}"
            checks.append(compare(name, both, whole, tolerance, case.noise))
        for metric, loss in losses.items():
            poll()
            checks.append(same_loss(paths["autoencoder"], model, rows, metric, loss, loss_tolerance, poll=poll))
    return Verification(tuple(checks), tolerance)


def same_loss(
    path: Path, model: Model, rows: Floats, metric: str, loss: float, tolerance: float, *, poll: Poll = no_poll
) -> Check:
    """Check that the mean loss of an autoencoder file on scaled ``rows`` ``[N, *shape]`` is what torch computed.

    Of a file that takes raw rows, what rounding these to float32 moves the loss by is allowed beside ``tolerance``.
    """
    scaling = embedded(onnx.load(path, load_external_data=False), model)
    out = reconstruction_of(path, model, rows, scaling, poll)
    measured = reference.row_losses(metric, out, rows).mean()
    noise = 0.0 if scaling is None else raw_noise(model, rows, out, metric, scaling, poll)
    # Below 1e-3 float32 rounding of the values, not of the loss, sets what can agree.
    difference = max(float(abs(measured - loss)) - noise, 0.0) / max(abs(loss), 1e-3)
    detail = f"onnxruntime {measured:.8f}, torch {loss:.8f}, allowed relative difference {tolerance:.0e}"
    if noise:
        detail += f" and {noise:.1e} by raw rows in float32"
    return Check(f"{metric} of onnxruntime and torch", difference <= tolerance, detail, difference)


def _given(path: Path, rows: Floats, poll: Poll) -> Floats:
    return run_batches(path, session(path, 1), rows, LARGEST_BATCH, poll)


def no_worse(path: Path, model: Model, rows: Floats, metric: str, allowed: float, right: float) -> Check:
    """Check that a file with rounded weights loses no more than ``allowed``, a share of the loss ``right``."""
    got = loss_of(path, model, rows, metric)
    worse = got / max(right, 1e-12) - 1
    detail = f"{metric} {got:.8f} on {len(rows)} rows, float32 {right:.8f}: {worse:+.2%}, allowed +{allowed:.2%}"
    return Check(f"{path.name} loss", bool(worse <= allowed), detail, 0.0)


def not_known_worse(
    path: Path, model: Model, rows: Floats, metric: str, allowed: float, right: NDArray[np.float64]
) -> Check:
    """Check that a file's losses on a few ``rows`` do not show that it loses more than allowed beside those ``right``.

    A file that loses just as much as allowed on all rows of a split may seem to lose more on a few of them, so three
    standard errors are allowed on top.
    """
    got = row_losses_of(path, model, rows, metric)
    exact, worse = max(float(right.mean()), 1e-12), float(got.mean() / max(right.mean(), 1e-12) - 1)
    few = 3 * float(np.std(got - (1 + allowed) * right)) / max(len(rows), 1) ** 0.5 / exact
    detail = (
        f"{metric} {got.mean():.8f} on {len(rows)} rows, float32 {exact:.8f}: {worse:+.2%}, allowed +{allowed:.2%} and "
        f"{few:.2%} because they are few"
    )
    return Check(f"{path.name} loss", bool(worse <= allowed + few), detail, 0.0)


def verify_against(file: Path, folder: Path, rows: Floats | None, tolerance: float | None) -> Verification:
    """Verify any ONNX file against a model folder.

    Args:
        rows: scaled rows ``[N, *shape]``; None takes those the folder keeps, and random probes where it keeps none.
        tolerance: None takes the one the model was made with.

    Raises:
        DataError: the folder holds no model that is known, or the rows are not of its shape.
    """
    model = load_model(folder)
    if tolerance is None:
        tolerance = kept_number(folder, "tolerance", TOLERANCE)
    if rows is None:
        kept = kept_rows(folder)
        rows = np.zeros((0, *model.shape), np.float32) if kept is None else kept
    if rows.shape[1:] != model.shape:
        theirs, ours = ("x".join(map(str, shape)) for shape in (rows.shape[1:], model.shape))
        raise DataError(f"rows have {theirs} inputs, the model in {folder} {ours}; give its rows")
    try:
        about = {entry.key: entry.value for entry in read_onnx(file).metadata_props}
    except DataError:  # the checker says what is wrong with it
        about = {}
    scaling = affine(model) if graph.SCALING_KEY in about else None
    name = str(model.about.get("metric", "mse"))
    if name not in reference.LOSSES:
        raise DataError(f"{folder / 'config.json'}: metric = {quoted(name)} is not known; make the model again")
    expected: Expectations = of_variants(expectations(model, rows, scaling=scaling), name)
    if scaling is not None:
        expected = unscaled(expected, scaling)
    if graph.ROUNDED_KEY not in about or not len(rows):
        return Verification(tuple(verify_file(file, model, expected, tolerance)), tolerance)
    checks = rounded_file(file, expected, tolerance)
    if all(check.passed for check in checks):
        part, right = part_of(session(file, 1)), reference.row_losses(name, reference.reconstruct(model, rows)[1], rows)
        if part not in PARTS:
            name, right = score_metric(name), expected[part][0].right
        allowed = kept_number(folder, "variant_loss", VARIANT_LOSS)
        checks.append(not_known_worse(file, model, rows, name, allowed, right))
    return Verification(tuple(checks), tolerance)


def kept_number(folder: Path, key: str, otherwise: float) -> float:
    """Return a number that ``verification.json`` has; ``otherwise`` where there is none.

    Raises:
        DataError: it is not as it was written.
    """
    check_listed(folder / "verification.json")
    try:
        return float(parse_json(read_own(folder / "verification.json"))[key])
    except (OSError, ValueError, KeyError, TypeError):
        return otherwise
