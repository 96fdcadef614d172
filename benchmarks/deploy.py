"""How small and how fast exported models get: bytes and milliseconds against loss, beside what others do.

    python benchmarks/deploy.py MNIST.npz [--passes 30] [--keep FOLDER] [--json FILE] [--plot FILE.svg]

MNIST 784-256-64-256-784, trained on all 60,000 rows; the error is the mse of all 10,000 test rows, computed by
onnxruntime on each file and asserted to be what the run reported. Times are medians of one interleaved run, one thread.
Beside ours: the dense network trained as long, its dynamic int8 by onnxruntime's own quantizer, and Torch-Pruning's
structured pruning (half of the passes before it, half after; its rate was chosen as ours was, the best of 4e-3, 6e-3,
8e-3 and 1.2e-2; `pip install torch-pruning`, left out where it is not there). Then the
paper's network on binary clusters. FOLDER keeps the runs, so that a second call only evaluates.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from aecompress import event_log, events
from aecompress.api import run as api
from aecompress.deploy import bench, graph, session
from aecompress.deploy.checkpoint import Floats, Model, load_model
from aecompress.errors import DataError
from aecompress.layers.dense import dense
from aecompress.runs.again import export_again
from aecompress.runs.job import prepare
from aecompress.spec.resolve import resolve

RATE = 8e-3
WEIGHTS, UNITS = (0.8, 0.85, 0.9, 0.93, 0.95, 0.97), (0.3, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7)
OTHERS = (0.3, 0.4, 0.5, 0.6, 0.7)
SEEDS = 0.02
"""What another seed moves an error by: errors so near to each other are equal."""
BITS = {"float32": 32, "float16": 16, "int8": 8, "int4": 4}


def trained(folder: Path, fields: Mapping[str, Any]) -> Path:
    """The run in ``folder``, made where it is not there."""
    if not (folder / "model" / "autoencoder.onnx").exists():
        for _ in api.run(fields, folder, force=True):
            pass
    return folder


def mnist(data: Path, passes: int, **more: Any) -> dict[str, Any]:
    """The fields that all MNIST runs share."""
    return {
        "mode": "canonical",
        "data.source": f"{data}:train",
        "data.test": f"{data}:test",
        "data.split": [1, 0, 0],
        "model.hidden": [256],
        "model.latent": 64,
        "train.batch": 256,
        "train.epochs": passes,
        "train.learning_rate": RATE,
        "export.embed_scaling": False,
        **{key.replace("__", "."): value for key, value in more.items()},
    }


def mse_of(path: Path, rows: np.ndarray) -> float:
    """The mse of all rows through a file, in onnxruntime."""
    out = session.run_batches(session.session(path, 1), rows, 4096)
    return float(np.square(out.astype(np.float64) - rows).mean())


def checked(path: Path, rows: np.ndarray, run: Path) -> float:
    """:func:`mse_of`, asserted to be what the run reported for that file."""
    said = [event for event in event_log.read_log(run / "events.jsonl") if isinstance(event, events.Compared)][-1]
    got = mse_of(path, rows)
    for name, loss in zip(said.files, said.losses, strict=True):
        if name == path.name and path.parent.name == "model":
            assert math.isclose(got, loss, rel_tol=1e-3), (path, got, loss)
    return got


def dynamic_int8(dense: Path, out: Path) -> Path:
    """What onnxruntime's own dynamic quantizer makes of the dense file."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(dense, out, weight_type=QuantType.QInt8)
    return out


