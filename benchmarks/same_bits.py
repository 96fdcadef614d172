"""Whether two commits compute the same bits: digests of what small runs of every kind leave behind.

    python benchmarks/same_bits.py old.json                      # with the aecompress that is importable
    python benchmarks/same_bits.py new.json --only NAME --only NAME
    python benchmarks/same_bits.py --compare old.json new.json   # exit 1 where anything differs

Both files have to be made on one machine with the same packages; PYTHONPATH=CHECKOUT takes the package of another
commit. Each run goes through ``aecompress.run`` on one thread. Kept are sha256 digests of all that must not depend on
how the code is arranged: what the event log says of each generation, every tensor of the last checkpoint, of the front
and of the model folder, and every ONNX graph. Left out is what holds times or names of this run: ``at``, ``seconds``,
measured milliseconds, spec hashes, the metadata of ONNX files, and int8 files, which are kept only where they are
faster. Names that changed between commits are in the tables below, new name first.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import hashlib
import json
import os
import platform
import re
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import onnx
import safetensors
import safetensors.numpy
import torch

SPEC_NAMES: dict[str, tuple[tuple[str, dict[Any, Any]], ...]] = {
    "prune.masks": (
        ("prune.masks", {"free": "free", "fixed": "fixed"}),
        ("prune.regrow", {"free": True, "fixed": False}),
    ),
}
"""A field of a spec as here -> its name in a commit, and the values' names there, tried in turn."""
EVENT_NAMES = {"metric": ("metric", "measure"), "target": ("target", "asked"), "actual": ("actual", "reached")}
"""A field of an event as here -> its names, tried in turn; other fields have one name."""
LOSSES = ("train_loss", "validation_loss", "sparsity", "learning_rate", "parents")
"""What is digested first of each generation."""
SAID = {
    "generation": ("order", "capacity", "metric", "target", "actual"),
    "layer-sparsity": ("layers", "sparsity"),
    "pruned": ("cells", "zeros"),
    "preview": ("cell", "rows", "reconstructions", "errors"),
}
"""What else is digested of each generation, by the kind of event."""
GROUPS = ("losses", "events", "checkpoint", "result", "front", "model", "onnx")
"""Digests in the order in which a run makes them: the first difference is the one to look at."""
RENAMABLE = ("checkpoint",)
"""Groups whose keys another commit may call otherwise; then the sorted digests decide."""

CLUSTERS = "binary-clusters:4x20x60"
VARIANTS = ["packed", "fp16", "scorer", "sparse"]
PAPER = {"data.source": CLUSTERS, "train.epochs": 20}
DIGITS = {"train.epochs": 6}
PUBLISHED_VARIANCE = {"prune.operator": "variance", "prune.schedule": "fixed", "prune.probability": 0.5}


class Case(NamedTuple):
    """One run: fields of its spec over a preset."""

    name: str
    fields: dict[str, Any]
    preset: str = ""
    engine: str | tuple[str, ...] = "eager"
    """What the engine's words must begin with, so that the case goes on testing what it is for."""
    prunes: bool = True
    """Whether the log must tell of pruning."""
    refusable: bool = False
    """Whether this machine may be one that cannot do it."""
    half: bool = False
    """Let bfloat16 through where this processor has it but is slower with it: the bits are the same."""


