"""Proof that an ONNX file is the trained model: checker, then names, shapes and values in onnxruntime."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import numpy_helper

from aecompress import rng
from aecompress.deploy import reference
from aecompress.deploy.checkpoint import Floats, Model, load_model, load_rows
from aecompress.errors import AecompressError, DataError

TOLERANCE = 1e-5
"""Allowed difference where nobody says otherwise."""
BATCHES = (1, 7)
SMALL_BATCH_ROWS = 1024
"""Rows that the small batches are tried on."""
LARGEST_BATCH = 1 << 12
"""Rows of one call when all rows are compared."""
PROBES = 64
ROUNDING = 4.0
"""Multiple of what float32 costs NumPy that onnxruntime, which adds in another order, is allowed on top."""
SIGNATURES = {
    ("input", "latent"): "encoder",
    ("latent", "reconstruction"): "decoder",
    ("input", "reconstruction"): "autoencoder",
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
        """Whether every check passed, and there was one."""
        return bool(self.checks) and all(check.passed for check in self.checks)

    @property
    def max_difference(self) -> float:
        """Largest difference of any value or loss."""
        return max((check.difference for check in self.checks), default=0.0)

    @property
    def first_failure(self) -> str:
        """The first failed check in words, or an empty string."""
        return next((f"{check.name}: {check.detail}" for check in self.checks if not check.passed), "")

    def to_json(self) -> dict[str, Any]:
        """For ``verification.json``."""
        return {
            "passed": self.passed,
            "max_difference": _json_number(self.max_difference),
            "tolerance": self.tolerance,
            "versions": {"onnx": onnx.__version__, "onnxruntime": onnxruntime.__version__},
            "checks": [asdict(check) | {"difference": _json_number(check.difference)} for check in self.checks],
        }


def _json_number(value: float) -> float | str:
    """JSON has no word for infinity, so it is written as text."""
    return value if np.isfinite(value) else str(value)


def session(path: Path, threads: int = 0) -> onnxruntime.InferenceSession:
    """An onnxruntime session on the CPU.

    Args:
        threads: threads inside an operator; 0 leaves the choice to onnxruntime.

    Raises:
        DataError: onnxruntime does not load the file.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
    except OSError as fault:
        raise DataError(f"{path}: cannot be read ({fault.strerror}); name an ONNX file") from fault
    except Exception as fault:  # onnxruntime raises a dozen unrelated classes, all from its C++ side
        raise DataError(f"{path}: onnxruntime does not load it ({_one_line(fault)}); export it again") from fault


def _one_line(fault: Exception) -> str:
    return " ".join(str(fault).split())[:200]


class Expected(NamedTuple):
    """What the model gives on some rows, and how far float32 arithmetic alone moves it."""

    name: str
    rows: Floats
    latent: NDArray[np.float64]
    reconstruction: NDArray[np.float64]
    latent_noise: float
    reconstruction_noise: float


def expectations(model: Model, rows: Floats, poll: Callable[[], None] = lambda: None) -> list[Expected]:
    """The reference on scaled ``rows`` ``[N, D]`` and on random probes."""
    found = []
    for name, given in (("rows", rows), ("probes", probes(rows, model.encoder[0].inputs))):
        if len(given):
            exact = reference.reconstruct(model, given, np.float64, poll)
            single = reference.reconstruct(model, given, np.float32, poll)
            noise = [float(np.abs(a - b).max()) for a, b in zip(exact, single, strict=True)]
            found.append(Expected(name, given, *exact, *noise))
    return found