def torch_pruned(data: np.ndarray, passes: int, share: float, out: Path) -> Path | None:
    """Torch-Pruning's structured magnitude pruning of the same network, fine-tuned, its layers as it left them."""
    if out.exists():
        return out
    try:
        import torch_pruning
    except ImportError:
        print("Torch-Pruning is left out: pip install torch-pruning")
        return None
    import torch
    from torch import nn

    torch.manual_seed(0)
    rows = torch.from_numpy(data)
    net = nn.Sequential(
        *(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 64)),
        *(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 784), nn.Sigmoid()),
    )

    def learn(share_of_passes: float) -> None:
        count = round(passes * share_of_passes)
        steps = count * -(-len(rows) // 256)
        optimizer = torch.optim.Adam(net.parameters(), RATE)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps, pct_start=0.1)
        for _ in range(count):
            for batch in torch.randperm(len(rows)).split(256):
                optimizer.zero_grad()
                nn.functional.mse_loss(net(rows[batch]), rows[batch]).backward()
                optimizer.step()
                schedule.step()

    learn(0.5)
    pruner = torch_pruning.pruner.MagnitudePruner(
        net,
        torch.zeros(2, 784),
        importance=torch_pruning.importance.MagnitudeImportance(p=2),
        pruning_ratio=share,
        ignored_layers=[net[2], net[5]],
    )
    pruner.step()
    learn(0.5)
    linears = [layer for layer in net if isinstance(layer, nn.Linear)]
    names = ["encoder.0", "encoder.1", "decoder.0", "decoder.1"]
    ends = ["relu", "identity", "relu", "sigmoid"]
    layers = tuple(
        dense(name, layer.in_features, layer.out_features, end)
        for name, layer, end in zip(names, linears, ends, strict=True)
    )
    assert (layers[0].inputs, layers[1].outputs, layers[3].outputs) == (784, 64, 784)
    tensors = {}
    for name, layer in zip(names, linears, strict=True):
        tensors[f"{name}.weight"] = layer.weight.detach().numpy().T.copy()
        tensors[f"{name}.bias"] = layer.bias.detach().numpy()
    model = Model(encoder=layers[:2], decoder=layers[2:], tensors=tensors, scaling={}, about={})
    out.write_bytes(
        graph.build(graph.chains(model, compacted=False)["autoencoder"], "autoencoder", 18, {}).SerializeToString()
    )
    return out


def entropy_bytes(tensors: Mapping[str, Floats], value_bits: int) -> float:
    """Return the bound on any file of these tensors: non-zeros x bits, and elements x H(density) for each tensor."""
    bits = 0.0
    for tensor in tensors.values():
        density = np.count_nonzero(tensor) / tensor.size
        bits += np.count_nonzero(tensor) * value_bits
        if 0 < density < 1:
            bits -= tensor.size * (density * np.log2(density) + (1 - density) * np.log2(1 - density))
    return bits / 8


def entropy_ratio(run: Path, path: Path, values: str) -> float:
    """Bytes of a packed file over the bound for its non-zeros."""
    chain = graph.chains(load_model(run / "model"))["autoencoder"]
    tensors = {name: tensor for layer in chain.layers for name, tensor in layer.tensors.items()}
    return path.stat().st_size / entropy_bytes(tensors, BITS[values])


def forms(run: Path, values: tuple[str, ...], allowed: float) -> dict[str, Path]:
    """The packed file of a run in each of the ``values``."""
    found = {}
    for form in values:
        folder = run.with_name(f"{run.name}-{form}")
        if not folder.exists():
            flags = {
                "export.variants": ("packed", ["packed"]),
                "export.values": ("values", form),
                "export.variant_loss": ("allowed", allowed),
            }
            export_again(run, flags, folder, False)
        if (folder / "autoencoder.packed.onnx").exists():
            found[form] = folder / "autoencoder.packed.onnx"
    return found