def cases(folder: Path) -> list[Case]:
    """The runs; ``folder`` holds the files that some of them read."""
    passes, steps = ("compiled passes", "numba-passes"), ("compiled steps", "numba-steps")
    return [
        Case("paper-canonical", PAPER, "paper-canonical"),
        Case("paper-coevo", PAPER, "paper-coevo"),
        Case("paper-coevo-sync", PAPER, "paper-coevo-sync"),
        Case("paper-coevo-variance", PAPER | PUBLISHED_VARIANCE, "paper-coevo"),
        Case("paper-canonical-conjunctive", PAPER | {"prune.operator": "conjunctive"}, "paper-canonical"),
        Case("paper-coevo-compiled", PAPER | {"compile": "on"}, "paper-coevo", engine=passes),
        Case("digits-coevo", DIGITS | {"export.variants": VARIANTS}),
        Case("digits-canonical", DIGITS | {"mode": "canonical", "export.variants": VARIANTS, "seed": 7}),
        Case("clusters-coevo", {"data.source": CLUSTERS, "train.epochs": 6, "prune.target_sparsity": 0.9}),
        Case("unit-target", DIGITS | {"prune.granularity": "unit", "prune.target_sparsity": 0.6}),
        Case(
            "unit-regrowth",
            DIGITS
            | {"prune.granularity": "unit", "prune.target_sparsity": 0.5, "prune.regrowth": 0.4}
            | {"mode": "canonical", "prune.operator": "taylor"},
        ),
        Case("variational", DIGITS | {"model.family": "variational"}),
        Case("denoising", DIGITS | {"model.family": "denoising", "prune.operator": "wanda", "train.rate": "step"}),
        Case("compiled-passes", DIGITS | {"compile": "on", "train.batch": 16}, engine=passes),
        Case(
            "compiled-passes-batch-96",
            DIGITS
            | {"compile": "on", "train.batch": 96, "mode": "canonical", "model.hidden": [48, 24], "model.latent": 6}
            | {"model.activation": "gelu", "train.loss": "huber"},
            engine=passes,
        ),
        Case(
            "compiled-steps-denoising",
            DIGITS | {"compile": "on", "train.batch": 48, "model.family": "denoising"},
            engine=steps,
        ),
        Case(
            "compiled-steps-wide",
            {"compile": "on", "data.source": "binary-clusters:4x40x200", "train.epochs": 4, "train.batch": 40}
            | {"model.hidden": [150], "model.latent": 70, "model.activation": "tanh"},
            engine=steps,
        ),
        Case("bf16", DIGITS | {"precision": "bf16"}, refusable=True),
        Case("bf16-let-through", DIGITS | {"precision": "bf16"}, refusable=True, half=True),
        Case(
            "bf16-compiled-steps",
            DIGITS | {"precision": "bf16", "compile": "on", "mode": "canonical", "train.batch": 64},
            engine=steps,
            refusable=True,
            half=True,
        ),
        Case("float64", DIGITS | {"precision": "float64", "mode": "canonical", "prune.operator": "magnitude-layer"}),
        Case("interactions", {"data.source": f"interactions:{folder / 'pairs.csv'}", "train.epochs": 8}),
        Case(
            "init-safetensors",
            {"model.init": str(folder / "model.safetensors"), "train.epochs": 0, "prune.target_sparsity": 0.7},
            engine=("no training", "untrained"),
        ),
        Case(
            "init-state-dict",
            {"model.init": str(folder / "state.pt"), "train.epochs": 0, "mode": "canonical"}
            | {"prune.target_sparsity": 0.5, "prune.granularity": "unit"},
            engine=("no training", "untrained"),
        ),
        Case("opponents", DIGITS | {"evolve.rule": "opponents", "evolve.concept": "mean"}),
        Case("panmictic", DIGITS | {"evolve.rule": "panmictic", "evolve.cells": 3}),
        Case(
            "pair-prune-first",
            DIGITS | {"evolve.rule": "pair-prune-first", "evolve.tournament": 3, "evolve.concept": "worst"},
        ),
        Case(
            "asynchronous-variance",
            DIGITS | {"evolve.order": "asynchronous", "prune.operator": "variance", "prune.order": "low"},
        ),
        Case("max-loss-increase", {"train.epochs": 10, "budget.max_loss_increase": "400%"}),
        Case(
            "max-loss-increase-canonical",
            {"train.epochs": 10, "budget.max_loss_increase": 2.0, "mode": "canonical"},
        ),
        Case("moore", DIGITS | {"evolve.topology": "moore", "evolve.cells": 9}),
        Case(
            "von-neumann-pair",
            DIGITS
            | {"evolve.topology": "von-neumann", "evolve.cells": 6, "evolve.rule": "pair"}
            | {"prune.schedule": "exponential", "evolve.batch": "cell", "export.embed_scaling": True}
            | {"data.scaling": "standard"},
        ),
        Case("free-masks-target", DIGITS | {"prune.masks": "free", "prune.target_sparsity": 0.7}),
        Case(
            "budget-bytes", DIGITS | {"budget.max_bytes": 5000, "export.variants": ["packed"], "export.values": "int8"}
        ),
        Case(
            "csv-labels",
            {"data.source": str(folder / "rows.csv"), "data.columns": "0,2-11", "data.test": str(folder / "test.csv")}
            | {"data.labels": str(folder / "labels.npy"), "data.split": [0.9, 0.1, 0.0], "data.scaling": "minmax"}
            | {"train.epochs": 8, "export.embed_scaling": True, "export.variants": ["scorer"], "prune.start": 0.1},
        ),
        Case(
            "wide-random",
            {"data.source": "binary-clusters:4x40x200", "train.epochs": 4, "train.batch": 40, "model.hidden": [150]}
            | {
                "model.activation": "leaky-relu",
                "prune.operator": "random",
                "prune.regrowth": 0.2,
                "train.rate": "walk",
            },
        ),
    ]