def verify_file(
    path: Path,
    model: Model,
    expected: Sequence[Expected],
    tolerance: float,
    poll: Callable[[], None] = lambda: None,
    wanted: str | None = None,
) -> list[Check]:
    """Compare one ONNX file with what ``model`` is ``expected`` to give.

    The file's input and output names say whether it is an encoder, a decoder or an autoencoder. Values are compared
    with the NumPy reference, at batch 1, 7 and all rows; the allowed difference is ``tolerance`` times the largest
    reference value, at least ``tolerance``, plus a multiple of what float32 rounding moves in NumPy on the same rows.
    Where the file stores a tensor under the model's own name and shape, the two must be the same bits.

    Args:
        poll: called before each comparison; may raise to stop.
        wanted: the part the file must be; None takes any.
    """
    label = path.name
    try:
        proto = onnx.load(path)
        onnx.checker.check_model(proto, full_check=True)
    except OSError as fault:
        raise DataError(f"{path}: cannot be read ({fault.strerror}); name an ONNX file") from fault
    except Exception as fault:  # the checker and protobuf raise unrelated classes
        return [Check(f"{label} checker", False, _one_line(fault))]
    checks = [Check(f"{label} checker", True, "onnx.checker with full_check")]
    try:
        runner = session(path, 1)
    except DataError as fault:
        return [*checks, Check(f"{label} loads", False, str(fault))]

    names = tuple(node.name for node in (*runner.get_inputs(), *runner.get_outputs()))
    part = SIGNATURES.get(names)
    named = part is not None and wanted in (None, part)
    checks.append(Check(f"{label} names", named, " -> ".join(names)))
    if not named:
        return checks
    sides = [
        (runner.get_inputs()[0], "input" if part != "decoder" else "latent"),
        (runner.get_outputs()[0], "latent" if part == "encoder" else "input"),
    ]
    width = {"input": model.encoder[0].inputs, "latent": model.encoder[-1].outputs}
    shapes_fit = all(
        len(node.shape) == 2
        and not isinstance(node.shape[0], int)
        and node.shape[1] == width[kind]
        and node.type == "tensor(float)"
        for node, kind in sides
    )
    checks.append(Check(f"{label} shapes", shapes_fit, " -> ".join(f"{node.type} {node.shape}" for node, _ in sides)))
    if not shapes_fit:
        return checks
    checks.append(_stored_tensors(label, proto, model))

    for given in expected:
        fed = given.latent.astype(np.float32) if part == "decoder" else given.rows
        right = given.latent if part == "encoder" else given.reconstruction
        noise = ROUNDING * (given.latent_noise if part == "encoder" else given.reconstruction_noise)
        for batch in BATCHES:
            poll()
            got = attempt(runner, fed[:SMALL_BATCH_ROWS], batch)
            name = f"{label} values, {given.name}, batch {batch}"
            checks.append(compare(name, got, right[:SMALL_BATCH_ROWS], tolerance, noise))
        got = attempt(runner, fed, LARGEST_BATCH, poll)
        name = f"{label} values, all {len(fed)} {given.name}, batch {min(len(fed), LARGEST_BATCH)}"
        checks.append(compare(name, got, right, tolerance, noise))
    return checks


def probes(rows: Floats, inputs: int) -> Floats:
    """Uniform random rows ``[64, D]`` over the range of ``rows``: they reach inputs that real rows never use."""
    low, high = (float(rows.min()), float(rows.max())) if len(rows) else (0.0, 1.0)
    if low == high:
        low, high = low - 0.5, high + 0.5
    draws = rng.host(0, "verify-probes").random((PROBES, inputs))
    return (low + (high - low) * draws).astype(np.float32)


def _stored_tensors(label: str, proto: onnx.ModelProto, model: Model) -> Check:
    same, different = 0, []
    for initializer in proto.graph.initializer:
        mine = model.tensors.get(initializer.name)
        if mine is None:
            continue
        stored = numpy_helper.to_array(initializer)
        mine = mine.T if mine.ndim == 2 else mine
        if stored.shape != mine.shape or stored.dtype != mine.dtype:
            continue
        count = int(np.count_nonzero(stored != mine))
        same += count == 0
        if count:
            different.append(f"{initializer.name} differs in {count} places")
    return Check(f"{label} stored tensors", not different, "; ".join(different) or f"{same} equal to the model's")


def attempt(
    runner: onnxruntime.InferenceSession, rows: Floats, batch: int, poll: Callable[[], None] = lambda: None
) -> Floats | str:
    """:func:`run_batches`, or the sentence onnxruntime fails with."""
    try:
        return run_batches(runner, rows, batch, poll)
    except AecompressError:
        raise
    except Exception as fault:  # onnxruntime raises a dozen unrelated classes, all from its C++ side
        return _one_line(fault)