def table(head: list[str], rows: list[list[str]]) -> str:
    """Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def curve(data: Path, passes: int, keep: Path, rows: np.ndarray) -> tuple[dict[str, Any], Path]:
    """Bytes against error: every sparsity in every form of values."""
    dense = trained(keep / "dense", mnist(data, passes, prune__operator="none", export__variants=["int8"]))
    before = (dense / "model" / "autoencoder.onnx").stat().st_size
    found = [
        {
            "zeros": 0.0,
            "values": "plain",
            "bytes": before,
            "mse": checked(dense / "model" / "autoencoder.onnx", rows, dense),
        }
    ]
    for share in WEIGHTS:
        run = trained(keep / f"weight-{share}", mnist(data, passes, prune__target_sparsity=share))
        for form, path in forms(run, ("float32", "int8", "int4"), 0.5).items():
            found.append(
                {
                    "zeros": share,
                    "values": form,
                    "bytes": path.stat().st_size,
                    "mse": mse_of(path, rows),
                    "entropy": entropy_ratio(run, path, form),
                }
            )
    print(f"\n## Bytes (dense: {before:,})\n")
    print(
        table(
            ["sparsity", "values", "bytes", "smaller", "x entropy bound", f"mse of {len(rows):,} test rows"],
            [
                [
                    f"{one['zeros']:.0%}",
                    str(one["values"]),
                    f"{one['bytes']:,}",
                    f"{before / one['bytes']:.1f}x",
                    f"{one.get('entropy', math.nan):.2f}",
                    f"{one['mse']:.5f}",
                ]
                for one in found
            ],
        )
    )
    good = [one for one in found if one["mse"] <= 0.0058 and one.get("entropy", 9) <= 1.5]
    best = min(good, key=lambda one: one["bytes"], default=None)
    if best is not None:
        print(
            f"\nSmallest at mse <= 0.0058 and 1.5x the entropy bound: {best['bytes']:,} bytes, "
            f"1/{before / best['bytes']:.1f} of dense, mse {best['mse']:.5f} (dense {found[0]['mse']:.5f})"
        )
    return {"curve": found}, dense


def speed(data: Path, passes: int, keep: Path, rows: np.ndarray, dense: Path) -> dict[str, Any]:
    """Milliseconds against error: whole units, int8, and what others make."""
    paths = {"dense": dense / "model" / "autoencoder.onnx"}
    paths["dense, dynamic int8 (onnxruntime)"] = dynamic_int8(paths["dense"], keep / "dense-dynamic.onnx")
    static = dense / "model" / "autoencoder.int8.onnx"
    if static.exists():
        paths["dense, our int8"] = static
    scaled = load_rows(data)
    for share in UNITS:
        fields = mnist(
            data,
            passes,
            prune__target_sparsity=share,
            prune__granularity="unit",
            export__variants=["packed", "int8"],
        )
        run = trained(keep / f"unit-{share}", fields)
        for name, kind in (("", ""), (", int8", ".int8"), (", int8, packed", ".int8.packed")):
            file = f"autoencoder{kind}.onnx"
            if (run / "model" / file).exists():
                paths[f"units, {share:.0%} sparsity{name}"] = run / "model" / file
                checked(run / "model" / file, rows, run)
        other = torch_pruned(scaled, passes, share, keep / f"torch-pruning-{share}.onnx") if share in OTHERS else None
        if other is not None:
            paths[f"Torch-Pruning, {share:.0%}"] = other
    measured = bench.bench_files(list(paths.values()), (1, 64), (1,), 1.0)
    found = [
        {
            "name": name,
            "bytes": one.bytes,
            "ms1": one.milliseconds(1),
            "ms64": one.milliseconds(64),
            "faster1": one.timing(1).faster.text,
            "faster64": one.timing(64).faster.text,
            "mse": mse_of(path, rows),
        }
        for (name, path), one in zip(paths.items(), measured, strict=True)
    ]
    first: dict[str, Any] = found[0]
    print("\n## Time (onnxruntime, one thread)\n")
    print(
        table(
            ["file", "bytes", "ms, 1 row", "faster", "ms, 64 rows", "faster", "mse"],
            [
                [
                    str(one["name"]),
                    f"{one['bytes']:,}",
                    f"{one['ms1']:.4f}",
                    str(one["faster1"]),
                    f"{one['ms64']:.4f}",
                    str(one["faster64"]),
                    f"{one['mse']:.5f}",
                ]
                for one in found
            ],
        )
    )
    ours = [one for one in found if str(one["name"]).startswith(("units", "dense, our"))]
    for other in found:
        if other not in ours and other is not first:
            beats = [one for one in ours if one["mse"] <= other["mse"] * (1 + SEEDS)]
            for key in ("ms1", "ms64"):
                best = min((float(one[key]) for one in beats), default=math.inf)
                print(f"{other['name']}: {key} {other[key]:.4f}, ours at equal error {best:.4f}")
    return {"speed": found}


def picture(found: Mapping[str, Any], out: Path) -> None:
    """Bytes and milliseconds against error, side by side."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot
    from matplotlib.ticker import NullFormatter

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(12, 4.5), layout="constrained")
    for form, mark in (("float32", "o"), ("int8", "s"), ("int4", "^")):
        dots = [one for one in found["curve"] if one["values"] == form]
        left.plot(
            [one["bytes"] / 1e3 for one in dots], [one["mse"] for one in dots], mark + "-", label=f"packed, {form}"
        )
        for one in dots:
            left.annotate(
                f"{one['zeros']:.0%}",
                (one["bytes"] / 1e3, one["mse"]),
                fontsize=7,
                xytext=(4, 2),
                textcoords="offset points",
            )
    plain = found["curve"][0]
    left.plot([plain["bytes"] / 1e3], [plain["mse"]], "k*", label="dense")
    left.set(xscale="log", yscale="log", xlabel="kB of the ONNX file", ylabel="test mse", title="Size")
    kinds = {
        "units, float32": lambda name: name.startswith("units") and "int8" not in name,
        "units, int8": lambda name: name.startswith("units") and "int8" in name,
        "Torch-Pruning": lambda name: name.startswith("Torch"),
        "dense": lambda name: name == "dense",
        "dense, int8": lambda name: name.startswith("dense,"),
    }
    for label, belongs in kinds.items():
        dots = [one for one in found["speed"] if belongs(one["name"])]
        for key, style in (("ms1", "o-"), ("ms64", "s--")):
            rows = key[2:] + (" row" if key == "ms1" else " rows")
            right.plot([one[key] for one in dots], [one["mse"] for one in dots], style, label=f"{label}, {rows}", ms=4)
    right.set(xscale="log", xlabel="ms of a call, one thread", title="Time")
    right.xaxis.set_minor_formatter(NullFormatter())
    for axis in (left, right):
        axis.grid(alpha=0.3, which="both")
    left.legend(fontsize=7)
    right.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
    figure.savefig(out, dpi=120)


