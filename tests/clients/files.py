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
from aecompress.deploy.graph import Draft
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
SCALINGS = {"scaled": "--no-embed-scaling", "raw": "--embed-scaling"}
"""Which rows files take."""
SIZES = (40, 48)
"""Of the networks of one layer."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A file, the rows that it is given and what is right; file names are within the folder of all cases."""

    file: str
    variant: str
    """What the file is: "plain", "packed", "int8", "scorer packed", or "one layer"."""
    values: str
    """Of packed tensors."""
    opset: int
    plain: str = ""
    """The file that this one is expected to become where it is loaded; "" where there is none."""
    allowed: float
    """Largest difference."""
    given: str
    given_shape: tuple[int, ...]
    right: str
    right_of_one: str
    """Of the first row alone."""
    right_shape: tuple[int, ...]
    """Of one row."""


def write_cases(folder: Path) -> list[Case]:
    """Write all files into ``folder``, which is made anew, with ``cases.json``; return the cases."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    cases = [case for opset in OPSETS if opset >= VARIANTS["packed"].opset for case in forms(folder, opset)]
    for run, flags in RUNS.items():
        command("prune", *TRAINED.split(), *flags.split(), "-o", folder / f"run-{run}")
        for opset, scaling, values in product(OPSETS, SCALINGS, pack.VALUES):
            cases += exported(folder, run, opset, scaling, values)
    (folder / "cases.json").write_text(json.dumps([asdict(case) for case in cases], indent=0))
    return cases


def read_cases(folder: Path) -> list[Case]:
    """Return the cases that were written."""
    return [Case(**fields) for fields in json.loads((folder / "cases.json").read_text())]


def command(*words: object) -> None:
    """Run one command of ours, which must succeed."""
    done = aecompress(*words)
    assert done.returncode == 0, f"{words}: {done.stderr}"


def exported(folder: Path, run: str, opset: int, scaling: str, values: str) -> Iterator[Case]:
    """Export a run with every variant; with what is packed alone, where the rest stands beside float32 already."""
    first = values == pack.VALUES[0]
    variants = [name for name, row in VARIANTS.items() if row.opset <= opset and (first or name == "packed")]
    if not variants:
        return
    base = f"{run}-{opset}-{scaling}"
    place = folder / f"{base}-{values}"
    words = ("--variants", ",".join(variants), "--values", values, "--opset", opset, SCALINGS[scaling])
    command("export", folder / f"run-{run}", *words, "-o", place)
    rows = kept_rows(place)
    assert rows is not None
    right = expectations(load_model(place), rows[:ROWS], scaling == "raw")
    for path in sorted(place.glob("*.onnx")):
        part, *kind = path.name.split(".")[:-1]
        if not first and "packed" not in kind:
            continue
        variant = " ".join((["scorer"] if part == "scorer" else []) + kind) or "plain"
        counterpart = path.name.replace(".packed", "").replace(".fp16", "")
        plain = f"{base}-{pack.VALUES[0]}/{counterpart}" if counterpart != path.name else ""
        yield written(folder, path, right[part][0], variant=variant, values=values, opset=opset, plain=plain)


def expectations(model: Model, rows: NDArray[np.float32], raw: bool) -> Expectations:
    """Return what the NumPy reference gives, for the files of each part."""
    found: Expectations = expected.expectations(model, rows)
    found = {**found, **expected.scored(found, "mse")}
    return expected.unscaled(found, expected.affine(model)) if raw else found


def written(folder: Path, path: Path, given: Expected, **about: Any) -> Case:
    """Write what a file is given and is to give beside it; an exact file is compared with the reference first."""
    variant, proto = about["variant"].split(), onnx.load(path)
    right, alone = evaluate(proto, given.fed), evaluate(proto, given.fed[:1])
    if not {"int8", "fp16"} & set(variant) and ("packed" not in variant or about["values"] == "float32"):
        check = verify.compare(path.name, right, given.right, verify.TOLERANCE, given.noise)
        assert check.passed, check
    step = float(np.ptp(right)) / 256 if "int8" in variant else 0.0
    name = str(path.relative_to(folder))
    for ending, array, kind in (("given", given.fed, "<f4"), ("right", right, "<f8"), ("one", alone, "<f8")):
        (folder / f"{name}.{ending}").write_bytes(np.ascontiguousarray(array, kind).tobytes())
    return Case(
        file=name,
        allowed=verify.TOLERANCE * max(1.0, float(np.abs(right).max())) + given.noise + step,
        given=f"{name}.given",
        given_shape=given.fed.shape,
        right=f"{name}.right",
        right_of_one=f"{name}.one",
        right_shape=right.shape[1:],
        **about,
    )


def forms(folder: Path, opset: int) -> Iterator[Case]:
    """Write the network of one layer as it is, and with its weight in each form that a tensor can have."""
    draws = np.random.default_rng(0)
    rows = draws.random((ROWS, SIZES[0]), dtype=np.float32)
    full = draws.normal(size=SIZES).astype(np.float32)
    sparse = (full * (draws.random(SIZES) < 0.15)).astype(np.float32)
    place = folder / f"forms-{opset}"
    place.mkdir()
    for index, values in [("", "float32"), *product(pack.INDEXES, pack.VALUES)]:
        weight = full if index == "dense" else sparse
        form = pack.encode(weight, index or "dense", values)
        path = place / (f"{index}-{values}.packed.onnx" if index else "plain.onnx")
        onnx.save(one_layer(weight, form, opset), path)
        right = rows.astype(np.float64) @ pack.decode(form).astype(np.float64)
        about = {"variant": "one layer", "values": values, "opset": opset}
        plain = f"forms-{opset}/plain.onnx" if index else ""
        yield written(folder, path, Expected("rows", rows, right, 0.0), **about, plain=plain)


def one_layer(weight: NDArray[np.float32], form: pack.Packed, opset: int) -> onnx.ModelProto:
    """Return a linear layer whose weight is stored in ``form``."""
    tensors = {"encoder.0.weight": weight, "encoder.0.bias": np.zeros(weight.shape[1], np.float32)}
    chain = chain_of([dense("encoder.0", *weight.shape, "identity")], tensors)

    def store(draft: Draft, name: str, tensor: NDArray[np.float32]) -> str:
        return pack.write(draft, name, form) if tensor.ndim == 2 else graph.plain(draft, name, tensor)

    return graph.build(chain, "encoder", opset, {}, product=graph.gemm(store))
