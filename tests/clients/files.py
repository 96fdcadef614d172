"""The files of the matrix, and what each is to give: small models of digits, exported in every way.

The command line exports them, as a user does. Beside them stand networks of one layer in each form that a packed
tensor can have, which a trained model need not have all.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from aecompress.deploy import expected, graph, pack, verify
from aecompress.deploy.checkpoint import Model, kept_rows, load_model
from aecompress.deploy.compact import chain_of
from aecompress.deploy.expected import Expectations, Expected
from aecompress.deploy.forms import DENSE, Packed, decode, encode
from aecompress.deploy.grid import VALUES
from aecompress.layers.dense import dense
from aecompress.registry import VARIANTS
from tests.clients.evaluate import evaluate
from tests.commands import aecompress

ROWS = 16
OPSETS = (13, 18, 24)
TRAINED = (
    "digits --mode canonical --hidden 96 --latent 16 --epochs 12 --scaling standard --quiet "
    "--set export.variant_loss=100 --set export.rows=16"
)
RUNS = {"weight": "--target-sparsity 0.85", "unit": "--granularity unit --target-sparsity 0.5"}
"""One for each granularity of pruning."""
EXPORTS = (
    *(
        (opset, "raw", values)
        for opset in OPSETS
        for values in (VALUES if opset == 18 else ("float32", "int8", "int4"))
    ),
    *((opset, "scaled", "float32") for opset in OPSETS),
)
"""Opset, which rows the files take, and the values of packed ones; float32 first of each opset."""
AGAIN = ("packed", "int8")
"""Variants that depend on the values of packed files."""
SIZES = (40, 48)
"""Of the networks of one layer."""
LOWS = {DENSE: "dense", 0: "bits", 1: "gaps1", 4: "gaps4"}
"""How the places of non-zero values are stored there: by the low bits of a gap."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A file of the folder of all cases; beside it stand the rows that it is given and what is right, as bare numbers.

    ``FILE.given`` is in float32; ``.right``, ``.one``, which is right for the first row alone, and ``.allowed``, the
    largest difference of each value of a row, are in float64.
    """

    file: str
    variant: str
    """What the file is: "plain", "packed", "int8", "scorer packed", or "one layer"."""
    values: str
    """Of packed tensors."""
    opset: int
    plain: str = ""
    """The file that this one is expected to become where it is loaded; "" where there is none."""
    given_shape: tuple[int, ...]
    right_shape: tuple[int, ...]
    """Of one row."""

    @property
    def part(self) -> str:
        """Return which part of a model the file is."""
        return Path(self.file).name.split(".")[0]


def write_cases(folder: Path) -> list[Case]:
    """Write all files into ``folder``, which is made anew, with ``cases.json``; return the cases."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    cases = [case for opset in OPSETS[::2] for case in forms(folder, opset)]
    for run, flags in RUNS.items():
        command("prune", *TRAINED.split(), *flags.split(), "-o", folder / f"run-{run}")
        for opset, scaling, values in EXPORTS:
            cases += exported(folder, run, opset, scaling, values)
    (folder / "cases.json").write_text(json.dumps([asdict(case) for case in cases], indent=0))
    return cases


def read_cases(folder: Path) -> list[Case]:
    """Return the cases that were written."""
    return [Case(**fields) for fields in json.loads((folder / "cases.json").read_text())]


def command(*words: object) -> None:
    """Run one command of ours; it may fail only because a file that it has written otherwise would not be smaller."""
    done = aecompress(*words)
    failures = [line for line in done.stderr.splitlines() if line.startswith("aecompress: ")]
    assert done.returncode in (0, 1) and all(" bytes; " in line for line in failures), f"{words}: {done.stderr}"