def write_inputs(folder: Path) -> None:
    """The files that some cases read: pairs of user and item, rows with anomalies, and a model in two formats."""
    draws = np.random.default_rng(20)
    mixing = draws.standard_normal((3, 12))
    rows = (draws.standard_normal((400, 3)) @ mixing + 0.1 * draws.standard_normal((400, 12))).round(4)
    rows[-20:] = 2 * draws.standard_normal((20, 12))
    head = ",".join(f"x{at}" for at in range(12))
    for name, part in (("rows.csv", rows[:300]), ("test.csv", rows[300:])):
        np.savetxt(folder / name, part, "%.4f", ",", header=head, comments="")
    np.save(folder / "labels.npy", (np.arange(300, 400) >= 380).astype(np.int64))
    with (folder / "pairs.csv").open("w", newline="", encoding="utf-8") as file:
        lines = csv.writer(file, lineterminator="\n")
        lines.writerow(("user", "item"))
        for user in range(150):
            liked = (draws.permutation(16)[:10] * 5 + user % 5) % 80
            lines.writerows((f"u{user}", f"i{item}") for item in [*liked.tolist(), int(draws.integers(80))])
    sizes = {"encoder": ((64, 24), (24, 8)), "decoder": ((8, 24), (24, 64))}
    ends = {"encoder": ("relu", "identity"), "decoder": ("relu", "sigmoid")}
    scaling = {"kind": "none", "offset": [0.0] * 64, "divisor": [1.0] * 64}
    tensors, config = {}, {"format": 1, "scaling": scaling, "shape": [64]}
    for part, layers in sizes.items():
        config[part] = [
            {"kind": "dense", "in": inputs, "out": outputs, "activation": activation}
            for (inputs, outputs), activation in zip(layers, ends[part], strict=True)
        ]
        for at, (inputs, outputs) in enumerate(layers):
            weight = draws.standard_normal((outputs, inputs)) / inputs**0.5
            tensors[f"{part}.{at}.weight"] = weight.astype(np.float32)
            tensors[f"{part}.{at}.bias"] = (draws.standard_normal(outputs) / 10).astype(np.float32)
    safetensors.numpy.save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    sums = [
        f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n"
        for name in ("config.json", "model.safetensors")
    ]
    (folder / "SHA256SUMS").write_text("".join(sums), encoding="utf-8")
    torch.save({name: torch.from_numpy(tensor) for name, tensor in tensors.items()}, folder / "state.pt")