def load_rows(data: Path, key: str = "train") -> np.ndarray:
    """Rows in [0, 1], float32 ``[N, 784]``."""
    with np.load(data, allow_pickle=False) as held:
        found: np.ndarray = (held[key].reshape(len(held[key]), -1) / 255).astype(np.float32)
    return found


def clusters(keep: Path) -> dict[str, Any]:
    """The paper's network on binary clusters: 80 % sparsity by weights, and first units, then weights to 80 %."""
    fields = {
        "mode": "canonical",
        "data.source": "binary-clusters:10x100x1000",
        "model.network": "paper",
        "train.epochs": 200,
        "train.batch": 20,
        "prune.target_sparsity": 0.8,
        "export.variants": ["packed"],
    }
    units = {"prune.granularity": "unit", "prune.target_sparsity": 0.62, "prune.end": 0.3}
    runs = {
        "weights": trained(keep / "clusters-weights", fields),
        "units": trained(keep / "clusters-units", fields | units),
    }
    after = {"model.init": str(runs["units"] / "model" / "model.safetensors"), "model.latent_activation": "relu"}
    del fields["model.network"]
    runs["units, then weights"] = trained(keep / "clusters-both", fields | after)
    rates = prepare(resolve(file=runs["weights"] / "spec.toml"), keep / "unused").dataset.notes
    out: dict[str, Any] = {"flip": rates}
    dense = keep / "clusters-dense.onnx"
    from aecompress.runs.package import dense_model

    dense.write_bytes(dense_model(load_model(runs["weights"] / "model")))
    paths = {"dense": dense}
    for kind, run in runs.items():
        for file in sorted((run / "model").glob("autoencoder*.onnx")):
            paths[f"{kind}: {file.name}"] = file
    measured = bench.bench_files(list(paths.values()), (1, 64), (1,), 1.0)
    print(f"\n## Binary clusters 10x100x1000, network paper; flip rates {rates}\n")
    lines = []
    for (name, path), one in zip(paths.items(), measured, strict=True):
        run = runs.get(name.split(":")[0])
        l1 = float("nan")
        if run is not None:
            said = [event for event in event_log.read_log(run / "events.jsonl") if isinstance(event, events.Compared)][
                -1
            ]
            l1 = dict(zip(said.files, said.losses, strict=True))[path.name]
        ms = [one.milliseconds(1), one.milliseconds(64)]
        gains = [one.timing(n).faster for n in (1, 64)]
        out[name] = {"bytes": one.bytes, "ms": ms, "faster": [gain.middle for gain in gains], "l1": l1}
        lines.append(
            [
                name,
                f"{one.bytes:,}",
                f"{measured[0].bytes / one.bytes:.1f}x",
                *(gain.text for gain in gains),
                "not trained" if run is None else f"{l1:.5f}",
            ]
        )
    print(table(["file", "bytes", "smaller", "faster, 1 row", "faster, 64 rows", "test l1"], lines))
    return {"clusters": out}


def main() -> None:
    """Run all three, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mnist", type=Path)
    parser.add_argument("--passes", type=int, default=30)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    chosen = parser.parse_args()
    if not chosen.mnist.exists():
        raise DataError(f"{chosen.mnist}: no such file")
    with tempfile.TemporaryDirectory() as scratch:
        keep = chosen.keep or Path(scratch)
        keep.mkdir(parents=True, exist_ok=True)
        rows = load_rows(chosen.mnist, "test")
        print(f"{bench.machine()}, onnx {onnx.__version__}")
        found, dense = curve(chosen.mnist.resolve(), chosen.passes, keep, rows)
        found |= speed(chosen.mnist.resolve(), chosen.passes, keep, rows, dense)
        found |= clusters(keep)
    if chosen.plot:
        picture(found, chosen.plot)
    if chosen.json:
        chosen.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