def exported(folder: Path, run: str, opset: int, scaling: str, values: str) -> Iterator[Case]:
    """Export a run with every variant; with what is packed alone, where the rest stands beside float32 already."""
    first = values == VALUES[0]
    variants = [name for name in VARIANTS if first or name in AGAIN]
    base = f"{run}-{opset}-{scaling}"
    place = folder / f"{base}-{values}"
    words = ("--variants", ",".join(variants), "--values", values, "--int8", "always", "--opset", opset)
    flag = "--embed-scaling" if scaling == "raw" else "--no-embed-scaling"
    command("export", folder / f"run-{run}", *words, flag, "-o", place)
    rows = kept_rows(place)
    assert rows is not None
    right = expectations(load_model(place), rows[:ROWS], scaling == "raw")
    for path in sorted(place.glob("*.onnx")):
        part, *kind = path.name.split(".")[:-1]
        if not first and "packed" not in kind:
            continue
        variant = " ".join((["scorer"] if part == "scorer" else []) + kind) or "plain"
        counterpart = path.name.replace(".packed", "").replace(".fp16", "")
        plain = f"{base}-{VALUES[0]}/{counterpart}" if counterpart != path.name else ""
        yield written(folder, path, right[part][0], variant=variant, values=values, opset=opset, plain=plain)


def expectations(model: Model, rows: NDArray[np.float32], raw: bool) -> Expectations:
    """Return what the NumPy reference gives, for the files of each part."""
    scaling = expected.affine(model) if raw else None
    found = expected.of_variants(expected.expectations(model, rows, scaling=scaling), "mse")
    return found if scaling is None else expected.unscaled(found, scaling)


def written(folder: Path, path: Path, given: Expected, **about: Any) -> Case:
    """Write what a file is given and is to give beside it; an exact file is compared with the reference first."""
    variant, proto = about["variant"].split(), onnx.load(path)
    right, alone = evaluate(proto, given.fed), evaluate(proto, given.fed[:1])
    scaled = given.scaled(right)
    noise = given.noise + (given.step if "int8" in variant else 0.0)
    most = verify.TOLERANCE * max(1.0, float(np.abs(scaled).max())) + noise
    if not {"int8", "fp16"} & set(variant) and ("packed" not in variant or about["values"] == "float32"):
        assert (np.abs(scaled - given.right) <= most).all(), path
    unit = 1.0 if given.scaling is None else np.abs(given.scaling.divisor).astype(np.float64)
    name = str(path.relative_to(folder))
    arrays = {
        "given": given.fed,
        "right": right,
        "one": alone,
        "allowed": np.broadcast_to(most * unit, right.shape[1:]),
    }
    for ending, array in arrays.items():
        kind = "<f4" if ending == "given" else "<f8"
        (folder / f"{name}.{ending}").write_bytes(np.ascontiguousarray(array, kind).tobytes())
    return Case(file=name, given_shape=given.fed.shape, right_shape=right.shape[1:], **about)


def forms(folder: Path, opset: int) -> Iterator[Case]:
    """Write the network of one layer as it is, and with its weight in each form that a tensor can have."""
    draws = np.random.default_rng(0)
    rows = draws.random((ROWS, SIZES[0]), dtype=np.float32)
    full = draws.normal(size=SIZES).astype(np.float32)
    sparse = (full * (draws.random(SIZES) < 0.15)).astype(np.float32)
    place = folder / f"forms-{opset}"
    place.mkdir()
    for low, values in product(LOWS, VALUES):
        form = encode(full if low == DENSE else sparse, values, low)
        plain = (low, values) == (DENSE, "float32")
        path = place / ("plain.onnx" if plain else f"{LOWS[low]}-{values}.packed.onnx")
        onnx.save(one_layer(form, opset), path)
        given = Expected("rows", rows, rows.astype(np.float64) @ decode(form).astype(np.float64), 0.0, 0.0)
        counterpart = "" if plain else f"{place.name}/plain.onnx"
        yield written(folder, path, given, variant="one layer", values=values, opset=opset, plain=counterpart)


def one_layer(form: Packed, opset: int) -> onnx.ModelProto:
    """Return a linear layer whose weight is stored in ``form``."""
    weight = decode(form)
    tensors = {"encoder.0.weight": weight, "encoder.0.bias": np.zeros(weight.shape[1], np.float32)}
    chain = chain_of([dense("encoder.0", *weight.shape, "identity")], tensors)
    stored = {"encoder.0.weight": form, "encoder.0.bias": encode(tensors["encoder.0.bias"], "float32", DENSE)}
    return graph.build(chain, "encoder", opset, {}, product=graph.gemm(pack.stored(stored)))
