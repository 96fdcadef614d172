"""How small and how fast a convolutional autoencoder gets: bytes and milliseconds against loss, beside Torch-Pruning.

    python benchmarks/conv.py MNIST.npz [--passes 20] [--keep FOLDER] [--json FILE]

MNIST through 16, 32 and 64 channels of stride 2 to a latent code of 64 and back, trained on all 60,000 rows; the error
is the mse of all 10,000 test rows, computed by onnxruntime on each file and asserted to be what the run reported. Times
are of one interleaved run, one thread. Torch-Pruning prunes the channels of the same network (half of the passes before
it, half after, the best of two rates; `pip install torch-pruning`, left out where it is not there). FOLDER keeps the
runs, so that a second call only evaluates. Exit code 1: a limit does not hold.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from deploy import SEEDS, checked, load_rows, mse_of, table, trained
from torch import nn

from aecompress.deploy import bench

RATE, BATCH = 8e-3, 128
UNITS = (0.3, 0.45, 0.6, 0.7)
OTHERS, THEIR_RATES = (0.2, 0.35, 0.5), (2e-3, 4e-3)
LOSS_LIMIT, SPEED_LIMIT, FLOAT_LIMIT, INT8_LIMIT = 1.15, 1.6, 1 / 7, 1 / 20


def conv(out: int) -> dict[str, Any]:
    """A layer of the encoder, of half the places."""
    return {"kind": "conv2d", "out": out, "kernel": [3, 3], "stride": [2, 2], "padding": [1, 1]}


def back(out: int, more: int) -> dict[str, Any]:
    """A layer of the decoder, of twice the places, and ``more``."""
    return conv(out) | {"kind": "conv2d-transpose", "output_padding": [more, more]}


ENCODER = [conv(16), conv(32), conv(64), {"out": 64, "activation": "identity"}]
DECODER = [
    *({"out": 1024}, {"kind": "unflatten", "to": [4, 4, 64]}),
    *(back(32, 0), back(16, 1), back(1, 1) | {"activation": "sigmoid"}),
]


def fields(data: Path, passes: int, **more: Any) -> dict[str, Any]:
    """The fields that all runs share."""
    return {
        "mode": "canonical",
        "data.source": f"{data}:train",
        "data.test": f"{data}:test",
        "data.split": [1, 0, 0],
        "model.encoder": ENCODER,
        "model.decoder": DECODER,
        "train.batch": BATCH,
        "train.epochs": passes,
        "train.learning_rate": RATE,
        "export.embed_scaling": False,
        **{key.replace("__", "."): value for key, value in more.items()},
    }


def module() -> nn.Sequential:
    """The same network in torch."""
    ways = {"kernel_size": 3, "stride": 2, "padding": 1}
    return nn.Sequential(
        *(nn.Conv2d(1, 16, **ways), nn.ReLU(), nn.Conv2d(16, 32, **ways), nn.ReLU(), nn.Conv2d(32, 64, **ways)),
        *(nn.ReLU(), nn.Flatten(), nn.Linear(1024, 64), nn.Linear(64, 1024), nn.ReLU(), nn.Unflatten(1, (64, 4, 4))),
        *(nn.ConvTranspose2d(64, 32, **ways), nn.ReLU(), nn.ConvTranspose2d(32, 16, **ways, output_padding=1)),
        *(nn.ReLU(), nn.ConvTranspose2d(16, 1, **ways, output_padding=1), nn.Sigmoid()),
    )


def learn(net: nn.Module, rows: torch.Tensor, passes: int, rate: float) -> None:
    """Train with Adam, a warm-up and a cosine."""
    steps = passes * -(-len(rows) // BATCH)
    optimizer = torch.optim.Adam(net.parameters(), rate, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps, pct_start=0.1)
    for _ in range(passes):
        for batch in torch.randperm(len(rows)).split(BATCH):
            optimizer.zero_grad()
            nn.functional.mse_loss(net(rows[batch]), rows[batch]).backward()
            optimizer.step()
            schedule.step()


def torch_pruned(data: np.ndarray, passes: int, share: float, keep: Path) -> Path | None:
    """Torch-Pruning's channels by magnitude, fine-tuned, of the better rate by training loss; None without it."""
    out = keep / f"torch-pruning-{share}.onnx"
    if out.exists():
        return out
    try:
        import torch_pruning
    except ImportError:
        print("Torch-Pruning is left out: pip install torch-pruning")
        return None
    rows, found = torch.from_numpy(data).view(-1, 1, 28, 28), []
    for rate in THEIR_RATES:
        torch.manual_seed(0)
        net = module()
        learn(net, rows, passes // 2, rate)
        pruner = torch_pruning.pruner.MagnitudePruner(
            net,
            torch.zeros(2, 1, 28, 28),
            importance=torch_pruning.importance.MagnitudeImportance(p=2),
            pruning_ratio=share,
            global_pruning=True,
            ignored_layers=[net[7], net[15]],
        )
        pruner.step()
        learn(net, rows, passes - passes // 2, rate)
        with torch.no_grad():
            found.append((float(nn.functional.mse_loss(net(rows[:10_000]), rows[:10_000])), net))
    best = min(found, key=lambda pair: pair[0])[1]
    flat = nn.Sequential(nn.Unflatten(1, (1, 28)), best) if data.ndim == 2 else best
    torch.onnx.export(
        flat, (torch.zeros(2, *data.shape[1:]),), out, dynamo=False, input_names=["x"], dynamic_axes={"x": {0: "n"}}
    )
    return out


def main() -> int:
    """Train, evaluate, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mnist", type=Path)
    parser.add_argument("--passes", type=int, default=20)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        keep = chosen.keep or Path(scratch)
        keep.mkdir(parents=True, exist_ok=True)
        print(bench.machine())
        found = compared(chosen.mnist.resolve(), chosen.passes, keep)
    if chosen.json:
        chosen.json.write_text(json.dumps(found, indent=1) + "\n")
    return int(not all(limit["holds"] for limit in found["limits"]))


def compared(data: Path, passes: int, keep: Path) -> dict[str, Any]:
    """Run all, and print what was found."""
    rows, train = (load_rows(data, key).reshape(-1, 28, 28) for key in ("test", "train"))
    runs = {"dense": trained(keep / "dense", fields(data, passes, prune__operator="none", export__variants=["int8"]))}
    packed = {"export__variants": ["packed", "int8"], "export__variant_loss": 0.02}
    runs["weights, 90%"] = trained(keep / "weights", fields(data, passes, prune__target_sparsity=0.9, **packed))
    small = fields(data, passes, prune__target_sparsity=0.9, export__values="float32", export__variants=["packed"])
    runs["weights, 90%, float32"] = trained(keep / "weights-float32", small)
    for share in UNITS:
        units = {"prune__granularity": "unit", "prune__target_sparsity": share, "export__variants": ["packed", "int8"]}
        runs[f"channels, {share:.0%}"] = trained(keep / f"units-{share}", fields(data, passes, **units))
    paths = {
        f"{name}{kind and ', ' + kind.replace('.', ' ')}": (path, run)
        for name, run in runs.items()
        for kind in ("", "int8", "packed", "int8.packed")
        if (path := run / "model" / f"autoencoder{kind and '.' + kind}.onnx").exists()
    }
    files = {name: path for name, (path, _) in paths.items()}
    for share in OTHERS:
        if (other := torch_pruned(train[:, None], passes, share, keep)) is not None:
            files[f"Torch-Pruning, {share:.0%} of channels"] = other
    measured = bench.bench_files(list(files.values()), (1, 64), (1,), 1.0)
    found = []
    for (name, path), one in zip(files.items(), measured, strict=True):
        given = rows if name in paths else rows[:, None]
        loss = checked(path, given, paths[name][1]) if name in paths else mse_of(path, given)
        times = {f"ms{n}": one.milliseconds(n) for n in (1, 64)}
        faster = {f"faster{n}": one.timing(n).faster.middle for n in (1, 64)}
        found.append({"name": name, "bytes": one.bytes, "mse": loss, **times, **faster})
    heads = ["file", "bytes", "ms, 1 row", "faster", "ms, 64 rows", "faster", "mse"]
    keys = ("name", "bytes", "ms1", "faster1", "ms64", "faster64", "mse")
    forms = ("{}", "{:,}", "{:.4f}", "{:.2f}x", "{:.4f}", "{:.2f}x", "{:.5f}")
    print(table(heads, [[form.format(one[key]) for key, form in zip(keys, forms, strict=True)] for one in found]))
    found_limits = limits({one["name"]: one for one in found})
    for limit in found_limits:
        print(
            f"{'holds' if limit['holds'] else 'MISSED'}: {limit['what']}: {limit['seen']:.3f} "
            f"(limit {limit['limit']:.3f})"
        )
    return {"files": found, "limits": found_limits}


def limits(found: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what is promised, what was seen, and whether it holds."""
    dense, sparse, units = found["dense"], found["weights, 90%"], found["channels, 60%"]
    smallest = min(
        one["bytes"] for name, one in found.items() if name.startswith("weights, 90%, ") and "packed" in name
    )
    rows = [
        ("loss at 90 % zeros, of dense", sparse["mse"] / dense["mse"], LOSS_LIMIT, False),
        (
            "bytes at 90 % zeros, float32, of dense",
            found["weights, 90%, float32, packed"]["bytes"] / dense["bytes"],
            FLOAT_LIMIT,
            False,
        ),
        ("bytes at 90 % zeros, smallest, of dense", smallest / dense["bytes"], INT8_LIMIT, False),
        *(
            (f"channels at 60 % zeros, times as fast, batch {n}", units[f"faster{n}"], SPEED_LIMIT, True)
            for n in (1, 64)
        ),
    ]
    for name, other in found.items():
        if name.startswith("Torch"):
            ours = [
                one
                for key, one in found.items()
                if key.startswith("channels") and one["mse"] <= other["mse"] * (1 + SEEDS)
            ]
            for n in (1, 64):
                best = min((one[f"ms{n}"] for one in ours), default=np.inf)
                rows.append((f"{name}: our ms at equal loss, of its, batch {n}", best / other[f"ms{n}"], 1.0, False))
    return [
        {"what": what, "seen": seen, "limit": limit, "holds": bool(seen >= limit if least else seen <= limit)}
        for what, seen, limit, least in rows
    ]


if __name__ == "__main__":
    sys.exit(main())