def named_here(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields under the names that the importable commit has for them."""
    from aecompress import RunSpec

    known = RunSpec().model_dump()

    def there(path: str) -> bool:
        table, _, name = path.rpartition(".")
        return name in (known[table] if table else known)

    here = {}
    for path, value in fields.items():
        for name, values in SPEC_NAMES.get(path, ((path, {}),)):
            if there(name):
                here[name] = values.get(value, value) if values else value
                break
        else:
            raise SystemExit(f"{path}: this commit has no such field; add its name to SPEC_NAMES")
    return here


@contextlib.contextmanager
def half_let_through(wanted: bool) -> Iterator[None]:
    """While inside, no module of the package finds that bfloat16 is slower here."""
    homes = [module for name, module in sys.modules.items() if name.startswith("aecompress") and wanted]
    homes = [module for module in homes if hasattr(module, "half_gain")]
    before = [module.half_gain for module in homes]
    for module in homes:
        module.half_gain = lambda: 1.0  # type: ignore[attr-defined]
    try:
        yield
    finally:
        for module, function in zip(homes, before, strict=True):
            module.half_gain = function  # type: ignore[attr-defined]


def sha(value: Any) -> str:
    """Digest of bytes, or of a value's JSON, which has every float exactly."""
    data = value if isinstance(value, bytes) else json.dumps(value, sort_keys=True).encode()
    return hashlib.sha256(data).hexdigest()


def carry_out(case: Case, folder: Path) -> dict[str, Any]:
    """Run one case; what came of it, and the digests by group and key."""
    import aecompress
    from aecompress.errors import AecompressError

    fields, start = named_here(case.fields), time.perf_counter()
    spec: Any = fields
    if case.preset:  # only a file can name one
        lines = [f"preset = {json.dumps(case.preset)}", *(f"{path} = {json.dumps(v)}" for path, v in fields.items())]
        spec = folder.with_suffix(".toml")
        spec.write_text("\n".join(lines) + "\n", encoding="utf-8")
    outcome = "finished"
    with half_let_through(case.half):
        try:
            for _ in aecompress.run(spec, folder, force=True):
                pass
        except AecompressError as fault:
            words = re.sub(
                r"\d+\.\d+", "#", str(fault).replace(str(folder.parent), "HERE")
            )  # measured times among them
            outcome = f"refused: {type(fault).__name__}: {words}"
    result = {"outcome": outcome, "seconds": round(time.perf_counter() - start, 1), "engine": "", "warnings": []}
    if outcome != "finished" and not case.refusable:
        result["warnings"].append("did not finish")
    if not (folder / "events.jsonl").exists():
        return result | {"digests": {}}
    log = [json.loads(line) for line in (folder / "events.jsonl").read_text(encoding="utf-8").splitlines()]
    result["engine"] = next((event["engine"] for event in log if event["event"] == "started"), "")
    if not result["engine"].startswith(case.engine):
        result["warnings"].append(f"trained {result['engine']!r}, and the case is for {case.engine!r}")
    if case.prunes and not any(event["event"] == "pruned" for event in log):
        result["warnings"].append("pruned nothing")
    digests = {**of_events(log), "checkpoint": of_checkpoint(folder), **of_files(folder)}
    sorted_too = {f"{group}_sorted": sorted(digests[group].values()) for group in RENAMABLE}
    return result | {"digests": digests} | sorted_too


def of_events(log: list[dict[str, Any]]) -> dict[str, dict[str, str]]:
    """What the log says: losses per generation, the rest per generation, the front and the end."""
    losses, others, result = {}, {}, {}
    for event in log:
        kind, number = event["event"], f"{event.get('generation', 0):03d}"
        if kind == "generation":
            losses[number] = sha(picked(event, LOSSES))
        if kind in SAID:
            others[f"{number} {kind}"] = sha(picked(event, SAID[kind]))
        if kind == "front":
            result["front"] = sha(picked(event, ("cells", "losses", "nonzeros")))
        if kind == "finished":
            result["metrics"] = sha(sorted(event["metrics"].values()))
            result["zeros"] = sha(picked(event, ("sparsity", "zeros", "parameters")))
    return {"losses": losses, "events": others, "result": result}


def picked(event: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """Some fields of an event, by the names they have here."""
    found = {}
    for name in names:
        spelled = [one for one in EVENT_NAMES.get(name, (name,)) if one in event]
        if not spelled:
            raise SystemExit(f"{name}: not in this commit's {event['event']!r} event; add its name to EVENT_NAMES")
        found[name] = event[spelled[0]]
    return found


def tensors_of(path: Path) -> dict[str, str]:
    """Digest of every tensor of a safetensors file, with its format and shape."""
    return {
        name: sha(f"{tensor['dtype']} {tensor['shape']} ".encode() + bytes(tensor["data"]))
        for name, tensor in sorted(safetensors.deserialize(path.read_bytes()))
    }


def of_checkpoint(folder: Path) -> dict[str, str]:
    """Every tensor of the last state, with the file that it is in: the generation is in its name."""
    files = sorted((folder / "checkpoint").glob("generation-*.safetensors"))
    return {"(file)": sha(files[-1].name), **tensors_of(files[-1])} if files else {}


def of_files(folder: Path) -> dict[str, dict[str, str]]:
    """The model folder's tensors and graphs, and the members of the front."""
    front, model, graphs = {}, {}, {}
    for path in sorted((folder / "front").glob("*/model.safetensors")):
        front |= {f"{path.parent.name} {name}": digest for name, digest in tensors_of(path).items()}
        front[f"{path.parent.name} losses"] = sha(json.loads((path.parent / "config.json").read_text())["losses"])
    for path in sorted((folder / "model").glob("*.safetensors")):
        model |= {f"{path.name} {name}": digest for name, digest in tensors_of(path).items()}
    for path in sorted((folder / "model").glob("*.onnx")):
        proto = onnx.load(path)
        proto.ClearField("metadata_props")
        for tensor in proto.graph.initializer:
            graphs[f"{path.name} initializer {tensor.name}"] = sha(tensor.SerializeToString(deterministic=True))
        graphs[f"{path.name} graph"] = sha(proto.graph.SerializeToString(deterministic=True))
        graphs[f"{path.name} file"] = sha(proto.SerializeToString(deterministic=True))  # opsets, functions, producer
    return {"front": front, "model": model, "onnx": graphs}


def processor() -> str:
    """The processor in words: compiled code and products differ from one kind to another."""
    with contextlib.suppress(OSError):
        found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
        if found:
            return found.group(1)
    return platform.processor()


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """The first thing in which two results of a case differ, in words; empty where they are the same."""
    if old["outcome"] != new["outcome"]:
        return f"outcome: {old['outcome']!r}, then {new['outcome']!r}"
    for group in GROUPS:
        before, after = old["digests"].get(group, {}), new["digests"].get(group, {})
        if group in RENAMABLE and before.keys() != after.keys():
            if old[f"{group}_sorted"] != new[f"{group}_sorted"]:
                names = ", ".join(sorted(before.keys() ^ after.keys()))
                return f"{group}: other names ({names}), and the values differ too"
            continue
        for key in [*before, *(key for key in after if key not in before)]:
            if before.get(key) != after.get(key):
                missing = " (only in the second)" if key not in before else " (only in the first)"
                return f"{group}: {key}{'' if key in before and key in after else missing}"
    return ""


def compare(paths: tuple[Path, Path], only: list[str] | None = None) -> int:
    """Print each case of two files as the same, or with its first difference; the exit code."""
    old, new = (json.loads(path.read_text(encoding="utf-8")) for path in paths)
    for fact in old["about"].keys() - {"package"}:
        if old["about"][fact] != new["about"].get(fact):
            print(f"note: made with {fact} {old['about'][fact]}, then {new['about'].get(fact)}; bits may depend on it")
    same, names = 0, [*old["cases"], *(name for name in new["cases"] if name not in old["cases"])]
    names = [name for name in names if not only or name in only]
    for name in names:
        if name in old["cases"] and name in new["cases"]:
            first = difference(old["cases"][name], new["cases"][name])
        else:
            first = f"only in {paths[name not in old['cases']]}"
        refused = name in old["cases"] and old["cases"][name]["outcome"] != "finished"
        print(f"{name:30}{first or ('same (' + old['cases'][name]['outcome'] + ')' if refused else 'same')}")
        same += not first
    print(f"{same} of {len(names)} same")
    return int(same < len(names))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path, nargs="?", help="the JSON file to write")
    parser.add_argument("--only", action="append", metavar="NAME", help="only this case; may be given several times")
    parser.add_argument("--keep", type=Path, help="keep the runs in this folder")
    parser.add_argument("--compare", type=Path, nargs=2, metavar=("OLD", "NEW"), help="compare two such files")
    asked = parser.parse_args()
    if asked.compare:
        return compare(tuple(asked.compare), asked.only)
    if asked.output is None:
        parser.error("name the JSON file to write, or --compare OLD NEW")
    import aecompress

    packages = {module.__name__: module.__version__ for module in (torch, np, onnx)}
    about = {"package": str(aecompress.__file__), "processor": processor(), **packages}
    print(f"{about['package']}, torch {torch.__version__}", file=sys.stderr)
    results = {}
    with tempfile.TemporaryDirectory(prefix="same-bits-") as temporary:
        folder = (asked.keep or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        write_inputs(folder)
        listed = cases(folder)
        unknown = set(asked.only or ()) - {case.name for case in listed}
        if unknown:
            parser.error(f"--only {', '.join(unknown)}: choose of {', '.join(case.name for case in listed)}")
        for case in listed:
            if asked.only and case.name not in asked.only:
                continue
            found = results[case.name] = carry_out(case, folder / case.name)
            kept = "" if found["outcome"] == "finished" else found["outcome"]
            words = "; ".join(filter(None, [found["engine"].partition(" (")[0], kept, *found["warnings"]]))
            print(f"{case.name:30}{found['seconds']:6.1f} s  {words}", file=sys.stderr, flush=True)
    print(f"{sum(found['seconds'] for found in results.values()):.0f} s", file=sys.stderr)
    asked.output.write_text(json.dumps({"about": about, "cases": results}, indent=1) + "\n", encoding="utf-8")
    return int(any(found["warnings"] for found in results.values()))


if __name__ == "__main__":
    sys.exit(main())