def compare(
    name: str,
    got: NDArray[np.floating] | str,
    expected: NDArray[np.floating],
    tolerance: float,
    noise: float = 0.0,
) -> Check:
    """Check that two arrays agree to ``tolerance`` x max(1, largest expected value), plus ``noise``."""
    if isinstance(got, str):
        return Check(name, False, got, float("inf"))
    if got.shape != expected.shape:
        return Check(name, False, f"shape {got.shape}, expected {expected.shape}", float("inf"))
    if not np.isfinite(got).all():
        return Check(name, False, "not finite", float("inf"))
    difference = float(np.abs(got.astype(np.float64) - expected).max())
    allowed = tolerance * max(1.0, float(np.abs(expected).max())) + noise
    return Check(name, difference <= allowed, f"largest difference {difference:.2e}, allowed {allowed:.2e}", difference)


def run_batches(
    runner: onnxruntime.InferenceSession, rows: Floats, batch: int, poll: Callable[[], None] = lambda: None
) -> Floats:
    """The model's output on all ``rows`` ``[N, in]``, ``batch`` rows a call; ``poll`` comes before each."""
    feed = runner.get_inputs()[0].name
    parts = []
    for first in range(0, len(rows), batch):
        poll()
        parts.append(runner.run(None, {feed: rows[first : first + batch]})[0])
    return np.concatenate(parts)


def verify_set(
    folder: Path,
    model: Model,
    rows: Floats,
    tolerance: float,
    losses: Mapping[str, float],
    loss_tolerance: float,
    poll: Callable[[], None] = lambda: None,
) -> Verification:
    """Verify the three files of a model folder on ``rows`` and against the training side's ``losses``.

    Args:
        rows: scaled rows ``[N, D]``.
        losses: measure -> mean loss that torch computed on the same rows.
        poll: called before each comparison; may raise to stop.
    """
    checks = []
    expected = expectations(model, rows, poll)
    paths = {part: folder / f"{part}.onnx" for part in ("encoder", "decoder", "autoencoder")}
    for part, path in paths.items():
        checks += verify_file(path, model, expected, tolerance, poll, part)
    if all(check.passed for check in checks):
        latent = run_batches(session(paths["encoder"], 1), rows, LARGEST_BATCH, poll)
        joined = run_batches(session(paths["decoder"], 1), latent, LARGEST_BATCH, poll)
        whole = run_batches(session(paths["autoencoder"], 1), rows, LARGEST_BATCH, poll)
        checks.append(compare("decoder after encoder equals autoencoder", joined, whole, tolerance))
        for measure, loss in losses.items():
            poll()
            got = float(reference.LOSSES[measure](whole.astype(np.float64), rows.astype(np.float64)).mean())
            # Below 1e-3 float32 rounding of the values, not of the loss, sets what can agree.
            difference = abs(got - loss) / max(abs(loss), 1e-3)
            detail = f"onnxruntime {got:.8f}, torch {loss:.8f}, allowed relative difference {loss_tolerance:.0e}"
            checks.append(
                Check(f"{measure} of onnxruntime and torch", difference <= loss_tolerance, detail, difference)
            )
    return Verification(tuple(checks), tolerance)


def verify_against(file: Path, folder: Path, rows: Floats | None, tolerance: float | None) -> Verification:
    """Verify any ONNX file against a model folder.

    Args:
        rows: scaled rows ``[N, D]``; None takes those the folder keeps, and random probes where it keeps none.
        tolerance: None takes the one the model was made with.
    """
    model = load_model(folder)
    if tolerance is None:
        tolerance = kept_tolerance(folder)
    if rows is None:
        kept = folder / "rows.safetensors"
        rows = load_rows(kept) if kept.exists() else np.zeros((0, model.encoder[0].inputs), np.float32)
    if rows.shape[1] != model.encoder[0].inputs:
        raise DataError(
            f"rows have {rows.shape[1]} inputs, the model in {folder} {model.encoder[0].inputs}; give its rows"
        )
    return Verification(tuple(verify_file(file, model, expectations(model, rows), tolerance)), tolerance)


def kept_tolerance(folder: Path) -> float:
    """The tolerance that ``verification.json`` names; the default where there is none."""
    try:
        return float(json.loads((folder / "verification.json").read_text(encoding="utf-8"))["tolerance"])
    except (OSError, ValueError, KeyError, TypeError):
        return TOLERANCE
